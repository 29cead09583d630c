"""The page in a browser: what a person sees, types and presses, on a real daemon."""

from __future__ import annotations

import base64
import copy
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from bgjob import Submitted, chain
from bgjob import group as members_of
from bgjob import job as draft
from bgjob.codec import Request as Asked
from bgjob.text import lines, to_json, without_terminal
from bgjobd.host.clock import to_text
from tests.client.scripted import Line
from tests.daemon.running import RunningDaemon, daemon
from tests.page.browsing import (
    APPROVED,
    MODULE,
    PATIENCE,
    PHONE,
    QUEUES,
    SCHEDULE,
    TALK,
    Site,
    Watched,
    chromium,
    free_address,
    page_alone,
    web_settings,
)
from tests.page.serving import SAMPLES, tell_samples
from tests.page.serving import page as served_page
from tests.page.test_graph import edge, group, job
from tests.support import eventually

RECOVERS = 15_000
"""Milliseconds in which the page is there again after a daemon."""

HOSTILE = [
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(2)</script>",
    "</pre></td></table><svg onload=alert(3)>",
    "javascript:alert(4)",
    "{{7*7}} {% raw %} ${7*7}",
    "safe \u202egnp.exe \u2066 \u200f end",
    "&lt;b&gt; &#x3c;i>",
    "]]><!-- --!> \x1b[31mred",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(
        tmp_path_factory.mktemp("page"),
        APPROVED + SCHEDULE + QUEUES,
        modules={"talk": MODULE},
        web=web_settings(),
    ) as running:
        yield running


@pytest.fixture(scope="module")
def site(browser: Browser, running: RunningDaemon) -> Site:
    """With some pages of log, and a failed job."""
    site = Site(browser, running)
    for number in range(9):
        site.say(f"early word {number}")
    site.fail("an early failure")
    return site


@pytest.fixture
def context(site: Site) -> Iterator[BrowserContext]:
    with site.context() as context:
        yield context


@pytest.fixture(scope="module")
def tab(site: Site) -> Iterator[Page]:
    with site.context() as context:
        yield context.new_page()


@pytest.fixture
def page(tab: Page) -> Iterator[Page]:
    """A tab that shows and remembers nothing yet. It is everybody's in turn: a new one takes longer than most tests."""
    yield tab
    tab.unroute_all()
    tab.goto("/healthz")  # of the same site, which is cheaper than an empty one: no other process is begun
    tab.evaluate("localStorage.clear()")


@pytest.fixture
def own_page(context: BrowserContext) -> Page:
    """For who changes what outlasts a document: the clock, the network."""
    return context.new_page()


def rows(page: Page) -> Locator:
    return page.locator("tbody tr")


def newest_row(page: Page) -> Locator:
    return rows(page).first


def opened(page: Page, address: str) -> Page:
    """The tab, once it shows this address and follows."""
    page.goto(address)
    expect(page.locator("#live")).to_contain_text(re.compile("Live|Paused"))
    return page


def is_unmoved(page: Page, word: str = "unmoved") -> bool:
    """Whether this is the document that was marked, not one loaded since."""
    return bool(page.evaluate(f"window.marked === {word!r}"))


def mark(page: Page, word: str = "unmoved") -> None:
    page.evaluate(f"window.marked = {word!r}")


# Searching and paging


def test_typing_sends_one_request_300_ms_after_the_last_key(own_page: Page) -> None:
    page = own_page
    page.clock.install()
    opened(page, "/")
    page.keyboard.press("p")  # else a change, of which there may be one, asks for the same again
    page.clock.pause_at(time.time() + 3600)
    watched = Watched(page)
    page.get_by_role("searchbox").press_sequentially("early word")
    page.clock.run_for(290)
    page.get_by_role("searchbox").press("Space")
    page.get_by_role("searchbox").press("3")
    page.clock.run_for(299)
    assert watched.asked("q=") == []
    page.clock.run_for(1)
    expect(rows(page)).to_have_count(1)
    page.clock.run_for(2000)
    assert len(watched.asked("q=")) == 1


def test_the_address_follows_a_search_and_the_back_button_restores_the_one_before(page: Page) -> None:
    opened(page, "/")
    mark(page)
    box = page.get_by_role("searchbox")
    box.fill("EARLY WORD 3")
    expect(page).to_have_url(re.compile(r"/\?q=EARLY\+WORD\+3$"))
    expect(rows(page)).to_have_count(1)
    box.fill("early word 4")
    expect(page).to_have_url(re.compile(r"q=early\+word\+4$"))
    expect(newest_row(page)).to_contain_text("early word 4")
    page.go_back()
    expect(box).to_have_value("EARLY WORD 3")
    expect(newest_row(page)).to_contain_text("early word 3")
    page.go_back()
    expect(box).to_have_value("")
    expect(rows(page)).to_have_count(10)
    assert is_unmoved(page)


def test_what_is_typed_stays_when_rows_arrive_meanwhile(site: Site, page: Page) -> None:
    opened(page, "/")
    box = page.get_by_role("searchbox")
    box.fill("arrives ")
    expect(page).to_have_url(re.compile("q=arrives"))
    site.say("arrives meanwhile")
    expect(newest_row(page)).to_contain_text("arrives meanwhile")
    expect(box).to_have_value("arrives ")
    expect(box).to_be_focused()


def test_a_filter_stays_with_a_search_and_with_paging(page: Page) -> None:
    opened(page, "/")
    page.locator(".filters").get_by_role("link", name="Failure").click()
    expect(page).to_have_url(re.compile(r"status=failure"))
    expect(rows(page).first).to_be_visible()
    assert set(page.locator("tbody .badge").all_inner_texts()) == {"Failure"}
    page.get_by_role("searchbox").fill("no such message at all")
    expect(page.locator(".empty")).to_contain_text("No messages match “no such message at all”")
    expect(page).to_have_url(re.compile(r"q=no.*status=failure"))
    page.get_by_role("link", name="Show all").click()
    expect(rows(page)).to_have_count(10)


def test_a_form_that_narrows_down_stays_as_it_is_filled_in_while_rows_arrive(site: Site, page: Page) -> None:
    opened(page, "/jobs")
    page.get_by_text("Narrow down").click()
    page.get_by_label("Class").fill(TALK)
    page.get_by_label("Took longer than").fill("0.001s")
    job_id = site.say("a word that comes meanwhile")
    expect(newest_row(page)).to_contain_text(f"#{job_id}")
    expect(page.get_by_label("Class")).to_have_value(TALK)
    page.get_by_role("button", name="Show").click()
    expect(page).to_have_url(re.compile(rf"/jobs\?class={TALK}&longer=0\.001s$"))
    expect(page.locator("details.narrowing form")).to_be_hidden()
    page.locator("a.held", has_text="Class").click()
    expect(page).to_have_url(re.compile(r"/jobs\?longer=0\.001s$"))


def test_older_and_newer_lead_through_the_pages_and_back(page: Page) -> None:
    opened(page, "/")
    seen = [page.locator("tbody tr").evaluate_all("rows => rows.map(row => row.id)")]
    for number in (2, 3):
        page.get_by_role("link", name="Older →").click()
        expect(page.locator(".pages")).to_contain_text(f"Page {number}")
        seen.append(page.locator("tbody tr").evaluate_all("rows => rows.map(row => row.id)"))
    together = [int(row[1:]) for page_of_rows in seen for row in page_of_rows]
    assert together == sorted(set(together), reverse=True)
    page.get_by_role("link", name="← Newer").click()
    expect(page.locator(".pages")).to_contain_text("Page 2")
    assert page.locator("tbody tr").evaluate_all("rows => rows.map(row => row.id)") == seen[1]
    page.get_by_role("link", name="Newest").click()
    expect(page.locator(".pages")).to_contain_text("Page 1")


@pytest.mark.long
def test_a_number_per_page_shows_that_many_and_leaves_the_default_out_of_the_address(page: Page) -> None:
    opened(page, "/")
    page.get_by_label("Per page").select_option("25")
    expect(rows(page)).to_have_count(25)
    expect(page).to_have_url(re.compile(r"/\?per=25$"))
    page.get_by_label("Per page").select_option("10")
    expect(rows(page)).to_have_count(10)
    expect(page).to_have_url(re.compile(r"/$"))


# Live


def test_rows_arrive_on_the_first_page_without_a_reload(site: Site, page: Page) -> None:
    opened(page, "/")
    mark(page)
    site.say("arrives live")
    expect(page.locator(".message", has_text="arrives live")).to_be_visible()
    expect(page.locator("#bar")).to_be_hidden()
    assert is_unmoved(page)


def test_a_change_shows_soon_after_its_commit(site: Site, page: Page) -> None:
    opened(page, "/?q=soon+there")
    took = []
    for number in range(3):
        text = f"soon there {number}"
        job = site.client.run_background_job(TALK, "say", {"text": text})
        page.locator(".message", has_text=text).wait_for()
        shown_at = time.time()
        told = site.client.logs(id=job.id, search=text).items[0]["created_at"]
        took.append(shown_at - page.evaluate("told => Date.parse(told)", told) / 1000)
    print("seconds from commit to screen:", " ".join(f"{seconds:.2f}" for seconds in took))
    assert min(took) <= 1.0  # a busy machine may take its time for one of them


def test_what_changes_shows_over_a_slow_network_while_more_changes(
    site: Site, own_page: Page, tmp_path: Path
) -> None:
    page = own_page
    job = site.client.run_background_job(TALK, "speak_until", {"go": str(tmp_path / "go")})
    opened(page, "/?q=over+a+slow+network")
    network = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 800, "downloadThroughput": -1, "uploadThroughput": -1}
    network.send("Network.emulateNetworkConditions", slow)
    watched = Watched(page)
    site.say("over a slow network")  # while the other job changes the log all the time
    expect(page.locator(".message", has_text="over a slow network")).to_be_visible()
    assert len(watched.asked("q=over")) < 12, "looks are begun before others have ended"
    (tmp_path / "go").touch()
    job.wait(20)


@pytest.mark.parametrize("how", ["selection", "scrolling"])
def test_rows_do_not_move_under_a_reader_who_is_told_how_many_are_newer(
    site: Site, page: Page, how: str
) -> None:
    opened(page, "/?per=50")
    before = rows(page).evaluate_all("rows => rows.map(row => row.id)")
    if how == "selection":
        page.locator("tbody .message").nth(3).select_text()
    else:
        page.mouse.wheel(0, 300)
        page.wait_for_function("() => scrollY > 200")
    place = page.locator("tbody tr").nth(9).bounding_box()
    site.say(f"newer than a reader's {how}")
    expect(page.locator("#bar")).to_have_text(re.compile(r"^\d+ newer – go to the newest$"))
    expect(page.locator("#said")).to_have_text(re.compile(r"^\d+ newer$"))
    expect(page.locator("#bar")).to_be_in_viewport()
    assert rows(page).evaluate_all("rows => rows.map(row => row.id)") == before
    assert page.locator("tbody tr").nth(9).bounding_box() == place
    page.evaluate("getSelection().removeAllRanges(); scrollTo(0, 0)")
    expect(page.locator(".message", has_text=f"newer than a reader's {how}")).to_be_visible()
    expect(page.locator("#bar")).to_be_hidden()


def test_page_3_stays_still_and_counts(site: Site, page: Page) -> None:
    opened(page, "/")
    for number in (2, 3):
        page.get_by_role("link", name="Older →").click()
        expect(page.locator(".pages")).to_contain_text(f"Page {number}")
    before = page.locator("table").inner_html()
    ids = rows(page).evaluate_all("rows => rows.map(row => row.id)")
    site.say("while page 3 is read")
    expect(page.locator("#bar")).to_have_text("5 newer – go to the newest")
    assert rows(page).evaluate_all("rows => rows.map(row => row.id)") == ids
    assert re.sub("<time.*?</time>", "", page.locator("table").inner_html()) == re.sub(
        "<time.*?</time>", "", before
    )
    page.locator("#bar").click()
    expect(page.locator(".message", has_text="while page 3 is read")).to_be_visible()


def test_newer_jobs_are_counted_by_jobs_and_not_by_entries_of_the_log(site: Site, page: Page) -> None:
    opened(page, "/")
    opened(page, "/jobs?per=5")
    page.get_by_role("link", name="Older →").click()
    expect(page.locator(".pages")).to_contain_text("Page 2")
    site.say("one more job")
    expect(page.locator("#bar")).to_have_text("1 newer – go to the newest")


def test_a_pause_by_button_holds_the_rows_after_a_reload_and_in_other_tabs(
    site: Site, context: BrowserContext
) -> None:
    first, second = opened(context.new_page(), "/"), opened(context.new_page(), "/")
    first.get_by_role("button", name="Live").click()
    for tab in (first, second):
        expect(tab.locator("#live")).to_have_text("Paused")
    first.reload()
    expect(first.locator("#live")).to_have_text("Paused")
    third = opened(context.new_page(), "/?q=said+while+nobody")
    site.say("said while nobody looks")
    expect(third.locator(".empty")).to_be_visible()
    third.get_by_role("button", name="Paused").click()
    for tab in (first, second, third):
        expect(tab.locator("#live")).to_have_text("Live")
        expect(tab.locator(".message", has_text="said while nobody looks")).to_be_visible()


@pytest.mark.long
def test_nine_tabs_are_all_live_on_one_stream(site: Site, context: BrowserContext) -> None:
    tabs = [context.new_page() for _ in range(9)]
    watched = [Watched(tab) for tab in tabs]
    for tab in tabs:
        opened(tab, "/?q=for+nine+tabs")
    site.say("for nine tabs")
    for tab in tabs:
        expect(tab.locator(".message", has_text="for nine tabs")).to_be_visible()
    assert sum(len(each.asked("/events")) for each in watched) == 1
    tabs[0].close()
    eventually(lambda: tabs[1].evaluate("1") and sum(len(each.asked("/events")) for each in watched) == 2)
    site.say("for nine tabs, without the first")
    expect(tabs[8].locator(".message", has_text="without the first")).to_be_visible()


def test_a_stream_that_was_refused_is_asked_for_again(site: Site, page: Page) -> None:
    page.route("**/events", lambda route: route.fulfill(status=503), times=1)
    watched = Watched(page)
    opened(page, "/?q=on+the+second+stream")
    eventually(lambda: page.evaluate("1") and len(watched.asked("/events")) >= 2)
    site.say("on the second stream")
    expect(page.locator(".message", has_text="on the second stream")).to_be_visible()


# One job


def test_the_page_of_a_job_follows_its_output_and_its_progress(
    site: Site, page: Page, tmp_path: Path
) -> None:
    job = site.client.run_background_job(TALK, "speak_until", {"go": str(tmp_path / "go")})
    opened(page, f"/jobs/{job.id}")
    expect(page.locator(".output")).to_contain_text("line 60\n")
    expect(page.locator(".attempt progress")).to_be_visible()
    assert page.locator(".output").evaluate("box => box.scrollTop + box.clientHeight >= box.scrollHeight - 8")
    page.get_by_role("button", name="Pause", exact=True).click()
    held = page.locator(".output").inner_text()
    progress = page.locator(".attempt").inner_text()
    expect(page.locator(".attempt")).not_to_have_text(progress)
    assert page.locator(".output").inner_text() == held
    page.locator("#hold").click()
    expect(page.locator(".output")).not_to_have_text(held)
    page.locator(".output").evaluate("box => box.scrollTop = 0")
    (tmp_path / "go").touch()
    expect(page.locator("h1")).to_contain_text("Completed")
    assert page.locator(".output").evaluate("box => box.scrollTop") == 0


def test_a_traceback_stays_as_the_reader_left_it(site: Site, page: Page) -> None:
    job_id = site.fail("look at the frames")
    opened(page, f"/jobs/{job_id}")
    details = page.locator("details")
    expect(details).to_have_attribute("open", "")
    details.locator("summary").click()
    expect(details.locator("pre")).to_be_hidden()
    looked = Watched(page)
    page.keyboard.press("p")
    page.keyboard.press("p")  # who goes on looks again
    eventually(lambda: page.evaluate("1") and looked.asked(f"/jobs/{job_id}"))
    page.wait_for_load_state("networkidle")
    expect(details.locator("pre")).to_be_hidden()


def test_a_traceback_shows_own_code_first_and_all_of_it_on_request(site: Site, page: Page) -> None:
    job = site.client.run_background_job(TALK, "fail_in_library")
    job.wait(20)
    opened(page, f"/jobs/{job.id}")
    expect(page.locator("details pre").first).to_contain_text("talk.py")
    expect(page.locator("details pre").first).not_to_contain_text("decoder.py")
    expect(page.locator("details pre").first).to_contain_text("JSONDecodeError")
    page.get_by_text("Traceback, full").click()
    expect(page.locator("details pre").last).to_contain_text("decoder.py")
    expect(page.locator("details pre").first).to_be_hidden()


def test_the_page_of_a_job_looks_again_only_where_that_job_has_changed(site: Site, page: Page) -> None:
    job_id = site.fail("nobody else")
    opened(page, f"/jobs/{job_id}")
    expect(page.locator("#live")).to_have_text("Live")
    page.wait_for_load_state("networkidle")
    looked = Watched(page)
    with closing(
        page.context.new_page()
    ) as others:  # of all that a browser shows one follows, and tells the others
        opened(others, "/jobs")
        for _ in range(3):
            others.locator(f'a[href="/jobs/{site.say("something else")}"]').first.wait_for()
    # That the stream has begun is news of anything, and may come late.
    assert len(looked.asked(f"/jobs/{job_id}")) <= 1
    site.client.retry(job_id)
    expect(page.locator("h2", has_text="Attempt 2")).to_be_visible()


def test_two_attempts_are_chosen_and_compared_and_one_of_them_is_looked_at(site: Site, page: Page) -> None:
    job_id = site.fail("twice")
    site.client.retry(job_id)
    site.client.wait(job_id, timeout=20)
    opened(page, f"/jobs/{job_id}?attempt=1")
    expect(page.locator("#attempt h2")).to_contain_text("Attempt 1")
    expect(page.locator(".track")).to_contain_text("Attempt 2")
    page.get_by_role("button", name="Compare two").click()
    expect(page.locator("h1")).to_have_text(f"Compare {job_id}.1 and {job_id}.2")
    # So that its words stand no further apart than words.
    expect(page.locator("h1")).to_have_css("display", "block")
    page.get_by_role("link", name=f"{job_id}.1").click()
    expect(page.locator("#attempt h2")).to_contain_text("Attempt 1")
    with page.expect_download() as download:
        page.get_by_role("link", name="All of it, as a file").click()
    assert Path(download.value.path()).read_text() == "twice\n"


def test_a_line_that_is_written_over_takes_the_place_of_what_stood_there(
    browser: Browser, tmp_path: Path
) -> None:
    telling = Telling()
    telling.samples["job"] |= {"status": "running", "finished_at": None}
    telling.samples["job"]["attempts"][0] |= {"outcome": None, "finished_at": None}
    telling.output = "begin\n10%"
    with scripted(browser, tmp_path, telling) as page:
        opened(page, "/jobs/1")
        expect(page.locator("#output")).to_have_text("begin\n10%", use_inner_text=True)
        telling.output += "\r\x1b[32m20%"
        expect(page.locator("#output")).to_have_text("begin\n20%", use_inner_text=True)
        telling.output += "\r30%\r\nend"
        expect(page.locator("#output")).to_have_text("begin\n30%\nend", use_inner_text=True)


def test_parameters_are_copied_by_a_button(site: Site, context: BrowserContext) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = opened(context.new_page(), f"/jobs/{site.say('copy me')}")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == '{\n  "text": "copy me"\n}'


def test_buttons_retry_a_failed_job_and_cancel_one_that_waits(site: Site, page: Page) -> None:
    failed = site.fail("once more")
    opened(page, f"/jobs/{failed}")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("h2", has_text="Attempt 2")).to_be_visible()
    waiting = site.client.run_background_job(TALK, "say", {"text": "never"}, delay=3600)
    opened(page, f"/jobs/{waiting.id}")
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("h1")).to_contain_text("Cancelled")


def test_who_would_cancel_a_job_that_runs_is_asked_first_also_where_it_has_just_begun(
    site: Site, page: Page, tmp_path: Path
) -> None:
    site.client.pause("default")
    job = site.client.run_background_job(TALK, "speak_until", {"go": str(tmp_path / "go")})
    opened(page, f"/jobs/{job.id}")
    page.keyboard.press("p")  # the button stays that of a job that waits
    site.client.resume("default")
    eventually(lambda: job.refresh()["status"] == "running")
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.locator(".asked")).to_contain_text(re.compile("Attempt 1 began .* and runs"))
    page.keyboard.press("p")
    page.get_by_role("link", name="No, go back").click()
    page.get_by_role("button", name="Cancel…").click()
    assert job.refresh()["cancel_requested_at"] is None
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.locator(".timeline")).to_contain_text("Cancel requested")
    (tmp_path / "go").touch()
    job.wait(20)


def test_a_queue_is_paused_and_resumed_by_a_button(page: Page) -> None:
    opened(page, "/system")
    row = page.locator(".queues").get_by_role("row", name="default")
    row.get_by_role("button", name="Pause", exact=True).click()
    expect(row.get_by_role("cell", name="Paused")).to_be_visible()
    row.get_by_role("button", name="Resume").click()
    expect(row.get_by_role("cell", name="Open")).to_be_visible()


def test_a_schedule_is_run_paused_and_resumed_by_buttons_of_the_list_and_of_its_own(
    site: Site, page: Page
) -> None:
    opened(page, "/schedules?q=new")
    row = page.locator("#s-new-year")
    row.get_by_role("button", name="Pause").click()
    expect(row).to_contain_text("Paused")
    expect(page).to_have_url(re.compile(r"/schedules\?q=new$"))
    row.get_by_role("link", name="new-year").click()
    expect(page.locator("h1")).to_have_text("new-year Paused")
    mark(page)
    page.get_by_role("button", name="Run now").click()
    expect(page.locator(".occurrences tbody")).to_contain_text("asked for")
    expect(page.locator(".occurrences tbody")).to_contain_text("Completed")  # without a reload
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("h1")).to_have_text("new-year")
    opened(page, "/jobs?schedule=new-year")
    newest_row(page).get_by_role("link", name="new-year").click()
    expect(page.locator("h1")).to_have_text("new-year")


def test_what_becomes_of_a_schedules_job_shows_in_the_list_without_a_reload(site: Site, page: Page) -> None:
    opened(page, "/schedules")
    mark(page)
    before = page.locator("#s-new-year .squares .completed").count()
    site.client.run_schedule("new-year")
    expect(page.locator("#s-new-year .squares .completed")).to_have_count(before + 1)
    expect(page.locator("#s-wrong")).to_contain_text("Refused")
    assert is_unmoved(page)


def test_the_strip_moves_on_each_minute_also_where_nothing_happens(own_page: Page) -> None:
    page = own_page
    page.clock.install()
    opened(page, "/schedules")
    page.clock.pause_at(time.time() + 3600)
    page.wait_for_load_state("networkidle")
    watched = Watched(page)
    page.clock.run_for(59_000)
    page.clock.run_for(2_000)
    eventually(lambda: page.evaluate("1") and watched.asked("/schedules"))


def test_there_are_no_buttons_where_actions_are_off(site: Site, browser: Browser) -> None:
    failed = site.fail("nobody may retry")
    with (
        page_alone(site.running.socket, free_address(), actions=False) as address,
        browser.new_context(base_url=address) as context,
    ):
        page = opened(context.new_page(), f"/jobs/{failed}")
        expect(page.locator("h1")).to_contain_text("Failed")
        assert page.locator("main form:not([method=get])").count() == 0
        for place in ("/system", "/schedules", "/schedules/new-year"):
            opened(page, place)
            assert page.locator("main form:not(.tools)").count() == 0


# Keyboard, themes and times


def test_keys_search_pause_walk_open_and_help(site: Site, page: Page) -> None:
    opened(page, "/jobs")
    page.keyboard.press("p")
    expect(page.locator("#live")).to_have_text("Paused")
    page.keyboard.press("p")
    expect(page.locator("#live")).to_have_text("Live")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("p?jk")
    expect(page.get_by_role("searchbox")).to_have_value("p?jk")
    expect(page.locator("#live")).to_have_text("Live")
    opened(page, "/jobs")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    for key in "jjjk":
        page.keyboard.press(key)
    link = rows(page).nth(1).get_by_role("link", name="#")
    expect(link).to_be_focused()
    job = link.inner_text()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text(f"Job {job}")


def test_after_enter_in_the_search_keys_walk_what_it_found(site: Site, page: Page) -> None:
    job = site.say("words to be found")
    opened(page, "/")
    page.keyboard.press("/")
    page.keyboard.type("words to be FOUND")
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(1)
    page.keyboard.press("j")
    expect(rows(page).get_by_role("link", name=f"#{job}")).to_be_focused()


def test_the_row_that_is_walked_to_stays_so_when_rows_arrive(site: Site, page: Page) -> None:
    opened(page, "/jobs")
    page.keyboard.press("j")
    job = page.evaluate("document.activeElement.textContent")
    before = rows(page).evaluate_all("rows => rows.map(row => row.id)")
    new = site.say("pushes the row down")
    expect(page.locator("#bar")).to_have_text("1 newer – go to the newest")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert page.evaluate("document.activeElement.textContent") == job
    assert rows(page).evaluate_all("rows => rows.map(row => row.id)") == before
    page.keyboard.press("Escape")
    expect(page.locator(f"#j{new} .badge")).to_have_text("Completed")
    expect(page.locator("#bar")).to_be_hidden()


SEEN_THEME = """
new MutationObserver((_, observer) => {
  if (!document.body) return;
  window.firstTheme = document.documentElement.dataset.theme ?? null;
  observer.disconnect();
}).observe(document, {childList: true, subtree: true});
"""


def ground(page: Page) -> Any:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_the_theme_is_the_systems_until_the_switch_says_otherwise(site: Site) -> None:
    with site.context(color_scheme="light") as context:
        context.add_init_script(SEEN_THEME)
        page, other = opened(context.new_page(), "/"), opened(context.new_page(), "/")
        light = ground(page)
        page.emulate_media(color_scheme="dark")
        dark = ground(page)
        assert dark != light
        page.emulate_media(color_scheme="light")
        page.get_by_role("button", name="Dark or light").click()
        assert ground(page) == dark
        expect(other.locator("html")).to_have_attribute("data-theme", "dark")
        page.reload()
        assert page.evaluate("window.firstTheme") == "dark", "the other theme could be seen first"
        assert ground(page) == dark


def test_times_are_relative_local_or_utc_as_the_switch_says(site: Site) -> None:
    with site.context(timezone_id="Asia/Kolkata") as context:
        page = opened(context.new_page(), "/")
        when, switch = newest_row(page).locator("time"), page.locator("#zone")
        stored = str(when.get_attribute("datetime"))
        utc = f"{stored[:19].replace('T', ' ')} UTC"
        local = page.evaluate(
            "told => new Date(Date.parse(told) + 19800000).toISOString().slice(0, 19).replace('T', ' ')",
            stored,
        )
        expect(switch).to_have_text("How long ago")
        expect(when).to_have_attribute("title", local)
        switch.click()
        expect(switch).to_have_text("Local time")
        expect(when).to_have_text(local)
        switch.click()
        expect(when).to_have_text(utc)
        page.reload()
        expect(switch).to_have_text("UTC")
        expect(when).to_have_text(utc)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        opened(page, "/schedules")
        hours = page.locator(".hours text")
        assert {one[-2:] for one in hours.all_text_contents()} == {"00"}
        expect(page.locator(".day .zone")).to_have_text("UTC")
        switch.click()
        expect(page.locator(".day .zone")).to_have_text("local time")
        expect(switch).to_have_text("How long ago")
        assert {one[-2:] for one in hours.all_text_contents()} == {"30"}


def test_the_log_is_entered_at_a_time_of_the_zone_that_is_shown_and_left_for_what_is_newer(
    site: Site,
) -> None:
    with site.context(timezone_id="Asia/Kolkata") as context:
        page = opened(context.new_page(), "/?page=2&upto=20&per=10")
        at = page.evaluate(
            "told => new Date(Date.parse(told) + 19800000 + 1000).toISOString().slice(0, 19)",
            newest_row(page).locator("time").get_attribute("datetime"),
        )
        page.locator("[name=until]").fill(at)
        expect(page).to_have_url(re.compile("until="))
        expect(page.locator(".held")).to_have_text(re.compile("^Before .* UTC ×$"))
        expect(page.locator("[name=until]")).to_have_value(re.compile(f"^{at[:16]}"))
        assert int(str(newest_row(page).get_attribute("id"))[1:]) >= 20
        page.get_by_role("link", name="Newest").click()
        expect(page.locator(".held")).to_have_count(0)
        assert "until" not in page.url


# Narrow, and without JavaScript


@pytest.fixture(scope="module")
def views(site: Site, flow: list[int], keyed: list[int]) -> dict[str, str]:
    """A name and an address for each view that a daemon with jobs has."""
    first, _, failed, *_ = flow
    return {
        "log": "/",
        "no match": "/?q=no+such+message",
        "jobs": "/jobs",
        "jobs of a key": "/jobs?key=customer%3A7&status=behind",
        "jobs by all that is there": f"/jobs?class={TALK}&label=tenant%3A7&since=1h&longer=10s&sort=ended",
        "labels": "/labels",
        "job": f"/jobs/{failed}",
        "compare": f"/compare?a={failed}.1",
        "compare what": "/compare",
        "job behind its key": f"/jobs/{keyed[-1]}",
        "talking job": f"/jobs/{site.say_everywhere('a word and a ' + 'long' * 80)}",
        "graph": f"/jobs/{first}/graph#job-{failed}",
        "now": "/now",
        "now of a label": "/now?label=tenant%3A7",
        "classes": "/classes",
        "class": f"/classes/{TALK}",
        "errors": "/errors",
        "error": "/errors/1",
        "groups": "/groups",
        "group": "/groups/1",
        "schedules": "/schedules",
        "schedule": "/schedules/new-year",
        "refused schedule": "/schedules/wrong",
        "system": "/system",
        "nothing here": "/no/such/view",
        "no job": "/jobs/999999999",
    }


@pytest.fixture(scope="module")
def flow(site: Site) -> list[int]:
    """The ids of a job, of the three in the group behind it, of which the second fails, and of one that was to come
    after that.
    """
    members = (draft(TALK, method, {"text": "x" * 300}) for method in ("say", "fail", "say"))
    submitted = chain(
        draft(TALK, "say", {"text": "the first"}),
        members_of(*members, name="x" * 128),
        draft(TALK, "say", {"text": "the last"}),
    ).submit(site.client)
    eventually(lambda: submitted.last.refresh()["status"] == "cancelled")
    return [job.id for job in submitted.jobs]


@pytest.fixture(scope="module")
def keyed(site: Site) -> list[int]:
    """The ids of two jobs that share a key, of which the second waits for their rate."""

    def submit(text: str) -> Submitted:
        parameters = {"text": text}
        return site.client.run_background_job(TALK, "say", parameters, queue="rated", key="customer:7")

    first, second = submit("the first"), submit("the second")
    first.wait(20)
    return [first.id, second.id]


@pytest.mark.parametrize("has_script", [True, False])
def test_from_a_queue_over_its_busiest_keys_to_a_job_that_waits_for_its_key(
    site: Site, keyed: list[int], has_script: bool
) -> None:
    with site.context(java_script_enabled=has_script) as context:
        page = context.new_page()
        page.goto("/system")
        row = page.locator(".keys tbody tr")
        expect(row).to_contain_text(re.compile(r"customer:7.* 0.* 0.* 1.*in (1 hour|\d+ minutes)"))
        row.get_by_role("link").click()
        expect(page).to_have_url(f"{site.root}/jobs?key=customer%3A7")
        expect(page.locator(".rows .id")).to_have_text(["Job ID", *(f"#{id}" for id in reversed(keyed))])
        page.get_by_role("link", name="Behind", exact=True).click()
        expect(page.locator(".rows tbody .state")).to_have_text(["Behind customer:7"])
        page.locator(".rows tbody").get_by_role("link").first.click()
        expect(page.locator("h1")).to_have_text(f"Job #{keyed[-1]} Behind customer:7")
        expect(page.locator(".key")).to_have_text("Key customer:7, turn 2")
        expect(page.locator(".timeline")).to_contain_text("Next")


OUTSIDE = """all => all.filter(one => {
  const [inner, outer] = [one.getBoundingClientRect(), (one.closest(".list") ?? document.body).getBoundingClientRect()];
  return !one.closest(".picture") && inner.right > Math.min(innerWidth, outer.right);
}).map(one => one.outerHTML)"""
"""Of these elements those that end outside their box, which may clip them, or outside the window; a picture scrolls."""


@pytest.mark.parametrize(
    "widths", [(320,), pytest.param((PHONE["width"], 360), marks=pytest.mark.long)], ids=str
)
def test_no_view_complains_scrolls_sideways_on_a_phone_or_has_a_control_outside_its_box(
    site: Site, views: dict[str, str], widths: tuple[int, ...]
) -> None:
    """To complain is to say something on the console, or to break its own policy."""
    with site.context(viewport=PHONE, has_touch=True, is_mobile=True) as context:
        page = context.new_page()
        watched = Watched(page)
        for name, address in views.items():
            page.goto(address)
            expect(page.locator(".switches")).to_be_visible()
            expect(page.locator("[data-broken=bug]")).to_have_count(0)
            for width in widths:
                page.set_viewport_size(PHONE | {"width": width})
                wide = page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, f"{name} is {wide} wide on {width}"
                cut = page.locator("main :is(td, th, a, dd, h1, h2, button)").evaluate_all(OUTSIDE)
                assert cut == [], f"{name} on {width}"
    missing = [said for said in watched.complaints if "404" in said]
    assert watched.complaints == missing
    assert len(missing) >= 2, "of the two views that are not there, asked for again where news came in"


@pytest.mark.parametrize("width", [740, pytest.param(1280, marks=pytest.mark.long)])
def test_long_names_and_words_are_cut_nowhere_and_make_no_row_fill_the_screen(
    browser: Browser, tmp_path: Path, width: int
) -> None:
    telling = Telling()
    names = {"class_name": f"shop.{'Long' * 30}", "method_name": "m" * 100}
    for sample in ("entry", "summary", "job"):
        telling.samples[sample] |= names
    schedule = telling.samples["schedule"]["name"] = "s" * 64
    telling.samples["schedule"] |= {"job": "::".join(names.values()), "refused": "w" * 500}
    telling.samples["class"] |= {"name": names["class_name"]}
    telling.samples["class"]["methods"][0] |= {"name": names["method_name"]}
    telling.samples["entry"] |= {"message": "word " * 2000}
    telling.samples["summary"] |= {"error": "w" * 8000}
    for sample in ("summary", "job", "key"):
        telling.samples[sample] |= {"key": "k" * 255}
    for sample in ("summary", "job"):
        telling.samples[sample] |= {"status": "pending", "is_behind": True, "finished_at": None}
    for sample in ("summary", "job"):
        telling.samples[sample] |= {"labels": ["l" * 64, "w " * 32]}
    telling.samples["label"] |= {"label": "l" * 64}
    wide = {"class_name": names["class_name"]}
    telling.samples["matched"]["classes"][0] |= wide
    telling.samples["change"] |= {"id": 7, "kind": "retried_many", "what": {"done": 3, "filter": wide}}
    telling.samples["group"] |= {"name": "w" * 500}
    telling.samples["graph"]["groups"][0] |= {"name": "w" * 500}
    with scripted(browser, tmp_path, telling) as page:
        page.set_viewport_size({"width": width, "height": 900})
        for address in ("/", "/jobs", f"/jobs?key={'k' * 255}&label={'l' * 64}", "/labels", "/jobs/1", "/jobs/1/graph",
                        "/groups", "/groups/5", "/errors", "/errors/1", "/now", f"/now?label={'l' * 64}", "/classes",
                        f"/classes/{names['class_name']}", f"/jobs/retry?status=failed&class={names['class_name']}",
                        "/jobs?bulk=7", f"/jobs?q={'w' * 200}", "/schedules", f"/schedules/{schedule}",
                        "/system"):  # fmt: skip
            opened(page, address)
            cut = page.locator("main :is(td, th, p, dd, h1, h2, button)").evaluate_all(
                "all => all.filter(one => Math.max(one.getBoundingClientRect().right, one.scrollWidth) > innerWidth)"
                ".map(one => one.outerHTML)"
            )
            assert cut == [], address
            for row in page.locator(".rows tbody tr").all():
                assert row.evaluate("row => row.clientHeight") < 600, address


def test_everything_is_there_without_javascript(site: Site, flow: list[int]) -> None:
    site.fail("and nobody has retried it")
    with site.context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"/jobs/{flow[0]}")
        page.get_by_role("link", name="Graph").click()
        expect(page.locator("svg.graph .group .word")).to_have_text("Failed")
        page.locator("svg.graph .group").click()
        expect(rows(page).first).to_contain_text("Talk::fail")
        page.goto("/")
        expect(page.locator(".switches")).to_be_hidden()
        page.get_by_role("searchbox").fill("early word 3")
        page.get_by_role("button", name="Search").click()
        expect(rows(page)).to_have_count(1)
        page.goto("/")
        page.get_by_role("link", name="Older →").click()
        expect(page.locator(".pages")).to_contain_text("Page 2")
        page.get_by_role("link", name="Jobs", exact=True).click()
        page.locator(".filters").get_by_role("link", name="Failed", exact=True).click()
        newest_row(page).get_by_role("link").first.click()
        expect(page.locator("h1")).to_contain_text("Failed")
        expect(page.locator("details pre").first).to_be_visible()
        expect(page.get_by_role("button", name="Copy")).to_be_hidden()
        page.get_by_role("button", name="Retry").click()
        expect(page.locator("h2", has_text="Attempt 2")).to_be_visible()
        page.get_by_role("link", name="Schedules").click()
        expect(page.locator(".day .mark").first).to_be_visible()
        page.locator(".schedules").get_by_role("link", name="new-year").click()
        expect(page.locator(".timeline")).to_contain_text("CET")
        page.get_by_role("link", name="System").click()
        expect(page.locator("h2", has_text="Approved classes")).to_be_visible()


# Accessible, strict, and deaf to what jobs say


COLOURS = {"runOnly": ["color-contrast"]}
"""All that another theme can break."""

VIOLATIONS = (
    "options => axe.run({resultTypes: ['violations'], preload: false, ...options})"
    ".then(({violations}) => violations)"  # what it would fetch beforehand is for sound and moving pictures
)


THEMES = ("light", "dark")


def violations(page: Page, themes: Sequence[str] = THEMES) -> list[str]:
    """What axe finds wrong with what is shown, in these themes."""
    page.evaluate(Axe().axe_script)
    found = []
    for theme, options in zip(themes, ({}, COLOURS), strict=False):
        page.emulate_media(color_scheme=theme)
        found += page.evaluate(VIOLATIONS, options)
    return [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]


@pytest.mark.timeout(240)  # seconds, unless all is busy
@pytest.mark.parametrize(
    "count", [1, pytest.param(2, marks=pytest.mark.long)], ids=["a theme", "both themes"]
)
def test_axe_finds_nothing_in_any_view_and_theme(site: Site, views: dict[str, str], count: int) -> None:
    """In one theme each view after the other is in the light, in the dark, in the light."""
    found = {}
    themes = cycle([THEMES[:count], THEMES[::-1][:count]])
    elsewhere = {"graph", "group"}  # below, as large as they may be
    with site.context(bypass_csp=True, reduced_motion="reduce") as context:
        page = context.new_page()
        for name in [name for name in views if name not in elsewhere]:
            page.goto(views[name])
            found[name] = violations(page, next(themes))
        page.goto("/")
        page.keyboard.press("?")
        found["help"] = violations(page)
        page.goto("/?page=2&upto=3")
        site.say("shows the bar")
        expect(page.locator("#bar")).to_be_visible()
        found["bar"] = violations(page)
    with site.context(is_logged_in=False, bypass_csp=True) as context:
        page = context.new_page()
        for name, address in {"login": "/", "old login": "/login?token=old"}.items():
            page.goto(address)
            expect(page.locator(".broken h1")).to_be_visible()
            found[name] = violations(page)
    assert {name: what for name, what in found.items() if what} == {}


def test_the_login_is_asked_for_once_and_its_page_is_quiet(site: Site) -> None:
    with site.context(is_logged_in=False) as context:
        page = context.new_page()
        watched = Watched(page)
        page.goto("/jobs?q=x")
        expect(page.locator("h1")).to_have_text("Log in")
        assert watched.asked("/events") == []
        page.goto(site.login)
        expect(page).to_have_url(f"{site.root}/now")
        expect(page.locator("#live")).to_have_text("Live")
        assert watched.complaints == []


def test_who_logs_in_by_the_form_has_what_was_asked_for(site: Site) -> None:
    with site.context(is_logged_in=False) as context:
        page = context.new_page()
        page.goto("/jobs?status=failed")
        page.get_by_label("Address or token").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text("That token does not fit")
        page.get_by_label("Address or token").fill(site.login)
        page.get_by_role("button", name="Log in").click()
        expect(page).to_have_url(f"{site.root}/jobs?status=failed")
        expect(page.locator("#live")).to_have_text("Live")


def test_a_link_in_a_chat_opens_for_who_has_logged_in(site: Site) -> None:
    with site.context(is_logged_in=False) as context:
        page = context.new_page()
        page.goto(site.login)
        page.goto("data:text/html,chat")
        page.set_content(f'<a href="{site.root}/jobs?status=failed">look at this</a>')
        page.get_by_role("link").click()
        expect(page).to_have_url(f"{site.root}/jobs?status=failed")
        expect(page.locator("h1")).to_have_text("Jobs")


def test_nothing_that_a_job_says_becomes_markup(site: Site, page: Page) -> None:
    watched = Watched(page)
    text = "\n".join(HOSTILE)
    said, failed = site.say_everywhere(text), site.fail(text)
    for address in ("/", "/jobs", f"/jobs/{said}", f"/jobs/{failed}"):
        opened(page, address)
        assert (
            page.locator("main :is(img, script, iframe, style, svg:not(.chart, .step, .legend svg))").count()
            == 0
        )
        assert page.locator("main :is([onerror], [onload], [href^=javascript])").count() == 0
        shown = str(page.locator("main").text_content())
        assert [one for one in HOSTILE if lines(one) not in shown] == [], address
    opened(page, f"/jobs/{said}?log=all")
    assert "Background job is at 50%: " in str(page.locator(".entries").text_content())
    opened(page, f"/jobs/{said}")
    for place in (".output", ".attempt dd:has(progress)", ".entries"):
        shown = str(page.locator(place).text_content())
        as_there = without_terminal if place == ".output" else str
        assert [one for one in HOSTILE if lines(as_there(one)) not in shown] == [], place
    for place in ("#parameters", "[aria-label=Result]"):
        assert to_json(text) in str(page.locator(place).text_content())
    assert watched.dialogs == []
    assert watched.complaints == []


def test_hostile_words_stay_text_when_they_arrive_live_and_in_a_search(site: Site, page: Page) -> None:
    text = HOSTILE[0]
    watched = Watched(page)
    opened(page, "/")
    site.say(text + " live")
    expect(page.locator(".message", has_text=text + " live").first).to_be_visible()
    page.get_by_role("searchbox").fill(text + " nowhere")
    expect(page.locator(".empty")).to_contain_text(text)
    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value(text + " nowhere")
    assert page.locator("main img").count() == 0
    assert watched.dialogs == []
    assert watched.complaints == []


def test_a_whole_page_weighs_at_most_20_kb_on_the_wire(own_page: Page) -> None:
    page = own_page  # which has nothing of it yet
    opened(page, "/")
    sizes = page.evaluate(
        """[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
        .filter(({name, initiatorType}) => initiatorType !== "fetch" && !name.endsWith("/events"))
        .map(({name, transferSize}) => [new URL(name).pathname.split("/").pop(), transferSize])"""
    )
    print("bytes on the wire:", sum(size for _, size in sizes), dict(sizes))
    assert {"page.js", "page.css", "theme.js", "idiomorph.min.js"} <= {name for name, _ in sizes}
    assert sum(size for _, size in sizes) <= 20_000


# When something ends


def test_an_open_tab_says_that_the_daemon_was_killed_and_recovers_by_itself(site: Site, page: Page) -> None:
    opened(page, "/?q=after+the+daemon")
    mark(page)
    site.running.stop(signal.SIGKILL)
    expect(page.locator("#away")).to_contain_text("goes on by itself")
    expect(page.locator("#live")).to_have_text(re.compile(r"No answer since \d\d:\d\d"))
    site.running.start()
    expect(page.locator("#live")).to_have_text("Live", timeout=RECOVERS)
    expect(page.locator("#away")).to_be_hidden()
    site.say("after the daemon")
    expect(page.locator(".message", has_text="after the daemon")).to_be_visible()
    assert is_unmoved(page)


def test_an_open_tab_recovers_when_the_process_of_the_page_is_killed(site: Site, page: Page) -> None:
    opened(page, "/?q=after+the+process")
    mark(page)
    pid = eventually(site.page_pid)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: site.page_pid() not in (None, pid))
    site.say("after the process")
    expect(page.locator(".message", has_text="after the process")).to_be_visible(timeout=RECOVERS)
    expect(page.locator("#live")).to_have_text("Live", timeout=RECOVERS)
    assert is_unmoved(page)


class Telling:
    """A daemon that tells samples, as a test changes them, or refuses everything."""

    def __init__(self) -> None:
        self.samples = copy.deepcopy(SAMPLES)
        self.samples["stats"] |= {"storage_trouble": None, "refused_schedules": None}
        self.further: dict[str, Any] = {}
        """What it tells of a further page instead."""
        self.has_storage = True
        self.output = ""
        self.goes_on = threading.Event()
        self.goes_on.set()

    def tells(self, line: Line, asked: Asked) -> bool:
        if not asked.more:
            self.goes_on.wait(60)
        if asked.method.endswith(".Output"):
            begin = max(0, len(self.output) + asked.parameters["offset"])
            data = base64.b64encode(self.output[begin:].encode()).decode()
            end = len(self.output)
            line.reply(number=1, left_out=0, offset=begin, data=data, next=end, is_end=True)
        elif asked.method.endswith(".Logs") and asked.parameters.get("after"):
            entries = self.samples.get("entries", [self.samples["entry"]])
            newer = [one for one in entries if one["id"] > asked.parameters["after"]]
            line.reply(entries=newer, next=None, is_complete=True)
        elif not self.has_storage and not asked.method.endswith("GetInfo"):
            line.refuse("StorageUnavailable", reason="disk I/O error")
        else:
            is_further = asked.parameters.get("before") is not None
            tell_samples(line, asked, self.samples | (self.further if is_further else {}))
        return True


@contextmanager
def scripted(browser: Browser, directory: Path, telling: Telling) -> Iterator[Page]:
    """A tab for a page over this daemon."""
    with served_page(directory, tells=telling.tells, actions=True) as served:
        context = browser.new_context(base_url=f"http://127.0.0.1:{served.port}", bypass_csp=True)
        context.set_default_timeout(PATIENCE)
        try:
            yield context.new_page()
        finally:
            context.close()


def test_trouble_with_the_database_is_told_while_the_log_can_be_read(
    browser: Browser, tmp_path: Path
) -> None:
    telling = Telling()
    telling.samples["stats"]["storage_trouble"] = "database or disk is full"
    with scripted(browser, tmp_path, telling) as page:
        opened(page, "/")
        expect(page.get_by_role("alert")).to_contain_text("Storage has trouble: database or disk is full.")
        expect(rows(page)).to_have_count(1)
        assert violations(page) == []
        telling.samples["stats"]["storage_trouble"] = None
        page.reload()
        expect(page.get_by_role("alert")).to_have_count(0)


def test_a_database_that_cannot_be_read_is_told_and_the_page_comes_back_by_itself(
    browser: Browser, tmp_path: Path
) -> None:
    telling = Telling()
    telling.has_storage = False
    with scripted(browser, tmp_path, telling) as page:
        page.goto("/jobs")
        expect(page.locator("h1")).to_have_text("The database has trouble")
        expect(page.locator(".broken pre")).to_contain_text("disk I/O error")
        assert violations(page) == []
        mark(page)
        telling.has_storage = True
        expect(rows(page)).to_have_count(1, timeout=RECOVERS)
        expect(page.locator("#live")).to_have_text("Live")
        assert is_unmoved(page)


@pytest.mark.parametrize(
    "found", [True, pytest.param(False, marks=pytest.mark.long)], ids=["with rows", "without"]
)
def test_a_search_that_was_cut_short_goes_on_by_itself_until_it_is_stopped(
    browser: Browser, tmp_path: Path, found: bool
) -> None:
    telling = Telling()
    entry = telling.samples["entry"]
    telling.samples |= {
        "entries": [entry | {"id": 200}] if found else [], "next": 151, "is_complete": False
    }  # fmt: skip
    telling.further = {"entries": [], "next": 101, "is_complete": False}
    with scripted(browser, tmp_path, telling) as page:
        opened(page, "/?q=word")
        note = page.locator(".list .cut")
        expect(note).to_contain_text("Searching: the newest")
        expect(rows(page)).to_have_count(int(found))
        assert violations(page) == []
        page.get_by_role("button", name="Stop").click()
        expect(note).to_contain_text("The search was cut short when its time was up")
        expect(page.get_by_role("link", name="Go on where it stopped")).to_be_visible()
        telling.further = {
            "entries": [entry | {"id": 90 - more} for more in range(9)], "next": 80, "is_complete": True
        }  # fmt: skip
        page.reload()
        expect(rows(page)).to_have_count(9 + int(found))
        expect(note).to_have_count(0)
        expect(page.locator("#said")).to_have_text(f"{9 + int(found)} found")
        expect(page.get_by_role("link", name="Older →")).to_have_attribute(
            "href", re.compile(r"/\?q=word&page=2&upto=79$")
        )


def test_a_daemon_that_hangs_is_told_with_since_when(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in {
        "events._BETWEEN_SIGNS": 0.1,
        "events._PATIENCE": 0.5,
        "views.means._PATIENCE": 0.5,
    }.items():
        monkeypatch.setattr(f"bgjobd.web.{name}", seconds)
    telling = Telling()
    with scripted(browser, tmp_path, telling) as page:
        try:
            opened(page, "/")
            telling.goes_on.clear()
            expect(page.locator("#live")).to_have_text(re.compile(r"^No answer since \d\d:\d\d$"))
            expect(page.locator("#away")).to_contain_text("The daemon does not answer")
            fresh = page.context.new_page()
            fresh.goto("/")
            expect(fresh.locator("#live")).to_have_text(re.compile(r"^No answer since \d\d:\d\d$"))
            expect(fresh.locator(".broken")).to_contain_text(re.compile(r"No answer since \d{4}-\d\d-\d\d"))
        finally:
            telling.goes_on.set()
        for tab in (page, fresh):
            expect(tab.locator("#live")).to_have_text("Live", timeout=RECOVERS)
            expect(rows(tab)).to_have_count(1)


def test_output_and_log_do_not_slide_under_who_reads_them_and_are_cut_above_once_somebody_is_at_the_end(
    browser: Browser, tmp_path: Path
) -> None:
    telling = Telling()
    telling.samples["job"] |= {"status": "running", "finished_at": None}
    entry = telling.samples["entry"]
    telling.samples["entries"] = [entry | {"id": number} for number in range(1, 101)]
    telling.output = "".join(f"line {number}\n" for number in range(9000))
    with scripted(browser, tmp_path, telling) as page:
        opened(page, "/jobs/1")
        box = page.locator("#output")
        box.evaluate("box => box.scrollTop = 500")
        first_line = str(box.text_content()).partition("\n")[0]
        telling.output += "".join(f"then {number}\n" for number in range(3000))
        telling.samples["entries"] += [entry | {"id": number} for number in range(101, 141)]
        expect(box).to_contain_text("then 2999")
        assert (box.evaluate("box => box.scrollTop"), first_line) == (
            500,
            str(box.text_content()).partition("\n")[0],
        )
        expect(page.locator(".entries li")).to_have_count(140)
        box.evaluate("box => box.scrollTop = box.scrollHeight")
        page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        telling.output += "then the last\n" * 5000
        telling.samples["entries"] += [entry | {"id": 141}]
        expect(page.locator("#l141")).to_be_visible()
        expect(page.locator(".entries li")).to_have_count(100)
        expect(page.locator("#older")).to_be_visible()
        expect(box).not_to_contain_text("line 8999")
        expect(page.locator("#before")).to_contain_text("KiB came before")


# Graphs and groups


def graph_of(many: int) -> dict[str, Any]:
    """Job 1, group 5 of those behind it, and a last one that waits for the group."""
    jobs = [job(1), *(job(number, group_id=5, status="failed") for number in range(2, many)), job(many)]
    edges = [*(edge(1, number) for number in range(2, many)), edge(5, many, "group", "failed")]
    return {"jobs": jobs, "groups": [group(5, name="w" * 300)], "edges": edges, "is_whole": True}


@pytest.mark.parametrize("many", [3, *(pytest.param(many, marks=pytest.mark.long) for many in (40, 200))])
def test_a_graph_of_any_size_is_for_everybody(browser: Browser, tmp_path: Path, many: int) -> None:
    """For who sees it on a screen or a phone, for who has it read, and for who walks by keys."""
    telling = Telling()
    telling.samples["graph"] = graph_of(many)
    with scripted(browser, tmp_path, telling) as page:
        for address in ("/jobs/1/graph", *(["/groups/5?ask=cancel"] if many == 3 else [])):
            page.set_viewport_size({"width": 1280, "height": 900})
            opened(page, address)
            assert violations(page) == [], address
            page.set_viewport_size(PHONE)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], address
        for address in (f"/jobs/1/graph#job-{many}", f"/jobs/{many}/graph"):
            opened(page, "/jobs")
            opened(page, address)
            middle = page.locator(f"#job-{many}").evaluate(
                "one => { const box = one.getBoundingClientRect(), around = one.closest('.picture')"
                ".getBoundingClientRect(); return box.left >= around.left && box.right <= around.right"
                " && box.top >= around.top && box.bottom <= around.bottom }"
            )
            assert middle, address
        expect(page.locator(f"#job-{many}")).to_be_in_viewport()
        assert page.locator("svg.graph a").count() == many + 1
        listed = page.get_by_role("listitem").filter(has=page.get_by_role("link"))
        assert page.locator(".nodes").get_by_role("link").count() == many + 1
        expect(listed.filter(has_text=f"#{many}").last).to_contain_text("after group 5 (failed)")
        for _ in range(3):
            page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('svg')") is None, "the list is for keys"


def test_a_graph_follows_the_daemon_and_stays_where_somebody_has_scrolled_it(
    browser: Browser, tmp_path: Path
) -> None:
    telling = Telling()
    telling.samples["graph"] = graph_of(40)
    with scripted(browser, tmp_path, telling) as page:
        opened(page, "/jobs/1/graph")
        mark(page)
        page.locator(".picture").evaluate("box => box.scrollTop = 300")
        telling.samples["graph"]["jobs"][1]["status"] = "running"
        page.keyboard.press("p")
        page.keyboard.press("p")
        expect(page.locator("#job-2 .word")).to_have_text("Running")
        assert page.locator(".picture").evaluate("box => box.scrollTop") == 300
        assert is_unmoved(page)


def test_what_there_is_room_for_is_on_one_line_and_in_its_column(browser: Browser, tmp_path: Path) -> None:
    telling = Telling()
    job = telling.samples["job"]
    running: dict[str, Any] = dict.fromkeys(("outcome", "finished_at", "error_message"))
    running["started_at"] = to_text(time.time() - 3510)
    job |= {"status": "running", "finished_at": None, "attempts": [job["attempts"][0] | running]}
    telling.samples["error"] |= {"is_new": True, "first_version": telling.samples["stats"]["code_version"]}
    with scripted(browser, tmp_path, telling) as page:
        page.set_viewport_size({"width": 1440, "height": 900})
        opened(page, "/errors")
        badge = page.get_by_text("New since the deploy")
        assert badge.evaluate("one => one.getClientRects().length === 1 && one.offsetHeight < 30")
        opened(page, "/jobs/1")
        took = page.locator(".took", has_text="so far")
        assert took.evaluate("one => one.scrollWidth <= one.clientWidth"), took.text_content()


@pytest.mark.parametrize("host", [None, "h" * 64], ids=["no host", "long host"])
@pytest.mark.parametrize("width", [1124, 1280])
def test_the_columns_of_attempts_end_in_their_box_where_the_parameters_are_beside_it(
    browser: Browser, tmp_path: Path, width: int, host: str | None
) -> None:
    telling = Telling()
    job = telling.samples["job"]
    long = {"outcome": "output_exceeded", "max_rss": 1_023_000_000, "output_bytes": 1_048_000}
    job["attempts"] = [job["attempts"][0] | long | {"number": number, "host": host} for number in (1, 2)]
    with scripted(browser, tmp_path, telling) as page:
        page.set_viewport_size({"width": width, "height": 900})
        opened(page, "/jobs/1")
        assert page.locator("#attempts :is(th, td), pre").evaluate_all(OUTSIDE) == []


def test_columns_stay_where_they_are_whatever_is_in_them(browser: Browser, tmp_path: Path) -> None:
    telling = Telling()
    with scripted(browser, tmp_path, telling) as page:
        for address, sample, said in (("/", "entry", "message"), ("/jobs", "summary", "error")):
            seen = set()
            for text in ("short", "longer than it fits " * 40, "o" * 300):
                telling.samples[sample] |= {said: text, "class_name": f"shop.{text[:20].title()}"}
                opened(page, address)
                seen.add(str(page.locator("th").evaluate_all("all => all.map(one => one.offsetLeft)")))
            assert len(seen) == 1, seen


def test_a_page_alone_says_that_there_is_no_daemon_and_shows_the_log_while_there_is_one(
    browser: Browser, tmp_path: Path
) -> None:
    running = RunningDaemon(tmp_path, APPROVED, modules={"talk": MODULE})
    with page_alone(running.socket, free_address()) as address:
        context = browser.new_context(bypass_csp=True)
        page = context.new_page()
        page.goto(address)
        expect(page.locator("h1")).to_have_text("The daemon does not answer")
        assert violations(page) == []
        running.start()
        try:
            expect(page.locator(".empty")).to_contain_text("Nothing yet", timeout=RECOVERS)
            assert violations(page) == []
            expect(page.locator("#live")).to_have_text("Live")
            with running.client() as client:
                client.run_background_job(TALK, "say", {"text": "said before"}).wait(20)
            expect(page.locator(".message", has_text="said before")).to_be_visible()
        finally:
            running.stop()
        expect(page.locator("#away")).to_contain_text("The daemon does not answer", timeout=RECOVERS)
        expect(page.locator(".message", has_text="said before")).to_be_visible()
        context.close()
