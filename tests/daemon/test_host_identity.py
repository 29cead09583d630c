"""Which host a state directory makes this one."""

from __future__ import annotations

import errno
import json
import os
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from bgjobd.core.verdict import Life
from bgjobd.host import identity, life
from bgjobd.host.identity import Machine

NO_ID = Path("/nonexistent")


def machine(tmp_path: Path, name: str) -> Machine:
    """A machine whose id is this, in a boot of its own."""
    file = tmp_path / f"machine-{name}"
    file.write_text(f"{name}\n")
    return replace(Machine.here((NO_ID, file)), boot_id=f"boot of {name[:1]}")


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


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"uuid": "web1", "machine": ""}', '{"uuid": 1}', pytest.param("[" * 100_000, id="deep")],
)
def test_a_file_that_says_nothing_makes_a_new_host(tmp_path: Path, text: str) -> None:
    (tmp_path / identity.FILE_NAME).write_text(text)
    made = identity.own(tmp_path, machine(tmp_path, "a"))
    told = json.loads((tmp_path / identity.FILE_NAME).read_text())
    assert told["uuid"] == made


NAMELESS = Machine("", "digest of web1", "first boot")


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        (replace(NAMELESS, boot_id="second boot"), True),
        (replace(NAMELESS, name="digest of web2"), True),
        (replace(NAMELESS, name="digest of web2", boot_id="second boot"), False),
        (Machine("an id", boot_id="second boot"), False),
        (Machine("an id", boot_id="first boot"), True),
    ],
)
def test_a_machine_without_an_id_is_told_by_its_boot_and_its_name(
    other: Machine, is_same: bool, tmp_path: Path
) -> None:
    first = identity.own(tmp_path, NAMELESS)
    assert (identity.try_known(tmp_path, other) == first) is is_same
    assert (identity.own(tmp_path, other) == first) is is_same
    assert identity.own(tmp_path, replace(other, boot_id="third boot")) == identity.try_known(tmp_path, other)


@pytest.mark.parametrize("id", ["", "another id"])
def test_a_machine_whose_id_is_gone_or_another_one_is_the_same_until_its_next_boot(
    id: str, tmp_path: Path
) -> None:
    """Else what runs would count as another host's, and be run again beside it."""
    first = identity.own(tmp_path, Machine("an id", boot_id="first boot"))
    assert identity.try_known(tmp_path, Machine(id, "digest of web1", "second boot")) is None
    assert identity.own(tmp_path, Machine(id, "digest of web1", "first boot")) == first
    assert identity.own(tmp_path, Machine(id, "digest of web1", "second boot")) == first, (
        "it was written down"
    )


def test_a_machine_that_got_an_id_is_known_by_it_from_then_on(tmp_path: Path) -> None:
    first = identity.own(tmp_path, NAMELESS)
    assert identity.own(tmp_path, Machine("an id", boot_id="first boot")) == first
    assert identity.own(tmp_path, Machine("an id", boot_id="second boot")) == first
    assert identity.own(tmp_path, Machine("another id", boot_id="third boot")) != first


def test_its_life_is_that_of_the_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life, "own", lambda: Life("run of a container", "boot"))
    assert Machine.here((NO_ID,)).boot_id == Machine.here().boot_id == "run of a container"


def test_what_an_image_has_for_an_id_before_its_first_boot_is_none(tmp_path: Path) -> None:
    assert machine(tmp_path, "uninitialized").id == ""


@pytest.mark.parametrize("id", ["", "an id"])
def test_an_earlier_version_finds_what_it_wrote_itself(id: str, tmp_path: Path) -> None:
    made = identity.own(tmp_path, replace(NAMELESS, id=id))
    told = json.loads((tmp_path / identity.FILE_NAME).read_text())
    assert (told["uuid"], told["machine"]) == (made, id)


def test_a_full_disk_hinders_no_start_of_a_host_that_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = identity.own(tmp_path, NAMELESS)
    monkeypatch.setattr(os, "fsync", full)
    assert identity.own(tmp_path, replace(NAMELESS, boot_id="second boot")) == first
    with pytest.raises(OSError, match="No space left"):
        identity.own(tmp_path, Machine("an id", boot_id="second boot"))


def full(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_this_machine_without_an_id_is_not_told_by_its_name_in_the_clear() -> None:
    here = Machine.here((NO_ID,))
    assert (here.id, len(here.name), here.boot_id) == ("", 64, life.own().id)
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
