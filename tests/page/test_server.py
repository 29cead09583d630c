"""The server on real sockets: what a peer may send, how long it may take, and what it never gets."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from http.server import ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import pytest

from bgjobd.web.exchange import SECURITY, Request, Response, plain
from bgjobd.web.heads import MOST_BODY, MOST_HEADERS, MOST_LINE
from bgjobd.web.server import Limits, Server
from bgjobd.web.settings import Settings
from tests.page.serving import Answer, Peer, Served, serving
from tests.support import eventually

IMPATIENT = Limits(first=0.2, idle=0.2, request=0.2, answer=0.2, farewell=0.2, keepalive=0.2, pause=0.01)
UNREAD = replace(IMPATIENT, first=20.0, request=20.0)
"""For who asks as fast as a busy machine lets him, and does not read what is answered."""

LIKE_HOST = "Host: localhost\r\n"


class Heard:
    """Answers with what it was asked, and keeps it."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def respond(self, request: Request) -> Response:
        self.requests.append(request)
        return plain(f"{request.method} {request.path} {len(request.body)}")


class Pieces:
    """A stream of equal pieces, one after the other or, where it is quiet, none after the first."""

    def __init__(self, piece: bytes = b"data: x\n\n", *, is_quiet: bool = False) -> None:
        self._piece = piece
        self._ready = os.eventfd(0 if is_quiet else 1, os.EFD_CLOEXEC)
        self.is_closed = False

    def fileno(self) -> int:
        return self._ready

    def take(self) -> bytes:
        return self._piece

    def close(self) -> None:
        self.is_closed = True
        os.close(self._ready)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def served(heard: Heard) -> Iterator[Served]:
    with serving(heard.respond, limits=Limits(farewell=0.2)) as served:
        yield served


def is_secure(answer: Answer) -> bool:
    return all(answer.header(name.lower()) == value for name, value in SECURITY.items())


def status_of(answer: bytes) -> int:
    """Of the only answer, which has the headers that every answer has."""
    head, _, _ = answer.partition(b"\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    assert all(f"\r\n{name}: {value}".encode() in head for name, value in SECURITY.items())
    assert b"\r\nConnection: close" in head
    return int(head.split()[1])


# What is asked


def test_a_request_is_answered_and_the_connection_kept(served: Served) -> None:
    with served.peer() as peer:
        assert peer.ask("GET /a").body == b"GET /a 0\n"
        assert peer.ask("POST /b", body=b"12345").body == b"POST /b 5\n"
        assert peer.ask("GET /c").body == b"GET /c 0\n"


def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    with served.peer() as peer:
        peer.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % place for place in range(20)))
        assert [peer.answer().body for _ in range(20)] == [b"GET /%d 0\n" % place for place in range(20)]


def test_a_request_may_come_byte_by_byte(served: Served) -> None:
    with served.peer() as peer:
        for byte in b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc":
            peer.send(bytes([byte]))
        assert peer.answer().body == b"POST /a 3\n"


def test_head_is_answered_as_get_without_a_body(served: Served) -> None:
    with served.peer() as peer:
        got = peer.ask("GET /a")
        asked = peer.ask("HEAD /a")
        assert (asked.status, asked.body) == (200, b"")
        assert {**asked.headers, "date": []} == {**got.headers, "date": []}
        assert peer.ask("GET /b").body == b"GET /b 0\n"  # nothing of a body was sent in between


def test_old_http_is_answered_and_the_connection_closed(served: Served) -> None:
    assert served.raw(b"GET /a HTTP/1.0\r\n\r\n").endswith(b"GET /a 0\n")


def test_a_peer_that_asks_for_it_has_its_connection_closed(served: Served) -> None:
    with served.peer() as peer:
        assert peer.ask("GET /a", "Connection: Close").header("connection") == "close"
        assert peer.rest() == b""


def test_the_query_is_told_by_its_first_values(served: Served, heard: Heard) -> None:
    served.ask("GET /%C3%A9?q=1&q=2&s=%00&u=%FF#part")
    assert heard.requests[0].path == "/é"
    assert heard.requests[0].query == {"q": "1", "s": "\0", "u": "\ufffd"}


@pytest.mark.parametrize(
    "method",
    [
        "PUT",
        "DELETE",
        "PATCH",
        "OPTIONS",
        "TRACE",
        "CONNECT",
        "PROPFIND",
        "QUERY",
        "get",
        "FOO",
        "answer",
        "X" * 99,
    ],
)
def test_every_other_verb_is_refused(served: Served, heard: Heard, method: str) -> None:
    with served.peer() as peer:
        answer = peer.ask(f"{method} /", "X-HTTP-Method-Override: GET")
        assert (answer.status, answer.header("allow"), is_secure(answer)) == (405, "GET, HEAD, POST", True)
        assert peer.rest() == b""
    assert heard.requests == []


def test_a_header_changes_no_verb(served: Served) -> None:
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        assert served.ask("GET /a", f"{name}: POST").body == b"GET /a 0\n"


def test_a_request_has_the_address_of_its_peer(served: Served, heard: Heard, tmp_path: Path) -> None:
    served.ask("GET /", "X-Forwarded-For: 203.0.113.9")
    with serving(heard.respond, Settings("unix:/nowhere", f"unix:{tmp_path}/p.sock")) as other:
        other.ask("GET /")
    assert [request.peer for request in heard.requests] == ["127.0.0.1", "the Unix socket"]


# What cannot be understood, or could be understood in two ways

BROKEN = {
    "HTTP/0.9": (b"GET /\r\n", 400),
    "no line": (b"\r\n\r\n", 400),
    "line feeds alone": (b"GET / HTTP/1.1\nHost: localhost\n\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "a space in the address": (b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "a control character in the address": (b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "bytes beyond ASCII in the address": (b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "a whole address": (b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "a host in the path": (b"GET //evil/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "half a bracket": (b"GET //[ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "no path": (b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "too many fields": (b"GET /?" + b"a=1&" * 99 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", 400),
    "no version": (b"GET / HTTP/x\r\n\r\n", 400),
    "a space before the colon": (
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length : 5\r\n\r\nGET /",
        400,
    ),
    "a folded header": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n", 400),
    "a fold at the beginning": (b"GET / HTTP/1.1\r\n Host: evil\r\nHost: localhost\r\n\r\n", 400),
    "a bare CR": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\rContent-Length: 5\r\n\r\nGET /", 400),
    "a bare CR as line end": (b"GET / HTTP/1.1\rHost: localhost\r\r", 400),
    "a bare LF in the headers": (b"GET / HTTP/1.1\r\nHost: localhost\nX: a\r\n\r\n", 400),
    "NUL in a header": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n", 400),
    "no name": (b"GET / HTTP/1.1\r\nHost: localhost\r\n: a\r\n\r\n", 400),
    "no colon": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX\r\n\r\n", 400),
    "chunks": (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
    "identity": (b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: identity\r\n\r\n", 411),
    "chunks and a length": (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\ntransfer-encoding:\tchunked\r\n\r\n0\r\n\r\n",
        411,
    ),
    "a length and chunks": (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: x, chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        411,
    ),
    "a body that is announced": (b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\r\n", 417),
}


@pytest.mark.parametrize(("data", "status"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_plain_request_is_refused(served: Served, heard: Heard, data: bytes, status: int) -> None:
    assert status_of(served.raw(data)) == status
    assert heard.requests == []


@pytest.mark.parametrize(
    "size",
    ["-1", "+5", "5.0", "0x5", "five", "", "5 5", "5, 5", "١", "5;", "1_0", "NaN"],
)
def test_a_size_that_is_no_number_is_refused(served: Served, heard: Heard, size: str) -> None:
    head = f"POST / HTTP/1.1\r\n{LIKE_HOST}Content-Length: {size}\r\n\r\n".encode()
    assert status_of(served.raw(head + b"GET /")) == 400
    assert heard.requests == []


def test_two_sizes_are_refused(served: Served, heard: Heard) -> None:
    for second in ("5", "0"):
        head = f"POST / HTTP/1.1\r\n{LIKE_HOST}Content-Length: 5\r\nContent-Length: {second}\r\n\r\n"
        assert status_of(served.raw(head.encode() + b"GET /")) == 400
    assert heard.requests == []


@pytest.mark.parametrize(
    "size", [str(MOST_BODY + 1), "1" + "0" * 15, "9" * 5000], ids=["one", "much", "digits"]
)
def test_a_body_that_is_too_large_is_refused_before_it_comes(served: Served, heard: Heard, size: str) -> None:
    with served.peer() as peer:
        answer = peer.ask("POST /", f"Content-Length: {size}")
        assert (answer.status, is_secure(answer)) == (413, True)
    assert heard.requests == []


def test_who_sends_a_large_body_all_the_same_may_end_it(heard: Heard) -> None:
    """A browser that cannot send to the end shows no answer."""
    with serving(heard.respond, limits=Limits(farewell=20)) as served, served.peer() as peer:
        assert peer.ask("POST /", f"Content-Length: {3 * MOST_BODY}").status == 413
        assert peer.rest() == b""
        for _ in range(3 * MOST_BODY // 64):  # so often that a closed end would be noticed
            peer.send(b"x" * 64)


def test_who_never_stops_sending_is_cut_off(heard: Heard) -> None:
    with serving(heard.respond, limits=IMPATIENT) as served, served.peer() as peer:
        peer.send(f"POST / HTTP/1.1\r\n{LIKE_HOST}Content-Length: {10**9}\r\n\r\n".encode())
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            peer.send(b"x" * 100 * MOST_BODY)


def test_a_body_may_be_as_large_as_is_said(served: Served) -> None:
    assert served.ask("POST /", body=b"x" * MOST_BODY).body == f"POST / {MOST_BODY}\n".encode()


def test_a_body_that_ends_early_is_no_request(served: Served, heard: Heard) -> None:
    assert served.raw(f"POST / HTTP/1.1\r\n{LIKE_HOST}Content-Length: 5\r\n\r\nfour".encode()) == b""
    assert heard.requests == []


def test_an_address_that_is_too_long_is_refused(served: Served) -> None:
    assert served.ask(f"GET /{'a' * (MOST_LINE - 100)}").status == 200
    assert status_of(served.raw(b"GET /" + b"a" * 2 * MOST_LINE)) == 414


def test_headers_that_are_too_long_are_refused(served: Served) -> None:
    begin = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
    assert status_of(served.raw(begin + b"X: " + b"a" * MOST_HEADERS + b"\r\n\r\n")) == 431
    assert status_of(served.raw(begin + b"X: a\r\n" * (MOST_HEADERS // 6) + b"\r\n")) == 431


# What is answered


def test_no_value_begins_another_header(heard: Heard) -> None:
    def respond(_: Request) -> Response:
        return Response(303, b"", {"Location": "/a\r\nSet-Cookie: evil=1\n\0\r\r\n\r\n<b>", "X": "\u2028"})

    with serving(respond) as served:
        answer = served.ask("GET /")
        assert answer.header("location") == "/aSet-Cookie: evil=1<b>"
        assert "set-cookie" not in answer.headers
        assert answer.header("x") == "?"
        assert is_secure(answer)


def test_what_the_browser_has_is_not_sent_again(served: Served) -> None:
    with served.peer() as peer:
        tag = peer.ask("GET /a").header("etag")
        again = peer.ask("GET /a", f'If-None-Match: "other", W/{tag}')
        assert (again.status, again.body, again.header("etag"), is_secure(again)) == (304, b"", tag, True)
        assert again.header("content-length") is None
        assert peer.ask("GET /b", f"If-None-Match: {tag}").status == 200


@pytest.mark.parametrize("status", [200, 304, 303, 400, 401, 403, 404, 405, 413, 421, 500, 502, 503])
def test_every_answer_says_what_browsers_must_not_do(status: int) -> None:
    with serving(lambda _: Response(status)) as served:
        assert is_secure(served.ask("GET /"))


def test_a_bug_of_the_views_is_told_and_ends_one_connection_only(said: Callable[[], str]) -> None:
    def respond(request: Request) -> Response:
        if request.path == "/bug":
            raise RuntimeError("who would have thought")
        return plain("ok")

    with serving(respond) as served:
        assert served.raw(b"GET /bug HTTP/1.1\r\nHost: localhost\r\n\r\n") == b""
        assert served.ask("GET /").status == 200
    told = said()
    assert told.startswith(r"bgjobd-web: bug: Traceback (most recent call last):\n")
    assert told.endswith(r"\nRuntimeError: who would have thought" + "\n")
    assert told.count("\n") == 1


# Time


@pytest.mark.parametrize(
    "data",
    [b"G", b"GET / HTTP/1.1\r\nHost: localhost", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"],
    ids=["a byte", "half a head", "half a body"],
)
def test_who_does_not_go_on_is_cut_off(heard: Heard, data: bytes) -> None:
    with serving(heard.respond, limits=Limits(first=300, request=0.2)) as served, served.peer() as peer:
        peer.send(data)
        assert peer.rest() == b""
    assert heard.requests == []


def test_who_is_too_late_is_cut_off_however_fast_it_goes_on(heard: Heard) -> None:
    with serving(heard.respond, limits=Limits(request=0)) as served, served.peer() as peer:
        peer.send(f"POST / HTTP/1.1\r\n{LIKE_HOST}Content-Length: {MOST_BODY}\r\n\r\n".encode())
        peer.send(b"x" * MOST_BODY)
        with suppress(ConnectionResetError):
            assert peer.rest() == b""
    assert heard.requests == []


def test_who_says_nothing_is_cut_off(heard: Heard) -> None:
    with serving(heard.respond, limits=Limits(first=0.2, idle=300)) as served, served.peer() as peer:
        assert peer.rest() == b""


def test_who_goes_on_byte_by_byte_is_cut_off_all_the_same(heard: Heard) -> None:
    with serving(heard.respond, limits=IMPATIENT) as served, served.peer() as peer:
        peer.send(b"GET / HTTP/1.1\r\nX: ")
        peer.socket.settimeout(0.01)
        eventually(lambda: is_cut_off(peer))
    assert heard.requests == []


def is_cut_off(peer: Peer) -> bool:
    """Whether the page has closed, although another byte was sent to it."""
    try:
        peer.send(b"a")
        return peer.socket.recv(1) == b""
    except TimeoutError:
        return False
    except (BrokenPipeError, ConnectionResetError):
        return True


def test_a_connection_that_is_kept_is_not_kept_for_ever(heard: Heard) -> None:
    with serving(heard.respond, limits=Limits(idle=0.2)) as served, served.peer() as peer:
        assert peer.ask("GET /").status == 200
        assert peer.rest() == b""


def test_after_its_first_request_a_peer_has_more_time_for_the_next(heard: Heard) -> None:
    limits = Limits(first=2.0, idle=300)
    with serving(heard.respond, limits=limits) as served, served.peer() as peer, served.peer() as idle:
        assert peer.ask("GET /").status == 200
        assert idle.rest() == b""  # which came later
        assert peer.ask("GET /").status == 200


def always(response: Response, request: Request) -> Response:
    return response


def test_an_answer_that_is_to_be_the_last_ends_the_connection() -> None:
    content = plain("x" * 600)
    for response in (content, replace(content, status=403)):
        last = replace(response, is_last=True)
        with serving(partial(always, last)) as served, served.peer() as peer:
            answer = peer.ask("GET /", "Accept-Encoding: gzip")
            assert (answer.status, answer.header("connection")) == (response.status, "close")
            assert peer.rest() == b""


def test_who_does_not_read_an_answer_is_cut_off() -> None:
    asked = []

    def respond(request: Request) -> Response:
        asked.append(request)
        return Response(500, b"x" * 20_000_000)

    with serving(respond, limits=UNREAD) as served, served.peer() as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2)
        eventually(lambda: asked and not connection_threads())
        assert len(peer.rest()) < 20_000_000


def test_an_answer_has_time_of_its_own() -> None:
    """However little of its time to ask was left."""
    limits = Limits(idle=0.5, request=0.5, answer=20)
    with serving(lambda _: Response(500, b"x" * 20_000_000), limits=limits) as served, served.peer() as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        begins_to_read = time.monotonic() + 0.8
        eventually(lambda: time.monotonic() > begins_to_read)
        assert len(peer.answer().body) == 20_000_000


def connection_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "process_request_thread" in thread.name]


# How many


def test_one_connection_too_many_is_turned_away_and_a_later_one_served() -> None:
    asked, go_on = [], threading.Event()

    def respond(request: Request) -> Response:
        asked.append(request)
        go_on.wait(20)
        return plain("well")

    with serving(respond) as served, ExitStack() as stack:
        peers = [stack.enter_context(served.peer()) for _ in range(Limits().connections)]
        for peer in peers:
            peer.send(f"GET / HTTP/1.1\r\nHost: {peer.host}\r\n\r\n".encode())
        eventually(lambda: len(asked) == len(peers))
        with served.peer() as peer:
            answer = peer.answer()
            assert (answer.status, answer.header("retry-after"), is_secure(answer)) == (503, "2", True)
            assert peer.rest() == b""
        go_on.set()
        assert [peer.answer().status for peer in peers] == [200] * 64
        assert served.ask("GET /").status == 200


def test_connections_that_are_kept_and_ask_nothing_more_keep_nobody_out(heard: Heard) -> None:
    with serving(heard.respond) as served, ExitStack() as stack:
        kept = [stack.enter_context(served.peer()) for _ in range(Limits().connections)]
        assert [peer.ask("GET /").status for peer in kept] == [200] * 64
        with served.peer() as later:
            assert later.ask("GET /").status == 200
            assert later.ask("GET /").status == 200
        ended = select.poll()
        for peer in kept:
            ended.register(peer.socket, select.POLLIN)
        assert len(ended.poll(10_000)) == 1


def test_connections_that_ask_nothing_keep_nobody_out(heard: Heard) -> None:
    with serving(heard.respond) as served, ExitStack() as stack:
        asking = stack.enter_context(served.peer())
        assert asking.ask("GET /").status == 200
        silent = [stack.enter_context(served.peer()) for _ in range(Limits().connections - 1)]
        silent[0].socket.sendall(b"GET / HTTP/1.1\r\n")  # that much is no request yet
        eventually(lambda: len(connection_threads()) == Limits().connections)
        assert [served.ask("GET /").status for _ in range(3)] == [200] * 3
        assert silent[0].rest() == b""  # the first to come is the first to go
        assert asking.ask("GET /").status == 200


def test_connections_leave_no_thread_and_no_descriptor(heard: Heard) -> None:
    with serving(heard.respond, limits=Limits(farewell=0.1)) as served:
        before = len(os.listdir("/proc/self/fd"))
        for data in (b"", b"GET", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\r\n\r\n") * 20:
            with served.peer() as peer:
                peer.send(data)
        eventually(lambda: not connection_threads())
        eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)


def test_without_descriptors_it_waits_for_them(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def accept(_: Server) -> None:
        tries.append(time.monotonic())
        raise OSError(errno.EMFILE, "no descriptors")

    with serving(heard.respond) as served, monkeypatch.context() as patched:
        patched.setattr(ThreadingHTTPServer, "get_request", accept)
        with served.peer():
            eventually(lambda: len(tries) > 3)
    assert min(later - earlier for earlier, later in pairwise(tries)) > 0.05


# Streams


def test_a_stream_ends_when_the_peer_leaves_although_there_is_no_news() -> None:
    stream = Pieces(is_quiet=True)
    limits = Limits(keepalive=300, pause=0)
    with serving(lambda _: Response(200, stream=stream), limits=limits) as served:
        with served.peer() as peer:
            answer = peer.ask("GET /events")
            assert (answer.status, answer.header("connection")) == (200, "close")
            assert answer.header("content-length") is None
            assert peer.piece() == b"data: x\n\n"
        eventually(lambda: stream.is_closed and not connection_threads())


def test_a_stream_shows_now_and_then_that_it_is_there() -> None:
    limits = Limits(keepalive=0.05, pause=0.01)
    with (
        serving(lambda _: Response(200, stream=Pieces(is_quiet=True)), limits=limits) as served,
        served.peer() as peer,
    ):
        peer.ask("GET /events")
        assert [peer.piece() for _ in range(3)] == [b"data: x\n\n"] * 3


def test_a_browser_that_reads_nothing_of_a_stream_is_cut_off() -> None:
    stream = Pieces(b"x" * 1_000_000)
    with serving(lambda _: Response(200, stream=stream), limits=UNREAD) as served, served.peer() as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        eventually(lambda: stream.is_closed and not connection_threads())


def test_who_says_more_on_a_stream_has_it_closed() -> None:
    stream = Pieces(is_quiet=True)
    with serving(lambda _: Response(200, stream=stream)) as served, served.peer() as peer:
        assert peer.ask("GET /events").status == 200
        peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"HTTP/1.1" not in peer.rest()
        eventually(lambda: stream.is_closed)


def test_a_stream_is_let_go_although_its_head_meets_nobody() -> None:
    """Else every browser that leaves at once takes a stream's place with it."""
    stream, has_left = Pieces(), threading.Event()

    def respond(_: Request) -> Response:
        has_left.wait(20)
        return Response(200, stream=stream)

    with serving(respond) as served:
        with served.peer() as peer:
            peer.send(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        has_left.set()
        eventually(lambda: stream.is_closed and not connection_threads())


def test_head_of_a_stream_is_answered_and_the_stream_let_go() -> None:
    stream = Pieces()
    with serving(lambda _: Response(200, stream=stream)) as served, served.peer() as peer:
        assert peer.ask("HEAD /events").status == 200
        assert peer.rest() == b""
        eventually(lambda: stream.is_closed)


# Where it listens


def test_a_unix_socket_is_the_owners_alone(heard: Heard, tmp_path: Path) -> None:
    settings = Settings("unix:/nowhere", f"unix:{tmp_path}/p.sock")
    previous = os.umask(0)
    try:
        with serving(heard.respond, settings) as served:
            assert os.stat(tmp_path / "p.sock").st_mode & 0o777 == 0o600
            assert served.ask("GET /a").body == b"GET /a 0\n"
    finally:
        os.umask(previous)


def test_what_a_killed_page_left_is_taken_over(heard: Heard, tmp_path: Path) -> None:
    settings = Settings("unix:/nowhere", f"unix:{tmp_path}/p.sock")
    with serving(heard.respond, settings):
        pass  # its file stays, as after kill -9
    with serving(heard.respond, settings) as served:
        assert served.ask("GET /a").status == 200


def test_what_is_no_dead_socket_is_left_alone(heard: Heard, tmp_path: Path) -> None:
    settings = Settings("unix:/nowhere", f"unix:{tmp_path}/p.sock")
    with serving(heard.respond, settings) as served:
        with pytest.raises(OSError, match="in use"), serving(heard.respond, settings):
            pass
        assert served.ask("GET /a").status == 200
    (tmp_path / "p.sock").unlink()
    (tmp_path / "p.sock").write_text("mine")
    with pytest.raises(FileExistsError), serving(heard.respond, settings):
        pass
    assert (tmp_path / "p.sock").read_text() == "mine"


def test_it_listens_on_ipv6(heard: Heard) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no ::1")
    with serving(heard.respond, Settings("unix:/nowhere", "[::1]:0")) as served:
        assert served.ask("GET /a").status == 200


# What machines ask


def test_checks_of_health_that_hang_take_no_place_from_anybody_else() -> None:
    let_go, hanging = threading.Event(), threading.Semaphore(0)

    def respond(request: Request) -> Response:
        if request.path == "/healthz":
            hanging.release()
            let_go.wait(20)
        return plain("ok")

    with serving(respond, limits=Limits(connections=4, apart=8)) as served, ExitStack() as held:
        asking = []
        for _ in range(8):  # one after the other: who says nothing takes a place from others
            asking.append(held.enter_context(served.peer()))
            asking[-1].send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert hanging.acquire(timeout=10)
        for _ in range(8):
            assert served.ask("GET /healthz").status == 503  # as many as may be ask already
            # Who was refused may keep his place for a moment yet.
            eventually(lambda: served.ask("GET /").status == 200, within=5)
        let_go.set()
        assert {peer.answer().status for peer in asking} == {200}
        assert all(peer.rest() == b"" for peer in asking)
        eventually(lambda: not served.server._apart)
        assert served.ask("GET /healthz").status == 200
