"""Which host a state directory makes this one."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from bgjobd.host import identity

NO_ID = Path("/nonexistent")


def machine(tmp_path: Path, name: str) -> tuple[Path, ...]:
    """A machine whose id is this."""
    file = tmp_path / f"machine-{name}"
    file.write_text(f"{name}\n")
    return NO_ID, file


def test_a_host_stays_who_it_is(tmp_path: Path) -> None:
    one = machine(tmp_path, "a" * 32)
    assert identity.try_known(tmp_path, one) is None
    first = identity.own(tmp_path, one)
    assert identity.try_known(tmp_path, one) == first
    assert str(uuid.UUID(first)) == first
    assert identity.own(tmp_path, one) == first


def test_a_copied_state_directory_is_another_host(tmp_path: Path) -> None:
    first = identity.own(tmp_path, machine(tmp_path, "a" * 32))
    assert identity.try_known(tmp_path, machine(tmp_path, "b" * 32)) is None
    assert identity.own(tmp_path, machine(tmp_path, "b" * 32)) != first


def test_the_machines_own_id_is_not_written_down(tmp_path: Path) -> None:
    identity.own(tmp_path, machine(tmp_path, "c" * 32))
    assert "c" * 32 not in (tmp_path / identity.FILE_NAME).read_text()
    assert (tmp_path / identity.FILE_NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "{", "[]", '{"uuid": "web1", "machine": ""}', '{"uuid": 1}'])
def test_a_file_that_says_nothing_makes_a_new_host(tmp_path: Path, text: str) -> None:
    (tmp_path / identity.FILE_NAME).write_text(text)
    made = identity.own(tmp_path, (NO_ID,))
    assert json.loads((tmp_path / identity.FILE_NAME).read_text()) == {"uuid": made, "machine": ""}
