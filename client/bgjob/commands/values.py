"""What the words after `bgjob` stand for: one function a kind of value. They raise ArgumentTypeError."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

from bgjob import codec
from bgjob.amounts import try_span
from bgjob.commands import look, pages
from bgjob.comparing import Place, try_place
from bgjob.errors import InvalidParameterError, ProtocolError
from bgjob.words import INT_MAX

EXAMPLE: Final = "myapp.jobs.EmailNotification::send"

NONE: Final = "none"
"""What takes a time away that a job has."""

_MOST_NEXT: Final = 100
_DIGITS: Final = len(str(INT_MAX))
_BYTES: Final = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


def target(text: str) -> tuple[str, str]:
    """The two names of `CLASS::METHOD`."""
    class_name, separator, method_name = text.partition("::")
    if not (class_name and separator and method_name):
        raise argparse.ArgumentTypeError(f"{text!r} is not CLASS::METHOD, such as {EXAMPLE}")
    return class_name, method_name


def class_filter(text: str) -> dict[str, str]:
    """`CLASS` or `CLASS::METHOD`, as the filters of a list."""
    class_name, separator, method_name = text.partition("::")
    return {"class_name": class_name} | ({"method_name": method_name} if separator else {})


def class_of(text: str) -> dict[str, str]:
    """`CLASS`, as the filter of a list."""
    return {"class_name": text}


def parameter(text: str) -> tuple[str, Any]:
    """The two sides of `KEY=VALUE`; the value is JSON if it parses, else text."""
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        given = from_json(value)
    except ValueError:
        return name, value
    return name, sendable(given)


def try_twice(given: Sequence[tuple[str, Any]]) -> str | None:
    """What is wrong where -p gives a parameter for the second time."""
    names = [name for name, _ in given]
    twice = next((name for name in names if names.count(name) > 1), None)
    return None if twice is None else f"-p gives {twice} twice"


def parameters(text: str) -> dict[str, Any]:
    """All of a job's parameters: a JSON object, `@FILE` that holds one, or `-` for stdin."""
    try:
        given = from_json(_content(text))
    except (ValueError, OSError) as error:
        raise argparse.ArgumentTypeError(f"no parameters in {_place(text)}: {reason(error)}") from None
    if not isinstance(given, dict):
        raise argparse.ArgumentTypeError(f"parameters are a JSON object; in {_place(text)} is none")
    taken: dict[str, Any] = sendable(given)
    return taken


def payload(text: str) -> Any:
    """What a signal brings, or a result: JSON, `@FILE` that holds some, or `-` for stdin."""
    try:
        return sendable(from_json(_content(text)))
    except (ValueError, OSError) as error:
        raise argparse.ArgumentTypeError(f"no JSON in {_place(text)}: {reason(error)}") from None


def reason(error: Exception) -> str:
    """Why something could not be read; of a file without its name, which is told anyway."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


class StepResult(argparse.Action):
    """A step's name, and what it comes to, where that is given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        given: Any,
        option_string: str | None = None,
    ) -> None:
        name, *texts = given
        if len(texts) > 1:
            raise argparse.ArgumentError(self, "a name is wanted, and at most one result")
        try:
            setattr(namespace, self.dest, (name, payload(texts[0]) if texts else None))
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentError(self, str(error)) from None


def _content(text: str) -> str:
    if text == "-":
        return sys.stdin.read()
    if text.startswith("@"):
        with open(text[1:], encoding="utf-8") as file:
            return file.read()
    return text


def _place(text: str) -> str:
    """Where parameters or a payload are to come from; they themselves may be secrets, and stderr may go into a log."""
    return repr(text) if text == "-" or text.startswith("@") else "the argument"


def from_json(text: str) -> Any:
    """The value, as the socket takes it: finite numbers only, no key twice. Raises ValueError."""
    try:
        return json.loads(
            text,
            object_pairs_hook=codec.unique,
            parse_constant=_refused,
            parse_float=_finite,
            parse_int=codec.bounded_int,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def sendable(value: Any, max_depth: int = INT_MAX) -> Any:
    """The value, if the socket takes it: the daemon has no answer for what it does not, and hangs up.

    `max_depth` is of a message in which the value is a parameter.
    """
    try:
        codec.parse_parameters(codec.encode({"value": value})[:-1], max_depth)
    except InvalidParameterError:
        raise argparse.ArgumentTypeError("an integer is beyond 64 bit") from None
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("a text holds a lone surrogate") from None
    except ProtocolError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    except RecursionError:  # from Python 3.14 on what is read may be too deep to be written
        raise argparse.ArgumentTypeError("it is nested too deeply") from None
    return value


def _refused(text: str) -> NoReturn:
    raise ValueError(f"{text[:60]} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refused(text)


def seconds(text: str) -> float:
    """A time in seconds, or with a unit: `90`, `500ms`, `5m`."""
    span = try_span(text)
    if span is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 90, 1.5, 500ms, 5m, 2h or 1d")
    return span


def new_timeout(text: str) -> float | None:
    """Seconds as `seconds` has them; `none` takes a time away."""
    return None if text == NONE else seconds(text)


def expiry(text: str) -> float | str:
    """Seconds as `seconds` has them, or a moment as `start` has it."""
    span = try_span(text)
    if span is not None:
        return span
    try:
        return start(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a time such as 90, 5m or 2h nor a moment such as 18:00 or 2026-12-04T14:31:53Z"
        ) from None


def new_expiry(text: str) -> datetime | str | None:
    """A moment, also the one that is so long from now; `none` as before."""
    until = None if text == NONE else expiry(text)
    if not isinstance(until, float):
        return until
    try:
        return datetime.fromtimestamp(time.time() + until, UTC)
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(f"{text!r} is longer than there are dates") from None


def new_start(text: str) -> str | None:
    """A moment as `start` has it; `none` as before."""
    return None if text == NONE else start(text)


def since(text: str) -> str:
    """A moment as `instant` has it, or a time ago: `1h` is since an hour."""
    try:
        ago = seconds(text)
    except argparse.ArgumentTypeError:
        try:
            return instant(text)
        except argparse.ArgumentTypeError:
            raise argparse.ArgumentTypeError(
                f"{text!r} is neither a time ago such as 30m, 1h or 2d nor one such as 2026-12-04T14:31:53Z"
            ) from None
    try:
        return datetime.fromtimestamp(time.time() - ago, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(f"{text!r} is longer ago than there are dates") from None


def size(text: str) -> int:
    """Bytes, or with a unit of 1024: `4096`, `64K`, `1M`."""
    match = re.fullmatch(r"([1-9]\d{0,8})(|K|M|G)", text, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 4096, 64K or 1M")
    return int(match[1]) * _BYTES[match[2]]


def start(text: str) -> str:
    """A moment as `instant` has it, or a time of day: the next one that has not come yet, or tomorrow's."""
    match = re.fullmatch(r"(tomorrow\s+)?(\d\d?):(\d\d)(?::(\d\d))?", text.strip(), re.ASCII | re.IGNORECASE)
    if match is None:
        return instant(text)
    now = datetime.fromtimestamp(time.time(), UTC)
    try:
        at = _on_the_wall(now).replace(
            hour=int(match[2]), minute=int(match[3]), second=int(match[4] or 0), microsecond=0
        )
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time of a day such as 02:00") from None
    days = (0, 1) if match[1] is None else (1,)  # of the calendar: on the night on which clocks are set, too
    moments = [moment for day in days for moment in _moments(at + timedelta(days=day))]
    return next(moment for moment in moments if moment > now).isoformat()


def _moments(at: datetime) -> list[datetime]:
    """When the clocks here show this time, first to last: twice where they are set back; what they leap over is shown
    as much later as they leap.
    """
    moments = sorted({at.replace(fold=fold).astimezone(UTC) for fold in (0, 1)})
    return [moment for moment in moments if _on_the_wall(moment) >= at]


def _on_the_wall(moment: datetime) -> datetime:
    return moment.astimezone().replace(tzinfo=None)


def predecessor(text: str) -> dict[str, int]:
    """What a job comes after, as the socket has it: the id of a job, or `group:5`."""
    kind, separator, number = text.rpartition(":")
    if kind not in ("", "group") or (separator and not kind):
        raise argparse.ArgumentTypeError(f"{text!r} is neither the id of a job nor group:ID")
    return {kind or "id": job_id(number)}


def instant(text: str) -> str:
    """A moment as the daemon takes it, UTC; one without an offset is meant as local time."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a date and time such as 2026-12-04T14:31:53Z or '2026-12-04 14:31'"
        ) from None


def job_id(text: str) -> int:
    return _number(text, 1, INT_MAX)


def job(text: str) -> dict[str, Any]:
    """The id of a job, or what is none as an idempotency key, by the names that a client's `get` has for them."""
    try:
        return {"job_id": job_id(text)}
    except argparse.ArgumentTypeError:
        return {"key": text}


def attempt(text: str) -> Place:
    """An attempt of a job, or its latest."""
    place = try_place(text)
    if place is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no attempt, which is JOB.NUMBER, as in 5121.2")
    return place


def count(text: str) -> int:
    return _number(text, 0, INT_MAX)


def page_size(text: str) -> int:
    return _number(text, 1, pages.LARGEST)


def next_count(text: str) -> int:
    return _number(text, 1, _MOST_NEXT)


def tail_size(text: str) -> int:
    return _number(text, 0, pages.LARGEST)


def _number(text: str, least: int, most: int) -> int:
    is_number = bool(re.fullmatch(r"\d+", text, re.ASCII))
    if not is_number or len(text) > _DIGITS or not least <= int(text) <= most:
        is_beyond = is_number and text.lstrip("0") != ""
        range_of = f"from {least} to {most}" if most < INT_MAX or is_beyond else f"from {least} on"
        raise argparse.ArgumentTypeError(f"{text!r} is not a number {range_of}")
    return int(text)


def columns(text: str) -> list[str]:
    """Names of columns of a list, with commas between."""
    names = text.split(",")
    for name in names:
        if name not in look.CELLS:
            raise argparse.ArgumentTypeError(f"no column {name!r}; there are {', '.join(look.CELLS)}")
    return names


def is_text(text: str) -> bool:
    """Whether an argument is UTF-8; one that is not holds surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
