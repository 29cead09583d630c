"""`bgjob` and `bgjobd` as a shell finds them in its path, without the imports: what is there asks this process, which
has them forked (`tests/daemon/warm.py`) with the streams, directory and environment of who calls.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.daemon import warm

_PROGRAMS: Final = ("bgjob", "bgjobd")
_MOST: Final = 1 << 20

# Of modules that an interpreter has anyway: to import others takes longer than all that it does.
_ASKING: Final = """#!{python} -ISs
import posix, sys, _socket
door = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
door.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, {most})
door.connect({place!r})
words = [{program!r}, posix.getcwd(), str(len(sys.argv) - 1), *sys.argv[1:]]
pairs = [name + b"=" + value for name, value in posix.environ.items()]
message = b"\\0".join([*(word.encode("utf-8", "surrogateescape") for word in words), *pairs])
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
door.sendmsg([message], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
code = int(door.recv(64) or 70)
if code < 0:
    posix.kill(posix.getpid(), -code)
posix._exit(code)
"""

_AS_STARTED: Final = """
import os, sys, time
sys.stdin = open(0, closefd=False)
sys.stdout = open(1, "w", closefd=False)
sys.stdout.reconfigure(write_through="PYTHONUNBUFFERED" in os.environ)
sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)
time.tzset()
"""
"""What an interpreter makes of its streams and its environment when it starts."""


@contextmanager
def programs_in(directory: Path) -> Iterator[None]:
    """Put them into the directory; they work meanwhile."""
    place = directory / "door"
    for name in _PROGRAMS:
        program = directory / name
        program.write_text(_ASKING.format(python=sys.executable, most=_MOST, place=str(place), program=name))
        program.chmod(0o755)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.bind(str(place))
        door.listen()
        taking = threading.Thread(target=_take_callers, args=(door,))
        taking.start()
        try:
            yield
        finally:
            door.shutdown(socket.SHUT_RDWR)
            taking.join()


def _take_callers(door: socket.socket) -> None:
    with suppress(OSError):  # it was shut down
        while True:
            caller, _ = door.accept()
            threading.Thread(target=_serve, args=(caller,), daemon=True).start()


def _serve(caller: socket.socket) -> None:
    """Have it forked, and tell how it ended; a caller that is gone ends it, as the signal to it would have."""
    with caller:
        message, streams, *_ = socket.recv_fds(caller, _MOST, 3)
        program, directory, count, *words = (os.fsdecode(word) for word in message.split(b"\0"))
        arguments, pairs = words[: int(count)], words[int(count) :]
        process = warm.Process(
            arguments,
            dict(pair.split("=", 1) for pair in pairs),
            _AS_STARTED,
            *(streams[1], streams[2], streams[0]),
            program=program,
            directory=directory,
        )
        for stream in streams:
            os.close(stream)
        ready, _, _ = select.select([process, caller], [], [])
        if process not in ready:
            process.terminate()
        code = process.wait()
        with suppress(BrokenPipeError):
            caller.send(b"%d" % code)
