"""The commands of `bgjob` against a real daemon: as programs meet them, and as persons do, on a terminal."""

from __future__ import annotations

import argparse
import codecs
import json
import os
import re
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bgjob import Client
from bgjob.answers import Reloaded
from bgjob.commands import manage
from tests.daemon import warm
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

MODULE = '''
import os, sys, time
from pathlib import Path
from typing import Literal
import bgjob


class Mail:
    """Sends messages.

    Not really.
    """

    def send(self, to: str, subject: str = "Hello", copies: int = 1, kind: Literal["a", "b"] = "a") -> str:
        """Sends one message."""
        if "@" not in to:
            raise ValueError(f"no address: {to}")
        print("sent to", to)
        return f"{subject} to {to}"


class Work:
    def steps(self, go, context: bgjob.JobContext):
        context.progress(0.25, "one \\x1b[31mquarter")
        context.logger.info("on the way")
        print("first line", flush=True)
        while not Path(go).exists():
            time.sleep(0.01)
        print("last line", flush=True)
        return "done"

    def dirty(self):
        os.write(1, b"\\x1b[31mred\\x07 \\xe2\\x80\\xaegnol\\xff\\r\\n50%\\r\\tend")
        raise ValueError("dirty \\x1b[2J\\nerror")

    def quiet(self):
        pass

    def fail(self):
        raise ValueError("no recipient")


class Long:
    def talk(self):
        os.write(1, b"\\x1b[31m" + "é".encode() * 50_000)
'''

SETTINGS = """
"shop.Mail" = { queue = "mail", max_retries = 0, slots = 3, memory = "1G" }
"shop.Work" = { max_retries = 0 }
"shop.Long" = { max_retries = 0, max_output = "16K" }
[queues]
mail = { slots = 1 }
"""

ESCAPE = "\x1b"


class Commands:
    """Runs `bgjob` as a process, with what it needs in its environment."""

    def __init__(self, socket: Path | str) -> None:
        self._environ = {
            **{
                name: value
                for name, value in os.environ.items()
                if name not in ("NO_COLOR", "PAGER", "LESS", "COLUMNS", "LINES")
            },
            "BGJOBD_SOCKET": str(socket),
            "TERM": "xterm",
        }

    def run(self, *arguments: str, given: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        if warm.is_able(self._environ | environ):
            return warm.run(arguments, self._environ | environ, given=given, program="bgjob")
        return subprocess.run(
            self._command(arguments),
            env=self._environ | environ,
            input=given,
            capture_output=True,
            text=True,
            timeout=50,
        )

    def json(self, *arguments: str) -> Any:
        """What it says with --json, one document."""
        done = self.run(*arguments, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    def submitted(self, *arguments: str) -> int:
        done = self.run("run", *arguments)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    def ended(self, *arguments: str) -> int:
        """The id of a job that has ended, whichever way."""
        job_id = self.submitted(*arguments)
        self.run("wait", str(job_id))
        return job_id

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command(arguments),
            env=self._environ | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def on_terminal(self, *arguments: str, columns: int = 80, lines: int = 24, **environ: str) -> Terminal:
        return Terminal(list(arguments), self._environ | environ, columns, lines, program="bgjob")

    @staticmethod
    def _command(arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "bgjob", *arguments]


_AT_A_TERMINAL = "import sys; sys.stdout.reconfigure(line_buffering=True)"


class Terminal:
    """A process on a pseudo-terminal of its own; `text` is all that it has written there. Where it is a program of ours
    it is forked, and the command is its arguments.
    """

    def __init__(
        self, command: list[str], environ: dict[str, str], columns: int, lines: int, program: str = ""
    ) -> None:
        self._master, slave = os.openpty()
        termios.tcsetwinsize(slave, (lines, columns))
        self.process: subprocess.Popen[bytes] | warm.Process
        if program and warm.is_able(environ):
            self.process = warm.Process(command, environ, _AT_A_TERMINAL, slave, slave, slave, program)
        else:
            program_first = [sys.executable, "-m", program] if program else []
            self.process = subprocess.Popen(
                [*program_first, *command], env=environ, stdin=slave, stdout=slave, stderr=slave
            )
        os.close(slave)
        self._told = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()  # what is read may end within a character

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        termios.tcsetwinsize(self._master, (lines, columns))
        self.process.send_signal(signal.SIGWINCH)  # it is no controlling terminal, so nobody else does

    @property
    def settings(self) -> list[Any]:
        """How it treats what is typed and written."""
        return termios.tcgetattr(self._master)

    @property
    def text(self) -> str:
        while select.select([self._master], [], [], 0)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the other side is closed
                break
            if not data:
                break
            self._told += self._decoder.decode(data)
        return self._told.replace("\r\n", "\n")

    def shows(self, words: str) -> bool:
        return words in self.text

    def finish(self) -> tuple[int, str]:
        """The exit code and the text, once the process has ended."""
        eventually(lambda: self.text is not None and self.process.poll() is not None)
        code, told = self.process.returncode, self.text
        self._decoder.decode(b"", final=True)
        os.close(self._master)
        return code, told


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(
        tmp_path_factory.mktemp("commands"), SETTINGS, modules={"shop": MODULE}, has_pydantic=True
    ) as running:
        yield running


@pytest.fixture(scope="module")
def commands(running: RunningDaemon) -> Commands:
    return Commands(running.socket)


# Jobs that come after others

FLOW = """{
  "groups": [{"ref": "mails", "name": "to all"}],
  "jobs": [
    {"ref": "first", "class_name": "shop.Mail", "method_name": "send", "parameters": {"to": "a@b"}},
    {"class_name": "shop.Mail", "method_name": "send", "parameters": {"to": "c@d"},
      "options": {"after": [{"ref": "first"}], "group": {"ref": "mails"}}},
    {"class_name": "shop.Mail", "method_name": "send", "parameters": {"to": "nobody"},
      "options": {"after": [{"ref": "first"}], "group": {"ref": "mails"}}},
    {"ref": "last", "class_name": "shop.Mail", "method_name": "send",
      "options": {"after": [{"group_ref": "mails"}], "take": {"to": {"of": {"ref": "first"}}}}}
  ]
}
"""


def test_a_flow_is_submitted_seen_as_a_graph_and_retried_where_it_failed(commands: Commands) -> None:
    stored = commands.run("flow", "-", given=FLOW)
    (first, first_ref), (kept,), (failed,), (last, last_ref) = map(str.split, stored.stdout.splitlines())
    assert (first_ref, last_ref) == ("first", "last")
    group = stored.stderr.split()[2]
    assert commands.run("group", group, "--wait").returncode == 1
    assert commands.run("wait", last).returncode == 3  # what the end of a group causes may come after it
    lines = commands.run("graph", last).stdout.splitlines()
    assert [" ".join(line.split()) for line in lines[1:]] == [
        f"{first} completed Mail::send",
        f"├─ {kept} completed Mail::send member of group {group}",
        f"└─ {failed} failed Mail::send ValueError: no address: nobody; member of group {group}",
        f"↓ group {group} failed to all 1 of 2 completed, 1 failed",
        f"↓ {last}* cancelled Mail::send cancelled: group {group}, which it came after, failed",
    ]
    shown = commands.run("show", last).stdout.splitlines()
    assert f"after       group {group} (failed), job {first} (completed)" in shown
    assert shown[-1] == f"next: bgjob group {group}, bgjob graph {last}"
    assert commands.run("retry", last).returncode == 77
    assert commands.json("group", group, "--retry")["retried"] == 1
    assert commands.run("group", group, "-w").returncode == 1
    assert commands.run("wait", last).returncode == 3
    assert commands.json("retry", last, "--anyway") == {"ids": [int(last)]}
    assert commands.run("wait", last).stdout == f"{last} completed\n"


def test_what_is_wrong_with_a_flow_is_said_with_its_line(commands: Commands) -> None:
    later = commands.run("flow", "-", given=FLOW.replace('{"group_ref": "mails"}', '{"ref": "last"}'))
    assert later.stderr.startswith("bgjob: line 10, column 29: invalid value for jobs.3.options.after.0: ")
    wrong = commands.run("flow", "-", given=FLOW.replace('"nobody"', "17"))
    assert wrong.stderr == 'bgjob: line 7, column 77, jobs.2.parameters.to: 17 is not of type "string"\n'
    assert (later.returncode, wrong.returncode) == (77, 77)


# run


def test_run_takes_parameters_from_words_from_a_file_and_from_stdin(
    commands: Commands, tmp_path: Path
) -> None:
    (tmp_path / "mail.json").write_text('{"to": "a@b", "subject": "File"}')
    told = [
        commands.run("run", "-w", "shop.Mail::send", *arguments, given='{"to": "c@d"}').stdout
        for arguments in (
            ("--parameters", '{"to": "x@y"}'),
            ("--parameters", f"@{tmp_path}/mail.json", "-p", "subject=Word"),
            ("--parameters", "-"),
        )
    ]
    assert [json.loads(one) for one in told] == ["Hello to x@y", "Word to a@b", "Hello to c@d"]


def test_every_option_of_run_reaches_the_job(commands: Commands) -> None:
    job_id = commands.submitted(
        *("shop.Work::quiet", "--delay", "2h", "--priority", "7", "--queue", "mail"),
        *("--attempt-timeout", "1m", "--max-retries", "5", "--retry-delay", "500ms"),
        *("--backoff", "exponential", "--retry-count", "2", "--idempotency-key", "every-option"),
    )
    job = commands.json("show", str(job_id))
    told = {name: job[name] for name in ("status", "priority", "queue", "timeout", "max_retries")}
    assert told == {"status": "pending", "priority": 7, "queue": "mail", "timeout": 60.0, "max_retries": 5}
    assert (job["retry_delay"], job["backoff"], job["retry_count"]) == (0.5, "exponential", 2)
    assert job["idempotency_key"] == "every-option"
    at = commands.submitted("shop.Work::quiet", "--at", "2099-01-01T12:00:00+02:00")
    assert commands.json("show", str(at))["scheduled_at"] == "2099-01-01T10:00:00.000000Z"
    commands.run("cancel", str(job_id), str(at))


def test_the_same_key_gives_the_same_job(commands: Commands) -> None:
    first, second = (
        commands.submitted("shop.Work::quiet", option, "once") for option in ("--idempotency-key", "--key")
    )
    assert first == second, "--key is what it was called first"


def test_run_with_follow_prints_output_on_stdout_and_log_lines_on_stderr(
    commands: Commands, tmp_path: Path
) -> None:
    process = commands.start("run", "-f", "shop.Work::steps", "-p", f"go={tmp_path}/go")
    assert process.stdout is not None
    assert process.stdout.readline() == "first line\n"
    (tmp_path / "go").touch()
    output, log = process.communicate(timeout=30)
    assert (process.returncode, output) == (0, "last line\n")
    assert re.search(
        r"^\[.{19}\] SUCCESS: shop.Work::steps - Background job completed processing$", log, re.M
    )
    assert "INFO: shop.Work::steps - on the way" in log


def test_run_with_follow_ends_with_the_code_of_the_job(commands: Commands) -> None:
    done = commands.run("run", "-f", "shop.Mail::send", "-p", "to=nobody")
    assert done.returncode == 1
    assert "ValueError: no address: nobody; `bgjob show" in done.stderr


def test_the_end_of_an_output_is_printed(commands: Commands) -> None:
    job_id = str(commands.submitted("shop.Mail::send", "-p", "to=a@b"))
    commands.run("wait", job_id)
    assert commands.run("output", job_id, "-c", "6").stdout == "o a@b\n"
    assert commands.run("output", job_id, "-f", "-c", "4").stdout == "a@b\n"
    assert commands.run("output", job_id, "-c", "1K").stdout == "sent to a@b\n"
    part = commands.json("output", job_id, "-c", "4")
    assert (part["offset"], part["left_out"]) == (8, 0)


# JSON


def test_every_command_speaks_json(commands: Commands, running: RunningDaemon) -> None:
    commands.submitted("shop.Work::quiet")  # that there is an older one
    job_id = commands.json("run", "shop.Mail::send", "-p", "to=a@b")["id"]
    waited = commands.json("wait", str(job_id))
    assert (waited["id"], waited["status"], waited["result"]) == (job_id, "completed", "Hello to a@b")
    shown = commands.json("show", str(job_id))
    assert [attempt["number"] for attempt in shown["attempts"]] == [1]
    assert commands.json("show", str(job_id), "--logs")["logs"][0]["message"] == "Background job initiated"
    listed = commands.json("list", "--limit", "1")
    assert listed == {"jobs": listed["jobs"], "next": job_id}
    assert listed["jobs"][0]["id"] == job_id
    assert commands.json("output", str(job_id)) == {
        "number": 1,
        "left_out": 0,
        "offset": 0,
        "data": "c2VudCB0byBhQGIK",
    }
    assert commands.json("tail", "-n", "1", "--job", str(job_id))["type"] == "success"
    assert commands.json("stats")["version"]
    assert set(commands.json("top", "--once")) == {"stats", "attempts", "failed", "needs"}
    assert [one["name"] for one in commands.json("classes", "Mail")["classes"]] == ["shop.Mail"]
    assert commands.json("pause", "mail") == {"queue": "mail", "resumes_at": None}
    waiting = commands.json("run", "shop.Mail::send", "-p", "to=a@b")["id"]
    terms = (
        "--priority",
        "5",
        "--at",
        "none",
        "--expires",
        "1h",
        "--attempt-timeout",
        "1m",
        "--max-retries",
        "0",
    )
    assert commands.json("change", str(waiting), *terms) == {"ids": [waiting]}
    changed = commands.json("show", str(waiting))
    assert (changed["priority"], changed["timeout"], changed["max_retries"]) == (5, 60.0, 0)
    assert changed["expires_at"] > changed["created_at"]
    commands.run("change", str(waiting), "--expires", "none", "--attempt-timeout", "none")
    changed = commands.json("show", str(waiting))
    assert (changed["expires_at"], changed["timeout"], changed["priority"]) == (None, None, 5)
    assert commands.json("cancel", str(waiting)) == {"ids": [waiting]}
    assert commands.json("retry", str(waiting)) == {"ids": [waiting]}
    assert commands.json("resume", "mail") == {"queue": "mail"}
    assert commands.json("wait", str(waiting))["status"] == "completed"


def test_what_follows_is_json_lines(commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    done = commands.run("run", "-f", "shop.Work::steps", "-p", f"go={tmp_path}/go", "--json")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert {next(iter(one)) for one in told} == {"entry", "number", "job"}
    assert told[-1]["job"]["status"] == "completed"
    followed = commands.run("tail", "-f", "--job", str(told[-1]["job"]["id"]), "--json")
    assert [json.loads(line)["message"] for line in followed.stdout.splitlines()][-1].startswith(
        "Background job"
    )


def test_reload_prints_the_version_of_the_code(commands: Commands) -> None:
    assert commands.json("reload")["code_version"]
    done = commands.run("reload")
    assert re.fullmatch(r"[0-9a-f]{12}\n", done.stdout)
    assert done.stderr.startswith("bgjob: reloaded; ")


def test_reload_prints_what_it_could_not_take_up_and_which_jobs_that_wait_do_not_fit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    doubt = "sensitive of a.B lists tokne, and no method has such a parameter"
    told = Reloaded("c0de", ["[daemon] fifo"], ["1 job of a.B::c would fail"], doubts=[doubt])
    client = SimpleNamespace(reload_and_tell=lambda: told)
    assert manage.reload(cast(Client, client), argparse.Namespace(json=False)) == 0
    said = capsys.readouterr()
    assert said.out == "c0de\n"
    assert said.err.splitlines()[1:] == [
        f"bgjob: doubtful: {doubt}",
        "bgjob: [daemon] fifo has changed, which takes a restart; until then the old one holds",
        "bgjob: queued jobs: 1 job of a.B::c would fail",
    ]
    assert manage.reload(cast(Client, client), argparse.Namespace(json=True)) == 0
    assert json.loads(capsys.readouterr().out) == told._asdict()


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (1, "1 job is amid steps that other code has begun; its next attempt goes on in this one"),
        (3, "3 jobs are amid steps that other code has begun; their next attempts go on in this one"),
        (
            1000,
            "1,000 jobs or more are amid steps that other code has begun; their next attempts go on in this one",
        ),
    ],
)
def test_reload_prints_how_many_jobs_are_amid_steps(
    capsys: pytest.CaptureFixture[str], count: int, told: str
) -> None:
    client = SimpleNamespace(reload_and_tell=lambda: Reloaded("c0de", [], [], count))
    assert manage.reload(cast(Client, client), argparse.Namespace(json=False)) == 0
    assert capsys.readouterr().err.splitlines()[1:] == [f"bgjob: {told}"]


# Lists


def test_list_finds_jobs_by_status_class_method_queue_and_search(commands: Commands) -> None:
    failed = commands.ended("shop.Mail::send", "-p", "to=findable")
    later = commands.submitted("shop.Work::quiet", "--delay", "1h")

    def ids(*filters: str) -> list[int]:
        return [job["id"] for job in commands.json("list", *filters)["jobs"]]

    assert failed in ids("--status", "failed", "cancelled")
    assert later not in ids("--status", "failed", "--status", "cancelled")
    assert later in ids("--status", "scheduled")
    assert failed in ids("--class", "shop.Mail::send", "--queue", "mail")
    assert ids("--class", "shop.Mail::missing") == []
    assert ids("--search", "FINDABLE") == [failed]
    assert later not in ids("--before", str(later))
    assert failed in ids("--sort", "ended", "--outcome", "failed", "--since", "1h")
    assert failed not in ids("--until", "1h")
    assert ids("--longer-than", "1d", "--label", "nobody's") == []
    commands.run("cancel", str(later))


def test_list_says_scheduled_and_when(commands: Commands) -> None:
    commands.submitted("shop.Work::quiet")  # that there is an older one
    later = commands.submitted("shop.Work::quiet", "--delay", "150m")
    done = commands.run("list", "--limit", "1", "--columns", "id,status,job,when")
    assert done.stdout.splitlines()[1].split() == [
        str(later),
        "scheduled",
        "shop.Work::quiet",
        "in",
        "2",
        "h",
    ]
    assert f"--before {later}" in done.stderr
    commands.run("cancel", str(later))


def test_a_list_that_goes_into_a_file_is_not_shortened_and_not_coloured(commands: Commands) -> None:
    commands.ended("shop.Work::dirty")
    told = commands.run("list", "--limit", "1", COLUMNS="30").stdout
    assert "shop.Work::dirty" in told
    assert "ValueError: dirty \\x1b[2J\\nerror" in told
    assert ESCAPE not in told


def test_a_queue_that_there_is_not_is_said(commands: Commands) -> None:
    done = commands.run("list", "--queue", "nosuch")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "bgjob: there is no queue nosuch; `bgjob stats` lists them\n"
    assert (
        "no job matches" in commands.run("list", "--queue", "mail", "--search", "nowhere to be found").stderr
    )


def test_nothing_found_is_said(commands: Commands) -> None:
    done = commands.run("list", "--search", "nowhere to be found")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "bgjob: no job matches; `bgjob list` without options has the newest of all\n"
    said = commands.run("tail", "--search", "nowhere to be found").stderr
    assert said.startswith(
        "bgjob: no log line of a job matches; what the daemon says of itself is in background_"
    )


# One job


def test_a_job_with_a_unique_key_and_a_time_to_start_by_tells_both(commands: Commands) -> None:
    words = ("shop.Work::quiet", "--unique-key", "k", "--unique-while", "pending", "--unique-for", "1s")
    replacing = ("--if-held", "replace", "--at-latest", "2h", "--delay", "3h", "--expires", "4h")
    job_id = commands.submitted(*words, "--delay", "1h")
    assert commands.submitted(*words, *replacing) == job_id
    told = commands.run("show", str(job_id)).stdout
    assert re.search(r"^unique +k$", told, re.MULTILINE), told
    assert re.search(r"^scheduled .*in 2 h", told, re.MULTILINE), told
    assert re.search(r"^expires .*in 4 h", told, re.MULTILINE), told
    refused = commands.run("run", *words, "--if-held", "refuse").stderr
    assert f"job {job_id} holds this unique key; `bgjob show {job_id}` has more" in refused
    commands.run("cancel", str(job_id))


def test_show_tells_what_became_of_each_attempt(commands: Commands) -> None:
    job_id = commands.ended("shop.Mail::send", "-p", "to=nobody", "--max-retries", "1")
    told = commands.run("show", str(job_id), "--logs").stdout
    assert told.startswith(f"job {job_id}  shop.Mail::send\n")
    assert re.search(r"^retries +1 of 1 spent, 50 ms apart$", told, re.M)
    assert re.search(r"^status +failed$", told, re.M)
    assert re.search(r"^attempt 2  failed  .* UTC, [\d.]+ m?s$", told, re.M)
    assert "traceback of attempt 2" in told
    assert 'raise ValueError(f"no address: {to}")' in told
    assert "of memory" in told
    assert "INFO: shop.Mail::send - Background job waits for retry 1 of 1" in told
    assert f"next: bgjob retry {job_id}" in told


def test_nothing_that_a_job_says_can_move_the_cursor(commands: Commands) -> None:
    job_id = commands.ended("shop.Work::dirty")
    for arguments in (("show", str(job_id), "--logs"), ("tail", "--job", str(job_id)), ("wait", str(job_id))):
        done = commands.run(*arguments)
        assert "dirty \\x1b[2J\\nerror" in done.stdout + done.stderr
        assert ESCAPE not in done.stdout + done.stderr


# Log lines


def test_tail_prints_the_lines_of_the_log_file(commands: Commands, running: RunningDaemon) -> None:
    job_id = commands.ended("shop.Work::fail")
    told = commands.run("tail", "--job", str(job_id), "-n", "100").stdout.splitlines()
    assert len(told) == 4
    assert eventually(lambda: set(told) <= set(running.lines()))
    assert commands.run("tail", "--job", str(job_id), "-n", "2").stdout.splitlines() == told[-2:]
    failures = commands.run("tail", "--job", str(job_id), "--type", "failure").stdout.splitlines()
    assert failures == [line for line in told if "] FAILURE: shop.Work::fail - ValueError" in line]
    assert commands.run("tail", "--job", str(job_id), "--search", "STARTED").stdout.splitlines() == told[2:3]


def test_tail_follows_over_a_restart_of_the_daemon(tmp_path: Path) -> None:
    with daemon(tmp_path, SETTINGS, modules={"shop": MODULE}) as running:
        commands = Commands(running.socket)
        commands.ended("shop.Work::quiet")
        process = commands.start("tail", "-f", "-n", "1", "--search", "initiated")
        assert process.stdout is not None
        assert process.stderr is not None
        lines = iter(process.stdout.readline, "")
        assert "shop.Work::quiet" in next(lines)
        running.stop()
        assert "waiting for the daemon to come back" in process.stderr.readline()
        running.start()
        assert "is back" in process.stderr.readline()
        commands.submitted("shop.Mail::send", "-p", "to=a@b")
        assert "shop.Mail::send - Background job initiated" in next(lines)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "the jobs go on" in told


def test_a_wait_outlives_a_restart_of_the_daemon(tmp_path: Path) -> None:
    with daemon(tmp_path, SETTINGS, modules={"shop": MODULE}) as running:
        process = Commands(running.socket).start("run", "-w", "shop.Work::steps", "-p", f"go={tmp_path}/go")
        assert process.stderr is not None
        assert "submitted" in process.stderr.readline()
        eventually(lambda: running.query("SELECT 1 FROM job_attempts WHERE pid IS NOT NULL"))
        running.stop()
        assert "waiting for the daemon to come back" in process.stderr.readline()
        running.start()
        assert process.stderr.readline() == "bgjob: the daemon is back\n"
        (tmp_path / "go").touch()
        result, told = process.communicate(timeout=30)
    assert (process.returncode, result, told) == (0, '"done"\n', "")


# Output


def test_output_is_the_bytes_of_the_job_where_no_terminal_is(commands: Commands) -> None:
    job_id = commands.ended("shop.Work::dirty")
    command = [sys.executable, "-m", "bgjob", "output", str(job_id)]
    done = subprocess.run(command, env=commands._environ, capture_output=True, timeout=50)
    assert done.stdout == b"\x1b[31mred\x07 \xe2\x80\xaegnol\xff\r\n50%\r\tend"
    assert done.returncode == 0


def test_output_is_safe_on_a_terminal(commands: Commands) -> None:
    job_id = commands.ended("shop.Work::dirty")
    for arguments in (("output", str(job_id)), ("output", "-f", str(job_id))):
        code, told = commands.on_terminal(*arguments).finish()
        assert code == 0
        assert told == "\\x1b[31mred\\x07 \\u202egnol\\xff\n50%\n\tend\n"


def test_what_was_left_out_of_a_long_output_is_said_in_its_place_on_a_terminal(commands: Commands) -> None:
    job_id = commands.ended("shop.Long::talk")
    for arguments in (("output", str(job_id)), ("output", "-f", str(job_id))):
        told = commands.on_terminal(*arguments, columns=10_000).finish()[1].splitlines()
        assert len(told) == 3
        assert told[0].startswith("\\x1b[31mé")
        assert re.fullmatch(r"\[\.\.\. \d+ bytes left out \.\.\.\]", told[1])
        assert told[2].endswith("é")


def test_output_follows_a_job(commands: Commands, tmp_path: Path) -> None:
    job_id = commands.submitted("shop.Work::steps", "-p", f"go={tmp_path}/go")
    process = commands.start("output", "-f", str(job_id))
    assert process.stdout is not None
    assert process.stdout.readline() == "first line\n"
    (tmp_path / "go").touch()
    assert process.communicate(timeout=30)[0] == "last line\n"
    assert process.returncode == 0


def test_output_of_an_attempt_that_there_was_not_is_said(commands: Commands) -> None:
    job_id = commands.ended("shop.Work::quiet")
    done = commands.run("output", str(job_id), "--attempt", "2")
    told = f"bgjob: job {job_id} has no attempt 2; `bgjob show {job_id}` lists them\n"
    assert (done.returncode, done.stdout, done.stderr) == (4, "", told)


def test_a_job_that_wrote_nothing_is_said(commands: Commands) -> None:
    job_id = commands.ended("shop.Work::quiet")
    done = commands.run("output", str(job_id))
    assert (done.returncode, done.stdout) == (0, "")
    assert "has written nothing" in done.stderr


# Waiting


def test_wait_ends_with_the_code_of_the_first_that_did_not_complete(commands: Commands) -> None:
    good, bad = commands.submitted("shop.Work::quiet"), commands.submitted("shop.Work::fail")
    cancelled = commands.submitted("shop.Work::quiet", "--delay", "1h")
    commands.run("cancel", str(cancelled))
    done = commands.run("wait", str(good), str(cancelled), str(bad))
    assert done.returncode == 3
    assert set(done.stdout.splitlines()) == {f"{good} completed", f"{bad} failed", f"{cancelled} cancelled"}
    assert f"job {bad} failed: ValueError: no recipient; `bgjob show {bad}`" in done.stderr
    assert commands.run("wait", str(good)).returncode == 0
    assert commands.run("wait", str(bad), str(cancelled)).returncode == 1


def test_a_wait_that_times_out_names_what_goes_on(commands: Commands) -> None:
    good = commands.ended("shop.Work::quiet")
    later = commands.submitted("shop.Work::quiet", "--delay", "1h")
    done = commands.run("wait", str(good), str(later), "--timeout", "0.3s")
    assert done.returncode == 124
    assert f"job {later} goes on, `bgjob wait {later}`" in done.stderr
    commands.run("cancel", str(later))


def test_an_interrupt_ends_the_wait_and_no_job(commands: Commands, tmp_path: Path) -> None:
    job_id = commands.submitted("shop.Work::steps", "-p", f"go={tmp_path}/go")
    for arguments in (
        ("wait", str(job_id)),
        ("output", "-f", str(job_id)),
        ("tail", "-f", "--job", str(job_id)),
    ):
        terminal = commands.on_terminal(*arguments)
        eventually(lambda terminal=terminal: terminal.text)
        terminal.process.send_signal(signal.SIGINT)
        code, told = terminal.finish()
        assert code == 130
        assert f"job {job_id} goes on" in told
        assert "Traceback" not in told
    assert commands.json("show", str(job_id))["status"] == "running"
    (tmp_path / "go").touch()
    assert commands.run("wait", str(job_id)).returncode == 0


@pytest.mark.parametrize("option", ["-w", "-f"])
def test_an_interrupt_of_run_says_which_job_goes_on(commands: Commands, tmp_path: Path, option: str) -> None:
    process = commands.start("run", option, "shop.Work::steps", "-p", f"go={tmp_path}/go")
    assert process.stderr is not None
    submitted = re.match(r"bgjob: job (\d+) submitted", process.stderr.readline())
    assert submitted is not None
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert f"job {submitted[1]} goes on" in told
    (tmp_path / "go").touch()
    assert commands.run("wait", submitted[1]).returncode == 0


def test_progress_is_drawn_on_a_terminal_only(commands: Commands, tmp_path: Path) -> None:
    terminal = commands.on_terminal("run", "-w", "shop.Work::steps", "-p", f"go={tmp_path}/go")
    eventually(lambda: terminal.shows("25%") and terminal.shows("one \\x1b[31mquarter"))
    (tmp_path / "go").touch()
    code, told = terminal.finish()
    assert code == 0
    assert told.rstrip().endswith('"done"')
    quiet = commands.run("run", "-w", "shop.Work::steps", "-p", f"go={tmp_path}/go")
    assert quiet.stdout == '"done"\n'
    assert re.fullmatch(r"bgjob: job \d+ submitted; waiting for its end\n", quiet.stderr)


def test_a_submit_that_got_a_job_with_its_key_does_not_say_that_it_made_one(commands: Commands) -> None:
    run = (
        "run",
        "-w",
        "shop.Mail::send",
        "-p",
        "to=a@example.com",
        "--unique-key",
        "one",
        "--unique-for",
        "1h",
    )
    made, again = commands.run(*run), commands.run(*run)
    assert re.fullmatch(r"bgjob: job \d+ submitted; waiting for its end\n", made.stderr)
    assert again.stderr == made.stderr.replace("submitted", "had this key already")


def test_the_progress_of_others_erases_no_line_that_tells_of_an_end(
    commands: Commands, tmp_path: Path
) -> None:
    ids = [commands.submitted("shop.Work::steps", "-p", f"go={tmp_path}/go{n}") for n in range(3)]
    terminal = commands.on_terminal("wait", *map(str, ids), NO_COLOR="1")
    for number, job_id in enumerate(ids):
        eventually(lambda: terminal.shows("25%"))
        (tmp_path / f"go{number}").touch()
        eventually(lambda job_id=job_id: terminal.shows(f"{job_id} completed"))
    code, told = terminal.finish()
    assert code == 0
    assert what_stays(told) == [f"{job_id} completed" for job_id in ids]


def what_stays(written: str) -> list[str]:
    """The lines that a terminal shows in the end; of control sequences it knows those that move by lines and erase."""
    lines, row = [""], 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", written):
        if token == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif token.endswith("A") and token.startswith(ESCAPE):
            row -= int(token[2:-1] or 1)
        elif token.startswith(ESCAPE) and token.endswith("K"):
            lines[row] = ""
        elif token[0] not in f"{ESCAPE}\r":
            lines[row] += token
    return [line.rstrip() for line in lines if line.strip()]


# The terminal


@pytest.mark.parametrize(
    "arguments",
    [("list",), ("list", "--columns", "id,job,status,created,error"), ("stats",), ("classes", "Mail")],
)
def test_nothing_is_wider_than_the_terminal(commands: Commands, arguments: tuple[str, ...]) -> None:
    commands.ended("shop.Mail::send", "-p", "to=" + "nobody" * 20)
    code, told = commands.on_terminal(*arguments, NO_COLOR="1", PAGER="").finish()
    assert code == 0
    assert ESCAPE not in told
    assert max(len(line) for line in told.splitlines()) <= 80


def test_a_status_has_its_colour_on_a_terminal_unless_that_is_not_wanted(commands: Commands) -> None:
    job_id = commands.ended("shop.Work::fail")
    for arguments in (("show", str(job_id)), ("list",), ("tail", "--type", "failure"), ("wait", str(job_id))):
        assert f"{ESCAPE}[31m" in commands.on_terminal(*arguments, PAGER="").finish()[1]
        for environ in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            told = commands.on_terminal(*arguments, PAGER="", **environ).finish()[1]
            assert "fail" in told.lower()
            assert not re.search(rf"{ESCAPE}\[[0-9;]*3\dm", told)
        told = commands.run(*arguments).stdout
        assert "fail" in told.lower()
        assert ESCAPE not in told


def test_what_is_longer_than_the_screen_goes_through_the_pager(commands: Commands, tmp_path: Path) -> None:
    job_id = commands.ended("shop.Work::fail")
    pager = "sh -c 'echo paged; cat'"
    assert commands.on_terminal("show", str(job_id), lines=10, PAGER=pager).finish()[1].startswith("paged\n")
    assert "paged" not in commands.on_terminal("show", str(job_id), lines=60, PAGER=pager).finish()[1]
    broken = tmp_path / "pager"
    broken.write_text("#!/nowhere/interpreter\n")
    broken.chmod(0o755)
    for no_pager in ("", "/nowhere/pager", "'", str(broken)):
        told = commands.on_terminal("show", str(job_id), lines=10, PAGER=no_pager).finish()[1]
        assert "traceback of attempt 1" in told


def test_a_long_line_is_as_many_lines_as_the_screen_shows(commands: Commands) -> None:
    job_id = commands.ended("shop.Mail::send", "-p", "to=" + "x" * 6000)
    shown = commands.on_terminal("show", str(job_id), lines=60, PAGER="sh -c 'echo paged; cat'")
    assert shown.finish()[1].startswith("paged\n")


@pytest.mark.parametrize(
    ("pager", "less", "has_colours"),
    [
        (None, None, True),
        ("less", None, True),
        ("less -X", None, True),
        ("less", "FRX", True),
        ("less", "-i -R", True),
        ("less -iR", "M", True),
        ("less --RAW-CONTROL-CHARS", "M", True),
        ("less", "M", False),
        ("less", "", False),
        ("less -PReady", "-M", False),
        ("other -R", None, False),
        ("sh -c 'less $0 $1' -R", None, False),
    ],
)
def test_only_a_less_that_shows_colours_gets_them(
    commands: Commands, tmp_path: Path, pager: str | None, less: str | None, has_colours: bool
) -> None:
    for name in ("less", "other"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} gets LESS=$LESS and $*"; cat\n')
        (tmp_path / name).chmod(0o700)
    given = {name: value for name, value in (("PAGER", pager), ("LESS", less)) if value is not None}
    path = f"{tmp_path}:{os.environ['PATH']}"
    told = commands.on_terminal("classes", lines=5, PATH=path, **given).finish()[1]
    assert f"gets LESS={'FRX' if less is None else less} and" in told
    assert "shop.Mail" in told
    assert (ESCAPE in told) is has_colours


def test_a_pager_that_ends_early_is_no_error(commands: Commands) -> None:
    code, told = commands.on_terminal("classes", lines=5, PAGER="head -1").finish()
    assert (code, len(told.splitlines())) == (0, 1)


def test_an_interrupt_is_the_pagers(commands: Commands, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "quit")
    pager = f"sh -c 'cat; echo paged; read line < {tmp_path}/quit'"
    terminal = commands.on_terminal("classes", lines=5, PAGER=pager)
    eventually(lambda: terminal.shows("paged"))
    terminal.process.send_signal(signal.SIGINT)
    (tmp_path / "quit").write_text("q\n")
    code, told = terminal.finish()
    assert code == 0
    assert "Traceback" not in told


# Pipes and descriptors


def test_a_reader_that_ends_early_is_no_error(commands: Commands) -> None:
    for _ in range(3):
        commands.ended("shop.Work::quiet")
    process = commands.start("tail", "-f", "--class", "shop.Work")
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    commands.ended("shop.Work::quiet")
    assert process.wait(20) == 141
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_help_for_a_reader_that_ended_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "bgjob", "run", "--help"], stdout=writing, stderr=subprocess.PIPE, timeout=50
    )
    os.close(writing)
    assert done.returncode in (0, 141)
    assert done.stderr == b""


def test_a_full_disk_is_said(commands: Commands) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bgjob", "stats"],
            env=commands._environ,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=50,
        )
    assert done.returncode == 74
    assert done.stderr == "bgjob: the result could not be written: No space left on device\n"


@pytest.mark.parametrize(
    ("command", "code"),
    [("show 987654", 4), ("run -f shop.Work::quiet", 0), ("run -w shop.Work::fail", 1), ("nonsense", 2)],
)
def test_a_message_that_cannot_be_written_changes_no_exit_code(
    commands: Commands, command: str, code: int
) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bgjob", *command.split()],
            env=commands._environ,
            stdout=subprocess.PIPE,
            stderr=full,
            timeout=50,
        )
    assert done.returncode == code


def test_parameters_from_a_stdin_that_is_closed_are_none(commands: Commands) -> None:
    command = f'exec "{sys.executable}" -m bgjob run shop.Mail::send --parameters - <&-'
    done = subprocess.run(
        ["sh", "-c", command], env=commands._environ, capture_output=True, text=True, timeout=50
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "no parameters in '-'" in done.stderr


@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), ("2>&-", 0), ("<&-", 0), ("<&- >&- 2>&-", 0)])
def test_closed_descriptors_do_no_harm(commands: Commands, closed: str, code: int) -> None:
    command = f'exec "{sys.executable}" -m bgjob stats {closed}'
    done = subprocess.run(
        ["sh", "-c", command], env=commands._environ, capture_output=True, text=True, timeout=50
    )
    assert (done.returncode, done.stderr) == (code, "")


# Queues, classes


def test_a_paused_queue_says_so(commands: Commands) -> None:
    assert "`bgjob resume mail`" in commands.run("pause", "mail").stderr
    assert re.search(r"^mail .* paused$", commands.run("stats").stdout, re.M)
    told = commands.run("pause", "mail", "--for", "10m").stderr
    assert re.search(
        r"mail is paused until .* UTC \(in 10 min\); `bgjob resume mail` lets its jobs start before", told
    )
    assert re.search(r"^mail .* paused, resumes in 10 min$", commands.run("stats").stdout, re.M)
    assert commands.run("resume", "mail").stderr == "bgjob: queue mail is resumed\n"
    assert "paused" not in commands.run("stats").stdout
    assert commands.run("resume", "mail").stderr == "bgjob: queue mail was not paused\n"


def test_when_a_job_expires_is_given_as_a_time_from_now_or_as_a_moment(commands: Commands) -> None:
    moment = "2099-12-04T14:31:53.000000Z"
    job_id = commands.json("run", "shop.Mail::send", "-p", "to=a@b", "--delay", "1h", "--expires", moment)[
        "id"
    ]
    assert commands.json("show", str(job_id))["expires_at"] == moment
    commands.run("change", str(job_id), "--expires", "2098-12-04T14:31:53Z")
    assert commands.json("show", str(job_id))["expires_at"] == moment.replace("2099", "2098")
    refused = commands.run("run", "shop.Mail::send", "-p", "to=a@b", "--expires", "soon")
    assert (refused.returncode, "neither a time such as 90" in refused.stderr) == (2, True)
    commands.run("cancel", str(job_id))


def test_classes_show_what_may_run_and_how(commands: Commands) -> None:
    told = commands.run("classes").stdout
    signature = "send(to: str, subject: str = 'Hello', copies: int = 1, kind: 'a' | 'b' = 'a')"
    assert f"shop.Mail\n  Sends messages.\n\n  Not really.\n  {signature}\n      Sends one message.\n" in told
    assert (
        "  queue mail, priority 0, no timeout, 0 retries 50 ms apart\n  limits: slots 3, memory 1 GiB" in told
    )
    assert "broken.Job\n  cannot be used: RuntimeError: this module does not import\n" in told
    assert commands.run("classes", "Mail").stdout.startswith("shop.Mail\n")
    assert "  steps(go)\n" in commands.run("classes", "shop.Work").stdout


def test_a_class_that_somebody_holds_says_so_and_its_jobs_are_held(commands: Commands) -> None:
    assert "`bgjob class resume shop.Long`" in commands.run("class", "hold", "shop.Long").stderr
    assert re.search(
        r"is held since .* UTC, as uid \d+ has asked; `bgjob class resume shop.Long` lets it go on",
        commands.run("classes", "Long").stdout,
    )
    assert commands.json("class", "resume", "shop.Long") == {"class": "shop.Long"}
    assert "is held" not in commands.run("classes", "Long").stdout


def test_a_signature_is_folded_between_parameters(commands: Commands) -> None:
    told = commands.on_terminal("classes", "Mail", columns=60, NO_COLOR="1").finish()[1]
    folded = "  send(to: str, subject: str = 'Hello', copies: int = 1,\n        kind: 'a' | 'b' = 'a')\n"
    assert folded in told


COMMANDS = [
    *("run", "list", "show", "tail", "follow", "output", "wait", "cancel", "retry", "change", "signal"),
    *("top", "stats", "classes", "class", "reload", "pause", "resume", "completion"),
    *("schedules", "occurrences", "schedule"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_a_sentence_and_an_example(command: str) -> None:
    done = Commands("/nowhere/s.sock").run(command, "--help", COLUMNS="80")
    assert done.returncode == 0
    assert f"\n  bgjob {command}" in done.stdout
    assert "ADDRESS" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


def test_every_command_is_listed_with_its_sentence() -> None:
    told = Commands("/nowhere/s.sock").run("--help").stdout
    assert all(re.search(rf"^    {command}  +\S", told, re.M) for command in COMMANDS)
    assert Commands("/nowhere/s.sock").run("--version").stdout.startswith("bgjob ")


def test_submitting_imports_nothing_that_draws() -> None:
    code = "import sys; from bgjob.command import main\ntry: main(['run', 'a.B::c'])\nfinally: print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"BGJOBD_SOCKET": "/nowhere/s.sock"},
        capture_output=True,
        text=True,
        timeout=50,
    )
    imported = set(done.stdout.split())
    assert "bgjob.commands.submit" in imported
    unwanted = {"rich", "shtab", "asyncio", "subprocess", "inspect", "bgjob.commands.top.picture"}
    if sys.version_info >= (3, 14):
        unwanted -= {"inspect"}  # argparse's, for its colours
    assert not unwanted & imported


# What goes wrong


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "required: COMMAND; see `bgjob --help`"),
        (("fly",), "no command 'fly'; bgjob --help lists them"),
        (("wacth",), "no command 'wacth'; did you mean watch or wait? bgjob --help lists them"),
        (("run", "shop.Mail"), "is not CLASS::METHOD"),
        (("run", "::send"), "is not CLASS::METHOD"),
        (("run", "shop.Mail::send", "-p", "=1"), "is not KEY=VALUE"),
        (("run", "shop.Mail::send", "-p", 'to="\\u0000"'), "NUL"),
        (("run", "shop.Mail::send", "-p", 'to="\\ud800"'), "lone surrogate"),
        (("run", "shop.Mail::send", "-p", "to=99999999999999999999"), "beyond 64 bit"),
        (("run", "shop.Mail::send", "--parameters", "{"), "no parameters in the argument: "),
        (("run", "shop.Mail::send", "--parameters", '{"to": NaN}'), "NaN is no JSON number"),
        (("run", "shop.Mail::send", "--parameters", '{"to": 1, "to": 2}'), "a key twice"),
        (("run", "shop.Mail::send", "--parameters", '{"a": %s}' % ("9" * 5000)), "beyond 64 bit"),
        (("run", "shop.Mail::send", "--parameters", "[]"), "are a JSON object"),
        (("run", "shop.Mail::send", "--parameters", '{"\\u0000": 1}'), "NUL"),
        (("run", "shop.Mail::send", "--parameters", "[" * 100_000), "nested too deeply"),
        (("run", "shop.Mail::send", "--max", "1"), "bgjob run: error: unrecognized arguments: --max 1"),
        (("run", "shop.Mail::send", "--backof", "x"), "did you mean --backoff? see `bgjob run --help`"),
        (("export", "--limit", "1"), "bgjob export: error: unrecognized arguments: --limit 1"),
        (("run", "shop.Mail::send", "--parameters", "@/nowhere"), "No such file"),
        (("run", "shop.Mail::send", "--delay", "soon"), "is not a time such as"),
        (("run", "shop.Mail::send", "--delay", "-1"), "is not a time such as"),
        (("run", "shop.Mail::send", "--at", "noon"), "is not a date and time"),
        (("run", "shop.Mail::send", "--at", "tomorrow 24:00"), "is no time of a day such as 02:00"),
        (("run", "shop.Mail::send", "--backoff", "wild"), "invalid choice: 'wild'"),
        (("run", "shop.Mail::send", "--retry-count", "-1"), "is not a number from 0 on"),
        (("run", "shop.Mail::send", "--timeout", "5"), "--attempt-timeout limits an attempt"),
        (("list", "--status", "done"), "invalid choice: 'done'"),
        (("list", "--columns", "id,size"), "no column 'size'"),
        (("list", "--limit", "0"), "is not a number from 1 to 1000"),
        (("list", "--before", "x"), "is not a number from 1 on"),
        (("list", "--since", "noon"), "is neither a time ago such as 30m, 1h or 2d nor one such as"),
        (("why", "0"), "is not a number from 1 on"),
        (("why", "1_0"), "is not a number from 1 on"),
        (("why", "99999999999999999999"), "is not a number from 1 to 9223372036854775807"),
        (("tail", "-n", "-5"), "is not a number from 0 to 1000"),
        (("tail", "--type", "warning"), "invalid choice: 'warning'"),
        (("wait",), "wait needs the ID of a job, or --label"),
        (("wait", "1", "--timeout", "inf"), "is not a time such as"),
        (("top", "--every", "soon"), "is not a time such as"),
        (("output", "1", "-c", "0"), "is not a size such as 4096, 64K or 1M"),
        (("output", "1", "-c", "-5"), "is not a size such as"),
        (("output", "1", "-c", "5X"), "is not a size such as"),
        (("completion", "cmd"), "invalid choice: 'cmd'"),
        (("list", "--search", os.fsdecode(b"\xff")), "no UTF-8: '\\udcff'; see"),
    ],
)
def test_wrong_words_are_told_with_2(commands: Commands, arguments: tuple[str, ...], message: str) -> None:
    done = commands.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "--help" in done.stderr, "what is to be done next"
    assert len(done.stderr.splitlines()) <= 2, "a usage of many lines hides what is wrong"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("run", "other.Job::run"), 77, "list it under [approved]"),
        (("run", "shop.Mial::send"), 77, "; did you mean shop.Mail? `bgjob classes` has those there are"),
        (("run", "shop.Mail::missing"), 77, "no approved method missing"),
        (("run", "shop.Mail::sent"), 77, "`bgjob classes shop.Mail` lists them; did you mean send?"),
        (
            ("run", "shop.Mail::send", "-p", "to=42"),
            77,
            'to: 42 is not of type "string"; `-p \'to="…"\'` gives a text; `bgjob classes` has its',
        ),
        (("run", "shop.Mail::send"), 77, '"to" is a required property; `bgjob classes`'),
        (("run", "broken.Job::run"), 77, "cannot be used"),
        (("run", "shop.Work::quiet", "--queue", "no"), 77, "`bgjob stats` lists the queues"),
        (("run", "shop.Work::quiet", "--delay", "2s", "--expires", "1s"), 77, "over before the job expires"),
        (("pause", "no"), 77, "`bgjob stats` lists the queues"),
        (("pause", "mial"), 77, "that the daemon has; did you mean mail? `bgjob stats` lists the queues"),
        (("pause", "--for", "0s"), 77, "see `bgjob pause --help`"),
        (
            ("schedule", "put", "own/1", "--definition", "{}"),
            77,
            "no schedule can be defined so: job: is required; it has the keys of a schedule under [schedules]",
        ),
        (("resume", "no"), 77, "`bgjob stats` lists the queues"),
        (("class", "hold", "no.Such"), 77, "no.Such is not an approved class"),
        (("class", "hold", "shop.Mail::send"), 77, "; did you mean shop.Mail? `bgjob classes` has those"),
        (("class", "resume", "no.Such"), 77, "no.Such is not an approved class"),
        *(
            ((*words, "no"), 4, "there is no schedule no; `bgjob schedules`")
            for words in (("schedules",), ("occurrences",), ("schedule", "run"), ("schedule", "pause"))
        ),
        (("classes", "Missing"), 77, "Missing is not an approved class"),
        *(
            ((command, "987654"), 4, "there is no job 987654; `bgjob list`")
            for command in ("show", "stack", "output", "wait", "cancel", "retry")
        ),
        (("change", "987654", "--priority", "5"), 4, "there is no job 987654; `bgjob list`"),
        (
            ("change", "987654", "--attempt-timeout", "0s"),
            77,
            "are wanted, 100 years at most; see `bgjob change --help`",
        ),
        (("change", "987654", "--queue", "no"), 77, "`bgjob stats` lists the queues"),
        (("change", "987654", "--max-retries", "999"), 77, "[retry] cap; see `bgjob change --help`"),
        (("change", "987654"), 2, "what is to be changed? --priority, --queue, "),
        (("show", "order-18"), 4, "there is no job with the key order-18; `bgjob list`"),
        (("show", "99999999999999999999"), 4, "there is no job with the key 99999999999999999999"),
        (("output", "-f", "987654"), 4, "there is no job 987654"),
        (("tail", "--job", "987654"), 4, "there is no job 987654"),
        (("tail", "-f", "--job", "987654"), 4, "there is no job 987654"),
    ],
)
def test_what_is_refused_says_why_and_what_next(
    commands: Commands, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = commands.run(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("cancel",), "jobs that have not ended can be cancelled"),
        (("retry",), "failed and cancelled jobs can run again"),
        (("change", "--priority", "5"), "jobs that wait can be changed"),
    ],
)
def test_a_job_that_is_completed_can_be_neither_cancelled_nor_changed_nor_run_again(
    commands: Commands, command: tuple[str, ...], told: str
) -> None:
    job_id = commands.ended("shop.Work::quiet")
    done = commands.run(*command, str(job_id))
    assert done.returncode == 77
    assert done.stderr == f"bgjob: job {job_id} is completed; only {told}\n"


def test_of_several_jobs_none_is_cancelled_if_one_cannot_be_and_that_is_said(commands: Commands) -> None:
    ended = commands.ended("shop.Work::quiet")
    waits = int(commands.run("run", "shop.Work::quiet", "--delay", "1h").stdout)
    done = commands.run("cancel", str(waits), str(ended))
    assert done.stderr.startswith("bgjob: none of the 2 jobs is cancelled\n")
    assert done.stderr.count("\n") == 2
    assert commands.run("show", str(waits)).stdout.splitlines()[1] == "status      scheduled"
    assert commands.run("cancel", str(waits)).stderr.startswith(
        f"bgjob: job {waits} is cancelled, or stopped first"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("show", "1"),
        ("tail", "-f"),
        ("wait", "1"),
        ("run", "-w", "a.B::c"),
        ("stats",),
        ("top",),
        ("reload",),
    ],
)
def test_without_a_daemon_every_command_says_so(arguments: tuple[str, ...]) -> None:
    done = Commands("/nowhere/s.sock").run(*arguments)
    assert (done.returncode, done.stdout) == (69, "")
    assert "no daemon answers at /nowhere/s.sock" in done.stderr
    assert "`systemctl start bgjobd` starts the service's, `bgjobd serve` one of your own" in done.stderr


def test_the_socket_may_be_named_before_and_after_the_command(running: RunningDaemon) -> None:
    commands = Commands("/nowhere/s.sock")
    assert commands.run("--socket", str(running.socket), "stats").returncode == 0
    assert commands.run("stats", "--socket", f"unix:{running.socket}").returncode == 0
