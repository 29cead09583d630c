"""The page behind Debian's nginx, by the block of the documentation: TLS, its login, a path, buttons and the stream."""

from __future__ import annotations

import re
import ssl
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Response

from tests.page.behind import shown
from tests.page.browsing import chromium, free_address
from tests.page.serving import Answer, Peer, page
from tests.page.test_monitoring import block
from tests.page.test_views_served import Changes
from tests.support import eventually, needed

NAME = "ops.example.org"
WHO = {"username": "ada", "password": "lovelace"}
PROMETHEUS = {"username": "prometheus", "password": "bound"}
FORM = "Content-Type: application/x-www-form-urlencoded"


def basic(who: dict[str, str]) -> str:
    return f"Authorization: Basic {b64encode(':'.join(who.values()).encode()).decode()}"


LOGIN = basic(WHO)

AROUND = """
daemon off;
master_process off;
pid {directory}/pid;
error_log {directory}/errors;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxied;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{server}
}}
"""


def config(directory: Path, listen: str) -> str:
    """nginx's, with the server that the page shows, which has its files in this directory."""
    (server,) = shown("nginx").values()
    assert server.count('proxy_set_header Authorization "";') == server.count("proxy_pass"), (
        "no login goes on"
    )
    moved = {
        "listen 443 ssl;": f"listen {listen} ssl;",
        "/etc/nginx/": f"{directory}/",
        "unix:/run/bgjobd-web.sock": f"unix:{directory}/p.sock",
    }
    for there, here in moved.items():
        assert there in server
        server = server.replace(there, here)
    return AROUND.format(directory=directory, server=server)


@contextmanager
def nginx(directory: Path, listen: str) -> Iterator[subprocess.Popen[bytes]]:
    """As any user may run it."""
    program, openssl = needed("nginx"), needed("openssl")
    certificate = ("-keyout", f"{directory}/ops.key", "-out", f"{directory}/ops.crt", "-subj", f"/CN={NAME}")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    names = ("-addext", f"subjectAltName=DNS:{NAME}", "-days", "2")
    subprocess.run([openssl, "req", "-x509", *key, *certificate, *names], check=True, capture_output=True)
    for file, who in (("ops.htpasswd", WHO), ("metrics.htpasswd", PROMETHEUS)):
        (directory / file).write_text(f"{who['username']}:{{PLAIN}}{who['password']}\n")
    (directory / "nginx.conf").write_text(config(directory, listen))
    at = ("-p", str(directory), "-c", f"{directory}/nginx.conf", "-e", f"{directory}/errors")
    process = subprocess.Popen([program, *at])
    try:
        eventually((directory / "pid").exists)
        yield process
    finally:
        process.terminate()
        process.wait(20)


class Front:
    """nginx as a program knows it that trusts its certificate."""

    def __init__(self, directory: Path) -> None:
        self._path = str(directory / "n.sock")
        self._context = ssl.create_default_context(cafile=directory / "ops.crt")

    def peer(self) -> Peer:
        peer = Peer(self._path)
        peer.socket = self._context.wrap_socket(peer.socket, server_hostname=NAME)
        return peer

    def ask(self, line: str, *headers: str, body: bytes = b"") -> Answer:
        with self.peer() as peer:
            return peer.ask(line, f"Host: {NAME}", *headers, body=body)


@pytest.fixture(scope="module")
def changes() -> Changes:
    return Changes()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, changes: Changes) -> Iterator[Front]:
    directory = tmp_path_factory.mktemp("n")
    told = {"tells": changes.tells, "actions": True, "base_path": "/jobs"}
    with page(directory, f"unix:{directory}/p.sock", **told), nginx(directory, f"unix:{directory}/n.sock"):
        yield Front(directory)


def test_nginx_asks_who_somebody_is_for_each_address(front: Front) -> None:
    for path in ("/jobs/", "/jobs/now", "/jobs/healthz", "/jobs/events"):
        answer = front.ask(f"GET {path}")
        assert (answer.status, answer.header("www-authenticate")) == (401, 'Basic realm="jobs"')


def test_prometheus_has_a_login_for_the_metrics_alone(front: Front) -> None:
    (scrape,) = block("# in the place of the job above, in /etc/prometheus/prometheus.yml")["scrape_configs"]
    metrics, own = f"GET {scrape['metrics_path']}", basic(PROMETHEUS)
    assert scrape["scheme"] == "https"
    assert scrape["basic_auth"]["username"] == PROMETHEUS["username"]
    assert scrape["static_configs"] == [{"targets": [NAME]}]
    answer = front.ask(metrics, own)
    assert (answer.status, b"\nbgjobd_up" in answer.body) == (200, True)
    asked = ((metrics,), (metrics, LOGIN), ("GET /jobs/now", own), (f"{metrics}/", own))
    assert [front.ask(*one).status for one in asked] == [401] * 4
    disguised = front.ask("GET /jobs/schedules/x%2F..%2F..%2Fmetrics", own)
    assert disguised.status == 404, (
        "to nginx it is the address of the metrics, to the page that of no schedule"
    )


def test_a_view_and_its_files_come_through(front: Front) -> None:
    shown = front.ask("GET /jobs/now", LOGIN)
    assert shown.status == 200
    assert (shown.header("server") or "").startswith("nginx")
    (style,) = re.findall(r'href="(/jobs/static/[^"]+/page\.css)"', shown.body.decode())
    kept = front.ask(f"GET {style}", LOGIN)
    assert (kept.status, kept.header("cache-control")) == (200, "public, max-age=31536000, immutable")
    quoted = front.ask("GET /jobs/schedules/put%2Fone", LOGIN)
    assert b"There is no such schedule" in quoted.body, "a slash that is quoted comes as it is"


def test_a_button_works_and_another_sites_does_not(front: Front) -> None:
    shown = front.ask("GET /jobs/jobs/1", LOGIN).body.decode()
    body = b"token=" + re.findall(r'name="token" value="([^"]+)"', shown)[0].encode()
    for origin, status, place in (
        (f"https://{NAME}", 303, "/jobs/jobs/1"),
        ("https://evil.example", 403, None),
        (f"https://{NAME}:8443", 403, None),
    ):
        told = (LOGIN, FORM, f"Origin: {origin}")
        answer = front.ask("POST /jobs/jobs/1/retry", *told, body=body)
        assert (answer.status, answer.header("location")) == (status, place)


def test_what_changes_is_told_at_once(front: Front, changes: Changes) -> None:
    with front.peer() as peer:
        assert peer.ask("GET /jobs/events", f"Host: {NAME}", LOGIN).status == 200
        assert b"retry: 2000" in peer.piece()
        eventually(lambda: changes.followers)
        changes.happen()
        assert b"data: " in peer.piece()


def is_at(path: str) -> Callable[[Response], bool]:
    return lambda answer: urlsplit(answer.url).path == path


@pytest.mark.long
def test_a_browser_is_at_home_below_the_path_and_hears_of_changes(tmp_path: Path, changes: Changes) -> None:
    """Scripts, styles and what the script asks for are all below it, and nothing is asked for in vain."""
    address, answered, troubles = free_address(), list[tuple[int, str]](), list[str]()
    told = {"tells": changes.tells, "actions": True, "base_path": "/jobs"}
    with (
        page(tmp_path, f"unix:{tmp_path}/p.sock", **told),
        nginx(tmp_path, address),
        chromium() as browser,
        browser.new_context(ignore_https_errors=True, http_credentials=WHO) as context,
    ):
        tab = context.new_page()
        tab.on("response", lambda one: answered.append((one.status, urlsplit(one.url).path)))
        tab.on("console", lambda one: troubles.append(one.text) if one.type == "error" else None)
        with tab.expect_response(is_at("/jobs/events")):
            tab.goto(f"https://{address}/jobs/")
        with tab.expect_response(is_at("/jobs/events")):
            tab.get_by_role("navigation", name="Views").get_by_role("link", name="Jobs").click()
        tab.wait_for_url("**/jobs/jobs")
        with tab.expect_response(is_at("/jobs/jobs")):
            changes.happen()
        tab.goto(f"https://{address}/jobs/jobs/1")
        tab.get_by_role("button", name="Retry").first.click()
        tab.wait_for_url("**/jobs/jobs/1")
    assert troubles == []
    assert {path for _, path in answered if not path.startswith("/jobs/")} == set()
    assert {status for status, _ in answered} <= {200, 303, 304, 401}
