"""What tests of several folders share; no rule of the product is here."""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar
from unittest import mock

import pytest

from bgjob.answers import Page
from bgjob.commands import arguments
from bgjobd.supervisor import cgroups

T = TypeVar("T")

_FIRST_PAUSE = 0.001
_LAST_PAUSE = 0.1


def eventually(question: Callable[[], T], within: float = 20.0) -> T:
    """The first truthy answer; the only place in the tests that sleeps. Raises AssertionError after `within` s."""
    deadline = time.monotonic() + within
    pause = _FIRST_PAUSE
    while not (answer := question()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"still {answer!r} after {within} s")
        time.sleep(pause)
        pause = min(pause * 2, _LAST_PAUSE)
    return answer


def put(path: Path, text: str) -> None:
    """Have the file hold this, at once: who reads it just now gets all of the old text, or of this one."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.replace(path)


def remove_tree(directory: Path) -> None:
    """Remove it with all that is in it; its owner may remove some of that at the same time."""

    def is_gone(function: Any, path: str, told: Any) -> None:
        error = told[1] if isinstance(told, tuple) else told
        if not isinstance(error, FileNotFoundError):
            raise error

    if sys.version_info >= (3, 12):
        shutil.rmtree(directory, onexc=is_gone)
    else:
        shutil.rmtree(directory, onerror=is_gone)


def total(ask: Callable[..., Page[Any]], **filters: Any) -> int:
    """How many there are, of `count` at most; a daemon that had no time to look tells none, and is asked again."""
    return eventually(lambda: [one for one in [ask(**filters).total] if one is not None])[0]


@contextmanager
def one_parser() -> Iterator[None]:
    """`bgjob` within this process has the same parser each time meanwhile; most commands take less than to make one."""
    with mock.patch.object(arguments, "parser", functools.cache(arguments.parser)):
        yield


_PACKAGES: Final = {
    "bwrap": "bubblewrap",
    "fsfreeze": "util-linux",
    "groff": "groff-base",
    "initdb": "postgresql",
    "mkfs.ext4": "e2fsprogs",
    "systemd-analyze": "systemd",
    "systemd-creds": "systemd, 256 or newer",
    "systemd-socket-activate": "systemd",
    "systemd-tmpfiles": "systemd",
    "varlinkctl": "systemd, 255 or newer",
}
"""Debian's packages of programs that have another name."""


def needed(*names: str) -> str:
    """The path of the program, the first of these names. Without it the test is skipped, and fails in CI."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        is_ci = os.environ.get("CI") == "true"
        pytest.fail(missing(names[0])) if is_ci else pytest.skip(missing(names[0]))
    return found


def missing(program: str) -> str:
    """What to say where the program is not there."""
    return f"{program} is not installed: install {_PACKAGES.get(program, program)}"


@contextmanager
def directory_for_all() -> Iterator[Path]:
    """A directory that every user may look into; pytest closes its own again and again."""
    directory = Path(tempfile.mkdtemp(prefix="bgjobd-test-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def own_cgroup() -> Iterator[Path]:
    """A real cgroup without controllers, which may be in the hands of others; the test is skipped where none is to be
    had. What is made in it goes with it.
    """
    mount = cgroups._mount(Path("/proc/self/mountinfo").read_text())
    if mount is None:
        pytest.skip("no cgroup v2 is mounted here")
    own = cgroups._own_path(Path("/proc/self/cgroup").read_text()) or "/"
    path = Path(f"{mount}{own}", f"bgjobd-test-{os.getpid()}")
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error.strerror}")
    if not (path / "cgroup.kill").exists():
        path.rmdir()
        pytest.skip("this kernel cannot kill a cgroup")
    try:
        yield path
    finally:
        (path / "cgroup.kill").write_text("1")
        for directory, _, _ in os.walk(path, topdown=False):
            eventually(lambda directory=directory: has_removed(directory))  # type: ignore[misc]  # no name for its type


def has_removed(directory: str) -> bool:
    try:
        os.rmdir(directory)
    except OSError:
        return False
    return True


@contextmanager
def socket_of_systemds(path: Path) -> Iterator[tuple[socket.socket, int]]:
    """A socket that somebody by the name of systemd listens at, and that one's pid; nobody takes connections there."""
    words = [sys.executable, "-c", _BY_THE_NAME_OF_SYSTEMD]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[listener.fileno()]
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"named\n"
            yield listener, process.pid
            process.communicate()


_BY_THE_NAME_OF_SYSTEMD = """
import sys
open("/proc/self/comm", "w").write("systemd")
print("named", flush=True)
sys.stdin.read()
"""


def is_untouched(listener: socket.socket) -> bool:
    """Whether nobody waits to be taken in."""
    listener.setblocking(False)
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return True
    return False


def archived(path: Path) -> list[dict[str, Any]]:
    """The jobs that `bgjobd prune --archive` has written, of all members that are whole."""
    data, found = path.read_bytes(), b""
    while data:
        text = zlib.decompressobj(wbits=31)
        part = text.decompress(data)
        if not text.eof:
            break
        found, data = found + part, text.unused_data
    return [json.loads(line) for line in found.splitlines()]
