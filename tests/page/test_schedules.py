"""The views of schedules over a scripted daemon: which of them are shown, what is asked for, where a button leads."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from bgjob.codec import Request as Asked
from bgjobd.web.exchange import Request, Response
from bgjobd.web.settings import Settings
from bgjobd.web.views import Page, schedules
from tests.client.scripted import Line, ScriptedDaemon
from tests.page.serving import SAMPLES, WHEN, page, tell_samples

NEXT = [{"at": f"2040-01-01T{hour:02}:30:00Z", "local": f"{hour:02}:30", "note": None} for hour in range(24)]


class Configured:
    """A page over a daemon that has these schedules."""

    def __init__(self, socket: Path) -> None:
        self.schedules: list[dict[str, Any]] = []
        self.occurrences: list[dict[str, Any]] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._page = Page(Settings(f"unix:{socket}", "unix:/nowhere", per_page=10, actions=True))
        self.forget()

    def forget(self) -> None:
        """A page that has not asked for anything yet, and few schedules."""
        self.schedules = [
            made("nightly", last=None, refused=None),
            made("often", cron=None, every=60.0, paused_at=WHEN, refused=None, last=None),
            made("failing", refused=None),
            made("wrong", last=None),
        ]
        self.occurrences = [copy.deepcopy(SAMPLES["occurrence"])]
        self.asked = []
        self._page.views.of(schedules.ScheduleViews)._coming._remembered = {}
        self._page.views.of(schedules.ScheduleViews)._coming._asked_at = 0.0

    def tell(self, line: Line, asked: Asked) -> None:
        method, given = asked.method.rpartition(".")[2], dict(asked.parameters)
        self.asked.append((method, given))
        match method:
            case "Schedules":
                found = [one for one in self.schedules if given.get("name") in (None, one["name"])]
                line.reply(schedules=[one | {"next": one["next"][: given["next"]]} for one in found])
            case "Occurrences":
                line.reply(occurrences=self.occurrences[: given["limit"]], next=None)
            case _:
                tell_samples(line, asked)

    def parameters(self, method: str) -> list[dict[str, Any]]:
        return [given for name, given in self.asked if name == method]

    def ask(self, path: str, accept: str = "text/html", **query: str) -> Response:
        return self._page.respond(Request("GET", path, query, {"host": "localhost", "accept": accept}))

    def read(self, path: str, **query: str) -> str:
        answer = self.ask(path, **query)
        assert answer.status == 200
        return answer.body.decode()

    def named(self, **query: str) -> list[str]:
        """Those of the table."""
        return re.findall(r'<tr id="s-([^"]+)"', self.read("/schedules", **query))

    def post(self, path: str, **form: str) -> str:
        """Where a button leads."""
        token = self._page.means.guard.form_token
        headers = {"host": "localhost", "content-type": "application/x-www-form-urlencoded"}
        body = urlencode({"token": token, **form}).encode()
        answer = self._page.respond(Request("POST", path, {}, headers, body))
        assert answer.status == 303
        return answer.headers["Location"]


def made(name: str, **others: Any) -> dict[str, Any]:
    return copy.deepcopy(SAMPLES["schedule"]) | {"name": name, "next": NEXT, "paused_at": None} | others


@pytest.fixture(scope="module")
def only_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Configured]:
    socket = tmp_path_factory.mktemp("page") / "d.sock"
    configured = Configured(socket)
    with ScriptedDaemon(socket, configured.tell):
        yield configured


@pytest.fixture
def configured(only_one: Configured) -> Configured:
    only_one.forget()
    return only_one


# The list


def test_schedules_are_found_by_state_and_by_parts_of_name_and_job(configured: Configured) -> None:
    assert configured.named() == ["nightly", "often", "failing", "wrong"]
    assert configured.named(status="paused") == ["often"]
    assert configured.named(status="refused") == ["wrong"]
    assert configured.named(status="failed") == ["failing"]
    assert configured.named(q="NIGHT") == ["nightly"]
    assert configured.named(q="email::send", status="paused") == ["often"]
    assert "No schedules match “<bdi>weekly</bdi>”" in configured.read("/schedules", q="weekly")


def test_hundreds_come_in_pages_of_which_each_leads_on_and_back(configured: Configured) -> None:
    configured.schedules = [made(f"s{number:03}") for number in range(25)]
    address, seen = "/schedules", []
    for place in ("1–10 of 25", "11–20 of 25", "21–25 of 25"):
        query = dict(re.findall(r"(\w+)=(\w+)", address))
        seen += configured.named(**query)
        text = configured.read("/schedules", **query)
        assert f"<span>{place}</span>" in text
        links = {rel: link for link, rel in re.findall(r'<a href="([^"]+)" rel="(prev|next)"', text)}
        address = unescape(links.get("next", ""))
    assert seen == [f"s{number:03}" for number in range(25)]
    assert links == {"prev": "/schedules?page=2&amp;upto=10"}
    assert len(configured.parameters("Occurrences")) == 2 * 25, "of those alone that are shown"


def test_all_that_is_drawn_of_those_that_are_not_on_the_page_is_what_comes_together(
    configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules.time, "time", lambda: 2_208_988_800.0)  # 2040-01-01 00:00
    configured.schedules = [
        made(f"s{number:03}", next=[*NEXT, {**NEXT[0], "at": "2040-01-03T00:00:00Z"}]) for number in range(25)
    ]
    text = configured.read("/schedules")
    assert len(re.findall('class="line"', text)) == 10
    assert "01:30 UTC: 25: s000, s001" in text
    assert "at most 25 schedules" in text
    configured.schedules = configured.schedules[:1]
    assert "Together" not in configured.read("/schedules"), "with no other"


def test_what_is_to_come_is_asked_for_once_a_minute_and_all_else_at_each_look(
    configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [2_208_988_800.0]  # 2040-01-01 00:00
    monkeypatch.setattr(schedules.time, "time", lambda: clock[0])
    for wanted, seconds in (([1, 100], 0), ([1], 59), ([1, 100], 1), ([1], 0)):
        clock[0] += seconds
        configured.asked = []
        configured.read("/schedules")
        assert [given["next"] for given in configured.parameters("Schedules")] == wanted
    configured.schedules[0]["next"] = NEXT[3:]  # another expression
    configured.asked = []
    assert "03:30" in configured.read("/schedules")
    assert [given["next"] for given in configured.parameters("Schedules")] == [1, 100]
    assert 'data-rest="1000"' in configured.read("/schedules")
    configured.schedules = [made(f"s{number:03}") for number in range(200)]
    configured.asked = []
    assert 'data-rest="2000"' in configured.read("/schedules"), "so many are looked at less often"
    assert [given["next"] for given in configured.parameters("Schedules")] == [1, 25]


def test_what_is_paused_is_not_shown_as_if_it_came(configured: Configured) -> None:
    rows = re.findall(r'<tr id="s-(\w+)">(.*?)</tr>', configured.read("/schedules"), re.DOTALL)
    assert [name for name, row in rows if "if resumed" in row] == ["often"]
    configured.schedules[0]["paused_at"] = WHEN
    assert "<h2>If it is resumed</h2>" in configured.read("/schedules/nightly")


def test_without_schedules_the_page_says_how_to_have_one(configured: Configured) -> None:
    configured.schedules = []
    text = configured.read("/schedules")
    assert "No schedule is configured" in text
    assert "<code>[schedules]</code>" in text
    assert 'class="lines"' not in text


# One schedule


def test_a_schedule_is_told_with_its_next_and_its_past(configured: Configured) -> None:
    without = SAMPLES["occurrence"] | {"status": None}
    configured.occurrences += [
        without | {"verdict": "skipped", "reason": "missed", "count": 1200, "job_id": None},
        without | {"verdict": "skipped", "reason": "overlap", "job_id": 7},
        without | {"verdict": "asked", "job_id": 8},
    ]
    text = " ".join(re.sub("<[^>]*>", " ", configured.read("/schedules/nightly")).split())
    assert text.count(":30 in ") == 10
    assert "Skipped missed 1,200 in a row" in text
    assert "Skipped #7 had not ended" in text
    assert "Deleted #8 asked for" in text
    assert configured.parameters("Schedules") == [{"next": 100, "name": "nightly"}]


def test_older_occurrences_are_asked_for_by_their_instant(configured: Configured) -> None:
    before = "2024-12-04T14:31:53.000000Z"
    assert "Newest" in configured.read("/schedules/nightly", before=before)
    assert before in [given.get("before") for given in configured.parameters("Occurrences")]
    configured.asked = []
    configured.read("/schedules/nightly", before="yesterday")
    assert [given.get("before") for given in configured.parameters("Occurrences")] == [None, None]


def test_one_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    def tells(line: Line, asked: Asked) -> bool:
        if asked.method.endswith(".Schedules"):
            line.refuse("ScheduleNotFound", name="weekly")
        return asked.method.endswith(".Schedules")

    with page(tmp_path, tells=tells) as served:
        answer = served.ask("GET /schedules/weekly")
        assert (answer.status, b"There is no such schedule" in answer.body) == (404, True)


def test_programs_are_told_all_of_the_schedules(configured: Configured) -> None:
    told = json.loads(configured.ask("/schedules", "application/json").body)
    assert [one["name"] for one in told["schedules"]] == ["nightly", "often", "failing", "wrong"]
    assert told["schedules"][0]["occurrences"] == configured.occurrences
    one = json.loads(configured.ask("/schedules/nightly", "application/json").body)
    assert (one["schedule"]["name"], one["occurrences"]) == ("nightly", configured.occurrences)


# What is asked for


@pytest.mark.parametrize(
    ("deed", "method"), [("run", "RunSchedule"), ("pause", "PauseSchedule"), ("resume", "ResumeSchedule")]
)
def test_a_button_leads_back_to_where_it_stood(configured: Configured, deed: str, method: str) -> None:
    path = f"/schedules/nightly/{deed}"
    assert configured.post(path) == "/schedules/nightly"
    assert configured.post(path, next="/schedules?status=paused") == "/schedules?status=paused"
    for elsewhere in ("//evil.example", "https://evil.example", "javascript:alert(1)"):
        assert configured.post(path, next=elsewhere) == "/"
    assert configured.parameters(method) == [{"name": "nightly"}] * 5


def test_the_list_has_its_own_address_in_its_buttons(configured: Configured) -> None:
    text = configured.read("/schedules", status="paused")
    assert '<input type="hidden" name="next" value="/schedules?status=paused">' in text
    assert "/schedules/often/resume" in text
    assert "/schedules/often/pause" not in text


# Jobs


def test_jobs_name_their_schedule_and_are_listed_by_it(configured: Configured) -> None:
    text = configured.read("/jobs/1")
    assert 'Of schedule <a href="/schedules/nightly">nightly</a>, for <time class="exact"' in text
    assert '<a href="/schedules/nightly">nightly</a>' in configured.read("/jobs")
    assert configured.parameters("List")[-1].get("schedule") is None
    listed = configured.read("/jobs", schedule="nightly", status="failed")
    filters = [(asked.get("status"), asked.get("schedule")) for asked in configured.parameters("List")]
    assert filters[-1] == (["failed"], "nightly")
    assert 'href="/jobs?schedule=nightly"' in listed, "the filter by status leaves the schedule"
    assert 'href="/jobs?status=failed"' in listed, "and the other way round"
