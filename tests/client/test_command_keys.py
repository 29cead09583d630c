"""What `bgjob keys` shows, and what other commands tell of the keys that jobs share."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest

from bgjob import command, text
from bgjob.answers import PageBy
from bgjob.codec import JsonObject, Reply, Request
from bgjob.commands import arguments, screen
from tests.client.scripted import STANDING, Line, ScriptedDaemon, method_of, summary, whole
from tests.client.test_shapes import ANSWERS
from tests.fuzz.commands import shown_by


def key(
    name: str, running: int = 0, ready: int = 0, behind: int = 0, next_at: str | None = None
) -> JsonObject:
    return {"key": name, "running": running, "ready": ready, "behind": behind, "next_at": next_at}


class Keys:
    """A client of a daemon that has these keys, the busiest first, two of them a page."""

    def __init__(self, *told: JsonObject) -> None:
        self._told = told

    def keys(
        self,
        queue: str,
        *,
        search: str | None = None,
        after: str | None = None,
        limit: int,
        busiest: bool = False,
    ) -> PageBy[Any, str]:
        if busiest:
            return PageBy(list(self._told[:limit]), None)
        in_order = sorted(self._told, key=lambda one: str(one["key"]))
        found = [one for one in in_order if one["key"] > (after or "") and (search or "") in one["key"]]
        limit = min(limit, 2)
        return PageBy(found[:limit], found[limit - 1]["key"] if len(found) > limit else None)


def run(client: Keys, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[list[str], str]:
    given = arguments.parse(["keys", "mail", *words])
    assert given.run(cast(Any, client), given) == 0
    told = capsys.readouterr()
    return [" ".join(line.split()) for line in told.out.splitlines()], told.err


SOME = (
    key("k-b\x1b[2J", 2, 0, 1000),
    key("k-c", 0, 1, 3),
    key("k-d", 1, 0, 3),
    key("k-a", 1, 1),
    key("e", 1),
)


def test_the_busiest_keys_are_those_that_the_daemon_says(capsys: pytest.CaptureFixture[str]) -> None:
    lines, said = run(Keys(*SOME), capsys)
    assert lines == [
        "KEY RUNNING READY BEHIND NEXT",
        "k-b\\x1b[2J 2 0 1000+ –",
        "k-c 0 1 3 –",
        "k-d 1 0 3 –",
        "k-a 1 1 0 –",
        "e 1 0 0 –",
    ]
    assert said == ""
    lines, said = run(Keys(*SOME), capsys, "--limit", "1")
    assert (len(lines), said) == (2, "bgjob: there are more keys; --limit shows them\n")
    assert run(Keys(), capsys) == ([], "bgjob: no job of queue mail that runs or waits has a key\n")


def test_those_that_are_searched_for_come_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    lines, said = run(Keys(*SOME), capsys, "--search", "k-")
    assert ([line.split()[0] for line in lines[1:]], said) == (["k-a", "k-b\\x1b[2J", "k-c", "k-d"], "")
    lines, said = run(Keys(*SOME), capsys, "--search", "k-", "--limit", "3")
    assert (len(lines), said) == (4, "bgjob: there are more keys; --limit shows them\n")
    lines, said = run(Keys(*SOME), capsys, "--search", "k-", "--limit", "1", "--json")
    assert json.loads(lines[0]) == {"keys": [SOME[3]], "next": "k-a"}
    assert run(Keys(*SOME), capsys, "--search", "x") == ([], "bgjob: no key matches\n")


def test_a_key_tells_when_its_next_job_may_start() -> None:
    told = {"keys": [key("a", behind=1, next_at="2999-01-01T00:00:00.000000Z")], "next": None}
    assert re.search(r"in \d+ days$", shown_by("keys mail", Reply(told)).splitlines()[1])


# What others tell

BEHIND = {"is_behind": True, "key": "customer:7"}


def test_a_list_tells_behind_which_key_a_job_is() -> None:
    jobs = [summary(1, **BEHIND), summary(2, **{**BEHIND, "key": "x" * 99}), summary(3, "running", key="a")]
    told = {"jobs": jobs, "next": None, "is_complete": True}
    lines = shown_by("list --columns id,status,key", Reply(told)).splitlines()
    assert lines[1].split() == ["1", "behind", "customer:7", "customer:7"]
    assert lines[2].split() == ["2", "behind", f"{'x' * 23}…", "x" * 99]
    assert lines[3].split() == ["3", "running", "a"]


def test_a_job_tells_its_key_its_turn_and_that_it_is_behind() -> None:
    nothing = {"next": None, "steps": [], "signals": [], "jobs": [], "is_complete": True}
    told = {"job": whole(1, turn=5, **BEHIND), **nothing}
    lines = shown_by("show 1", Reply(told)).splitlines()
    assert "status      behind customer:7" in lines
    assert "queue       default, priority 0, turn 5" in lines
    assert "key         customer:7" in lines
    assert "turn" not in shown_by("show 1", Reply({**told, "job": whole(1, "completed", turn=5, key="a")}))
    earlier = {name: value for name, value in whole(1).items() if name not in ("key", "turn", "is_behind")}
    assert "key" not in shown_by("show 1", Reply({**told, "job": earlier}))
    assert text.waiting(summary(1, **BEHIND), 0.0) == "job 1 behind customer:7"


def test_the_word_is_coloured_with_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "has_colours", lambda stream: True)
    assert screen.painted("behind customer:7") == "\x1b[33mbehind customer:7\x1b[0m"
    assert screen.painted("behindhand") == "behindhand"


def test_queues_tell_how_many_are_behind_and_what_holds_of_a_key() -> None:
    queue = {"name": "mail", "pending": 4, "running": 0, "slots": 2, "paused": False, "oldest_pending": None}
    rules = {"slots_per_key": 1, "rate_per_key": "10 in 1 s", "share": "user", "behind": 3, "blocked": 1}
    none = {"slots_per_key": None, "rate_per_key": None, "share": "none", "behind": 0}
    queues = [queue | rules, queue | none | {"name": "other"}, queue | {"name": "of an earlier daemon"}]
    stats = {**STANDING, "jobs": {"pending": 8}, "blocked": 1, "queues": queues}
    lines = shown_by("stats", Reply({**stats, "needs": [], "more": 0})).splitlines()
    assert any(line.startswith("jobs: 8 pending (1 blocked, 3 behind), ") for line in lines)
    assert [line.split() for line in lines[-4:]] == [
        ["QUEUE", "PENDING", "BLOCKED", "BEHIND", "RUNNING", "SLOTS", "PER", "KEY"],
        ["mail", "4", "1", "3", "0", "2", "1", "slot,", "10", "in", "1", "s,", "turns", "by", "user"],
        ["other", "4", "0", "2"],
        ["of", "an", "earlier", "daemon", "4", "0", "2"],
    ]


def test_classes_tell_the_key_and_the_rate() -> None:
    told, _ = ANSWERS["classes"]
    lines = shown_by("classes", Reply(dict(told))).splitlines()
    assert any("exponential, key customer, unique order, unique part" in line for line in lines), lines
    assert any("slots 2, rate 100 in 1 min, " in line for line in lines), lines


def test_a_job_is_run_with_its_key_and_listed_by_it(tmp_path: Path) -> None:
    def script(line: Line, asked: Request) -> None:
        if method_of(asked) == "Submit":
            line.reply(id=1, created=True)
        else:
            line.reply(jobs=[], next=None, is_complete=True)

    with ScriptedDaemon(tmp_path / "s", script) as daemon:
        for words in ("run a.B::c --key once --limit-key customer:7", "list --limit-key customer:7"):
            assert command.main(["--socket", str(daemon.path), *words.split()]) == 0
    submitted, listed = (one.parameters for one in daemon.asked)
    assert (submitted["options"]["key"], submitted["options"]["idempotency_key"]) == ("customer:7", "once")
    assert listed["key"] == "customer:7"
