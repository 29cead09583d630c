"""What others wrote is listed with its version, licence and hash, and is what the list says."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.spdx import is_supported_id
from packageurl import PackageURL

WEB = Path(__file__).resolve().parents[2] / "web"
LIST: dict[str, dict[str, Any]] = tomllib.loads((WEB / "vendored.toml").read_text())
OURS = {"charts.css", "icon.svg", "job.css", "page.css", "page.js", "theme.js"}
ASKING_FOR_NOTHING = {"0BSD"}
"""Licences whose text need not go along; a file under another one needs that text in the wheel, and a test of it."""


def test_every_file_is_ours_or_listed() -> None:
    assert {path.name for path in (WEB / "static").iterdir()} == OURS | LIST.keys()


@pytest.mark.parametrize("name", LIST)
def test_a_listed_file_is_what_the_list_says(name: str) -> None:
    told = LIST[name]
    assert told.keys() == {"package", "version", "licence", "source", "sha256"}
    assert hashlib.sha256((WEB / "static" / name).read_bytes()).hexdigest() == told["sha256"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", told["version"])
    assert told["source"].startswith("https://")
    assert told["source"].endswith(PackageURL.from_string(told["package"]).name)
    assert is_supported_id(told["licence"])
    assert told["licence"] in ASKING_FOR_NOTHING


@pytest.mark.parametrize("name", sorted(name for name in {*OURS, *LIST} if name.endswith(".js")))
def test_no_script_needs_what_the_policy_forbids(name: str) -> None:
    """No text becomes code."""
    text = (WEB / "static" / name).read_text()
    assert not re.search(r"\beval\(|new Function\(|document\.write", text)


@pytest.mark.parametrize("name", sorted(name for name in OURS if name.endswith(".css")))
def test_no_stylesheet_fetches_anything(name: str) -> None:
    assert not re.search(r"url\(|@import|https?://", (WEB / "static" / name).read_text())
