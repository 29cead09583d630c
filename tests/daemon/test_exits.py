"""What ends with an attempt, at a real daemon: who hears of what hangs there, and what `check` tells of imports."""

from __future__ import annotations

import os
from pathlib import Path

from bgjob.client import Job
from bgjobd.commands.check import check
from bgjobd.config import loading
from tests.daemon.running import daemon
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
APPROVED = '"leaving.Leaving" = { max_retries = 0, exit_grace = "100ms" }'
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


def told(job: Job) -> list[str]:
    return [entry["message"] for entry in job.logs() if TOLD in entry["message"]]
