"""The start that waits: what it says, how often, and what ends it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bgjob.words import EntryType
from bgjobd import service
from bgjobd.config import loading
from bgjobd.core.hosts import Pulse, Term
from bgjobd.daemon import waiting_start
from bgjobd.daemon.fence import Fence
from bgjobd.daemon.waiting_start import EndedEarlyError, WaitingStart
from bgjobd.host.sd_notify import Notifier
from bgjobd.store.database import UncertainCommitError
from bgjobd.store.engines.places import place_of
from bgjobd.store.engines.server_errors import AwayServerError, UnusableServerError
from bgjobd.store.hosts import Joined, Wait

AWAY = AwayServerError(Path("db"), "it is away")


class Server:
    """Fails with these, one a try, and is there behind the last."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.tried = 0

    def prepare(self, on_progress: Any) -> bool:
        self.tried += 1
        if self._errors:
            raise self._errors.pop(0)
        return True


class Listener(Notifier):
    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.told: list[str] = []

    def more_time(self) -> None:
        self.asked += 1

    def status(self, tell: Any) -> None:
        self.told.append(tell())


Said = list[tuple[EntryType, str]]


def start(server: Any, notifier: Notifier, wants_end: asyncio.Event | None = None) -> tuple[bool, Said]:
    said: Said = []

    async def wait() -> bool:
        own = wants_end or asyncio.Event()
        return await WaitingStart(notifier, own, lambda *line: said.append(line)).prepare(server)

    return asyncio.run(wait()), said


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_start, "_FIRST_PAUSE", 0.001)


def test_a_server_that_is_there_is_not_spoken_of() -> None:
    notifier = Listener()
    assert start(Server(), notifier) == (True, [])
    assert notifier.told == []


def test_each_reason_is_said_once_and_systemd_hears_of_each_try() -> None:
    notifier, server = Listener(), Server(AWAY, AWAY, AwayServerError(Path("db"), "it starts"))
    _, said = start(server, notifier)
    assert [message.partition(";")[0] for _, message in said[:-1]] == [
        "waits for the database: it is away",
        "waits for the database: it starts",
    ]
    assert said[-1][0] is EntryType.INFO
    assert "the database is there, after" in said[-1][1]
    assert (server.tried, notifier.asked, len(notifier.told)) == (4, 3, 3)


def test_what_waiting_does_not_mend_is_raised_at_once() -> None:
    server = Server(UnusableServerError(Path("db"), "its encoding is LATIN1"))
    with pytest.raises(UnusableServerError):
        start(server, Listener())
    assert server.tried == 1


def test_who_wants_an_end_gets_it_amid_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_start, "_FIRST_PAUSE", 3600.0)

    async def wait() -> None:
        wants_end = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, wants_end.set)
        server: Any = Server(AWAY)
        await WaitingStart(Listener(), wants_end, lambda *line: None).prepare(server)

    with pytest.raises(EndedEarlyError):
        asyncio.run(wait())


def test_who_may_not_take_a_term_yet_asks_again_with_what_it_saw_once_the_wait_is_over() -> None:
    notifier, said, asked = Listener(), [], []

    def take(watched: Pulse | None, was_away: bool) -> Joined | Wait:
        asked.append((watched, was_away))
        return Wait((3, 7), 0.01) if watched is None else Joined(Term(1, 4, "web1"), was_lost=False)

    start = WaitingStart(notifier, asyncio.Event(), lambda *line: said.append(line))
    joined = asyncio.run(start.join(take))
    assert joined == Joined(Term(1, 4, "web1"), was_lost=False)
    assert asked == [(None, False), ((3, 7), False)]
    assert [(kind, text[:12]) for kind, text in said] == [(EntryType.INFO, "waits 0.0 s ")]
    assert notifier.asked >= 1


JOINED = Joined(Term(1, 4, "web1"), was_lost=False)


def test_whoever_had_to_wait_for_the_database_says_so_when_it_asks_for_a_term() -> None:
    asked: list[tuple[Pulse | None, bool]] = []

    def take(*one: Any) -> Joined | Wait:
        asked.append(one)
        return Wait((3, 7), 0.01) if len(asked) == 1 else JOINED

    async def wait() -> Joined | None:
        start = WaitingStart(Listener(), asyncio.Event(), lambda *_: None)
        server: Any = Server(AWAY)
        await start.prepare(server)
        return await start.join(take)

    assert asyncio.run(wait()) == JOINED
    assert asked == [(None, True), ((3, 7), False)]


def test_a_database_that_goes_away_in_the_wait_for_a_term_is_waited_for() -> None:
    answers = [Wait((3, 7), 0.01), AWAY, Wait((3, 7), 0.01), JOINED]
    asked: list[tuple[Pulse | None, bool]] = []
    said: Said = []

    def take(*one: Any) -> Joined | Wait:
        asked.append(one)
        answer: Any = answers[len(asked) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    start = WaitingStart(Listener(), asyncio.Event(), lambda *line: said.append(line))
    assert asyncio.run(start.join(take)) == JOINED
    assert asked == [(None, False), ((3, 7), False), ((3, 7), True), ((3, 7), False)]
    assert [text.partition(",")[0] for kind, text in said if kind is EntryType.INFO][
        1
    ] == "the database is there"


def test_who_waits_for_a_term_is_ended_at_once() -> None:
    async def wait() -> None:
        wants_end = asyncio.Event()
        wants_end.set()
        await WaitingStart(Notifier(), wants_end, lambda *_: None).join(lambda *_: Wait((3, 7), 1e6))

    with pytest.raises(EndedEarlyError):
        asyncio.run(wait())


def test_a_term_whose_commit_nobody_knows_the_end_of_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def join(*_: Any) -> None:
        raise UncertainCommitError("the server has closed the connection")

    monkeypatch.setattr(service, "join", join)
    file = tmp_path / "bgjobd.toml"
    file.write_text(
        "[daemon]\nstate_dir = '.'\ndatabase = 'postgresql://bgjobd@/nowhere'\n[hosts]\nname = 'web1'\n"
    )
    config = loading.load(file, {}, is_root=False)
    with pytest.raises(AwayServerError):
        service._take_term(place_of(config.daemon), config, Fence(None, 1.0), None, False)
