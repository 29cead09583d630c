"""A real fork server driven over its link by the test, in the daemon's place."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import bgjob
import bgjobd.forkserver
from bgjobd.forkserver import journal as journals
from bgjobd.forkserver import journal_lines, spool_names, wire
from bgjobd.forkserver.cgroup import Groups
from bgjobd.forkserver.journal import Journal
from tests.daemon.running import NO_PYDANTIC, children_of
from tests.support import eventually

MAIN = Path(bgjobd.forkserver.__file__).parent / "__main__.py"

CODE = """
import os, signal, sys, time


class Probe:
    def echo(self, value=None):
        return value

    def wait_for(self, path):
        while not os.path.exists(path):
            time.sleep(0.005)
        return "waited"

    def resist(self, path):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open(path, "w").close()
        while True:
            time.sleep(1)

    def fork_and_return(self):
        if os.fork() == 0:
            return "the copy"
        os.wait()
        return "the original"

    def close_everything(self):
        os.closerange(3, 256)
        open("/dev/null")
        return "closed"

    def have_a_stdout_that_raises(self):
        class Raising:
            def flush(self):
                raise RuntimeError("not today")

        sys.stdout = Raising()
        return "done"

    def have_a_stdout_that_exits(self):
        class Exiting:
            def flush(self):
                raise SystemExit(0)

        sys.stdout = Exiting()
        return "done"

    def have_no_stdout(self):
        del sys.stdout
        return "done"

    def raise_unprintable(self):
        class Unprintable(Exception):
            def __str__(self):
                raise RuntimeError("no text")
        raise Unprintable

    def surrogate(self):
        raise ValueError("\\ud800")
"""


class Told(Journal):
    """A journal, with what the job told in between."""

    notes: tuple[journal_lines.Record, ...] = ()


def notes_of(spool: int, name: str, pid: int) -> Iterator[journal_lines.Record]:
    """All of them, however many portions that takes."""
    end, has_more = 0, True
    while has_more:
        notes, end, has_more = journals.read_on(spool, name, end, pid)
        yield from notes


class DrivenServer:
    def __init__(
        self,
        directory: Path,
        python: str = sys.executable,
        approved: dict[str, Any] | None = None,
        limits: dict[str, Any] | None = None,
        limits_of_classes: dict[str, dict[str, Any]] | None = None,
        groups: Groups | None = None,
        spares: int = 2,
        prepare: str | None = None,
        has_pydantic: bool = False,
        fence: Path | None = None,
        under: tuple[str, ...] = (),
    ) -> None:
        self.spool, self.output, self.work = (directory / name for name in ("spool", "output", "work"))
        for folder in (self.spool, self.output, self.work):
            folder.mkdir()
        (directory / "probes.py").write_text(CODE)
        if not has_pydantic:
            (directory / "pydantic.py").write_text(NO_PYDANTIC)
        self.link, theirs = socket.socketpair()
        self.link.settimeout(20)
        with theirs:
            self.process = subprocess.Popen(
                [*under, python, "-I", "-X", "utf8", str(MAIN), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stderr=(directory / "stderr").open("wb"),
                start_new_session=True,
                env={"PATH": os.environ["PATH"]},
            )
        self._decoder = wire.Decoder()
        self._inbox: list[wire.Message] = []
        self.send(
            {
                "type": "configure",
                "version": wire.VERSION,
                "parent": os.getpid(),
                "path": [str(directory)],
                "approved": approved or {"probes.Probe": None},
                "spool": str(self.spool),
                "output": str(self.output),
                "work": str(self.work),
                "unreadable": [str(self.spool), str(self.output)],
                "groups": groups,
                "limits": limits_of_classes
                or dict.fromkeys(approved or {"probes.Probe": None}, limits or {}),
                "boot_id": "b00",
                "client": str(Path(bgjob.__file__).parent),
                "prepare": prepare,
                "on_failure": None,
                "slots": 4,
                "spares": spares,
                "fence": None if fence is None else str(fence),
            }
        )
        self.announced: list[list[str]] = []
        while (message := self.receive())["type"] in ("preparing", "loading"):
            self.announced.append(message.get("classes", [prepare]))
        self.ready = message

    def send(self, message: wire.Message) -> None:
        self.link.sendall(wire.encode(message))

    def start(self, job: int, method: str, number: int = 1, **parameters: Any) -> None:
        self.send(order(job, method, number, **parameters))

    def receive(self) -> wire.Message:
        while not self._inbox:
            data = self.link.recv(65536)
            assert data, "the fork server ended"
            self._inbox += self._decoder.feed(data)
        return self._inbox.pop(0)

    def journal(self, job: int, number: int = 1) -> Told | None:
        directory = os.open(self.spool, os.O_RDONLY)
        try:
            journal = journals.try_read(directory, spool_names.file_name(job, number))
            if journal is None:
                return None
            told = Told(*journal)
            if journal.started is not None:
                pid = journal.started["pid"]
                told.notes = tuple(notes_of(directory, spool_names.file_name(job, number), pid))
            return told
        finally:
            os.close(directory)

    def run(self, job: int, method: str, **parameters: Any) -> Told:
        self.start(job, method, **parameters)
        ended = self.receive()
        assert (ended["type"], ended["job"], ended["number"]) == ("ended", job, 1)
        journal = self.journal(job)
        assert journal is not None
        return journal

    def wait_for_start(self, job: int) -> Told:
        return eventually(lambda: self.journal(job))  # type: ignore[return-value]  # a Journal is what is true


def order(job: int, method: str, number: int = 1, **parameters: Any) -> wire.Message:
    return {
        "type": "start",
        "job": job,
        "number": number,
        "token": "aa",
        "class_name": "probes.Probe",
        "method_name": method,
        "parameters": wire.encode(parameters)[:-1].decode(),
        "sensitive": [],
        "timeout": None,
        "error": None,
        "key": None,
        "occurrence": None,
    }


@contextmanager
def fork_server(directory: Path, **options: Any) -> Iterator[DrivenServer]:
    server = DrivenServer(directory, **options)
    try:
        yield server
    finally:
        left = children_of(server.process.pid)
        server.link.close()
        server.process.kill()
        server.process.wait(20)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
