"""The locks as values, and who needs whom among what is installed; nothing here asks a package index."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TREE: Final = Path(__file__).resolve().parents[2]
PROJECT: Final[dict[str, Any]] = tomllib.loads((TREE / "pyproject.toml").read_text())
DEVELOPMENT: Final = TREE / "requirements.lock"
RUNTIME: Final = TREE / "runtime.lock"

PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
"""The versions that are supported; a requirement that only one of them has is one."""


@dataclass(frozen=True)
class Pinned:
    """A distribution of a lock, with the hashes of its files, one of which is installed."""

    name: str
    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def version(self) -> str:
        """The one version that is allowed. Raises ValueError for a requirement that allows others."""
        told = re.fullmatch(r"==([^*,]+)", str(self.requirement.specifier))
        if told is None:
            raise ValueError(f"{self.requirement} pins no version")
        return told[1]


def read(lock: Path) -> dict[str, Pinned]:
    """What a lock pins, by name. Raises ValueError where something other than requirements stands in it."""
    found: dict[str, Pinned] = {}
    text = lock.read_text().replace("\\\n", " ")
    for line in filter(None, (line.partition("#")[0].strip() for line in text.splitlines())):
        told, *hashes = line.split(" --hash=")
        requirement = Requirement(told)
        name = name_of(requirement)
        if name in found:
            raise ValueError(f"{name} stands in {lock.name} twice")
        found[name] = Pinned(name, requirement, tuple(one.strip() for one in hashes))
    return found


def made_of(lock: Path) -> list[str]:
    """The requirements that a lock was made of, by the command that its head tells."""
    (command,) = re.findall(r"^#\s+uv pip compile (.*)", lock.read_text(), re.MULTILINE)
    told: list[str] = PROJECT["project"]["dependencies"] if "pyproject.toml" in command.split() else []
    return [*told, *(one for group in groups_of(lock) for one in PROJECT["dependency-groups"][group])]


def groups_of(lock: Path) -> list[str]:
    return re.findall(r"--group (\S+)", lock.read_text().partition("==")[0])


def requirements(told: Iterable[str], extras: Iterable[str] = ()) -> Iterator[Requirement]:
    """Those of `told` that hold on Linux under any supported Python."""
    for requirement in map(Requirement, told):
        if requirement.marker is None or _can_hold(requirement.marker, frozenset(extras)):
            yield requirement


def _can_hold(marker: Marker, extras: frozenset[str]) -> bool:
    return any(
        marker.evaluate(
            _LINUX | {"python_version": python, "python_full_version": f"{python}.0", "extra": extra}
        )
        for python in PYTHONS
        for extra in extras or {""}
    )


_LINUX: Final = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "sys_platform": "linux",
}


def name_of(requirement: Requirement) -> str:
    return canonicalize_name(requirement.name)


def closure(told: Iterable[str]) -> dict[str, set[str]]:
    """All that the requirements lead to, each with what it needs itself, as installed distributions tell it.

    Raises PackageNotFoundError for one that this Python has no need of and another has.
    """
    needs: dict[str, set[str]] = {}
    ahead = list(requirements(told))
    seen: set[tuple[str, frozenset[str]]] = set()
    while ahead:
        requirement = ahead.pop()
        name, extras = name_of(requirement), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        below = list(requirements(metadata.requires(name) or (), extras))
        needs.setdefault(name, set()).update(map(name_of, below))
        ahead += below
    return needs
