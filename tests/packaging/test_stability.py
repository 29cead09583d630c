"""What could be reached in the version before still can; what is gone is named here, and told in the changelog."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

RELEASED: Final = Path(__file__).with_name("released_surface.txt")
SURFACE: Final = Path(__file__).parents[1] / "security" / "surface.txt"

GONE: Final[dict[str, str]] = {}
"""Line of the version before → the sentence of CHANGELOG.md that tells of its end. Emptied with each release."""


def gone(before: Path, now: Path) -> set[str]:
    return _lines(before) - _lines(now)


def _lines(surface: Path) -> set[str]:
    """All that stands there, but in which of our files it is."""
    return {re.sub(r" in \S+\.py$", "", line) for line in surface.read_text().splitlines()}


def test_nothing_that_was_released_is_gone_without_being_told() -> None:
    """docs/stability.md says which version may take away what; a change of a line is a line gone and one added."""
    assert gone(RELEASED, SURFACE) == GONE.keys()


def test_what_is_gone_is_told_in_the_changelog() -> None:
    changelog = (SURFACE.parents[2] / "CHANGELOG.md").read_text()
    assert [sentence for sentence in GONE.values() if sentence not in changelog] == []


def test_a_line_that_is_taken_away_is_found(tmp_path: Path) -> None:
    (tmp_path / "now").write_text("\n".join(RELEASED.read_text().splitlines()[1:]))
    assert gone(RELEASED, tmp_path / "now") == {RELEASED.read_text().splitlines()[0]}
