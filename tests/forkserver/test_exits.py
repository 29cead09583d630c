"""What ends with an attempt, after its outcome was recorded: threads, what `atexit` was given, logging's handlers."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from bgjobd.forkserver import spool_names
from tests.forkserver.driven import DrivenServer, Told, fork_server, order

CODE = """
import atexit, logging, os, re, signal, sys, threading, time
from atexit import register

PLACE = os.path.dirname(__file__)


def say(what):
    with open(f"{PLACE}/said", "a") as said:
        said.write(f"{what}\\n")


def of_import():
    say("of import")


def taken_back():
    say("taken back")


atexit.register(of_import)
register(taken_back)
atexit.unregister(taken_back)


class Kept(logging.Handler):
    lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())

    def flush(self):
        for line in self.lines:
            say(line)
        self.lines.clear()


def hang():
    threading.Lock().acquire() and threading.Event().wait()


class Exits:
    def registers(self):
        for what in ("second", "first"):
            atexit.register(say, what)
        return "done"

    def fails(self):
        atexit.register(say, "of the failed")
        raise ValueError("broken")

    def leaves(self):
        atexit.register(say, "of the left")
        sys.exit(3)

    def logs(self):
        logging.getLogger().addHandler(Kept())
        logging.getLogger().error("a last line")

    def leaves_thread(self):
        threading.Thread(target=lambda: (time.sleep(0.05), say("of a thread"))).start()

    def raises_at_exit(self):
        atexit.register(say, "after an error")
        atexit.register(lambda: 1 / 0)
        atexit.register(sys.exit, 4)
        return "done"

    def hangs(self, leaves=False):
        atexit.register(hang)
        if leaves:
            sys.exit(3)
        return "done"

    def holds_the_interpreter(self):
        pattern = re.compile("(a+)+$")
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        atexit.register(pattern.match, "a" * 60 + "b")

    def comes_back_twice(self):
        atexit.register(say, "once")
        if os.fork():
            os.wait()

    def nothing(self):
        return None


class Others(Exits):
    pass


class Hasty(Exits):
    pass
"""


def served(directory: Path, limits: dict[str, dict[str, Any]]) -> Any:
    (directory / "leaving.py").write_text(CODE)
    of_classes = {f"leaving.{name}": own for name, own in limits.items()}
    return fork_server(directory, approved=dict.fromkeys(of_classes), limits_of_classes=of_classes)


def run(server: DrivenServer, job: int, method: str, of: str = "Exits", **parameters: Any) -> Told:
    server.send({**order(job, method, **parameters), "class_name": f"leaving.{of}"})
    assert server.receive()["type"] == "ended"
    journal = server.journal(job)
    assert journal is not None
    return journal


def said(directory: Path) -> list[str]:
    file = directory / "said"
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    file.unlink(missing_ok=True)
    return lines


def test_what_an_attempt_has_left_for_its_exit_runs_once_its_outcome_is_recorded(tmp_path: Path) -> None:
    with served(tmp_path, {"Exits": {}}) as server:
        for job, (method, what, outcome, code) in enumerate(ENDS, 1):
            journal = run(server, job, method)
            assert journal.outcome is not None, method
            assert journal.exit is not None
            assert (method, said(tmp_path)) == (method, what)
            assert (journal.outcome["outcome"], journal.exit["code"]) == (outcome, code)
        output = (server.output / spool_names.file_name(6, 1, "out")).read_text()
        assert "ZeroDivisionError" in output
        assert server.ready["exit_handlers"] == ["leaving.of_import"]


ENDS = [
    ("registers", ["first", "second"], "completed", 0),
    ("fails", ["of the failed"], "failed", 1),
    ("leaves", ["of the left"], "exited", 3),
    ("logs", ["a last line"], "completed", 0),
    ("leaves_thread", ["of a thread"], "completed", 0),
    ("raises_at_exit", ["after an error"], "completed", 0),
    ("comes_back_twice", ["once"], "completed", 0),
    ("nothing", [], "completed", 0),
]


def test_what_hangs_at_an_exit_costs_the_grace_and_not_the_outcome(tmp_path: Path) -> None:
    with served(tmp_path, {"Exits": {"exit_grace": 0.2}}) as server:
        for job, (method, parameters, outcome) in enumerate(HANGS, 1):
            journal = run(server, job, method, **parameters)
            assert journal.outcome is not None, method
            assert journal.exit is not None
            assert outcome.items() <= journal.outcome.items()
            assert (journal.exit["code"], journal.exit["signal"]) == (None, signal.SIGALRM)
            output = (server.output / spool_names.file_name(job, 1, "out")).read_text()
            assert "most recent call first" in output


HANGS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("hangs", {}, {"outcome": "completed", "result": "done"}),
    ("hangs", {"leaves": True}, {"outcome": "exited", "exit_code": 3}),
    ("holds_the_interpreter", {}, {"outcome": "completed", "result": None}),
]


def test_what_imports_have_registered_runs_in_attempts_that_ask_for_it_and_nothing_without_a_grace(
    tmp_path: Path,
) -> None:
    limits = {"Exits": {"exit_handlers": "all"}, "Others": {}, "Hasty": {"exit_grace": 0}}
    with served(tmp_path, limits) as server:
        for job, (name, what) in enumerate(
            {"Exits": ["first", "second", "of import"], "Others": ["first", "second"], "Hasty": []}.items(), 1
        ):
            run(server, job, "registers", of=name)
            assert (name, said(tmp_path)) == (name, what)
