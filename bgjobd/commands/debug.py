"""The command `bgjobd debug`: which call it is, what may be known of it, and whether it may be. What makes the call is
`forkserver/debugging.py`, which this process becomes by exec.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, NoReturn

from bgjob import Client, answers, text
from bgjob.codec import JsonObject
from bgjob.commands import values
from bgjob.errors import (
    BgjobError,
    DaemonUnavailableError,
    JobNotFoundError,
    ProtocolError,
    RequestError,
    SocketDeniedError,
)
from bgjob.words import Outcome, Status
from bgjobd.commands.exit_codes import FAILED, REFUSED, UNAVAILABLE, UNKNOWN, USAGE, complain
from bgjobd.commands.imported import imported
from bgjobd.config.loading import usual_files
from bgjobd.config.sections import Config
from bgjobd.core.masking import MASK
from bgjobd.supervisor import limits
from bgjobd.supervisor.application import Application, AttemptDirs
from bgjobd.supervisor.fork_server_link import CLIENT, PROGRAM, environment, interpreter
from bgjobd.supervisor.fork_server_loading import ForkServerError

_ALSO: Final = ("TERM", "PYTHONBREAKPOINT")
"""What a debugger on a terminal needs of the person's environment, beside what attempts get."""


class RefusedError(Exception):
    """It cannot be, or is not to be; ends with this exit code."""

    def __init__(self, message: str, code: int) -> None:
        self.code = code
        super().__init__(message)


class Found(NamedTuple):
    """A job as it was told, with its steps and its signals, None where those are not known, and its state, of which the
    size alone is told where it is not to be shown.
    """

    job: JsonObject
    steps: Sequence[JsonObject] | None
    signals: Sequence[JsonObject]
    state: JsonObject | None = None
    state_size: int | None = None


def debug(given: argparse.Namespace, config: Config) -> int:
    """Become the process that calls a job's method; the exit code where that cannot be, or is not to be."""
    try:
        found = _from_file(given) if given.source is not None else _from_daemon(given.id, config)
        _check(given, found.job)
        application = Application.from_config(config)
        asked = _asked(given, config, application, found)
        _become(application, asked, reads_stdin=given.source == "-")
    except RefusedError as error:
        return complain(text.one_line(str(error)), error.code)
    except (ForkServerError, OSError) as error:
        return complain(str(error), FAILED)


# The job


def _from_daemon(job_id: int, config: Config) -> Found:
    socket = str(config.daemon.socket)
    try:
        with Client(socket) as client:
            found = client.get(job_id)
            job = found.snapshot
            if job.get("steps") is None:
                return Found(job, [], [])
            read = found.steps()
            return Found(job, read.steps, read.signals, read.state, read.state_size)
    except JobNotFoundError as error:
        raise RefusedError(f"{error}; `bgjob list` has those there are", UNKNOWN) from None
    except (SocketDeniedError, RequestError) as error:
        raise RefusedError(str(error), REFUSED) from None
    except DaemonUnavailableError as error:
        hint = f"--from takes what `bgjob show {job_id} --steps --json` has printed elsewhere"
        raise RefusedError(f"{error}; {hint}", UNAVAILABLE) from None
    except BgjobError as error:
        raise RefusedError(str(error), FAILED) from None


def _from_file(given: argparse.Namespace) -> Found:
    """The job as `bgjob show --json` has printed it."""
    try:
        if given.source == "-":
            told = values.from_json(sys.stdin.read())
        else:
            with open(given.source, encoding="utf-8") as file:
                told = values.from_json(file.read())
        job = answers.job({"job": told})
        told_steps, signals = told.get("steps_told"), told.get("signals") or []
        state, size = told.get("state"), told.get("state_size")
        if told_steps is not None:
            answers.steps(
                {"steps": told_steps, "signals": signals, "state": state, "next": None, "state_size": size}
            )
    except (OSError, ValueError, ProtocolError) as error:
        raise RefusedError(
            f"--from {given.source} has no job as `bgjob show --json` tells it: {error}", USAGE
        ) from None
    if job["id"] != given.id:
        raise RefusedError(f"--from {given.source} has job {job['id']}, not {given.id}", USAGE)
    return Found(job, told_steps if told_steps is not None or job.get("steps") else [], signals, state, size)


def _check(given: argparse.Namespace, job: JsonObject) -> None:
    """Raises RefusedError for a job that runs, for an attempt that is not there, and where nobody could say yes."""
    if job["status"] == Status.RUNNING and not given.anyway:
        message = f"job {job['id']} runs, and what it does would be done twice at a time; --anyway does it"
        raise RefusedError(message, REFUSED)
    numbers = [attempt["number"] for attempt in job["attempts"]]
    if given.attempt is not None and given.attempt not in numbers:
        had = f"has attempts 1 to {max(numbers)}" if numbers else "has no attempt"
        raise RefusedError(f"job {job['id']} {had}", USAGE)
    if not given.yes and given.source != "-" and not sys.stdin.isatty():
        raise RefusedError(
            "it asks before it calls anything, and nobody is at a terminal; --yes goes on", USAGE
        )


# What is asked for


def _asked(
    given: argparse.Namespace, config: Config, application: Application, found: Found
) -> dict[str, Any]:
    job, name = found.job, found.job["class_name"]
    _check_class(name, config, application)
    own = {**application.limits[name]}
    own["account"] = _account(own["account"], name, as_root=given.as_root)
    number = given.attempt or max((one["number"] for one in job["attempts"]), default=1)
    masked = _masked(job)
    sensitive = {*masked, *(config.approved[name].sensitive or ())}
    secrets, plain = _parameters(given.parameters, sensitive)
    if plain:
        told = {key: value for key, value in job["parameters"].items() if key not in sensitive}
        _check_fit(config, job, {**told, **plain}, plain)
    carried = _carried(found, has_secrets=bool(sensitive))
    timeout = job["timeout"] if job["timeout"] is not None else limits.value_of(config, name, "timeout")
    untold = [one for one in masked if one not in secrets]
    return {
        "job": {
            **{key: job[key] for key in ("id", "class_name", "method_name", "occurrence")},
            "idempotency_key": job.get("idempotency_key"),
            "timeout": timeout,
            "parameters": {**job["parameters"], **plain},
        },
        "number": number,
        "secrets": secrets,
        "untold": untold,
        "carried": carried,
        "limits": own,
        "is_confined": given.confined,
        "unreadable": [str(config.daemon.state_dir), str(AttemptDirs.from_config(config).spool)],
        "is_traced": given.trace,
        "must_ask": not given.yes,
        "has_run": bool(job["attempts"]),
        "told": [_history(job, given.attempt), *_further(found, carried)],
        "code_version": _version(job, number),
        "load": _load(application),
    }


def _check_class(name: str, config: Config, application: Application) -> None:
    """Raises RefusedError for a class whose jobs do not run here."""
    if name not in config.approved:
        if config.file is None:
            places = " or ".join(map(str, usual_files(os.environ)))
            message = f"{name} is not approved, for no configuration is there, at {places}"
            raise RefusedError(f"{message}; --config or $BGJOBD_CONFIG names the daemon's", REFUSED)
        raise RefusedError(f"{name} is not approved by {config.file}; --config names another", REFUSED)
    if name in application.missing:
        raise RefusedError(f"{name} cannot run: {application.missing[name]}", REFUSED)


def _load(application: Application) -> dict[str, Any]:
    """What is imported, and how."""
    approved, missing = application.approved, application.missing
    return {
        "path": list(application.path),
        "client": str(CLIENT),
        "prepare": application.prepare,
        "on_failure": application.on_failure,
        "approved": {one: methods for one, methods in approved.items() if one not in missing},
    }


def _account(account: Mapping[str, Any] | None, name: str, *, as_root: bool) -> Mapping[str, Any] | None:
    """Whom it runs as, None for who asks. Raises RefusedError where that is root, and nobody has said so."""
    if os.geteuid() != 0:
        return None
    if as_root:
        return None
    if account is None or account["uid"] == 0:
        message = f"this would call the job as root; --as-root does, or run it as another user, or give {name} a `user`"
        raise RefusedError(message, REFUSED)
    return account


def _masked(job: JsonObject) -> list[str]:
    """The names of the parameters that are not told; of a daemon that does not tell those, which look so."""
    told = job.get("sensitive")
    if not isinstance(told, list):
        return [name for name, value in job["parameters"].items() if value == MASK]
    return [name for name in told if name in job["parameters"]]


def _parameters(
    given: Sequence[tuple[str, str]], sensitive: Collection[str]
) -> tuple[dict[str, str], dict[str, Any]]:
    """What `-p` gives: secrets as text, from files, and the others. Raises RefusedError."""
    secrets: dict[str, str] = {}
    plain: dict[str, Any] = {}
    for name, value in given:
        if name not in sensitive:
            _, plain[name] = values.parameter(f"{name}={value}")
        elif value.startswith("@"):
            try:
                with open(value[1:], encoding="utf-8") as file:
                    secrets[name] = file.read().removesuffix("\n")
            except (OSError, ValueError) as error:
                raise RefusedError(f"no value of {name} in {value!r}: {error}", USAGE) from None
        else:
            message = f"{name} is a secret, and whoever lists processes would see it"
            raise RefusedError(f"{message}; -p {name}=@FILE reads it, and else it is asked for", USAGE)
    return secrets, plain


def _check_fit(config: Config, job: JsonObject, told: Mapping[str, Any], given: Collection[str]) -> None:
    """Raises RefusedError where what is `given` does not fit the code as it is now, which a submit would refuse, and
    ForkServerError.
    """
    catalogue, _ = asyncio.run(imported(config))
    try:
        problems = catalogue.misfits(job["class_name"], job["method_name"], told, given)
    except RequestError:
        return  # why it cannot be called is told by who is to
    if problems:
        why = "; ".join(f"{problem['path']}: {problem['message']}" for problem in problems)
        message = f"its parameters do not fit {job['class_name']}::{job['method_name']}: {why}"
        raise RefusedError(f"{message}; -p KEY=VALUE gives others, -p 'KEY=\"5\"' a text of digits", FAILED)


def _carried(found: Found, *, has_secrets: bool) -> dict[str, Any]:
    """What is known of its steps and waits, for DebugKeeper; `again` are finished steps whose results are not told: of
    a job that has secrets none is.
    """

    def is_told(one: JsonObject, name: str = "result") -> bool:
        size_of_null = len("null")
        return one[name] is not None or one["size"] == 0 or (one["size"] == size_of_null and not has_secrets)

    finished = [step for step in found.steps or () if step["finished_at"] is not None]
    told = [step for step in finished if is_told(step)]
    return {
        "job": found.job["id"],
        "steps": [[one["name"], json.dumps(one["result"])] for one in told if one["kind"] == "step"],
        "waits": [
            [one["kind"], one["name"], one["turn"], _payload(one), one["timed_out"]]
            for one in told
            if one["kind"] != "step"
        ],
        "state": None if found.state is None else json.dumps(found.state),
        "tokens": {one["name"]: one["token"] for one in found.steps or () if one["token"]},
        "signals": [
            [one["name"], json.dumps(one["payload"])]
            for one in found.signals
            if one["taken_by"] is None and is_told(one, "payload")
        ],
        "again": [one["name"] for one in finished if one["kind"] == "step" and not is_told(one)],
    }


def _payload(wait: JsonObject) -> str | None:
    return json.dumps(wait["result"]) if wait["size"] else None


# What the person reads


def _history(job: JsonObject, attempt: int | None) -> str:
    """How often it ran, and what came of it."""
    count = len(job["attempts"])
    if not count:
        return f"job {job['id']} has not run yet."
    shown = next((one for one in job["attempts"] if one["number"] == attempt), job["attempts"][-1])
    ran = {1: "once", 2: "twice"}.get(count, f"{count} times")
    which = f"attempt {attempt}" if attempt else ("at last it" if count > 1 else "it")
    return f"job {job['id']} ran {ran}; {which} {_end_of(shown)}."


def _end_of(attempt: JsonObject) -> str:
    match attempt["outcome"]:
        case None:
            return "has not ended"
        case Outcome.COMPLETED:
            return "completed"
        case Outcome.FAILED:
            return f"raised {text.one_line(attempt['error_type'] or '')}"
        case outcome:
            return f"ended as {text.one_line(outcome)}"


def _further(found: Found, carried: Mapping[str, Any]) -> list[str]:
    """What else matters to who is to say yes."""
    job, told = found.job, []
    if job["status"] == Status.PENDING:
        told.append(f"It {_goes_on(job)} by itself as well; `bgjob cancel {job['id']}` ends that.")
    if found.steps is None:
        told.append(
            f"Its {job['steps']} finished steps run again: `bgjob show {job['id']} --steps --json` has them."
        )
    elif carried["steps"]:
        told.append(f"Finished, and not run again: {_names(one for one, _ in carried['steps'])}.")
    if carried["again"]:
        told.append(
            f"Finished, and run again, for what they returned is not told: {_names(carried['again'])}."
        )
    if found.state is None and found.state_size is not None:
        told.append(f"Its state, {text.size(found.state_size)}, is not told, and is empty here.")
    return told


def _goes_on(job: JsonObject) -> str:
    """What becomes of a job that has not ended, and does not run."""
    now = time.time()
    if waits := text.wait(job, now):
        return f"waits {waits}, and goes on"
    again = " again" if job["attempts"] else ""
    when = text.moment(job["scheduled_at"], now)
    return f"runs{again}, {when}," if text.is_future(job["scheduled_at"], now) else f"runs{again}"


def _names(names: Any) -> str:
    listed = [text.one_line(f"step {name}") for name in names]
    more = f" and {len(listed) - _MOST_NAMES} more" if len(listed) > _MOST_NAMES else ""
    return ", ".join(listed[:_MOST_NAMES]) + more


_MOST_NAMES: Final = 10


def _version(job: JsonObject, number: int) -> str | None:
    """The version of the code of an attempt."""
    found = (one.get("code_version") for one in job["attempts"] if one["number"] == number)
    version = next(found, None)
    return None if version is None else text.one_line(str(version))


# The other process


def _become(application: Application, asked: Mapping[str, Any], *, reads_stdin: bool) -> NoReturn:
    """Be the interpreter of the application. Raises ForkServerError, OSError."""
    python = os.path.abspath(interpreter(application))
    request = os.memfd_create("bgjobd-debug", os.MFD_CLOEXEC)
    with open(request, "wb", closefd=False) as file:
        file.write(json.dumps(asked).encode())
    os.set_inheritable(request, True)
    if reads_stdin:  # which has been read to its end
        with suppress(OSError):
            os.dup2(os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC), 0)
    kept = {name: os.environ[name] for name in _ALSO if name in os.environ}
    arguments = [python, "-I", "-X", "utf8", str(PROGRAM), str(request), "debugging"]
    os.chdir("/")
    os.execve(python, arguments, environment(application.env) | kept | {"BGJOB_DEBUG": "1"})
