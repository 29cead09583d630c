"""What Python code prints goes on as it did, and is lost where there is no room for it; in a process of its own."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import errno, os, sys
from bgjobd.forkserver import printing


def streams():
    return [(one.encoding, one.errors, one.line_buffering, one.fileno()) for one in (sys.stdout, sys.stderr)]


before = streams()
print("before")
printing.take_over()
assert streams() == before, (streams(), before)
print("é")
sys.stdout.flush()

full = os.open("/dev/full", os.O_WRONLY)
assert printing._Sink(full, "w", closefd=False).write(b"12345") == 5
for number, stream in ((1, sys.stdout), (2, sys.stderr)):
    kept = os.dup(number)
    os.dup2(full, number)
    print("é" * 500, file=stream)
    stream.flush()
    os.dup2(kept, number)
assert printing.lost() == 2 * 1001
print("there is room again")

os.close(2)
try:
    print("anything", file=sys.stderr)
except OSError as error:
    print(errno.errorcode[error.errno], flush=True)
    os._exit(0)
"""


def test_a_print_is_as_before_and_fails_for_all_but_want_of_room() -> None:
    ran = subprocess.run(
        [sys.executable, "-I", "-X", "utf8", "-c", SCRIPT],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "before\né\nthere is room again\nEBADF\n"), ran.stderr
