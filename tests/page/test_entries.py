"""A job's log as its page has it, and its output as a terminal leaves it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bgjob.answers import OutputPart
from bgjob.text import without_terminal
from bgjobd.web.entries import after_text, rows_of
from bgjobd.web.printed import Seen, shown_of
from tests.client.test_timelines import BEGIN, at


def entry(number: int, message: str, attempt: int | None = 1, type: str = "success") -> dict[str, Any]:
    created_at = datetime.fromtimestamp(BEGIN + number, UTC).isoformat()
    return {"id": number, "type": type, "message": message, "attempt": attempt, "created_at": created_at}


LOG = [
    entry(1, "Background job initiated", None),
    entry(2, "Background job started"),
    entry(3, "Background job is at 10%", type="info"),
    entry(4, "Background job started to connect", type="info"),
    entry(5, "Background job is at 20%: half", type="info"),
    entry(6, "Background job started", 2),
    entry(7, "Background job is at 5%", 2, "info"),
    entry(8, "Background job completed processing", 2),
]


def told(is_all: bool) -> list[tuple[int, str, int | None]]:
    return [(one["id"], one["after"], one["progress_of"]) for one in rows_of(LOG, at(0), is_all)]


def test_what_only_says_that_all_goes_its_way_is_left_out_unless_all_is_asked_for() -> None:
    assert told(is_all=False) == [(4, "+0:04", None), (8, "+0:08", None)]
    assert [one[0] for one in told(is_all=True)] == [1, 2, 4, 5, 6, 7, 8]


def test_the_progress_of_an_attempt_is_one_row_its_latest() -> None:
    assert [one for one in told(is_all=True) if one[2] is not None] == [(5, "+0:05", 1), (7, "+0:07", 2)]


def test_what_a_job_says_is_shown_though_it_begins_as_what_is_said_of_it() -> None:
    said = [
        entry(1, "Background job is at risk", type="info"),
        entry(2, "Background job is at 3 of 4 disks", type="failure"),
        entry(3, "Background job is at risk", type="info"),
        entry(4, "Background job started to swap", type="info"),
        entry(5, "Background job initiated a rollback", type="info"),
    ]
    assert [one["id"] for one in rows_of(said, at(0), is_all=False)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "+0:00"), (3.9, "+0:03"), (137, "+2:17"), (90_000, "+25:00:00")]
)
def test_how_long_after_the_submit_it_came_is_told_as_on_a_stopwatch(seconds: float, text: str) -> None:
    assert after_text(seconds) == text


@pytest.mark.parametrize(
    ("printed", "left"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;a title\x07text\x1b]8;;http://x\x1b\\link", "textlink"),
        ("10%\r20%\r30%\nend", "30%\nend"),
        ("dos\r\nlines\r\n", "dos\nlines\n"),
        ("no end \x1b[31", "no end \x1b[31"),
        ("\x1b]0;no end", "\x1b]0;no end"),
        ("\u202e \x00", "\u202e \x00"),
    ],
)
def test_a_text_is_told_as_a_terminal_leaves_it(printed: str, left: str) -> None:
    assert without_terminal(printed) == left


PIECES = st.lists(
    st.sampled_from([b"a", b"\n", b"\r", b"\x1b[31m", "é".encode(), b"\x1b]0;t\x07"]), max_size=12
)


@example([b"a", b"\r", b"\x1b[31m"], 1)
@example([b"a", b"\r", b"\x1b[31m", b"a"], 3)
@example([b"a", b"\r", "é".encode()], 3)
@given(PIECES, st.integers(0, 40))
def test_what_is_told_in_two_pieces_is_what_is_told_at_once(pieces: list[bytes], cut: int) -> None:
    """As the page puts them together: a piece that rewinds takes the place of the line that stands there."""
    whole = b"".join(pieces)
    first = shown_of([OutputPart(1, whole[:cut])], Seen(), is_whole=False)
    second = shown_of([OutputPart(1, whole)], Seen(1, first.end), is_whole=True)
    kept = first.text.rpartition("\n") if second.rewinds else (first.text, "", "")
    together = (kept[0] + kept[1] if first.end else "") + second.text
    at_once = shown_of([OutputPart(1, whole)], Seen(), is_whole=True).text
    assert together == at_once
