"""A class that is approved and cannot be imported just now: its jobs wait, spend nothing, and go on once it can be."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from bgjob import Client
from bgjob.errors import ClassUnavailableError
from tests.daemon.running import RunningDaemon, daemon, is_alive
from tests.support import eventually, put

MAILS = """
class Mails:
    def send(self):
        return "sent"
"""
BROKEN = "import nosuch\n"
MAIL = "mails.Mails"
APPROVED = f'"{MAIL}" = {{ max_retries = 0 }}'
MANY = 300


def write(running: RunningDaemon, source: str, name: str = "mails") -> None:
    put(running.directory / f"{name}.py", source)


def is_unavailable(client: Client) -> bool:
    return {one["name"]: one["unavailable"] for one in client.classes()}[MAIL] is not None


def counts(client: Client) -> dict[str, int]:
    return {status: count for status, count in client.stats()["jobs"].items() if count}


def test_a_backlog_outlives_a_broken_import_while_daemon_and_fork_server_are_killed(tmp_path: Path) -> None:
    with daemon(tmp_path, APPROVED, modules={"mails": MAILS}) as running:
        with running.client() as client:
            client.pause()
            client.submit_many([{"class_name": MAIL, "method_name": "send"}] * MANY)
            write(running, BROKEN)
            client.resume()
            os.kill(running.fork_server(), signal.SIGKILL)
            eventually(lambda: is_unavailable(client))
        running.stop(signal.SIGKILL)
        running.start()
        with running.client() as client:
            eventually(lambda: is_unavailable(client))
            server = running.fork_server()
            os.kill(server, signal.SIGKILL)
            eventually(lambda: not is_alive(server))
            assert client.run_background_job("probes.Probe", "echo", {"value": 7}).result(20) == 7
            assert counts(client)["pending"] > 0
            write(running, MAILS)
            client.reload()
            eventually(lambda: counts(client) == {"completed": MANY + 1}, within=60)
        spent = running.query(f"SELECT max(retry_count) FROM background_jobs WHERE class_name = '{MAIL}'")
        assert spent == [(0,)]


EAGER = "from bgjobd.core import trials; trials._FIRST_PAUSE = 0.05"
"""A daemon whose first trials come soon."""

OTHER = "others.Other"
BOTH = f'{APPROVED}\n"{OTHER}" = {{}}'
FIRST = "class Other:\n    def tell(self):\n        return 'first'\n"


def said(running: RunningDaemon, text: str) -> int:
    return sum(text in line for line in running.lines())


def test_a_class_is_taken_up_by_itself_once_it_can_be_imported(tmp_path: Path) -> None:
    modules = {"mails": BROKEN, "others": FIRST}
    with daemon(tmp_path, BOTH, modules=modules, changes=EAGER) as running, running.client() as client:
        version = client.stats()["code_version"] or eventually(lambda: client.stats()["code_version"])
        with pytest.raises(ClassUnavailableError, match="nosuch"):
            client.run_background_job(MAIL, "send")
        assert client.run_background_job(OTHER, "tell").result(20) == "first"
        write(running, "import nothing_either\n")
        eventually(
            lambda: said(running, f"{MAIL} is unavailable: ModuleNotFoundError: No module named 'nothing")
        )
        write(running, MAILS)
        eventually(lambda: not is_unavailable(client))
        assert client.run_background_job(MAIL, "send").result(20) == "sent"
        assert client.stats()["code_version"] != version
        assert eventually(lambda: said(running, f"{MAIL} is unavailable") == 2)
        assert eventually(lambda: said(running, f"{MAIL} is available again") == 1)


def test_what_a_trial_finds_mended_waits_for_a_reload_where_other_code_has_changed(tmp_path: Path) -> None:
    modules = {"mails": MAILS, "others": FIRST}
    with daemon(tmp_path, BOTH, modules=modules, changes=EAGER) as running, running.client() as client:
        client.pause()
        job = client.run_background_job(MAIL, "send")
        write(running, BROKEN)
        os.kill(running.fork_server(), signal.SIGKILL)
        eventually(lambda: is_unavailable(client))
        client.resume()
        eventually(lambda: "cannot be used: ModuleNotFoundError: No module named 'nosuch'" in job.why())
        write(running, FIRST.replace("first", "second"), "others")
        write(running, MAILS)
        eventually(lambda: "; `bgjob reload` takes up both" in job.why())
        assert eventually(lambda: said(running, "the code of other classes has changed as well") == 1)
        assert client.run_background_job(OTHER, "tell").result(20) == "first"
        assert job.refresh()["status"] == "pending"
        client.reload()
        assert job.result(20) == "sent"
        assert client.run_background_job(OTHER, "tell").result(20) == "second"


WITH_EXTRAS = """
try:
    import extras
except ImportError:
    extras = None


class Other:
    def tell(self):
        return "plain" if extras is None else "with extras"
"""


def test_what_others_do_without_is_not_brought_by_a_class_that_is_mended(tmp_path: Path) -> None:
    modules = {"mails": f"import extras\n{MAILS}", "others": WITH_EXTRAS}
    with daemon(tmp_path, BOTH, modules=modules, changes=EAGER) as running, running.client() as client:
        assert client.run_background_job(OTHER, "tell").result(20) == "plain"
        write(running, "", "extras")
        eventually(
            lambda: said(
                running, f"{MAIL}: it can be imported by now, and the code of other classes has changed"
            )
        )
        assert client.run_background_job(OTHER, "tell").result(20) == "plain"
        client.reload()
        assert client.run_background_job(OTHER, "tell").result(20) == "with extras"
        assert client.run_background_job(MAIL, "send").result(20) == "sent"


def test_a_class_whose_module_was_there_in_part_is_taken_up_by_itself(tmp_path: Path) -> None:
    modules = {"mails": "from mailing import Mails\n", "mailing": "", "others": FIRST}
    with daemon(tmp_path, BOTH, modules=modules, changes=EAGER) as running, running.client() as client:
        assert client.run_background_job(OTHER, "tell").result(20) == "first"
        assert is_unavailable(client)
        write(running, MAILS, "mailing")
        eventually(lambda: not is_unavailable(client))
        assert not said(running, "the code of other classes has changed as well")


def test_jobs_of_a_module_that_is_empty_for_a_while_wait_and_go_on_by_themselves(tmp_path: Path) -> None:
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    put(package / "upkeep.py", VACUUM)
    approved = '"shop.upkeep" = { methods = ["vacuum"], max_retries = 0 }'
    with daemon(tmp_path, approved, changes=EAGER) as running, running.client() as client:
        client.pause()
        job = client.run_background_job("shop.upkeep", "vacuum")
        put(package / "upkeep.py", "")
        os.kill(running.fork_server(), signal.SIGKILL)
        eventually(
            lambda: any("no functions at all" in (one["unavailable"] or "") for one in client.classes())
        )
        client.resume()
        eventually(lambda: "it has no functions at all, and those that are listed are vacuum" in job.why())
        put(package / "upkeep.py", VACUUM)
        assert job.result(20) == "clean"


VACUUM = "def vacuum():\n    return 'clean'\n"


HOOKED = """
import time
from pathlib import Path


class Mails:
    def send(self, go, heard):
        Path(f"{go}.began").touch()
        while not Path(go).exists():
            time.sleep(0.01)
        raise ValueError(heard)

    def failed(self, error):
        Path(error.message).touch()
"""


def test_a_hook_of_a_class_that_cannot_be_imported_waits_until_it_can_be(tmp_path: Path) -> None:
    go, heard = tmp_path / "go", tmp_path / "heard"
    with daemon(tmp_path, APPROVED, modules={"mails": HOOKED}) as running, running.client() as client:
        job = client.run_background_job(MAIL, "send", {"go": str(go), "heard": str(heard)})
        eventually(lambda: (tmp_path / "go.began").exists())
        write(running, BROKEN)
        os.kill(running.fork_server(), signal.SIGKILL)
        eventually(lambda: is_unavailable(client))
        go.touch()
        assert job.wait(20)["status"] == "failed"
        write(running, HOOKED)
        client.reload()
        eventually(heard.exists)


def test_an_attempt_that_was_granted_before_its_class_was_gone_comes_back_and_spends_nothing(
    tmp_path: Path,
) -> None:
    too_late = "from bgjobd.core.planner import Lanes; Lanes.without = lambda lanes, classes: lanes"
    with (
        daemon(tmp_path, APPROVED, modules={"mails": MAILS}, changes=too_late) as running,
        running.client() as client,
    ):
        client.pause()
        job = client.run_background_job(MAIL, "send")
        write(running, BROKEN)
        os.kill(running.fork_server(), signal.SIGKILL)
        eventually(lambda: is_unavailable(client))
        client.resume()
        eventually(lambda: job.refresh()["attempts"])
        eventually(lambda: job.refresh()["attempts"][0]["outcome"] == "not_started")
        assert "mails.Mails is unavailable: ModuleNotFound" in job.snapshot["attempts"][0]["error_message"]
        write(running, MAILS)
        client.reload()
        assert job.result(20) == "sent"
        assert job.refresh()["retry_count"] == 0


def test_a_trial_that_hangs_holds_up_neither_a_reload_nor_a_stop(tmp_path: Path) -> None:
    hangs = "import time\ntime.sleep(600)\n"
    with (
        daemon(tmp_path, APPROVED, "import_timeout = 1", modules={"mails": hangs}, changes=EAGER) as running,
        running.client() as client,
    ):
        eventually(lambda: is_unavailable(client))
        eventually(lambda: len(running.children()) == 2)
        write(running, MAILS)
        client.reload()
        assert client.run_background_job(MAIL, "send").result(20) == "sent"
        eventually(lambda: len(running.children()) == 1)
        eventually(lambda: client.stats()["fork_servers"] == 1)
        write(running, hangs)
        os.kill(running.fork_server(), signal.SIGKILL)
        eventually(lambda: is_unavailable(client))
        trial = eventually(lambda: running.children()[1:])[0]
        running.stop()
        eventually(lambda: not is_alive(trial))
