"""What the page tells of hosts that work from the same database, and where a job's attempts are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bgjob.codec import Request as Asked
from tests.client.scripted import Line
from tests.page.serving import SAMPLES, page
from tests.page.test_groups import words
from tests.page.test_metrics import told_of

WEB1: dict[str, Any] = SAMPLES["host"]
WEB2 = WEB1 | {"name": "<web2>", "id": 2, "is_own": False, "state": "lost", "running": 1, "unseen_for": 700.0}
WEB3 = WEB1 | {"name": "web3", "id": 3, "is_own": False, "trouble": "its clock is 7 s behind"}


def of_hosts(line: Line, asked: Asked) -> bool:
    """What a daemon that is one of three says of itself."""
    match asked.method.rpartition(".")[2]:
        case "Hosts":
            line.reply(hosts=[WEB1, WEB2, WEB3])
        case "Stats":
            line.reply(**SAMPLES["stats"], hosts=2)
        case "Output":
            line.refuse("Elsewhere", host="<web2>")
        case _:
            return False
    return True


def test_the_header_counts_the_hosts_that_live_where_there_are_several(tmp_path: Path) -> None:
    with page(tmp_path, tells=of_hosts) as served:
        assert b'<a href="/hosts">2 hosts</a>' in served.ask("GET /").body
    (tmp_path / "alone").mkdir()
    with page(tmp_path / "alone") as served:
        assert b"/hosts" not in served.ask("GET /").body


def test_each_host_has_a_row_with_what_it_does_and_its_trouble(tmp_path: Path) -> None:
    with page(tmp_path, tells=of_hosts) as served:
        shown = served.ask("GET /hosts").body.decode()
    assert [f"jobs?host={name}" in shown for name in ("web1", "%3Cweb2%3E", "web3")] == [True] * 3
    assert "<web2>" not in shown
    assert "alive: <bdi>its clock is 7 s behind</bdi>" in shown


def test_those_that_live_with_old_code_come_first_and_clocks_are_told(tmp_path: Path) -> None:
    latest = SAMPLES["change"]["what"]["code"]
    hosts = [
        WEB1 | {"code_version": latest},
        WEB2 | {"code_version": "old", "clock_difference": None},
        WEB3 | {"code_version": "old", "clock_difference": -7.0},
        WEB3 | {"name": "web4", "code_version": "other", "classes": ["shop.jobs.Email"]},
    ]

    def tells(line: Line, asked: Asked) -> bool:
        if asked.method.endswith(".Hosts"):
            line.reply(hosts=hosts)
        return asked.method.endswith(".Hosts")

    with page(tmp_path, tells=tells) as served:
        shown = words(served.ask("GET /hosts").body.decode())
    assert "web3" in shown.partition("web1")[0]
    assert "Code old Old bgjobd 1 Clock −7 s" in shown
    assert f"Code {latest} bgjobd 1 Clock 0 s" in shown
    assert "Code other bgjobd 1" in shown, "with other classes there is other code"
    assert "Code old bgjobd 1 Clock – Seen" in shown, "one that is lost works with none"


def test_of_what_is_known_on_another_host_alone_the_page_says_where(tmp_path: Path) -> None:
    with page(tmp_path, tells=of_hosts) as served:
        answer = served.ask("GET /jobs/1")
    assert answer.status == 200
    assert b"What it has printed is on host <bdi>&lt;web2&gt;</bdi>" in answer.body


def test_metrics_have_each_host_where_there_are_several() -> None:
    told = told_of(SAMPLES["stats"], hosts=[WEB1, WEB2, WEB3])
    assert told.value("host_alive", host="web1") == 1.0
    assert told.value("host_alive", host="<web2>") == 0.0
    assert told.value("host_unseen_seconds", host="<web2>") == 700.0
    assert told.value("host_trouble", host="web3") == 1.0
    assert (told.value("host_running", host="web1"), told.value("host_slots", host="web1")) == (2.0, 4.0)
    assert told.value("host_lost", host="<web2>") == 1.0
    assert told.labels("host_info")[0]["code_version"] == WEB1["code_version"]
    assert not [name for name in told_of(SAMPLES["stats"]).families if name.startswith("bgjobd_host")]


def test_of_hosts_that_had_the_same_name_metrics_have_the_last() -> None:
    before = WEB1 | {"state": "left", "slots": 2}
    now = WEB1 | {"id": 9, "state": "draining", "clock_difference": -7.0}
    told = told_of(SAMPLES["stats"], hosts=[now, before])
    assert told.labels("host_slots") == [{"host": "web1"}]
    assert (told.value("host_alive", host="web1"), told.value("host_draining", host="web1")) == (1.0, 1.0)
    assert told.value("host_clock_difference_seconds", host="web1") == -7.0
