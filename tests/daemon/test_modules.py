"""Approved modules through a daemon, and what is called before their imports: `[app] prepare`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgjob.errors import MethodNotApprovedError, NotApprovedError, ReloadFailedError
from tests.daemon.running import RunningDaemon, daemon
from tests.daemon.test_check import checked
from tests.support import eventually, put

READY = "import os\n\ndef setup():\n    os.environ['IS_READY'] = 'yes'\n"
NEEDY = """
import os

if "IS_READY" not in os.environ:
    class AppRegistryNotReady(Exception):
        pass
    raise AppRegistryNotReady("Apps aren't loaded yet.")

def vacuum(full: bool = False):
    return {"full": full}

def helper():
    pass

class Mail:
    def send(self):
        return "sent"
"""
APPROVED = '"needy.Mail" = {}\n"shop.upkeep" = { methods = ["vacuum"] }'
MODULES = {"ready": READY, "needy": NEEDY}
PREPARE = 'prepare = "ready.setup"'


def with_package(directory: Path) -> Path:
    (directory / "shop").mkdir()
    (directory / "shop" / "__init__.py").touch()
    (directory / "shop" / "upkeep.py").write_text(NEEDY)
    return directory


def test_a_function_of_an_approved_module_is_a_job_like_any_other(tmp_path: Path) -> None:
    with (
        daemon(with_package(tmp_path), APPROVED, PREPARE, modules=MODULES) as running,
        running.client() as client,
    ):
        job = client.run_background_job("shop.upkeep", "vacuum", {"full": True})
        assert job.result(20) == {"full": True}
        assert client.run_background_job("needy.Mail", "send").result(20) == "sent"
        with pytest.raises(MethodNotApprovedError):
            client.run_background_job("shop.upkeep", "helper")
        with pytest.raises(NotApprovedError):
            client.run_background_job("shop.upkeep.Mail", "send")
        (running.directory / "ready.py").write_text("def setup():\n    raise LookupError('no settings')\n")
        with pytest.raises(ReloadFailedError, match=r"prepare: ready.setup failed: LookupError: no settings"):
            client.reload()
        assert client.run_background_job("shop.upkeep", "vacuum").result(20) == {"full": False}


def test_a_daemon_whose_code_cannot_be_prepared_says_so_and_takes_it_up_once_it_can(tmp_path: Path) -> None:
    ends = {**MODULES, "ready": "import os\n\ndef setup():\n    os.abort()\n"}
    with (
        daemon(with_package(tmp_path), APPROVED, PREPARE, modules=ends) as running,
        running.client() as client,
    ):
        eventually(
            lambda: any("prepare: ready.setup ended the fork server" in one for one in running.lines())
        )
        put(running.directory / "ready.py", READY)
        assert client.run_background_job("shop.upkeep", "vacuum").result(20) == {"full": False}


def test_check_says_once_that_django_is_to_be_set_up(tmp_path: Path) -> None:
    running = RunningDaemon(with_package(tmp_path), APPROVED, modules=MODULES)
    told = str(checked(running))
    assert "Django is not set up when needy.Mail, shop.upkeep are imported; write prepare =" in told
    assert told.count("raise AppRegistryNotReady") == 0


def test_check_doubts_a_module_of_which_nothing_may_be_called(tmp_path: Path) -> None:
    approved = '"shop.upkeep" = {}\n"shop.other" = { methods = ["none"] }'
    running = RunningDaemon(with_package(tmp_path), approved)
    for name in ("upkeep", "other"):
        (tmp_path / "shop" / f"{name}.py").write_text("def vacuum():\n    pass\n")
    told = str(checked(running))
    assert "shop.upkeep is a module without tasks of Django's, and nothing of it may be called" in told
    assert "methods of shop.other lists none, and the module has no such function" in told
