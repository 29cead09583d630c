"""The documentation as a site, by Sphinx: the pages of the tree, in one folder, with a contents and the API's page.

`./run site [FOLDER]`; by default build/site. A warning is an error: a link that leads nowhere, a page without a place.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sphinx.cmd.build import build_main

TREE: Final = Path(__file__).resolve().parents[2]
DOCS: Final = TREE / "docs"

CONTENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "First steps": ("Your first job <README>", "django", "flask", "fastapi"),
    "How to": (
        *("submitting", "writing-jobs", "web-applications", "outbox", "testing-your-application"),
        *("keys", "workflows", "schedules", "steps", "limits-and-output", "stuck-jobs"),
        *(
            "errors",
            "alerts",
            "assistants",
            "service",
            "hosts",
            "operating",
            "page-and-metrics",
            "monitoring",
        ),
        *("upgrading", "troubleshooting", "coming-from", "coming-from-the-original"),
    ),
    "Reference": ("reference", "api", "stability", "CHANGELOG"),
    "Why it is so": (
        *("guarantees", "alternatives", "performance", "SECURITY", "architecture"),
        *("where-things-go", "tests", "supply-chain", "CONTRIBUTING", "releasing"),
    ),
}
"""The kinds of documents, apart (Diátaxis), and the pages of each, in the order in which they are read."""

_KEPT: Final = (".md", ".png", ".svg")


def build(folder: Path, builder: str = "html") -> int:
    """Make the site in a folder. 0, or what Sphinx ends with where it warned of something."""
    with tempfile.TemporaryDirectory(prefix="bgjobd-site-") as scratch:
        pages = Path(scratch, "pages")
        collect(pages)
        places = ["-c", str(DOCS / "site"), "-d", str(Path(scratch, "doctrees")), str(pages), str(folder)]
        return build_main(["--fail-on-warning", "--keep-going", "--quiet", "-b", builder, *places])


def collect(pages: Path) -> None:
    """Put all pages beside each other, with their pictures, and their links as they are there."""
    shutil.copytree(TREE / "web" / "pictures", pages / "pictures")
    shutil.copytree(DOCS / "monitoring", pages / "monitoring")
    for file in [*TREE.glob("*.md"), *DOCS.iterdir(), *(DOCS / "site").iterdir()]:
        if file.suffix == ".md":
            (pages / file.name).write_text(beside(file.read_text(encoding="utf-8")), encoding="utf-8")
        elif file.suffix in _KEPT:
            shutil.copy(file, pages)
    with (pages / "index.md").open("a", encoding="utf-8") as index:
        index.writelines(_contents(kind, names) for kind, names in CONTENTS.items())


def beside(text: str) -> str:
    """A page's text where all pages are in one folder; what is in no page or picture is named, and not linked.

    >>> beside("[a](docs/keys.md#x) [b](../SECURITY.md) ![c](../web/pictures/c.png) [d](../systemd/d) [e](LICENSE)")
    '[a](keys.md#x) [b](SECURITY.md) ![c](pictures/c.png) d e'
    """
    text = re.sub(r"\]\((?:\.\./|docs/)?([^/:()]+\.(?:md|svg)(?:#[^)]*)?)\)", r"](\1)", text)
    text = re.sub(r"\]\((?:\.\./)?web/pictures/", "](pictures/", text)
    return re.sub(r"(?<!!)\[([^\]]*)\]\((?:\.\./)?(?:systemd/[^)]*|LICENSE)\)", r"\1", text)


def _contents(kind: str, names: tuple[str, ...]) -> str:
    return "\n".join(["", "```{toctree}", ":hidden:", f":caption: {kind}", "", *names, "```", ""])


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else TREE / "build" / "site")
    code = build(folder)
    if code == 0:
        print(f"{folder / 'index.html'}")
    sys.exit(code)


if __name__ == "__main__":
    main()
