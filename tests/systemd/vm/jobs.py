"""The application of the acceptance with controllers: jobs that meet their limits in every way, and some that stay."""

import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bgjob import JobContext

MIB = 2**20
HUNGRY = f"import mmap; held = mmap.mmap(-1, 300 * {MIB}); [held.write(b'x' * {MIB}) for _ in range(300)]"


class Memory:
    """Allocates 300 MB of one kind or the other."""

    def own(self) -> None:
        bytearray(300 * MIB)

    def shared(self) -> None:
        _share(300)

    def below(self) -> str:
        """By a child of a child, and what is seen of its end by somebody who would go on."""
        script = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {HUNGRY!r}]) != 0)"
        return f"went on after {subprocess.call([sys.executable, '-c', script])}"

    def many(self) -> str:
        """20 MB in each of 15 processes, each within its own limit."""
        for _ in range(15):
            if os.fork() == 0:
                held = bytearray(20 * MIB)
                signal.pause()
                os._exit(len(held) == 0)
        os.wait()
        return "went on"

    def memory_file(self) -> None:
        file = os.memfd_create("held")
        for _ in range(300):
            os.write(file, b"x" * MIB)

    def directory(self) -> None:
        """In files of its own directory, which is on a tmpfs."""
        with open("held", "wb") as file:
            for _ in range(300):
                file.write(b"x" * MIB)

    def read(self, path: str) -> int:
        """What the disk has, which is no memory of its own."""
        size = 0
        with open(path, "rb") as file:
            while part := file.read(MIB):
                size += len(part)
        return size

    def write(self, path: str) -> int:
        with open(path, "wb") as file:
            for _ in range(150):
                file.write(b"x" * MIB)
        os.unlink(path)
        return 150


class Bomb:
    def bomb(self) -> None:
        """Forks until it cannot; the first process tells of it, the others stay."""
        own = os.getpid()
        try:
            while True:
                os.fork()
        except BlockingIOError:
            if os.getpid() == own:
                raise
            _stay()

    def scattered(self) -> str:
        """Leaves what it forked, in sessions of their own."""
        own = os.getpid()
        while True:
            try:
                if os.fork() == 0:
                    os.setsid()
            except BlockingIOError:
                if os.getpid() == own:
                    return "left them"
                _stay()

    def endless(self) -> None:
        while True:
            try:
                os.fork()
            except BlockingIOError:
                time.sleep(0.01)


class Busy:
    def run(self, seconds: float) -> list[float]:
        began = time.monotonic(), time.process_time()
        while time.monotonic() < began[0] + seconds:
            pass
        return [time.monotonic() - began[0], time.process_time() - began[1]]


class Used:
    def run(self) -> str:
        """Two seconds of CPU time and 40 MB in a process that nobody waits for."""
        reading, writing = os.pipe()
        if os.fork() == 0:
            if os.fork() == 0:
                held = bytearray(40 * MIB)
                while time.process_time() < 2:
                    pass
                os.write(writing, b"!")
                signal.pause()
                os._exit(len(held) == 0)
            os._exit(0)
        os.wait()
        os.read(reading, 1)
        return "done"


class Stays:
    """Waits until a file is there, and then does what the file says."""

    def run(self, name: str) -> str:
        path = Path("/var/lib/bgjobd", name)
        for _ in range(3):
            if os.fork() == 0:
                _stay()
        while not path.exists():
            time.sleep(0.05)
        what = path.read_text()
        if what == "eat":
            _share(300)
        if what == "bomb":
            Bomb().bomb()
        return what


class Deaf:
    def run(self, context: JobContext) -> str:
        if context.attempt > 1:
            return f"attempt {context.attempt}"
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Path("/var/lib/bgjobd/deaf").touch()
        while True:
            time.sleep(1)


class Noted:
    def run(self, seconds: float, context: JobContext) -> None:
        time.sleep(seconds if context.attempt == 1 else 0)


def _share(mebibytes: int) -> None:
    held = mmap.mmap(-1, mebibytes * MIB)
    for _ in range(mebibytes):
        held.write(b"x" * MIB)


def _stay() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(1)
