"""The system's Chromium on a real daemon's page: how tests find it, log in, and fill the log; no test is here."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)

from tests.daemon.running import RunningDaemon
from tests.support import eventually, needed

_NAMES = (
    *("chromium-headless-shell", "chromium"),
    *("chromium-browser", "google-chrome", "google-chrome-stable"),
)
"""The first that is there: the engine is the same, but without the windows that nobody looks at it takes half."""
PATIENCE = 20_000
"""Milliseconds, as long as `eventually` waits: a busy machine takes its time for a look."""

expect.set_options(timeout=PATIENCE)
WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}

MODULE = '''
import sys, time
from pathlib import Path
import bgjob


class Talk:
    """Says what it is told, in every place that a job has for words."""

    def say(self, text, context: bgjob.JobContext):
        context.logger.info(text)

    def say_everywhere(self, text, context: bgjob.JobContext):
        print(text)
        context.progress(0.5, text)
        context.logger.info(text)
        return {text: text}

    def fail(self, text):
        print(text, file=sys.stderr)
        raise ValueError(text)

    def fail_in_library(self):
        import json
        return json.loads("{")

    def speak_until(self, go, context: bgjob.JobContext):
        number = 0
        while not Path(go).exists():
            number += 1
            print(f"line {number}", flush=True)
            context.progress(min(0.9, number / 1000), f"step {number}")
            time.sleep(0.02)
'''
TALK = "talk.Talk"
APPROVED = f'"{TALK}" = {{ max_retries = 0 }}'
SCHEDULE = f"""
[schedules.new-year]
job = "{TALK}::say"
parameters = {{ text = "a new year" }}
cron = "@yearly"
zone = "Europe/Berlin"

[schedules.wrong]
job = "{TALK}::no_such_method"
every = "7d"
"""
"""One that is run by hand, and one that is refused; neither does anything by itself as long as tests last."""

QUEUES = """
[queues.default]
[queues.rated]
rate_per_key = "1/1h"
share = "key"
"""
"""One in which a key's second job waits for as long as tests last."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser. Skips the test where the system has none, and fails it there in CI."""
    found = needed(*_NAMES)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def web_settings() -> str:
    """The lines of [web] for a page at a port of its own, which it keeps when it is started again."""
    return f'bind = "{free_address()}"\nactions = true'


def free_address() -> str:
    """An address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def login_address(console: str) -> str:
    """Where the page says, at its latest start, that a person logs in; empty before it does."""
    return (re.findall(r"the page is at ([^\s\"]+)", console) or [""])[-1]


class Site:
    """The page of one daemon, as browsers see it."""

    def __init__(self, browser: Browser, running: RunningDaemon) -> None:
        self.browser = browser
        self.running = running
        self.client = running.client()
        self.login = eventually(lambda: login_address(running.console()))
        self.root = self.login.partition("/login")[0]

    @contextmanager
    def context(self, is_logged_in: bool = True, **options: Any) -> Iterator[BrowserContext]:
        """A browser's storage of its own: cookies, what is remembered, and the stream that its tabs share."""
        context = self.browser.new_context(**({"viewport": WIDE, "base_url": self.root} | options))
        context.set_default_timeout(PATIENCE)
        try:
            if is_logged_in:
                token = self.login.partition("token=")[2]
                name = f"bgjobd_login_{self.root.rpartition(':')[2]}"
                context.add_cookies([{"name": name, "value": token, "url": self.root}])
            yield context
        finally:
            context.close()

    def page_pid(self) -> int | None:
        """The process that serves the page."""
        for pid in self.running.children():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                if b"bgjobd.web" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        return None

    def say(self, text: str) -> int:
        """Have a job write this message into the log, the fourth of its five, and wait for its end; the job's id."""
        return self._run("say", text)

    def say_everywhere(self, text: str) -> int:
        """Have a job say this as output, progress, message and result; the job's id."""
        return self._run("say_everywhere", text)

    def fail(self, text: str) -> int:
        """Have a job fail with this message; the job's id."""
        return self._run("fail", text)

    def _run(self, method: str, text: str) -> int:
        job = self.client.run_background_job(TALK, method, {"text": text})
        job.wait(20)
        return job.id


@contextmanager
def page_alone(daemon_socket: Path, bind: str, **others: Any) -> Iterator[str]:
    """A page that no daemon has started, at this address, with other settings than usual; where it says it is."""
    settings = {"socket": str(daemon_socket), "bind": bind, **others}
    process = subprocess.Popen(
        [sys.executable, "-m", "bgjobd.web"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stderr is not None
    try:
        process.stdin.write(json.dumps(settings) + "\n")
        process.stdin.flush()
        yield login_address(process.stderr.readline())
    finally:
        process.stdin.close()
        process.wait(10)
        process.stderr.close()


class Watched:
    """What a tab asked for and what its console said, from now on."""

    def __init__(self, page: Page) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.dialogs: list[str] = []
        page.on("request", self._on_request)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", self._on_dialog)

    def _on_request(self, request: Request) -> None:
        self.requests.append(request.url)

    def _on_console(self, said: ConsoleMessage) -> None:
        if said.type in ("error", "warning"):
            self.complaints.append(said.text)

    def _on_dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def asked(self, part: str) -> list[str]:
        """The requests whose address has this part."""
        return [url for url in self.requests if part in url]
