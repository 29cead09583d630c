"""Markup in whatever a job, a caller or an address says: it stays text on every page, and no number is too large."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from bgjob import chain
from bgjob import group as members_of
from bgjob import job as draft
from bgjobd.web.views import routes
from tests.page.serving import SAMPLES, Answer
from tests.page.test_guard import FORM, addresses
from tests.page.test_render import HOSTILE, OnePage, Read, addresses_of, is_text, only_page
from tests.security.paged import Target, target

__all__ = ["addresses_of", "only_page"]  # fixtures

TEXT = (
    HOSTILE.replace("\0", "")
    + '"><img src=x onerror=alert(1)> javascript:alert(2) ${1237*8081} <%= 1237*8081 %>'
)
"""NUL is refused where it comes in, see C7."""

MODULE = '''
import bgjob, sys


class Hostile:
    """Says what it is told in every place that a job has for words."""

    def succeed(self, context: bgjob.JobContext, **given):
        self._say(context, given)
        return given

    def fail(self, context: bgjob.JobContext, **given):
        self._say(context, given)
        [text] = given
        kind = type(text, (Exception,), {"__module__": text, "__qualname__": text})
        exec(compile("raise kind(text)", text, "exec"), {"kind": kind, "text": text})

    def _say(self, context, given):
        [text] = given
        print(text)
        print(text, file=sys.stderr)
        context.progress(0.5, text)
        context.logger.info(text)
        context.logger.error(text)
'''
VIEWS = [path for path in addresses("GET") if path != "/events"]
PARAMETERS = ("q", "status", "per", "page", "upto", "newer_than", "next", "token", "days", "poll", "id", TEXT)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """With a job that has succeeded and two that have failed, all of which say nothing else than TEXT, and 150 more.

    One of them comes after a group that is called so.
    """
    approved = '"hostile.Hostile" = { max_retries = 0 }'
    with target(tmp_path_factory.mktemp("page"), approved, {"hostile": MODULE}) as attacked:
        for method in ("succeed", "fail"):
            job = attacked.client.run_background_job(
                "hostile.Hostile", method, {TEXT: {TEXT: [TEXT]}}, idempotency_key=f"{TEXT[:150]}{method}"
            )
            job.wait(20)
        members = members_of(draft("probes.Probe", "echo"), name=TEXT[-255:])
        chain(members, draft("hostile.Hostile", "fail", {TEXT: TEXT})).submit(attacked.client).jobs[-1].wait(
            20
        )
        later = {"class_name": "probes.Probe", "method_name": "echo", "options": {"delay": 3600}}
        attacked.client.submit_many([later] * 150)
        yield attacked


def is_harmless(answer: Answer) -> bool:
    """Whether a browser that shows it makes nothing of what was said."""
    kind = (answer.header("content-type") or "").partition(";")[0]
    if kind == "text/html":
        return is_text(Read(answer.body.decode()))
    if kind == "application/json":
        json.loads(answer.body)
    elif b"<" in answer.body:
        return False
    return answer.header("x-content-type-options") == "nosniff"


def test_sidekiq_and_others_made_markup_of_what_jobs_say_and_no_page_here_does(attacked: Target) -> None:
    """OSVDB-125675, -125676 and -125678, CVE-2021-30151, CVE-2022-23837, CVE-2023-1892, CVE-2023-26141, CVE-2024-32887
    (Sidekiq), CVE-2023-50724, -50725 and -50727 (Resque), CVE-2022-44303 (resque-scheduler), CVE-2017-12097
    (delayed_job_web), CVE-2023-46950 and CVE-2024-25122 (unique-jobs), CVE-2025-67202 (sidekiq-cron).
    """
    jobs = attacked.client.list(limit=500).items
    succeeded, failed = (
        next(job["id"] for job in jobs if job["method_name"] == name) for name in ("succeed", "fail")
    )
    assert attacked.client.get(succeeded).snapshot["status"] == "completed"
    assert attacked.client.get(failed).snapshot["status"] == "failed"
    shown = ""
    for path in (
        "/?per=100",
        "/jobs?per=100&status=failed",
        f"/jobs/{succeeded}",
        f"/jobs/{failed}",
        f"/jobs/{failed}/graph",
        "/errors",
        "/errors/1",
        "/now",
        "/classes",
        "/groups",
        "/groups/1",
        "/system",
    ):
        page = Read(attacked.ask(f"GET {path}").body.decode())
        assert is_text(page), path
        shown += page.text
        assert is_harmless(attacked.ask(f"GET {path}", "Accept: application/json"))
    assert is_harmless(attacked.ask("GET /metrics"))
    # They were there: a search of nothing finds nothing.
    assert shown.count("<img src=x onerror=alert(1)>") > 10
    assert str(1237 * 8081) not in shown  # nor was any of it a template


def dicts(value: Any) -> Iterator[dict[str, Any]]:
    """Each of them, from the outside in."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        yield from dicts(inner)


def test_names_in_what_the_daemon_tells_stay_text(
    only_page: OnePage, addresses_of: dict[str, list[str]]
) -> None:
    """Keys of parameters, of results, of limits: tests/page/test_render.py has the values."""
    for name, sample in SAMPLES.items():
        for number in range(len([*dicts(sample)])):
            only_page.reset()
            if name in ("why", "running"):
                only_page.samples["job"]["status"] = "pending" if name == "why" else "running"
            [*dicts(only_page.samples[name])][number][HOSTILE] = HOSTILE
            for path in addresses_of[name]:
                assert is_text(only_page.read(path)), (name, number, path)


@pytest.mark.parametrize("name", PARAMETERS, ids=lambda name: name if len(name) < 20 else "a name")
def test_no_parameter_of_a_query_becomes_markup_on_any_route(attacked: Target, name: str) -> None:
    """CVE-2022-23837, CVE-2023-1892 (Sidekiq), CVE-2023-46950 (unique-jobs): filters and the number of days."""
    query = urlencode({name: f"nowhere {TEXT}\0"})
    for path in (*VIEWS, "/nowhere"):
        for accept in ("text/html", "application/json"):
            answer = attacked.ask(f"GET {path}?{query}", f"Accept: {accept}")
            assert answer.status < 500, path
            assert is_harmless(answer), path
    for value in (TEXT, "/jobs?\"'><xss/onxss=1>"):  # the latter is a place that a login leads on to
        login = attacked.ask(f"GET /login?{urlencode({name: value})}", is_known=False)
        assert login.status in (200, 403)
        assert is_harmless(login)


def made_hostile(pattern: str) -> Iterator[str]:
    """Addresses of the route with one part after the other hostile."""
    samples = {r"([1-9][0-9]{0,17})": "1", r"([A-Za-z][A-Za-z0-9_.-]{0,63})": "default"}
    samples |= {r"([0-9a-f]{16})": "0" * 16, r"([A-Za-z0-9._-]{1,64})": "page.js"}
    parts = [part for part in samples if part in pattern]
    for evil in parts:
        address = pattern
        for part in parts:
            address = address.replace(part, "\0" if part == evil else samples[part])
        for text in (
            TEXT,
            f"{samples[evil]}{TEXT}",
            f"{TEXT}/{samples[evil]}",
            "..",
            "../..",
            f"{samples[evil]}\n",
        ):
            yield address.replace("\0", quote(text, safe=""))


def test_no_part_of_a_path_becomes_markup_or_leads_anywhere_on_any_route(attacked: Target) -> None:
    """CVE-2023-50724 (Resque), CVE-2017-12097 (delayed_job_web): the name of a queue in the path."""
    body = b"token=" + attacked.form_token
    tried = 0
    for verb, pattern in routes():
        for path in made_hostile(pattern):
            form = (f"Content-Type: {FORM}",) if verb == "POST" else ()
            answer = attacked.ask(f"{verb} {path}", *form, body=body if form else b"")
            assert answer.status == 404, path
            assert is_harmless(answer)
            assert b"xss" not in answer.body or verb == "POST"  # whose way back is its own path
            tried += 1
    assert tried > 40


NUMBERS = [str(10**30), str(-(10**30)), "-1", "0", "NaN", "inf", "-inf", "1e9", "9.9", "\u0663", "\u00b2", "\uff11",
           "\u0967", "0x10", "1_0", " 7", "+7", "", str(2**31), str(2**53), str(2**63 - 1), str(2**63), str(2**64),
           "9" * 4000,
           "1;2", "None", "[]", "1/0"]  # fmt: skip


@pytest.mark.parametrize(
    "number", NUMBERS, ids=lambda number: number[:12] if number.isascii() else ascii(number)
)
def test_a_number_that_is_too_large_or_none_asks_for_no_more_than_a_page(
    attacked: Target, number: str
) -> None:
    """CVE-2023-26141 (Sidekiq): polling as often as the browser was told; CVE-2022-23837: days without end."""
    for path in ("/", "/jobs"):
        for name in ("per", "page", "upto", "newer_than"):
            query = urlencode({name: number} | ({"upto": "100"} if name == "page" else {"page": "2"}))
            answer = attacked.ask(f"GET {path}?{query}")
            assert answer.status == 200, query
            assert answer.body.count(b"<tr id=") <= 100
            assert len(answer.body) < 100_000
    for path in (f"/jobs/{quote(number)}", f"/jobs/{quote(number)}/x", f"/static/{quote(number)}/page.js"):
        assert attacked.ask(f"GET {path}").status == 404


def test_a_page_has_at_most_a_hundred_rows_and_that_many_if_asked(attacked: Target) -> None:
    for path in ("/", "/jobs"):
        for per, rows in (("100", 100), ("101", 10), ("99", 99)):
            assert attacked.ask(f"GET {path}?per={per}").body.count(b"<tr id=") == rows
