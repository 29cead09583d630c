"""A whole page over HTTP: its files, its streams, and what every one of its answers has."""

from __future__ import annotations

import gzip
import os
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from bgjob.codec import Request as Asked
from bgjobd.web import events
from bgjobd.web.events import MOST_STREAMS, Feed
from bgjobd.web.exchange import SECURITY
from bgjobd.web.settings import Settings
from bgjobd.web.views import Page, rest, routes
from tests.client.scripted import Line, ScriptedDaemon, entry
from tests.page.serving import SAMPLES, Peer, Served, page, renderer, serving, tell_samples
from tests.page.test_guard import addresses
from tests.support import eventually

STATIC = renderer().static


class Changes:
    """Tells followers of an entry whenever a test says that something has changed."""

    def __init__(self) -> None:
        self.followers: list[Line] = []

    def tells(self, line: Line, asked: Asked) -> bool:
        if not asked.more:
            return False
        self.followers.append(line)
        line.more(entries=[], next=7, is_complete=True)
        return True

    def happen(self) -> None:
        for line in self.followers:
            line.more(entries=[entry(8)], next=8, is_complete=True)


@pytest.fixture(scope="module")
def changes() -> Changes:
    return Changes()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, changes: Changes) -> Iterator[Served]:
    with page(tmp_path_factory.mktemp("page"), tells=changes.tells, actions=True) as served:
        yield served


def test_every_answer_says_what_browsers_must_not_do(served: Served) -> None:
    lines = [
        f"{verb} {path}"
        for verb in ("GET", "HEAD", "POST", "PUT")
        for path in (*addresses("GET"), *addresses("POST"))
    ]
    for line in [*lines, "GET /nowhere", "GET //", f"GET {STATIC}/page.js", "GET /login?token=x"]:
        answer = served.ask(line)
        assert all(answer.header(name.lower()) == value for name, value in SECURITY.items()), line


def test_every_address_takes_its_own_methods_only(served: Served) -> None:
    assert len({*routes()}) == len([*routes()])
    for path in {*addresses("POST")} - {*addresses("GET")}:
        answer = served.ask(f"GET {path}")
        assert (answer.status, answer.header("allow")) == (405, "POST")
    for path in addresses("GET"):
        assert served.ask(f"POST {path}").status == 403


def test_what_is_not_there_is_not_found(served: Served) -> None:
    for path in (
        "/nowhere",
        "/jobs/",
        "/jobs/x",
        "/jobs/0",
        "/jobs/1/",
        f"/jobs/{'1' * 19}",
        "/jobs/%31%0A",
        "/%00",
        "/index.html",
    ):
        assert served.ask(f"GET {path}").status == 404


@pytest.mark.parametrize("name", sorted(renderer().files))
def test_a_file_is_kept_for_ever_under_the_address_of_its_content(served: Served, name: str) -> None:
    with served.peer() as peer:
        answer = peer.ask(f"GET {STATIC}/{name}")
        assert (answer.status, answer.body) == (200, renderer().files[name])
        assert answer.header("cache-control") == "public, max-age=31536000, immutable"
        assert (answer.header("content-type") or "").split(";")[0] in (
            "text/css",
            "text/javascript",
            "image/svg+xml",
        )
        again = peer.ask(f"GET {STATIC}/{name}", f"If-None-Match: {answer.header('etag')}")
        assert (again.status, again.body, again.header("cache-control")) == (
            304,
            b"",
            answer.header("cache-control"),
        )
        small = peer.ask(f"GET {STATIC}/{name}", "Accept-Encoding: gzip")
        if small.header("content-encoding") == "gzip":
            assert gzip.decompress(small.body) == answer.body


@pytest.mark.parametrize(
    "path",
    [
        "/static/", "/static", "/static/page.js", "/static/0000000000000000/page.js", f"{STATIC}/", STATIC,
        f"{STATIC}/..", f"{STATIC}/.", f"{STATIC}/../vendored.toml", f"{STATIC}/%2e%2e/vendored.toml",
        f"{STATIC}/%2e%2e%2fvendored.toml", f"{STATIC}/%252e%252e%252fvendored.toml", f"{STATIC}/..%5cvendored.toml",
        f"{STATIC}/..\\vendored.toml", f"{STATIC}/page.js%00", f"{STATIC}/page.js%00.css", f"{STATIC}/page.js/",
        f"{STATIC}/page.js%2f", f"{STATIC}//page.js", f"{STATIC}/%2fetc%2fpasswd", f"{STATIC}//etc/passwd",
        f"{STATIC}/..%c0%af..%c0%afetc/passwd", f"{STATIC}/PAGE.JS", f"{STATIC}/page.js;x", f"{STATIC}/%70age.jsx",
        f"{STATIC.upper()}/page.js", f"{STATIC}/page.js%0d%0aSet-Cookie:%20a=b", f"{STATIC}/../../views.py",
        f"{STATIC}/__init__.py", f"{STATIC}/%EF%BC%8E%EF%BC%8E/vendored.toml",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_files(served: Served, path: str) -> None:
    answer = served.ask(f"GET {path}")
    assert answer.status == 404
    assert "set-cookie" not in answer.headers
    assert "max-age" not in (answer.header("cache-control") or "")


def test_of_very_many_attempts_the_latest_are_shown(tmp_path: Path) -> None:
    """Each may have 64 KiB of traceback, and a page for each second that somebody watches would have them all."""
    attempts = [SAMPLES["job"]["attempts"][0] | {"number": number} for number in range(1, 101)]

    def tells(line: Line, asked: Asked) -> bool:
        if asked.method.endswith(".Get"):
            latest = attempts[-asked.parameters["limit"] :]
            line.reply(job=SAMPLES["job"] | {"attempts": latest}, next=latest[0]["number"])
        return asked.method.endswith(".Get")

    with page(tmp_path, tells=tells) as served:
        shown = served.ask("GET /jobs/1").body
        assert re.findall(rb'id="attempt-(\d+)"', shown) == [b"%d" % number for number in range(100, 80, -1)]
        assert b"80 earlier attempts, left out here" in shown


@pytest.mark.parametrize("slow", ["/?q=word", "/?status=success", "/jobs?q=word", "/jobs/1"])
def test_nobody_waits_behind_a_search_or_the_output_of_others(tmp_path: Path, slow: str) -> None:
    is_asked, may_go_on = threading.Event(), threading.Event()

    def tells(line: Line, asked: Asked) -> bool:
        if asked.method.endswith(".Output") or asked.parameters.get("search") or asked.parameters.get("type"):
            is_asked.set()
            may_go_on.wait(20)
        return False

    with page(tmp_path, tells=tells) as served, served.peer() as searching:
        searching.send(f"GET {slow} HTTP/1.1\r\nHost: {searching.host}\r\n\r\n".encode())
        assert is_asked.wait(20)
        for path in ("/", "/jobs", "/system"):
            assert served.ask(f"GET {path}").status == 200
        may_go_on.set()
        assert searching.answer().status == 200


def test_a_page_is_small_on_the_wire(served: Served) -> None:
    answer = served.ask("GET /", "Accept-Encoding: gzip")
    files = set(re.findall(rb'(?:href|src)="(/static/[^"]+)"', gzip.decompress(answer.body)))
    sizes = [len(served.ask(f"GET {file.decode()}", "Accept-Encoding: gzip").body) for file in files]
    assert {file.rpartition(b"/")[2].decode() for file in files} == set(renderer().files) - {
        "charts.css",
        "job.css",
    }
    assert len(answer.body) + sum(sizes) <= 20_000


# Streams


def test_a_browser_hears_that_something_has_changed(served: Served, changes: Changes) -> None:
    with served.peer() as peer:
        answer = peer.ask("GET /events")
        assert (answer.status, answer.header("content-type")) == (200, "text/event-stream")
        assert answer.header("cache-control") == "no-store"
        assert peer.piece() == b"retry: 2000\n\n"
        eventually(lambda: changes.followers)
        changes.happen()
        told = re.fullmatch(rb"data: \d+\ndata: (.*)\n\n", peer.piece())
        assert told is not None
        assert told[1] in (b"1", b"*"), "the job, or anything: that it is followed is news, too"
        changes.happen()
        assert peer.piece().endswith(b"\ndata: 1\n\n")


def test_a_browser_hears_which_jobs_have_changed_and_of_many_that_anything_may_have() -> None:
    feed = Feed("unix:/nowhere")
    with closing(events.Words(feed, 0)) as words:
        for jobs, told in (([7, 3, 7], "3,7"), ([], "*"), ([7, None], "*"), (range(1, 100), "*"), ([3], "3")):
            for job_id in jobs:
                words.note(job_id)
            assert words.jobs_told() == told


def test_one_stream_too_many_is_turned_away_and_all_end_with_their_peers(served: Served) -> None:
    with ExitStack() as stack:
        peers = [stack.enter_context(served.peer()) for _ in range(MOST_STREAMS)]
        assert {peer.ask("GET /events").status for peer in peers} == {200}
        answer = served.ask("GET /events")
        assert (answer.status, answer.header("retry-after")) == (503, "10")
        assert served.ask("GET /").status == 200
        before = len(os.listdir("/proc/self/fd"))
    eventually(lambda: not [one for one in threading.enumerate() if "process_request_thread" in one.name])
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= before - 3 * MOST_STREAMS)
    assert served.ask("GET /events").status == 200


def test_a_stream_without_a_thread_to_follow_for_it_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    feed, before = Feed("unix:/nowhere"), set(threading.enumerate())
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        assert [feed.try_stream() for _ in range(MOST_STREAMS + 1)] == [None] * (MOST_STREAMS + 1)
    words = feed.try_stream()
    assert words is not None
    with closing(words):
        threads = eventually(lambda: _if_many(set(threading.enumerate()) - before, 2))
        assert {thread.name for thread in threads} == {"feed", "pulse"}
    eventually(lambda: not set(threading.enumerate()) & threads)


def _if_many(threads: set[threading.Thread], many: int) -> set[threading.Thread]:
    return threads if len(threads) == many else set()


def test_asking_for_the_head_of_a_stream_takes_no_place(served: Served) -> None:
    for _ in range(MOST_STREAMS + 1):
        assert served.ask("HEAD /events").status == 200


def test_one_follower_serves_all_streams(served: Served, changes: Changes) -> None:
    before = set(threading.enumerate())  # pages of other tests may have left some
    with ExitStack() as stack:
        peers = [stack.enter_context(served.peer()) for _ in range(9)]
        for peer in peers:
            peer.ask("GET /events")
            assert peer.piece().startswith(b"retry: 2000\n\n")
        assert len([one for one in set(threading.enumerate()) - before if one.name == "feed"]) <= 1
        changes.happen()
        for peer in peers:
            assert b"data: " in peer.piece()


def test_a_browser_hears_at_once_that_a_daemon_has_gone_and_that_it_is_back(tmp_path: Path) -> None:
    """Its follower tries again by itself for longer than anybody would wait for word of it."""
    with ScriptedDaemon(tmp_path / "d.sock", tell_samples) as daemon:
        settings = Settings(f"unix:{daemon.path}", "127.0.0.1:0")
        with serving(Page(settings).respond, settings) as served, served.peer() as peer:
            peer.ask("GET /events")
            hear(peer, rb"data: \d+\n")
            daemon.stop()
            hear(peer, rb"event: away\n")
            daemon.start()
            hear(peer, rb"data: \d+\n")


def test_a_browser_hears_that_a_daemon_hangs_since_when_and_that_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps its connections then, and is as silent as one that has nothing to say."""
    assert events._BETWEEN_SIGNS + events._PATIENCE < 10  # so long it takes at most
    for name, seconds in {
        "events._BETWEEN_SIGNS": 0.1,
        "events._PATIENCE": 0.5,
        "views.means._PATIENCE": 0.5,
    }.items():
        monkeypatch.setattr(f"bgjobd.web.{name}", seconds)
    goes_on = threading.Event()
    goes_on.set()

    def tells(line: Line, asked: Asked) -> bool:
        if not asked.more:
            goes_on.wait(60)
        return False

    with page(tmp_path, tells=tells) as served, served.peer() as peer, served.peer() as fresh:
        peer.ask("GET /events")
        hear(peer, rb"data: \d+\n")
        goes_on.clear()
        began_at = time.time()
        (told,) = hear(peer, rb"event: away\ndata: (\d+)\n")
        try:
            assert began_at - 2 < int(told) <= time.time()
            answer = fresh.ask("GET /")
            assert (answer.status, b'data-since="' + told in answer.body) == (503, True)
        finally:
            goes_on.set()
        hear(peer, rb"data: \d+\n")


def test_a_daemon_is_asked_for_signs_of_life_for_a_browser_that_comes_after_the_last_one_had_gone(
    tmp_path: Path,
) -> None:
    """As at each reload of a page: the follower of the one before is still there, as it has heard nothing since."""
    before = set(threading.enumerate())

    def pulses() -> list[threading.Thread]:
        return [one for one in set(threading.enumerate()) - before if one.name == "pulse"]

    with ScriptedDaemon(tmp_path / "d.sock", tell_samples) as daemon:
        feed = Feed(f"unix:{daemon.path}")
        for _ in range(2):
            words = feed.try_stream()
            assert words is not None
            with closing(words):
                eventually(pulses)
                eventually(lambda: any(one.more for one in daemon.asked))
            eventually(lambda: not pulses())


def hear(peer: Peer, pattern: bytes) -> tuple[bytes, ...]:
    """Read until an event says this, which is before the stream shows that it is there all the same; what it names.

    Who is woken and finds nothing new shows that once, too.
    """
    comments = 0
    while (found := re.search(pattern, piece := peer.piece())) is None:
        comments += b"still here" in piece
        assert comments <= 1
    return found.groups()


def test_a_browser_hears_that_the_daemon_is_away(tmp_path: Path) -> None:
    def refuses(line: Line, asked: Asked) -> bool:
        if asked.more:
            line.refuse("InternalError", reason="x")
        return asked.more

    with page(tmp_path, tells=refuses) as served, served.peer() as peer:
        peer.ask("GET /events")
        told = peer.piece()
        while b"event: away" not in told:
            told += peer.piece()


def test_a_hundred_checks_of_a_daemon_that_hangs_are_all_answered_and_the_page_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "PATIENCE", 0.5)

    def hang(line: Line, asked: Asked) -> bool:
        if asked.method.endswith("GetInfo"):
            line.wait_for_hang_up()
        return asked.method.endswith("GetInfo")

    with page(tmp_path, tells=hang) as served, ThreadPoolExecutor(100) as pool:
        checks = [pool.submit(served.ask, "GET /healthz") for _ in range(100)]
        for _ in range(20):
            assert served.ask("GET /login").status == 200
        assert {check.result(20).status for check in checks} == {503}
