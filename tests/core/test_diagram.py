"""The documentation's picture of a job's life is the table itself."""

from __future__ import annotations

import re
from pathlib import Path

from bgjob.words import Status
from bgjobd.core.state_machine import TABLE, diagram

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guarantees.md"


def test_the_documentation_shows_the_table_as_it_is() -> None:
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```mermaid\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert blocks == [diagram()]


def test_the_diagram_draws_every_change_of_status_once() -> None:
    lines = diagram().splitlines()
    assert lines[0] == "stateDiagram-v2"
    changes = [
        f"    {before or '[*]'} --> {after}: {happening}"
        for (before, happening), after in TABLE.items()
        if before is not after
    ]
    assert sorted(lines[1:]) == sorted([*changes, f"    {Status.COMPLETED} --> [*]"])
