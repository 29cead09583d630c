"""Which host a state directory makes this one."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from bgjobd.host import identity
from bgjobd.host.identity import Machine

NO_ID = Path("/nonexistent")


def machine(tmp_path: Path, name: str) -> Machine:
    """A machine whose id is this."""
    file = tmp_path / f"machine-{name}"
    file.write_text(f"{name}\n")
    return Machine.here((NO_ID, file))


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
    made = identity.own(tmp_path, machine(tmp_path, "a"))
    told = json.loads((tmp_path / identity.FILE_NAME).read_text())
    assert (told.keys(), told["uuid"]) == ({"uuid", "machine"}, made)


NAMELESS = Machine("", "digest of web1", "first boot")


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        (replace(NAMELESS, boot_id="second boot"), True),
        (replace(NAMELESS, name="digest of web2"), True),
        (replace(NAMELESS, name="digest of web2", boot_id="second boot"), False),
        (Machine("an id"), False),
    ],
)
def test_a_machine_without_an_id_is_told_by_its_boot_and_its_name(
    other: Machine, is_same: bool, tmp_path: Path
) -> None:
    first = identity.own(tmp_path, NAMELESS)
    assert (identity.try_known(tmp_path, other) == first) is is_same
    assert (identity.own(tmp_path, other) == first) is is_same
    assert identity.own(tmp_path, replace(other, boot_id="third boot")) == identity.try_known(tmp_path, other)


def test_this_machine_without_an_id_is_not_told_by_its_name_in_the_clear() -> None:
    here = Machine.here((NO_ID,))
    assert (here.id, len(here.name), len(here.boot_id)) == ("", 64, 36)
    assert here == Machine.here((NO_ID,))


def test_what_an_earlier_version_wrote_of_a_machine_without_an_id_is_kept_and_is_told_apart_from_then_on(
    tmp_path: Path,
) -> None:
    first = str(uuid.uuid4())
    (tmp_path / identity.FILE_NAME).write_text(json.dumps({"uuid": first, "machine": ""}))
    assert identity.own(tmp_path, NAMELESS) == first
    assert identity.try_known(tmp_path, Machine("", "digest of web2", "second boot")) is None


def test_who_finds_another_machine_with_its_identity_becomes_another_host(tmp_path: Path) -> None:
    first = identity.own(tmp_path, NAMELESS)
    second = identity.renew(tmp_path, NAMELESS)
    assert identity.own(tmp_path, NAMELESS) == second != first
