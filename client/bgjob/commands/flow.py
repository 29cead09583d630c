"""`bgjob flow`: submits the jobs of a file, which come after one another, and says where in it something is wrong."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from bgjob import answers, text
from bgjob.calls import Call
from bgjob.client import Client
from bgjob.codec import JsonObject
from bgjob.commands import screen, values
from bgjob.commands.json_places import Path, Place, dotted, places, where
from bgjob.commands.meant import try_meant
from bgjob.commands.problems import OK, code_of, explained
from bgjob.errors import (
    DaemonUnavailableError,
    DuplicateError,
    GroupNotFoundError,
    GroupSealedError,
    InvalidNameError,
    InvalidParameterError,
    InvalidParametersError,
    JobNotFoundError,
    MethodNotApprovedError,
    NotApprovedError,
    RequestError,
    TooLargeError,
)
from bgjob.keys import new_keys
from bgjob.words import INTERFACE, MAX_DEPTH

KEYS: Final[Mapping[str | int, tuple[str, ...]]] = {
    "": ("jobs", "groups", "seal", "class_name", "method_name", "retry_count", "options", "each", "keys"),
    "jobs": ("ref", "class_name", "method_name", "parameters", "retry_count", "options"),
    "groups": ("ref", "name", "open", "group", "idempotency_key"),
}
"""The keys of the file, and of each job and group in it."""


class Flow(NamedTuple):
    """The parameters of SubmitMany, and the text that somebody has written for them."""

    request: JsonObject
    text: str


def flow(client: Client, given: argparse.Namespace) -> int:
    """Submit jobs that come after one another, and print the id and the ref of each."""
    asked = _keyed(given.flow.request)
    call = Call(f"{INTERFACE}.SubmitMany", asked, answers.stored_many, needs_code=True)
    try:
        ids, groups = client._call(call)
    except RequestError as error:
        return _say_where(error, given)
    except DaemonUnavailableError as error:
        error.idempotency_keys = ()  # nobody knows those that were made here
        if error.was_sent:
            screen.say("nobody has said whether the jobs are stored; `bgjob list` has them if they are")
        raise
    if given.json:
        screen.tell_json({"ids": ids, "groups": groups})
        return OK
    for job_id, ref in zip(ids, _refs(asked, "jobs", len(ids)), strict=True):
        screen.tell(text.one_line(f"{job_id} {ref}".rstrip()))
    for group_id, ref in zip(groups, _refs(asked, "groups", len(groups)), strict=True):
        screen.say(f"group {group_id} is {ref}; `bgjob group {group_id} --wait` waits for its end")
    if not ids and not groups:
        screen.say("the flow has no jobs, so that none was submitted")
    return OK


def _keyed(request: JsonObject) -> JsonObject:
    """The request with idempotency keys where it has none, so that a repeat after a lost answer makes nothing twice.

    What has not the shape that a daemon takes stays as it is, for the daemon to say so.
    """
    asked = dict(request)
    if _are_objects(asked.get("jobs")):
        asked["jobs"] = [_with_key(job, "options") for job in asked["jobs"]]
    if _are_objects(asked.get("groups")):
        asked["groups"] = [{"idempotency_key": new_keys(1)[0], **group} for group in asked["groups"]]
    if isinstance(asked.get("each"), list) and asked.get("keys") is None:
        asked["keys"] = new_keys(len(asked["each"]))
    return asked


def _are_objects(listed: Any) -> bool:
    return isinstance(listed, list) and all(isinstance(one, dict) for one in listed)


def _with_key(job: JsonObject, place: str) -> JsonObject:
    options = job.get(place) or {}
    if not isinstance(options, dict):
        return job
    return {**job, place: {"idempotency_key": new_keys(1)[0], **options}}


def _refs(asked: JsonObject, name: str, count: int) -> list[str]:
    """What the request calls them, in order; empty for one that it does not name."""
    listed: Any = asked.get(name)
    refs = [str(one.get("ref") or "") for one in listed] if _are_objects(listed) else []
    return [*refs, *[""] * count][:count]


# The file

_DEEPEST: Final = MAX_DEPTH - 2
"""How deep a value may be among the parameters, which with the message are two levels themselves."""


def written(name: str) -> Flow:
    """The file of this name, `-` being stdin. Raises ArgumentTypeError, which tells the line."""
    try:
        read = sys.stdin.read() if name == "-" else _content(name)
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(f"no flow in {name!r}: {values.reason(error)}") from None
    try:
        request = values.sendable(values.from_json(read), MAX_DEPTH + 1)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"{where(read, error.pos)}: {error.msg}") from None
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise argparse.ArgumentTypeError(f"{_where_wrong(read)}{error}") from None
    if not isinstance(request, dict):
        raise argparse.ArgumentTypeError("a flow is a JSON object, with the parameters of SubmitMany")
    return Flow(request, read)


def _content(name: str) -> str:
    with open(name, encoding="utf-8") as file:
        return file.read()


def _where_wrong(read: str) -> str:
    """Where something is that JSON has and the socket has not, such as a key for the second time; empty if nowhere."""
    seen: set[Path] = set()
    for place in places(read):
        if place.path in seen or len(place.path) > _DEEPEST or not _is_sendable(place.value):
            return f"{where(read, place.at)}, {dotted(place.path)}: "
        seen.add(place.path)
    return ""


def _is_sendable(value: Any) -> bool:
    try:
        values.sendable(value)
    except (ValueError, argparse.ArgumentTypeError):
        return False
    return True


# What a daemon finds wrong


def _say_where(error: RequestError, given: argparse.Namespace) -> int:
    """Say what was refused with its places in the file; the exit code. Raises the error where it is about none."""
    told = _told(error, given.flow.text, given.hint, try_meant(error, given))
    if not told:
        raise error
    for line in told:
        screen.say(line)
    return code_of(error)


def _told(error: RequestError, read: str, hint: str, meant: str | None) -> list[str]:
    """What was refused, each with its place in the text; empty where it is about none."""
    found = list(places(read))
    if isinstance(error, InvalidParametersError):
        return [_line(found, read, path, message) for path, message in _problems(error)]
    path: Path = ()
    if isinstance(error, InvalidParameterError | TooLargeError):
        path = _path(str(error.parameters.get("parameter", "")), ".")
        if path and (reason := _reason(path, found)):
            return [_line(found, read, path, f"invalid value for {dotted(path)}: {reason}")]
    elif type(error) in _SIGNS:
        is_meant = _SIGNS[type(error)]
        path = next((one.path for one in found if is_meant(one, found, error.parameters)), ())
    return [_line(found, read, path, explained(error, hint, meant))] if path else []


def _reason(path: Path, found: list[Place]) -> str:
    """What the file shows to be wrong there: a key that there is not, or a ref; empty where it does not show."""
    keys = KEYS.get(path[0]) if len(path) == 3 else KEYS[""] if len(path) == 1 else None
    if keys is not None and path[-1] not in keys:
        return f"there is no such key, but {', '.join(keys)}"
    inside = [one for one in found if one.path[:-1] == path]
    match [(one.path[-1], one.value) for one in inside]:
        case [("ref" | "group_ref" as word, str() as ref)]:
            of = "group" if word == "group_ref" or path[-1] == "group" else "job"
            return f"there is no {of} before it that is called {text.one_line(ref)}"
    return ""


def _line(found: list[Place], read: str, path: Path, message: str) -> str:
    """The message with the line of what stands there, or of what it would stand in."""
    starts = {place.path: place.at for place in reversed(found)}
    taken = (*path[:2], "options", "take", *path[3:4])
    if path[2:3] == ("parameters",) and path not in starts and taken in starts:
        path = taken
    nearest = path
    while nearest not in starts:
        nearest = nearest[:-1]
    name = "" if dotted(path) in message else f", {dotted(path)}"
    return f"{where(read, starts[nearest])}{name}: {message}"


def _problems(error: InvalidParametersError) -> Iterator[tuple[Path, str]]:
    """Each problem of a job's parameters: a daemon names it within these, `jobs/3/rows/0`."""
    listed = error.parameters.get("problems")
    for problem in listed if isinstance(listed, list) else []:
        if not isinstance(problem, dict):
            continue
        named, message = str(problem.get("path", "")), str(problem.get("message"))
        path = _path(named, "/" if "/" in named else ".")
        if "/" in named and path[:1] == ("jobs",):
            path = (*path[:2], "parameters", *path[2:])
        yield path, message


def _path(named: str, separator: str) -> Path:
    return tuple(int(step) if _PLACE.fullmatch(step) else step for step in named.split(separator) if step)


_PLACE: Final = re.compile("[0-9]{1,9}")


_Sign = Callable[[Place, list[Place], Mapping[str, Any]], bool]


def _names_class(place: Place, _: list[Place], refused: Mapping[str, Any]) -> bool:
    return place.path[-1:] == ("class_name",) and place.value == refused.get("class_name")


def _names_method(place: Place, found: list[Place], refused: Mapping[str, Any]) -> bool:
    if place.path[-1:] != ("method_name",) or place.value != refused.get("method_name"):
        return False
    beside = (*place.path[:-1], "class_name")
    return any(one.path == beside and one.value == refused.get("class_name") for one in found)


def _has_value(place: Place, _: list[Place], refused: Mapping[str, Any]) -> bool:
    return place.path[-1:] == (refused.get("field"),) and place.value == refused.get("value")


def _names_job(place: Place, _: list[Place], refused: Mapping[str, Any]) -> bool:
    return place.path[-1:] == ("id",) and "group" not in place.path and place.value == refused.get("id")


def _names_group(place: Place, _: list[Place], refused: Mapping[str, Any]) -> bool:
    is_named = (
        place.path[-1:] == ("group",) or place.path[-2:] == ("group", "id") or place.path[:1] == ("seal",)
    )
    return is_named and place.value == refused.get("id")


def _asks_for_key(place: Place, found: list[Place], refused: Mapping[str, Any]) -> bool:
    """Where the job has none of its own its class makes one."""
    job: Path = ("jobs", refused.get("index", ""))
    own = (*job, "options", "unique_key")
    return place.path == (own if any(one.path == own for one in found) else job)


_SIGNS: Final[Mapping[type[RequestError], _Sign]] = {
    NotApprovedError: _names_class,
    MethodNotApprovedError: _names_method,
    InvalidNameError: _has_value,
    JobNotFoundError: _names_job,
    GroupNotFoundError: _names_group,
    GroupSealedError: _names_group,
    DuplicateError: _asks_for_key,
}
"""How the place is known that an error is about which does not name one."""
