"""Pages as browsers read them: whatever a job, a caller or a query says stays text; times, sizes and the chart."""

from __future__ import annotations

import base64
import json
import pickle
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote

import pytest

from bgjob.codec import Request as Asked
from bgjob.timelines import timeline_of
from bgjobd.host.clock import to_text
from bgjobd.web import render
from bgjobd.web.charts import dots, ended, spark, spark_bars
from bgjobd.web.drawings import chart, day_line, hour_lines, legend, squares, together
from bgjobd.web.exchange import Request, Response
from bgjobd.web.graph import JOB, Graph
from bgjobd.web.graph_drawing import graph_drawing, legend_of_ways, members_bar
from bgjobd.web.graph_layout import picture_of
from bgjobd.web.render import Renderer, ago, time_tag
from bgjobd.web.scatter import MEASURES, cloud_of
from bgjobd.web.settings import Settings
from bgjobd.web.texts import badge, parted, pretty, short, with_code
from bgjobd.web.timeline_drawing import step_bar, ticks
from bgjobd.web.trends import LAST_DAY, TWO_WEEKS, Change, slots_of, text_of
from bgjobd.web.views import Page
from tests.client.scripted import Line, ScriptedDaemon
from tests.page.serving import SAMPLES, WHEN, tell_samples

HOSTILE = (
    """x"'`><xss onxss=1 style=a href=javascript:xss></script></title></textarea></pre></style></svg>"""
    """<!--<script>xss</script>--><xss/>&lt;xss&gt; {{ 1237*8081 }}{% xss %}\u2028\x00\x1b[2J\ud7ff"""
)
ADDRESSES = (
    "/", "/jobs", "/jobs/1", "/jobs/1/graph", "/groups", "/groups/5", "/schedules", "/schedules/nightly", "/system",
    "/errors", "/errors/1", "/hosts", "/alerts", "/labels", "/changes", "/jobs/retry", "/compare?a=1.1&b=1.1",
    "/now", "/now?label=tenant:7", "/classes", "/classes/shop.jobs.Email",
)  # fmt: skip


class Read(HTMLParser):
    """A page's elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute comes twice in {tag} {attrs}"
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"no template has a comment: {data!r}")


def markup(read: Read) -> set[tuple[str, str]]:
    """Each pair of an element and an attribute of it."""
    return {(tag, name) for tag, attributes in read.elements for name in ["", *attributes]}


_SAMPLES: Final = pickle.dumps(SAMPLES)
"""A copy by it takes a tenth of a deepcopy."""


class OnePage:
    """A page over a daemon that tells `samples`, which a test may change."""

    def __init__(self, socket: Path) -> None:
        views = {"Mail, failed <today>": "/jobs?class=shop.jobs.Email&status=failed&since=24h"}
        self._page = Page(Settings(f"unix:{socket}", "unix:/nowhere", actions=True, views=views))
        self.reset()

    def reset(self) -> None:
        self.samples: dict[str, Any] = pickle.loads(_SAMPLES)
        self.output = b"printed"
        self.asked: list[dict[str, Any]] = []
        self.methods: list[str] = []
        self.refusal: tuple[str, dict[str, Any]] | None = None

    def tell(self, line: Line, asked: Asked) -> None:
        self.asked.append(dict(asked.parameters))
        self.methods.append(asked.method.rpartition(".")[2])
        if self.refusal is not None:
            line.refuse(self.refusal[0], **self.refusal[1])
        elif asked.method.endswith(".Output"):
            size = len(self.output)
            offset = asked.parameters.get("offset") or 0
            begin = offset if offset >= 0 else max(0, size + offset)
            data = base64.b64encode(self.output[begin:]).decode("ascii")
            line.reply(number=1, left_out=0, offset=begin, data=data, next=size, is_end=True)
        else:
            tell_samples(line, asked, self.samples)

    def asked_for(self, method: str) -> list[dict[str, Any]]:
        """What was asked by it, each time."""
        return [given for name, given in zip(self.methods, self.asked, strict=True) if name == method]

    def ask(self, path: str, accept: str = "text/html", **query: str) -> Response:
        path, _, more = path.partition("?")
        query = dict(parse_qsl(more)) | query
        return self._page.respond(Request("GET", path, query, {"host": "localhost", "accept": accept}))

    def read(self, path: str, **query: str) -> Read:
        return Read(self.ask(path, **query).body.decode())


@pytest.fixture(scope="module")
def only_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnePage]:
    socket = tmp_path_factory.mktemp("page") / "d.sock"
    page = OnePage(socket)
    with ScriptedDaemon(socket, page.tell):
        yield page


@pytest.fixture
def shown(only_page: OnePage) -> OnePage:
    """The same page for all tests, as its templates take their time; what it is told is fresh."""
    only_page.reset()
    return only_page


class Noting(dict[str, Any]):
    """Samples, and which of them were told."""

    def __init__(self, samples: dict[str, Any]) -> None:
        super().__init__(samples)
        self.told: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.told.add(name)
        return super().__getitem__(name)


@pytest.fixture(scope="module")
def addresses_of(only_page: OnePage) -> dict[str, list[str]]:
    """At which addresses each sample is asked for."""
    told = {}
    for address in ADDRESSES:
        only_page.reset()
        only_page.samples = samples = Noting(only_page.samples)
        only_page.read(address)
        told[address] = samples.told
    found = {name: [address for address in ADDRESSES if name in told[address]] for name in SAMPLES}
    found["why"] = ["/jobs/1"]  # of a job that waits
    found["running"].append("/jobs/1")  # and of one that runs
    assert all(found.values())
    return found


@cache
def usual_markup() -> set[tuple[str, str]]:
    """What templates can make, read from their sources, and from what makes markup in Python."""
    sources = [path.read_text() for path in Path(__file__).parents[2].glob("web/templates/*.html")]
    plain = [re.sub(r"\{%.*?%\}|\{\{.*?\}\}", " ", source) for source in sources]
    made = [
        str(chart([{"completed": 1, "failed": 1}])),
        str(time_tag(WHEN, 0.0)),
        str(time_tag(WHEN, 0.0, exact=True)),
        str(badge("failed")),
        str(parted("a.b")),
        *drawings(),
        *drawings_of_graphs(),
        *drawings_of_timelines(),
        *drawings_of_ends(),
    ]
    return {pair for text in [*plain, *made] for pair in markup(Read(text))}


def drawings() -> Iterator[str]:
    """All that is drawn of schedules: each kind of mark and of bar."""
    now = datetime.fromisoformat(WHEN).timestamp()
    for occurrence in (SAMPLES["occurrence"], SAMPLES["occurrence"] | {"status": "completed"}):
        yield str(squares([occurrence]))
        schedule = SAMPLES["schedule"] | {"occurrences": [occurrence, occurrence], "earlier": True}
        yield str(day_line(schedule, now))
    yield str(together([{"at": WHEN, "names": ["nightly"]}], now))
    yield str(hour_lines(now))
    yield str(legend())


def drawings_of_graphs() -> Iterator[str]:
    graph = Graph.of(*(SAMPLES["graph"][name] for name in ("jobs", "groups", "edges")))
    yield str(graph_drawing(picture_of(graph), (JOB, 1), 0.0))
    yield str(legend_of_ways())
    yield str(members_bar(SAMPLES["group"]))


def drawings_of_timelines() -> Iterator[str]:
    now = datetime.fromisoformat(WHEN).timestamp()
    running = SAMPLES["job"] | {"status": "running", "expected": {"p50": 1.0, "p95": 2.0}}
    told = timeline_of(running | {"attempts": [SAMPLES["job"]["attempts"][0] | {"outcome": None}]}, now)
    yield from (str(step_bar(told, step)) for step in told.steps)
    yield str(ticks(told))


def drawings_of_ends() -> Iterator[str]:
    now = datetime.fromisoformat(WHEN).timestamp()
    change = Change(WHEN, "code loaded", 0.5)
    for span in (LAST_DAY, TWO_WEEKS):
        yield str(
            ended(
                slots_of([SAMPLES["point"] | {"at": text_of(span.begin(now))}], span, now),
                [change],
                span,
                now,
            )
        )
    marks = [
        SAMPLES["mark"] | {"outcome": word, "job_id": id}
        for id in range(20)
        for word in ("completed", "failed")
    ]
    yield str(dots(cloud_of(marks, MEASURES["time"], 60.0, [change])))
    yield str(spark([1, None], "1"))
    yield str(spark_bars([1, None], "1"))
    yield str(with_code("`a` b"))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each single value stands."""
    match value:
        case dict():
            for name in value:
                yield from places(value[name], (*path, name))
        case list():
            for place, inner in enumerate(value):
                yield from places(inner, (*path, place))
        case _:
            yield path


def put(value: Any, path: tuple[Any, ...], new: Any) -> None:
    for step in path[:-1]:
        value = value[step]
    value[path[-1]] = new


def is_text(read: Read) -> bool:
    """Whether nothing of what was said became markup, or an address that leads elsewhere."""
    values = [
        value or ""
        for _, attributes in read.elements
        for name, value in attributes.items()
        if name in ("href", "src", "action")
    ]
    is_own = all(re.match(r"/(?!/)|#main$", value) for value in values)
    return is_own and markup(read) <= usual_markup()


@pytest.mark.parametrize(
    "top", sorted({path[:2] for path in places(SAMPLES)}), ids=lambda top: ".".join(map(str, top))
)
def test_whatever_the_daemon_tells_stays_text(
    shown: OnePage, addresses_of: dict[str, list[str]], top: tuple[Any, ...]
) -> None:
    for path in [path for path in places(SAMPLES) if path[:2] == top]:
        shown.reset()
        # A request can hold no NUL.
        is_asked_for = path in (("schedule", "name"), ("stats", "queues", 0, "name"))
        put(shown.samples, path, HOSTILE.replace("\0", "") if is_asked_for else HOSTILE)
        if path[0] in ("why", "running"):
            shown.samples["job"]["status"] = "pending" if path[0] == "why" else "running"
        for address in addresses_of[path[0]]:
            assert is_text(shown.read(address)), (path, address)


SHOWN = {
    "/": [("entry", "message"), ("entry", "class_name"), ("entry", "method_name"), ("entry", "type"),
          ("stats", "storage_trouble"), ("stats", "refused_schedules", "nightly")],
    "/jobs": [("summary", "class_name"), ("summary", "method_name"), ("summary", "error"), ("summary", "labels", 0)],
    "/labels": [("label", "label")],
    "/now": [("need", "sentence"), ("need", "hint"), ("change", "what", "code"), ("running", "class_name"),
             ("running", "method_name"), ("running", "progress", "message"), ("running", "host"),
             ("stats", "queues", 0, "name")],
    "/now?label=tenant:7": [("running", "class_name"), ("summary", "error"), ("summary", "labels", 0)],
    "/classes": [("trend", "name"), ("class", "name")],
    "/classes/shop.jobs.Email": [("class", "unavailable"), ("class", "hint"), ("class", "methods", 0, "name"),
                                 ("class", "policy", "queue"), ("error", "name"), ("error", "line"),
                                 ("mark", "outcome")],
    "/jobs/1": [("job", "class_name"), ("job", "method_name"), ("job", "queue"), ("job", "error"),
                ("job", "parameters", "to"), ("job", "key"), ("job", "labels", 0),
                ("job", "result", "sent"), ("job", "takes", "rows", "pointer"), ("job", "takes", "rows", "problem"),
                ("job", "attempts", 0, "error_message"),
                ("job", "attempts", 0, "error_type"), ("job", "attempts", 0, "traceback"),
                ("job", "attempts", 0, "error_class"),
                ("job", "attempts", 0, "outcome"), ("job", "attempts", 0, "progress", "message"),
                ("entry", "message")],
    "/compare?a=1.1&b=1.1": [("job", "class_name"), ("job", "method_name"), ("job", "queue"),
                             ("job", "attempts", 0, "error_message"), ("job", "attempts", 0, "outcome"),
                             ("job", "attempts", 0, "code_version")],
    "/jobs/1/graph": [("graph", "jobs", 0, "class_name"), ("graph", "jobs", 0, "method_name"),
                      ("graph", "groups", 0, "name"), ("graph", "groups", 0, "state")],
    "/errors": [("error", "name"), ("error", "line"), ("error", "place")],
    "/errors/1": [("error", "name"), ("error", "line"), ("error", "place"), ("error", "message"),
                  ("error", "first_version"), ("error", "last_version"), ("traceback",)],
    "/hosts": [("host", "name"), ("host", "trouble"), ("host", "queues", 0), ("host", "version"),
               ("host", "code_version")],
    "/groups": [("group", "name"), ("group", "state")],
    "/groups/5": [("group", "name"), ("group", "state"), ("summary", "class_name"), ("summary", "error")],
    "/schedules": [("schedule", "name"), ("schedule", "job"), ("schedule", "description"), ("schedule", "zone"),
                   ("schedule", "refused"),
                   ("schedule", "next", 0, "local"), ("schedule", "next", 0, "note")],
    "/schedules/nightly": [("schedule", "job"), ("schedule", "description"),
                           ("schedule", "zone"), ("schedule", "cron"), ("schedule", "refused"),
                           ("schedule", "parameters", "to"), ("schedule", "next", 0, "local"),
                           ("schedule", "next", 0, "note")],
    "/system": [("class", "name"), ("class", "unavailable"), ("key", "key"), ("class", "policy", "rate"),
                ("class", "policy", "key"), ("stats", "queues", 0, "rate_per_key"),
                ("class", "hint"), ("class", "methods", 0, "name"),
                ("class", "policy", "queue"), ("class", "policy", "user"), ("class", "policy", "writable", 0),
                ("limits", "memory"),
                ("stats", "queues", 0, "name"), ("stats", "version"), ("stats", "code_version"),
                ("stats", "python")],
}  # fmt: skip


@pytest.mark.parametrize(
    ("address", "path"),
    [(address, path) for address, paths in SHOWN.items() for path in paths],
    ids=lambda value: value if isinstance(value, str) else ".".join(map(str, value)),
)
def test_what_is_told_is_shown_as_it_was_told(shown: OnePage, address: str, path: tuple[Any, ...]) -> None:
    put(shown.samples, path, "<xss onxss=1>&amp;{{ 7*7 }}</xss>")
    answer = shown.ask(address)
    assert answer.status == 200
    text = Read(answer.body.decode()).text.lower()
    assert "<xss onxss=1>&amp;{{ 7*7 }}</xss>" in text


def test_of_many_schedules_that_are_refused_some_are_told_and_where_the_others_are(shown: OnePage) -> None:
    shown.samples["stats"]["refused_schedules"] = {f"s{number}": "no" for number in range(4)}
    read = shown.read("/")
    links = [attributes.get("href") for name, attributes in read.elements if name == "a"]
    assert [link for link in links if link and link.startswith("/schedules/")] == [
        f"/schedules/s{number}" for number in range(3)
    ]
    assert "/schedules?status=refused" in links


def test_a_job_leads_to_the_one_that_has_submitted_it(shown: OnePage) -> None:
    links = [attributes.get("href") for name, attributes in shown.read("/jobs/1").elements if name == "a"]
    assert "/jobs/7" in links


def test_what_runs_is_shown_beside_what_others_of_its_method_take(shown: OnePage) -> None:
    expected = {"runs": 9, "p50": 40.2, "p95": 118.0, "memory_p95": None, "left": 20.3, "times": None}
    for name in ("summary", "job"):
        told = shown.samples[name]
        told |= {"status": "running", "error": None, "finished_at": None, "expected": expected}
        told["started_at"] = told["created_at"]
    shown.samples["job"]["attempts"][0] |= {"outcome": None, "finished_at": None}
    assert ", usually 40 s" in shown.read("/jobs").text
    assert "half end within 40 s, 95 of 100 within 2 min; about 20 s left" in shown.read("/jobs/1").text


FREE = {
    "/now": [("need", "sentence"), ("need", "hint"), ("change", "what", "code"), ("running", "progress", "message")],
    "/classes/shop.jobs.Email": [("class", "unavailable"), ("class", "hint"), ("error", "name")],
    "/": [("entry", "message"), ("stats", "storage_trouble"), ("stats", "refused_schedules", "nightly")],
    "/jobs": [("summary", "error"), ("stats", "storage_trouble")],
    "/jobs/1": [("job", "error"), ("job", "parameters", "to"), ("job", "result", "sent"), ("entry", "message"),
                ("job", "takes", "rows", "problem"), ("job", "key"),
                ("job", "attempts", 0, "error_message"), ("job", "attempts", 0, "error_type"),
                ("job", "attempts", 0, "error_class"),
                ("job", "attempts", 0, "traceback"), ("job", "attempts", 0, "progress", "message")],
    "/compare?a=1.1&b=1.1": [("job", "attempts", 0, "error_message"), ("job", "attempts", 0, "code_version")],
    "/jobs/1/graph": [("graph", "groups", 0, "name")],
    "/errors": [("error", "name"), ("error", "line")],
    "/errors/1": [("error", "name"), ("error", "message"), ("error", "place"), ("traceback",)],
    "/hosts": [("host", "trouble")],
    "/groups": [("group", "name")],
    "/groups/5": [("group", "name"), ("summary", "error")],
    "/schedules": [("schedule", "refused")],
    "/schedules/nightly": [("schedule", "refused"), ("schedule", "parameters", "to")],
    "/system": [("class", "unavailable"), ("stats", "storage_trouble"), ("key", "key")],
}  # fmt: skip
"""What may be any text, in any script; names have a grammar."""


class Around(Read):
    """The elements around each text, and the text."""

    def __init__(self, text: str) -> None:
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self._open: list[str] = []
        super().__init__(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attrs)
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open.pop() != tag:
            pass  # one that has no end

    def handle_data(self, data: str) -> None:
        self.texts.append((tuple(self._open), data))


@pytest.mark.parametrize(
    ("address", "path"),
    [(address, path) for address, paths in FREE.items() for path in paths],
    ids=lambda value: value if isinstance(value, str) else ".".join(map(str, value)),
)
def test_text_that_runs_the_other_way_turns_nothing_around_it(
    shown: OnePage, address: str, path: tuple[Any, ...]
) -> None:
    put(shown.samples, path, "turned \u202e around")
    found = [around for around, text in Around(shown.ask(address).body.decode()).texts if "turned" in text]
    assert found
    assert all({"bdi", "pre", "svg"} & set(around) for around in found), "the style isolates texts of an SVG"


SETS_THE_TERMINAL = "red \x1b[31m, back\rwards \u202egnp.exe\u2066, end\x9b2J\u200d"
AS_SHOWN = r"red \x1b[31m, back\rwards \u202egnp.exe\u2066, end\x9b2J" + "\u200d"


@pytest.mark.parametrize(
    ("address", "path"),
    [(address, path) for address, paths in FREE.items() for path in paths],
    ids=lambda value: value if isinstance(value, str) else ".".join(map(str, value)),
)
def test_what_would_turn_a_text_or_set_a_terminal_is_shown_and_not_obeyed(
    shown: OnePage, address: str, path: tuple[Any, ...]
) -> None:
    put(shown.samples, path, SETS_THE_TERMINAL)
    shown.output = SETS_THE_TERMINAL.encode()
    answer = shown.ask(address).body.decode()
    assert not set(answer) & set("\x1b\r\u202e\u2066\x9b")
    as_json = AS_SHOWN.replace(r"\x1b", r"\u001b").replace(r"\x9b", r"\u009b")
    assert {AS_SHOWN, as_json} & {part for part in (AS_SHOWN, as_json) if part in answer}
    if address == "/jobs/1":
        assert r"wards \u202egnp.exe\u2066, end\x9b2J" in Read(answer.partition('id="output"')[2]).text


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("/groups", ("group", "state")),
        ("/groups/5", ("group", "state")),
        ("/jobs/1/graph", ("graph", "groups", 0, "state")),
    ],
)
def test_a_word_that_no_daemon_has_for_how_something_stands_is_shown_and_not_obeyed(
    shown: OnePage, address: str, path: tuple[Any, ...]
) -> None:
    put(shown.samples, path, SETS_THE_TERMINAL)
    answer = shown.ask(address).body.decode()
    assert not set(answer) & set("\x1b\r\u202e\u2066\x9b")
    assert AS_SHOWN.capitalize() in answer


def test_a_search_is_sent_again_as_it_was_typed(shown: OnePage) -> None:
    shown.samples["entries"] = []
    read = shown.read("/", q="a\u202eb")
    assert ("q", "a\u202eb") in {(each.get("name"), each.get("value")) for _, each in read.elements}
    assert r"No messages match “a\u202eb”" in read.text


def test_a_list_of_jobs_is_asked_for_and_told_by_all_of_its_address(shown: OnePage) -> None:
    asked = {
        "class": "shop.jobs.Email",
        "label": "tenant:7",
        "longer": "10s",
        "outcome": "lost",
        "sort": "ended",
    }
    read = shown.read("/jobs", **asked)
    (listed,) = [one for one in shown.asked if one.get("count")]
    told = ("class_name", "label", "longer_than", "outcome", "sort", "status")
    assert [listed.get(name) for name in told] == ["shop.jobs.Email", "tenant:7", 10.0, "lost", "ended", None]
    text = " ".join("".join(read.text).split())
    for chip in ("Class shop.jobs.Email ×", "Label tenant:7 ×", "Longer than 10s ×", "Ended lost ×"):
        assert chip in text
    kept = {
        one["name"]: one["value"]
        for tag, one in read.elements
        if tag == "input" and one.get("type") == "hidden"
    }
    assert kept.items() >= asked.items()


def test_named_views_and_labels_stand_over_the_jobs(shown: OnePage) -> None:
    read = shown.read("/jobs", **{"class": "shop.jobs.Email", "status": "failed", "since": "24h"})
    links = {one.get("href"): one for tag, one in read.elements if tag == "a"}
    assert "/labels" in links
    assert "aria-current" in links["/jobs?class=shop.jobs.Email&status=failed&since=24h"]
    assert "Mail, failed <today>" in "".join(read.text)


def test_a_label_leads_to_its_jobs_from_wherever_it_is_shown(shown: OnePage) -> None:
    for address in ("/jobs", "/jobs/1", "/labels"):
        links = [one.get("href") for tag, one in shown.read(address).elements if tag == "a"]
        assert "/jobs?label=tenant%3A7" in links


def test_queues_and_classes_lead_to_their_jobs_from_the_system(shown: OnePage) -> None:
    links = {one.get("href") for tag, one in shown.read("/system").elements if tag == "a"}
    assert {f"/jobs?queue={queue['name']}" for queue in shown.samples["stats"]["queues"]} <= links
    assert f"/jobs?class={shown.samples['class']['name']}" in links


def test_what_a_job_prints_stays_text(shown: OnePage) -> None:
    shown.output = HOSTILE.encode() + bytes(range(256))
    read = shown.read("/jobs/1")
    assert is_text(read)
    assert "<xss onxss=1" in read.text
    assert "\ufffd" in read.text  # what is no UTF-8


@pytest.mark.parametrize("name", ["q", "status", "per", "page", "upto", "other", "newer_than", "token"])
def test_whatever_a_query_says_stays_text(shown: OnePage, name: str) -> None:
    for address in (*ADDRESSES, "/login"):
        assert shown.ask(address, **{name: HOSTILE}).status in (200, 303)
        assert is_text(shown.read(address, **{name: HOSTILE}))
    for path in ("Logs", "List"):
        shown.samples[{"Logs": "entries", "List": "jobs"}[path]] = []
        assert is_text(shown.read("/" if path == "Logs" else "/jobs", **{name: HOSTILE}))


def test_a_path_that_leads_nowhere_is_not_quoted(shown: OnePage) -> None:
    for path in (
        f"/{HOSTILE}",
        f"/jobs/{HOSTILE}",
        f"/static/{HOSTILE}",
        "/jobs/1/",
        "/JOBS",
        "/jobs/-1",
        "/jobs/1\n",
    ):
        answer = shown.ask(path)
        assert answer.status == 404
        assert b"xss" not in answer.body
        assert is_text(Read(answer.body.decode()))


@pytest.mark.parametrize(
    ("error", "parameters", "status"),
    [
        ("StorageUnavailable", {"reason": HOSTILE}, 503),
        ("JobNotFound", {"id": 1}, 404),
        ("InternalError", {"reason": HOSTILE}, 502),
        ("PermissionDenied", {"method": HOSTILE, "reason": HOSTILE}, 403),
        ("InvalidState", {"id": HOSTILE, "status": HOSTILE}, 409),
        ("BehindFailed", {"id": HOSTILE, "before": HOSTILE}, 409),
        ("Xss", {"reason": HOSTILE}, 502),
    ],
)
def test_whatever_the_daemon_refuses_stays_text(
    shown: OnePage, error: str, parameters: dict[str, Any], status: int
) -> None:
    shown.refusal = (error, parameters)
    answer = shown.ask("/jobs/1")
    assert answer.status == status
    assert is_text(Read(answer.body.decode()))


def test_programs_are_told_json_and_browsers_are_told_that_it_is(shown: OnePage) -> None:
    shown.samples["entry"]["message"] = HOSTILE
    for address in ADDRESSES:
        answer = shown.ask(address, accept="application/json")
        assert answer.headers["Content-Type"] == "application/json"
        assert json.loads(answer.body)["stats"]["slots"] == 4
    assert json.loads(shown.ask("/", accept="application/json").body)["entries"][0]["message"] == HOSTILE


def test_every_template_is_tried_here() -> None:
    """A new one has to be added to the tests above."""
    found = {path.name for path in Path(__file__).parents[2].glob("web/templates/*.html")}
    assert found == {"alerts.html", "base.html", "broken.html", "changes.html", "class.html", "class_parts.html",
                     "classes.html", "compare.html", "error.html", "errors.html", "graph.html", "group.html",
                     "groups.html", "hosts.html", "job.html", "jobs.html", "labels.html", "log.html", "login.html",
                     "many.html", "now.html", "now_label.html", "parts.html", "schedule.html",
                     "schedules.html", "system.html"}  # fmt: skip


def test_no_template_switches_escaping_off_or_has_what_the_policy_forbids() -> None:
    for path in Path(__file__).parents[2].glob("web/templates/*.html"):
        source = path.read_text()
        assert not re.search(r"\|\s*safe|autoescape|Markup", source)
        assert not re.search(r"\son\w+=|\sstyle=|<style|javascript:|https?://", source)
        assert re.findall(r"<script(?! (?:type=\"module\" )?src=\"\{\{ static \}\}/)", source) == []


def test_a_row_of_the_log_tells_which_attempt_of_how_many(shown: OnePage) -> None:
    assert "attempt 1 of 4" in shown.read("/").text
    shown.samples["entry"]["attempts_allowed"] = None
    text = shown.read("/").text
    assert "attempt 1" in text
    assert "attempt 1 of" not in text


# What is not all there, and says so


@pytest.mark.parametrize(("address", "sample"), [("/", "entry"), ("/jobs", "summary")])
def test_a_search_that_was_cut_short_says_how_far_it_got(shown: OnePage, address: str, sample: str) -> None:
    shown.samples[sample]["id"] = 200
    shown.samples |= {"next": 151, "is_complete": False}
    read = shown.read(address, q="word")
    assert "cut short when its time was up, after the newest 25%." in " ".join(read.text.split())
    assert any(
        attributes.get("href") == f"{address}?q=word&page=2&upto=150" for _, attributes in read.elements
    )
    shown.samples["is_complete"] = True
    assert "cut short" not in shown.read(address, q="word").text


def test_of_a_long_output_the_end_is_shown_and_how_much_came_before(shown: OnePage) -> None:
    shown.output = b"begin" + b"x" * 65_536
    text = shown.read("/jobs/1").text
    assert "5 B came before" in text
    assert "begin" not in text
    shown.output = b"begin"
    assert "before" in hidden(shown.read("/jobs/1"))


def hidden(read: Read) -> set[str | None]:
    """The ids of what is not shown."""
    return {
        attributes["id"] for _, attributes in read.elements if "hidden" in attributes and "id" in attributes
    }


def test_of_an_output_and_a_log_that_grow_only_what_has_not_been_seen_is_told(shown: OnePage) -> None:
    shown.output = "printed before, and now é".encode()
    read = shown.read("/jobs/1", seen="1.16.6")
    (box,) = [attributes for _, attributes in read.elements if attributes.get("id") == "output"]
    assert (box["data-attempt"], box["data-begin"], box["data-end"]) == ("1", "16", "26")
    assert "printed before" not in read.text
    assert "and now é" in read.text
    assert ("ol", {"class": "entries exact", "data-last": "7", "data-after": "6"}) in read.elements
    assert [one["after"] for one in shown.asked if one.get("after", -20) != -20] == [6]
    assert "printed before" in shown.read("/jobs/1", seen="2.16.6").text  # of an earlier attempt
    assert "printed before" in shown.read("/jobs/1", seen="1.99.6").text  # the file is shorter by now


def test_a_character_that_is_not_yet_whole_is_told_once_it_is(shown: OnePage) -> None:
    shown.samples["job"] |= {"status": "running", "finished_at": None}
    shown.samples["job"]["attempts"][0] |= {"outcome": None, "finished_at": None}
    shown.output = "half of é".encode()[:-1]
    read = shown.read("/jobs/1")
    (box,) = [attributes for _, attributes in read.elements if attributes.get("id") == "output"]
    assert (box["data-end"], "\ufffd" in read.text) == ("8", False)
    shown.samples["job"]["attempts"][0] |= {"outcome": "failed"}
    assert "\ufffd" in shown.read("/jobs/1").text


def test_what_runs_is_not_cancelled_by_one_click(shown: OnePage) -> None:
    shown.samples["job"] |= {"status": "running", "finished_at": None}
    read = shown.read("/jobs/1")
    assert "Cancel…" in read.text
    assert "/jobs/1/cancel" not in {attributes.get("action") for _, attributes in read.elements}
    read = shown.read("/jobs/1", ask="cancel")
    assert "A cancel stops it" in read.text
    assert ("form", {"method": "post", "action": "/jobs/1/cancel"}) in read.elements
    shown.samples["job"] |= {"status": "completed"}
    assert "A cancel stops it" not in shown.read("/jobs/1", ask="cancel").text


def test_the_retry_that_a_job_waits_for_is_not_spent_yet(shown: OnePage) -> None:
    shown.samples["job"] |= {"status": "pending", "finished_at": None, "retry_count": 2, "max_retries": 8}
    assert "1 of 8 retries spent" in shown.read("/jobs/1").text
    shown.samples["job"] |= {"retry_count": 0}
    assert "0 of 8 retries spent" in shown.read("/jobs/1").text
    shown.samples["job"] |= {"status": "running", "retry_count": 2}
    assert "2 of 8 retries spent" in shown.read("/jobs/1").text


def test_of_a_long_log_a_job_says_where_the_rest_is(shown: OnePage) -> None:
    assert "older" in hidden(shown.read("/jobs/1"))
    shown.samples["next"] = 7
    assert "older" not in hidden(shown.read("/jobs/1"))


def test_a_cancel_that_is_wanted_is_told_before_it_is_done(shown: OnePage) -> None:
    assert "Cancel requested" not in shown.read("/jobs/1").text
    shown.samples["job"] |= {"status": "running", "finished_at": None, "cancel_requested_at": WHEN}
    assert "Cancel requested" in shown.read("/jobs/1").text


@pytest.mark.parametrize(
    ("address", "name", "unattempted"),
    [("/jobs", "summary", {"attempt": 0}), ("/jobs/1", "job", {"attempts": []})],
)
def test_a_pending_job_whose_time_has_not_come_is_called_scheduled_retrying_or_snoozed(
    shown: OnePage, address: str, name: str, unattempted: dict[str, Any]
) -> None:
    job = shown.samples[name]
    job |= {"status": "pending", "finished_at": None, "scheduled_at": "2999-01-01T00:00:00.000000Z"}
    assert '<span class="badge warm">Retrying</span>' in shown.ask(address).body.decode()
    latest = job["attempts"][-1] if "attempts" in job else job
    latest["outcome"] = "snoozed"
    assert '<span class="badge warm">Snoozed</span>' in shown.ask(address).body.decode()
    job |= unattempted | {"outcome": None}
    assert '<span class="badge grey">Scheduled</span>' in shown.ask(address).body.decode()
    job["scheduled_at"] = WHEN
    assert '<span class="badge grey">Pending</span>' in shown.ask(address).body.decode()


def test_a_job_tells_its_unique_key_and_by_when_it_is_to_start_until_it_has(shown: OnePage) -> None:
    job = shown.samples["job"]
    job |= {"status": "pending", "finished_at": None, "started_at": None, "attempts": []}
    job |= {"unique_key": "<b>7</b>", "expires_at": "2999-01-01T00:00:00.000000Z"}
    body = shown.ask("/jobs/1").body.decode()
    assert "Unique key <code>&lt;b&gt;7&lt;/b&gt;</code>" in body
    assert "<b>Expires</b>" in body
    job |= {"status": "cancelled", "finished_at": WHEN, "error": "expired: not started by 2999"}
    body = shown.ask("/jobs/1").body.decode()
    assert "<b>Expires</b>" not in body
    assert '<span class="badge warm">Expired</span>' in body


@pytest.mark.parametrize("status", ["pending", "running"])
def test_a_job_says_what_it_waits_for_until_it_has_ended(shown: OnePage, status: str) -> None:
    assert "Job 1 waits" not in shown.read("/jobs/1").text
    shown.samples["job"] |= {"status": status, "finished_at": None}
    assert "Job 1 waits for a slot." in shown.read("/jobs/1").text


def test_what_a_job_waits_for_stays_text_and_turns_nothing_around_it(shown: OnePage) -> None:
    shown.samples["job"] |= {"status": "pending", "finished_at": None}
    shown.samples["why"] = f"turned \u202e around {HOSTILE}"
    answer = shown.ask("/jobs/1").body.decode()
    assert is_text(Read(answer))
    assert [around for around, text in Around(answer).texts if "urned \\u202e around" in text]
    assert "\u202e" not in answer


def test_a_job_says_where_it_stands_in_its_retries(shown: OnePage) -> None:
    assert "queue default, 0 of 3 retries spent" in shown.read("/jobs/1").text
    shown.samples["job"] |= {"queue": "mail", "retry_count": 2, "timeout": 90.0}
    assert "queue mail, 2 of 3 retries spent, timeout 1 min 30 s" in shown.read("/jobs/1").text
    shown.samples["job"] |= {"retry_count": 0, "max_retries": 0}
    assert "queue mail, no retries, timeout 1 min 30 s" in shown.read("/jobs/1").text


@pytest.mark.parametrize("address", ["/", "/jobs", "/system"])
def test_what_is_counted_leads_to_the_jobs_that_were_counted(shown: OnePage, address: str) -> None:
    led = [attributes["href"] for tag, attributes in shown.read(address).elements if tag == "a"]
    assert {f"/jobs?status={status}" for status in ("running", "pending", "failed&since=1h")} <= set(led)


def test_a_list_of_failed_jobs_goes_on_and_counts_what_is_newer_by_their_ends(shown: OnePage) -> None:
    ended_at = "2024-12-04T14:31:53.250000Z"
    shown.samples |= {"next": 1, "next_at": ended_at}
    shown.samples["summary"]["finished_at"] = ended_at
    read = shown.read("/jobs", status="failed")
    (older,) = {attributes["href"] for _, attributes in read.elements if attributes.get("rel") == "next"}
    query = dict(parse_qsl((older or "").partition("?")[2]))
    assert query == {"status": "failed", "page": "2", "upto": "0", "at": ended_at}
    shown.read("/jobs", **query)
    (asked,) = [one for one in shown.asked if one.get("before") is not None]
    assert (asked["before"], asked["before_at"]) == (1, ended_at)
    (top,) = [attributes["data-top"] for _, attributes in read.elements if "data-top" in attributes]
    for than, newer in ((top, 0), (ended_at.replace("53.25", "53.24"), 1)):
        answer = shown.ask("/jobs", accept="application/json", status="failed", newer_than=str(than))
        assert json.loads(answer.body)["newer"] == newer


def test_the_span_of_a_list_is_asked_for_shown_and_kept(shown: OnePage) -> None:
    read = shown.read("/jobs", status="failed", since="1h")
    led = [attributes.get("href") or "" for _, attributes in read.elements]
    assert "Last 1h ×" in read.text
    assert {"/jobs?status=failed", "/jobs?status=running&since=1h"} <= set(led)
    assert ("input", {"type": "hidden", "name": "since", "value": "1h"}) in read.elements


def test_a_list_tells_how_far_a_job_is_as_long_as_it_runs(shown: OnePage) -> None:
    shown.samples["summary"] |= {"status": "running", "error": None, "finished_at": None}
    assert "50% half of it" in shown.read("/jobs").text
    shown.samples["summary"] |= {"status": "completed", "finished_at": WHEN}
    assert "half of it" not in shown.read("/jobs").text


def test_a_list_tells_of_a_job_that_runs_that_its_cancel_was_requested(shown: OnePage) -> None:
    running = {"status": "running", "error": None, "finished_at": None}
    shown.samples["summary"] |= running | {"cancel_requested_at": WHEN}
    assert re.search(r"cancel requested [^,]+ ago\s?, 50% half of it", shown.read("/jobs").text)
    shown.samples["summary"] |= {"status": "cancelled", "finished_at": WHEN}
    assert "cancel requested" not in shown.read("/jobs").text


def test_of_many_attempts_all_that_are_told_are_rows_and_the_one_that_is_asked_for_is_open(
    shown: OnePage,
) -> None:
    (attempt,) = shown.samples["job"]["attempts"]
    shown.samples["job"]["attempts"] = [
        attempt | {"number": number, "traceback": f"frames of {number}"} for number in range(1, 6)
    ]
    read = shown.read("/jobs/1")
    latest, other = read.text, shown.read("/jobs/1", attempt="2").text
    rows = [attributes["id"] for tag, attributes in read.elements if tag == "tr" and "id" in attributes]
    assert rows == [f"attempt-{number}" for number in (5, 4, 3, 2, 1)]
    assert ("frames of 5" in latest, "frames of 2" in latest) == (True, False)
    assert ("frames of 5" in other, "frames of 2" in other) == (False, True)
    assert shown.asked_for("Output")[-1]["number"] == 2


@pytest.mark.parametrize("number", ["0", "9", "-1", "x", "1" * 30, "\u0662"])
def test_an_attempt_that_is_not_there_is_the_latest(shown: OnePage, number: str) -> None:
    assert "Attempt 1 Failed" in shown.read("/jobs/1", attempt=number).text


def test_a_whole_output_is_a_file_as_it_is_stored(shown: OnePage) -> None:
    shown.output = b"\x1b[31mred\r\n<script>\xff"
    answer = shown.ask("/jobs/1/output/1")
    assert (answer.status, answer.body) == (200, shown.output)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="job-1-attempt-1.txt"'


def test_an_output_of_an_attempt_that_is_not_there_is_not_found(shown: OnePage) -> None:
    assert shown.ask("/jobs/1/output/7").status == 404


def test_an_output_is_shown_as_a_terminal_leaves_it(shown: OnePage) -> None:
    shown.output = b"\x1b]0;title\x07\x1b[1;31mred\x1b[0m\r\n10%\r20%\r\nend"
    assert "red\n20%\nend" in shown.read("/jobs/1").text


def test_a_line_that_is_written_over_later_is_told_to_begin_on_one_that_was_shown(shown: OnePage) -> None:
    shown.samples["job"]["attempts"][0] |= {"outcome": None, "finished_at": None}
    shown.output = b"10%\r"
    (box,) = [one for _, one in shown.read("/jobs/1").elements if one.get("id") == "output"]
    assert (box["data-end"], box["data-rewinds"]) == ("3", "0")  # how it goes on is not known yet
    shown.output = b"10%\r20%\x1b[3"
    (box,) = [one for _, one in shown.read("/jobs/1", seen="1.3.6").elements if one.get("id") == "output"]
    assert (box["data-end"], box["data-rewinds"]) == ("7", "1")


def test_a_log_has_what_the_job_said_first_and_an_attempts_progress_as_one_row(shown: OnePage) -> None:
    entry = shown.samples["entry"]
    said = [
        "initiated",
        "dispatched on Linux platform",
        "started",
        "is at 10%",
        "is at 20%: half",
        "snoozed until noon",
    ]
    shown.samples["entries"] = [
        entry
        | {
            "id": 40 - place,
            "type": "info" if " at " in words else "success",
            "message": f"Background job {words}",
        }
        for place, words in enumerate(reversed(said))
    ]
    told = shown.read("/jobs/1").text
    assert [words for words in said if words in told] == ["snoozed until noon"]
    told = shown.read("/jobs/1", log="all").text
    assert [words for words in said if words in told] == [words for words in said if words != "is at 10%"]


def test_while_it_runs_a_job_tells_what_it_uses_now(shown: OnePage) -> None:
    shown.samples["job"] |= {"status": "running", "finished_at": None}
    shown.samples["job"]["attempts"][0] |= {"outcome": None, "finished_at": None}
    shown.samples["running"] |= {"memory": 13631488, "cpu": 1.5}
    assert "13 MiB of memory, 1.5 s of CPU, pid 99" in shown.read("/jobs/1").text


def test_an_error_is_told_once_with_its_group(shown: OnePage) -> None:
    shown.samples["job"]["error"] = "ValueError: no such recipient"
    shown.samples["job"]["attempts"][0]["error_message"] = "no such recipient"
    shown.samples["entries"] = []
    read = shown.read("/jobs/1")
    assert read.text.count("no such recipient") == 1
    assert "at mail.py:88 in deliver · this error was met 58 times, since" in read.text
    assert ("a", {"href": "/errors/1"}) in read.elements
    shown.samples["error"]["id"] = 2  # it is forgotten
    assert "no such recipient" in shown.read("/jobs/1").text


def test_as_long_as_no_code_is_loaded_nobody_waits_for_the_classes(shown: OnePage) -> None:
    shown.samples["stats"]["code_version"] = None
    del shown.samples["class"]  # who asks for it gets no answer
    assert "No code is loaded: nothing starts" in shown.read("/system").text


@pytest.mark.parametrize(
    ("address", "link", "many"),
    [
        ("/schedules", "/jobs?class=shop.jobs.Email", 1),
        ("/schedules/nightly", "/jobs?class=shop.jobs.Email", 1),
        ("/hosts", "/jobs?queue=default", 1),
        ("/system", "/jobs?queue=mail", 1),
        ("/system", "/jobs?queue=default", 2),
        ("/classes/shop.jobs.Email", "/jobs?queue=mail", 1),
    ],
)
def test_what_names_a_class_or_a_queue_leads_to_its_jobs(
    shown: OnePage, address: str, link: str, many: int
) -> None:
    """Of a queue of which the keys are told, in both of its places."""
    links = [attributes["href"] for tag, attributes in shown.read(address).elements if tag == "a"]
    assert links.count(link) == many


def test_what_holds_for_a_class_is_told(shown: OnePage) -> None:
    told = "queue mail, timeout 5 min, retries 3, 5 s to 1 h apart"
    assert told in shown.read("/system").text
    shown.samples["class"]["policy"] |= {"timeout": None, "backoff": "constant"}
    assert "queue mail, no timeout, retries 3, 5 s apart" in shown.read("/system").text
    shown.samples["class"]["policy"] |= {"max_retries": 0}
    text = shown.read("/system").text
    assert "no timeout, retries 0" in text
    assert "apart" not in text
    shown.samples["class"]["policy"] = None
    assert "retries" not in shown.read("/system").text


def test_the_limits_of_a_classs_attempts_are_told_and_what_enforces_them(shown: OnePage) -> None:
    told = (
        "slots 2, rate 100 in 1 min, memory 256 MiB, cpu share 1.5 cores, processes 64 (not enforced here), nice 5, "
        "max output 1 MiB, work limit 1 GiB, user mail, writable /srv/mail"
    )
    text = shown.read("/system").text
    assert told in text
    assert re.search(r"memory\s*RLIMIT_DATA", text)
    assert re.search(r"cpu_share\s*nothing: it takes cgroup v2", text)
    policy = shown.samples["class"]["policy"]
    policy |= {
        "slots": None,
        "cpu_share": None,
        "processes": None,
        "nice": None,
        "user": None,
        "memory": None,
        "max_output": None,
        "work_limit": None,
    }
    policy |= {"writable": [], "unenforced": []}
    assert "writable nothing" in shown.read("/system").text
    policy["writable"] = None
    assert "writable" not in shown.read("/system").text


def test_the_oldest_that_waits_is_of_a_queue_that_is_not_paused_and_those_that_are_get_named(
    shown: OnePage,
) -> None:
    (queue,) = shown.samples["stats"]["queues"]
    later = "2024-12-04T15:00:00Z"
    shown.samples["stats"]["queues"] = [
        queue | {"name": "nightly", "paused": True, "pending": 7},
        queue | {"name": "mail", "oldest_pending": later},
    ]
    for address in ("/", "/jobs", "/system"):
        read = shown.read(address)
        assert "nightly is paused, 7 wait" in read.text
        assert next(attributes["datetime"] for tag, attributes in read.elements if tag == "time") == later
    text = read.text
    assert text.index("mail") < text.rindex("nightly"), "queues are in their order"


@pytest.mark.parametrize("address", ["/", "/jobs"])
def test_who_searches_for_a_number_is_led_to_the_job_first(shown: OnePage, address: str) -> None:
    for text in ("#1", "1"):
        assert "Go to job 1" in shown.read(address, q=text).text
    for text in ("#0", "# 1", "1 2", "#" + "9" * 19):
        assert "Go to job" not in shown.read(address, q=text).text


def test_a_queue_tells_how_many_jobs_may_wait_in_it(shown: OnePage) -> None:
    assert "1 of 100,000" in " ".join(shown.read("/system").text.split())


def test_a_queue_that_goes_on_by_itself_says_when(shown: OnePage) -> None:
    later = to_text(time.time() + 630)
    shown.samples["stats"]["queues"][0] |= {"paused": True, "resumes_at": later}
    assert "default is paused, resumes in 10 minutes, 1 waits" in shown.read("/").text
    assert "Paused, resumes in 10 minutes" in shown.read("/system").text


BEHIND = {"status": "pending", "is_behind": True, "error": None, "finished_at": None}


def told(read: Read) -> str:
    return " ".join(read.text.split())


@pytest.mark.parametrize(
    ("address", "sample"), [("/jobs", "summary"), ("/groups/5", "summary"), ("/jobs/1", "job")]
)
def test_a_job_that_waits_for_those_with_its_key_says_so_with_the_key(
    shown: OnePage, address: str, sample: str
) -> None:
    shown.samples[sample] |= BEHIND
    assert "Behind customer:7" in told(shown.read(address))
    shown.samples[sample] |= {"key": "<xss onxss=1>'\"", "is_behind": True}
    assert is_text(shown.read(address))
    shown.samples[sample] |= {"status": "running"}
    assert "Behind <" not in told(shown.read(address))


@pytest.mark.parametrize(
    ("waiting_on", "at", "wait"),
    [
        ("signal packed", None, "for signal packed"),
        ("sleep 3", "2040-01-01T01:30:00.000000Z", "until in "),
    ],
)
def test_a_list_says_what_a_waiting_job_waits_for(
    shown: OnePage, waiting_on: str, at: str | None, wait: str
) -> None:
    shown.samples["summary"] |= {"status": "pending", "waiting_on": waiting_on, "scheduled_at": at}
    shown.samples["summary"] |= {"finished_at": None, "error": None}
    read = told(shown.read("/jobs"))
    assert "Waiting" in read
    assert wait in read
    assert "3 waiting" in read


def test_a_job_leads_to_the_one_that_it_runs_again_and_to_those_that_run_it(shown: OnePage) -> None:
    assert "Again" not in told(shown.read("/jobs/1"))
    shown.samples["job"] |= {"again_of": 12}
    shown.samples["again"] = [{**shown.samples["summary"], "id": number} for number in (15, 13)]
    text = shown.ask("/jobs/1").body.decode()
    assert "Again of job 12, for" in told(Read(text))
    assert "Again as job 15, 13." in told(Read(text))
    for number in (12, 13, 15):
        assert f'href="/jobs/{number}"' in text
    assert [asked["limit"] for asked in shown.asked if asked.get("again_of") == 1] == [10, 10]
    shown.samples["job"] |= {"again_of": None, "steps": None}  # of a daemon before
    assert "Again" not in told(shown.read("/jobs/1"))


def test_a_list_says_in_which_step_a_running_job_is(shown: OnePage) -> None:
    shown.samples["summary"] |= {"status": "running", "error": None, "progress": None, "step": "label 3"}
    assert "in step label 3" in told(shown.read("/jobs"))
    shown.samples["summary"] |= {"step": "<xss onxss=1>'\""}
    assert is_text(shown.read("/jobs"))


def test_a_job_for_review_says_so_and_how_it_is_settled_and_has_no_button_for_that(shown: OnePage) -> None:
    for sample in ("summary", "job"):
        shown.samples[sample] |= {"review_since": WHEN, "cancelled_after": None}
    begun = {"name": "it's <paid>", "number": None, "finished_at": None, "until": None, "token": "5eed" * 8}
    shown.samples["steps"].append({**shown.samples["steps"][0], **begun})
    shown.samples["why"] = "job 1 failed for review at 14:31:53 UTC"
    page = shown.read("/jobs/1")
    read = told(page)
    assert "Failed, for review" in read
    assert "Job 1 failed for review at 14:31:53 UTC." in read
    assert "Step it's <paid> began in attempt 1, " in read
    assert f"has no record; its token is {'5eed' * 8}." in read
    for command in (
        "bgjob settle 1 --completed JSON",
        "bgjob settle 1 --failed --why TEXT",
        """bgjob settle 1 --step 'it'"'"'s <paid>' JSON""",
        "bgjob retry 1",
    ):
        assert command in read
    assert "/jobs/1/retry" not in [attributes.get("action") for _, attributes in page.elements]
    read = told(shown.read("/jobs"))
    assert "Failed, for review" in read
    assert "7 for review" in read


def test_a_job_shows_its_latest_steps_and_the_signals_that_nobody_took(shown: OnePage) -> None:
    shown.samples["signals"].append({**shown.samples["signals"][0], "name": "old", "taken_by": "old 1"})
    read = told(shown.read("/jobs/1"))
    assert "signal packed, turn 2" in read
    assert "waits until in " in read
    assert "charge did not come in attempt 2" in read
    assert "Signal other" in read
    assert "Signal old" not in read
    assert [asked for asked in shown.asked if "limit" in asked][-1]["limit"] >= 50
    shown.samples["job"] |= {"steps": 1000}
    assert "has all 1,000" in told(shown.read("/jobs/1"))
    assert any(asked.get("after") == 950 for asked in shown.asked)
    shown.samples["steps"][0]["name"] = "<xss onxss=1>'\""
    assert is_text(shown.read("/jobs/1"))
    shown.samples["job"] |= {"steps": 0}  # the first is under way
    assert "Steps" in told(shown.read("/jobs/1"))
    shown.samples["job"] |= {"steps": None}
    assert "Steps" not in told(shown.read("/jobs/1"))


def test_a_job_shows_its_state_and_of_a_secret_one_the_size(shown: OnePage) -> None:
    assert "State" not in told(shown.read("/jobs/1"))
    shown.samples |= {"state": {"cursor": "<xss onxss=1>'\""}, "state_size": 2048}
    page = shown.read("/jobs/1")
    assert "State {" in told(page)
    assert is_text(page)
    shown.samples["state"] = None
    assert "State It takes 2 KiB, and is not shown." in told(shown.read("/jobs/1"))


def test_a_job_shows_the_last_values_that_it_has_emitted_the_newest_first(shown: OnePage) -> None:
    read = told(shown.read("/jobs/1"))
    assert read.index('481"packed"2') < read.index('480{"label":3}2 in step label 3')
    assert "The last of 481" in read
    assert any(asked.get("after") == -20 for asked in shown.asked)
    shown.samples["values_told"] = 2
    assert "The last of" not in told(shown.read("/jobs/1"))
    shown.samples["values"][0] |= {"step": "<xss onxss=1>'\"", "value": "<xss onxss=1>'\""}
    assert is_text(shown.read("/jobs/1"))
    shown.samples["values"][0] |= {"value": "x" * 1000}
    assert f"{'x' * 199}…" in told(shown.read("/jobs/1"))
    shown.samples["values"].clear()
    assert "Values" not in told(shown.read("/jobs/1"))


def test_a_job_leads_to_those_with_its_key_and_says_whose_turn_it_is(shown: OnePage) -> None:
    shown.samples["job"] |= BEHIND | {"key": "a&b=c", "waits_until": "2040-01-01T01:30:00.000000Z"}
    read = shown.read("/jobs/1")
    assert "Key a&b=c, turn 3" in told(read)
    assert "Next 2040-01-01 01:30:00 UTC" in told(read)
    assert "/jobs?key=a%26b%3Dc" in [attributes.get("href") for _, attributes in read.elements]
    shown.samples["job"] |= {"key": None, "is_behind": False, "waits_until": None}
    assert "Turn 3, with those that have no key" in told(shown.read("/jobs/1"))
    shown.samples["job"] |= {"turn": 0}
    assert "Turn" not in told(shown.read("/jobs/1"))


def test_a_list_has_the_jobs_of_one_key_and_a_way_to_those_of_the_others(shown: OnePage) -> None:
    read = shown.read("/jobs", key="customer:7", per="10")
    assert shown.asked[0]["key"] == "customer:7"
    assert "Key customer:7 ×" in read.text
    inputs = {(each.get("name"), each.get("value")) for _, each in read.elements}
    assert ("key", "customer:7") in inputs
    links = [attributes.get("href") for _, attributes in read.elements]
    assert "/jobs?status=failed&key=customer%3A7" in links
    shown.samples["jobs"] = []
    assert "No jobs match." in shown.read("/jobs", key="customer:7").text
    shown.read("/", key="customer:7")
    assert not any(asked.get("key") for asked in shown.asked[-2:])


def test_a_key_is_filtered_by_as_it_is(shown: OnePage) -> None:
    read = shown.read("/jobs", key=" a\u202eb ")
    assert shown.asked[0]["key"] == " a\u202eb "
    assert ("key", " a\u202eb ") in {(each.get("name"), each.get("value")) for _, each in read.elements}
    assert r"Key  a\u202eb  ×" in read.text


def test_a_queue_tells_what_holds_for_keys_and_which_are_the_busiest(shown: OnePage) -> None:
    read = shown.read("/system")
    text = told(read)
    assert "for each key 2 slots, 10 in 1 s, turns by key" in text
    assert "35 behind" in text
    assert "Busiest keys of queue default" in text
    assert "customer:7Running 2Ready 1Behind 1,000+Next in" in text
    assert "/jobs?key=customer%3A7" in [attributes.get("href") for _, attributes in read.elements]
    (asked,) = [one for one in shown.asked if "busiest" in one]
    assert asked == {"queue": "default", "busiest": True, "limit": 10}


def test_of_a_queue_that_says_nothing_of_keys_none_are_asked_for(shown: OnePage) -> None:
    shown.samples["stats"]["queues"][0] |= {
        "slots_per_key": None, "rate_per_key": None, "share": "none", "behind": 0,
    }  # fmt: skip
    assert "Busiest" not in shown.read("/system").text
    assert not [one for one in shown.asked if "busiest" in one]


def test_a_daemon_that_knows_of_no_keys_tells_the_rest(shown: OnePage) -> None:
    for name in ("slots_per_key", "rate_per_key", "share", "behind"):
        del shown.samples["stats"]["queues"][0][name]
    for name in ("key", "turn", "is_behind", "waits_until"):
        del shown.samples["job"][name]
        shown.samples["summary"].pop(name, None)
    for name in ("held_until", "held_by", "held"):
        del shown.samples["class"][name]
    for name in ("key", "rate"):
        del shown.samples["class"]["policy"][name]
    assert {shown.ask(address).status for address in ADDRESSES} == {200}


def test_a_class_tells_its_rate_its_key_and_who_asked_it_to_come_later(shown: OnePage) -> None:
    shown.samples["class"] |= {"unavailable": None, "hint": None}
    read = shown.read("/system")
    assert "apart, key customer_id" in told(read)
    assert "rate 100 in 1 min" in told(read)
    assert re.search(r"held, starts again in \d+ weeks, as job 12 has asked", told(read))
    assert "/jobs/12" in [attributes.get("href") for _, attributes in read.elements]
    shown.samples["class"] |= {"held_until": None, "held_by": None}
    assert "available" in told(shown.read("/system"))


def test_a_class_that_is_held_says_why(shown: OnePage) -> None:
    why = "held since 14:02:10 UTC: 10 attempts of 7 jobs in a row ended by <signal 11>; next trial in 40 s"
    shown.samples["class"] |= {"unavailable": None, "hint": None, "held": why}
    assert why in told(shown.read("/system"))


def test_the_fork_servers_are_told(shown: OnePage) -> None:
    text = " ".join(shown.read("/system").text.split())
    assert re.search(
        r"Fork server ?96, since \d+ \w+ ago; 1 of earlier code, until its last attempt has ended", text
    )
    shown.samples["stats"] |= {"fork_servers": 1}
    assert "earlier code" not in shown.read("/system").text
    shown.samples["stats"] |= {"fork_servers": 0, "fork_server_pid": None, "code_version": None}
    assert "none that has loaded code" in shown.read("/system").text


def test_a_bug_is_told_on_the_console_with_its_traceback(shown: OnePage, said: Callable[[], str]) -> None:
    shown.samples["occurrence"]["verdict"] = "unheard of"
    assert shown.ask("/schedules/nightly").status == 500
    (told,) = said().splitlines()
    assert told.startswith(r"bgjobd-web: bug: '/schedules/nightly': Traceback (most recent call last):\n")
    assert "schedule.html" in told
    assert r"\nKeyError: " in told


# Small things


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0, "just now"), (-1.9, "just now"), (1.9, "just now"), (-2, "2 seconds ago"), (2, "in 2 seconds"),
        (-59.9, "59 seconds ago"), (-60, "1 minute ago"), (-119, "1 minute ago"), (3599, "in 1 hour"),
        (59.6, "in 1 minute"), (1860, "in 31 minutes"), (7199, "in 2 hours"), (-7199, "1 hour ago"),
        (-3600, "1 hour ago"), (-86_399, "23 hours ago"), (86_400, "in 1 day"), (-7 * 86_400 + 1, "6 days ago"),
        (-7 * 86_400, "1 week ago"), (-2e9, "3306 weeks ago"), (2.5e11, "in 413360 weeks"),
    ],
)  # fmt: skip
def test_how_long_ago_is_told_in_words(seconds: float, told: str) -> None:
    assert ago(seconds) == told


def test_a_moment_has_its_words_and_itself_in_the_title() -> None:
    made = time_tag("2024-12-04T14:31:53.250Z", 1733322713.25 + 120)
    assert str(made) == (
        '<time datetime="2024-12-04T14:31:53.250Z" title="2024-12-04 14:31:53 UTC">2 minutes ago</time>'
    )
    assert "14:31:53 UTC" in time_tag("2024-12-04T16:31:53+02:00", 0.0)
    assert time_tag(None, 0.0) == "–"


def test_a_badge_always_has_its_word() -> None:
    assert badge("timed_out") == '<span class="badge bad">Timed out</span>'
    assert badge("no such word") == '<span class="badge grey">No such word</span>'


def test_a_class_is_told_without_its_modules() -> None:
    assert [short(name) for name in ("shop.jobs.Email", "Email", "")] == ["Email", "Email", ""]


def test_a_name_breaks_at_its_dots_and_colons() -> None:
    assert parted("shop.jobs.<b>::send") == "shop.<wbr>jobs.<wbr>&lt;b&gt;::<wbr>send"
    assert parted("...") == "..."


def test_values_are_written_for_people() -> None:
    assert pretty({"a": "é<"}) == '{\n  "a": "é<"\n}'


def test_a_large_value_takes_no_more_room_for_its_indents() -> None:
    value: object = [0] * 300_000
    for _ in range(100):
        value = [value]
    assert len(pretty(value)) < 1_000_000


def test_the_chart_stays_within_its_frame_and_says_what_it_shows() -> None:
    minutes = [{"completed": many, "failed": many % 7} for many in range(60)]
    read = Read(str(chart(minutes)))
    [(_, frame), *bars] = read.elements
    assert frame["viewbox"] == "0 0 240 40"
    ended = sum(minute["completed"] + minute["failed"] for minute in minutes)
    assert frame["aria-label"] == f"{ended} jobs ended in the last hour, at most 62 a minute"
    for _, bar in bars:
        assert float(bar["y"] or -1) >= 0
        assert 0 < float(bar["height"] or 0) <= 40 - float(bar["y"] or 0) + 0.1
        assert 0 <= int(bar["x"] or -1) <= 236


def test_a_chart_of_nothing_is_empty() -> None:
    for minutes in ([], [{"completed": 0, "failed": 0}] * 60):
        assert "0 jobs ended in the last hour, at most 0 a minute" in chart(minutes)
        assert "<rect" not in chart(minutes)


def test_the_static_files_have_an_address_of_their_content() -> None:
    renderer = Renderer()
    assert re.fullmatch(r"/static/[0-9a-f]{16}", renderer.static)
    assert renderer.file("page.js") == (renderer.files["page.js"], "text/javascript; charset=utf-8")
    assert renderer.file("../vendored.toml") is renderer.file("") is renderer.file("PAGE.JS") is None
    assert quote(renderer.static) == renderer.static


def test_templates_are_those_of_the_start_though_an_upgrade_replaces_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "_TEMPLATES", tmp_path)
    (tmp_path / "one.html").write_text("{{ word }}, as it began")
    renderer = Renderer()
    (tmp_path / "one.html").write_text("as it is now")
    assert renderer.render("one.html", word="all") == "all, as it began"


def test_scripts_are_sent_without_remarks_and_with_all_else() -> None:
    static = Path(__file__).parents[2] / "web" / "static"
    for name in ("page.js", "theme.js", "idiomorph.min.js"):
        lines = (static / name).read_text().splitlines()
        sent = Renderer().files[name].decode().splitlines()
        assert [line for line in sent if line] == [
            line for line in lines if line and not line.lstrip().startswith("//")
        ]
