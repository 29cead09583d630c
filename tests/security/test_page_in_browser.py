"""A page of another site in the browser of a person who has logged in: what it can have done, or read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Response

from tests.page.browsing import chromium
from tests.security.paged import Target, target

ATTACK = """
async ([root, token]) => {
    const read = [];
    const told = {credentials: "include"};
    const form = new URLSearchParams({token});
    for (const path of ["/", "/jobs/1", "/system", "/metrics", "/login", "/healthz", "/events"])
        for (const how of [{}, {mode: "no-cors"}, {headers: {Accept: "application/json"}}])
            read.push(await fetch(root + path, {...told, ...how}).then((answer) => answer.text(), () => ""));
    for (const path of ["/jobs/1/retry", "/queues/default/pause"])
        for (const how of [{method: "POST"}, {method: "POST", mode: "no-cors"}, {method: "DELETE"}, {method: "PUT"}])
            read.push(await fetch(root + path, {...told, ...how, body: form}).then((one) => one.text(), () => ""));
    const loaded = [];
    const load = (tag, name, path) => new Promise((done) => {
        const element = document.createElement(tag);
        element.onload = () => done(loaded.push(tag));
        element.onerror = done;
        if (tag === "link") element.rel = "stylesheet";
        element[name] = root + path;
        document.body.append(element);
    });
    for (const [tag, name] of [["img", "src"], ["script", "src"], ["link", "href"], ["embed", "src"]])
        await Promise.race([load(tag, name, "/jobs/1"), new Promise((done) => setTimeout(done, 300))]);
    const frame = document.createElement("iframe");
    document.body.append(frame);
    frame.src = root + "/jobs/1";
    await new Promise((done) => { frame.onload = done; });
    try { read.push(frame.contentDocument.body.textContent); } catch { }
    const stream = new EventSource(root + "/events", {withCredentials: true});
    await new Promise((done) => { stream.onerror = done; stream.onopen = () => done(loaded.push("stream")); });
    stream.close();
    return [read, loaded.filter((tag) => tag !== "embed")];
}
"""
POST = """
([root, token]) => {
    document.body.innerHTML = `<form method="post" action="${root}/queues/default/pause">
        <input name="token" value="${token}"></form>`;
    document.querySelector("form").submit();
}
"""


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("page")) as attacked:
        yield attacked


@pytest.fixture(scope="module")
def victim(attacked: Target) -> Iterator[BrowserContext]:
    """Its browser, which has logged in, and is then brought to the other site."""
    with chromium() as browser:
        context = browser.new_context()
        name, _, value = attacked.login.removeprefix("Cookie: ").partition("=")
        context.add_cookies(
            [{"name": name, "value": value, "url": f"http://{attacked.host}", "sameSite": "Lax"}]
        )
        yield context
        context.close()


class Evil(BaseHTTPRequestHandler):
    """A page of another port of this machine: browsers call that the same site, and send it the same cookies."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>evil</title><body>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def evil() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Evil) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()
        thread.join(20)


def test_scripts_images_frames_and_streams_of_another_port_get_nothing(
    attacked: Target, victim: BrowserContext, evil: str
) -> None:
    """CVE-2018-1000843 (luigi), CVE-2022-30034 (flower), as a browser does it; the form's token is known here."""
    before, root = attacked.standing(), f"http://{attacked.host}"
    page = victim.new_page()
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    page.goto(evil)
    found: Any = page.evaluate(ATTACK, [root, attacked.form_token.decode()])
    assert found == [[""] * len(found[0]), []]
    assert len(found[0]) >= 29
    theirs = [answer for answer in answers if answer.url.startswith(root)]
    assert {answer.status for answer in theirs} <= {403, 405}  # the latter is what a preflight gets
    assert any(attacked.token in answer.request.all_headers().get("cookie", "") for answer in theirs)
    assert attacked.standing() == before


def test_a_form_of_another_port_pauses_nothing(attacked: Target, victim: BrowserContext, evil: str) -> None:
    """CVE-2022-30034 (flower), as a browser does it."""
    before, root = attacked.standing(), f"http://{attacked.host}"
    page = victim.new_page()
    page.goto(evil)
    with page.expect_response(f"{root}/queues/default/pause") as answered:
        page.evaluate(POST, [root, attacked.form_token.decode()])
    assert answered.value.status == 403
    assert attacked.standing() == before
