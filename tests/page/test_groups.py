"""The views of groups and graphs over a scripted daemon: what they show, what is asked for, where buttons lead."""

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

from bgjob.codec import Reply
from bgjob.codec import Request as Asked
from bgjob.words import INTERFACE, SERVICE
from bgjobd.web.exchange import Request, Response
from bgjobd.web.settings import Settings
from bgjobd.web.views import Page
from tests.client.scripted import Line, ScriptedDaemon
from tests.page.serving import SAMPLES, tell_samples
from tests.page.test_graph import edge, group, job

OPEN, SEALED = ({"state": state} for state in ("open", "sealed"))
NONE = dict.fromkeys(("unfinished", "failed", "cancelled"), 0)


class Grouping:
    """A page over a daemon that has these groups, of which each member is one of `jobs`, and one graph."""

    def __init__(self, socket: Path) -> None:
        self._page = Page(Settings(f"unix:{socket}", "unix:/nowhere", per_page=10, actions=True))
        self.forget()

    def forget(self) -> None:
        self.samples = copy.deepcopy(SAMPLES)
        self.groups = [group(number) for number in range(25, 0, -1)]
        self.jobs: list[dict[str, Any]] = []
        self.nested: list[dict[str, Any]] = []
        self.refusals: dict[str, Reply] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def tell(self, line: Line, asked: Asked) -> None:
        method, given = asked.method.rpartition(".")[2], dict(asked.parameters)
        self.asked.append((method, given))
        if method in self.refusals:
            line.send(self.refusals[method].to_bytes())
        elif method == "Groups":
            state, before = given.get("state"), given.get("before") or 1000
            found = [one for one in self.groups if state in (None, one["state"]) and one["id"] < before]
            found = found if given.get("group") is None else self.nested
            here = found[: given["limit"]]
            line.reply(groups=here, next=here[-1]["id"] if len(here) < len(found) else None)
        elif method == "List" and self.jobs:
            found = [one for one in self.jobs if one["status"] in given.get("status", [one["status"]])]
            found = [one for one in found if one["group_id"] in (None, given["group"])]
            line.reply(jobs=found[: given["limit"]], next=None, is_complete=True)
        else:
            tell_samples(line, asked, self.samples)

    def parameters(self, method: str) -> list[dict[str, Any]]:
        return [given for name, given in self.asked if name == method]

    def ask(self, path: str, accept: str = "text/html", **query: str) -> Response:
        return self._page.respond(Request("GET", path, query, {"host": "localhost", "accept": accept}))

    def read(self, path: str, **query: str) -> str:
        answer = self.ask(path, **query)
        assert answer.status == 200, answer.body
        return answer.body.decode()

    def told(self, path: str, **query: str) -> Any:
        """The same for programs."""
        return json.loads(self.ask(path, "application/json", **query).body)

    def post(self, path: str, **form: str) -> Response:
        headers = {"host": "localhost", "content-type": "application/x-www-form-urlencoded"}
        body = urlencode({"token": self._page.means.guard.form_token, **form}).encode()
        return self._page.respond(Request("POST", path, {}, headers, body))

    def place_after(self, path: str, **form: str) -> str:
        """Where a button leads."""
        answer = self.post(path, **form)
        assert answer.status == 303
        return answer.headers["Location"]


@pytest.fixture(scope="module")
def only_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grouping]:
    socket = tmp_path_factory.mktemp("page") / "d.sock"
    grouping = Grouping(socket)
    with ScriptedDaemon(socket, grouping.tell):
        yield grouping


@pytest.fixture
def grouping(only_one: Grouping) -> Grouping:
    only_one.forget()
    return only_one


def words(text: str) -> str:
    """What stands there, without markup."""
    return " ".join(unescape(re.sub("<[^>]*>", " ", text.replace("<wbr>", ""))).split())


def rows(text: str, letter: str = "g") -> list[int]:
    return [int(number) for number in re.findall(rf'<tr id="{letter}(\d+)"', text)]


# The list


def test_groups_come_in_pages_of_which_each_leads_on(grouping: Grouping) -> None:
    address, seen = "/groups", []
    for place in ("1–10", "11–20", "21–25"):
        text = grouping.read("/groups", **dict(re.findall(r"(\w+)=(\w+)", address)))
        seen += rows(text)
        assert f"<span>{place}</span>" in text
        address = unescape("".join(re.findall(r'<a href="([^"]+)" rel="next"', text)))
    assert seen == [*range(25, 0, -1)]
    assert 'href="/groups">Newest</a>' in text


def test_groups_are_found_by_their_state(grouping: Grouping) -> None:
    grouping.groups[3]["state"] = "failed"
    assert rows(grouping.read("/groups", status="failed")) == [22]
    assert "No groups match" in grouping.read("/groups", status="sealed")
    assert len(rows(grouping.read("/groups", status="nonsense"))) == 10
    grouping.groups = []
    assert "No group yet" in grouping.read("/groups")


def test_newer_groups_are_counted(grouping: Grouping) -> None:
    assert 'data-top="25"' in grouping.read("/groups", page="2", upto="15")
    assert grouping.told("/groups", newer_than="22") == {"newer": 3, "is_all": True}


def test_a_group_is_listed_with_its_name_and_its_members_counted(grouping: Grouping) -> None:
    text = grouping.read("/groups")
    assert "<bdi>thumbnails</bdi>" in text
    assert "1 completed, 1 failed, 1 cancelled, 1 has not ended" in words(text)
    assert grouping.told("/groups")["groups"][0]["id"] == 25


# One group


def test_members_that_failed_come_first_then_those_that_were_cancelled(grouping: Grouping) -> None:
    statuses = ["running", "failed", "completed", "cancelled", "failed"]
    grouping.jobs = [job(number, status=status) for number, status in enumerate(statuses, start=1)]
    assert rows(grouping.read("/groups/5"), "j") == [2, 5, 4, 1, 3]
    assert [given["group"] for given in grouping.parameters("List")] == [5, 5, 5]


def test_members_are_not_looked_for_that_a_group_does_not_have(grouping: Grouping) -> None:
    grouping.samples["group"] |= NONE
    grouping.read("/groups/5")
    assert [given["status"] for given in grouping.parameters("List")] == [["pending", "running", "completed"]]
    grouping.asked = []
    grouping.samples["group"] |= {"failed": 100}
    grouping.jobs = [job(number, status="failed") for number in range(1, 30)]
    assert len(rows(grouping.read("/groups/5"), "j")) == 10
    assert len(grouping.parameters("List")) == 1, "there is no room for others"


def test_a_group_leads_to_all_its_jobs_and_to_its_graph(grouping: Grouping) -> None:
    text = grouping.read("/groups/5")
    for address in ("/jobs?group=5", "/jobs?status=failed&amp;group=5", "/jobs/1/graph#group-5", "/groups/4"):
        assert f'href="{address}"' in text
    grouping.jobs = []
    grouping.samples |= {"jobs": []}
    assert "No jobs: they were removed" in words(grouping.read("/groups/5"))


def test_groups_in_a_group_are_listed_those_that_failed_first(grouping: Grouping) -> None:
    states = ["completed", "open", "failed", "sealed"]
    grouping.nested = [group(number, state=state) for number, state in enumerate(states, start=6)]
    text = grouping.read("/groups/5")
    assert rows(text) == [8, 6, 7, 9]
    assert "in group" not in words(text).partition("Members")[2]
    assert grouping.parameters("Groups") == [{"group": 5, "limit": 10}]
    grouping.nested = [group(number) for number in range(6, 30)]
    assert "And more groups." in words(grouping.read("/groups/5"))
    grouping.samples["group"] |= {"total": 1}
    assert rows(grouping.read("/groups/5")) == [], "its one member is a job"


def test_a_group_that_nobody_has_sealed_says_so(grouping: Grouping) -> None:
    assert "weeks ago , and nobody has sealed it" in (told := words(grouping.read("/groups/5")))
    assert "bgjob group 5 --seal" in told
    grouping.samples["group"] |= SEALED
    assert "--seal" not in grouping.read("/groups/5")


@pytest.mark.parametrize(
    ("told", "buttons"),
    [
        (OPEN, ["Seal", "Retry those that failed", "Cancel…"]), (OPEN | NONE, ["Seal"]),
        (SEALED | NONE | {"unfinished": 2}, ["Cancel…"]), ({"state": "failed"} | NONE | {"failed": 1},
        ["Retry those that failed"]), ({"state": "completed"} | NONE, []),
    ],
)  # fmt: skip
def test_a_group_has_the_buttons_for_what_can_be_done(
    grouping: Grouping, told: dict[str, Any], buttons: list[str]
) -> None:
    grouping.samples["group"] |= told
    shown = grouping.read("/groups/5").partition("</main>")[0]
    assert re.findall(r"<button>([^<]+)</button>", shown) == buttons


def test_buttons_lead_back_to_the_group(grouping: Grouping) -> None:
    assert grouping.place_after("/groups/5/seal") == "/groups/5"
    assert grouping.place_after("/groups/5/retry") == "/groups/5"
    assert [grouping.parameters(name) for name in ("SealGroup", "RetryGroup")] == [[{"id": 5}], [{"id": 5}]]


def test_members_that_were_cancelled_are_retried_together_where_none_failed(grouping: Grouping) -> None:
    assert "those that were cancelled<" not in grouping.read("/groups/5"), "they come after those that failed"
    grouping.samples["group"] |= NONE | {"cancelled": 2}
    grouping.jobs = [job(1), *(job(number, status="cancelled") for number in (3, 2))]
    text = grouping.read("/groups/5")
    assert "<button>Retry those that were cancelled</button>" in text
    assert 'href="/jobs?status=cancelled&amp;group=5"' in text
    assert grouping.place_after("/groups/5/retry", cancelled="1") == "/groups/5"
    grouping.jobs = [job(1)]
    assert grouping.place_after("/groups/5/retry", cancelled="1") == "/groups/5", "somebody was quicker"
    assert (grouping.parameters("Retry"), grouping.parameters("RetryGroup")) == ([{"ids": [3, 2]}], [])


def test_a_group_tells_what_comes_after_it(grouping: Grouping) -> None:
    assert "Before waits Failed #3 Email::send Members" in words(grouping.read("/groups/5"))
    assert grouping.parameters("Graph") == [{"id": 1, "limit": 100}]
    grouping.jobs, grouping.nested = [job(2, group_id=25)], [group(25)]
    assert "Before waits Failed #3" in words(grouping.read("/groups/5")), "its members are groups"
    assert grouping.parameters("Graph")[-1]["id"] == 2
    grouping.refusals["Graph"] = Reply({"id": 1}, error=f"{INTERFACE}.JobNotFound")
    assert "Before" not in words(grouping.read("/groups/5")), "the member was removed meanwhile"
    grouping.samples |= {"jobs": []}
    assert "Before" not in words(grouping.read("/groups/5"))


def test_who_would_cancel_a_group_is_asked_first(grouping: Grouping) -> None:
    place = grouping.place_after("/groups/5/cancel")
    assert (place, grouping.parameters("CancelGroup")) == ("/groups/5?ask=cancel", [])
    asked = grouping.read("/groups/5", ask="cancel")
    assert "1 of its members has not ended." in words(asked)
    assert '<input type="hidden" name="stops" value="1">' in asked
    assert grouping.place_after("/groups/5/cancel", stops="1") == "/groups/5"
    assert grouping.parameters("CancelGroup") == [{"id": 5}]


def test_a_group_that_is_not_there_is_told_so(grouping: Grouping) -> None:
    grouping.refusals["Group"] = Reply({"id": 5}, error=f"{INTERFACE}.GroupNotFound")
    answer = grouping.ask("/groups/5")
    assert (answer.status, b"There is no such group" in answer.body) == (404, True)


# Jobs


def test_jobs_are_listed_by_their_group_and_as_blocked_and_name_it(grouping: Grouping) -> None:
    text = grouping.read("/jobs", group="5", status="blocked")
    assert {"group": 5, "status": ["blocked"]}.items() <= grouping.parameters("List")[0].items()
    assert 'href="/jobs?status=blocked" title="Without this">Group <bdi>5</bdi> ×' in text
    assert '<input type="hidden" name="group" value="5">' in text
    assert '<a href="/groups/5">group 5</a>' in grouping.read("/jobs")
    assert grouping.parameters("List")[-1].get("group") is None
    assert "1 blocked" in words(text)


def test_a_job_tells_what_it_comes_after_and_before(grouping: Grouping) -> None:
    grouping.samples["graph"]["is_whole"] = True
    text = words(grouping.read("/jobs/1"))
    assert "Comes after done Completed #2 Email::send Before held back Failed #3 Email::send Graph" in text
    told = grouping.told("/jobs/1")
    assert [one["told"]["id"] for one in told["comes_after"]["shown"]] == [2]
    assert told["comes_before"]["shown"][0]["standing"] == "failed"
    assert grouping.parameters("Graph") == [{"id": 1, "limit": 100}] * 2


def test_a_job_tells_what_it_takes_of_results(grouping: Grouping) -> None:
    assert "rows is taken of job 2 , /rows : it has no /rows" in words(grouping.read("/jobs/1"))
    grouping.samples["job"]["takes"] = None
    assert "is taken" not in grouping.read("/jobs/1")


@pytest.mark.parametrize(
    ("many", "told", "limits"), [(30, "10", [100]), (500, "480+", [100, 1000]), (400, "380", [100, 1000])]
)
def test_of_many_the_gravest_are_shown_and_the_others_counted(
    grouping: Grouping, many: int, told: str, limits: list[int]
) -> None:
    """A daemon that has more jobs than it is asked for tells of half as many beside any."""
    behind = range(2, many + 2)
    edges = [edge(1, number, standing="open" if number == many else "met") for number in behind]
    grouping.samples["graph"] |= {"jobs": [*map(job, [1, *behind])], "edges": edges, "groups": []}
    text = grouping.read("/jobs/1")
    assert f"Before waits Completed #{many} " in words(text)
    assert f'href="/jobs/1/graph#job-1">and {told} more</a>' in text
    assert [given["limit"] for given in grouping.parameters("Graph")] == limits
    assert 'data-rest="1000"' in text, "so many are looked at less often"


def test_a_job_may_come_after_a_group(grouping: Grouping) -> None:
    assert "Member of group 5" in words(grouping.read("/jobs/1"))
    grouping.samples["job"] |= {"id": 3, "group_id": None}
    text = words(grouping.read("/jobs/3"))
    assert "Comes after failed Failed #1 Email::send awaited Open Group 5 thumbnails 1 completed" in text
    assert "Member of" not in text


def test_a_job_with_nothing_around_it_has_no_graph(grouping: Grouping) -> None:
    grouping.samples["graph"] |= {"jobs": [job(1)], "groups": [], "edges": [], "is_whole": True}
    grouping.samples["job"]["group_id"] = None
    assert "Comes after" not in grouping.read("/jobs/1")
    assert "/jobs/1/graph" not in grouping.read("/jobs/1")
    assert "nothing comes after it" in grouping.read("/jobs/1/graph")


def test_a_job_is_shown_by_a_page_that_is_newer_than_the_daemon(grouping: Grouping) -> None:
    grouping.refusals["Graph"] = Reply({"method": f"{INTERFACE}.Graph"}, error=f"{SERVICE}.MethodNotFound")
    assert "Comes after" not in grouping.read("/jobs/1")


def test_a_job_that_was_cancelled_for_another_may_be_retried_anyway(grouping: Grouping) -> None:
    assert "anyway" not in grouping.read("/jobs/1"), "what it comes after was retried since"
    grouping.samples["graph"]["edges"][0]["standing"] = "failed"
    text = grouping.read("/jobs/1")
    assert "<button>Retry anyway</button>" in text
    assert "<button>Retry</button>" not in text, "it would be refused"
    assert 'It can be retried once <a href="/jobs/2">job 2</a> is' in text
    grouping.place_after("/jobs/1/retry", anyway="1")
    grouping.place_after("/jobs/1/retry")
    assert grouping.parameters("Retry") == [{"ids": [1], "anyway": True}, {"ids": [1]}]


def test_a_retry_behind_what_failed_is_told_what_to_retry_first(grouping: Grouping) -> None:
    grouping.refusals["Retry"] = Reply({"id": 1, "before": "12"}, error=f"{INTERFACE}.BehindFailed")
    answer = grouping.post("/jobs/1/retry")
    assert answer.status == 409
    assert "What it comes after has failed" in (told := words(text := answer.body.decode()))
    assert "retry job 12 first" in told
    assert '<a href="/jobs/12">To job 12</a>' in text
    assert text.count('name="anyway" value="1"><button>Retry anyway</button>') == 1
    assert '<form method="post" action="/jobs/1/retry">' in text


def test_a_group_behind_a_group_that_failed_leads_there_and_is_not_retried_anyway(grouping: Grouping) -> None:
    grouping.refusals["RetryGroup"] = Reply({"id": 1, "before": "group 7"}, error=f"{INTERFACE}.BehindFailed")
    text = grouping.post("/groups/5/retry").body.decode()
    assert '<a href="/groups/7">To group 7</a>' in text
    assert "anyway</button>" not in text


# Graphs


def test_a_graph_is_drawn_and_listed_by_its_steps(grouping: Grouping) -> None:
    text = grouping.read("/jobs/1/graph")
    assert "Part of a larger graph: the 3 jobs that are nearest to this one." in words(text)
    assert re.findall(r'<a id="([a-z]+-\d+)"', text) == ["job-2", "job-1", "group-5", "job-3"]
    listed = words(text.partition('<ol class="steps">')[2].partition("</ol>")[0])
    steps = [one.split(" ", 1)[1] for one in listed.split("Step ")[1:]]
    assert [one.rstrip() for one in steps] == [
        "Completed #2 Email::send",
        "Failed #1 Email::send after #2",
        "Open Group 5 thumbnails 1 completed, 1 failed, 1 cancelled, 1 has not ended of #1 (failed), #2",
        "Failed #3 Email::send after #1 (failed), group 5",
    ]
    assert grouping.parameters("Graph") == [{"id": 1, "limit": 200, "count": 10_000}]


def test_what_was_cancelled_is_not_said_to_have_failed(grouping: Grouping) -> None:
    """By the list below a picture, and beside a job that comes after it."""
    grouping.samples["graph"] = {
        "jobs": [job(1, status="cancelled"), job(2), job(3)],
        "groups": [],
        "edges": [edge(1, 2), edge(1, 3, standing="failed")],
        "is_whole": True,
    }
    listed = words(grouping.read("/jobs/1/graph"))
    assert "#2 Email::send after #1 (cancelled, holds up nothing)" in listed
    assert "#3 Email::send after #1 (cancelled)" in listed
    assert "Comes after cancelled Cancelled #1" in words(grouping.read("/jobs/3"))
    assert "Comes after holds up nothing Cancelled #1" in words(grouping.read("/jobs/2"))


def test_a_graph_says_how_many_jobs_more_there_are(grouping: Grouping) -> None:
    assert "the 3 jobs that are nearest to this one." in words(grouping.read("/jobs/1/graph"))
    for total, more in ((5015, "and 5,012 more."), (10_000, "and at least 9,997 more.")):
        grouping.samples["graph"]["total"] = total
        first = "3 jobs, those that failed and what they block first, then the nearest to this one, "
        assert f"Part of a larger graph: {first}{more}" in words(grouping.read("/jobs/1/graph"))


def test_a_graph_that_is_not_whole_is_looked_at_less_often(grouping: Grouping) -> None:
    """It takes a search."""
    assert 'data-rest="5000"' in grouping.read("/jobs/1/graph")
    grouping.samples["graph"]["is_whole"] = True
    assert 'data-rest="1000"' in grouping.read("/jobs/1/graph")


def test_a_graph_says_which_jobs_failed(grouping: Grouping) -> None:
    assert "Failed: #1 , #3 ." in words(grouping.read("/jobs/1/graph"))
    grouping.samples["graph"]["jobs"] = [job(number, status="failed") for number in range(1, 13)]
    assert "#9 , #10 and 2 more." in words(grouping.read("/jobs/1/graph"))
    grouping.samples["graph"]["jobs"] = [job(1)]
    assert "Failed:" not in words(grouping.read("/jobs/1/graph"))


def test_of_a_graph_with_too_many_lines_there_is_the_list_alone(grouping: Grouping) -> None:
    numbers = range(1, 101)
    edges = [edge(before, after) for after in numbers for before in range(1, after)]
    grouping.samples["graph"] |= {"jobs": [*map(job, numbers)], "groups": [], "edges": edges}
    text = grouping.read("/jobs/1/graph")
    assert "<svg" not in text.partition("<h1")[2]
    assert "There are too many lines for a picture. As a list Step 1" in words(text)
    assert "Step 100" in words(text)


def test_a_daemon_that_tells_more_jobs_than_it_was_asked_for_makes_no_larger_picture(
    grouping: Grouping,
) -> None:
    grouping.samples["graph"] |= {"jobs": [*map(job, range(1, 301))], "groups": [], "edges": []}
    assert grouping.read("/jobs/1/graph").count('class="node ') == 200


def test_programs_are_told_the_graph_as_the_daemon_tells_it(grouping: Grouping) -> None:
    told = grouping.told("/jobs/1/graph")
    assert {name: told[name] for name in ("edges", "is_whole")} == {
        "edges": SAMPLES["graph"]["edges"],
        "is_whole": False,
    }
    assert [one["id"] for one in told["jobs"]] == [1, 2, 3]
