"""The machine grants the daemon no more threads, as while a job's processes have taken all: jobs start and end."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgjob import Client
from tests.daemon.running import daemon
from tests.faults.injecting import failing_calls, pid_of
from tests.support import eventually

MODULES = {
    "writing": """
import time
from pathlib import Path


class Writer:
    def run(self, until):
        Path("kept").write_text("something")
        while not Path(until).exists():
            time.sleep(0.01)
"""
}


def _has_begun(client: Client, job: int) -> bool:
    return any(attempt["pid"] for attempt in client.get(job).snapshot["attempts"])


@pytest.mark.needs("strace")
def test_jobs_start_and_end_while_the_daemon_gets_no_thread(tmp_path: Path) -> None:
    end = tmp_path / "end"
    with daemon(tmp_path, '"writing.Writer" = {}\n', modules=MODULES) as running, running.client() as client:
        first = client.run_background_job("writing.Writer", "run", {"until": str(end)})
        eventually(lambda: _has_begun(client, first.id))
        with failing_calls(pid_of(running), "clone,clone3", "EAGAIN"):
            second = client.run_background_job("writing.Writer", "run", {"until": str(end)})
            third = client.run_background_job("writing.Writer", "run", {"until": str(end)})
            for job in (second, third):
                eventually(lambda id=job.id: _has_begun(client, id))
            end.touch()
            for job in (first, second, third):
                assert client.get(job.id).wait(20)["status"] == "completed"
        client.run_background_job("writing.Writer", "run", {"until": str(end)}).result(20)
        eventually(lambda: not any((tmp_path / "run" / "work" / "aside").iterdir()))
