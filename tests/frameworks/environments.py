"""Interpreters with a framework, for what runs in an application: made once, from locked wheels, and kept in .venv."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pytest

_ROOT: Final = Path(__file__).parents[2]
_KEPT: Final = Path(sys.prefix) / "frameworks"
_INTERPRETERS: Final = ("python3.14", "python3.13", "python3.12")


class Environment(NamedTuple):
    """An interpreter that has what its lock lists; if Django is, the tests of its source distribution beside it."""

    python: Path
    tests: Path


def environment(name: str) -> Environment:
    """That of `locks/NAME.txt`; skips where no interpreter is new enough, or nothing can be downloaded."""
    lock = Path(__file__).parent / "locks" / f"{name}.txt"
    place = _KEPT / name
    made = Environment(place / "bin" / "python", place / "source")
    with _alone(place.with_name(f"{place.name}.lock")):
        if not _is_of(place, lock):
            shutil.rmtree(place, ignore_errors=True)
            _make(place, lock)
            (place / "made-of").write_text(lock.read_text())
    return made


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    file.parent.mkdir(exist_ok=True)
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _is_of(place: Path, lock: Path) -> bool:
    made_of = place / "made-of"
    return made_of.exists() and made_of.read_text() == lock.read_text()


def _make(place: Path, lock: Path) -> None:
    python = _interpreter(lock)
    subprocess.run([python, "-m", "venv", "--without-pip", place], check=True)
    _install(place / "bin" / "python", "--only-binary", ":all:", "-r", str(lock))
    if _version(lock) is not None:
        _fetch_tests(place, lock)


def _interpreter(lock: Path) -> str:
    """Ours, but for Django 6, which runs from 3.12 on."""
    if (_version(lock) or (0, 0)) < (6, 0) or sys.version_info >= (3, 12):
        return sys.executable
    found = next(filter(None, map(shutil.which, _INTERPRETERS)), None)
    if found is None:
        pytest.skip("Django 6 needs Python 3.12 or newer: install python3.12, with its venv")
    return found


def _version(lock: Path) -> tuple[int, int] | None:
    """Of Django, if it is listed."""
    found = re.search(r"^django==(\d+)\.(\d+)", lock.read_text(), re.MULTILINE)
    return None if found is None else (int(found[1]), int(found[2]))


def _fetch_tests(place: Path, lock: Path) -> None:
    """Of Django's source distribution `tests/tasks`: wheels have no tests. The backport has none of its own."""
    is_backport = lock.stem == "django-5.2"
    source = _source(lock.with_name("django-6.0.txt") if is_backport else lock)
    shutil.copytree(source, place / "source" / "tasks")
    if is_backport:
        for file in (place / "source" / "tasks").iterdir():
            file.write_bytes(_for_backport(file.read_bytes()))


def _source(lock: Path) -> Path:
    """Those tests, which are fetched once for all whose they are."""
    place = _KEPT / f"{lock.stem}-source"
    listed = re.findall(r"^django==(?:.*\\\n)*.*\n", lock.read_text(), re.MULTILINE)[0]
    with _alone(place.with_name(f"{place.name}.lock")):
        if not (place / "tasks").exists() or (place / "listed").read_text() != listed:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            (place / "listed").write_text(listed)
            _download(place)
    return place / "tasks"


def _download(place: Path) -> None:
    what = ("--no-deps", "--no-binary", ":all:", "-r", str(place / "listed"), "-d", str(place))
    # Nothing of it runs here, whatever Python this is; what tells its version is here already.
    _pip("download", *_QUIETLY, "--ignore-requires-python", "--no-build-isolation", *what)
    (archive,) = place.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        (place / "unfinished").mkdir()
        for member in packed:
            content = packed.extractfile(member) if "/tests/tasks/" in member.name else None
            if content is not None:
                (place / "unfinished" / Path(member.name).name).write_bytes(content.read())
    archive.unlink()
    (place / "unfinished").rename(place / "tasks")


_RENAMED: Final = (
    (rb"\bdjango\.tasks\b", b"django_tasks"),
    (rb"\bInvalidTask\b", b"InvalidTaskError"),
    (rb"\bInvalidTaskBackend\b", b"InvalidTaskBackendError"),
)


def _for_backport(source: bytes) -> bytes:
    """Django's test with the backport's names."""
    for old, new in _RENAMED:
        source = re.sub(old, new, source)
    return source


_QUIETLY: Final = ("--quiet", "--disable-pip-version-check", "--no-input", "--require-hashes")


def _install(python: Path, *what: str) -> None:
    """By uv where there is one, which takes a tenth of the time."""
    if (uv := shutil.which("uv")) is not None:
        _ask_the_index(uv, "pip", "install", "--quiet", "--require-hashes", "--python", str(python), *what)
        return
    _pip("--python", str(python), "install", *_QUIETLY, "--no-compile", *what)  # compiled is what is imported


def _pip(*arguments: str) -> None:
    _ask_the_index(sys.executable, "-m", "pip", *arguments)


def _ask_the_index(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"what an application has cannot be installed; a package index is needed once: {done.stderr}"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
