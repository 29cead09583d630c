"""What is in the way of a release is told before anything is made, each by its own sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.packaging import dist
from tests.packaging.release import FILES, Release, left_to_do, obstacles, signing

PROJECT = '[project]\nname = "{}"\nversion = "1.2.0"\nurls = {{ Home = "https://example.org" }}\n'
READY = Release(
    {
        "project": PROJECT.format("bgjobd"),
        "client": PROJECT.format("bgjob"),
        "module": '__version__ = "1.2.0"\n',
        "changelog": "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2027-03-01\n\n- Something.\n",
        "surface": "method A\n",
        "released": "method A\n",
    },
    frozenset({"v1.1.0"}),
    is_clean=True,
)


def with_text(name: str, old: str, new: str) -> Release:
    assert old in READY.texts[name]
    return replace(READY, texts=READY.texts | {name: READY.texts[name].replace(old, new)})


@pytest.mark.parametrize(
    ("release", "told"),
    [
        (READY, []),
        (with_text("client", "1.2.0", "1.1.0"), ["the versions differ: 1.1.0, 1.2.0"]),
        (with_text("module", "1.2.0", "1.1.0"), ["the versions differ: 1.1.0, 1.2.0"]),
        (with_text("changelog", " - 2027-03-01", ""), ["CHANGELOG.md has no heading ## [1.2.0] - DATE"]),
        (
            with_text("changelog", "[Unreleased]\n", "[Unreleased]\n\n- More.\n"),
            ["CHANGELOG.md has something under [Unreleased]"],
        ),
        (replace(READY, is_clean=False), ["something is not committed"]),
        (replace(READY, tags=frozenset({"v1.2.0"})), ["the tag v1.2.0 is there already"]),
        (
            with_text("released", "A", "B"),
            [f"{FILES['released']} is not that of this version: copy {FILES['surface']}"],
        ),
        (with_text("client", "urls", "text"), ["bgjob names no home: [project.urls]"]),
    ],
)
def test_what_is_in_the_way_of_a_release_is_named(release: Release, told: list[str]) -> None:
    assert [*obstacles(release)] == told


def test_the_tag_and_the_sums_are_signed_and_nothing_is_pushed_or_uploaded_but_by_hand() -> None:
    commands = signing(READY, Path("key"), Path("dist/SHA256SUMS"))
    assert [command[0] for command in commands] == ["ssh-keygen", "git"]
    assert "v1.2.0" in commands[1]
    assert not {"push", "upload"} & {word for command in commands for word in command}
    assert [line.split()[:2] for line in left_to_do(READY)][:2] == [["git", "push"], ["twine", "upload"]]


def test_of_a_directory_only_what_was_released_before_is_removed(tmp_path: Path) -> None:
    for name in (
        "bgjob-1.1.0.tar.gz",
        "bgjobd_1.1.0-1_amd64.deb",
        "SHA256SUMS",
        "SHA256SUMS.sig",
        "letter.tar.gz",
    ):
        (tmp_path / name).touch()
    dist.clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.tar.gz"]
