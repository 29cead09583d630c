"""New code and configuration while the daemon runs: taken when they are ready, refused when they are broken."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgjob import (
    AsyncClient,
    ClassUnavailableError,
    IdempotencyConflictError,
    InvalidParametersError,
    MethodNotApprovedError,
    NotApprovedError,
    ReloadFailedError,
)
from tests.daemon.running import RunningDaemon, daemon, is_alive
from tests.support import eventually

FIRST = """
import time
from pathlib import Path


class Versioned:
    def tell(self):
        return "first"

    def tell_late(self, path):
        Path(path + ".started").touch()
        while not Path(path).exists():
            time.sleep(0.01)
        return "first"

    def gone_later(self):
        return "still here"
"""
SECOND = FIRST.replace('"first"', '"second"').replace("gone_later", "new")
APPROVED = '"versioned.Versioned" = {}'


def write(running: RunningDaemon, source: str) -> None:
    """Replace the module, with a time that no cache of bytecode takes for the old one's."""
    file = running.directory / "versioned.py"
    file.write_text(source)
    os.utime(file, (1, len(source)))


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """One for all reloads that fail: the first version is what it goes on with."""
    directory = tmp_path_factory.mktemp("old")
    with daemon(directory, APPROVED, modules={"versioned": FIRST}) as running:
        yield running


def test_after_a_reload_jobs_run_the_new_code_and_the_old_ones_end_with_the_old(tmp_path: Path) -> None:
    with daemon(tmp_path, APPROVED, modules={"versioned": FIRST}) as running, running.client() as client:
        path = tmp_path / "go"
        late = client.run_background_job("versioned.Versioned", "tell_late", {"path": str(path)})
        eventually(lambda: (tmp_path / "go.started").exists())
        old_server = running.fork_server()
        before = client.run_background_job("versioned.Versioned", "tell")
        assert before.result(20) == "first"
        write(running, SECOND)
        version = client.reload()
        after = client.run_background_job("versioned.Versioned", "tell")
        assert after.result(20) == "second"
        assert after.snapshot["attempts"][0]["code_version"] == version
        assert before.snapshot["attempts"][0]["code_version"] != version
        assert is_alive(old_server)
        path.touch()
        assert late.result(20) == "first"
        eventually(lambda: not is_alive(old_server))
        assert client.run_background_job("versioned.Versioned", "new").result(20) == "still here"
        with pytest.raises(MethodNotApprovedError):
            client.run_background_job("versioned.Versioned", "gone_later")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("class Versioned:\n  def tell(self) return 1", "SyntaxError"),
        ("raise RuntimeError('not today')", "RuntimeError: not today"),
        ("import os\nos._exit(3)", "ended the process"),
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()",
            "1 thread running",
        ),
        ("class Another: pass", "AttributeError"),
        ("class Versioned:\n  MAX_RETRIES = -1\n  def tell(self): return 1", "its attribute MAX_RETRIES"),
    ],
)
def test_broken_code_keeps_the_old_and_says_why(old: RunningDaemon, source: str, reason: str) -> None:
    with old.client() as client:
        client.run_background_job("versioned.Versioned", "tell").result(20)
        server, failures = (
            eventually(lambda: len(old.children()) == 1 and old.children()[0]),
            failed_reloads(old),
        )
        write(old, source)
        with pytest.raises(ReloadFailedError, match=f"versioned.Versioned is unavailable: .*{reason}"):
            client.reload()
        assert client.run_background_job("versioned.Versioned", "tell").result(20) == "first"
        eventually(lambda: old.children() == [server])  # the other one's spares end with it
        eventually(lambda: failed_reloads(old) == failures + 1)  # the line comes a moment after the answer


def failed_reloads(running: RunningDaemon) -> int:
    told = "the reload failed, the old code and configuration stay"
    return len([line for line in running.lines() if told in line])


def test_what_was_broken_before_and_still_is_stops_no_reload(tmp_path: Path) -> None:
    with daemon(tmp_path, APPROVED, modules={"versioned": FIRST}) as running, running.client() as client:
        reasons = {one["name"]: one["unavailable"] for one in client.classes()}
        assert reasons["broken.Job"] is not None
        write(running, SECOND)
        client.reload()
        assert client.run_background_job("versioned.Versioned", "tell").result(20) == "second"


def test_a_reload_takes_up_the_configuration_too(tmp_path: Path) -> None:
    with daemon(tmp_path, modules={"versioned": FIRST}) as running, running.client() as client:
        with pytest.raises(NotApprovedError):
            client.run_background_job("versioned.Versioned", "tell")
        text = running.config.read_text()
        running.config.write_text(f"{text}{APPROVED}\n[queues]\nmail = {{ slots = 1 }}\n")
        client.reload()
        job = client.run_background_job("versioned.Versioned", "tell", queue="mail")
        assert job.result(20) == "first"
        running.config.write_text(text)
        client.reload()
        with pytest.raises(NotApprovedError):
            client.run_background_job("versioned.Versioned", "tell")


def test_a_bad_configuration_is_refused_with_every_problem_and_changes_nothing(old: RunningDaemon) -> None:
    with old.client() as client:
        text = old.config.read_text()
        old.config.write_text(f"{text}[retry2]\nx = 1\n[limits]\ntimeout = 'soon'\n")
        with pytest.raises(ReloadFailedError) as refused:
            client.reload()
        old.config.write_text(text)
        failure = client.stats()["reload_failure"]
        assert failure is not None
        assert "retry2" in failure
        assert "retry2" in str(refused.value)
        assert "limits.timeout" in str(refused.value)
        assert client.run_background_job("versioned.Versioned", "tell").result(20) == "first"


def test_a_change_that_takes_a_restart_is_said(tmp_path: Path) -> None:
    with daemon(tmp_path, APPROVED, modules={"versioned": FIRST}) as running, running.client() as client:
        text = running.config.read_text()
        running.config.write_text(text.replace(f'log_dir = "{tmp_path}/log"', f'log_dir = "{tmp_path}/log2"'))
        assert client.reload_and_tell().needing_restart == ["[daemon] log_dir"]
        eventually(lambda: any("[daemon] log_dir has changed" in line for line in running.lines()))
        running.config.write_text(text)
        assert client.reload_and_tell().needing_restart == []
        assert client.stats()["reload_failure"] is None


STEPPING = """
import bgjob


class Versioned:
    def wait(self, context: bgjob.JobContext):
        context.step("one", str, 1)
        return context.wait_for("go") or "first"
"""


def test_jobs_that_go_on_in_other_code_amid_their_steps_are_counted(tmp_path: Path) -> None:
    with daemon(tmp_path, APPROVED, modules={"versioned": STEPPING}) as running, running.client() as client:
        job = client.run_background_job("versioned.Versioned", "wait")
        eventually(lambda: job.refresh()["waiting_on"] == "signal go")
        assert client.reload_and_tell().amid_steps == 0  # the code is the same
        write(running, STEPPING.replace('"first"', '"second"'))
        assert client.reload_and_tell().amid_steps == 1
        job.signal("go")
        assert job.result(20) == "second"


def test_sighup_reloads(tmp_path: Path) -> None:
    with daemon(tmp_path, APPROVED, modules={"versioned": FIRST}) as running, running.client() as client:
        client.run_background_job("versioned.Versioned", "tell").result(20)
        write(running, SECOND)
        assert running.process is not None
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: any("reloaded: code version" in line for line in running.lines()))
        assert client.run_background_job("versioned.Versioned", "tell").result(20) == "second"


def test_a_job_that_waits_for_its_time_meets_the_code_of_that_time(tmp_path: Path) -> None:
    with daemon(tmp_path, APPROVED, modules={"versioned": FIRST}) as running, running.client() as client:
        client.pause()
        gone = client.run_background_job("versioned.Versioned", "gone_later")
        kept = client.run_background_job("versioned.Versioned", "tell")
        write(running, SECOND)
        (told,) = client.reload_and_tell().waiting_jobs
        assert told == (
            "1 job of versioned.Versioned::gone_later would fail, not to be retried: the class has no such method "
            f"that may be called, and its attempts end with MethodNotApproved (job {gone.id})"
        )
        client.resume()
        assert kept.result(20) == "second"
        ended = gone.wait(20)
        assert (ended["status"], len(ended["attempts"])) == ("failed", 1)
        assert "MethodNotApproved: versioned.Versioned::gone_later is no longer allowed" in ended["error"]


def test_parameters_that_no_longer_fit_fail_the_job_at_once(tmp_path: Path) -> None:
    with daemon(tmp_path, APPROVED, modules={"versioned": FIRST}) as running, running.client() as client:
        client.pause()
        job = client.run_background_job("versioned.Versioned", "tell")
        write(running, SECOND.replace("def tell(self)", "def tell(self, language)"))
        client.reload()
        client.resume()
        ended = job.wait(20)
        assert (ended["status"], len(ended["attempts"])) == ("failed", 1)
        assert ended["error"] == "InvalidParameters: language: is required"
        with pytest.raises(InvalidParametersError):
            client.run_background_job("versioned.Versioned", "tell")


def test_slots_count_the_attempts_of_all_generations(tmp_path: Path) -> None:
    with daemon(tmp_path, APPROVED, modules={"versioned": FIRST}) as running, running.client() as client:
        path = tmp_path / "go"
        held = [
            client.run_background_job("versioned.Versioned", "tell_late", {"path": str(path)})
            for _ in range(4)
        ]
        eventually(lambda: all(job.refresh()["status"] == "running" for job in held))
        client.reload()
        waiting = client.run_background_job("versioned.Versioned", "tell")
        assert waiting.refresh()["status"] == "pending"
        path.touch()
        assert waiting.result(20) == "first"


def test_fifty_reloads_at_once_import_the_code_twice_at_most(tmp_path: Path) -> None:
    counted = f"open('{tmp_path}/imports', 'a').write('x')\n{FIRST}"
    with daemon(tmp_path, APPROVED, modules={"versioned": counted}) as running, running.client() as client:
        client.classes()

        async def reload() -> str:
            async with AsyncClient(str(running.socket), timeout=60) as own:
                return await own.reload()

        async def reload_at_once() -> list[str]:
            return await asyncio.gather(*(reload() for _ in range(50)))

        assert len(set(asyncio.run(reload_at_once()))) == 1
        assert len((tmp_path / "imports").read_text()) <= 3


def test_many_reloads_leave_one_fork_server_and_no_descriptor(tmp_path: Path) -> None:
    with daemon(tmp_path, APPROVED, modules={"versioned": FIRST}) as running, running.client() as client:
        client.reload()
        assert running.process is not None
        place = f"/proc/{running.process.pid}/fd"
        eventually(lambda: len(running.children()) == 1)
        before = len(os.listdir(place))
        for _ in range(4):
            client.reload()
        eventually(lambda: len(running.children()) == 1)
        eventually(lambda: len(os.listdir(place)) <= before)


def test_an_old_fork_server_that_is_killed_loses_no_attempt(tmp_path: Path) -> None:
    with daemon(tmp_path, APPROVED, modules={"versioned": FIRST}) as running, running.client() as client:
        path = tmp_path / "go"
        late = client.run_background_job("versioned.Versioned", "tell_late", {"path": str(path)})
        eventually(lambda: (tmp_path / "go.started").exists())
        old_server = running.fork_server()
        client.reload()
        os.kill(old_server, signal.SIGKILL)
        path.touch()
        assert late.result(20) == "first"


def test_a_key_stands_for_the_request_whatever_the_defaults_are_by_now(tmp_path: Path) -> None:
    with daemon(tmp_path, APPROVED, modules={"versioned": FIRST}) as running, running.client() as client:
        first = client.run_background_job("versioned.Versioned", "tell", idempotency_key="k")
        settings = '"versioned.Versioned" = { max_retries = 7, priority = 3 }'
        running.config.write_text(running.config.read_text().replace(APPROVED, settings))
        client.reload()
        assert client.run_background_job("versioned.Versioned", "tell", idempotency_key="k").id == first.id
        with pytest.raises(IdempotencyConflictError, match=f"job {first.id}"):
            client.run_background_job("versioned.Versioned", "tell", priority=3, idempotency_key="k")


def test_a_class_that_breaks_with_a_new_fork_server_is_unavailable_until_it_is_mended(tmp_path: Path) -> None:
    with daemon(tmp_path, APPROVED, modules={"versioned": FIRST}) as running, running.client() as client:
        server = running.fork_server()
        client.run_background_job("versioned.Versioned", "tell").result(20)
        write(running, "raise RuntimeError('not today')")
        os.kill(server, signal.SIGKILL)
        eventually(lambda: any("another" in line for line in running.lines()))
        eventually(
            lambda: {one["name"]: one for one in client.classes()}["versioned.Versioned"]["unavailable"]
        )
        with pytest.raises(ClassUnavailableError, match="not today"):
            client.run_background_job("versioned.Versioned", "tell")
        write(running, SECOND)
        client.reload()
        assert client.run_background_job("versioned.Versioned", "tell").result(20) == "second"
