"""`bgjob run` and `bgjob again`: submit a job, and wait for its end or follow it where that is asked for."""

from __future__ import annotations

import argparse
from typing import Any

from bgjob.client import Client, Job
from bgjob.commands import screen
from bgjob.commands.follow import Printer, exit_code_of, follow_job, going_on, until_ended
from bgjob.commands.problems import OK

_OPTIONS = (
    *("delay", "at", "priority", "queue", "key", "attempt_timeout"),
    *("max_retries", "retry_delay", "backoff", "idempotency_key", "after", "if_failed"),
    *("unique_key", "unique_while", "unique_for", "if_held", "at_latest", "host"),
    *("traceparent", "labels"),
)


def run(client: Client, given: argparse.Namespace) -> int:
    """Submit a job and print its id."""
    class_name, method_name = given.target
    job = client.run_background_job(
        class_name,
        method_name,
        {**given.whole, **dict(given.parameters)},
        given.retry_count,
        **_options(given),
    )
    return _told(client, job, given)


def again(client: Client, given: argparse.Namespace) -> int:
    """Run what a job called that has ended again, as a new job, and print that one's id."""
    parameters = {**given.whole, **dict(given.parameters)}
    job = client.again(
        given.id, parameters or None, from_step=given.from_step, idempotency_key=given.idempotency_key
    )
    return _told(client, job, given)


def try_wrong(given: argparse.Namespace) -> str | None:
    """What does not fit together of what was given to run or again."""
    is_run = given.run is run
    if given.timeout is not None and not (given.wait or given.follow):
        more = "; --attempt-timeout limits an attempt" if is_run else ""
        return f"--timeout limits the wait and needs -w or -f{more}"
    if is_run and given.after and given.delay is not None:
        return "--delay from when, the submit or the end of what it comes after? --at is possible"
    return None


def _told(client: Client, job: Job, given: argparse.Namespace) -> int:
    if not (given.wait or given.follow):
        if given.json:
            screen.tell_json({"id": job.id})
        else:
            screen.tell(str(job.id))
        return OK
    with going_on(job.id):
        how = "submitted" if job.is_new else "had this key already"
        screen.say(f"job {job.id} {how}; waiting for its end")
        if given.follow:
            follow_job(client, job.id, given.timeout, Printer(given.json))
        else:
            until_ended(client, [job.id], given.timeout)
        ended = client.wait(job.id)
    if given.json:
        screen.tell_json({"job": ended} if given.follow else ended)
    return exit_code_of(ended, is_result_wanted=given.wait and not given.json)


def _options(given: argparse.Namespace) -> dict[str, Any]:
    """The options of Submit that were given; `timeout` is the attempt's there, and the wait's here."""
    named = {name: getattr(given, name) for name in _OPTIONS}
    named["expires_at" if isinstance(given.expires, str) else "expires_in"] = given.expires
    return {"timeout" if name == "attempt_timeout" else name: value for name, value in named.items()}
