"""Whether the daemon before ended as it should is known by a file that is there while one runs."""

from __future__ import annotations

from pathlib import Path

from bgjobd.host import last_end


def test_a_daemon_that_ended_leaves_nothing_and_one_that_was_killed_is_known_to_the_next(
    tmp_path: Path,
) -> None:
    assert not last_end.begin(tmp_path)
    assert last_end.begin(tmp_path)
    last_end.end(tmp_path)
    last_end.end(tmp_path)
    assert not last_end.begin(tmp_path)


def test_a_directory_that_takes_no_file_tells_nothing(tmp_path: Path) -> None:
    assert not last_end.begin(tmp_path / "missing")
