"""The daemon's end of the link to a fork server: starts it by exec, sends orders, hands on what it reports."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bgjobd.config import Config
from bgjobd.forkserver import wire

_SERVER = Path(__file__).parent / "forkserver" / "__main__.py"


class ForkServerError(Exception):
    """The fork server could not be started, or ended before it was ready."""


@dataclass(frozen=True, slots=True)
class Application:
    """What a fork server serves: the interpreter, where its code is, which environment, what is approved.

    `approved` maps a class to the methods that its policy lists, or to None for all.
    """

    python: str | None
    path: tuple[str, ...]
    env: dict[str, str]
    approved: dict[str, list[str] | None]
    import_timeout: float

    @classmethod
    def from_config(cls, config: Config) -> Application:
        approved = {
            name: list(policy.methods) if policy.methods is not None else None
            for name, policy in config.approved.items()
        }
        app = config.app
        path = tuple(str(directory) for directory in app.path)
        python = None if app.python is None else str(app.python)
        return cls(python, path, dict(app.env), approved, app.import_timeout)


@dataclass(frozen=True, slots=True)
class Places:
    """The directories that attempts write to, and the boot they belong to."""

    spool: Path
    output: Path
    boot_id: str


class ForkServer(asyncio.Protocol):
    """A running fork server. `on_report` gets each message; `gone` is done when the link has ended."""

    def __init__(self, process: subprocess.Popen[bytes], on_report: Callable[[wire.Message], None]) -> None:
        self._process = process
        self._on_report = on_report
        self._decoder = wire.Decoder()
        self._transport: asyncio.Transport | None = None
        self._ready: asyncio.Future[wire.Message] = asyncio.get_running_loop().create_future()
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def launch(
        cls,
        application: Application,
        places: Places,
        on_report: Callable[[wire.Message], None],
    ) -> tuple[ForkServer, wire.Message]:
        """Start a fork server and wait for its catalogue. Raises ForkServerError."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = _exec(application, theirs.fileno())
        loop = asyncio.get_running_loop()
        _, server = await loop.create_connection(lambda: cls(process, on_report), sock=ours)
        server._send(_configuration(application, places))
        try:
            ready = await asyncio.wait_for(server._ready, application.import_timeout)
        except TimeoutError:
            server.kill()
            raise ForkServerError(
                f"the approved classes were not imported within {application.import_timeout:g} s; "
                "raise [app] import_timeout, or import less at the top of their modules"
            ) from None
        return server, ready

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, order: dict[str, Any]) -> None:
        """Ask for an attempt; `order` has the fields of child.Order."""
        self._send({"type": "start", **order})

    def kill(self) -> None:
        """End the fork server at once; attempts go on."""
        self._process.kill()
        if self._transport is not None:
            self._transport.abort()

    def collect(self) -> None:
        """Reap it, so that it doesn't stay a zombie; a link that ended means that it ends."""
        self._process.poll()

    def _send(self, message: wire.Message) -> None:
        if self._transport is not None:
            self._transport.write(wire.encode(message))

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for message in self._decoder.feed(data):
            if message["type"] == "ready":
                self._ready.set_result(message)
            else:
                self._on_report(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self._ready.done():
            self._ready.set_exception(
                ForkServerError("the fork server ended while it imported the approved classes")
            )
        if not self.gone.done():
            self.gone.set_result(None)


def _exec(application: Application, link: int) -> subprocess.Popen[bytes]:
    python = application.python or sys.executable
    found = shutil.which(python)
    if found is None:
        raise ForkServerError(f"there is no interpreter {python}; set [app] python to one, or leave it out")
    try:
        return subprocess.Popen(  # exec'd, with an environment of its own and nothing inherited but the link
            [found, "-I", "-X", "utf8", str(_SERVER), str(link)],
            stdin=subprocess.DEVNULL,
            stdout=2,
            pass_fds=(link,),
            env=_environment(application.env),
            start_new_session=True,
            cwd="/",
            umask=0o077,
        )
    except OSError as error:
        raise ForkServerError(f"the interpreter {found} could not be started: {error.strerror}") from error


def _environment(own: dict[str, str]) -> dict[str, str]:
    """What attempts get: nothing of the daemon's but where programs and the person's files are, then [app] env."""
    kept = {
        name: os.environ[name]
        for name in ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ")
        if name in os.environ
    }
    return kept | own


def _configuration(application: Application, places: Places) -> wire.Message:
    return {
        "type": "configure",
        "version": wire.VERSION,
        "path": list(application.path),
        "approved": application.approved,
        "spool": str(places.spool),
        "output": str(places.output),
        "boot_id": places.boot_id,
    }
