"""What `bgjobd check` finds where a class could not be ended in time, should its host be cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgjobd.commands import check_fence
from bgjobd.config import loading

SHARED = '[daemon]\ndatabase = "postgresql://bgjobd@db.example/bgjobd"\n'


def found(directory: Path, text: str) -> list[str]:
    file = directory / "bgjobd.toml"
    file.write_text(text)
    config = loading.load(file, {}, is_root=False)
    return [str(one) for one in check_fence.findings(config)]


def test_a_grace_that_outlasts_the_others_patience_is_broken(tmp_path: Path) -> None:
    classes = '[approved]\n"a.Long" = { stop_grace = "5m" }\n"a.Short" = {}\n'
    assert found(tmp_path, SHARED + classes) == [
        "broken       a.Long: stop_grace is 300 s, and 290 s are left from half of [hosts] lost_after on, when it is "
        "told to stop should this host be cut off, until others repeat it; lower that, raise lost_after, or set "
        "retry_lost = false"
    ]


@pytest.mark.parametrize(
    ("lost_after", "grace", "is_broken"),
    [("10m", "290s", False), ("10m", "291s", True), ("60s", "24s", False), ("60s", "25s", True)],
)
def test_ten_seconds_are_spared_or_a_tenth(
    tmp_path: Path, lost_after: str, grace: str, is_broken: bool
) -> None:
    text = (
        f'[hosts]\nlost_after = "{lost_after}"\n[limits]\nstop_grace = "{grace}"\n[approved]\n"a.B" = {{}}\n'
    )
    (told,) = found(tmp_path, SHARED + text)
    assert told.startswith("broken" if is_broken else "ok")


@pytest.mark.parametrize(
    "text",
    [
        '[approved]\n"a.B" = { stop_grace = "1h" }\n',
        f'{SHARED}[approved]\n"a.B" = {{ stop_grace = "1h", retry_lost = false }}\n',
        f'{SHARED}[hosts]\nlost_after = false\n[approved]\n"a.B" = {{ stop_grace = "1h" }}\n',
    ],
    ids=["on a file", "what nobody repeats", "where nobody counts as lost"],
)
def test_where_nobody_repeats_it_a_grace_may_be_as_long_as_it_likes(tmp_path: Path, text: str) -> None:
    assert found(tmp_path, text) == []
