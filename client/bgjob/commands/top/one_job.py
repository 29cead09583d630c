"""What `bgjob top` shows of one job, or of one error: all that is known of it in lines, and which of them; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from bgjob import errors_told, text
from bgjob.answers import ErrorRead
from bgjob.commands import timeline
from bgjob.commands.errors import rows_of_error
from bgjob.timelines import timeline_of

_LABEL: Final = 10
_LEAST_PRINTED: Final = 3
"""The share of the room that the end of the output has at least, where there is so much of it: one in so many."""


class OneJob(NamedTuple):
    """A job as Get tells it, with the sentence of `why`, and the end of what its latest attempt has printed."""

    job: Mapping[str, Any]
    why: str
    output: str

    @property
    def id(self) -> int:
        return int(self.job["id"])


class OneError(NamedTuple):
    """An error as Error tells it, with ids of its newest jobs, and the code that is in force."""

    read: ErrorRead
    jobs: str
    code: str | None

    @property
    def id(self) -> int:
        return int(self.read.error["id"])


class Page(NamedTuple):
    """Lines that stay, and below them those of an output, of which the end is shown where there is no room for all."""

    above: list[str]
    printed: list[str]


def page_of(one: OneJob | OneError, at: float, columns: int) -> Page:
    """All of it, in lines that are folded to so many columns."""
    if isinstance(one, OneError):
        return Page(list(_of_error(one, at, columns)), [])
    above = [*_head(one, columns), *_timeline(one.job, at, columns), *_errors(one.job, columns)]
    printed = text.without_terminal(one.output).expandtabs().rstrip("\n").split("\n") if one.output else []
    title = ["", f"output of attempt {_latest(one.job)['number']}"] if printed else []
    return Page([*above, *_traceback(one.job)], [*title, *printed])


def shown(page: Page, skip: int, room: int) -> list[str]:
    """At most so many lines: from behind those that are to be skipped, else what stays, and the end of the output."""
    every = [*page.above, *page.printed]
    if skip or len(every) <= room:
        return every[skip : skip + room]
    kept = min(len(page.printed), max(room - len(page.above), room // _LEAST_PRINTED))
    title, printed = page.printed[:2], page.printed[2:]
    last = [*title, *printed[len(printed) - max(0, kept - len(title)) :]][:kept]
    return [*page.above[: room - len(last)], *last]


def most_skipped(page: Page, room: int) -> int:
    """Behind how many lines what is left just fills the room."""
    return max(0, len(page.above) + len(page.printed) - room)


# A job


def _head(one: OneJob, columns: int) -> Iterator[str]:
    yield ""
    yield f"job {one.job['id']}  {text.target(one.job)}  {one.job['status']}  queue {one.job['queue']}"
    yield from text.folded(text.one_line(one.why), columns)


def _timeline(job: Mapping[str, Any], at: float, columns: int) -> list[str]:
    if not job["attempts"]:
        return []
    return ["", *timeline.drawn(timeline_of(job, at), columns, lambda bar, style: bar)]


def _errors(job: Mapping[str, Any], columns: int) -> Iterator[str]:
    """What each attempt says of its end, and how far the latest is."""
    told = [
        (one["number"], text.one_line(f"{one['outcome']}: {one['error_message']}"))
        for one in job["attempts"]
        if one["error_message"]
    ]
    how_far = text.progress(_latest(job).get("progress"))
    told += [(_latest(job)["number"], text.one_line(how_far))] if how_far else []
    yield from [""] if told else []
    for number, sentence in told:
        yield from text.folded(f"attempt {number}  {sentence}", columns, _LABEL)


def _traceback(job: Mapping[str, Any]) -> list[str]:
    told = (_latest(job).get("traceback") or "").rstrip().expandtabs().splitlines()
    return ["", *told] if told else []


def _latest(job: Mapping[str, Any]) -> Mapping[str, Any]:
    return job["attempts"][-1] if job["attempts"] else {"number": 0}


# An error


def _of_error(one: OneError, at: float, columns: int) -> Iterator[str]:
    error = one.read.error
    yield ""
    yield f"error {error['id']}  {text.one_line(errors_told.title_of(error))}"
    for name, value in rows_of_error(one.read, one.jobs, one.code, at):
        if value:
            yield from text.folded(f"{name:<{_LABEL}}{value}", columns, _LABEL)
    if one.read.traceback:
        yield from ["", *one.read.traceback.rstrip().expandtabs().splitlines()]
