"""What the page says on a console that is not read: nobody who says something waits, and what it cost is said later."""

from __future__ import annotations

import threading

import pytest

from bgjobd.web import console
from bgjobd.web.settings import Settings


def test_lines_that_nobody_reads_in_time_are_counted_and_said_later(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go, written = threading.Event(), list[bytes]()

    def write(line: bytes) -> None:
        let_go.wait(20)
        written.append(line)

    monkeypatch.setattr(console, "_write", write)
    monkeypatch.setattr(console, "_CONSOLE", console._Console())
    for _ in range(console._MOST_WAITING + 20):
        console.say(Settings("s.sock", "unix:p.sock", console="text"), "many")
    let_go.set()
    console.finish()
    kept = written.count(b"bgjobd-web: many\n")
    assert console._MOST_WAITING <= kept <= console._MOST_WAITING + 1  # one may be on its way
    dropped = console._MOST_WAITING + 20 - kept
    assert (
        written[-1].decode()
        == f"bgjobd-web: {dropped} lines of the page were dropped, as stderr was not read\n"
    )


def test_a_console_that_is_closed_is_nobodys_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_STDERR", -1)
    monkeypatch.setattr(console, "_CONSOLE", console._Console())
    console.say(Settings("s.sock", "unix:p.sock", console="text"), "unheard")
    console.finish()
