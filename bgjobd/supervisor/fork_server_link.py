"""The daemon's end of the link to a fork server: starts it by exec, sends orders, hands on what it reports."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import bgjob
from bgjobd.forkserver import allowances, wire
from bgjobd.forkserver.describe import unavailable
from bgjobd.host.child_process import end_of
from bgjobd.supervisor import fork_server_marks
from bgjobd.supervisor.application import Application, AttemptDirs
from bgjobd.supervisor.fork_server_loading import ForkServerError, Loading, UnloadableError
from bgjobd.supervisor.fork_server_marks import Marked

PROGRAM = Path(__file__).parents[1] / "forkserver" / "__main__.py"
"""What an interpreter runs to be a fork server."""

_LAST_WORDS = 0.1
"""Seconds that are left for reading what a fork server told before it ended."""

_LONGEST_DYING = 1.0
"""Seconds in which a fork server whose link has ended is seen to end; one that does not was not ended by a start."""

CLIENT = Path(bgjob.__file__).parent
"""What an interpreter is lent that has no bgjob."""


class ForkServer(asyncio.Protocol):
    """A running fork server. `on_report` gets each report about an attempt; `gone` is done when the link has ended.

    `ready` is what it told when it was: classes, modules, code_version, python, executable. `missing` are the
    classes that it could not load, with the reason: it can start nothing of them. `heard_at` is when it last gave a
    sign of life, on the loop's clock. `has_started`: an attempt has begun there. `is_killed`: by this process. Its pid
    is among `pids` until it is reaped, which `on_reaped` hears of. `mark` is what the spool knows it by.
    `has_on_failure`: a function hears of the failed jobs of all classes.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        on_report: Callable[[ForkServer, wire.Message], None],
        on_reaped: Callable[[ForkServer], None],
        pids: set[int],
        kept: Marked,
        spool: Path,
        has_on_failure: bool,
    ) -> None:
        self._process = process
        self._on_report = on_report
        self._on_reaped = on_reaped
        self._pids = pids
        self.mark = kept.mark
        self._kept, self._spool = kept, spool
        self._decoder = wire.Decoder()
        self._transport: asyncio.Transport | None = None
        self._loading = Loading()
        self.has_on_failure = has_on_failure
        self._pidfd: int | None = None
        self._pong: asyncio.Future[None] | None = None
        self.ready: wire.Message = {}
        self.missing: dict[str, str] = {}
        self.heard_at = asyncio.get_running_loop().time()
        self.has_started = False
        self.is_killed = False
        self._is_draining = False
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def launch(
        cls,
        application: Application,
        dirs: AttemptDirs,
        on_report: Callable[[ForkServer, wire.Message], None],
        on_reaped: Callable[[ForkServer], None],
        pids: set[int],
    ) -> ForkServer:
        """Start a fork server and wait until it is ready. Raises ForkServerError.

        A class whose module hangs, ends the process or leaves threads running is left out, and unavailable: `on_reaped`
        hears of each fork server that it takes to find that out.
        """
        left_out = dict(application.missing)
        strikes: Counter[str] = Counter()
        while True:
            try:
                return await cls._launch_without(left_out, application, dirs, on_report, on_reaped, pids)
            except UnloadableError as error:
                strikes.update(error.classes)
                if error.is_certain or max(strikes[name] for name in error.classes) > 1:
                    left_out |= dict.fromkeys(error.classes, error.reason)

    @classmethod
    async def _launch_without(
        cls,
        left_out: Mapping[str, str],
        application: Application,
        dirs: AttemptDirs,
        on_report: Callable[[ForkServer, wire.Message], None],
        on_reaped: Callable[[ForkServer], None],
        pids: set[int],
    ) -> ForkServer:
        """Start one that leaves these classes out, each with the reason, and wait until it is ready.

        Raises UnloadableError, ForkServerError.
        """
        process, link, kept = _start(application, dirs)
        pids.add(process.pid)
        server = cls(
            process, on_report, on_reaped, pids, kept, dirs.spool, application.on_failure is not None
        )
        await server._connect(link)
        try:
            server._send(_configuration(application, left_out, dirs) | {"mark": server.mark})
            server.ready = await server._loading.wait(application.import_timeout)
        except BaseException:
            await server.abandon()
            raise
        server.ready["classes"] |= {name: unavailable(why) for name, why in left_out.items()}
        server.missing = _missing(server.ready["classes"])
        return server

    async def _connect(self, link: socket.socket) -> None:
        """Be at this end of the link. Raises what a trial that is given up does, and leaves nothing of it."""
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self, sock=link)
        except BaseException:
            self._process.kill()
            self._process.wait()
            self._pids.discard(self._process.pid)
            fork_server_marks.remove(self._spool, self.mark)
            raise
        self._watch_process()

    def _watch_process(self) -> None:
        """See its end although somebody whom it has forked holds the link open."""
        with suppress(OSError):  # no descriptors: then by the link alone
            self._pidfd = os.pidfd_open(self._process.pid)
            asyncio.get_running_loop().add_reader(self._pidfd, self._on_process_end)

    def _on_process_end(self) -> None:
        self._let_go()
        asyncio.get_running_loop().call_later(_LAST_WORDS, self._hang_up)

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _let_go(self) -> None:
        if self._pidfd is not None:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code_version(self) -> str:
        return str(self.ready["code_version"])

    @property
    def listens(self) -> list[str]:
        """The names of the signals that its attempts have handlers of ours for."""
        return list(self.ready.get("listens", ()))

    def start(self, order: dict[str, Any]) -> None:
        """Ask for an attempt, or for a hook; `order` has the fields of child.Order."""
        self._send({"type": "start", **order})

    def signal(self, job: int, number: int, signum: int) -> None:
        """Have an attempt of its own signalled, with its group: for one whose journal does not lead to it."""
        self._send({"type": "signal", "job": job, "number": number, "signal": signum})

    def reopen(self) -> None:
        """Have it take up the directories that attempts write to as they are now at their paths, be the spool new."""
        if self.mark not in fork_server_marks.kept(self._spool):
            # Where there is no room, what it leaves is not found, should it die with its daemon.
            with suppress(OSError):
                fork_server_marks.put(self._spool, self._kept)
        self._send({"type": "reopen"})

    def drain(self) -> None:
        """Let it end once the attempts asked for so far have ended."""
        self._is_draining = True
        self._send({"type": "drain"})

    async def ping(self) -> None:
        """Come back once it has answered, or is gone, which is others' to mend."""
        if self._pong is None or self._pong.done():  # else whoever asks meanwhile waits for the same
            self._pong = asyncio.get_running_loop().create_future()
        self._send({"type": "ping"})
        await asyncio.wait([self._pong, self.gone], return_when=asyncio.FIRST_COMPLETED)

    def kill(self) -> None:
        """End the fork server at once; its attempts go on, and fall to this process."""
        self.is_killed = True
        self._process.kill()
        self._hang_up()

    async def abandon(self) -> None:
        """End a fork server that has no attempts, with its group, and reap it."""
        if self._process.poll() is None:  # not reaped: the pid is still its own, and leads its session
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self.kill()
        await self.collect()

    async def collect(self) -> None:
        """Reap it, so that it doesn't stay a zombie; a link that ended means that it ends in a moment."""
        await end_of(self._process)
        self._pids.discard(self._process.pid)
        self._on_reaped(self)

    async def wait_for_end(self) -> None:
        """After its link has ended: wait a moment for its process, so that `end` tells how it ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_DYING):
                await end_of(self._process)

    @property
    def end(self) -> str | None:
        """How its process ended, "signal 11" or "exit code 1"; None as long as that is not known."""
        match self._process.returncode:
            case None:
                return None
            case code if code < 0:
                return f"signal {-code}"
            case code:
                return f"exit code {code}"

    @property
    def crash(self) -> str | None:
        """How it ended, where that was by itself, perhaps over a start; None where it was ended, let go or made way."""
        is_told_to_end = self.is_killed or (self._is_draining and self._process.returncode == 0)
        return None if is_told_to_end or self._process.returncode == allowances.GAVE_WAY else self.end

    def _send(self, message: wire.Message) -> None:
        if self._transport is not None:
            self._transport.write(wire.encode(message))

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard_at = asyncio.get_running_loop().time()
        for message in self._decoder.feed(data):
            if not self._loading.is_over:
                self._loading.on_message(message)
            elif message["type"] == "pong":
                self._on_pong()
            else:
                self._on_report(self, message)

    def _on_pong(self) -> None:
        if self._pong is not None and not self._pong.done():
            self._pong.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._let_go()
        self._loading.on_end()
        if not self.gone.done():
            self.gone.set_result(None)


def _missing(described: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {name: one["unavailable"] for name, one in described.items() if one["unavailable"] is not None}


def _start(
    application: Application, dirs: AttemptDirs
) -> tuple[subprocess.Popen[bytes], socket.socket, Marked]:
    """The process of a fork server, the link to it, and what the spool keeps of it. Raises ForkServerError."""
    try:
        ours, theirs = socket.socketpair()
    except OSError as error:
        raise ForkServerError(f"the fork server could not be started: {error.strerror}") from error
    mark = fork_server_marks.new()
    with theirs:
        process = _exec(application, theirs.fileno(), dirs.console, mark)
    # Before it hears of anything that it could leave behind.
    return process, ours, _keep(process, mark, application, dirs)


def _keep(process: subprocess.Popen[bytes], mark: str, application: Application, dirs: AttemptDirs) -> Marked:
    """Have the spool keep that this fork server may exist; what it keeps. Raises ForkServerError, and ends it, where
    there is no room: a later daemon would take its starts for given back.
    """
    accounts = [limits.get("account") for limits in application.limits.values()]
    uids = [os.geteuid(), *(account["uid"] for account in accounts if account is not None)]
    try:
        kept = Marked.here(mark, process.pid, dirs.life_id, uids)
        fork_server_marks.put(dirs.spool, kept)
    except OSError as error:
        process.kill()
        process.wait()
        why = f"the spool {dirs.spool} cannot be written: {error.strerror}"
        raise ForkServerError(f"the fork server could not be started: {why}") from error
    return kept


def _exec(application: Application, link: int, console: int, mark: str) -> subprocess.Popen[bytes]:
    found = interpreter(application)
    try:
        return subprocess.Popen(  # exec'd, with an environment of its own and nothing inherited but the link
            [found, "-I", "-X", "utf8", str(PROGRAM), str(link)],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            pass_fds=(link,),
            env=environment(application.env) | {fork_server_marks.VARIABLE: mark},
            start_new_session=True,
            cwd="/",
            umask=0o077,
        )
    except OSError as error:
        raise ForkServerError(f"the interpreter {found} could not be started: {error.strerror}") from error


def interpreter(application: Application) -> str:
    """The path of the application's. Raises ForkServerError where there is none."""
    python = application.python or sys.executable
    found = shutil.which(python)
    if found is None:
        raise ForkServerError(f"there is no interpreter {python}; set [app] python to one, or leave it out")
    return found


def environment(own: dict[str, str]) -> dict[str, str]:
    """What attempts get: nothing of the daemon's but where programs and the person's files are, then [app] env."""
    kept = {
        name: os.environ[name]
        for name in ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ")
        if name in os.environ
    }
    return kept | own


def _configuration(application: Application, left_out: Collection[str], dirs: AttemptDirs) -> wire.Message:
    return {
        "type": "configure",
        "version": wire.VERSION,
        "parent": os.getpid(),
        "path": list(application.path),
        "client": str(CLIENT),
        "prepare": application.prepare,
        "on_failure": application.on_failure,
        "approved": {name: methods for name, methods in application.approved.items() if name not in left_out},
        "spool": str(dirs.spool),
        "output": str(dirs.output),
        "work": str(dirs.work),
        "unreadable": [str(dirs.state_dir), str(dirs.spool)],
        "groups": dirs.groups,
        "exposed": dirs.exposed,
        "limits": application.limits,
        "boot_id": dirs.life_id,
        "slots": application.slots,
        "spares": application.spares,
        "fence": None if dirs.fenced_grace is None else str(dirs.fence),
    }
