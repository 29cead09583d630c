"""What /proc tells of a process: its children, wake-ups, CPU time and memory; nothing here disturbs the process."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICK: Final = 1.0 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cpu:
    """Seconds of CPU so far: of the main thread, of the other threads, and of the children that were reaped."""

    main: float
    others: float
    children: float

    def since(self, earlier: Cpu) -> Cpu:
        return Cpu(self.main - earlier.main, self.others - earlier.others, self.children - earlier.children)

    @property
    def own(self) -> float:
        return self.main + self.others


def children(pid: int) -> list[int]:
    """The pids whose parent this is."""
    found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [other for other in found if _parent(other) == pid]


def wakeups(pid: int) -> int:
    """Context switches of all threads, voluntary or not."""
    texts = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    return sum(int(number) for text in texts for number in re.findall(r"ctxt_switches:\s*(\d+)", text))


def cpu(pid: int) -> Cpu:
    own, reaped = _times(Path(f"/proc/{pid}/stat"))
    main, _ = _times(Path(f"/proc/{pid}/task/{pid}/stat"))
    return Cpu(main, own - main, reaped)


def pss(pid: int) -> float:
    """Proportional set size in MiB: each shared page divided by the number of those who share it."""
    return _memory(pid, "Pss")


def uss(pid: int) -> float:
    """Unique set size in MiB: the pages that nobody else has."""
    return _memory(pid, "Private_Clean") + _memory(pid, "Private_Dirty")


def _memory(pid: int, name: str) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"no {name} in /proc/{pid}/smaps_rollup")
    return int(found[1]) / 1024


def _parent(pid: int) -> int | None:
    try:
        return int(_fields(Path(f"/proc/{pid}/stat"))[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def _times(stat: Path) -> tuple[float, float]:
    """utime + stime, and cutime + cstime."""
    user, system, reaped_user, reaped_system = map(int, _fields(stat)[11:15])
    return (user + system) * _TICK, (reaped_user + reaped_system) * _TICK


def _fields(stat: Path) -> list[str]:
    """From the third field on: the second, the name, may hold blanks."""
    return stat.read_text().rpartition(")")[2].split()
