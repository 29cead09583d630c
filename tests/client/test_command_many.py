"""What `bgjob retry --matching` says, asks and does, and how changes read."""

from __future__ import annotations

import io
import json
import sys
from typing import Any, cast

import pytest

from bgjob import Filter, changes_told
from bgjob.answers import DoneToMany, Matched, Page
from bgjob.commands import arguments
from bgjob.words import ChangeKind

WHEN = "2024-12-04T14:31:53.000000Z"
CLASSES = [
    {"class_name": "shop.Mail", "count": 14, "at_most_once": 0},
    {"class_name": "shop.Charge", "count": 3, "at_most_once": 3},
]
MATCHED = Matched(17, 0, 3, CLASSES, WHEN, WHEN, WHEN)


class Daemon:
    """A client of one that has 17 jobs that match, and does what it is asked."""

    def __init__(self, matched: Matched = MATCHED) -> None:
        self.matched = matched
        self.wanted: list[tuple[Filter, str]] = []
        self.asked: list[dict[str, Any]] = []

    def matching(self, wanted: Filter, to: str) -> Matched:
        self.wanted.append((wanted, to))
        return self.matched

    def retry_matching(self, wanted: Filter, **given: Any) -> DoneToMany:
        self.asked.append(given)
        return DoneToMany(14, 3, 7)

    def cancel_matching(self, wanted: Filter, **given: Any) -> DoneToMany:
        self.asked.append(given)
        return DoneToMany(17, 0, 8)

    def changes(self, *, before: int | None, limit: int) -> Page[Any]:
        rows = [
            {
                "id": 7,
                "at": WHEN,
                "kind": "loaded",
                "what": {"code": "4f2a1c", "was": "9be07d"},
                "who": "uid 1000",
            },
            {"id": 6, "at": WHEN, "kind": "paused", "what": {"queue": "nightly"}, "who": None},
        ]
        return Page(rows[:limit], None)


def run(daemon: Daemon, *words: str) -> int:
    given = arguments.parse(words)
    code: int = given.run(cast(Any, daemon), given)
    return code


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Somebody at a terminal, who types what is put in."""
    typed = io.StringIO()
    monkeypatch.setattr(sys, "stdin", typed)
    monkeypatch.setattr(typed, "isatty", lambda: True, raising=False)
    return typed


def types(person: io.StringIO, line: str) -> None:
    person.write(line)
    person.seek(0)


def test_it_says_how_many_and_which_before_it_does_what_was_said(capsys: pytest.CaptureFixture[str]) -> None:
    daemon = Daemon()
    words = ("retry", "--matching", "--class", "shop.Mail::send", "--status", "failed", "--error", "14")
    assert run(daemon, *words, "--spread", "1m", "--yes") == 0
    assert daemon.wanted == [
        (Filter(status=["failed"], class_name="shop.Mail", method_name="send", error=14), "retry")
    ]
    assert daemon.asked == [{"as_of": WHEN, "expected": 17, "spread": 60.0, "at_most_once": False}]
    told = capsys.readouterr().err
    assert "bgjob: 17 jobs match: shop.Mail 14, shop.Charge 3\n" in told
    assert "3 of them may be tried but once, and are left out; --at-most-once runs them again" in told
    assert "14 jobs are to run again; 3 left out" in told
    assert "`bgjob list --bulk 7` lists them, `bgjob cancel --matching --bulk 7` undoes it" in told


@pytest.mark.parametrize(
    ("answer", "code", "asked"), [("y\n", 0, 1), ("yes\n", 0, 1), ("n\n", 1, 0), ("", 1, 0)]
)
def test_a_person_is_asked_and_no_answer_is_no(
    person: io.StringIO, capsys: pytest.CaptureFixture[str], answer: str, code: int, asked: int
) -> None:
    daemon = Daemon()
    types(person, answer)
    assert run(daemon, "retry", "--matching", "--status", "failed") == code
    assert len(daemon.asked) == asked
    assert "retry 14 jobs? [y/N] " in capsys.readouterr().err


def test_a_dry_run_does_nothing_and_asks_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    daemon = Daemon(Matched(2, 1, 2, CLASSES[1:], WHEN, WHEN, WHEN))
    assert run(daemon, "cancel", "--matching", "--bulk", "7", "--dry-run") == 0
    assert daemon.asked == []
    told = capsys.readouterr().err
    assert "1 of them run, and are stopped" in told
    assert "tried but once" not in told


def test_json_tells_what_matched_and_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Daemon(), "cancel", "--matching", "--class", "shop.Mail", "--yes", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["count"], told["done"], told["left_out"], told["change"]) == (17, 17, 0, 8)


def test_where_nothing_matches_nothing_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    daemon = Daemon(Matched(0, 0, 0, [], None, None, WHEN))
    assert run(daemon, "retry", "--matching", "--status", "failed", "--yes") == 0
    assert (daemon.asked, capsys.readouterr().err) == ([], "bgjob: no job matches\n")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("retry",), "needs the ID of a job, or --matching"),
        (("retry", "12", "--matching", "--status", "failed"), "takes IDs or --matching, not both"),
        (("cancel", "12", "--class", "shop.Mail"), "--class goes with --matching"),
        (("retry", "12", "--spread", "1m"), "--spread goes with --matching"),
        (("retry", "--matching", "--status", "failed", "--anyway"), "--anyway goes with IDs"),
        (("retry", "--matching", "--queue", "mail", "--yes"), "--matching needs one of --status, --class"),
        (("retry", "--matching", "--status", "failed"), "say --yes, or --dry-run"),
        (("cancel", "--matching", "--status", "pending", "--json"), "say --yes, or --dry-run"),
        (
            ("retry", "--matching", "--status", "pending", "--yes"),
            "invalid choice: 'pending' (choose from 'failed', 'cancelled')",
        ),
        (("cancel", "--matching", "--status", "failed", "--yes"), "invalid choice: 'failed'"),
        (("cancel", "--matching", "--class", "a.B", "--spread=1m"), "unrecognized arguments: --spread"),
    ],
)
def test_what_does_not_fit_together_is_a_wrong_use(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], why: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(SystemExit) as caught:
        arguments.parse(words)
    assert caught.value.code == 2
    assert why in capsys.readouterr().err


def test_changes_are_a_table_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Daemon(), "changes", "--limit", "1") == 0
    assert "code 4f2a1c loaded, was 9be07d" in capsys.readouterr().out
    assert run(Daemon(), "changes", "--json") == 0
    assert [one["id"] for one in json.loads(capsys.readouterr().out)["changes"]] == [7, 6]


# How a change reads

SENTENCES = {
    "started": ({"version": "1.2", "host": "web1"}, "daemon 1.2 started, host web1"),
    "loaded": ({"code": "4f2a1c", "was": "9be07d", "host": None}, "code 4f2a1c loaded, was 9be07d"),
    "reload_failed": ({"reason": "no\n  module x"}, "reload failed: no module x"),
    "paused": ({"queue": "nightly", "until": WHEN}, f"queue nightly paused until {WHEN}"),
    "resumed": ({"queue": "nightly"}, "queue nightly resumed"),
    "retried_many": (
        {"filter": {"status": ["failed"], "class_name": "a.B"}, "done": 1204, "left_out": 3, "is_over": True},
        "1,204 jobs retried, 3 left out (failed, class a.B)",
    ),
    "cancelled_many": (
        {"filter": {"bulk": 7}, "done": 1, "left_out": 0, "is_over": False},
        "1 job cancelled, not all of them yet (change 7)",
    ),
    "schedule_changed": (
        {"did": "removed", "schedules": ["a", "b"], "count": 12},
        "schedules a, b and 10 more removed",
    ),
    "class_held": ({"class": "a.B", "why": "crashes"}, "class a.B held: its attempts crash"),
    "class_resumed": (
        {"class": "a.B", "why": "its code is another one"},
        "class a.B held no more: its code is another one",
    ),
    "host_lost": ({"host": "web2"}, "host web2 lost"),
    "unheard_of": ({}, "unheard of"),
}


@pytest.mark.parametrize("kind", [*ChangeKind, "unheard_of"])
def test_each_kind_of_change_has_its_sentence(kind: str) -> None:
    what, told = SENTENCES[kind]
    assert changes_told.sentence({"kind": kind, "what": what}) == told


@pytest.mark.parametrize("kind", ChangeKind)
def test_what_another_version_has_told_otherwise_is_a_sentence_too(kind: str) -> None:
    assert changes_told.sentence({"kind": kind, "what": {}})


def test_code_that_was_loaded_first_or_again_is_told_so() -> None:
    assert changes_told.sentence({"kind": "loaded", "what": {"code": "a", "was": None}}) == "code a loaded"
    assert (
        changes_told.sentence({"kind": "loaded", "what": {"code": "a", "was": "a"}}) == "code a loaded again"
    )
