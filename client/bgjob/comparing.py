"""What differs between two attempts, of one job or of two: facts, parameters, lines of text; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from bgjob import text
from bgjob.timelines import waited_of

MOST_LINES: Final = 2_000
"""A side: of more a diff takes too long."""

MOST_OUTPUT: Final = 64 * 1024
"""How many of the last bytes of an output are compared."""

_MOST_DIFFERENCES: Final = 100
_DEEPEST: Final = 32
_LONGEST: Final = 200
_NOTHING: Final = "–"

Told = Mapping[str, Any]
Path = tuple[str | int, ...]
"""The names and places that lead to a value in parameters."""


class Place(NamedTuple):
    """An attempt of a job: `5121.2`; the latest where no number is given."""

    job_id: int
    number: int | None = None

    def __str__(self) -> str:
        return str(self.job_id) if self.number is None else f"{self.job_id}.{self.number}"


def try_place(written: str) -> Place | None:
    """What `5121.2` or `5121` names; None of anything else."""
    job_id, dot, number = written.partition(".")
    parts = [job_id, number] if dot else [job_id]
    if not all(part.isascii() and part.isdecimal() and 0 < len(part) < 19 and int(part) for part in parts):
        return None
    return Place(int(job_id), int(number) if dot else None)


class Side(NamedTuple):
    """An attempt with its job, which has this one among its attempts, and the end of its output, None if not known."""

    job: Told
    attempt: Told
    output: str | None = None

    @property
    def place(self) -> Place:
        return Place(self.job["id"], self.attempt["number"])


class Row(NamedTuple):
    """A fact of both, as it reads; empty where it is not known."""

    name: str
    a: str
    b: str

    @property
    def differs(self) -> bool:
        return self.a != self.b


class Difference(NamedTuple):
    """A place in the parameters, `/items/0/price`, and the value there as JSON; None where there is none."""

    path: str
    a: str | None
    b: str | None


class Lines(NamedTuple):
    """Two texts as one: each line behind " ", "-" for the first alone, "+" for the second, "@" where some are left out.

    Empty where they are the same; `is_too_long` where that was not looked for.
    """

    lines: Sequence[str] = ()
    is_too_long: bool = False


class Comparison(NamedTuple):
    """All of it; rows that differ come first, and `parameters` are those that differ alone."""

    a: Side
    b: Side
    rows: Sequence[Row]
    parameters: Sequence[Difference]
    has_more_parameters: bool
    traceback: Lines
    output: Lines


def compared(a: Side, b: Side) -> Comparison:
    """What differs between the two."""
    rows = [Row(*row) for row in zip(_FACTS, _facts(a), _facts(b), strict=True) if row[1] or row[2]]
    differences = _differences((), a.job["parameters"], b.job["parameters"], _DEEPEST)
    found = list(islice(differences, _MOST_DIFFERENCES + 1))
    return Comparison(
        a,
        b,
        sorted(rows, key=lambda row: not row.differs),
        found[:_MOST_DIFFERENCES],
        len(found) > _MOST_DIFFERENCES,
        lines_of(a.attempt["traceback"] or "", b.attempt["traceback"] or ""),
        lines_of(a.output or "", b.output or ""),
    )


def as_json(found: Comparison) -> dict[str, Any]:
    """The same for programs, and for templates; the sides by their places."""
    return {
        "a": str(found.a.place),
        "b": str(found.b.place),
        "rows": [{**row._asdict(), "differs": row.differs} for row in found.rows],
        "parameters": [one._asdict() for one in found.parameters],
        "has_more_parameters": found.has_more_parameters,
        "traceback": found.traceback._asdict(),
        "output": found.output._asdict(),
    }


_FACTS: Final = (
    "job",
    "outcome",
    "error",
    "waited",
    "took",
    "CPU",
    "memory",
    "output",
    "code",
    "host",
    "exit code",
    "signal",
    "queue",
    "priority",
    "timeout",
    "retries",
    "submitted by",
)


def _facts(side: Side) -> Iterator[str]:
    job, attempt = side.job, side.attempt
    waited = waited_of(job, attempt["number"])
    yield text.target(job)
    yield attempt["outcome"] or "running"
    yield _error(attempt)
    yield "" if waited is None else text.span(waited)
    yield _known(text.took(attempt["started_at"], attempt["finished_at"]))
    yield _known(text.span(text.cpu_time(attempt)))
    yield _known(text.size(attempt["max_rss"]))
    yield _known(text.size(attempt["output_bytes"]))
    yield attempt["code_version"] or ""
    yield attempt.get("host") or ""
    yield "" if attempt["exit_code"] is None else str(attempt["exit_code"])
    yield "" if attempt["signal"] is None else str(attempt["signal"])
    yield job["queue"]
    yield str(job["priority"])
    yield "none" if job["timeout"] is None else text.span(job["timeout"])
    yield str(job["max_retries"])
    yield "" if job["submitted_uid"] is None else f"uid {job['submitted_uid']}"


def _error(attempt: Told) -> str:
    told = [part for part in (attempt["error_type"], attempt["error_message"]) if part]
    return text.capped(": ".join(told), _LONGEST)


def _known(told: str) -> str:
    return "" if told == _NOTHING else told


def _differences(path: Path, a: Any, b: Any, deep: int) -> Iterator[Difference]:
    """Each place at which the two differ, the outermost where they are of different kinds."""
    match a, b:
        case {}, {} if deep:
            for name in [*a, *(name for name in b if name not in a)]:
                yield from _member((*path, name), a, b, deep)
        case [*_], [*_] if deep:
            ours, theirs = dict(enumerate(a)), dict(enumerate(b))
            for place in range(max(len(a), len(b))):
                yield from _member((*path, place), ours, theirs, deep)
        case _ if type(a) is not type(b) or a != b:
            yield Difference(_told(path), _json(a), _json(b))


def _member(path: Path, a: Mapping[Any, Any], b: Mapping[Any, Any], deep: int) -> Iterator[Difference]:
    """What differs in the member that is last in the path."""
    name = path[-1]
    if name in a and name in b:
        yield from _differences(path, a[name], b[name], deep - 1)
    else:
        ours, theirs = (_json(one[name]) if name in one else None for one in (a, b))
        yield Difference(_told(path), ours, theirs)


def _told(path: Path) -> str:
    """As RFC 6901 has it; of a long one the end."""
    return text.capped("".join(f"/{_escaped(str(name))}" for name in path), _LONGEST, keeps_end=True)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _json(value: Any) -> str:
    return text.capped(text.to_json(value), _LONGEST)


def lines_of(a: str, b: str) -> Lines:
    """What differs between two texts, line by line, with three lines around that do not."""
    if a == b:
        return Lines()
    ours, theirs = a.splitlines(), b.splitlines()
    if max(len(ours), len(theirs)) > MOST_LINES:
        return Lines(is_too_long=True)
    import difflib  # what no other command is to wait for

    told = difflib.unified_diff(ours, theirs, lineterm="")
    return Lines([_marked(line) for line in islice(told, _HEADS, None)])


_HEADS: Final = 2
"""Lines before them that name two files."""


def _marked(line: str) -> str:
    return "@" if line.startswith("@@") else line
