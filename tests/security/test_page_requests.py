"""What a page of another site, or whoever else can reach the page's port, may try with HTTP alone.

Routes come from the router, so that a new one cannot be missed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote, urlencode

import pytest

from bgjobd.web.exchange import SECURITY
from tests.page.serving import Answer, renderer
from tests.page.test_guard import BROWSER, FORM, addresses
from tests.security.paged import Target, target
from tests.support import eventually

VIEWS = [path for path in addresses("GET") if path != "/events"]
ACTIONS = addresses("POST")
ROUTES = [*addresses("GET"), *ACTIONS]
STATIC = renderer().static
EVIL = "http://evil.example"
CORS = "access-control-allow-origin"
TOLD = " by 127.0.0.1"


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("page")) as attacked:
        for verb in ("pause", "resume"):  # what is forged below does work where it is the page's own
            own = (f"Content-Type: {FORM}", f"Origin: http://{attacked.host}")
            body = b"token=" + attacked.form_token
            assert attacked.ask(f"POST /queues/default/{verb}", *own, body=body).status == 303
        eventually(lambda: attacked.running.console().count(TOLD) == 2)
        yield attacked


@pytest.fixture(autouse=True)
def nothing_is_done(attacked: Target) -> Iterator[None]:
    """Whatever a test here tries, nothing comes of it, and nobody asked the daemon for it."""
    before = attacked.standing()
    yield
    assert attacked.standing() == before
    assert attacked.running.console().count(TOLD) == 2, "beside the two that were the page's own"


def is_guarded(answer: Answer) -> bool:
    """Whether a browser may neither keep it, frame it, nor hand it to another site."""
    is_told = all(answer.header(name.lower()) == value for name, value in SECURITY.items())
    return is_told and answer.header("cache-control") == "no-store" and CORS not in answer.headers


# Forged requests (CSRF): the victim's browser sends the login along

FORGED: dict[str, tuple[tuple[str, ...], str]] = {
    "no form token": ((f"Content-Type: {FORM}",), ""),
    "a guessed form token": ((f"Content-Type: {FORM}",), "token={guess}"),
    "a foreign referer": ((f"Content-Type: {FORM}", f"Referer: {EVIL}/"), "token={guess}"),
    "a foreign origin": ((f"Content-Type: {FORM}", f"Origin: {EVIL}"), "token={token}"),
    "a sandboxed frame": ((f"Content-Type: {FORM}", "Origin: null"), "token={token}"),
    "another port": ((f"Content-Type: {FORM}", "Origin: http://localhost:3000"), "token={token}"),
    "another site": ((f"Content-Type: {FORM}", "Sec-Fetch-Site: cross-site"), "token={token}"),
    "another port, told": ((f"Content-Type: {FORM}", "Sec-Fetch-Site: same-site"), "token={token}"),
    "a link that posts": (
        (f"Content-Type: {FORM}", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate",
         "Sec-Fetch-Dest: document"),
        "token={token}",
    ),
    "a text form": (("Content-Type: text/plain",), "token={token}"),
    "a form in parts": (
        ("Content-Type: multipart/form-data; boundary=x",),
        '--x\r\nContent-Disposition: form-data; name="token"\r\n\r\n{token}\r\n--x--\r\n',
    ),
    "JSON": (("Content-Type: application/json",), '{{"token": "{token}"}}'),
    "JSON called text": (("Content-Type: text/plain;application/json",), '{{"token": "{token}"}}'),
    "a blob without a type": ((), "token={token}"),
    "two types": ((f"Content-Type: {FORM}", "Content-Type: text/plain"), "token={token}"),
    "another type first": ((f"Content-Type: text/plain, {FORM}",), "token={token}"),
    "the token in another place": ((f"Content-Type: {FORM}", "X-CSRF-Token: {token}"), "csrf={token}"),
}  # fmt: skip


@pytest.mark.parametrize(("headers", "body"), FORGED.values(), ids=FORGED)
def test_flower_took_forms_of_other_sites_and_no_route_here_does(
    attacked: Target, headers: tuple[str, ...], body: str
) -> None:
    """CVE-2022-30034 (flower): an API without CSRF protection."""
    known = {"token": attacked.form_token.decode(), "guess": "0" * 64}
    sent = [header.replace("{token}", known["token"]) for header in headers]
    for path in ROUTES:
        answer = attacked.ask(f"POST {path}", *sent, body=body.format(**known).encode())
        assert (answer.status, is_guarded(answer)) == (403, True), path


def test_flower_matched_a_part_of_an_address_and_an_origin_here_is_a_whole_one(attacked: Target) -> None:
    """CVE-2022-30034 (flower): its pattern had no end, so that user@good.example.evil.example was let in."""
    body = b"token=" + attacked.form_token
    own = f"http://{attacked.host}"
    for origin in (
        f"{own}.evil.example",
        f"{own}@evil",
        f"{EVIL}/{own}",
        f"{own}/",
        f"{own}0",
        f"x{own}",
        f"{own} x",
    ):
        answer = attacked.ask(f"POST {ACTIONS[0]}", f"Content-Type: {FORM}", f"Origin: {origin}", body=body)
        assert answer.status == 403, origin


VERBS = ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "QUERY", "LINK", "post", "Post",
         "delete", "get", "POSTS", "POS", "GETPOST", "_POST", "X-POST", "PURGE", "M-SEARCH")  # fmt: skip
OVERRIDES = (
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
    "X_HTTP_METHOD_OVERRIDE",
    "_method",
)


@pytest.mark.parametrize("verb", VERBS)
def test_ray_forgot_delete_and_here_every_verb_that_is_not_listed_is_refused(
    attacked: Target, verb: str
) -> None:
    """CVE-2026-27482 (Ray): the check for browsers listed POST and PUT."""
    form = (f"Content-Type: {FORM}", f"Origin: http://{attacked.host}")
    for path in ROUTES:
        answer = attacked.ask(f"{verb} {path}", *form, body=b"token=" + attacked.form_token)
        assert (answer.status, answer.header("allow")) == (405, "GET, HEAD, POST"), path
        assert is_guarded(answer)


@pytest.mark.parametrize("name", OVERRIDES)
def test_a_get_that_calls_itself_a_post_stays_one(attacked: Target, name: str) -> None:
    """CVE-2026-27482 (Ray): the verb may come in a header, in the query, or in the body."""
    body = b"_method=POST&token=" + attacked.form_token
    query = urlencode({"_method": "POST", "token": attacked.form_token.decode()})
    for verb in ("GET", "HEAD"):
        for path in ACTIONS:
            answer = attacked.ask(
                f"{verb} {path}?{query}", f"{name}: POST", f"Content-Type: {FORM}", body=body
            )
            # The form's own view, which does nothing.
            expected = (200, None) if path in VIEWS else (405, "POST")
            assert (answer.status, answer.header("allow")) == expected
            assert answer.header("location") is None
        for path in VIEWS:
            plain = attacked.ask(f"{verb} {path}")
            assert attacked.ask(f"{verb} {path}", f"{name}: DELETE").status == plain.status


ELSEWHERE = {
    "a script of another origin": (f"Origin: {EVIL}",),
    "a sandboxed frame": ("Origin: null",),
    "a script of another port": ("Origin: http://localhost:3000", "Sec-Fetch-Site: same-site"),
    "an image": ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"),
    "a script element": ("Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: script"),
    "a frame": ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"),
    "an object": ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: object"),
    "a prefetch": ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: empty"),
    "a prerender": (
        *("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"),
        "Sec-Purpose: prefetch;prerender",
    ),
    "a made-up site": ("Sec-Fetch-Site: same-origin, none",),
}


@pytest.mark.parametrize("headers", ELSEWHERE.values(), ids=ELSEWHERE)
def test_luigi_told_other_sites_its_tasks_and_no_route_here_answers_one(
    attacked: Target, headers: tuple[str, ...]
) -> None:
    """CVE-2018-1000843 (luigi): a page of another site read the parameters of tasks from /api/<method>."""
    for accept in ("application/json", "*/*"):
        for path in (*addresses("GET"), f"{STATIC}/page.js"):
            answer = attacked.ask(f"GET {path}", *headers, f"Accept: {accept}")
            assert (answer.status, is_guarded(answer)) == (403, True), path
            assert b"probes" not in answer.body


def test_json_is_told_to_no_frame_script_or_guess_of_its_type(attacked: Target) -> None:
    """CVE-2018-1000843 (luigi)."""
    for path in ("/", "/jobs", "/jobs/1", "/system"):
        answer = attacked.ask(f"GET {path}", "Accept: application/json")
        assert (answer.status, answer.header("content-type"), is_guarded(answer)) == (
            200,
            "application/json",
            True,
        )
        assert answer.header("x-content-type-options") == "nosniff"
        assert answer.header("cross-origin-resource-policy") == "same-origin"
        assert "frame-ancestors 'none'" in (answer.header("content-security-policy") or "")


def test_a_link_that_a_person_follows_is_answered_wherever_it_stood(attacked: Target) -> None:
    link = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")
    for site in ("cross-site", "same-site", "same-origin", "none"):
        assert attacked.ask("GET /jobs", f"Sec-Fetch-Site: {site}", *link).status == 200
    assert (
        attacked.ask("GET /jobs", f"Origin: http://{attacked.host}", "Sec-Fetch-Site: same-origin").status
        == 200
    )


def test_no_answer_may_be_kept_but_files_which_everybody_has(attacked: Target) -> None:
    """CVE-2018-1000843 (luigi): errors, refusals and redirects too."""
    lines = [
        f"{verb} {path}" for verb in ("GET", "HEAD", "POST", "PUT") for path in ROUTES if path != "/events"
    ]
    broken = ["GET //", "GET *", f"GET /{'a' * 9000}", "GET /nowhere", "GET /login?token=x", "GET /a b"]
    for line in [*lines, *broken, f"GET /login?token={attacked.token}"]:
        for is_known in (True, False):
            assert is_guarded(attacked.ask(line, is_known=is_known)), line
    for headers in (("Host: evil",), ("Host: @",), ("X",), ("Content-Length: x",), ("Expect: 100-continue",)):
        assert is_guarded(attacked.ask("GET /", *headers))
    with attacked.peer() as peer:
        assert is_guarded(peer.ask("GET /events", attacked.login))
    file = attacked.ask(f"GET {STATIC}/page.js", is_known=False)
    assert (file.status, file.header("cache-control")) == (200, "public, max-age=31536000, immutable")
    assert file.header("cross-origin-resource-policy") == "same-origin"


# Names that lead here (DNS rebinding)

NAMES = {
    "another": "evil.example:{port}",
    "one that begins as ours": "localhost.evil.example:{port}",
    "one that ends as ours": "evil.localhost:{port}",
    "one behind a user": "localhost:{port}@evil.example",
    "one with a user": "user@localhost:{port}",
    "a dot at its end": "localhost.:{port}",
    "a short address": "127.1:{port}",
    "zero": "0:{port}",
    "all addresses": "0.0.0.0:{port}",
    "a number": "2130706433:{port}",
    "octal": "0177.0.0.1:{port}",
    "hexadecimal": "0x7f.0.0.1:{port}",
    "the address in IPv6": "[::ffff:127.0.0.1]:{port}",
    "the same in hexadecimal": "[::ffff:7f00:1]:{port}",
    "a zone": "[::1%25lo]:{port}",
    "another port": "localhost:80",
    "no port": "localhost",
    "a port too long": "localhost:{port}0",
    "an empty port": "localhost:",
    "nothing": "",
    "a list": "localhost:{port},evil.example",
    "a space inside": "localhost :{port}",
    "a tab and another": "localhost:{port}\tevil.example",
    "a full stop of Japan": "127\u3002".encode().decode("latin-1") + "0.0.1:{port}",
    "a whole address": "http://localhost:{port}",
    "a path": "localhost:{port}/",
    "a service": "bgjobd.nip.io:{port}",
}  # fmt: skip
EVERYWHERE = [*ROUTES, "/nowhere", f"{STATIC}/page.js"]


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_transmission_and_others_answered_to_any_name_and_this_page_does_to_its_own(
    attacked: Target, name: str
) -> None:
    """CVE-2018-5702, CVE-2016-9014, CVE-2018-14505, CVE-2026-42559: before routes, files, streams and the login."""
    host = f"Host: {name.format(port=attacked.port)}"
    for path in EVERYWHERE:
        verb = "POST" if path in ACTIONS else "GET"
        for is_known in (True, False):
            answer = attacked.ask(f"{verb} {path}", host, f"Content-Type: {FORM}", is_known=is_known)
            assert answer.status in (400, 421), path
            assert is_guarded(answer)
            assert len(answer.body) < 100


REBOUND = {
    "no host": ("GET {path} HTTP/1.1", ""),
    "no host, as long ago": ("GET {path} HTTP/1.0", ""),
    "two hosts": ("GET {path} HTTP/1.1", "Host: {host}\r\nHost: {host}\r\n"),
    "ours and another": ("GET {path} HTTP/1.1", "Host: {host}\r\nhOST: evil\r\n"),
    "another and ours": ("GET {path} HTTP/1.1", "HOST: evil\r\nHost: {host}\r\n"),
    "a host that is folded": ("GET {path} HTTP/1.1", "Host: {host}\r\n .evil\r\n"),
    "a host with a space before its colon": ("GET {path} HTTP/1.1", "Host : {host}\r\n"),
    "a host with a vertical tab": ("GET {path} HTTP/1.1", "Host: {host}\x0b\r\n"),
    "a host with a hard space": ("GET {path} HTTP/1.1", "Host: {host}\xa0\r\n"),
    "another in the address": ("GET http://evil{path} HTTP/1.1", "Host: {host}\r\n"),
    "ours in the address": ("GET http://{host}{path} HTTP/1.1", "Host: evil\r\n"),
    "another, without a scheme": ("GET //evil{path} HTTP/1.1", "Host: {host}\r\n"),
    "another proxy": ("CONNECT {host} HTTP/1.1", "Host: {host}\r\n"),
}


@pytest.mark.parametrize(("line", "headers"), REBOUND.values(), ids=REBOUND)
def test_a_name_that_could_be_read_in_two_ways_is_none(attacked: Target, line: str, headers: str) -> None:
    """CVE-2018-14505 (mitmweb) and its kin."""
    for path in EVERYWHERE:
        told = {"host": attacked.host, "path": path}
        head = f"{line.format(**told)}\r\n{headers.format(**told)}{attacked.login}\r\n\r\n"
        answer = attacked.raw(head.encode("latin-1"))
        assert re.match(rb"HTTP/1\.1 4(?:00|05) ", answer), path
        assert answer.count(b"HTTP/1.1 ") == 1


def test_the_page_goes_by_its_own_names_however_they_are_written(attacked: Target) -> None:
    for name in ("localhost", "LOCALHOST", "127.0.0.1", "[::1]"):
        for host in (f"{name}:{attacked.port}", f"\t {name}:{attacked.port} \t"):
            assert attacked.ask("GET /healthz", f"Host: {host}").status == 200


# What a web server in between would say

SAID_BY_PROXIES = [
    *(f"{name}: 127.0.0.1" for name in ("X-Forwarded-For", "X-Real-IP", "X-Client-IP", "Client-IP", "True-Client-IP",
      "X-Originating-IP", "X-Remote-IP", "X-Remote-Addr", "X-Cluster-Client-IP", "CF-Connecting-IP", "Via")),
    "Forwarded: for=127.0.0.1;host=localhost;proto=https", "X-Forwarded-Host: {host}", "X-Host: {host}",
    "X-Forwarded-Server: {host}", "X-Forwarded-Port: {port}", "X-Forwarded-Proto: https", "X-Forwarded-Prefix: /evil",
    "X-Forwarded-User: root", "X-Remote-User: root", "Remote-User: root", "X-Original-URL: /login",
    "X-Rewrite-URL: /login", "X-Forwarded-Path: /login", "X-Script-Name: /evil", "Front-End-Https: on",
]  # fmt: skip


def test_web_console_believed_who_says_where_he_is_and_nothing_is_believed_here(attacked: Target) -> None:
    """CVE-2015-3224 (web-console): X-Forwarded-For got past its list of addresses."""
    said = [one.format(host=attacked.host, port=attacked.port) for one in SAID_BY_PROXIES]
    for path in ("/", "/jobs/1", "/metrics", "/events"):
        assert attacked.ask(f"GET {path}", *said, is_known=False).status == 401
        assert attacked.ask(f"GET {path}", "Host: evil", *said).status == 421
        led = attacked.ask(f"GET {path}", *said, f"Accept: {BROWSER}", is_known=False)
        place = "/login" if path == "/" else f"/login?{urlencode({'next': path})}"
        assert (led.status, led.header("location")) == (303, place)
    assert attacked.ask("GET /healthz", *said, is_known=False).body == b"ok\n"
    assert attacked.ask(f"POST {ACTIONS[0]}", *said, f"Origin: {EVIL}", f"Content-Type: {FORM}").status == 403


# Lines that end where they should not

BREAKS = ("\r\n", "\n", "\r", "\r\n\r\n", "\u010d\u010a", "\u560d\u560a", "\u2028", "\x85", "\x0b", "\0\r\n")
HEADERS = {"server", "date", "cache-control", "content-type", "content-length", "connection", "location", "etag",
           "vary", "retry-after", "allow", "set-cookie", *map(str.lower, SECURITY)}  # fmt: skip


@pytest.mark.parametrize("ends", BREAKS, ids=ascii)
def test_gunicorn_let_a_value_begin_another_header_and_none_does_here(attacked: Target, ends: str) -> None:
    """CVE-2018-1000164 (gunicorn): also line feeds that come from cutting a character down to its last byte."""
    evil = quote(f"{ends}Set-Cookie: evil=1{ends}X-Evil: 1{ends}{ends}<script>")
    lines = [
        f"GET /login?next={evil}&token={attacked.token}", f"GET /login?next=/jobs{evil}&token={attacked.token}",
        f"GET /login?next=/jobs?q={evil}&token={attacked.token}", f"GET /login?token={evil}",
        f"GET /{evil}", f"GET /jobs/1{evil}", f"GET /jobs?q={evil}&{evil}={evil}",
        f"GET {STATIC}/page.js{evil}", f"GET /static/{evil}/page.js", f"POST /queues/default{evil}/pause",
    ]  # fmt: skip
    for line in lines:
        for headers in ((), (f"Accept: {BROWSER}", f"Cookie: {evil}", f"If-None-Match: {evil}")):
            for is_known in (True, False):
                answer = attacked.ask(line, *headers, is_known=is_known)
                assert answer.headers.keys() <= HEADERS, line
                assert "evil" not in (answer.header("set-cookie") or "")


@pytest.mark.parametrize(
    "elsewhere",
    ["//evil", "/\\evil", "/\t/evil", "/%09/evil", "/%2509/evil", "https:evil", "https:/evil", "https:///evil",
     "///evil",
     "\\\\evil", "/\\/evil", "/%5cevil", "/.//evil", "/..//evil", "/;@evil", "/@evil", "@evil", ".evil", " //evil",
     "\x00//evil", "\u2044\u2044evil", "\uff0f\uff0fevil", "/\u2215evil", "?//evil\\", "javascript:alert(1)//",
     "data:,x",
     "/jobs/1/cancel", "/jobs//evil", "/system/../..//evil"],
)  # fmt: skip
def test_a_login_is_no_way_to_another_site(attacked: Target, elsewhere: str) -> None:
    """CVE-2018-1000164 (gunicorn)'s other use of a redirect."""
    for name in ("next", "url", "return_to", "redirect"):
        query = urlencode({name: elsewhere, "token": attacked.token})
        led_to = attacked.ask(f"GET /login?{query}", is_known=False).header("location")
        assert led_to == ("/" if name == "next" else "/now")
    led = attacked.ask(f"GET /x{quote(elsewhere)}", f"Accept: {BROWSER}", is_known=False)
    assert (led.status, (led.header("location") or "").partition("?")[0]) == (303, "/login")


# A request in a request (smuggling)

HIDDEN = "GET /login?hidden HTTP/1.1\r\nHost: {host}\r\n\r\n"
SMUGGLED = {
    "both lengths": "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
    "chunks with a tab": "Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n",
    "chunks with a vertical tab": "Content-Length: 5\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "chunks of another name": "Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunks twice": "Transfer-Encoding: chunked\r\nTransfer-encoding: identity\r\n\r\n0\r\n\r\n",
    "chunks in capitals": "TRANSFER-ENCODING: CHUNKED\r\n\r\n0\r\n\r\n",
    "chunks in quotes": 'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "chunks of nothing": "Transfer-Encoding:\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "chunks that are folded": "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "chunks before the colon": "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "chunks after a line feed": "X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks after a carriage return": "X: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": "Content-Length: 0\r\nContent-Length: 60\r\n\r\n",
    "the same length twice": "Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "a list of lengths": "Content-Length: 0, 60\r\n\r\n",
    "a length with a sign": "Content-Length: +0\r\n\r\n",
    "a length below zero": "Content-Length: -1\r\n\r\n",
    "a length with more": "Content-Length: 0;x\r\n\r\n",
    "a hexadecimal length": "Content-Length: 0x0\r\n\r\n",
    "a length with NUL": "Content-Length: 0\0\r\n\r\n",
    "a length with a hard space": "Content-Length: 0\xa0\r\n\r\n",
    "a length before the colon": "Content-Length : 60\r\n\r\n",
    "a length that is folded": "Content-Length:\r\n 60\r\n\r\n",
    "line feeds alone": "X: a\n\n",
    "a header without a name": ": a\r\n\r\n",
    "an announced body": "Content-Length: 0\r\nExpect: 100-continue\r\n\r\n",
    "an obsolete fold": "X: a\r\n\tContent-Length: 60\r\n\r\n",
}


@pytest.mark.parametrize("rest", SMUGGLED.values(), ids=SMUGGLED)
@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_a_request_that_could_end_in_two_places_is_refused_and_what_follows_is_not_read(
    attacked: Target, verb: str, rest: str
) -> None:
    """Request smuggling, as in gunicorn, waitress and http.server before it: one answer, and the connection closed."""
    head = f"{verb} / HTTP/1.1\r\nHost: {attacked.host}\r\n{attacked.login}\r\n{rest}{HIDDEN}"
    answer = attacked.raw(head.format(host=attacked.host).encode("latin-1"))
    assert re.match(rb"HTTP/1\.1 4(?:00|11|17) ", answer)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"\r\nConnection: close\r\n" in answer


@pytest.mark.parametrize(
    "first",
    ["PUT / HTTP/1.1", "GET // HTTP/1.1", "GET / HTTP/2.0", "GET /", f"GET /{'a' * 9000} HTTP/1.1", "\r\n",
     "GET /events HTTP/1.1"],
    ids=["a verb", "an address", "a version", "no version", "a long address", "no line", "a stream"],
)  # fmt: skip
def test_nothing_is_read_behind_an_error_or_a_stream(attacked: Target, first: str) -> None:
    """What a proxy sends next on the same connection is another person's."""
    one = f"{first}\r\nHost: {attacked.host}\r\n{attacked.login}\r\n\r\n"
    assert attacked.raw((one + HIDDEN.format(host=attacked.host)).encode()).count(b"HTTP/1.1 ") == 1


def test_a_get_with_a_body_ends_where_it_says(attacked: Target) -> None:
    """Else its body would be read as the next request."""
    body = HIDDEN.format(host=attacked.host)
    head = f"GET /jobs HTTP/1.1\r\nHost: {attacked.host}\r\n{attacked.login}\r\n"
    asked = f"{head}Content-Length: {len(body)}\r\n\r\n{body}{head}\r\n"
    answers = attacked.raw(asked.encode())
    assert answers.count(b"HTTP/1.1 200 OK") == answers.count(b"<title>Jobs") == 2
    assert b"Log in" not in answers


# The token and what is told without it


def test_a_cookie_that_was_there_before_the_login_lets_nobody_in_after_it(attacked: Target) -> None:
    """Session fixation, and cookies tossed by another server of this machine: nothing of a cookie becomes a login."""
    name = f"bgjobd_login_{attacked.port}"
    tossed = [f"Cookie: {name}=fixed; {name}={'a' * 32}; {name}=; {name}"]
    login = attacked.ask(f"GET /login?token={attacked.token}", *tossed, is_known=False)
    assert (login.header("set-cookie") or "").startswith(f"{name}={attacked.token};")
    assert attacked.ask("GET /", *tossed, is_known=False).status == 401
    assert attacked.ask("GET /", f"{tossed[0]}; {name}={attacked.token}", is_known=False).status == 200
    assert (
        attacked.ask("GET /", f"Cookie: {attacked.token}; {name}x={attacked.token}", is_known=False).status
        == 401
    )


def test_what_is_open_tells_nothing_of_the_daemon(attacked: Target) -> None:
    """CVE-2022-30034 (flower): an API that answers everybody."""
    assert attacked.ask("GET /healthz", is_known=False).body == b"ok\n"
    for path in ROUTES:
        answer = attacked.ask(f"GET {path}", "Accept: application/json", is_known=False)
        assert answer.status == 401 or path in ("/login", "/healthz") or path.startswith("/static/")
        for secret in (b"probes", b"Python", b"/state", attacked.form_token, attacked.token.encode()):
            assert secret not in answer.body.replace(b"state_dir/web.token", b"")


def test_no_address_leaks_a_token_to_another_site_or_to_the_console(attacked: Target) -> None:
    """By a Referer, in a page, or in a line about a request."""
    before = attacked.running.console()
    wrong = attacked.ask("GET /login?token=a-guess-that-is-wrong", is_known=False)
    assert (wrong.status, wrong.header("referrer-policy")) == (403, "same-origin")
    assert b"a-guess" not in wrong.body
    led = attacked.ask(f"GET /login?token={attacked.token}", is_known=False)
    assert (led.status, led.body, led.header("referrer-policy")) == (303, b"", "same-origin")
    for path in VIEWS:
        for accept in ("text/html", "application/json"):
            assert attacked.token.encode() not in attacked.ask(f"GET {path}", f"Accept: {accept}").body
            assert attacked.ask(f"GET {path}?token=a-guess-that-is-wrong", f"Accept: {accept}").status < 500
    assert attacked.running.console() == before
