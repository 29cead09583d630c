"""All that match are retried or cancelled by the page: what it says, what it asks for, where it leads."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from bgjob.codec import Reply
from bgjob.codec import Request as Asked
from bgjob.words import INTERFACE, SERVICE
from bgjobd.web.addresses import STATUSES, View, place_of
from bgjobd.web.exchange import Request, Response
from bgjobd.web.settings import Settings
from bgjobd.web.views import Page
from bgjobd.web.views.many import wishes_for
from tests.client.scripted import Line, ScriptedDaemon
from tests.page.serving import SAMPLES, tell_samples
from tests.page.test_addresses import ALL_OF_A_LIST
from tests.page.test_groups import words

AS_OF = "2024-12-04T14:31:53.000000Z"


class Many:
    """A page over a daemon that tells samples, or refuses."""

    def __init__(self, socket: Path, actions: bool = True) -> None:
        self._page = Page(Settings(f"unix:{socket}", "localhost:0", per_page=10, actions=actions))
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.samples = copy.deepcopy(SAMPLES)
        self.samples["matched"]["as_of"] = AS_OF
        self.refusal: Reply | None = None
        self.refuses = ("Matching", "RetryMatching", "CancelMatching")

    def tell(self, line: Line, asked: Asked) -> None:
        method = asked.method.rpartition(".")[2]
        self.asked.append((method, dict(asked.parameters)))
        if self.refusal is not None and method in self.refuses:
            line.send(self.refusal.to_bytes())
        else:
            tell_samples(line, asked, self.samples)

    def read(self, path: str, **query: str) -> str:
        answer = self._page.respond(Request("GET", path, query, {"host": "localhost", "accept": "text/html"}))
        assert answer.status == 200, answer.body
        return answer.body.decode()

    def send(self, path: str, form: dict[str, str]) -> Response:
        token = re.search(r'name="token" value="(\w+)"', self.read("/jobs/1"))
        body = urlencode(form | {"token": token[1] if token else ""}).encode()
        kind = {"content-type": "application/x-www-form-urlencoded"}
        return self._page.respond(Request("POST", path, {}, {"host": "localhost"} | kind, body))

    def parameters(self, method: str) -> dict[str, Any]:
        return [given for name, given in self.asked if name == method][-1]

    def was_asked(self, method: str) -> bool:
        return any(name == method for name, _ in self.asked)


@pytest.fixture(scope="module")
def page_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Many]:
    socket = tmp_path_factory.mktemp("many") / "d.sock"
    many = Many(socket)
    with ScriptedDaemon(socket, many.tell):
        yield many


@pytest.fixture
def many(page_of_all: Many) -> Many:
    page_of_all.asked.clear()
    page_of_all.samples, page_of_all.refusal = copy.deepcopy(SAMPLES), None
    page_of_all.samples["matched"]["as_of"] = AS_OF
    page_of_all.refuses = ("Matching", "RetryMatching", "CancelMatching")
    return page_of_all


def fields(text: str) -> dict[str, str]:
    """What the form would send as it stands, but for its token."""
    form = text[text.index('<form class="many"') :]
    hidden = dict(
        re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form[: form.index("</form>")])
    )
    hidden.pop("token")
    return hidden


def test_a_retry_says_how_many_which_and_what_happens_before_anything_is_done(many: Many) -> None:
    told = words(many.read("/jobs/retry", status="failed", error="14"))
    assert "Retry 17 jobs All that match failed, error 14 , ended from" in told
    assert "shop.jobs.Email 14 jobs – shop.jobs.Charge 3 jobs tried but once 3" in told
    assert "Also the 3 jobs that may be tried but once" in told
    assert "Retry all 17 jobs Retry 14 jobs No, go back" in told  # one of which a style hides, by the box
    assert many.parameters("Matching") == {"to": "retry", "filter": {"status": ["failed"], "error": 14}}
    assert not many.was_asked("RetryMatching")


def test_the_form_asks_it_of_what_was_counted_and_leads_to_their_list(many: Many) -> None:
    form = fields(many.read("/jobs/retry", status="failed", error="14", since="1h"))
    since = many.parameters("Matching")["filter"]["since"]
    answer = many.send("/jobs/retry", form | {"spread": "600", "at_most_once": "1"})
    assert (answer.status, answer.headers["Location"]) == (303, "/jobs?bulk=7")
    assert many.parameters("RetryMatching") == {
        "filter": {"status": ["failed"], "error": 14, "since": since},
        "as_of": AS_OF,
        "expected": 17,
        "spread": 600,
        "at_most_once": True,
    }


def test_a_list_that_is_narrowed_further_keeps_what_its_form_has_no_field_for(many: Many) -> None:
    query = dict(parse_qsl(urlsplit(ALL_OF_A_LIST).query))
    form = re.search(r'<details class="narrowing">.*?</details>', many.read("/jobs", **query), re.DOTALL)
    assert form is not None
    assert set(re.findall(r'name="(\w+)"', form[0])) == set(query) - {"page", "upto"}


def test_a_job_leads_to_the_others_that_it_was_retried_with(many: Many) -> None:
    assert "bulk=" not in many.read("/jobs/1")
    many.samples["job"] |= {"bulk": 7}
    assert '<a href="/jobs?bulk=7">change 7</a>' in many.read("/jobs/1")


def test_what_was_not_ticked_is_left_out_and_starts_at_once(many: Many) -> None:
    many.send("/jobs/retry", fields(many.read("/jobs/retry", status="failed")) | {"spread": "9"})
    asked = many.parameters("RetryMatching")
    assert "at_most_once" not in asked
    assert asked["spread"] == 0


def test_where_all_may_be_tried_but_once_the_form_does_nothing_unless_that_is_ticked(many: Many) -> None:
    box = 'name="at_most_once" value="1"'
    assert f"{box}>" in many.read("/jobs/retry", status="failed")
    many.samples["matched"] |= {"count": 3, "at_most_once": 3}
    assert f"{box} required>" in many.read("/jobs/retry", status="failed")


def test_a_cancel_tells_how_many_of_them_run_and_is_of_those_that_were_counted(many: Many) -> None:
    text = many.read("/jobs/cancel", bulk="7")
    assert "2 jobs of them run, and are stopped" in words(text)
    answer = many.send("/jobs/cancel", fields(text))
    assert answer.headers["Location"] == "/jobs?bulk=8"
    assert many.parameters("CancelMatching") == {"filter": {"bulk": 7}, "as_of": AS_OF, "expected": 17}


def test_where_more_match_by_now_nothing_is_done_and_it_leads_back(many: Many) -> None:
    form = fields(many.read("/jobs/retry", status="failed", error="14"))
    many.refusal = Reply({"count": 99}, error=f"{INTERFACE}.Changed")
    answer = many.send("/jobs/retry", form)
    assert answer.status == 409
    assert "there are 99 jobs by now" in words(answer.body.decode())
    assert '<a href="/jobs/retry?status=failed&amp;error=14">Back</a>' in answer.body.decode()


@pytest.mark.parametrize("wish", ["retry", "cancel"])
def test_who_is_too_late_for_all_of_them_is_told_that_nothing_was_done(
    many: Many, wish: str, said: Callable[[], str]
) -> None:
    form = fields(many.read(f"/jobs/{wish}", error="14"))
    word = "retried" if wish == "retry" else "cancelled"
    many.refusal = Reply({word: 0, "left_out": 0, "change": None})
    many.samples["matched"]["count"] = 1
    many.refuses = ("RetryMatching", "CancelMatching")
    answer = many.send(f"/jobs/{wish}", form)
    told = words(answer.body.decode())
    assert answer.status == 409
    assert f"bgjobd-web: {wish} of 0 jobs, 0 left out, of all that match error=14 by " in said()
    assert f"Nothing was done: of those that were counted here none could be {word}." in told
    assert f"{wish.capitalize()} 1 job All that match error 14" in told
    assert "Nothing was done" not in many.read(f"/jobs/{wish}", error="14")


@pytest.mark.parametrize(
    "form",
    [{}, {"status": "failed"}, {"status": "failed", "as_of": "now"}, {"q": "x", "as_of": AS_OF},
     {"since": "1h", "status": "failed", "as_of": AS_OF}],
)  # fmt: skip
def test_a_form_that_no_view_of_ours_has_made_leads_to_one(many: Many, form: dict[str, str]) -> None:
    answer = many.send("/jobs/retry", form)
    assert answer.status == 303
    assert answer.headers["Location"].startswith("/jobs/retry")
    assert not many.was_asked("RetryMatching")


@pytest.mark.parametrize("wish", ["retry", "cancel"])
def test_a_form_that_asks_it_of_all_jobs_is_told_what_is_missing(many: Many, wish: str) -> None:
    many.refusal = Reply({"parameter": "filter"}, error=f"{SERVICE}.InvalidParameter")
    answer = many.send(f"/jobs/{wish}", {"as_of": AS_OF, "expected": "5"})
    assert answer.status == 400
    assert "Choose a status of" in words(answer.body.decode())


def test_a_search_selects_nothing_and_what_cannot_be_asked_is_said(many: Many) -> None:
    assert "it can select nothing" in words(many.read("/jobs/retry", q="shop", status="failed"))
    assert not many.was_asked("Matching")
    many.refusal = Reply({"parameter": "filter"}, error=f"{SERVICE}.InvalidParameter")
    assert "Choose a status" in words(many.read("/jobs/retry"))


@pytest.mark.parametrize(
    ("query", "wishes"),
    [
        ({"status": "failed"}, ("retry",)),
        ({"status": "cancelled", "key": "k"}, ("retry",)),
        ({"status": "scheduled"}, ("cancel",)),
        ({"status": "completed", "error": "3"}, ()),
        ({"status": "review"}, ()),
        ({"error": "3"}, ("retry", "cancel")),
        ({"bulk": "3"}, ("retry", "cancel")),
        ({"host": "web1"}, ()),
        ({"status": "failed", "q": "x"}, ()),
        ({}, ()),
    ],
)
def test_a_list_has_a_button_for_what_can_be_asked_of_all_of_it(
    query: dict[str, str], wishes: tuple[str, ...]
) -> None:
    assert wishes_for(View.of("/jobs", query, STATUSES, 10)) == wishes


def test_the_buttons_of_a_list_and_of_an_error_carry_the_filter_on(many: Many) -> None:
    listed = many.read("/jobs", status="failed", key="a&b")
    assert 'action="/jobs/retry"><input type="hidden" name="status" value="failed">' in listed
    assert '<input type="hidden" name="key" value="a&amp;b">' in listed
    assert 'action="/jobs/cancel"' not in listed
    error = many.read("/errors/1")
    assert 'action="/jobs/retry"><input type="hidden" name="status" value="failed"' in error
    assert 'action="/jobs/cancel"><input type="hidden" name="error" value="1"' in error


def test_the_list_of_a_change_tells_what_it_was(many: Many) -> None:
    assert "code 4f2a1c loaded, was 9be07d, host web1" in words(many.read("/jobs", bulk="7"))
    assert "code 4f2a1c" not in words(many.read("/jobs", bulk="6"))


def test_without_actions_nothing_is_offered_and_nothing_can_be_asked(tmp_path: Path) -> None:
    quiet = Many(tmp_path / "d.sock", actions=False)
    with ScriptedDaemon(tmp_path / "d.sock", quiet.tell):
        assert "/jobs/retry" not in quiet.read("/jobs", status="failed")
        assert "/jobs/retry" not in quiet.read("/errors/1")
        assert '<form class="many"' not in quiet.read("/jobs/retry", status="failed")
        assert quiet.send("/jobs/retry", {"status": "failed", "as_of": AS_OF, "expected": "1"}).status == 403


def test_what_was_changed_is_told_with_who_did_it_and_in_pages(many: Many) -> None:
    many.samples["next_change"] = 7
    text = many.read("/changes")
    assert "code 4f2a1c loaded, was 9be07d, host web1 uid 1000" in words(text)
    assert '<a href="/changes?before=7">Older</a>' in text
    many.read("/changes", before="7")
    assert many.parameters("Changes") == {"before": 7, "limit": 10}
    many.read("/changes", before="x")
    assert many.parameters("Changes") == {"limit": 10}
    assert '<a href="/changes">' in many.read("/system")


def test_a_change_of_many_jobs_leads_to_them(many: Many) -> None:
    what = {"filter": {"status": ["failed"]}, "done": 14, "left_out": 3, "is_over": True}
    many.samples["change"] |= {"kind": "retried_many", "what": what}
    text = many.read("/changes")
    assert '<a href="/jobs?bulk=7"><bdi>14 jobs retried, 3 left out (failed)</bdi></a>' in text


def test_a_login_leads_on_to_them() -> None:
    for place in ("/changes", "/jobs/retry?status=failed", "/jobs/cancel?bulk=7"):
        assert place_of(place) == place
