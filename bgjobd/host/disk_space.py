"""The room that is left on the file systems of the daemon's directories, and of which kind they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bgjob.amounts import size_text

_SHARE: Final = 20
_ENOUGH: Final = 1024**3
_ENOUGH_INODES: Final = 10_000
"""One twentieth should be free, or so many bytes and inodes where that would be more."""


@dataclass(frozen=True, slots=True)
class Room:
    """A file system: which of our directories are on it, and what is free for a user. Some count no inodes: 0."""

    keys: tuple[str, ...]
    path: Path
    size: int
    free: int
    inodes: int = 0
    free_inodes: int = 0

    def __str__(self) -> str:
        return f"{', '.join(self.keys)}: {size_text(self.free)} of {size_text(self.size)} free at {self.path}"

    @property
    def trouble(self) -> str | None:
        """What there is nearly none of any more, and what to do; None where there is enough."""
        lacks = []
        if self.free < min(self.size // _SHARE, _ENOUGH):
            lacks.append(f"{size_text(self.free)} of {size_text(self.size)}")
        if self.free_inodes < min(self.inodes // _SHARE, _ENOUGH_INODES):
            lacks.append(f"{self.free_inodes:,} of {self.inodes:,} inodes")
        if not lacks:
            return None
        text = f"the disk is nearly full: only {' and '.join(lacks)} are free at {self.path}"
        worst = next(
            (told for key, told in _WITHOUT_ROOM.items() if key in self.keys), "nothing can be written"
        )
        return f"{text} ({', '.join(self.keys)}); make room there: without any, {worst}"


_WITHOUT_ROOM: Final[Mapping[str, str]] = {
    "state_dir": "no job is taken or started",
    "runtime_dir": "no job is started, and those that are taken wait",
    "log_dir": "lines of the log are lost",
}
"""What comes of no room, by the directory that has none; of several the first."""


def rooms(directories: Mapping[str, Path]) -> list[Room]:
    """The file systems of these, by the names of their keys, each once; of one that is not made yet, that which it will
    be on.
    """
    found: dict[int, Room] = {}
    for key, directory in directories.items():
        place = existing(directory)
        try:
            device, volume = place.stat().st_dev, os.statvfs(place)
        except OSError:
            continue  # whoever looks after the directories says so
        known = found.get(device)
        found[device] = Room(
            keys=(key,) if known is None else (*known.keys, key),
            path=place if known is None else known.path,
            size=volume.f_blocks * volume.f_frsize,
            free=volume.f_bavail * volume.f_frsize,
            inodes=volume.f_files,
            free_inodes=volume.f_favail,
        )
    return list(found.values())


def existing(path: Path) -> Path:
    """The path, or the nearest directory above it that there is."""
    return next(one for one in (path, *path.parents) if one == Path("/") or _is_there(one))


def kind_of(path: Path) -> str | None:
    """The kind of file system that a path is on, such as "tmpfs"; None where it cannot be told."""
    try:
        mounts = os.fsdecode(Path("/proc/self/mountinfo").read_bytes())
    except OSError:
        return None
    return kind_among(mounts, os.path.realpath(path))


def kind_among(mounts: str, path: str) -> str | None:
    """The kind of the mount that a real path is below, of those in a mountinfo (proc(5)); the last covers others."""
    best: tuple[int, str] | None = None
    # By what the kernel escapes, and not by each of Unicode's line breaks.
    for line in mounts.split("\n")[:-1]:
        fields, _, rest = line.partition(" - ")
        point = _unescaped(fields.split(" ")[4])
        if (path == point or path.startswith(point.rstrip("/") + "/")) and (
            best is None or len(point) >= best[0]
        ):
            best = len(point), rest.split(" ")[0]
    return None if best is None else best[1]


_ESCAPES: Final[Mapping[str, str]] = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


def _unescaped(text: str) -> str:
    for written, meant in _ESCAPES.items():
        text = text.replace(written, meant)
    return text


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False
