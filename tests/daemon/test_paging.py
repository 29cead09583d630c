"""A program that is told of what no job can tell: it gets the notice, and how it fails is said."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from bgjobd.supervisor import paging


def page(*command: str) -> list[str]:
    """What is said of it."""
    said: list[str] = []
    pids: set[int] = set()
    asyncio.run(paging.run(command, {"id": 0}, pids, lambda type, message: said.append(message)))
    assert pids == set()
    return said


def test_it_gets_the_notice_and_nothing_is_said_where_it_does_well(tmp_path: Path) -> None:
    assert page("/bin/sh", "-c", f"cat > {tmp_path}/got") == []
    assert json.loads((tmp_path / "got").read_text()) == {"id": 0}


@pytest.mark.parametrize(
    ("script", "told"),
    [("exit 3", "ended with exit code 3"), ("kill -9 $$", "was ended by signal 9")],
)
def test_how_it_has_failed_is_said(script: str, told: str) -> None:
    assert page("/bin/sh", "-c", script) == [f"/bin/sh, which is to tell of an alert, {told}"]


def test_one_that_takes_too_long_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "_PATIENCE", 0.05)
    (line,) = page("/bin/sleep", "60")
    assert line.endswith("was killed, for it took over 0.05 s")
