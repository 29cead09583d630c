"""Long lists of `bgjob list` and `tail`: the daemon ends a search when its time is up, the command goes on with it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, cast

import pytest

from bgjob.answers import Page
from bgjob.client import Client
from bgjob.commands import arguments, pages

JOB = {
    "class_name": "shop.Mail",
    "method_name": "send",
    "status": "failed",
    "attempt": 1,
    "created_at": "2023-11-14T22:13:20.000000Z",
    "finished_at": "2023-11-14T22:13:20.000000Z",
    "cancel_requested_at": None,
    "error": "ValueError: no recipient",
}
ENTRY = {**JOB, "type": "failure", "message": "no recipient"}


class SlowDaemon:
    """A client of a daemon that looks at three jobs, or log entries, at a time; those of `ids` are what is sought."""

    def __init__(self, newest: int, *ids: int, interrupted_at: int | None = None) -> None:
        self.asked: list[tuple[int | None, int]] = []
        self._newest = newest
        self._ids = ids
        self._interrupted_at = interrupted_at

    def list(self, *, before: int | None, limit: int, **filters: Any) -> Page[dict[str, Any]]:
        return self._page(JOB, before, limit)

    def logs(self, *, before: int | None, limit: int, **filters: Any) -> Page[dict[str, Any]]:
        return self._page(ENTRY, before, limit)

    def _page(self, of: dict[str, Any], before: int | None, limit: int) -> Page[dict[str, Any]]:
        self.asked.append((before, limit))
        start = self._newest + 1 if before is None else before
        if start == self._interrupted_at:
            raise KeyboardInterrupt
        end = max(1, start - 3)
        found = [{**of, "id": id} for id in range(start - 1, end - 1, -1) if id in self._ids]
        if len(found) > limit:
            return Page(found[:limit], found[limit - 1]["id"])
        return Page(found, None) if end == 1 else Page(found, end, is_complete=False)


def _run(daemon: SlowDaemon, *words: str) -> int:
    given = arguments.parse(words)
    code: int = given.run(cast(Client, daemon), given)
    return code


def _ids(written: str) -> list[int]:
    return [int(line.split()[0]) for line in written.splitlines()[1:]]


@pytest.mark.parametrize(
    ("limit", "ids", "next"),
    [(50, [9, 2, 1], None), (3, [9, 2, 1], None), (2, [9, 2], 2), (1, [9], 7)],
)
def test_a_search_goes_on_until_enough_are_found_or_none_is_left(
    capsys: pytest.CaptureFixture[str], limit: int, ids: Sequence[int], next: int | None
) -> None:
    words = ("list", "--search", "recipient", "--limit", str(limit))
    assert _run(SlowDaemon(9, 1, 2, 9), *words) == 0
    told = capsys.readouterr()
    assert _ids(told.out) == ids
    assert told.err == ("" if next is None else f"bgjob: there are older ones: --before {next}\n")
    assert _run(SlowDaemon(9, 1, 2, 9), *words, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert ([job["id"] for job in answer["jobs"]], answer["next"]) == (ids, next)


def test_a_search_asks_for_no_more_than_are_missing_and_for_none_twice() -> None:
    daemon = SlowDaemon(3000, 3000, 2999)
    found = pages.search(daemon.list, 2 * pages.LARGEST)
    assert daemon.asked[:3] == [(None, 1000), (2998, 1000), (2995, 1000)]
    assert [job["id"] for job in found.items] == [3000, 2999]
    daemon = SlowDaemon(3000, 3000, 2990)
    assert [job["id"] for job in pages.search(daemon.list, 2).items] == [3000, 2990]
    assert daemon.asked == [(None, 2), (2998, 1), (2995, 1), (2992, 1)]


def test_no_job_matches_is_said_once_all_have_been_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    daemon = SlowDaemon(9)
    assert _run(daemon, "list", "--search", "nothing") == 0
    assert [before for before, _ in daemon.asked] == [None, 7, 4]
    assert "no job matches" in capsys.readouterr().err


def test_an_interrupt_ends_a_search_with_what_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("list",), ("list", "--json")):
        assert _run(SlowDaemon(9, 1, 9, interrupted_at=4), *words) == 130
    table, _, answer = capsys.readouterr().out.rpartition("\n{")
    assert _ids(table) == [9]
    assert '"next": 4}' in answer
    assert '"id": 9' in answer
    assert _run(SlowDaemon(9, 1, interrupted_at=4), "list") == 130
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "bgjob: interrupted; no job found so far; --before 4 goes on with older ones\n"


def test_an_interrupt_before_anything_was_looked_at_finds_nothing_to_tell() -> None:
    with pytest.raises(KeyboardInterrupt):
        _run(SlowDaemon(9, 1, interrupted_at=10), "list", "--json")


def test_a_tail_that_is_interrupted_prints_the_lines_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(SlowDaemon(9, 1, 8, 9, interrupted_at=4), "tail", "--json") == 130
    told = capsys.readouterr()
    assert [json.loads(line)["id"] for line in told.out.splitlines()] == [8, 9]
    assert told.err == "bgjob: interrupted; older lines were not searched\n"


@pytest.mark.parametrize(
    ("is_terminal", "patience", "times"), [(True, 0.0, 1), (True, 3600.0, 0), (False, 0.0, 0)]
)
def test_a_search_that_takes_long_says_so_once_on_a_terminal(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    is_terminal: bool,
    patience: float,
    times: int,
) -> None:
    monkeypatch.setattr(pages, "_PATIENCE", patience)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    pages.search(SlowDaemon(9, 1).list, 50)
    told = capsys.readouterr().err
    assert told.count("still searching") == times
    assert told.count("still searching, what is older than 7; Ctrl-C ends it") == times
