"""Private names of modules that tests use: each is there, or a test that sets one for a daemon would change nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

TESTS = Path(__file__).resolve().parents[1]
_IMPORTED = re.compile(r"\bfrom (bgjobd?[\w.]*) import ([\w, ]+)")
_PRIVATE = re.compile(r"\b([a-z]\w*)\.(_[A-Z]\w*)")


def missing(text: str) -> Iterator[str]:
    """Also in programs that are written as texts, which no type checker reads."""
    modules: dict[str, set[str]] = {}
    for package, names in _IMPORTED.findall(text):
        for one in names.split(","):
            name, _, alias = one.strip().partition(" as ")
            modules.setdefault(alias or name, set()).add(f"{package}.{name}")
    for module, name in sorted(set(_PRIVATE.findall(text))):
        places = modules.get(module, set())
        if places and not any(_has(place, name) for place in places):
            yield f"{module}.{name}"


def _has(module: str, name: str) -> bool:
    try:
        return hasattr(resolve_name(module), name)
    except (ImportError, AttributeError):
        return False


def test_every_private_name_that_a_test_uses_is_there() -> None:
    found = {str(path): [*missing(path.read_text(encoding="utf-8"))] for path in TESTS.rglob("*.py")}
    del found[__file__]  # which names one that is not
    assert {path: names for path, names in found.items() if names} == {}


def test_one_that_has_moved_is_found() -> None:
    changes = '"from bgjobd.daemon import loop, retention; loop._GONE, retention._REST = 1, 0"'
    assert [*missing(changes)] == ["loop._GONE"]
