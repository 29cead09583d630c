"""The view of now over a scripted daemon: what needs somebody and what to do, what ended, what runs, and queues."""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjob.codec import Request as Asked
from bgjobd.core.need_kinds import Kind
from bgjobd.host.clock import to_text
from bgjobd.web.exchange import Request, Response
from bgjobd.web.needing import shown_of
from bgjobd.web.remembered import Remembered
from bgjobd.web.settings import Settings
from bgjobd.web.views import Page
from tests.client.scripted import Line, ScriptedDaemon
from tests.page.serving import SAMPLES, tell_samples
from tests.page.test_groups import words


class Standing:
    """A page over a daemon with these samples, that needs so much."""

    def __init__(self, socket: Path, actions: bool = True) -> None:
        self._page = Page(Settings(f"unix:{socket}", "localhost:0", actions=actions))
        self.samples = copy.deepcopy(SAMPLES)
        self.needs: list[dict[str, Any]] = [self.samples["need"]]
        self.more = 0
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.points: list[dict[str, Any]] = []
        self.jobs: list[dict[str, Any]] = []

    def tell(self, line: Line, asked: Asked) -> None:
        method = asked.method.rpartition(".")[2]
        self.asked.append((method, dict(asked.parameters)))
        if method == "Needs":
            line.reply(needs=self.needs, more=self.more)
        elif method == "Trend":
            line.reply(points=self.points)
        elif method == "List" and self.jobs:
            found = [one for one in self.jobs if one["status"] in asked.parameters["status"]]
            here = found[: asked.parameters["limit"]]
            line.reply(jobs=here, next=here[-1]["id"] if len(here) < len(found) else None, is_complete=True)
        else:
            tell_samples(line, asked, self.samples)

    def ask(self, path: str, accept: str = "text/html", **query: str) -> Response:
        answer = self._page.respond(Request("GET", path, query, {"host": "localhost", "accept": accept}))
        assert answer.status == 200, answer.body
        return answer

    def read(self, path: str = "/now", **query: str) -> str:
        return self.ask(path, **query).body.decode()

    def forget(self) -> None:
        """Have the page know nothing of what it was told."""
        self._page.means.trends = Remembered(self._page.means.slow.trend)

    def resume(self, path: str, **fields: str) -> Response:
        body = "&".join(f"{name}={value}" for name, value in fields.items())
        token = self._page.means.guard.form_token
        headers = {"host": "localhost", "content-type": "application/x-www-form-urlencoded"}
        return self._page.respond(Request("POST", path, {}, headers, f"token={token}&{body}".encode()))


@pytest.fixture
def standing(tmp_path: Path) -> Iterator[Standing]:
    standing = Standing(tmp_path / "d.sock")
    with ScriptedDaemon(tmp_path / "d.sock", standing.tell):
        yield standing


def need(kind: str, subject: str, **told: Any) -> dict[str, Any]:
    return {"kind": kind, "subject": subject, "since": to_text(time.time() - 60), "sentence": "it is so",
            "hint": None, **told}  # fmt: skip


def minutes(**ended: int) -> list[dict[str, Any]]:
    begin = time.time() // 60 * 60
    return [
        {"at": to_text(begin - 60 * back), "completed": 0, "failed": 0} | (ended if back == 1 else {})
        for back in reversed(range(60))
    ]


def test_each_kind_of_need_has_a_word_and_at_most_one_thing_to_do() -> None:
    told = shown_of([need(kind, "a.B::c") for kind in Kind], [], [], 0.0, str)
    assert {one["kind"] for one in told if one["action"] is None} == {"disk"}
    for one in told:
        assert one["word"] != one["kind"]
        assert one["colour"] in ("bad", "warm")
        if one["action"]:
            assert re.fullmatch(r"/[!-~]*", one["action"]["place"])


def test_only_a_class_that_is_held_can_be_resumed() -> None:
    hint = "`bgjob class resume a.B` lets it go on"
    held, given_up = shown_of(
        [need("quarantined", "a.B", hint=hint), need("quarantined", "a.B")], [], [], 0.0, str
    )
    assert (held["word"], held["action"]["place"]) == ("Held", "/classes/a.B/resume")
    assert (given_up["word"], given_up["action"]["place"]) == ("Given up", "/jobs?class=a.B&status=failed")


def test_a_need_of_a_kind_that_nobody_knows_here_is_told_by_its_name() -> None:
    (told,) = shown_of([need("too_warm", "x")], [], [], 0.0, str)
    assert (told["word"], told["colour"], told["action"]) == ("Too warm", "grey", None)


def test_names_in_what_is_to_be_done_lead_nowhere_else() -> None:
    for kind in Kind:
        (told,) = shown_of([need(kind, "../../x?y#<z>")], [], [], 0.0, str)
        if told["action"] and "{}" not in told["action"]["place"]:
            assert not re.search(r"\.\./|[#<>]", told["action"]["place"])


def test_what_needs_somebody_stands_first_with_what_was_changed_before(standing: Standing) -> None:
    now = time.time()
    standing.samples["change"]["at"] = to_text(now - 100)
    standing.needs = [need("new_error", "1", since=to_text(now - 60), hint="`bgjob errors 1` has all of it")]
    standing.more = 3
    text = standing.read()
    told = words(text)
    assert "4 things need somebody" in told
    after = "40 s after code 4f2a1c loaded, was 9be07d, host web1 . Email 7. 41 wait for a retry ."
    assert re.search(rf"Failing it is so Since \d\d:\d\d:\d\d , 1 minute ago , {re.escape(after)}", told)
    assert re.search(r"\d\d code 4f2a1c loaded, was 9be07d, host web1 by uid 1000 all changes", told)
    assert "bgjob errors 1" not in text  # a link has the same
    assert re.search(r'<a class="button first" href="/errors/1">See the error</a>', text)
    assert "And 3 more" in told


def test_where_nothing_needs_anybody_it_says_since_when_nothing_failed(standing: Standing) -> None:
    standing.needs = []
    standing.samples["stats"]["minutes"] = minutes(completed=420)
    standing.samples["summary"]["finished_at"] = to_text(time.time() - 7200)
    told = words(standing.read())
    assert "Nothing needs you 7 jobs a minute, none failed, the last failed 2 hours ago ." in told
    standing.samples["stats"]["minutes"] = minutes(completed=73, failed=3)
    assert "1.3 jobs a minute, 96.1 % of the last hour’s completed." in words(standing.read())


def test_it_says_how_many_wait_for_a_retry_and_leads_to_them(standing: Standing) -> None:
    assert "retry" not in words(standing.read())
    standing.samples["total"] = 1204
    text = standing.read()
    assert "1,204 jobs wait for a retry" in words(text)
    assert 'href="/jobs?status=retrying"' in text


def test_where_much_fails_nothing_is_said_to_go_well(standing: Standing) -> None:
    standing.samples["stats"]["minutes"] = minutes(completed=96, failed=4)
    assert "Everything else goes well: 1.7 jobs a minute" in words(standing.read())
    standing.samples["stats"]["minutes"] = minutes(completed=94, failed=6)
    assert "goes well" not in words(standing.read())


def test_a_paused_queue_is_resumed_from_here_and_the_answer_leads_back(standing: Standing) -> None:
    standing.needs = [need("paused", "default")]
    standing.samples["change"] |= {
        "kind": "paused", "what": {"queue": "default"}, "at": to_text(time.time() - 120), "who": "uid 1000"
    }  # fmt: skip
    text = standing.read()
    assert "paused 2 min ago by uid 1000" in text
    assert '<form method="post" action="/queues/default/resume">' in text
    assert '<input type="hidden" name="next" value="/now">' in text
    answer = standing.resume("/queues/default/resume", next="/now")
    assert (answer.status, answer.headers["Location"]) == (303, "/now")
    answer = standing.resume("/queues/default/resume", next="//elsewhere")
    assert answer.headers["Location"] == "/"
    assert standing.resume("/queues/default/resume").headers["Location"] == "/system"


def test_a_hint_is_told_with_its_command_as_code(standing: Standing) -> None:
    standing.needs = [need("paused", "default", hint="`bgjob resume default` does it")]
    assert "<code>bgjob resume default</code> does it" in standing.read()


def test_without_actions_there_is_no_button(tmp_path: Path) -> None:
    standing = Standing(tmp_path / "d.sock", actions=False)
    standing.needs = [
        need("paused", "default", hint="`bgjob resume default` does it"),
        need("quarantined", "a.B"),
    ]
    with ScriptedDaemon(tmp_path / "d.sock", standing.tell):
        assert 'method="post"' not in standing.read()


def test_of_what_is_slow_the_job_itself_is_led_to(standing: Standing) -> None:
    assert '<a class="button first" href="/jobs/1">See the job</a>' in standing.read()


def test_the_chart_is_of_a_day_unless_all_is_of_the_last_hour_or_the_address_says_otherwise(
    standing: Standing,
) -> None:
    step = time.time() // 300 * 300
    standing.points = [standing.samples["point"] | {"at": to_text(step), "completed": 6, "failed": 1}]
    assert "in 1 h" in words(standing.read())
    assert "6 completed 1 failed, in 24 h" in words(standing.read(span="24h"))
    standing.points = [
        standing.samples["point"] | {"at": to_text(at), "completed": many, "failed": 1}
        for at, many in ((step - 7200, 7), (step, 6))
    ]
    standing.forget()
    told = words(standing.read())
    assert "13 completed 2 failed, in 24 h" in told
    assert ("Trend", 300) in [(method, given.get("span")) for method, given in standing.asked]
    standing.samples["stats"]["minutes"] = minutes(completed=5, failed=1)
    assert "5 completed 1 failed, in 1 h" in words(standing.read(span="1h"))
    assert "in 24 h" in words(standing.read(span="<nonsense>"))
    standing.asked.clear()
    standing.read(span="14d")
    assert ("Trend", 3600) in [(method, given.get("span")) for method, given in standing.asked]


def test_what_runs_is_told_beside_what_is_usual_and_what_it_may_have(standing: Standing) -> None:
    running = standing.samples["running"]
    running |= {"started_at": to_text(time.time() - 2460), "memory": 173 << 20}
    text = standing.read()
    assert re.search(r'<span class="worse">41 min</span> of 1 min 58 s', text)
    assert "173 MiB of 256 MiB" in text
    assert "50 %: half of it" in words(text).replace("\xa0", " ")
    running |= {"started_at": to_text(time.time() - 5), "expected": None, "memory": None}
    assert "worse" not in standing.read().partition("Running <small>")[2].partition("Queues <small>")[0]
    standing.samples["stats"]["code_version"] = None  # who asks for classes would wait
    standing.asked.clear()
    standing.read()
    assert "Classes" not in [method for method, _ in standing.asked]


def test_a_queue_tells_what_waits_what_is_kept_back_and_that_it_is_paused(standing: Standing) -> None:
    (queue,) = standing.samples["stats"]["queues"]
    queue |= {"pending": 7, "oldest_pending": to_text(time.time() - 3250), "paused": True}
    told = words(standing.read()).partition("Queues")[2]
    assert "1, one paused" in told
    kept = "1 after other jobs 35 wait for their key 3 asleep, or for a signal"
    assert f"default Due 1 Later 4 {kept} Oldest due 54 min Runs 1/2 Paused" in told
    queue |= {"due": None, "later": None, "blocked": 0, "behind": 0, "waiting": 0}
    assert "default Due 1,000+ Later 1,000+ Oldest due" in words(standing.read())


def test_the_same_is_there_as_json_without_what_is_only_drawn(standing: Standing) -> None:
    told = json.loads(standing.ask("/now", "application/json").body)
    assert len(told["ended"]) == 288
    assert "chart" not in told
    assert told["needs"][0]["action"] == {"words": "See the job", "place": "/jobs/1", "is_deed": False}


def test_who_logs_in_and_asked_for_nothing_else_is_led_here(standing: Standing) -> None:
    headers = {"host": "localhost", "accept": "text/html"}
    answer = standing._page.respond(Request("GET", "/login", {"token": "x"}, headers))
    assert answer.headers["Location"] == "/now"


# Classes

NAME = "shop.jobs.Email"


def test_classes_stand_in_the_order_of_what_ended_each_against_its_past(standing: Standing) -> None:
    trend = standing.samples["trend"]
    trend["before"] = trend["day"] | {"ended": 1000, "completed": 992}
    standing.samples["class"] |= {"unavailable": None, "held_until": None}
    told = words(standing.read("/classes"))
    assert (
        "shop.jobs.Email Ended 26 Completed 50 % 99.2 % before p50 / p95 42 ms / 3.1 s"
        " Memory 13 MiB, 5.1 % CPU a day 1 min 2 s Available" in told.replace("50.0 %", "50 %")
    )


def test_a_class_of_which_nothing_has_ended_is_there_and_others_are_one(standing: Standing) -> None:
    standing.samples["trend"]["name"] = "(other)"
    text = standing.read("/classes")
    assert "other classes" in text
    assert f'href="/classes/{NAME}"' in text
    assert "/classes/%28" not in text


def test_a_class_tells_five_figures_its_errors_and_what_was_slow(standing: Standing) -> None:
    text = standing.read(f"/classes/{NAME}")
    told = words(text)
    assert "Ended 26 2 a day before" in told
    assert "Took, p50 / p95, about 42 ms / 3.1 s 42 ms / 3.1 s before" in told
    assert "mail is down at mail.py:88 in deliver" in told
    assert "#1 30 s timed out CPU 500 ms" in told
    assert ("Errors", NAME) in [(method, given.get("class_name")) for method, given in standing.asked]
    assert 'class="bad-one"' in text


def test_a_class_of_which_no_attempt_is_known_counts_none(standing: Standing) -> None:
    standing.samples["class"]["name"] = "another.Class"
    told = words(standing.read("/classes/another.Class"))
    assert "The newest attempts completed" in told
    assert "No attempt has ended yet." in told
    assert "newest 0" not in told
    assert '<span class="badge warm">Unavailable</span>' in standing.read("/classes")


@pytest.mark.parametrize(
    ("of", "told"),
    [("time", "30 s"), ("memory", "4 KiB"), ("cpu", "500 ms"), ("wait", "1.5 s"), ("<x>", "30 s")],
)
def test_dots_are_of_what_the_address_asks_for(standing: Standing, of: str, told: str) -> None:
    assert f"attempt 1: timed out, {told}</title>" in standing.read(f"/classes/{NAME}", of=of)


def test_a_class_that_is_not_approved_any_more_has_its_past_all_the_same(standing: Standing) -> None:
    standing.samples["class"]["name"] = "another.Class"
    told = words(standing.read(f"/classes/{NAME}"))
    assert "This class is not approved" in told
    assert "Ended 26" in told


def test_a_class_of_which_nothing_is_known_is_not_there_unless_no_code_is_loaded(standing: Standing) -> None:
    request = Request("GET", "/classes/no.Such", {}, {"host": "localhost", "accept": "text/html"})
    answer = standing._page.respond(request)
    assert (answer.status, b"There is no such class" in answer.body) == (404, True)
    standing.samples["stats"]["code_version"] = None
    assert "it is not known what holds for this class" in standing.read("/classes/no.Such")


def test_a_class_as_json_has_each_attempt(standing: Standing) -> None:
    told = json.loads(standing.ask(f"/classes/{NAME}", "application/json").body)
    assert [one["job_id"] for one in told["attempts"]] == [1]
    assert told["day"]["ended"] == 26


def test_an_error_has_its_24_hours(standing: Standing) -> None:
    standing.points = [standing.samples["point"] | {"at": to_text(time.time() // 3600 * 3600), "attempts": 3}]
    for address in ("/errors", "/errors/1"):
        assert "met 3 times in 24 hours" in standing.read(address)
    assert ("Trend", "error:1") in [(method, given.get("of")) for method, given in standing.asked]


def test_of_a_label_it_tells_what_failed_runs_and_waits_and_leads_back(standing: Standing) -> None:
    text = standing.read(label="tenant:7")
    told = words(text)
    assert "Now, of label tenant:7 All of them : 1,000+ jobs, of the newest 100: 4 failed 2 running" in told
    assert "are told of all jobs : 1 thing needs somebody." in told
    asked = [(name, given) for name, given in standing.asked if "label" in given or "prefix" in given]
    assert asked == [
        ("Running", {"label": "tenant:7"}),
        ("Labels", {"prefix": "tenant:7", "limit": 1}),
        ("List", {"status": ["failed", "pending"], "label": "tenant:7", "limit": 20, "sort": "id"}),
    ]
    assert 'action="/jobs/retry"><input type="hidden" name="label" value="tenant:7">' in text
    assert {"Trend", "Changes"}.isdisjoint(name for name, _ in standing.asked)


@pytest.mark.parametrize(
    ("newest_first", "asked"),
    [
        ({"pending": 20, "failed": 11}, ["failed"]),
        ({"pending": 15, "failed": 10}, ["failed"]),
        ({"failed": 10, "pending": 15}, ["failed", "pending"]),
        ({"failed": 11, "pending": 9}, []),
    ],
)
def test_where_those_of_one_status_leave_no_room_the_others_are_asked_for(
    standing: Standing, newest_first: dict[str, int], asked: list[str]
) -> None:
    """And of each it is said whether there are more of it, whatever the other has."""
    statuses = [status for status, count in newest_first.items() for _ in range(count)]
    sample = standing.samples["summary"]
    standing.jobs = [sample | {"id": 100 - place, "status": one} for place, one in enumerate(statuses)]
    text = standing.read(label="tenant:7")
    lists = [given["status"] for name, given in standing.asked if name == "List"]
    assert lists == [["failed", "pending"], *([status] for status in asked)]
    more = re.findall(r'status=(\w+)">And more', text)
    assert more == [status for status in ("failed", "pending") if newest_first[status] > 10]


def test_of_a_label_none_of_whose_jobs_failed_or_waits_that_is_told(standing: Standing) -> None:
    standing.samples["jobs"] = []
    told = words(standing.read(label="tenant:7"))
    assert "None has failed." in told
    assert "None waits." in told


def test_a_label_that_only_others_begin_with_is_no_jobs(standing: Standing) -> None:
    assert "No job has it." in words(standing.read(label="tenant"))


def test_where_looking_for_those_of_a_label_took_too_long_it_says_so(standing: Standing) -> None:
    standing.samples |= {"jobs": [], "is_complete": False}
    assert "None was found in a moment" in words(standing.read(label="tenant:7"))


def test_what_can_be_no_label_has_now_of_all(standing: Standing) -> None:
    assert "Ended" in words(standing.read(label="a\n"))


def test_a_label_leads_to_its_now(standing: Standing) -> None:
    assert 'href="/now?label=tenant%3A7"' in standing.read("/labels")
