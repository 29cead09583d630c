"""Whether the daemon answers, asked by many at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from bgjob.errors import DaemonUnavailableError, ProtocolError
from bgjobd.web import pulse
from bgjobd.web.pulse import Pulse
from tests.support import eventually


class Hanging:
    """A daemon that answers nobody until it is let go, and then that it is not there, or what is to be raised."""

    def __init__(self, error: Exception | None = None) -> None:
        self.let_go = threading.Event()
        self.asked = 0
        self._error = error

    def ping(self) -> None:
        self.asked += 1
        self.let_go.wait(20)
        if self._error is not None:
            raise self._error


def test_of_many_who_ask_at_once_one_asks_the_daemon() -> None:
    for error, answer in ((None, True), (DaemonUnavailableError("it hangs"), False)):
        hanging = Hanging(error)
        asked = Pulse(hanging.ping)
        with ThreadPoolExecutor(20) as pool:
            answers = [pool.submit(asked.is_there) for _ in range(20)]
            eventually(lambda asked=asked: len(asked._asked._condition._waiters) == 19)
            hanging.let_go.set()
            assert {each.result(20) for each in answers} == {answer}
        assert hanging.asked == 1
        assert asked.is_there() is answer
        assert hanging.asked == 2


def test_who_waits_for_anothers_answer_waits_no_longer_than_the_patience(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pulse, "PATIENCE", 0.01)
    hanging = Hanging()
    asked = Pulse(hanging.ping)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(asked.is_there)
        eventually(lambda: hanging.asked)
        assert not asked.is_there()
        hanging.let_go.set()
        assert first.result(20)


def test_what_else_goes_wrong_is_raised_to_all() -> None:
    hanging = Hanging(ProtocolError("no JSON"))
    hanging.let_go.set()
    with pytest.raises(ProtocolError):
        Pulse(hanging.ping).is_there()
