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

NEW = NEED | {"kind": "new_error", "subject": "14", "sentence": "E at <mail> is new"}


def needing(line: Line, asked: Asked) -> bool:
    """What a daemon says that needs somebody."""
    if not asked.method.endswith(".Needs"):
        return False
    line.reply(needs=[NEED, NEW], more=1200)
    return True


def test_system_shows_each_need_with_what_to_do_and_nothing_of_it_is_markup(tmp_path: Path) -> None:
    with page(tmp_path, tells=needing) as served:
        shown = served.ask("GET /system").body.decode()
    assert "<b>Oldest pending</b> <bdi>a job of &lt;mail&gt; waits</bdi>" in shown
    assert '<b>New error</b> <a href="/errors/14"><bdi>E at &lt;mail&gt; is new</bdi></a>' in shown
    assert "look at <code>bgjob list</code>" in shown
    assert "And 1,200 more." in shown


def content(line: Line, asked: Asked) -> bool:
    """What one says that needs nobody."""
    if asked.method.endswith(".Needs"):
        line.reply(needs=[], more=0)
    return asked.method.endswith(".Needs")


def test_system_says_where_nothing_needs_anybody(tmp_path: Path) -> None:
    with page(tmp_path, tells=content) as served:
        assert b"Nothing needs anybody." in served.ask("GET /system").body


ALERT = {
    "id": 14,
    "rule": "<nightly>",
    "kind": "paused",
    "subject": "mail",
    "host": "web1",
    "message": "queue <mail> is paused",
    "hint": None,
    "since": NEED["since"],
    "count": 1,
    "raised_at": NEED["since"],
    "last_at": NEED["since"],
    "cleared_at": None,
    "told_at": None,
    "end_told_at": None,
    "told_count": 0,
    "acknowledged_at": NEED["since"],
    "acknowledged_uid": 1000,
}


def alerting(line: Line, asked: Asked) -> bool:
    """What a daemon says that it has told."""
    if not asked.method.endswith(".Alerts"):
        return False
    new = ALERT | {"id": 15, "kind": "new_error", "subject": "77", "message": "it is new"}
    line.reply(alerts=[new, ALERT], next=14 if asked.parameters.get("before") is None else None)
    return True


def test_alerts_are_led_to_from_system_and_tell_who_has_taken_one_up(tmp_path: Path) -> None:
    with page(tmp_path, tells=alerting) as served:
        assert b'<a href="/alerts">' in served.ask("GET /system").body
        shown = served.ask("GET /alerts").body.decode()
        older = served.ask("GET /alerts?before=14").body.decode()
        assert served.ask("GET /alerts?before=x").status == 200
    assert "queue &lt;mail&gt; is paused" in shown
    assert "<bdi>&lt;nightly&gt;</bdi>" in shown
    assert "taken up by uid 1000" in shown
    assert '<a href="/errors/77"><bdi>it is new</bdi></a>' in shown
    assert '<a href="/alerts?before=14">Older</a>' in shown
    assert "Older" not in older


def silent(line: Line, asked: Asked) -> bool:
    """What one says that has told nothing."""
    if asked.method.endswith(".Alerts"):
        line.reply(alerts=[], next=None)
    return asked.method.endswith(".Alerts")


def test_where_none_was_raised_the_page_says_who_is_told(tmp_path: Path) -> None:
    with page(tmp_path, tells=silent) as served:
        assert b"No alert was raised" in served.ask("GET /alerts").body
