"""What a job's page shows of where it was, once somebody has pressed the button."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bgjob.answers import StackRead
from bgjobd.web.stacks import Stacks
from tests.client.scripted import Line
from tests.page.serving import SAMPLES, STACK, TOKEN, page, tell_samples
from tests.page.test_guard import FORM, form_token_of

RUNNING = {"status": "running", "finished_at": None}


def read(number: int = 1) -> StackRead:
    return StackRead(**STACK | {"number": number})


def job(number: int = 1, outcome: str | None = None, job_id: int = 7) -> dict[str, Any]:
    return {"id": job_id, "attempts": [{"number": number, "outcome": outcome}]}


def test_what_was_seen_is_shown_as_long_as_that_attempt_runs() -> None:
    stacks = Stacks()
    assert stacks.shown(job()) is None
    stacks.keep(7, read())
    shown = stacks.shown(job())
    assert shown is not None
    assert shown["lines"] == [
        "pid 97, sleeping in futex_do_wait",
        "",
        "MainThread",
        '  File "/srv/shop/<b>jobs.py", line 41, in Email.send',
    ]
    assert stacks.shown(job(outcome="failed")) is None
    assert stacks.shown(job(2)) is None
    assert stacks.shown(job(job_id=8)) is None


def test_the_latest_few_are_kept() -> None:
    stacks = Stacks()
    for job_id in (7, *range(100, 107), 7, 107):
        stacks.keep(job_id, read())
    assert [stacks.shown(job(job_id=one)) is not None for one in (7, 100, 101, 107)] == [
        True,
        False,
        True,
        True,
    ]


def test_the_button_leads_back_to_the_jobs_page_which_tells_it_as_text(tmp_path: Path) -> None:
    running = {**SAMPLES["job"], **RUNNING, "attempts": [{**SAMPLES["job"]["attempts"][0], "outcome": None}]}

    def tells(line: Line, asked: Any) -> bool:
        tell_samples(line, asked, {**SAMPLES, "job": running})
        return True

    with page(tmp_path, tells=tells, token=TOKEN, actions=True) as served:
        login = f"Authorization: Bearer {TOKEN}"
        before = served.ask("GET /jobs/1", login).body
        assert b"Where is it?" in before
        assert b"Where attempt" not in before
        body = b"token=" + form_token_of(served, "/jobs/1")
        assert served.ask("POST /jobs/1/stack", login, f"Content-Type: {FORM}", body=body).status == 303
        after = served.ask("GET /jobs/1", login).body
        assert b"Where attempt 1 was" in after
        assert b"/srv/shop/&lt;b&gt;jobs.py" in after
        assert b"It was asked &lt;i&gt;." in after
    (tmp_path / "other").mkdir()
    with page(tmp_path / "other", tells=tells, token=TOKEN) as served:
        assert b"Where is it?" not in served.ask("GET /jobs/1", login).body
