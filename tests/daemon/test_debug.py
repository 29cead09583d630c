"""`bgjobd debug`: a job's call again, on a terminal, under pdb; what it finds there, and that it leaves nothing."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjobd.forkserver.debug_steps import DebugKeeper
from bgjobd.supervisor.fork_server_marks import VARIABLE
from tests.daemon import warm
from tests.daemon.running import RunningDaemon, children_of, daemon
from tests.packaging.walkthrough import blocks_of, is_as_shown
from tests.security.test_terminal_text import HOSTILE, harm_in
from tests.support import eventually

SOURCE = """
import os, sys, time
from pathlib import Path

import bgjob


class Report:
    def __init__(self, context: bgjob.JobContext):
        self.context = context

    def build(self, rows: int, by: int = 0):
        total = rows * 2
        self.context.progress(0.5, "half")
        self.context.logger.warning("on the way")
        return total // by

    async def later(self, rows: int):
        return await self._part(rows)

    async def _part(self, rows):
        return 12 // rows

    def hang(self, mark):
        Path(mark).touch()
        while not self.context.stop_reason:
            time.sleep(0.01)

    def stop(self):
        breakpoint()
        return "went on"

    def go_on(self):
        try:
            int("1")
        except Exception:
            pass
        return "went on"

    def leave(self):
        os._exit(0)

    def surroundings(self):
        with open("made", "w"):
            pass
        return {
            "env": dict(os.environ), "cwd": os.getcwd(), "tmp": os.environ["TMPDIR"], "umask": os.umask(0o077),
            "mode": os.stat("made").st_mode & 0o777, "status": Path("/proc/self/status").read_text(),
            "attempt": self.context.attempt, "left": self.context.remaining,
        }

    def order(self, ledger, again=0):
        def charge():
            with open(ledger, "a") as book:
                print("charged", file=book)
            return 17
        charged = self.context.step("charge", charge)
        seen = self.context.state.get("seen", 0)
        self.context.state["seen"] = seen + 1
        self.context.emit({"seen": seen})
        self.context.sleep(0.01)
        packed = self.context.wait_for("packed")
        labelled = self.context.step("label", lambda: [charged, packed])
        return [labelled, self.context.token("charge"), 1 // again, seen]


class Nobodys:
    def who(self):
        Path("made").touch()
        return [os.getuid(), os.environ["TMPDIR"] == os.getcwd()]


class Confined:
    def intrude(self, path):
        Path(path).touch()
"""

TYPED = """
from datetime import date

from pydantic import SecretStr


class Till:
    def login(self, user: str, token: SecretStr):
        return [user, type(token).__name__, len(token.get_secret_value())]

    def day(self, on: date):
        return on.isoformat()

    def nap(self, label: str, seconds: float):
        return [label, seconds]
"""

REPORTS = """# The reports of the shop

from pydantic import SecretStr


class Report:
    def build(self, rows: int, token: SecretStr):
        total = 0
        return total / rows
"""

FUNCTIONS = """
def half(of: int):
    return 10 // of
"""

SETTINGS = """
"shop.Report" = { max_retries = 0, timeout = 60 }
"shop.Confined" = { max_retries = 0, writable = [], memory = "1G" }
"parts.halves" = { methods = ["half"], max_retries = 0 }
"""

if os.geteuid() == 0:
    SETTINGS += '"shop.Nobodys" = { max_retries = 0, user = "nobody" }\n'

ROOT = ("--as-root",) if os.geteuid() == 0 else ()
"""Tests may be run by root, whose jobs are not debugged by chance."""

_WITH_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


_FORKED_WITH_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
sys.stdout.reconfigure(line_buffering=True)
"""


class Person:
    """Somebody at a terminal of their own, on which `bgjobd debug` or `bgjob debug` runs."""

    def __init__(self, program: str, words: list[str], environ: dict[str, str]) -> None:
        self._master, slave = os.openpty()
        self.process: subprocess.Popen[bytes] | warm.Process
        if warm.is_able(environ):
            self.process = warm.Process(words, environ, _FORKED_WITH_TERMINAL, slave, slave, slave, program)
        else:
            beside = os.path.join(os.path.dirname(sys.executable), program)
            self.process = subprocess.Popen(
                [sys.executable, "-c", _WITH_TERMINAL, beside, *words],
                env=environ,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
            )
        os.close(slave)
        self._told = b""
        self._seen = 0

    def reads(self, words: str) -> str:
        """All that came up to these words, which were not seen before."""
        eventually(lambda: words in self._text()[self._seen :])
        end = self._text().index(words, self._seen) + len(words)
        told, self._seen = self._text()[self._seen : end], end
        return told

    def types(self, line: str) -> None:
        os.write(self._master, f"{line}\n".encode())

    def presses(self, key: str) -> None:
        os.write(self._master, key.encode())

    def sees_the_end(self) -> tuple[int, str]:
        """The exit code, and what came last."""
        eventually(lambda: self._text() is not None and self.process.poll() is not None)
        told = self._text()[self._seen :]
        os.close(self._master)
        return self.process.returncode, told

    def _text(self) -> str:
        while select.select([self._master], [], [], 0)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the other side is closed
                break
            self._told += data
        whole = codecs.getincrementaldecoder("utf-8")().decode(self._told)  # it may end within a character
        return whole.replace("\r\n", "\n")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("debug")
    (directory / "parts").mkdir()
    modules = {"shop": SOURCE, "parts/halves": FUNCTIONS}
    with daemon(directory, SETTINGS, modules=modules) as running:
        yield running


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """One whose application converts parameters, for which each debugger imports what takes half of its start."""
    settings = '"till.Till" = { max_retries = 0 }'
    with daemon(
        tmp_path_factory.mktemp("typed"), settings, modules={"till": TYPED}, has_pydantic=True
    ) as running:
        yield running


def ended(running: RunningDaemon, method: str, class_name: str = "shop.Report", **parameters: Any) -> int:
    with running.client() as client:
        job = client.run_background_job(class_name, method, parameters)
        eventually(lambda: client.get(job.id).snapshot["finished_at"])
        return int(job.id)


def sits_at(
    running: RunningDaemon, job_id: int, *options: str, program: str = "bgjobd", **environ: str
) -> Person:
    around = {name: value for name, value in os.environ.items() if name != "PYTHONBREAKPOINT"}
    around |= {"TERM": "dumb", "SHELL_SECRET": "of the shell", "HOME": str(running.directory), **environ}
    return Person(program, ["debug", str(job_id), "--config", str(running.config), *ROOT, *options], around)


def debugged(
    running: RunningDaemon, job_id: int, *options: str, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """Without a terminal; `given` is what the debugger reads."""
    return warm.run(["debug", str(job_id), "--config", str(running.config), *ROOT, *options], given=given)


def test_a_job_that_raised_is_looked_at_where_it_raised(running: RunningDaemon) -> None:
    job_id = ended(running, "build", rows=4)
    person = sits_at(running, job_id)
    told = person.reads("Go on? [y/N] ")
    assert told.startswith(f"job {job_id} ran once; it raised ZeroDivisionError. Its code was ")
    assert ", as here.\nThis calls shop.Report::build for real, as uid " in told
    person.types("y")
    told = person.reads("(Pdb) ")
    assert "\n50% half\nWARNING on the way\n" in told
    assert re.search(r"^> /.*/shop.py\(\d+\)build\(\)\n-> return total // by$", told, re.MULTILINE)
    person.types("w")
    assert "forkserver" not in person.reads("(Pdb) ")
    person.types("p total, rows")
    assert "(8, 4)" in person.reads("(Pdb) ")
    person.types("q")
    assert person.sees_the_end()[0] == 1


def test_nothing_is_called_unless_the_person_says_so(running: RunningDaemon) -> None:
    job_id = ended(running, "build", rows=4)
    person = sits_at(running, job_id)
    person.reads("[y/N] ")
    person.types("")
    assert person.sees_the_end() == (130, "\n")


def test_it_is_traced_from_its_first_line_and_its_result_printed(running: RunningDaemon) -> None:
    job_id = ended(running, "build", rows=4)
    person = sits_at(running, job_id, "--yes", "--trace", "-p", "by=3")
    assert ")build()\n-> total = rows * 2\n" in person.reads("(Pdb) ")
    person.types("n")
    person.reads("-> self.context.progress")
    person.types("p total")
    person.reads("\n8\n")
    person.types("c")
    code, told = person.sees_the_end()
    assert (code, told.splitlines()[-1]) == (0, "2")


def test_who_leaves_amid_the_call_has_interrupted_it_whatever_the_job_makes_of_that(
    running: RunningDaemon,
) -> None:
    done = debugged(running, ended(running, "go_on"), "--yes", "--trace", given="n\nq\n")
    assert (done.returncode, "went on" in done.stdout) == (130, False)


def test_bgjob_debug_is_the_same_command_and_asks_the_daemon_that_bgjob_asks(running: RunningDaemon) -> None:
    job_id = ended(running, "build", rows=4)
    person = sits_at(
        running, job_id, "--yes", "-p", "by=1", program="bgjob", BGJOBD_SOCKET=str(running.socket)
    )
    code, told = person.sees_the_end()
    assert (code, told.splitlines()[-1]) == (0, "8")
    gone = sits_at(running, job_id, "--yes", "--socket", "/nowhere/s.sock", program="bgjob")
    code, told = gone.sees_the_end()
    assert (code, "/nowhere/s.sock" in told, "--from takes what `bgjob show" in told) == (69, True, True)


def test_an_async_method_is_looked_at_where_it_raised_and_traced(running: RunningDaemon) -> None:
    job_id = ended(running, "later", rows=0)
    raised = debugged(running, job_id, "--yes", given="w\np rows\nq\n")
    assert raised.returncode == 1
    assert ")_part()\n-> return 12 // rows\n" in raised.stdout
    assert "asyncio" not in raised.stdout
    traced = debugged(running, job_id, "--yes", "--trace", "-p", "rows=3", given="c\n")
    assert (traced.returncode, traced.stdout.splitlines()[-1]) == (0, "(Pdb) 4")
    assert ")later()\n-> return await self._part(rows)\n" in traced.stdout


def test_a_function_of_a_module_is_called_too(running: RunningDaemon) -> None:
    job_id = ended(running, "half", "parts.halves", of=0)
    done = debugged(running, job_id, "--yes", given="p of\nq\n")
    assert (done.returncode, ")half()\n-> return 10 // of\n" in done.stdout) == (1, True)


def test_the_session_of_the_documentation_goes_so(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text()
    (block,) = (one for one in blocks_of(page, "page") if one.first_line == "$ bgjob debug 12")
    ((_, shown),) = block.exchanges
    (tmp_path / "myapp").mkdir()
    settings = '"myapp.reports.Report" = { max_retries = 1, retry_delay = 0.01 }'
    with daemon(tmp_path, settings, modules={"myapp/reports": REPORTS}, has_pydantic=True) as running:
        job_id = ended(running, "build", "myapp.reports.Report", rows=0, token="sesame")
        (tmp_path / "myapp" / "reports.py").write_text(f"{REPORTS}\n# changed since\n")
        person = sits_at(running, job_id)
        told = ""
        for words, typed in (
            ("[y/N] ", "y"),
            ("(secret): ", "sesame"),
            ("(Pdb) ", "p rows"),
            ("(Pdb) ", "q"),
        ):
            told += person.reads(words)
            person.types(typed)
        code, last = person.sees_the_end()
    told = re.sub(r"[0-9a-f]{12}", "736711a9ab89", told + last).replace(str(tmp_path), "/srv/myapp")
    shown = re.sub(r"[0-9a-f]{12}", "736711a9ab89", shown).replace("job 12 ", f"job {job_id} ")
    assert (code, is_as_shown(shown, told)) == (1, True), told


# Secrets


def test_a_secret_is_typed_unseen_and_is_nowhere_but_in_the_job(typed: RunningDaemon, tmp_path: Path) -> None:
    job_id = ended(typed, "login", "till.Till", user="ann", token="0123456789")
    with typed.client() as client:
        job = client.get(job_id).snapshot
    assert (job["sensitive"], job["parameters"]) == (["token"], {"user": "ann", "token": "***"})
    person = sits_at(typed, job_id, "--yes", "--trace")
    person.reads("token (secret): ")
    person.types("4711471147")
    assert "4711471147" not in person.reads("(Pdb) ")
    pids = [person.process.pid, *children_of(person.process.pid)]
    assert len(pids) == 2
    for pid in pids:
        for name in ("cmdline", "environ"):
            assert b"4711471147" not in Path(f"/proc/{pid}/{name}").read_bytes()
    person.types("c")
    code, told = person.sees_the_end()
    assert (code, told.splitlines()[-1]) == (0, '["ann","SecretStr",10]')


def test_a_secret_comes_from_a_file_and_not_as_a_word(typed: RunningDaemon, tmp_path: Path) -> None:
    job_id = ended(typed, "login", "till.Till", user="ann", token="sesame")
    (tmp_path / "token").write_text("longer than before\n")
    done = debugged(typed, job_id, "--yes", "-p", f"token=@{tmp_path}/token")
    assert (done.returncode, done.stdout) == (0, '["ann","SecretStr",18]\n')
    word = debugged(typed, job_id, "--yes", "-p", "token=spoken")
    assert word.returncode == 2
    assert "token is a secret, and whoever lists processes would see it" in word.stderr
    assert "spoken" not in word.stderr
    command = ["debug", str(job_id), "--config", str(typed.config), "--yes", *ROOT]
    nobody = warm.run(command, changes="import os; os.setsid()")
    assert (nobody.returncode, "nobody has typed" in nobody.stderr) == (1, True)


# What it leaves behind


def test_nothing_is_written_and_nothing_left(running: RunningDaemon) -> None:
    job_id = ended(running, "build", rows=4)
    eventually(lambda: running.spooled() == [])
    running.query("PRAGMA wal_checkpoint(TRUNCATE)")
    before = digest_of(running), running.spooled()
    person = sits_at(running, job_id, "--yes", "--trace")
    person.reads("(Pdb) ")
    person.types("import os; print('in', os.getcwd())")
    directory = Path(person.reads("\n(Pdb) ").split("in /", 1)[1].split("\n")[0])
    person.types("c")
    person.reads("(Pdb) ")
    person.types("q")
    assert person.sees_the_end()[0] == 1
    assert not Path("/", directory).exists()
    assert (digest_of(running), running.spooled()) == before


def digest_of(running: RunningDaemon) -> list[str]:
    state = running.directory / "state"
    files = sorted(path for path in state.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    return [f"{path} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]


def test_it_has_the_surroundings_of_an_attempt_and_nothing_of_the_shell(running: RunningDaemon) -> None:
    job_id = ended(running, "surroundings")
    with running.client() as client:
        attempts = client.get(job_id).snapshot["result"]
    person = sits_at(running, job_id, "--yes")
    code, told = person.sees_the_end()
    assert code == 0
    here = json.loads(told.splitlines()[-1])
    added = {"TERM", "BGJOB_DEBUG"}
    assert set(here["env"]) - added == set(attempts["env"]) - {VARIABLE}
    assert (here["env"]["BGJOB_DEBUG"], here["env"]["TERM"]) == ("1", "dumb")
    assert (here["umask"], here["mode"], here["tmp"], here["attempt"]) == (0o077, 0o600, here["cwd"], 1)
    assert "NoNewPrivs:\t1" in here["status"]
    assert here["left"] is not None


def test_it_is_confined_where_that_is_asked(running: RunningDaemon, tmp_path: Path) -> None:
    job_id = ended(running, "intrude", "shop.Confined", path=str(tmp_path / "made"))
    free = debugged(running, job_id, "--yes")
    assert (free.returncode, (tmp_path / "made").exists()) == (0, True)
    (tmp_path / "made").unlink()
    confined = debugged(running, job_id, "--yes", "--confined")
    assert (confined.returncode, (tmp_path / "made").exists()) == (1, False)
    assert "PermissionError" in confined.stderr


# Ends


def test_ctrl_c_ends_the_call_and_tells_where_it_was(running: RunningDaemon, tmp_path: Path) -> None:
    with running.client() as client:
        job = client.run_background_job("shop.Report", "hang", {"mark": str(tmp_path / "first")})
        eventually((tmp_path / "first").exists)
        job.cancel()
        eventually(lambda: client.get(job.id).snapshot["finished_at"])
    person = sits_at(running, job.id, "--yes", "-p", f"mark={tmp_path}/second")
    eventually((tmp_path / "second").exists)
    person.presses("\x03")
    code, told = person.sees_the_end()
    assert (code, "in hang\n" in told, told.splitlines()[-1]) == (130, True, "KeyboardInterrupt")


def test_ctrl_c_at_the_question_ends_it(running: RunningDaemon) -> None:
    person = sits_at(running, ended(running, "build", rows=4))
    person.reads("[y/N] ")
    person.presses("\x03")
    assert person.sees_the_end()[0] == 130


def test_a_breakpoint_of_the_jobs_own_stops_it_or_does_what_the_variable_says(running: RunningDaemon) -> None:
    job_id = ended(running, "stop")
    person = sits_at(running, job_id, "--yes")
    person.reads("(Pdb) ")
    person.types("c")
    assert person.sees_the_end() == (0, 'c\n"went on"\n')
    leaving = sits_at(running, job_id, "--yes")
    leaving.reads("(Pdb) ")
    leaving.types("q")
    assert leaving.sees_the_end() == (130, "q\n")
    off = sits_at(running, job_id, "--yes", PYTHONBREAKPOINT="0")
    code, told = off.sees_the_end()
    assert (code, "(Pdb)" in told) == (0, False)


def test_a_job_that_ends_its_process_has_not_completed(running: RunningDaemon) -> None:
    done = debugged(running, ended(running, "leave"), "--yes")
    assert done.returncode == 1
    assert "the job's process has ended with exit code 0, without a word of its method's" in done.stderr


# What is refused


def test_a_job_that_runs_is_debugged_only_where_that_is_meant(running: RunningDaemon, tmp_path: Path) -> None:
    with running.client() as client:
        job = client.run_background_job("shop.Report", "hang", {"mark": str(tmp_path / "first")})
        eventually((tmp_path / "first").exists)
        refused = debugged(running, job.id, "--yes")
        assert (refused.returncode, f"job {job.id} runs" in refused.stderr) == (77, True)
        meant = debugged(running, job.id, "--yes", "--anyway", "--trace", given="q\n")
        assert (meant.returncode, "it has not ended" in meant.stderr) == (130, True)
        job.cancel()


def test_parameters_that_do_not_fit_are_told_by_name(typed: RunningDaemon) -> None:
    job_id = ended(typed, "day", "till.Till", on="2026-01-31")
    assert debugged(typed, job_id, "--yes", "-p", "on=2026-02-28").stdout == '"2026-02-28"\n'
    done = debugged(typed, job_id, "--yes", "-p", "on=31.1.", "-p", "by=me")
    assert (done.returncode, done.stdout) == (1, "")
    assert "its parameters do not fit till.Till::day: on: " in done.stderr
    assert "; by: " in done.stderr


def test_parameters_are_checked_as_those_of_a_submit(typed: RunningDaemon) -> None:
    job_id = ended(typed, "nap", "till.Till", label="a", seconds=1.5)
    done = debugged(typed, job_id, "--yes", "-p", "label=5", "-p", "seconds=x")
    assert (done.returncode, done.stdout) == (1, "")
    assert 'label: 5 is not of type "string"' in done.stderr
    assert 'seconds: "x" is not of type "number"' in done.stderr
    assert debugged(typed, job_id, "--yes", "-p", 'label="5"').stdout == '["5",1.5]\n'


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root")
def test_root_debugs_nothing_by_chance(running: RunningDaemon) -> None:
    job_id = ended(running, "build", rows=4)
    done = warm.run(["debug", str(job_id), "--config", str(running.config), "--yes"])
    assert (done.returncode, "--as-root does" in done.stderr) == (77, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root")
def test_root_debugs_a_class_that_has_a_user_as_that_user(running: RunningDaemon) -> None:
    job_id = ended(running, "who", "shop.Nobodys")
    command = ["debug", str(job_id), "--config", str(running.config), "--yes"]
    for options, uid in (((), 65534), (("--confined",), 65534), (("--as-root",), 0)):
        done = warm.run([*command, *options])
        assert (done.returncode, f"for real, as uid {uid}" in done.stderr) == (0, True), done.stderr
        assert json.loads(done.stdout) == [uid, True]


def test_it_asks_only_where_somebody_can_answer(running: RunningDaemon) -> None:
    done = debugged(running, ended(running, "build", rows=4))
    assert (done.returncode, "nobody is at a terminal; --yes goes on" in done.stderr) == (2, True)


def test_an_attempt_that_is_not_there_and_a_job_that_is_not_are_said(running: RunningDaemon) -> None:
    job_id = ended(running, "build", rows=4)
    assert debugged(running, job_id, "--yes", "--attempt", "2").returncode == 2
    assert debugged(running, 999_999, "--yes").returncode == 4


def test_where_a_configuration_was_looked_for_is_told_if_there_is_none(
    running: RunningDaemon, tmp_path: Path
) -> None:
    job_id = ended(running, "build", rows=4)
    with running.client() as client:
        (tmp_path / "job.json").write_text(json.dumps(client.get(job_id).snapshot))
    arguments = ["debug", str(job_id), "--yes", "--from", str(tmp_path / "job.json")]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BGJOBD_")}
    done = warm.run(arguments, environ | {"XDG_CONFIG_HOME": str(tmp_path)})
    assert done.returncode == 77
    places = f"/etc/bgjobd/bgjobd.toml or {tmp_path}/bgjobd/bgjobd.toml"
    assert f"no configuration is there, at {places}; --config or $BGJOBD_CONFIG names" in done.stderr


# Steps, and jobs of elsewhere


def test_finished_steps_do_not_run_again_and_waits_are_settled_here(
    running: RunningDaemon, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    with running.client() as client:
        job = client.run_background_job("shop.Report", "order", {"ledger": str(ledger)})
        eventually(lambda: client.get(job.id).snapshot["waiting_on"] == "signal packed")
        waiting = debugged(running, job.id, "--yes", "-p", "again=1", given='{"parcels": 2}\n')
        assert waiting.returncode == 0, waiting.stderr
        token = next(step["token"] for step in client.steps(job.id).steps if step["name"] == "charge")
        assert json.loads(waiting.stdout) == [[17, {"parcels": 2}], token, 1, 2]
        assert 'value {"seen":2}' in waiting.stderr
        assert "It waits for signal packed, and goes on by itself as well" in waiting.stderr
        assert "Finished, and not run again: step charge." in waiting.stderr
        nobody = debugged(running, job.id, "--yes")
        assert (nobody.returncode, "it waits for signal packed" in nobody.stderr) == (1, True)
        client.signal(job.id, "packed", {"parcels": 3})
        eventually(lambda: client.get(job.id).snapshot["finished_at"])
    around = os.environ | {"BGJOBD_SOCKET": str(running.socket)}
    shown = warm.run(["show", str(job.id), "--steps", "--json"], around, program="bgjob").stdout
    (tmp_path / "job.json").write_text(shown)
    environ = {"BGJOBD_DAEMON__SOCKET": "/nowhere/s.sock"}
    person = sits_at(
        running, job.id, "--from", str(tmp_path / "job.json"), "--yes", "-p", "again=1", **environ
    )
    code, told = person.sees_the_end()
    assert (code, json.loads(told.splitlines()[-1])[0]) == (0, [17, {"parcels": 3}])
    assert ledger.read_text() == "charged\n"
    other = debugged(running, job.id + 1, "--from", str(tmp_path / "job.json"), "--yes")
    assert (other.returncode, f"has job {job.id}, not {job.id + 1}" in other.stderr) == (2, True)


@pytest.mark.parametrize(
    ("scheduled_at", "told"),
    [
        ("2999-01-31T12:00:00.000000Z", "It runs again, 2999-01-31 12:00:00 UTC (in "),
        ("2026-01-31T12:00:00.000000Z", "It runs again by itself as well; `bgjob cancel "),
    ],
)
def test_a_retry_that_is_due_is_told(
    running: RunningDaemon, tmp_path: Path, scheduled_at: str, told: str
) -> None:
    job_id = ended(running, "build", rows=4)
    with running.client() as client:
        job = client.get(job_id).snapshot
    job |= {"status": "pending", "scheduled_at": scheduled_at, "finished_at": None}
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = debugged(running, job_id, "--from", str(tmp_path / "job.json"), "--yes")
    assert told in done.stderr


@pytest.mark.parametrize(("sensitive", "is_run_again"), [(["rows"], True), ([], False)])
def test_what_is_as_long_as_null_is_null_only_where_results_are_told(
    running: RunningDaemon, tmp_path: Path, sensitive: list[str], is_run_again: bool
) -> None:
    job_id = ended(running, "build", rows=4)
    with running.client() as client:
        job = client.get(job_id).snapshot
    at = job["created_at"]
    step = {
        "kind": "step",
        "name": "charge",
        "turn": 1,
        "number": 1,
        "attempt": 1,
        "tries": 1,
        "began_at": at,
    }
    step |= {"finished_at": at, "until": None, "size": 4, "result": None, "timed_out": False}
    step |= {"unused_in": None, "by_uid": None, "token": "0" * 32}
    told = job | {"sensitive": sensitive, "steps_told": [step], "signals": [], "state": None}
    (tmp_path / "job.json").write_text(json.dumps(told))
    (tmp_path / "rows").write_text("4")
    done = debugged(
        running,
        job_id,
        *("--from", str(tmp_path / "job.json"), "--yes"),
        *(("-p", f"rows=@{tmp_path}/rows") if sensitive else ()),
    )
    assert ("Finished, and run again" in done.stderr) == is_run_again, done.stderr
    assert ("Finished, and not run again: step charge." in done.stderr) != is_run_again


def test_a_state_that_is_not_told_is_said_to_be_empty_here(running: RunningDaemon, tmp_path: Path) -> None:
    job_id = ended(running, "build", rows=4)
    with running.client() as client:
        job = client.get(job_id).snapshot
    told = {"steps_told": [], "signals": [], "state": None, "state_size": 12}
    for state, is_said in ((told, True), (told | {"state_size": None}, False), (told | {"state": {}}, False)):
        (tmp_path / "job.json").write_text(json.dumps(job | state))
        done = debugged(running, job_id, "--from", str(tmp_path / "job.json"), "--yes")
        assert ("Its state, 12 B, is not told, and is empty here." in done.stderr) == is_said, done.stderr


def test_a_job_of_elsewhere_moves_no_terminal_and_forges_no_line(
    running: RunningDaemon, tmp_path: Path
) -> None:
    job_id = ended(running, "build", rows=4)
    with running.client() as client:
        job = client.get(job_id).snapshot
    attempt = {**job["attempts"][0], "error_type": HOSTILE, "code_version": HOSTILE, "outcome": "failed"}
    for lie in (
        {"parameters": {HOSTILE: 1}, "attempts": [attempt]},
        {"method_name": HOSTILE, "attempts": [{**attempt, "outcome": HOSTILE}]},
        {"class_name": HOSTILE},
        {"sensitive": [HOSTILE, 1, {}], "status": "pending", "waiting_on": HOSTILE},
    ):
        (tmp_path / "job.json").write_text(json.dumps(job | lie))
        done = debugged(running, job_id, "--from", str(tmp_path / "job.json"), "--yes")
        assert done.returncode
        assert harm_in(done.stdout + done.stderr) == "", lie


def keeper(**carried: Any) -> DebugKeeper:
    known = {"job": 1, "steps": [], "waits": [], "tokens": {}, "signals": [], **carried}
    return DebugKeeper(known, lambda message: None, lambda question: None)


def test_a_signal_that_nobody_has_taken_is_taken_once_and_then_waited_for() -> None:
    kept = keeper(signals=[["packed", "1"], ["other", "2"]])
    _, waits = kept.carried()
    assert waits.get(("signal", "packed", 1)) == ("1", False)
    assert waits.get(("signal", "packed", 2)) is None


def test_a_payload_that_is_no_json_is_asked_for_again() -> None:
    typed, told = ['{"parcels": 2', "", None], list[str]()
    known = {"job": 1, "steps": [], "waits": [], "tokens": {}, "signals": []}
    _, waits = DebugKeeper(known, told.append, lambda question: typed.pop(0)).carried()
    assert waits.get(("signal", "packed", 1)) == ("null", False)
    assert [message.partition(":")[0] for message in told] == ["this is no JSON"]
    assert waits.get(("signal", "packed", 2)) is None


def test_what_attempts_have_waited_for_comes_again_and_a_sleep_is_over() -> None:
    kept = keeper(waits=[["signal", "packed", 1, None, True]])
    _, waits = kept.carried()
    assert waits.get(("signal", "packed", 1)) == (None, True)
    assert waits.get(("sleep", "", 1)) == (None, False)


def test_a_token_is_the_jobs_own_where_it_is_known() -> None:
    kept = keeper(tokens={"charge": "f" * 32})
    assert kept.token("charge") == "f" * 32
    assert kept.token("pay") == kept.token("pay") != kept.token("ship")
    assert len(kept.token("pay")) == 32
