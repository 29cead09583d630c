"""What `bgjob hosts` shows, and what it takes to say of a host that it is lost."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from bgjob.answers import Page
from bgjob.codec import JsonObject
from bgjob.commands import arguments
from bgjob.errors import InvalidParameterError
from tests.client.scripted import WHEN


def host(name: str, **more: Any) -> JsonObject:
    unset = ("code_version", "clock_difference", "trouble", "left_at", "lost_at", "drained_at")
    return {
        **dict.fromkeys(unset),
        "name": name,
        "id": 1,
        "term": 1,
        "is_own": False,
        "state": "alive",
        "seen_at": WHEN,
        "unseen_for": 2.0,
        "lost_after": 600.0,
        "slots": 4,
        "queues": ["default", "mail"],
        "classes": [],
        "running": 0,
        "version": "0.1.0",
        **more,
    }


class Hosts:
    """A client of a daemon that tells these hosts."""

    def __init__(self, *told: JsonObject, has_gone_back: bool = False) -> None:
        self._told = list(told)
        self._has_gone_back = has_gone_back
        self.lost: list[str] = []
        self.drained: JsonObject = {}
        self.asked: list[str | None] = []
        self.changed: list[JsonObject] = []

    def hosts(self) -> list[JsonObject]:
        return self._told

    def changes(self, limit: int) -> Page[JsonObject]:
        return Page(self.changed[:limit], None)

    def host_lost(self, name: str) -> None:
        self.lost.append(name)

    def drain(self, host: str | None) -> JsonObject:
        self.asked.append(host)
        return self.drained

    def host_accept(self) -> bool:
        return self._has_gone_back


def run(client: Hosts, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[list[str], str]:
    given = arguments.parse(["hosts", *words])
    assert given.run(cast(Any, client), given) == 0
    told = capsys.readouterr()
    return [" ".join(line.split()) for line in told.out.splitlines()], told.err


def test_each_host_is_shown_and_the_own_one_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    own = host("web1", is_own=True, running=3, code_version="736711a9ab89")
    full = host("web2", state="lost", unseen_for=700, trouble="the disk\x1b[2J is full")
    lines, said = run(Hosts(own, full), capsys)
    assert lines == [
        "HOST STATE SEEN RUNNING SLOTS QUEUES CODE VERSION",
        "web1 * alive 2 s ago 3 4 default, mail 736711a9ab89 0.1.0",
        "web2 lost, has trouble 11 min 40 s ago 0 4 default, mail 0.1.0",
    ]
    assert "bgjob: web2: the disk" in said
    assert "\x1b" not in said


def test_those_that_live_with_old_code_come_first(capsys: pytest.CaptureFixture[str]) -> None:
    """They know the classes of another that has loaded other code since."""
    client = Hosts(
        host("web1", code_version="new"),
        host("web2", code_version="old"),
        host("web3", code_version="old", state="lost"),
        host("web4", code_version="old", classes=["shop.Mail"]),
    )
    client.changed = [{"kind": "loaded", "what": {"code": code}} for code in ("new", "old")]
    lines, _ = run(client, capsys)
    assert [(line.split()[0], line.partition("mail ")[2]) for line in lines[1:]] == [
        ("web2", "old, old 0.1.0"),
        ("web1", "new 0.1.0"),
        ("web3", "old 0.1.0"),
        ("web4", "old 0.1.0"),
    ]


def test_a_reload_before_the_files_are_there_makes_no_other_host_old(
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = Hosts(host("web1", code_version="new"), host("web2", code_version="old"))
    client.changed = [
        {"kind": "loaded", "what": {"code": code, "was": "old"}} for code in ("old", "new", "old")
    ]
    lines, _ = run(client, capsys)
    assert [(line.split()[0], line.partition("mail ")[2]) for line in lines[1:]] == [
        ("web2", "old, old 0.1.0"),
        ("web1", "new 0.1.0"),
    ]


def test_json_has_them_as_the_daemon_tells_them(capsys: pytest.CaptureFixture[str]) -> None:
    lines, _ = run(Hosts(host("web1")), capsys, "--json")
    assert json.loads(" ".join(lines)) == {"hosts": [host("web1")]}


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (("lost",), "hosts lost needs the NAME of a host"),
        (("lost", "web2"), "hosts lost needs --its-jobs-may-run-twice: if that host lives after all"),
    ],
)
def test_a_host_is_lost_only_where_all_of_it_was_said(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], needed: str
) -> None:
    with pytest.raises(SystemExit):
        arguments.parse(["hosts", *words])
    assert needed in capsys.readouterr().err


def test_a_host_that_is_said_to_be_lost_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    client = Hosts()
    _, said = run(client, capsys, "lost", "web2", "--its-jobs-may-run-twice")
    assert client.lost == ["web2"]
    assert said.startswith("bgjob: host web2 counts as lost")


def test_a_host_that_is_not_there_cannot_be_lost_and_that_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Alone(Hosts):
        def host_lost(self, name: str) -> None:
            raise InvalidParameterError(parameter="name")

    given = arguments.parse(["hosts", "lost", "web9", "--its-jobs-may-run-twice"])
    assert given.run(cast(Any, Alone()), given) == 4
    assert capsys.readouterr().err.startswith(
        "bgjob: there is no other host web9 that could be lost; `bgjob hosts`"
    )


def test_a_drain_tells_what_goes_on_there_and_how_it_is_undone(capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str, **told: Any) -> str:
        client = Hosts()
        client.drained = {"host": "web2", "running": 3, "unseen_for": 2.0, **told}
        given = arguments.parse(["drain", *words])
        assert given.run(cast(Any, client), given) == 0
        assert client.asked == [given.host]
        return capsys.readouterr().err

    undone = "a restart of its daemon undoes it"
    assert said("--host", "web2") == f"bgjob: host web2 starts nothing new, 3 attempts go on; {undone}\n"
    assert said(running=0) == f"bgjob: host web2 starts nothing new, nothing runs; {undone}\n"
    assert "1 attempt goes on" in said(running=1)
    assert "it was not seen for 3 min, and hears of it once it is back" in said(unseen_for=180.0)


def test_a_database_is_accepted_only_where_it_has_gone_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert "taken as it is by now" in run(Hosts(has_gone_back=True), capsys, "accept")[1]
    assert "nothing to accept" in run(Hosts(), capsys, "accept")[1]
