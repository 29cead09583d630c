"""The files that the documentation shows for a page behind a web server, as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "page-and-metrics.md"


def shown(language: str) -> dict[Path, str]:
    """What the section has in this language, by the file that it goes to."""
    section = _section()
    found = re.findall(rf"^```{language}\n# (/\S+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return {Path(file): text for file, text in found}


def settings() -> str:
    """What the daemon's configuration is to have."""
    (text,) = re.findall(r"^```toml\n(.*?)^```$", _section(), re.MULTILINE | re.DOTALL)
    return str(text)


def _section() -> str:
    text = _PAGE.read_text(encoding="utf-8")
    return text.partition("\n### Behind a web server\n")[2].partition("\n## ")[0]
