"""Which host this is: an id in its state directory, which a copy of that directory on another machine does not have."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Final

FILE_NAME: Final = "host.json"
_MACHINE_IDS: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


def own(state_dir: Path, machine_ids: tuple[Path, ...] = _MACHINE_IDS) -> str:
    """The id of this host, a UUID; made where there is none yet, or it is of another machine. Raises OSError.

    To be called by who holds the state directory's lock.
    """
    known = try_known(state_dir, machine_ids)
    if known is not None:
        return known
    made = {"uuid": str(uuid.uuid4()), "machine": _digest(machine_ids)}
    _write(state_dir / FILE_NAME, json.dumps(made) + "\n")
    return made["uuid"]


def try_known(state_dir: Path, machine_ids: tuple[Path, ...] = _MACHINE_IDS) -> str | None:
    """The same where it is there already; nothing is made. Raises OSError."""
    known = _try_read(state_dir / FILE_NAME)
    return known[0] if known is not None and known[1] == _digest(machine_ids) else None


def _digest(machine_ids: tuple[Path, ...]) -> str:
    """Of the machine's id, which itself is nobody's business (machine-id(5)); empty where there is none."""
    for path in machine_ids:
        try:
            found = path.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if found:
            return hashlib.sha256(f"bgjobd {found}".encode()).hexdigest()
    return ""


def _try_read(file: Path) -> tuple[str, str] | None:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return str(uuid.UUID(told["uuid"])), str(told["machine"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # what was cut short is as good as nothing: a new id takes nobody's place


def _write(file: Path, text: str) -> None:
    """Whole or not at all, and on disk: with another id the attempts of before would be another host's."""
    unfinished = file.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    os.replace(unfinished, file)
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
