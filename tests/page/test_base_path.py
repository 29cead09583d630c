"""A page under a path of its own: each link, form, file and redirect is below it, and nothing else is there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import bgjobd.web
from bgjob.codec import Request as Asked
from bgjobd.commands import status
from bgjobd.commands.status_report import PageState
from bgjobd.config import loading
from bgjobd.supervisor.page_process import settings_of
from bgjobd.web.settings import Settings
from tests.client.scripted import Line
from tests.page.serving import SAMPLES, TOKEN, WHEN, Served, page, renderer, tell_samples
from tests.page.test_guard import addresses

BASE = "/ops/bgjobd"
VIEWS = {"Mail": "/jobs?class=shop.jobs.Email"}
LINKED = ("href", "src", "action")
BROWSER = "Accept: text/html"
LEADING = frozenset(
    {"older", "newer", "newest", "before", "following", "first", "further", "fixed", "without", "address"}
)
"""What leads somewhere in JSON, beside the `place` of an action."""

MORE = ("/jobs?q=x&since=1h&per=2", "/jobs?status=failed", "/?until=1h", "/jobs/1?ask=cancel", "/groups/5?ask=cancel",
        "/jobs/retry?status=failed", "/nowhere", "/labels?after=a", "/schedules?per=1", "/errors?per=1",
        "/classes/shop.jobs.Email")  # fmt: skip
NO_PAGES = ("/events", "/healthz", "/metrics", "/jobs/1/output/1", "/static/0000000000000000/page.js")


class Links(HTMLParser):
    """Where the elements of a page lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in LINKED]


def tells_of_more(line: Line, asked: Asked) -> bool:
    """The samples with another page behind each list."""
    if asked.method.endswith(".Occurrences"):
        line.reply(occurrences=[SAMPLES["occurrence"]], next=WHEN)
    elif asked.method.endswith(".Labels"):
        line.reply(labels=[SAMPLES["label"]], next="tenant:8")
    elif asked.method.endswith(".Alerts"):
        line.reply(alerts=[SAMPLES["alert"]], next=5)
    else:
        tell_samples(line, asked, SAMPLES | {"next": 7, "next_error": "7", "next_change": 7})
    return True


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("page")
    with page(directory, tells=tells_of_more, base_path=BASE, actions=True, views=VIEWS) as served:
        yield served


@pytest.fixture(scope="module")
def with_token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with page(tmp_path_factory.mktemp("page"), base_path=BASE, token=TOKEN) as served:
        yield served


@pytest.mark.parametrize("path", [one for one in (*addresses("GET"), *MORE) if one not in NO_PAGES])
def test_each_link_form_and_file_of_a_view_is_below_the_base(served: Served, path: str) -> None:
    answer = served.ask(f"GET {BASE}{path}", BROWSER)
    assert (answer.header("content-type") or "").startswith("text/html")
    links = Links(answer.body.decode()).found
    assert links
    assert [one for one in links if not one.startswith((f"{BASE}/", "#", "?"))] == []
    assert [one for one in links if one.startswith(BASE * 2)] == []


def leading(value: Any) -> Iterator[str]:
    """What leads somewhere in an answer for programs."""
    if isinstance(value, dict):
        for name, one in value.items():
            is_address = name in LEADING or (name == "place" and "is_deed" in value)
            yield from [one] if is_address and isinstance(one, str) and "/" in one else leading(one)
    elif isinstance(value, list):
        for one in value:
            yield from leading(one)


def test_so_is_each_address_that_programs_are_told(served: Served) -> None:
    found = set()
    for path in (
        "/",
        "/now",
        "/now?label=tenant%3A7",
        "/jobs?class=a.B",
        "/groups",
        "/errors",
        "/schedules?per=1",
        "/schedules/nightly",
        "/labels",
    ):
        found |= {*leading(json.loads(served.ask(f"GET {BASE}{path}", "Accept: application/json").body))}
    assert len(found) > 6
    assert [one for one in found if not one.startswith(f"{BASE}/")] == []


def test_no_source_of_the_page_has_an_address_that_begins_with_nothing_before_it() -> None:
    """A branch of a template that no sample comes by is not seen above."""
    room = Path(bgjobd.web.__file__).parent
    literal = re.compile(
        r"""(?:href|src|action)=\\?["']/|(?:fetch|EventSource|assign|open)\(["'`]/|url\(["']?/"""
    )
    sources = [one for one in room.rglob("*") if one.suffix in (".html", ".js", ".css", ".py")]
    assert len(sources) > 40
    assert [str(one) for one in sources if literal.search(one.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    "path", ["/now", "/jobs/1", "/healthz", "/login", f"{BASE}x/now", "/ops", "/ops/", "//"]
)
def test_what_is_not_below_the_base_is_not_found(served: Served, path: str) -> None:
    assert served.ask(f"GET {path}").status == (400 if path == "//" else 404)


@pytest.mark.parametrize("path", ["/", BASE])
def test_who_asks_for_nothing_else_is_led_to_it(served: Served, path: str) -> None:
    answer = served.ask(f"GET {path}", BROWSER)
    assert (answer.status, answer.header("location")) == (303, f"{BASE}/")


def test_a_check_takes_no_place_from_people_there_either(served: Served) -> None:
    assert served.ask(f"GET {BASE}/healthz").header("connection") == "close"
    assert served.ask(f"GET {BASE}/now").header("connection") is None


@pytest.mark.parametrize(
    ("path", "form", "place"),
    [
        ("/jobs/1/retry", "", "/jobs/1"),
        ("/groups/5/cancel", "", "/groups/5?ask=cancel"),
        ("/queues/default/pause", "&next=/now", "/now"),
        ("/schedules/nightly/pause", "&next=/schedules%3Fq%3Dn", "/schedules?q=n"),
        ("/jobs/retry", f"&status=failed&as_of={WHEN[:-1]}.000000Z&expected=17", "/jobs?bulk=7"),
        ("/jobs/retry", "&status=failed", "/jobs/retry?status=failed"),
    ],
)
def test_a_button_leads_on_below_the_base(served: Served, path: str, form: str, place: str) -> None:
    shown = served.ask(f"GET {BASE}/jobs/1", BROWSER).body.decode()
    token = re.findall(r'name="token" value="([^"]+)"', shown)[0]
    kind = "Content-Type: application/x-www-form-urlencoded"
    answer = served.ask(f"POST {BASE}{path}", kind, body=f"token={token}{form}".encode())
    assert (answer.status, answer.header("location")) == (303, f"{BASE}{place}")


def test_a_button_of_a_list_names_the_place_that_it_leads_back_to_as_it_is_taken(served: Served) -> None:
    shown = served.ask(f"GET {BASE}/schedules?q=n", BROWSER).body.decode()
    assert {*re.findall(r'name="next" value="([^"]+)"', shown)} == {"/schedules?q=n"}


def test_a_login_is_asked_for_and_kept_below_the_base_alone(with_token: Served) -> None:
    asked = with_token.ask(f"GET {BASE}/jobs/1", BROWSER)
    assert asked.header("location") == f"{BASE}/login?next=%2Fjobs%2F1"
    done = with_token.ask(f"GET {asked.header('location')}&token={TOKEN}")
    assert (done.status, done.header("location")) == (303, f"{BASE}/jobs/1")
    assert f"; Path={BASE}/; " in (done.header("set-cookie") or "")
    assert with_token.ask(f"GET {BASE}/now").status == 401


def test_a_view_that_has_a_name_is_known_where_it_is_shown(served: Served) -> None:
    asked = served.ask(f"GET {BASE}/jobs?class=shop.jobs.Email", "Accept: application/json")
    assert json.loads(asked.body)["views"] == [["Mail", f"{BASE}{VIEWS['Mail']}", True]]


@pytest.mark.parametrize(("token", "place"), [(None, "/"), (TOKEN, f"/login?token={TOKEN}")])
def test_the_console_tells_the_address_with_the_base(token: str | None, place: str) -> None:
    settings = Settings("unix:/nowhere", "127.0.0.1:8377", token, base_path=BASE)
    assert settings.address_of(8377) == f"http://127.0.0.1:8377{BASE}{place}"


def test_the_files_are_the_same_wherever_they_are() -> None:
    assert renderer(BASE).static == renderer().static


def test_bgjobd_status_looks_for_the_page_below_the_base(tmp_path: Path) -> None:
    file = tmp_path / "bgjobd.toml"
    file.write_text(f'[web]\nbind = "unix:{tmp_path}/p.sock"\nbase_path = "{BASE}"\n')
    config = loading.load(file, {}, is_root=False)
    assert settings_of(config)["base_path"] == BASE
    with page(tmp_path, f"unix:{tmp_path}/p.sock", base_path=BASE):
        assert status._page_of(config, None) == PageState(f"unix:{tmp_path}/p.sock", True)
