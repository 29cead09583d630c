"""Whether the database's paths lead to its files, where links are among them: as SQLite opens them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bgjobd.store import database
from bgjobd.store.whereabouts import MovedError, Whereabouts


@contextmanager
def opened(state: Path) -> Iterator[Whereabouts]:
    """Those of a database that is open."""
    database.prepare(state)
    files = Whereabouts(state)
    held = database.open_for_writing(state)
    held.execute_sql("INSERT INTO properties VALUES ('a', 'b')")
    files.learn()
    try:
        yield files
    finally:
        held.close()


def test_a_link_in_the_place_of_the_log_is_none_for_sqlite_opens_no_link_there(tmp_path: Path) -> None:
    log = tmp_path / f"{database.FILE_NAME}-wal"
    with opened(tmp_path) as files:
        files.check_written()
        log.rename(tmp_path / "elsewhere")
        log.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(MovedError, match=r"another file is in the place of .*-wal"):
            files.check_written()
        log.unlink()
        (tmp_path / "elsewhere").rename(log)
        files.check_written()


def test_a_database_that_is_a_link_has_its_log_beside_the_file(tmp_path: Path) -> None:
    state, disk = tmp_path / "state", tmp_path / "disk"
    for directory in (state, disk):
        directory.mkdir()
    (state / database.FILE_NAME).symlink_to(disk / "jobs.db")
    with opened(state) as files:
        assert files.check_written() == (disk / "jobs.db-wal").stat().st_size > 0
        (disk / "jobs.db-wal").rename(disk / "elsewhere")
        with pytest.raises(MovedError, match=r"disk/jobs\.db-wal was moved or removed"):
            files.check_written()


def test_a_database_that_was_a_link_and_is_none_any_more_has_its_log_elsewhere(tmp_path: Path) -> None:
    state, disk = tmp_path / "state", tmp_path / "disk"
    for directory in (state, disk):
        directory.mkdir()
    (state / database.FILE_NAME).symlink_to(disk / "jobs.db")
    with opened(state) as files:
        (disk / "jobs.db").rename(state / database.FILE_NAME)
        with pytest.raises(MovedError, match=r"another file is in the place of .*state/"):
            files.check_written()


def test_a_database_that_is_a_link_to_another_place_by_now_has_its_log_elsewhere(tmp_path: Path) -> None:
    link, (before, after) = (
        tmp_path / "state" / database.FILE_NAME,
        (tmp_path / name for name in ("disk", "other")),
    )
    for directory in (link.parent, before, after):
        directory.mkdir()
    link.symlink_to(before / "jobs.db")
    with opened(link.parent) as files:
        (before / "jobs.db").rename(after / "jobs.db")
        link.unlink()
        link.symlink_to(after / "jobs.db")
        with pytest.raises(MovedError, match=r"another file is in the place of .*state/"):
            files.check_written()
