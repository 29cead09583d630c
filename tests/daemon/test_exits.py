"""What ends with an attempt, at a real daemon: who hears of what hangs there, what `check` tells of imports, and who
hears of failed jobs whatever their class is.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjob import ReloadFailedError
from bgjob.client import Job
from bgjobd.commands.check import check
from bgjobd.config import loading
from bgjobd.forkserver import journal_lines
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

LEAVING = """
import atexit, threading

def of_import():
    pass

atexit.register(of_import)

class Leaving:
    def hang(self):
        atexit.register(threading.Event().wait)
        return "done"

    def failed(self, error):
        atexit.register(threading.Event().wait)

    def fail(self):
        raise ValueError("broken")
"""
APPROVED = '"leaving.Leaving" = { max_retries = 0, exit_grace = "1s" }'
TOLD = "took longer than exit_grace, and was ended; the output tells where"


def test_what_hangs_at_the_end_of_an_attempt_or_a_hook_is_told_in_the_jobs_log(tmp_path: Path) -> None:
    with daemon(tmp_path, APPROVED, modules={"leaving": LEAVING}) as running, running.client() as client:
        job = client.run_background_job("leaving.Leaving", "hang")
        assert job.result(20) == "done"
        assert len(told(job)) == 1
        failing = client.run_background_job("leaving.Leaving", "fail")
        assert failing.wait(20)["status"] == "failed"
        # Of the attempt nothing hangs: it never got to its own `atexit`.
        assert eventually(lambda: told(failing))[0].startswith("the failed hook: what was to end")
        checked = str(check(loading.load(running.config, {}, is_root=os.geteuid() == 0)))
    assert "at exit      leaving.of_import: registered with atexit while modules were imported" in checked


ALERTS = """
import json, os

def note(who, **told):
    with open(os.environ["BOOK"], "a") as book:
        book.write(json.dumps({"who": who, "pid": os.getpid(), **told}) + "\\n")

async def tell(error, *, class_name, method_name, job_id):
    of = [class_name, method_name, job_id]
    note("all", text=str(error), outcome=error.outcome, occurrence=error.occurrence, of=of)
    if "odd" in str(error):
        raise LookupError("nobody to tell")

class Plain:
    def fail(self, message):
        raise ValueError(message)

class Hooked(Plain):
    def failed(self, error):
        note("class", occurrence=error.occurrence)
        if "crash" in str(error):
            os.abort()
        while "wait" in str(error) and not os.path.exists(os.environ["BOOK"] + ".go"):
            pass
"""
ALERTED = """
"alerts.Plain" = { max_retries = 0 }
"alerts.Hooked" = { max_retries = 0 }
[schedules]
yearly = { job = "alerts.Hooked::fail", parameters = { message = "late" }, cron = "@yearly" }
"""


@pytest.fixture(scope="module")
def alerted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("alerted")
    app = f'env = {{ BOOK = "{directory}/book" }}\non_failure = "alerts.tell"'
    with daemon(directory, ALERTED, app, modules={"alerts": ALERTS}) as running:
        yield running


def booked(running: RunningDaemon, job: int) -> list[dict[str, Any]]:
    """What hooks have noted until the one for all classes has heard of the job, which is removed."""
    book = running.directory / "book"

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in book.read_text().splitlines()] if book.exists() else []

    eventually(lambda: any(line.get("of", [0])[-1] == job for line in lines()))
    found = lines()
    eventually(lambda: running.spooled() == [])
    book.unlink()
    return found


def test_a_function_hears_of_the_failed_jobs_of_all_classes_after_the_classs_own_hook(
    alerted: RunningDaemon,
) -> None:
    with alerted.client() as client:
        plain = client.run_background_job("alerts.Plain", "fail", {"message": "bad"})
        (heard,) = booked(alerted, plain.id)
        assert (heard["text"], heard["outcome"]) == ("ValueError: bad", "failed")
        assert (heard["of"], heard["occurrence"]) == (["alerts.Plain", "fail", plain.id], None)
        scheduled = client.run_schedule("yearly")
        heard_of = [line["occurrence"] for line in booked(alerted, scheduled.id)]
        assert heard_of == [scheduled.wait(20)["occurrence"]] * 2
        for message in ("bad", "crash"):
            hooked = client.run_background_job("alerts.Hooked", "fail", {"message": message})
            own, heard = booked(alerted, hooked.id)
            assert (own["who"], heard["who"]) == ("class", "all")
            assert len({own["pid"], heard["pid"], *(one["pid"] for one in hooked.wait(20)["attempts"])}) == 3
        odd = client.run_background_job("alerts.Plain", "fail", {"message": "odd"})
        booked(alerted, odd.id)
        told = "on_failure: LookupError: nobody to tell"  # which is logged once the function has ended
        eventually(lambda: told in [entry["message"] for entry in odd.logs()])


def test_a_function_for_all_classes_hears_once_though_the_daemon_is_killed_while_the_classs_own_hook_runs(
    alerted: RunningDaemon,
) -> None:
    with alerted.client() as client:
        job = client.run_background_job("alerts.Hooked", "fail", {"message": "wait"})
        book = alerted.directory / "book"
        eventually(book.exists)
    alerted.stop(signal.SIGKILL)
    alerted.start()
    (alerted.directory / "book.go").touch()
    assert [line["who"] for line in booked(alerted, job.id)] == ["class", "all"]


def test_a_class_whose_own_hook_is_over_has_only_the_function_for_all_called_by_the_next_daemon(
    alerted: RunningDaemon,
) -> None:
    with alerted.client() as client:
        job = client.run_schedule("yearly").id
        own, _ = booked(alerted, job)
    alerted.stop(signal.SIGKILL)
    # As if it had been killed once the class's own was over.
    (alerted.spool / f"{job}.1.journal").write_bytes(
        b'{"v":1,"type":"started","token":"aa","pid":1,"start_time":0,"pidfd_inode":1,"boot_id":"b",'
        b'"monotonic":0,"at":0}\n'
    )
    (alerted.spool / f"{job}.1.hook").write_bytes(journal_lines.fenced())
    alerted.start()
    found = [(line["who"], line["occurrence"]) for line in booked(alerted, job)]
    assert found == [("all", own["occurrence"])]


def test_a_function_for_all_classes_that_is_not_there_fails_the_reload(alerted: RunningDaemon) -> None:
    module = alerted.directory / "alerts.py"
    module.write_text(ALERTS.replace("async def tell", "async def tells"))
    with (
        alerted.client() as client,
        pytest.raises(ReloadFailedError, match=r"on_failure: alerts.tell failed: AttributeError"),
    ):
        client.reload()
    module.write_text(ALERTS)  # for a daemon of the other tests


def told(job: Job) -> list[str]:
    return [entry["message"] for entry in job.logs() if TOLD in entry["message"]]
