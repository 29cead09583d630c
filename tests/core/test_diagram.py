"""The documentation's pictures of the lives of a job and of an attempt are the tables themselves."""

from __future__ import annotations

import re
from pathlib import Path

from bgjob.words import Status
from bgjobd.core import attempt_life
from bgjobd.core.state_machine import TABLE, diagram

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guarantees.md"
OF_AN_ATTEMPT = PAGE.with_name("architecture.md")


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


def test_the_documentation_shows_the_life_of_an_attempt_as_it_is() -> None:
    blocks = re.findall(
        r"^```mermaid\n(.*?)^```$", OF_AN_ATTEMPT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert blocks == [attempt_life.diagram()]


def test_the_picture_of_an_attempts_life_leads_from_its_claim_to_each_end() -> None:
    lines = attempt_life.diagram().splitlines()
    assert lines[:2] == ["stateDiagram-v2", "    [*] --> queued: claimed"]
    assert lines[-3:] == [f"    {state} --> [*]" for state in ("given_back", "lost", "ended")]
    drawn = {tuple(line.strip().partition(":")[0].split(" --> ")) for line in lines[2:-3]}
    changes = {(before, step.state) for (before, _), step in attempt_life.TABLE.items()}
    assert drawn == {(before, then) for before, then in changes if before is not then}
