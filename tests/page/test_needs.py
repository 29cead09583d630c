"""What the page shows of what needs somebody."""

from __future__ import annotations

from pathlib import Path

from bgjob.codec import Request as Asked
from tests.client.scripted import Line
from tests.page.serving import page

NEED = {
    "kind": "oldest_pending",
    "subject": "mail",
    "since": "2025-11-25T12:00:00.000000Z",
    "sentence": "a job of <mail> waits",
    "hint": "look at `bgjob list`",
}


def needing(line: Line, asked: Asked) -> bool:
    """What a daemon says that needs somebody."""
    if not asked.method.endswith(".Needs"):
        return False
    line.reply(needs=[NEED], more=1200)
    return True


def test_system_shows_each_need_with_what_to_do_and_nothing_of_it_is_markup(tmp_path: Path) -> None:
    with page(tmp_path, tells=needing) as served:
        shown = served.ask("GET /system").body.decode()
    assert "<b>Oldest pending</b> <bdi>a job of &lt;mail&gt; waits</bdi>" in shown
    assert "look at `bgjob list`" in shown
    assert "And 1,200 more." in shown


def test_system_says_where_nothing_needs_anybody(tmp_path: Path) -> None:
    with page(tmp_path) as served:
        assert b"Nothing needs anybody." in served.ask("GET /system").body
