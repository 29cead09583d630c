"""What a person asks of jobs, queues and the daemon: `bgjob cancel`, `retry`, `settle`, `change`, `signal`, …."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from bgjob import text
from bgjob.calls import Changes
from bgjob.client import Client
from bgjob.commands import many, screen, steps
from bgjob.commands.problems import OK, REFUSED
from bgjob.commands.resuming import resumed
from bgjob.errors import (
    BehindFailedError,
    InvalidParameterError,
    InvalidStateError,
    JobNotFoundError,
    PermissionDeniedError,
    QueueFullError,
)


def cancel(client: Client, given: argparse.Namespace) -> int:
    """Cancel jobs: pending ones end at once, running ones are stopped."""
    if given.matching:
        return many.carry_out(client, given, "cancel")
    return _ask_of_jobs(client.cancel, given, "cancelled", ", or stopped first where running")


def retry(client: Client, given: argparse.Namespace) -> int:
    """Run failed or cancelled jobs again, with all their retries."""
    if given.matching:
        return many.carry_out(client, given, "retry")
    ask = partial(client.retry, anyway=given.anyway, from_start=given.from_start)
    return _ask_of_jobs(ask, given, "to run again from the start" if given.from_start else "to run again")


def settle(client: Client, given: argparse.Namespace) -> int:
    """Say what a job did that failed for review: nobody else knows it, and nothing follows from its end until then."""
    said, told = _settlement(given)
    amid = [] if given.step is None or given.anyway else _try_amid(client, given.id)
    if amid and said["step"] not in amid:
        screen.say(_would_run_again(given.id, said["step"], amid))
        return REFUSED
    client.settle(given.id, **said, why=given.why)
    if given.json:
        screen.tell_json({"id": given.id})
    else:
        screen.say(f"job {given.id} is settled: {told}")
    return OK


def _settlement(given: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """What is said, by the client's names, and in words."""
    if given.step is not None:
        name = given.step[0]
        return {
            "step": name,
            "result": given.step[1],
        }, f"step {text.one_line(name)} is finished, and it goes on"
    if given.failed:
        return {"completed": False}, "it has failed"
    return {"completed": True, "result": given.completed}, "it has completed"


def _try_amid(client: Client, job_id: int) -> list[str]:
    """The steps that it is amid; none are known to those who may settle it and may not look at it."""
    try:
        return steps.amid(client, job_id)
    except PermissionDeniedError:
        return []


def _would_run_again(job_id: int, named: str, amid: Sequence[str]) -> str:
    """Why a step that it has not begun is not settled: by a slip of the pen those would be done twice that it has."""
    name, begun = text.one_line(named), text.one_line(amid[-1])
    which = f"step {begun} of job {job_id} began and has no record, and would run again"
    return f"nothing is settled: {which}; is it meant, and not {name}? --anyway says that it is not"


def change(client: Client, given: argparse.Namespace) -> int:
    """Change jobs that have not started, or wait for a retry; what is not given stays as it is."""
    return _ask_of_jobs(partial(client.change, **changes_of(given)), given, "changed")


def try_empty_change(given: argparse.Namespace) -> str | None:
    """What is wrong with a change of nothing."""
    if changes_of(given):
        return None
    return "what is to be changed? --priority, --queue, --at, --expires, --attempt-timeout, --max-retries"


def signal(client: Client, given: argparse.Namespace) -> int:
    """Send a signal to a job, for its wait of that name; a job that waits for it goes on."""
    job = given.job.get("job_id") or given.job["key"]
    is_new = client.signal(job, given.name, given.payload, given.signal_key)
    if given.json:
        screen.tell_json({"created": is_new})
        return OK
    name = text.one_line(given.name)
    told = f"has got signal {name}" if is_new else f"has got signal {name} with this key before"
    screen.say(f"job {text.one_line(str(job))} {told}")
    return OK


def changes_of(given: argparse.Namespace) -> dict[str, Any]:
    """What was given of that, by the client's names."""
    return {name: getattr(given, name) for name in Changes.__annotations__ if hasattr(given, name)}


def pause(client: Client, given: argparse.Namespace) -> int:
    """Start no more jobs of a queue; those that run go on."""
    until = client.pause(given.queue, resumes_in=given.resumes_in, resumes_at=given.resumes_at)
    if given.json:
        screen.tell_json({"queue": given.queue, "resumes_at": until})
    elif until is None:
        screen.say(f"queue {given.queue} is paused; `bgjob resume {given.queue}` lets its jobs start again")
    else:
        told = f"is paused until {text.moment(until, time.time())}"
        screen.say(f"queue {given.queue} {told}; `bgjob resume {given.queue}` lets its jobs start before")
    return OK


def resume(client: Client, given: argparse.Namespace) -> int:
    """Start the jobs of a paused queue again."""
    if given.json:
        client.resume(given.queue)
        screen.tell_json({"queue": given.queue})
    else:
        told = resumed(lambda: _is_paused(client, given.queue), lambda: client.resume(given.queue))
        screen.say(f"queue {given.queue} {told}")
    return OK


def _is_paused(client: Client, name: str) -> bool:
    return any(queue["paused"] for queue in client.stats()["queues"] if queue["name"] == name)


def hold_or_resume(client: Client, given: argparse.Namespace) -> int:
    """Hold a class, so that no more of its jobs start, or let it go on."""
    _OF_CLASS[given.action](client, given.name)
    if given.json:
        screen.tell_json({"class": given.name})
        return OK
    name = text.one_line(given.name)
    waits = f"its jobs wait; `bgjob class resume {name}` lets them start again"
    screen.say(
        f"class {name} is held, and {waits}" if given.action == "hold" else f"class {name} is held no more"
    )
    return OK


_OF_CLASS: Final[Mapping[str, Callable[[Client, str], None]]] = {
    "hold": Client.hold_class,
    "resume": Client.resume_class,
}
ACTIONS_OF_CLASS: Final = tuple(_OF_CLASS)
"""What can be asked of a class."""


def reload(client: Client, given: argparse.Namespace) -> int:
    """Have the daemon read its configuration and import the code anew; print the code's version."""
    reloaded = client.reload_and_tell()
    if given.json:
        screen.tell_json(reloaded._asdict())
        return OK
    screen.say("reloaded; attempts that start from now on run this version of the code:")
    screen.tell(text.plain(reloaded.code_version))
    for doubt in reloaded.doubts:
        screen.say(f"doubtful: {doubt}")
    for key in reloaded.needing_restart:
        screen.say(f"{key} has changed, which takes a restart; until then the old one holds")
    for told in reloaded.waiting_jobs:
        screen.say(f"queued jobs: {told}")
    if reloaded.amid_steps:
        screen.say(_amid_steps(reloaded.amid_steps))
    return OK


def _amid_steps(count: int) -> str:
    if count == 1:
        return "1 job is amid steps that other code has begun; its next attempt goes on in this one"
    many = f"{count:,} jobs{' or more' if count >= _MOST_COUNTED else ''}"
    return f"{many} are amid steps that other code has begun; their next attempts go on in this one"


_MOST_COUNTED: Final = 1000
"""More jobs amid steps a daemon does not count."""


def _ask_of_jobs(ask: Callable[..., None], given: argparse.Namespace, told: str, more: str = "") -> int:
    ids = list(dict.fromkeys(given.ids))
    try:
        ask(*ids)
    except _OF_ONE:
        if len(ids) > 1:  # the error is of one of them
            screen.say(f"none of the {len(ids)} jobs is {told}")
        raise
    if given.json:
        screen.tell_json({"ids": ids})
        return OK
    names = " ".join(map(str, ids))
    are = f"job {names} is" if len(ids) == 1 else f"jobs {names} are"
    screen.say(f"{are} {told}{more}; `bgjob wait {names}` waits for the end")
    return OK


_OF_ONE = (
    *(BehindFailedError, InvalidStateError, JobNotFoundError),
    *(InvalidParameterError, PermissionDeniedError, QueueFullError),
)
