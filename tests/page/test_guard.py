"""Who may ask what: Host, login and origin, before anything else is looked at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import pytest

from bgjob.codec import Request as Asked
from bgjobd.web.addresses import CLASS, NAME, SCHEDULE
from bgjobd.web.exchange import SECURITY, Request, plain
from bgjobd.web.guard import Guard
from bgjobd.web.settings import Settings
from bgjobd.web.views import routes
from tests.client.scripted import Line
from tests.page.serving import TOKEN, Served, page

HOST = "localhost:8377"
COOKIE = "bgjobd_login_8377"
LOCAL = Settings("unix:/nowhere", "127.0.0.1:8377", TOKEN, actions=True)
REMOTE = Settings("unix:/nowhere", "0.0.0.0:8377", TOKEN, actions=True, allow_remote=True)
FORM = "application/x-www-form-urlencoded"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def guard(settings: Settings = LOCAL) -> Guard:
    return Guard(settings, b"secret")


def request(path: str = "/", method: str = "GET", body: bytes = b"", **headers: str) -> Request:
    """One with a Host that fits and the token; an empty header is left out."""
    given = {"host": HOST, "authorization": f"Bearer {TOKEN}"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, path, {}, {name: value for name, value in given.items() if value}, body)


def status(asked: Request, settings: Settings = LOCAL) -> int:
    """Of the refusal; 200 where there is none."""
    refusal = guard(settings).refusal(asked)
    return 200 if refusal is None else refusal.status


def addresses(wanted: str) -> list[str]:
    """One that fits each route of this method, from the routes themselves."""
    found = [pattern for method, pattern in routes() if method == wanted]
    samples = {
        r"([1-9][0-9]{0,17})": "1",
        f"({NAME})": "nightly",
        f"({SCHEDULE})": "nightly",
        f"({CLASS})": "a.B",
    }
    samples |= {r"([0-9a-f]{16})": "0" * 16, r"([A-Za-z0-9._-]{1,64})": "page.js"}
    made = []
    for pattern in found:
        address = pattern
        for part, sample in samples.items():
            address = address.replace(part, sample)
        assert re.fullmatch(pattern, address), f"the tests have no sample for {pattern}"
        made.append(address)
    return made


# Host


@pytest.mark.parametrize(
    "host", ["localhost:8377", "127.0.0.1:8377", "[::1]:8377", "LOCALHOST:8377", "LocalHost:08377"]
)
def test_the_page_goes_by_its_own_names(host: str) -> None:
    assert status(request(host=host)) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil", "evil:8377", "evil.example:8377", "localhost.evil:8377", "evil.localhost:8377", "localhost.:8377",
        "localhost", "localhost:80", "localhost:83770", "localhost:8378", "127.0.0.1", "[::1]", "127.0.0.2:8377",
        "127.1:8377", "2130706433:8377", "0.0.0.0:8377", "[::]:8377", "[::ffff:127.0.0.1]:8377",
        "[0:0:0:0:0:0:0:1]:8377", "xlocalhost:8377", "-:8377",
    ],
)  # fmt: skip
def test_another_name_or_port_is_misdirected(host: str) -> None:
    assert status(request(host=host)) == 421


@pytest.mark.parametrize(
    "host",
    [
        "", "localhost:8377, localhost:8377", "localhost:8377, evil", "localhost:8377@evil", "user@localhost:8377",
        "user:pass@localhost:8377", "localhost:", "localhost:x", "localhost:-1", "localhost:837700",
        "localhost :8377", "localhost:8377/", "localhost:8377#", "localhost:8377?", "localhost\t:8377", ":8377",
        "::1:8377", "[::1", "[]:8377", "[fe80::1%25eth0]:8377", "locälhost:8377", "localhost:²",
        "http://localhost:8377", "localhost:8377\\@evil", "lo_calhost:8377", "*",
    ],
)  # fmt: skip
def test_what_can_be_no_host_is_a_bad_request(host: str) -> None:
    assert status(request(host=host)) == 400


def test_a_proxys_word_for_the_host_counts_for_nothing() -> None:
    assert status(request(host="evil:8377", x_forwarded_host=HOST, forwarded=f"host={HOST}")) == 421
    assert status(request(x_forwarded_host="evil")) == 200


def test_an_address_of_its_own_is_a_name() -> None:
    settings = Settings("unix:/nowhere", "127.0.0.9:80", TOKEN)
    assert status(request(host="127.0.0.9"), settings) == 200
    assert status(request(host="evil"), settings) == 421
    ipv6 = Settings("unix:/nowhere", "[FD00::1]:80", TOKEN, allow_remote=False)
    assert status(request(host="[fd00::1]:80"), ipv6) == 200


def test_other_machines_may_know_it_by_any_name_and_the_port_of_a_web_server_in_between() -> None:
    for host in ("jobs.example:8377", "jobs.example", "jobs.example:8443"):
        assert status(request(host=host), REMOTE) == 200
    assert status(request(host="user@jobs.example"), REMOTE) == 400


def test_the_host_counts_before_files_login_and_addresses_that_are_none() -> None:
    for path in ("/static/0/page.js", "/login", "/healthz", "/nowhere", "/events"):
        assert status(request(path, host="evil", authorization="")) == 421
        assert status(request(path, host="", authorization="")) == 400


# Login


def test_a_program_without_the_token_is_told_so() -> None:
    for path in addresses("GET"):
        is_open = path in ("/login", "/healthz") or path.startswith("/static/")
        assert status(request(path, authorization="")) == (200 if is_open else 401)
        assert status(request(path, authorization="", accept="application/json")) == (200 if is_open else 401)


def test_the_token_of_the_metrics_opens_these_and_nothing_else() -> None:
    settings, shown = replace(LOCAL, metrics_token="of the metrics"), "Bearer of the metrics"
    for path in addresses("GET"):
        without = status(request(path, authorization=""))
        assert status(request(path, authorization=shown), settings) == (
            200 if path == "/metrics" else without
        )
    assert status(request("/metrics", authorization="Bearer x"), settings) == 401
    assert status(request("/metrics", authorization=shown)) == 401, "where there is none"
    assert status(request("/metrics", authorization="", cookie=f"{COOKIE}=of the metrics"), settings) == 401


def test_a_browser_without_the_token_is_led_to_the_login() -> None:
    refusal = guard().refusal(request("/jobs", authorization="", accept=BROWSER))
    assert refusal is not None
    assert (refusal.status, dict(refusal.headers)) == (303, {"Location": "/login?next=%2Fjobs"})
    refusal = guard().refusal(request("/", authorization="", accept=BROWSER))
    assert refusal is not None
    assert refusal.headers["Location"] == "/login"
    assert status(request("/jobs/1/retry", "POST", authorization="", accept=BROWSER)) == 401


def test_a_program_without_the_token_is_told_where_it_is_and_how_it_is_sent() -> None:
    refusal = guard(LOCAL).refusal(request("/metrics", authorization=""))
    assert refusal is not None
    assert b"state_dir/web.token, as Authorization: Bearer" in refusal.body


@pytest.mark.parametrize(
    "path", ["/static", "/healthz/", "/login/x", "/LOGIN", "/jobs/../login", "//login", "/login\0"]
)
def test_only_what_is_open_is_open(path: str) -> None:
    assert status(request(path, authorization="")) == 401


@pytest.mark.parametrize(
    "shown",
    [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER  {TOKEN} "],
)
def test_a_bearer_of_the_token_is_let_in(shown: str) -> None:
    assert status(request(authorization=shown)) == 200


@pytest.mark.parametrize(
    "shown",
    ["Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}",
     f"Bearer {TOKEN.upper()}", "Bearer é", "Bearer \x80\xff", f"Bearer {TOKEN}, Bearer {TOKEN}"],
)  # fmt: skip
def test_who_shows_another_token_is_not(shown: str) -> None:
    assert status(request(authorization=shown)) == 401


@pytest.mark.parametrize(
    "cookie",
    [
        f"{COOKIE}={TOKEN}",
        f"a=b; {COOKIE}={TOKEN}; c=d",
        f"a=b;{COOKIE}={TOKEN}",
        f'json={{"a": 1, "b": [2]}}; {COOKIE}={TOKEN}',
        f'a="; {COOKIE}={TOKEN}',
        f"é=\x80; ; =; x; {COOKIE}={TOKEN}",
        f"{COOKIE}=of-another-server-on-this-machine; {COOKIE}={TOKEN}",
    ],
)
def test_the_cookie_is_taken_whatever_others_stand_beside_it(cookie: str) -> None:
    assert status(request(authorization="", cookie=cookie)) == 200


@pytest.mark.parametrize(
    "cookie",
    ["", f"{COOKIE}=", COOKIE, f"{COOKIE}=x", f"x={TOKEN}", f"{COOKIE}=é", f"{COOKIE}={TOKEN}=",
     f"{COOKIE}x={TOKEN}", f"bgjobd_login={TOKEN}", f"bgjobd_login_8378={TOKEN}"],
)  # fmt: skip
def test_another_cookie_is_not(cookie: str) -> None:
    assert status(request(authorization="", cookie=cookie)) == 401


def test_a_wrong_bearer_is_not_saved_by_a_cookie_of_another_scheme() -> None:
    assert status(request(authorization="Bearer x", cookie=f"{COOKIE}={TOKEN}")) == 401
    assert status(request(authorization="Basic eDp5", cookie=f"{COOKIE}={TOKEN}")) == 200


def test_a_unix_socket_takes_no_token_and_any_name() -> None:
    settings = Settings("unix:/nowhere", "unix:/run/p.sock")
    assert status(request(host="whatever", authorization=""), settings) == 200
    assert status(request(host="", authorization=""), settings) == 400


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr("hmac.compare_digest", lambda *pair: compared.append(pair) or pair[0] == pair[1])
    assert guard().is_token(TOKEN)
    assert status(action("/jobs/1/retry")) == 200
    form_token = guard().form_token.encode()
    assert compared == [(TOKEN.encode(),) * 2, (TOKEN.encode(),) * 2, (form_token,) * 2]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with page(tmp_path, token=TOKEN, actions=True) as served:
        yield served


def test_the_token_in_the_address_becomes_a_cookie_that_is_accepted(served: Served) -> None:
    answer = served.ask(f"GET /login?token={TOKEN}", f"Accept: {BROWSER}")
    assert (answer.status, answer.header("location"), answer.body) == (303, "/now", b"")
    cookie, *attributes = (answer.header("set-cookie") or "").split("; ")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(attributes)
    assert cookie == f"bgjobd_login_{served.port}={TOKEN}"
    assert served.ask("GET /", f"Cookie: {cookie}").status == 200
    assert served.ask("GET /").status == 401


@pytest.mark.parametrize("token", ["x", f"{TOKEN}x", "%C3%A9", "%FF%00", f"x&token={TOKEN}"])
def test_a_wrong_token_sets_no_cookie(served: Served, token: str) -> None:
    answer = served.ask(f"GET /login?token={token}")
    assert (answer.status, answer.header("set-cookie")) == (403, None)


def test_a_login_leads_on_to_what_was_asked_for(served: Served) -> None:
    asked = served.ask("GET /jobs?q=%C3%A9+%2F%2F&status=failed", f"Accept: {BROWSER}")
    login = asked.header("location") or ""
    form = served.ask(f"GET {login}").body.decode()
    [told] = re.findall(r'name="next" value="([^"]+)"', form)
    shown = f"http://{served.address[0]}:{served.port}/login?token={TOKEN}"  # pasted whole
    answer = served.ask(f"GET /login?{urlencode({'next': unescape(told), 'token': shown})}")
    path, _, query = (answer.header("location") or "").partition("?")
    assert (answer.status, path) == (303, "/jobs")
    assert {*query.split("&")} == {"q=%C3%A9+%2F%2F", "status=failed"}


@pytest.mark.parametrize(
    "elsewhere",
    ["//evil.example", "/\\evil.example", "/%5Cevil.example", "http://evil.example", "evil.example", "/login",
     "/login?token=x", "/events", "/static/0000000000000000/page.js", "/healthz", "/jobs/1/retry",
     "/jobs//evil.example", "/\t/evil.example", "/jobs\r\nX: y", "/jobs?\n", "/?\\", "/jobs/..//evil.example",
     "javascript:alert(1)"],
)  # fmt: skip
def test_a_login_leads_nowhere_else(served: Served, elsewhere: str) -> None:
    answer = served.ask(f"GET /login?{urlencode({'next': elsewhere, 'token': TOKEN})}")
    assert (answer.status, answer.header("location")) == (303, "/")


@pytest.mark.parametrize("query", ["", "&next="])
def test_a_login_that_was_asked_for_nothing_else_leads_to_now(served: Served, query: str) -> None:
    assert served.ask(f"GET /login?token={TOKEN}{query}").header("location") == "/now"


def test_only_who_has_logged_in_keeps_a_connection(served: Served) -> None:
    for path in ("/", "/login", "/healthz", "/nowhere", f"/login?token={TOKEN}"):
        with served.peer() as stranger:
            assert stranger.ask(f"GET {path}").header("connection") == "close"
            assert stranger.rest() == b""
    with served.peer() as known:
        for _ in range(3):
            answer = known.ask("GET /", f"Authorization: Bearer {TOKEN}")
            assert (answer.status, answer.header("connection")) == (200, None)


def test_the_login_and_the_state_of_health_are_open(served: Served) -> None:
    assert served.ask("GET /login").status == 200
    assert served.ask("GET /healthz").body == b"ok\n"


# Actions


def action(path: str, token: str | None = None, **headers: str) -> Request:
    """As this page's own form sends it."""
    token = guard().form_token if token is None else token
    given = {"content_type": FORM, "origin": f"http://{HOST}", "sec_fetch_site": "same-origin"}
    return request(path, "POST", f"token={token}".encode(), **(given | headers))


REFUSED = {
    "no login": (401, {"authorization": ""}),
    "no form token": (403, {"token": ""}),
    "another form token": (403, {"token": "x" * 64}),
    "the login's token": (403, {"token": TOKEN}),
    "a form token beyond ASCII": (403, {"token": "é"}),
    "bytes that are no text": (403, {"token": "%FF"}),
    "too many fields": (403, {"token": "x" + "&a=1" * 99}),
    "another origin": (403, {"origin": "http://evil.example"}),
    "another origin on this machine": (403, {"origin": "http://localhost:3000"}),
    "another name of ours": (403, {"origin": "http://127.0.0.1:8377"}),
    "another scheme": (403, {"origin": f"https://{HOST}"}),
    "an origin with more": (403, {"origin": f"http://{HOST}.evil"}),
    "two origins": (403, {"origin": f"http://{HOST}, http://evil"}),
    "no origin to be told": (403, {"origin": "null"}),
    "another site": (403, {"sec_fetch_site": "cross-site"}),
    "another host of the site": (403, {"sec_fetch_site": "same-site"}),
    "nobody": (403, {"sec_fetch_site": "none"}),
    "a text form": (403, {"content_type": "text/plain"}),
    "a form with parts": (403, {"content_type": "multipart/form-data; boundary=x"}),
    "JSON": (403, {"content_type": "application/json"}),
    "no type": (403, {"content_type": ""}),
    "another host": (421, {"host": "evil:8377", "origin": "http://evil:8377"}),
}


@pytest.mark.parametrize(("refused", "changes"), REFUSED.values(), ids=REFUSED)
def test_an_action_from_elsewhere_is_refused(refused: int, changes: dict[str, str]) -> None:
    told = {path: status(action(path, **changes)) for path in addresses("POST")}
    assert told == dict.fromkeys(addresses("POST"), refused)


@pytest.mark.parametrize("path", addresses("POST"))
def test_an_action_is_refused_where_they_are_off(path: str) -> None:
    assert status(action(path), Settings("unix:/nowhere", "127.0.0.1:8377", TOKEN)) == 403


@pytest.mark.parametrize("path", addresses("POST"))
def test_a_form_of_this_page_is_taken(path: str) -> None:
    assert status(action(path)) == 200
    assert status(action(path, content_type=f"{FORM}; charset=utf-8")) == 200
    assert status(action(path, origin="", sec_fetch_site="")) == 200  # an old browser, but with the token


def test_a_form_is_taken_through_a_web_server_that_speaks_tls() -> None:
    settings = Settings("unix:/nowhere", "unix:/run/p.sock", actions=True)
    for origin, taken in ((f"https://{HOST}", 200), (f"http://{HOST}", 200), ("https://evil.example", 403)):
        assert status(action("/jobs/1/retry", origin=origin), settings) == taken
        assert status(action("/jobs/1/retry", origin=origin), REMOTE) == taken
    beyond = {"host": "jobs.example", "origin": "https://jobs.example"}
    assert status(action("/jobs/1/retry", **beyond), REMOTE) == 200
    assert status(action("/jobs/1/retry", **beyond), LOCAL) == 421
    for origin in ("https://jobs.example:8377", "https://evil.example", "https://jobs.example.evil"):
        assert status(action("/jobs/1/retry", host="jobs.example", origin=origin), REMOTE) == 403


@pytest.mark.parametrize("settings", [LOCAL, REMOTE, Settings("unix:/nowhere", "unix:/run/p.sock")])
def test_another_sites_page_is_answered_nothing_wherever_the_page_listens(settings: Settings) -> None:
    for elsewhere in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
    ):
        assert status(request(**elsewhere), settings) == 403
        assert status(request("/events", authorization="", **elsewhere), settings) == 403
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    for own in (
        link,
        {"sec_fetch_site": "none"},
        {"sec_fetch_site": "same-origin", "origin": f"http://{HOST}"},
    ):
        assert status(request(**own), settings) == 200
    assert status(request(**link | {"sec_fetch_dest": "iframe"}), settings) == 403


def test_the_form_token_is_not_the_logins() -> None:
    assert TOKEN not in guard().form_token
    assert Guard(LOCAL, b"another").form_token != guard().form_token


MANY = ("/jobs/retry", "/jobs/cancel")
"""What is asked for in a view of its own, at the same address."""


@pytest.mark.parametrize("path", MANY)
def test_many_are_retried_or_cancelled_for_whoever_has_the_form_and_by_no_link(
    served: Served, path: str
) -> None:
    login = f"Authorization: Bearer {TOKEN}"
    form_token = form_token_of(served, path)
    form = (login, f"Content-Type: {FORM}")
    sent = b"status=failed&expected=17&as_of=2024-12-04T14:31:53.000000Z&token="
    done = served.ask(f"POST {path}", *form, body=sent + form_token)
    assert (done.status, (done.header("location") or "").partition("=")[0]) == (303, "/jobs?bulk")
    assert served.ask(f"POST {path}", *form, body=sent + b"x").status == 403
    assert served.ask(f"POST {path}", *form, "Origin: null", body=sent + form_token).status == 403
    link = served.ask(f"GET {path}?{(sent + form_token).decode()}", login)
    assert (link.status, link.header("location")) == (200, None)


@pytest.mark.parametrize("path", [path for path in addresses("POST") if path not in MANY])
def test_an_action_is_carried_out_for_whoever_has_the_form(served: Served, path: str) -> None:
    login = f"Authorization: Bearer {TOKEN}"
    place = "/system" if path.startswith(("/queues/", "/classes/")) else path.rpartition("/")[0]
    form_token = form_token_of(served, place)
    form = (login, f"Content-Type: {FORM}")
    done = served.ask(f"POST {path}", *form, body=b"stops=1&token=" + form_token)
    assert (done.status, done.header("location")) == (303, place)
    assert served.ask(f"POST {path}", *form, body=b"token=x").status == 403
    assert served.ask(f"POST {path}", *form, "Origin: null", body=b"token=" + form_token).status == 403
    link = served.ask(f"GET {path}?token={form_token.decode()}", login)
    assert (link.status, link.header("allow")) == (405, "POST")


def test_a_click_that_comes_too_late_is_told_what_has_happened_and_where_to_look(tmp_path: Path) -> None:
    def tells(line: Line, asked: Asked) -> bool:
        if asked.method.endswith(".Retry"):
            line.refuse("InvalidState", id=1, status="running")
        if asked.method.endswith(".Pause"):
            line.refuse("PermissionDenied", reason="uid 1000 may not manage jobs")
        return asked.method.endswith((".Retry", ".Pause"))

    with page(tmp_path, tells=tells, token=TOKEN, actions=True) as served:
        form = (f"Authorization: Bearer {TOKEN}", f"Content-Type: {FORM}")
        body = b"token=" + form_token_of(served, "/jobs/1")
        late = served.ask("POST /jobs/1/retry", *form, body=body)
        assert late.status == 409
        assert b"That cannot be done any more" in late.body
        assert b"job 1 is running" in late.body
        assert b'href="/jobs/1"' in late.body
        denied = served.ask("POST /queues/default/pause", *form, body=body)
        assert denied.status == 403
        assert b"refused: uid 1000 may not manage jobs" in denied.body
        assert b'href="/system">Back' in denied.body


def test_an_action_is_told_on_the_console_with_the_address_that_it_came_from(
    served: Served, said: Callable[[], str]
) -> None:
    login = f"Authorization: Bearer {TOKEN}"
    form_token = form_token_of(served, "/jobs/1")
    form = (login, f"Content-Type: {FORM}", "X-Forwarded-For: 203.0.113.9")
    assert served.ask("POST /jobs/1/retry", *form, body=b"token=x").status == 403
    assert served.ask("POST /jobs/1/retry", *form, body=b"token=" + form_token).status == 303
    assert served.ask("POST /queues/default/pause", *form, body=b"token=" + form_token).status == 303
    assert served.ask("POST /classes/shop.jobs.Gr%C3%B6%C3%9Fe/hold", *form, body=b"token=x").status == 403
    for action in ("hold", "resume"):
        asked = f"POST /classes/shop.jobs.Gr%C3%B6%C3%9Fe/{action}"
        assert served.ask(asked, *form, body=b"token=" + form_token).status == 303
    assert said() == "".join(
        f"bgjobd-web: {what} by 127.0.0.1\n"
        for what in (
            "retry of job 1",
            "pause of queue default",
            "hold of class shop.jobs.Größe",
            "resume of class shop.jobs.Größe",
        )
    )


def form_token_of(served: Served, place: str) -> bytes:
    """What the forms of a view have."""
    shown = served.ask(f"GET {place}", f"Authorization: Bearer {TOKEN}").body
    [form_token] = set(re.findall(rb'name="token" value="([0-9a-f]{64})"', shown))
    return bytes(form_token)


def test_every_refusal_says_what_browsers_must_not_do(served: Served) -> None:
    asked = [
        ("GET /", "Host: evil"),
        ("GET /", "Host: @"),
        ("GET /",),
        ("GET /", f"Accept: {BROWSER}"),
        ("POST /jobs/1/retry",),
    ]
    for line, *headers in asked:
        answer = served.ask(line, *headers)
        assert answer.status in (303, 400, 401, 421)
        assert all(answer.header(name.lower()) == value for name, value in SECURITY.items())


def test_a_plain_refusal_quotes_nothing() -> None:
    for asked in (request(host="<b>evil"), request(host="evil<b>:1"), request(authorization="<b>")):
        refusal = guard().refusal(asked)
        assert refusal is not None
        assert b"<b>" not in refusal.body
    assert plain("x").headers["Content-Type"].startswith("text/plain")
