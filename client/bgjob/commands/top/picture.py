"""What `bgjob top` shows: lines made of a scene, a view and a size; pure, and no line can move the cursor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from bgjob import errors_told, text
from bgjob.answers import is_for_review
from bgjob.commands import tables
from bgjob.commands.about import job_counts, queue_columns
from bgjob.commands.tables import Column, Cut
from bgjob.commands.top.controls import BINDINGS, CTRL_C, Mode, View, question, selected_row
from bgjob.commands.top.one_job import most_skipped, page_of, shown
from bgjob.commands.top.scene import Kind, Row, Scene, Sorting, age_of, key_of, rows_of

_LEAST_NAME: Final = 16
_FAILED_AT_ONCE: Final = 10
_NEEDS_AT_ONCE: Final = 10
_CHARACTERS_A_COLUMN: Final = 4


class Line(NamedTuple):
    """A line, in a style of `screen.painted`, or as the one that is selected."""

    text: str
    style: str | None = None
    is_selected: bool = False


def printed(scene: Scene, columns: int | None) -> list[Line]:
    """All of a scene, one below the other; in so many columns, or as wide as need be."""
    rows = rows_of(scene, Sorting.AGE, "")
    running = [row for row in rows if row.kind is Kind.RUNNING]
    failed = [row for row in rows if row.kind is Kind.FAILED][:_FAILED_AT_ONCE]
    queues = [row for row in rows if row.kind is Kind.QUEUE]
    head = [*_head(scene, View()), *_needs(scene, _NEEDS_AT_ONCE)]
    lines = [*head, *_queues(scene, columns, queues), *_running(scene, running, columns)]
    return _fitted([*lines, *_failed(scene, failed, columns)], columns)


def drawn(scene: Scene, view: View, columns: int, lines: int) -> list[Line]:
    """A screen full: at most so many lines, none of them wider than so many columns."""
    foot = [_foot(scene, view, columns)]
    head = _above(scene, view, lines)
    room = max(0, lines - len(head) - len(foot))
    match view.shown:
        case Mode.READING:
            body = _help()
        case Mode.IN_ONE:
            body = _one(scene, view, columns, room)
        case _ if lines < _TINY:
            body = _body(scene, view, columns, room + 1)[1:]  # without what parts it from the head
        case _:
            body = _body(scene, view, columns, room)
    padding = [Line("")] * max(0, room - len(body))
    return _fitted([*head, *body[:room], *padding, *foot], columns)[-lines:]


def _fitted(lines: Sequence[Line], columns: int | None) -> list[Line]:
    return [line._replace(text=_safe(line.text, columns)) for line in lines]


def _safe(written: str, columns: int | None) -> str:
    """The text on one line, in its columns; of a long one only what could be shown is looked at."""
    if columns is None:
        return text.one_line(written)
    return text.shortened(text.one_line(text.capped(written, columns * _CHARACTERS_A_COLUMN)), columns)


def within(scene: Scene, view: View, columns: int, lines: int) -> View:
    """The view, scrolled no further than to the end of what is read."""
    one = scene.look.one
    if not view.skip or one is None:
        return view
    room = lines - len(_above(scene, view, lines)) - 1
    return view._replace(skip=min(view.skip, most_skipped(page_of(one, scene.at, columns), room)))


def _one(scene: Scene, view: View, columns: int, room: int) -> list[Line]:
    """The job or error that is read, once it is known."""
    one = scene.look.one
    if one is None or view.selected is None or one.id != view.selected[1]:
        is_gone = one is None and scene.look.read == view.selected
        return [Line(""), Line("it is not there any more" if is_gone else "…")]
    return [Line(line) for line in shown(page_of(one, scene.at, columns), view.skip, room)]


# Head and foot


_TINY: Final = 8
"""Lines of a screen that has room for little more than one row of what runs."""


def _above(scene: Scene, view: View, lines: int) -> list[Line]:
    """What stands above the body; of a tiny screen one line."""
    needs = _needs(scene, lines // 8) if view.shown is not Mode.READING else []
    head = [*_head(scene, view), *needs]
    return head[: max(0, lines - 1) if lines >= _TINY else min(1, lines - 1)]


def _head(scene: Scene, view: View) -> list[Line]:
    stats = scene.look.stats
    first = [f"bgjobd {stats['version']}"]
    if scene.away is not None:
        lines = [Line(f"{first[0]}  {scene.away}", "red")]
    else:
        first += [f"{len(scene.look.attempts)} of {stats['slots']} slots"]
        first += [] if scene.rates is None else [f"a minute: {_rate(scene.rates.completed)} completed"]
        first += [] if scene.rates is None else [f"{_rate(scene.rates.failed)} failed"]
        lines = [Line(", ".join(first), "bold")]
    seen_at = f"at {datetime.fromtimestamp(scene.at, UTC):%H:%M:%S} UTC: " if scene.away is not None else ""
    lines += [Line(f"{seen_at}jobs: {job_counts(stats)}")]
    lines += [Line(stats["storage_trouble"], "red")] if stats.get("storage_trouble") else []
    return lines + ([Line(f"only with {view.only!r} in class or method", "yellow")] if view.only else [])


def _needs(scene: Scene, room: int) -> list[Line]:
    """What waits for somebody, as much as there is room for."""
    needs = scene.look.needs if room else []
    shown = needs if len(needs) <= room else needs[: max(0, room - 1)]
    lines = [Line(one["sentence"], "yellow") for one in shown]
    left = len(needs) - len(shown)
    return (
        [*lines, Line(f"{left} {'more ' if shown else ''}to be seen to: bgjob needs", "yellow")]
        if left
        else lines
    )


def _rate(a_minute: float) -> str:
    return f"{a_minute:.0f}" if a_minute >= 10 or a_minute.is_integer() else f"{a_minute:.1f}"


def _foot(scene: Scene, view: View, columns: int) -> Line:
    match view.mode:
        case Mode.TYPING:
            return Line(f"class or method: {view.typed}_", "bold")
        case Mode.ASKED:
            asked = text.one_line(question(view, scene))
            return Line(f"{text.shortened(asked, max(1, columns - len(_ANSWERS)))}{_ANSWERS}", "bold")
        case Mode.READING:
            return Line("any key goes back", "bold")
        case Mode.IN_ONE:
            return Line(view.message, "bold") if view.message else Line(_IN_ONE_KEYS)
        case Mode.LOOKING:
            return Line(view.message, "bold") if view.message else Line(_keys(view, columns))


_ANSWERS: Final = "? y/n"
_IN_ONE_KEYS: Final = "Esc back  jk scroll  c cancel  r retry  CR all  p pause"


def _keys(view: View, columns: int) -> str:
    """The first keys, as many as there is room for, and the last, which tells all."""
    told = [f"{one.shown} {one.word}" for one in BINDINGS if one.shown]
    more, last = [*told[1:-1], f"by {view.sorting.value}"], told[-1]
    while more and len("  ".join([told[0], *more, last])) > columns:
        more.pop()
    return "  ".join([told[0], *more, last])


_KEY_NAMES: Final = {
    "up": "↑",
    "down": "↓",
    "tab": "Tab",
    "enter": "Enter",
    " ": "Space",
    "page up": "PgUp",
    "page down": "PgDn",
    CTRL_C: "Ctrl-C",
}


def _help() -> list[Line]:
    keys = [", ".join(_KEY_NAMES.get(key, key) for key in one.keys) for one in BINDINGS]
    wide = max(map(len, keys))
    return [
        Line(""),
        *(Line(f"  {names:<{wide}}  {one.sentence}") for names, one in zip(keys, BINDINGS, strict=True)),
        Line(""),
        Line("  NO: number of the attempt; AGE: since its start, and what is usual;"),
        Line("  CPU: of one processor; TIME: of CPU, used until now"),
    ]


# The body


def _body(scene: Scene, view: View, columns: int, room: int) -> list[Line]:
    rows = rows_of(scene, view.sorting, view.only)
    chosen = selected_row(view, rows)
    running = [row for row in rows if row.kind is Kind.RUNNING]
    failed = [row for row in rows if row.kind in (Kind.FAILED, Kind.ERROR)]
    queues = len(scene.look.stats["queues"])
    for_queues, for_running, for_failed = _shares(room, queues, len(running), len(failed))
    shown_running, shown_failed = _window(running, chosen, for_running), _window(failed, chosen, for_failed)
    queue_rows = _window([row for row in rows if row.kind is Kind.QUEUE], chosen, for_queues)
    lines = _queues(scene, columns, queue_rows, chosen) if for_queues else []
    lines += _running(scene, shown_running, columns, len(running), chosen)
    below = _failed if scene.look.errors is None else _errors
    return lines + (below(scene, shown_failed, columns, len(failed), chosen) if for_failed else [])


_ABOVE: Final = 2
"""Lines above the rows of a part: one that parts it from the one before, and its titles."""


def _shares(room: int, queues: int, running: int, failed: int) -> tuple[int, int, int]:
    """How many rows the parts get: what runs goes before, then the others have what is left of their wishes.

    Where room is scarce there are no queues, and then no failed jobs.
    """
    running = max(1, running)
    left = room - _ABOVE - 1
    failed_least = min(failed, max(1, room // 4)) if failed and left > _ABOVE else 0
    left -= failed_least + (_ABOVE if failed_least else 0)
    queues_least = min(queues, max(1, room // 5)) if left > _ABOVE + 1 else 0
    left -= queues_least + (_ABOVE if queues_least else 0)
    for_running = 1 + min(running - 1, max(0, left))
    left -= for_running - 1
    more_failed = min(failed - failed_least, max(0, left)) if failed_least else 0
    left -= more_failed
    more_queues = min(queues - queues_least, max(0, left)) if queues_least else 0
    return queues_least + more_queues, for_running, failed_least + more_failed


def _window(rows: list[Row], chosen: Row | None, room: int) -> list[Row]:
    """As many rows as there is room for, the chosen one among them if it is one of these."""
    place = rows.index(chosen) if chosen in rows else 0
    first = min(max(0, place - room + 1), max(0, len(rows) - room))
    return rows[first : first + room]


def _queues(scene: Scene, columns: int | None, rows: list[Row], chosen: Row | None = None) -> list[Line]:
    queues = scene.look.stats["queues"]
    shown = [row.told for row in rows]
    table = tables.layout(
        [
            column._replace(cut=Cut.END) if column.title == "QUEUE" else column
            for column in queue_columns(shown, scene.at, text.about)
        ],
        columns,
    )
    lines = [
        Line(_padded(line, columns or 0), is_selected=True)
        if row == chosen
        else Line(line, "yellow" if row.told["paused"] else None)
        for line, row in zip(table.rows(), rows, strict=True)
    ]
    return [_parting("queues", len(shown), len(queues)), Line(table.titles(), "bold"), *lines]


def _running(
    scene: Scene,
    rows: list[Row],
    columns: int | None,
    count: int | None = None,
    chosen: Row | None = None,
) -> list[Line]:
    if not rows:
        return [Line(""), Line("nothing runs")]
    told = [row.told for row in rows]
    busy = [scene.busy.get(key_of(one)) for one in told]
    table = tables.layout(
        [
            Column("JOB", [str(one["job_id"]) for one in told], is_number=True),
            Column("WHAT", [text.target(one) for one in told], cut=Cut.BEGINNING, least=_LEAST_NAME),
            Column("NO", [str(one["number"]) for one in told], is_number=True),
            Column("AGE", [_age(one, scene.at) for one in told], is_number=not any(map(text.usually, told))),
            Column("CPU", ["–" if share is None else f"{share:.0f}%" for share in busy], is_number=True),
            Column("TIME", [text.span(one["cpu"]) for one in told], is_number=True),
            Column("MEMORY", [text.size(one["memory"]) for one in told], is_number=True),
            Column("PROGRESS", [text.progress(one["progress"]) for one in told], cut=Cut.END),
            Column("QUEUE", [one["queue"] for one in told], cut=Cut.END),
            *_hosts(told),
            Column("PID", [str(one["pid"] or "–") for one in told], is_number=True),
        ],
        columns,
    )
    return _table("running attempts", table, rows, count, chosen, columns)


def _hosts(attempts: Sequence[Mapping[str, Any]]) -> list[Column]:
    """Where each is, if that is told of any."""
    names = [one.get("host") or "" for one in attempts]
    return [Column("HOST", names, cut=Cut.END)] if any(names) else []


def _age(attempt: Any, at: float) -> str:
    if attempt["started_at"] is None:
        return "–"
    return f"{text.about(age_of(attempt, at))}{text.usually(attempt)}"


def _failed(
    scene: Scene,
    rows: list[Row],
    columns: int | None,
    count: int | None = None,
    chosen: Row | None = None,
) -> list[Line]:
    if not rows:
        return []
    told = [row.told for row in rows]
    table = tables.layout(
        [
            Column("FAILED", [str(one["id"]) for one in told], is_number=True),
            Column("WHAT", [text.target(one) for one in told], cut=Cut.BEGINNING, least=_LEAST_NAME),
            Column("WHEN", [text.when(one["finished_at"], scene.at) for one in told]),
            Column("WHY", [_why(one) for one in told], cut=Cut.END),
        ],
        columns,
    )
    return _table("latest failed jobs", table, rows, count, chosen, columns)


def _errors(
    scene: Scene,
    rows: list[Row],
    columns: int | None,
    count: int | None = None,
    chosen: Row | None = None,
) -> list[Line]:
    if not rows:
        return []
    told = [row.told for row in rows]
    code = scene.look.stats.get("code_version")
    table = tables.layout(
        [
            Column("ERROR", [str(one["id"]) for one in told], is_number=True),
            Column("WHAT", [errors_told.title_of(one) for one in told], cut=Cut.END, least=_LEAST_NAME),
            Column("LAST", [text.when(one["last_at"], scene.at) for one in told]),
            Column("ATTEMPTS", [str(one["attempts"]) for one in told], is_number=True),
            Column("FAILED", [str(one["failed"]) for one in told], is_number=True),
            Column("NOTE", [errors_told.age_of(one, code) for one in told]),
        ],
        columns,
    )
    return _table("errors", table, rows, count, chosen, columns)


def _why(job: Mapping[str, Any]) -> str:
    error = job["error"] or ""
    return f"{text.FOR_REVIEW}: {error}" if is_for_review(job) else error


def _table(
    name: str,
    table: tables.Layout,
    rows: list[Row],
    count: int | None,
    chosen: Row | None,
    columns: int | None,
) -> list[Line]:
    lines = [
        Line(_padded(line, columns or 0), is_selected=True) if row == chosen else Line(line)
        for line, row in zip(table.rows(), rows, strict=True)
    ]
    return [
        _parting(name, len(rows), len(rows) if count is None else count),
        Line(table.titles(), "bold"),
        *lines,
    ]


def _padded(line: str, columns: int) -> str:
    return line + " " * (columns - text.width(line))


def _parting(name: str, shown: int, count: int) -> Line:
    """What stands between two parts: nothing, or how many rows there is no room for."""
    return Line("" if shown == count else f"{shown} of {count} {name}")
