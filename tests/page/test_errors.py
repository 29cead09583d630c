"""The views of errors over a scripted daemon: what they show, what they ask for, where they lead."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjob.codec import Request as Asked
from bgjobd.web.exchange import Request, Response
from bgjobd.web.settings import Settings
from bgjobd.web.views import Page
from tests.client.scripted import Line, ScriptedDaemon
from tests.page.serving import SAMPLES, tell_samples
from tests.page.test_groups import words

LAST = "2024-12-04T14:31:00.000000Z"


class Failing:
    """A page over a daemon that has the errors of these ids, the newest first."""

    def __init__(self, socket: Path) -> None:
        self._page = Page(Settings(f"unix:{socket}", "localhost:0", per_page=10))
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.ids = list(range(25, 0, -1))
        self.error = copy.deepcopy(SAMPLES["error"]) | {"last_at": LAST}

    def tell(self, line: Line, asked: Asked) -> None:
        method, given = asked.method.rpartition(".")[2], dict(asked.parameters)
        self.asked.append((method, given))
        if method == "Errors":
            before = given.get("before")
            ids = [id for id in self.ids if before is None or id < int(before.split()[1])]
            here = ids[: given["limit"]]
            following = f"{LAST} {here[-1]}" if len(ids) > len(here) else None
            line.reply(errors=[self.error | {"id": id} for id in here], next=following)
        else:
            tell_samples(line, asked, SAMPLES | {"error": self.error})

    def ask(self, path: str, accept: str = "text/html", **query: str) -> Response:
        return self._page.respond(Request("GET", path, query, {"host": "localhost", "accept": accept}))

    def read(self, path: str, **query: str) -> str:
        answer = self.ask(path, **query)
        assert answer.status == 200, answer.body
        return answer.body.decode()

    def parameters(self, method: str) -> dict[str, Any]:
        return [given for name, given in self.asked if name == method][-1]


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[Failing]:
    failing = Failing(tmp_path / "d.sock")
    with ScriptedDaemon(tmp_path / "d.sock", failing.tell):
        yield failing


def rows(text: str) -> list[int]:
    return [int(number) for number in re.findall(r'<tr id="e(\d+)"', text)]


def test_errors_come_in_pages_of_which_each_leads_on(failing: Failing) -> None:
    address, seen = "/errors", []
    for place in ("1–10", "11–20", "21–25"):
        query = {name: value.replace("%3A", ":") for name, value in re.findall(r"(\w+)=([^&]+)", address)}
        text = failing.read("/errors", **query)
        assert place in text
        seen += rows(text)
        older = re.search(r'href="([^"]*)" rel="next"', text)
        address = older[1].replace("&amp;", "&") if older else ""
    assert (seen, address) == (failing.ids, "")


def test_the_list_is_narrowed_to_what_is_new_or_was_met_lately(failing: Failing) -> None:
    failing.read("/errors", status="new")
    assert failing.parameters("Errors")["new"] is True
    failing.read("/errors", since="1h")
    assert "since" in failing.parameters("Errors")
    failing.read("/errors", since="nonsense", status="nonsense")
    assert failing.parameters("Errors") == {"limit": 10}
    failing.ids = []
    assert "No errors match" in failing.read("/errors", status="new")
    assert "No attempt has ended by an error" in failing.read("/errors")


def test_the_list_is_of_a_class_and_in_the_order_that_the_address_says(failing: Failing) -> None:
    text = failing.read("/errors", **{"class": "shop.jobs.Email", "sort": "failed"})
    assert failing.parameters("Errors") == {"class_name": "shop.jobs.Email", "sort": "failed", "limit": 10}
    assert "Class shop.jobs.Email ×" in words(text)
    older = re.search(r'href="/errors\?([^"]*)" rel="next"', text)
    assert older
    assert {"sort=failed", "class=shop.jobs.Email", "at=17"} <= set(older[1].split("&amp;"))
    failing.read("/errors", sort="failed", page="2", upto="15", at="17")
    assert failing.parameters("Errors")["before"] == "17 16"
    for at in (LAST, "", "x"):
        failing.read("/errors", sort="failed", page="2", upto="15", at=at)
        assert "before" not in failing.parameters("Errors")
    failing.read("/errors", sort="ended")
    assert failing.parameters("Errors") == {"limit": 10}


def test_a_row_tells_what_it_is_where_and_how_often(failing: Failing) -> None:
    told = words(failing.read("/errors"))
    where = "#25 New since the deploy mail is down at mail.py:88 in deliver"
    assert f"{where} 17 jobs failed , 41 wait for a retry · met 58 times by 3 classes · since" in told
    failing.error |= {"is_named": False, "name": None, "is_new": False, "attempts": 1, "failed": 1}
    told = words(failing.read("/errors"))
    assert "#25 Back NoRecipient at mail.py:88 in deliver 1 job failed , 41 wait" in told
    assert "· met 1 time by 3 classes" in told
    failing.error |= {"failed": 0, "retrying": 1, "counted": 1, "classes": 1}
    assert "no job failed, 1 waits for a retry · met 1 time by 1 class ·" in words(failing.read("/errors"))
    failing.error |= {"attempts": 900, "counted": 200, "retrying": 160}
    assert "160+ wait for a retry" in words(failing.read("/errors"))


def test_an_error_tells_all_of_it_and_leads_to_its_jobs(failing: Failing) -> None:
    text = failing.read("/errors/1")
    told = words(text)
    assert "mail is down New since the deploy At mail.py:88 in deliver shop.mail:deliver · error 1" in told
    assert "Failed for good 17 jobs Wait for a retry 41 jobs, next" in told
    assert "What was different of its newest 58 attempts" in told
    assert "Code all with 4f2a1c, none of 120 others Took about 3.1 s, where others complete in 42 ms" in told
    assert "shop.jobs.Email Share 12.1 % Failed 5 Retrying 2" in told
    assert failing.parameters("List") == {"error": 1, "limit": 25}
    for link in (
        "/jobs?error=1",
        "/jobs?status=failed&amp;error=1",
        "/jobs?class=shop.jobs.Email&amp;error=1",
        "/jobs/1?attempt=1#attempt",
        "/jobs?status=retrying&amp;error=1",
        "/compare?a=1.1&amp;b=4990.1",
    ):
        assert f'href="{link}"' in text
    assert re.search(r'<section class="list">\s*<table class="rows">', text), "its jobs lie on a card"
    assert json.loads(failing.ask("/errors/1", "application/json").body)["error"]["fingerprint"]


def test_an_error_of_no_exception_is_told_by_its_outcome_and_class(failing: Failing) -> None:
    nothing = dict.fromkeys(
        ("name", "error_type", "place", "line", "first_version", "last_version", "back_at")
    )
    failing.error |= nothing | {"outcome": "signalled", "is_named": False, "is_new": False, "is_back": False}
    assert "signalled at shop.jobs.Email" in words(failing.read("/errors"))
    assert "signalled At shop.jobs.Email error 1" in words(failing.read("/errors/1"))


def test_an_error_that_is_forgotten_is_not_there(failing: Failing) -> None:
    answer = failing.ask("/errors/7")
    assert (answer.status, "There is no such error" in answer.body.decode()) == (404, True)


def test_jobs_are_narrowed_to_those_of_an_error_and_an_attempt_leads_to_its_own(failing: Failing) -> None:
    text = failing.read("/jobs", error="14")
    assert failing.parameters("List")["error"] == 14
    assert "Error 14 ×" in words(text)
    assert 'href="/errors/1"' in failing.read("/jobs/1")
