"""What a program creates, from its system calls: paths, kinds and the mode that each has from its first moment on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

_CALLS: Final = (
    "open,openat,openat2,creat,mkdir,mkdirat,mknod,mknodat,bind,umask,chmod,fchmod,fchmodat,fchmodat2,"
    "clone,clone3,fork,vfork"
)
_LINE: Final = re.compile(r"(\d+\.\d+) (\w+)\((.*)\)\s+= (-?\d+)(?:<([^>]*)>)?")
_STRING: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_PLACE: Final = re.compile(r"^(?:AT_FDCWD|\d+)<([^>]*)>")
_MODE: Final = re.compile(r"\b0[0-7]*\b")


@dataclass(frozen=True, slots=True)
class Right:
    """A file, directory, pipe or socket got this mode: `call` made it, or changed its mode."""

    call: str
    path: str
    mode: int

    @property
    def is_made(self) -> bool:
        return "chmod" not in self.call


def strace(record: Path, umask: int, command: Sequence[str]) -> list[str]:
    """The command under strace, which it is started with; a record a process, beginning with `record`."""
    tracer = ["strace", "-ff", "--seccomp-bpf", "-qq", "-ttt", "-y", "-s", "4096", "-o", str(record)]
    shell = ["sh", "-c", f'umask {umask:03o}; exec "$@"', "sh"]
    return [*tracer, f"-etrace={_CALLS}", "-esignal=none", *shell, *command]


def rights(record: Path, umask: int) -> list[Right]:
    """The modes that were given, in order, with what the umask of each process left of them."""
    masks: dict[int, list[int]] = {}
    opened: dict[str, str] = {}
    found = []
    for pid, call, arguments, result, place in _calls(record):
        mask = masks.setdefault(pid, [umask])
        if call == "umask":
            mask[0] = int(_modes(arguments)[-1], 8)
        elif call in ("clone", "clone3", "fork", "vfork"):
            masks[result] = mask if "CLONE_FS" in arguments else list(mask)
        elif (right := _try_right(call, arguments, mask[0])) is not None:
            found.append(replace(right, path=opened.get(f"{pid} {right.path}", right.path)))
        if place:
            opened[f"{pid} /proc/self/fd/{result}"] = place
    return found


def _calls(record: Path) -> Iterator[tuple[int, str, str, int, str]]:
    """The calls that succeeded, of all processes, in the order in which they began."""
    lines = []
    for file in record.parent.glob(f"{record.name}.*"):
        pid = int(file.suffix[1:])
        for line in file.read_text(errors="replace").splitlines():
            if (found := _LINE.match(line)) is not None and int(found[4]) >= 0:
                lines.append((float(found[1]), pid, found[2], found[3], int(found[4]), found[5] or ""))
    yield from (line[1:] for line in sorted(lines))


def _try_right(call: str, arguments: str, mask: int) -> Right | None:
    if call in ("open", "openat", "openat2") and not re.search(r"O_CREAT|O_TMPFILE", arguments):
        return None
    named = _STRING.findall(arguments)
    if call == "bind":
        return Right(call, named[0], 0o777 & ~mask) if "AF_UNIX" in arguments and named else None
    modes = _modes(arguments)
    if not modes:
        return None
    place = _PLACE.match(arguments)
    path = os.path.normpath(os.path.join(place[1] if place else "/", *named[:1]))
    mode = int(modes[-1], 8)
    return Right(call, path, mode if "chmod" in call else mode & ~mask & 0o7777)


def _modes(arguments: str) -> list[str]:
    """The numbers in octal; what stands in quotes is none."""
    return _MODE.findall(_STRING.sub('""', arguments))
