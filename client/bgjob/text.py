"""How jobs, times and schemas read to a person; pure: `now` is an argument, nothing is printed."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import Any, Final

from bgjob.amounts import (
    about_text,
    expected_text,
    relative_text,
    rough_span_text,
    size_text,
    span_text,
)
from bgjob.answers import has_expired, is_for_review
from bgjob.words import (
    BEHIND,
    BLOCKED,
    EXPIRED,
    RETRYING,
    REVIEW,
    SCHEDULED,
    SNOOZED,
    WAITING,
    Outcome,
    Status,
)

_JOINERS: Final = "\u200c\u200d"  # scripts and emoji need them, and they move nothing
_EMOJI: Final = "[\u2194\u2195\u2600-\u27bf\u2b1b\U0001f000-\U0001faff][\ufe0f\U0001f3fb-\U0001f3ff]*"
_CHARACTERS: Final = re.compile(
    f"[\U0001f1e6-\U0001f1ff]{{2}}|{_EMOJI}(?:\u200d{_EMOJI})*|.\ufe0f?", re.DOTALL
)
"""What a person sees as one: a flag of two letters, emoji that are joined, a character and how it is to look."""


_SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]?[0-Z\\^_a-z])")
"""What colours a terminal, moves its cursor, or sets its title."""

_LONGEST_KEY: Final = 24
"""Columns of a key beside other words."""


FOR_REVIEW: Final = f"{Status.FAILED}, for {REVIEW}"
"""What a job is called of which nobody knows what it did."""


HELD: Final = "held"
"""What a pending job is called that waits for its class, which is held."""


def standing(job: Mapping[str, Any], now: float) -> str:
    """The job's status; in words of their own those that wait for others or for their time, or for a person's word, and
    what has expired.
    """
    if has_expired(job):
        return EXPIRED
    if is_for_review(job):
        return FOR_REVIEW
    if job["status"] == Status.PENDING and job.get("is_blocked"):
        return BLOCKED
    if job["status"] == Status.PENDING and job.get("is_behind"):
        return BEHIND
    if job["status"] == Status.PENDING and job.get("waiting_on") is not None:
        return WAITING
    if job["status"] != Status.PENDING or not is_future(job["scheduled_at"], now):
        is_held = job["status"] == Status.PENDING and job.get("is_held")
        return HELD if is_held else str(job["status"])
    number, outcome = _latest_attempt(job)
    if outcome == Outcome.SNOOZED:
        return SNOOZED
    return RETRYING if number else SCHEDULED


def told_standing(job: Mapping[str, Any], now: float) -> str:
    """The same, and behind which key: `behind customer:7`."""
    stands, key = standing(job, now), job.get("key")
    return stands if stands != BEHIND or key is None else f"{BEHIND} {shortened(one_line(key), _LONGEST_KEY)}"


def try_signal(job: Mapping[str, Any]) -> str | None:
    """The signal that the job waits for; None where it waits for none."""
    kind, _, name = (job.get("waiting_on") or "").partition(" ")
    return name if kind == "signal" and job["status"] == Status.PENDING else None


def wait(job: Mapping[str, Any], now: float) -> str:
    """What a waiting job waits for: `for signal packed, until 14:31:53`; empty where it does not."""
    if standing(job, now) != WAITING:
        return ""
    name = try_signal(job)
    told = [] if name is None else [f"for signal {one_line(name)}"]
    until = [] if job["scheduled_at"] is None else [f"until {when(job['scheduled_at'], now)}"]
    return ", ".join([*told, *until])


def how_far(job: Mapping[str, Any]) -> str:
    """What a running job has told of itself last, or the step that it is in; empty where neither is known."""
    if job["status"] != Status.RUNNING:
        return ""
    if job["progress"] is not None:
        return progress(job["progress"])
    return "" if job.get("step") is None else f"in step {one_line(job['step'])}"


def attempt_of(job: Mapping[str, Any]) -> int:
    """The number of the latest attempt, of a summary as of a whole job; 0 before the first."""
    return _latest_attempt(job)[0]


def _latest_attempt(job: Mapping[str, Any]) -> tuple[int, str | None]:
    """Its number and outcome."""
    if "attempts" in job:
        attempts = [(attempt["number"], attempt["outcome"]) for attempt in job["attempts"]]
        return max(attempts, key=itemgetter(0), default=(0, None))
    return int(job["attempt"]), job.get("outcome")  # which the daemons before it did not tell


def target(job: Mapping[str, Any]) -> str:
    return f"{job['class_name']}::{job['method_name']}"


def waiting(job: Mapping[str, Any], now: float) -> str:
    """Where a job stands that somebody waits for: `job 12 running, attempt 1 of at most 4`."""
    number = attempt_of(job)
    message = f"job {job['id']} {told_standing(job, now)}"
    return f"{message}, attempt {attempts(job)}" if number else message


def attempts(job: Mapping[str, Any]) -> str:
    """The latest attempt's number and, as long as there may be others, how many at most: `1/4`."""
    number = attempt_of(job)
    if Status(job["status"]).is_final:
        return str(number)
    # The retry that a pending job waits for is among those spent.
    next_one = 1 if job["status"] == Status.PENDING else 0
    return f"{number}/{number + next_one + max(0, job['max_retries'] - job['retry_count'])}"


def retries_spent(job: Mapping[str, Any]) -> int:
    """How many retries have begun: the one that a pending job waits for has been granted, and is still to come."""
    waits = job["status"] == Status.PENDING
    return max(0, job["retry_count"] - 1) if waits else int(job["retry_count"])


def message_of(entry: Mapping[str, Any]) -> str:
    """What a log entry says, and of which job: `myapp.jobs.ExampleJob::run - message`."""
    return one_line(f"{target(entry)} - {entry['message']}")


def step_name(step: Mapping[str, Any]) -> str:
    """The step's name; a wait as the job's `waiting_on` has it, from the second for a signal on with its turn."""
    if step["kind"] == "step":
        return str(step["name"])
    if step["kind"] == "signal":
        return f"signal {step['name']}" + (f", turn {step['turn']}" if step["turn"] > 1 else "")
    return f"{step['kind']} {step['turn']}"


def step_took(step: Mapping[str, Any], now: float) -> str:
    """How long the step took, or how it stands with one that is not finished."""
    if step["finished_at"] is not None:
        late = ", no signal came" if step["timed_out"] else ""
        return f"{took(step['began_at'], step['finished_at'])}{late}"
    if step["kind"] == "step":
        return "not finished"
    return "waits" if step["until"] is None else f"waits until {when(step['until'], now)}"


def raised(attempt: Mapping[str, Any]) -> str:
    """The class of the exception with its module; empty where that is not known, or where Python itself has it."""
    path = attempt["error_class"] or ""
    return "" if path.startswith("builtins.") else path


def progress(told: Mapping[str, Any] | None) -> str:
    """How far an attempt is: `50% half of it`; empty where it has not said."""
    return "" if told is None else f"{told['fraction']:.0%} {told['message']}".rstrip()


def usually(told: Mapping[str, Any]) -> str:
    """How long others of its method took, behind how long it runs: `, usually 40 s`; empty where that is not known."""
    expected = told.get("expected")
    return "" if expected is None else f", usually {rough_span_text(expected['p50'])}"


def expectation(told: Mapping[str, Any]) -> str:
    """How long it may take: `half end within 40 s, 95 of 100 within 2 min; about 20 s left`; empty in the same way."""
    expected = told.get("expected")
    if expected is None:
        return ""
    return expected_text(expected["p50"], expected["p95"], expected["left"], expected["times"])


def members(group: Mapping[str, Any]) -> str:
    """How many members of a group have ended, and how: `31 of 40 completed, 1 failed`."""
    if not group["total"]:
        return "no members"
    ended_badly = [f"{group[word]} {word}" for word in (Status.FAILED, Status.CANCELLED) if group[word]]
    return ", ".join([f"{group['completed']} of {group['total']} completed", *ended_badly])


# Times


def instant(text: str) -> float:
    """Seconds since the epoch of a stored time."""
    return datetime.fromisoformat(text).timestamp()


def is_future(text: str | None, now: float) -> bool:
    return text is not None and instant(text) > now


def date(text: str) -> str:
    """A stored time to the second, UTC."""
    return text[:19].replace("T", " ")


def when(text: str | None, now: float) -> str:
    """A stored time from here: `2 min ago`, `in 5 s`; a dash where there is none."""
    if text is None:
        return "–"
    seconds = instant(text) - now
    if abs(seconds) < 1:
        return "now"
    return relative_text(seconds)


def moment(text: str | None, now: float) -> str:
    """A stored time in both ways: `2024-12-04 14:31:53 UTC (2 min ago)`; empty where there is none."""
    return "" if text is None else f"{date(text)} UTC ({when(text, now)})"


def key_rules(queue: Mapping[str, Any]) -> str:
    """What a queue says of keys: `2 slots, 10 in 1 s, turns by user`; empty where that is nothing."""
    slots, rate, share = (queue.get(name) for name in ("slots_per_key", "rate_per_key", "share"))
    told = (
        "" if slots is None else f"{slots} slot{'s' if slots > 1 else ''}",
        rate or "",
        "" if share in (None, "none") else f"turns by {share}",
    )
    return ", ".join(filter(None, told))


def paused(queue: Mapping[str, Any], now: float) -> str:
    """Whether a queue is paused, and until when: `paused, resumes in 10 min`; empty where it is not."""
    if not queue["paused"]:
        return ""
    at = queue.get("resumes_at")  # daemons before it did not tell
    return "paused" if at is None else f"paused, resumes {when(at, now)}"


def about(seconds: float) -> str:
    """A time span that is past in its largest unit: `5 s`, `2 min`, `3 h`, `4 days`."""
    return about_text(seconds)


def took(started_at: str | None, finished_at: str | None) -> str:
    """How long it took: `120 ms`, `3 min 20 s`; a dash where it has not ended."""
    if started_at is None or finished_at is None:
        return "–"
    return span(instant(finished_at) - instant(started_at))


def span(seconds: float | None) -> str:
    """A time span as exactly as a person needs it; a dash where it is not known."""
    return "–" if seconds is None else span_text(seconds)


def cpu_time(used: Mapping[str, Any]) -> float | None:
    """The CPU seconds of an attempt, or of a job's latest in a list; None where they are not known."""
    if used["cpu_user"] is None or used["cpu_system"] is None:
        return None
    return float(used["cpu_user"] + used["cpu_system"])


def size(count: int | None) -> str:
    """Bytes in a readable unit; a dash where they are not known."""
    return "–" if count is None else size_text(count)


# Text that others wrote


def one_line(text: str) -> str:
    """The text on one line that cannot move the cursor, colour the terminal or turn the order of reading."""
    return _escaped(text, "")


def tabbed(text: str) -> str:
    """As one_line, with its tabs."""
    return _escaped(text, "\t")


def lines(text: str) -> str:
    """As one_line, with its newlines and tabs."""
    return _escaped(text, "\n\t")


def without_terminal(text: str) -> str:
    """The text as a terminal would leave it there, without colours: of a line that was written over the last of it.

    >>> without_terminal("\\x1b[31mred\\x1b[0m\\r\\n10%\\r20%\\r\\nend")
    'red\\n20%\\nend'
    """
    plain = without_sequences(text)
    return plain if "\r" not in plain else "\n".join(map(_last_written, plain.split("\n")))


def without_sequences(text: str) -> str:
    """The text without what tells a terminal of colours, titles and the like."""
    return _SEQUENCE.sub("", text)


def _last_written(line: str) -> str:
    return line.rstrip("\r").rpartition("\r")[2]


def plain(value: Any) -> str:
    """A JSON value on one line; a text without its quotes."""
    return one_line(value if isinstance(value, str) else to_json(value))


def to_json(value: Any) -> str:
    """The value as JSON on one line, with what could move a terminal's cursor or turn its text written as escapes."""
    told = json.dumps(value, ensure_ascii=False)
    if told.isprintable():
        return told
    return "".join(c if _is_shown(c) else json.dumps(c)[1:-1] for c in told)


def _escaped(text: str, kept: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if _is_shown(c) or c in kept else c.encode("unicode_escape").decode() for c in text)


def _is_shown(character: str) -> bool:
    return character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"


def width(text: str) -> int:
    """How many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_measure(), _CHARACTERS.findall(text)))


@cache
def _measure() -> Callable[[str], int]:
    """What tells how many columns a character takes, with what combines with it."""
    try:
        from rich.cells import cell_len  # here, as most texts do without
    except ModuleNotFoundError:  # the client is installed alone
        return _roughly
    return cell_len


def _roughly(character: str) -> int:
    """The same, but for flags and some scripts."""
    if unicodedata.category(character[0]) in ("Mn", "Me", "Cf"):
        return 0
    return 1 + (unicodedata.east_asian_width(character[0]) in "WF")


def folded(text: str, most: int | None, indent: int = 0, measure: Callable[[str], int] = width) -> list[str]:
    """The text in lines of at most so many columns, broken between words; all but the first are indented.

    One line where `most` is None; a word that is longer than a line is not broken. `measure` tells how many columns it
    takes, where some of it takes none.
    """
    lines: list[str] = []
    for word in text.split(" ") if most is not None else [text]:
        if lines and measure(lines[-1]) + 1 + measure(word) <= (most or 0):
            lines[-1] += f" {word}"
        else:
            lines.append(" " * indent * bool(lines) + word)
    return lines


def shortened(text: str, most: int, *, keeps_end: bool = False) -> str:
    """The text in at most so many columns; an ellipsis stands for what was cut off, its end or its beginning."""
    if width(text) <= most:
        return text
    characters = _CHARACTERS.findall(text)
    if not keeps_end:
        return "".join(_fitting(characters, most - 1)) + "…"
    kept = _fitting(reversed(characters), most - 1)
    while kept and width(kept[-1]) == 0:  # what it was to combine with is cut off
        kept.pop()
    return "…" + "".join(reversed(kept))


def capped(text: str, most: int, *, keeps_end: bool = False) -> str:
    """The text in at most so many characters; cuts as `shortened`, without a look at what is cut off."""
    if len(text) <= most:
        return text
    return f"…{text[len(text) - most + 1 :]}" if keeps_end else f"{text[: most - 1]}…"


def _fitting(characters: Iterable[str], most: int) -> list[str]:
    """As many of the first characters as so many columns hold."""
    kept = []
    for character in characters:
        most -= width(character)
        if most < 0:
            break
        kept.append(character)
    return kept


# Schemas


def signature(method: Mapping[str, Any]) -> str:
    """How a method is called: `send(to: str, subject: str, copies: int = 1)`."""
    schema = method["schema"]
    definitions, properties, required = (schema.get(name) for name in ("$defs", "properties", "required"))
    definitions = definitions if isinstance(definitions, dict) else {}
    required = required if isinstance(required, list) else []
    arguments = [
        _argument(name, form, definitions, name in required)
        for name, form in (properties if isinstance(properties, dict) else {}).items()
    ]
    others = schema.get("additionalProperties", True)
    if others is not False:
        arguments.append("**others" if others is True else f"**others: {_type_of(others, definitions)}")
    return f"{method['name']}({', '.join(arguments)})"


def _argument(name: str, form: Any, definitions: Mapping[str, Any], is_required: bool) -> str:
    kind = _type_of(form, definitions)
    told = f"{name}: {kind}" if kind else name
    if is_required:
        return told
    default = f"{form['default']!r}" if isinstance(form, dict) and "default" in form else "…"
    return f"{told} = {default}" if kind else f"{told}={default}"


_TYPES: Final[Mapping[str, str]] = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
    "array": "list",
    "object": "dict",
}


def _type_of(form: Any, definitions: Mapping[str, Any]) -> str:
    """The type that a JSON Schema stands for, as Python would write it; empty where anything goes."""
    match form:
        case {"$ref": str(reference)}:
            name = reference.rpartition("/")[2]
            match definitions.get(name):
                case {"enum": [*values]}:
                    return _type_of({"enum": values}, {})
            return name
        case {"enum": [*values]}:
            return " | ".join(repr(value) for value in values)
        case {"const": value}:
            return repr(value)
        case {"anyOf": [*forms]} | {"oneOf": [*forms]}:
            return " | ".join(dict.fromkeys(_type_of(one, definitions) or "any" for one in forms))
        case {"type": "array", "items": items}:
            inner = _type_of(items, definitions)
            return f"list[{inner}]" if inner else "list"
        case {"type": "string", "format": "password"}:
            return "secret"
        case {"type": "string", "format": str(kind)}:
            return kind
        case {"type": str(kind)}:
            return _TYPES.get(kind, kind)
        case _:
            return ""
