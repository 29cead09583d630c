"""Which host this is: an id in its state directory, which a copy of that directory on another machine does not have."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bgjobd.host import life

FILE_NAME: Final = "host.json"
_MACHINE_IDS: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_NOT_BOOTED: Final = "uninitialized"
"""What an image has there before its first boot."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine is told from another by: its id, as a digest, or its host name where it has none.

    In the same life, `boot_id`, it is the same: attempts may run yet, whatever id or name the machine has by now.
    """

    id: str
    name: str = ""
    boot_id: str = ""

    @classmethod
    def here(cls, ids: tuple[Path, ...] = _MACHINE_IDS) -> Machine:
        name = hashlib.sha256(f"bgjobd {os.uname().nodename}".encode()).hexdigest()
        return cls(id := _digest(ids), "" if id else name, life.own().id)

    def is_of(self, told: Machine) -> bool:
        """Whether it is the one of which that was written down; by an earlier version perhaps, without a name."""
        if told.boot_id == self.boot_id:
            return True
        return self.id == told.id if self.id or told.id else told.name in ("", self.name)


def own(state_dir: Path, machine: Machine | None = None) -> str:
    """The id of this host, a UUID; made where there is none yet, or it is of another machine. Raises OSError.

    To be called by who holds the state directory's lock.
    """
    here = machine or Machine.here()
    known = _try_read(state_dir / FILE_NAME)
    if known is None or not here.is_of(known[1]):
        return renew(state_dir, here)
    if known[1] != here:
        with suppress(OSError):  # a full disk; the next start tries again
            _write(state_dir / FILE_NAME, known[0], here)
    return known[0]


def renew(state_dir: Path, machine: Machine | None = None) -> str:
    """Another id for this host, which is nobody else's. Raises OSError."""
    _write(state_dir / FILE_NAME, made := str(uuid.uuid4()), machine or Machine.here())
    return made


def try_known(state_dir: Path, machine: Machine | None = None) -> str | None:
    """The same where it is there already; nothing is made. Raises OSError."""
    known = _try_read(state_dir / FILE_NAME)
    return known[0] if known is not None and (machine or Machine.here()).is_of(known[1]) else None


def _digest(machine_ids: tuple[Path, ...]) -> str:
    """Of the machine's id, which itself is nobody's business (machine-id(5)); empty where there is none."""
    for path in machine_ids:
        try:
            found = path.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if found and found != _NOT_BOOTED:
            return hashlib.sha256(f"bgjobd {found}".encode()).hexdigest()
    return ""


def _try_read(file: Path) -> tuple[str, Machine] | None:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        machine = Machine(str(told["machine"]), str(told.get("name", "")), str(told.get("boot_id", "")))
        return str(uuid.UUID(told["uuid"])), machine
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # what was cut short is as good as nothing: a new id takes nobody's place


def _write(file: Path, id: str, machine: Machine) -> None:
    """Whole or not at all, and on disk: with another id the attempts of before would be another host's."""
    told = {"uuid": id, "machine": machine.id, "name": machine.name, "boot_id": machine.boot_id}
    unfinished = file.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(json.dumps(told) + "\n")
        opened.flush()
        os.fsync(opened.fileno())
    os.replace(unfinished, file)
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
