"""`bgjob debug`: becomes `bgjobd debug`, which has the configuration and can start the application."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from typing import NoReturn

from bgjob import addresses
from bgjob.client import Client
from bgjob.commands import screen
from bgjob.commands.debug_arguments import words_of
from bgjob.commands.problems import UNAVAILABLE

_SOCKET = "BGJOBD_DAEMON__SOCKET"


def debug(client: Client, given: argparse.Namespace) -> int:
    """Call a job's method again, here, under a debugger: at what it raises, or from its first line."""
    program = _program()
    if program is not None:
        _become(program, given)
    screen.say("debug takes bgjobd, which is not installed here")
    return UNAVAILABLE


def _become(program: str, given: argparse.Namespace) -> NoReturn:
    words = words_of(given)
    if given.config is not None:
        words.append(f"--config={given.config}")
    environ = dict(os.environ)
    if given.socket or os.environ.get("BGJOBD_SOCKET"):
        environ[_SOCKET] = os.path.abspath(addresses.socket_path(given.socket, os.environ, os.path.exists))
    sys.stdout.flush()
    os.execve(program, [program, "debug", *words], environ)


def _program() -> str | None:
    """The program that came with this interpreter's bgjobd, else one that is found."""
    beside = os.path.join(os.path.dirname(sys.executable), "bgjobd")
    return beside if os.access(beside, os.X_OK) else shutil.which("bgjobd")
