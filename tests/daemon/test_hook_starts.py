"""Hooks that cannot start: they are tried again ever more seldom, and at once by another fork server."""

from __future__ import annotations

from pathlib import Path

from tests.daemon.running import daemon
from tests.support import eventually

OVER_QUOTA = '''
import errno, os

_mkdir = os.mkdir


def mkdir(path, *args, **kwargs):
    """As it is where the user's quota has no room for another directory, once the job has written there."""
    if os.path.exists("FULL") and str(path).endswith(".hook"):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
    _mkdir(path, *args, **kwargs)


os.mkdir = mkdir


class Hooked:
    def run(self):
        raise ValueError("no recipient")

    def failed(self, error):
        with open("LEDGER", "a") as ledger:
            ledger.write("called\\n")
'''
SETTINGS = '"quota.Hooked" = { max_retries = 0 }\n'
SOON = """
from bgjobd.supervisor import hooks
from bgjobd.core import retry
hooks.PAUSE, retry._FIRST_START_DELAY = 0.01, 60.0
"""
"""A daemon that looks every moment whom it may call, and lets who could not start rest for long."""


def test_hooks_that_cannot_start_rest_and_are_called_by_another_fork_server(tmp_path: Path) -> None:
    full, ledger = tmp_path / "full", tmp_path / "ledger"
    full.touch()
    modules = {"quota": OVER_QUOTA.replace("FULL", str(full)).replace("LEDGER", str(ledger))}
    with daemon(tmp_path, SETTINGS, modules=modules, changes=SOON) as running, running.client() as client:
        for _ in range(6):
            client.run_background_job("quota.Hooked", "run").wait(20)
        in_vain = (
            "SELECT job_id FROM job_logs WHERE message LIKE 'the failed hook: could not start: %' ORDER BY 1"
        )
        eventually(lambda: len(running.query(in_vain)) >= 6)
        for number in range(10):
            assert client.run_background_job("probes.Probe", "echo", {"value": number}).result(20) == number
        assert running.query(in_vain) == [(id,) for id in range(1, 7)]
        full.unlink()
        client.reload()
        eventually(lambda: ledger.exists() and ledger.read_text() == "called\n" * 6)
        eventually(lambda: running.spooled() == [])
