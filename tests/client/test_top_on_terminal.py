"""`bgjob top` on a terminal and beside one, against a real daemon and one that says what a test tells it to."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bgjob.codec import Request
from bgjob.commands.top.controls import Cancel, Leave, Pause
from bgjob.commands.top.lookout import Lookout, pause_after
from bgjob.commands.top.scene import Look
from tests.client.scripted import STANDING, Line, ScriptedDaemon, method_of, summary
from tests.client.test_commands import Commands, Terminal
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

MODULE = '''
import time
from pathlib import Path


class Long:
    def hold(self, go, held=0):
        """Waits until a file is there."""
        kept = bytearray(held)
        while not Path(go).exists():
            time.sleep(0.01)

    def fail(self):
        raise ValueError("no \\x1b[2Jrecipient")
'''

SETTINGS = '"shop.Long" = { max_retries = 0 }\n[queues]\nmail = { slots = 1 }\n'
ALTERNATE, NORMAL = "\x1b[?1049h", "\x1b[?1049l"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(tmp_path_factory.mktemp("top"), SETTINGS, modules={"shop": MODULE}) as running:
        yield running


@pytest.fixture(scope="module")
def commands(running: RunningDaemon) -> Commands:
    return Commands(running.socket)


@contextmanager
def job_that_runs(commands: Commands, directory: Path) -> Iterator[int]:
    """The id of a job that runs meanwhile, unless it is cancelled."""
    job_id = commands.submitted("shop.Long::hold", "-p", f"go={directory}/go")
    try:
        eventually(
            lambda: [
                one for one in commands.json("top")["attempts"] if one["job_id"] == job_id and one["pid"]
            ]
        )
        yield job_id
    finally:
        (directory / "go").touch()
        commands.run("wait", str(job_id))


def frame(terminal: Terminal) -> str:
    """What the screen shows: what was written since it was begun anew."""
    return terminal.text.rpartition("\x1b[H")[2]


def shows(terminal: Terminal, words: str) -> Callable[[], bool]:
    return lambda: words in frame(terminal)


# On a terminal


def test_a_job_is_seen_and_cancelled_by_keys_and_the_terminal_is_as_before(
    commands: Commands, tmp_path: Path
) -> None:
    with job_that_runs(commands, tmp_path) as job_id:
        terminal = commands.on_terminal("top", "--every", "60")
        before = terminal.settings
        eventually(shows(terminal, "shop.Long::hold"))
        assert terminal.settings != before
        terminal.press("c")
        eventually(shows(terminal, f"cancel job {job_id}, shop.Long::hold? y/n"))
        terminal.press("y")
        eventually(shows(terminal, f"job {job_id} is to be cancelled"))
        eventually(shows(terminal, "nothing runs"))  # at once, not after a minute
        assert commands.json("show", str(job_id))["status"] == "cancelled"
        terminal.press("q")
        eventually(lambda: terminal.process.poll() is not None)
        assert terminal.settings == before
        code, told = terminal.finish()
    assert code == 0
    assert told.startswith(ALTERNATE)
    assert told.endswith(NORMAL)
    assert told.count(ALTERNATE) == told.count(NORMAL) == 1


def test_a_failed_job_runs_again_and_its_queue_is_paused_by_keys(commands: Commands) -> None:
    job_id = commands.ended("shop.Long::fail", "--queue", "mail")
    terminal = commands.on_terminal("top", "--every", "60", columns=120)
    eventually(shows(terminal, "ValueError: no \\x1b[2Jrecipient"))
    terminal.press("p")
    eventually(shows(terminal, "queue mail is paused; p resumes it"))
    eventually(lambda: "paused" in frame(terminal).split("FAILED")[0])
    terminal.press("r")
    eventually(shows(terminal, f"job {job_id} is to run again"))
    eventually(shows(terminal, "1 pending"))
    commands.run("cancel", str(job_id))
    eventually(shows(terminal, "0 pending"))
    commands.run("resume", "mail")
    terminal.press("\x03")
    assert terminal.finish()[0] == 0


def test_all_jobs_of_a_class_are_cancelled_by_a_capital_letter(commands: Commands, tmp_path: Path) -> None:
    later = [commands.submitted("shop.Long::hold", "-p", "go=/nowhere", "--delay", "1h") for _ in range(2)]
    with job_that_runs(commands, tmp_path) as job_id:
        terminal = commands.on_terminal("top", "--every", "60", columns=100)
        eventually(shows(terminal, "shop.Long::hold"))
        terminal.press("C")
        eventually(shows(terminal, "cancel 3 jobs of shop.Long::hold, 1 of them running? y/n"))
        terminal.press("y")
        eventually(
            shows(terminal, "3 jobs are cancelled, or stopped first where running: bgjob list --bulk ")
        )
        eventually(shows(terminal, "nothing runs"))
        bulk = commands.json("show", str(job_id))["bulk"]
        listed = commands.json("list", "--bulk", str(bulk))["jobs"]
        assert sorted(one["id"] for one in listed) == sorted([*later, job_id])
        terminal.press("q")
        assert terminal.finish()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_the_terminal_is_as_before(commands: Commands, number: signal.Signals) -> None:
    terminal = commands.on_terminal("top")
    before = terminal.settings
    eventually(shows(terminal, "q quit"))
    terminal.process.send_signal(number)
    eventually(lambda: terminal.process.poll() is not None)
    assert terminal.settings == before
    code, told = terminal.finish()
    assert code == -number
    assert told.endswith(NORMAL)


def test_an_interrupt_from_outside_ends_it_as_its_key_does(commands: Commands) -> None:
    terminal = commands.on_terminal("top")
    eventually(shows(terminal, "q quit"))
    terminal.process.send_signal(signal.SIGINT)
    code, told = terminal.finish()
    assert (code, told.endswith(NORMAL)) == (0, True)


BROKEN = """
import sys
from bgjob import command
from bgjob.commands.top import picture

drawn = picture.drawn
picture.drawn = lambda *given: drawn(*given) if len(frames) < 2 else 1 / 0
frames = []
picture._head = (lambda head: lambda *given: (frames.append(1), head(*given))[1])(picture._head)
sys.exit(command.main(["top", "--every", "0.25"]))
"""


def test_a_bug_gives_the_terminal_back(commands: Commands) -> None:
    broken = Terminal([*commands._command(())[:1], "-c", BROKEN], commands._environ, 80, 24)
    before = broken.settings
    eventually(lambda: broken.process.poll() is not None)
    assert broken.settings == before
    code, told = broken.finish()
    assert code == 1
    assert "ZeroDivisionError" in told.rpartition(NORMAL)[2]


def test_it_fits_a_terminal_that_is_made_smaller(commands: Commands, tmp_path: Path) -> None:
    with job_that_runs(commands, tmp_path):
        terminal = commands.on_terminal("top", "--every", "60")
        eventually(shows(terminal, "QUEUE"))
        terminal.resize(30, 8)
        eventually(lambda: frame(terminal).count("\n") == 7)
        assert all(len(line) <= 30 for line in plain(frame(terminal)))
        terminal.press("q")
        terminal.finish()


def plain(written: str) -> list[str]:
    """The lines of a frame without what erases and paints."""
    for code in ("\x1b[2K", "\x1b[J", "\x1b[0m", "\x1b[1m", "\x1b[7m", "\x1b[31m", "\x1b[33m", "\r"):
        written = written.replace(code, "")
    return written.split("\n")


def test_the_selected_row_is_marked_though_no_colour_is_wanted(commands: Commands, tmp_path: Path) -> None:
    with job_that_runs(commands, tmp_path):
        terminal = commands.on_terminal("top", NO_COLOR="1")
        eventually(shows(terminal, "shop.Long::hold"))
        assert "\x1b[7m" in frame(terminal)
        assert "\x1b[1m" not in frame(terminal)
        terminal.press("q")
        terminal.finish()


@pytest.mark.parametrize("every", ["0.25", "60"])
def test_it_outlives_a_restart_of_the_daemon(every: str, tmp_path: Path) -> None:
    with daemon(tmp_path, SETTINGS, modules={"shop": MODULE}) as running:
        terminal = Commands(running.socket).on_terminal("top", "--every", every, columns=100)
        eventually(shows(terminal, "of 4 slots"))
        running.stop()
        eventually(lambda: re.search("the connection to|no daemon answers at", frame(terminal)))
        running.start()
        eventually(shows(terminal, "of 4 slots"))
        terminal.press("q")
        assert terminal.finish()[0] == 0


# Where there is no terminal


def test_without_a_terminal_it_is_printed_once(commands: Commands, tmp_path: Path) -> None:
    with job_that_runs(commands, tmp_path) as job_id:
        told = commands.run("top").stdout
        assert "\x1b" not in told
        assert "1 of 4 slots" in told
        assert f"{job_id}  shop.Long::hold" in told
        code, once = commands.on_terminal("top", "--once", columns=60).finish()
        assert (code, ALTERNATE in once) == (0, False)
        assert "shop.Long::hold" in once


def test_its_data_are_json(commands: Commands, tmp_path: Path) -> None:
    with job_that_runs(commands, tmp_path) as job_id:
        told = commands.json("top", "--once")
    assert [(one["job_id"], one["method_name"]) for one in told["attempts"]] == [(job_id, "hold")]
    assert told["stats"]["slots"] == 4
    assert all(one["status"] == "failed" for one in told["failed"])


def test_a_terminal_that_nobody_types_at_is_none(commands: Commands) -> None:
    terminal = Terminal(
        ["sh", "-c", 'exec "$0" -m bgjob top </dev/null', commands._command(())[0]], commands._environ, 80, 24
    )
    code, told = terminal.finish()
    assert (code, ALTERNATE in told) == (0, False)


# What the daemon says


NOBODY: Look = Look(STANDING, [], [])


class Played:
    """A daemon of a script's, and lookouts on it, whose threads end with it."""

    def __init__(self, directory: Path) -> None:
        self.refusal = "uid 1 may not manage"
        self.slots = 1
        self.told: list[str] = []
        self.may_change = threading.Event()
        self.daemon = ScriptedDaemon(directory / "s.sock", self._play)
        self._lookouts: list[Lookout] = []
        self._is_over = False
        self._sent_home: set[threading.Thread] = set()

    def watch(self) -> Lookout:
        watch = Lookout(str(self.daemon.path), 60.0, NOBODY, self._ring)
        watch.start()
        self._lookouts.append(watch)
        return watch

    def send_home(self) -> None:
        """A thread that went on to look for the daemon would open descriptors while other tests count theirs."""
        self._is_over = True
        self.may_change.set()
        for watch in self._lookouts:
            watch.carry_out(Leave())

    def _ring(self) -> None:
        """Ends the thread that rings, once there is nothing more to look at."""
        if self._is_over and (thread := threading.current_thread()) not in self._sent_home:
            self._sent_home.add(thread)
            raise SystemExit

    def _play(self, line: Line, request: Request) -> None:
        match method_of(request):
            case "Stats":
                line.reply(**NOBODY.stats | {"slots": self.slots})
            case "Running":
                line.reply(attempts=[])
            case "List":
                self.told.append(request.parameters.get("search", ""))
                line.reply(jobs=[], next=None, is_complete=True)
            case "Needs":
                line.reply(needs=[], more=0)
            case "Watch":
                line.more(job=None)
                self.may_change.wait(20)
                line.more(job=summary(1, "completed"))
                line.wait_for_hang_up()
            case _:
                line.refuse("PermissionDenied", reason=self.refusal)


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Played]:
    played = Played(tmp_path)
    with played.daemon:
        yield played
        played.send_home()
    eventually(lambda: not any("_guarded" in thread.name for thread in threading.enumerate()))


def test_whoever_may_not_manage_is_told_so_and_looks_on(played: Played) -> None:
    watch = played.watch()
    for wish in (Cancel(7), Pause("mail")):
        watch.carry_out(wish)
        assert eventually(watch.try_message) == "not allowed: uid 1 may not manage"
    assert watch.scene.away is None


def test_a_change_of_a_job_is_looked_at_before_its_time(played: Played) -> None:
    watch = played.watch()
    eventually(lambda: played.daemon.parameters("Watch"))
    played.slots = 9
    assert watch.scene.look.stats["slots"] == 1
    played.may_change.set()
    eventually(lambda: watch.scene.look.stats["slots"] == 9)


@pytest.mark.parametrize(
    ("took", "was_answered", "pause"),
    [(0.001, True, 0.25), (0.1, True, 1.0), (3.0, True, 5.0), (5.0, False, 0.25)],
)
def test_a_slow_daemon_is_looked_at_less_often_and_one_that_is_away_is_not_given_up(
    took: float, was_answered: bool, pause: float
) -> None:
    assert pause_after(took, was_answered) == pause


def test_a_bug_in_a_thread_is_raised_where_it_is_seen(played: Played) -> None:
    rung = threading.Event()
    watch = Lookout(str(played.daemon.path), 60.0, NOBODY, rung.set)
    watch.raise_failure()
    watch._guarded(lambda: os.stat("/nowhere"))  # type: ignore[arg-type,func-returns-value]  # it raises
    assert rung.is_set()
    with pytest.raises(FileNotFoundError):
        watch.raise_failure()
