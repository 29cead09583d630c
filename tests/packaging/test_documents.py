"""The documents hang together: every relative link leads somewhere, and each room and file says what it is."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from bgjobd.core.need_kinds import ASKED, REASONS, Kind
from tests.packaging.test_layout import LAYERS, TREE, sources

DOCUMENTS = [
    *sorted(TREE.glob("*.md")),
    *sorted((TREE / "docs").rglob("*.md")),
    *sorted((TREE / "tests").rglob("*.md")),
]
WHERE = [document.relative_to(TREE).as_posix() for document in DOCUMENTS]


@cache
def prose(document: Path) -> str:
    """The text without its fenced blocks."""
    text = document.read_text(encoding="utf-8")
    return re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> list[str]:
    """The anchors of the headings, as the forges make them."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def targets(document: Path) -> Iterator[str]:
    """Where its links and pictures lead, those on the net left out."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if not re.match(r"[a-z]+:", target):
            yield target


def dead_links(document: Path, tree: Path = TREE) -> list[str]:
    found = []
    for target in targets(document):
        file, _, anchor = target.partition("#")
        to = (document.parent / file).resolve() if file else document
        is_there = to.exists() and to.is_relative_to(tree)
        if not is_there or (anchor and (to.suffix != ".md" or anchor not in anchors(to))):
            found.append(target)
    return found


def test_no_page_writes_over_what_another_has_the_reader_write() -> None:
    """The pages go on in one application, and what one approves has to be there when the next one reloads."""
    files = [
        name
        for document in DOCUMENTS
        for name in re.findall(
            r"^# (/srv/myapp/\S+\.py)$", document.read_text(encoding="utf-8"), re.MULTILINE
        )
    ]
    assert len(files) > 20
    assert sorted({name for name in files if files.count(name) > 1}) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=WHERE)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    assert dead_links(document) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=WHERE)
def test_no_anchor_is_there_twice(document: Path) -> None:
    if document.name != "CHANGELOG.md":  # whose versions have the same headings each
        assert len(set(anchors(document))) == len(anchors(document))


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n[a](nosuch.md) [b](#nosuch) [c](#page) [d](https://x.org/y)\n\n```\n[e](no.md)\n```\n"
    )
    assert dead_links(page, tmp_path) == ["nosuch.md", "#nosuch"]


def test_every_alert_leads_to_a_place_in_the_documents(tmp_path: Path) -> None:
    rules = (TREE / "docs" / "monitoring" / "bgjobd.rules.yml").read_text()
    runbooks = re.findall(r"runbook: (\S+)", rules)
    assert len(runbooks) == rules.count("- alert: ")
    page = tmp_path / "page.md"
    page.write_text("".join(f"[a]({TREE / runbook}) " for runbook in runbooks))
    assert dead_links(page) == []


def test_readme_leads_to_every_page() -> None:
    readme = TREE / "README.md"
    linked = {(TREE / target.partition("#")[0]).resolve() for target in targets(readme)}
    assert {page for page in DOCUMENTS if page.parent in {TREE, TREE / "docs"}} - {readme} <= linked


@pytest.mark.parametrize(
    ("figure", "page", "told"),
    [
        ("Drain of no-ops, 2 slots", "alternatives.md", r"about (\d+)\s+jobs a second"),
        ("Drain of no-ops, 4 slots", "index.md", r"about\s+(\d+)\s+jobs a second"),
        ("Submit, one by one, p50", "index.md", r"on disk: about ([\d.]+) ms"),
        ("Submit to the body's first line, p50", "index.md", r"first line: about ([\d.]+) ms"),
    ],
)
def test_what_it_costs_is_told_as_it_was_measured(figure: str, page: str, told: str) -> None:
    row = rf"^\| {re.escape(figure)} +\| ([\d.]+) "
    (measured, *_) = re.findall(row, prose(TREE / "docs/performance.md"), re.M)
    (elsewhere,) = re.findall(told, prose(TREE / "docs" / page))
    assert float(elsewhere) == pytest.approx(float(measured), rel=0.1)


def test_the_table_of_needs_has_each_kind_that_is_looked_for_unasked_and_marks_those_that_degrade() -> None:
    told = prose(TREE / "docs/operating.md").partition("\n## What needs somebody\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)`( !)? +\|", told, re.MULTILINE)
    assert [kind for kind, _ in rows] == [kind for kind in Kind if kind not in ASKED]
    assert {kind for kind, mark in rows if mark} == REASONS


# The rooms and their files


def test_the_table_of_the_architecture_has_the_rooms_from_the_top_down() -> None:
    rows = re.findall(r"^\| `bgjobd/(\w+)(?:\.py|/)`", prose(TREE / "docs" / "architecture.md"), re.MULTILINE)
    rooms = [layer.removeprefix("bgjobd.") for layer in LAYERS if layer.startswith("bgjobd.")]
    assert rows == [room for room in rooms if room not in {"__main__", "systemd"}]  # which stands beside them


def test_each_file_opens_with_a_sentence_that_says_what_is_in_it() -> None:
    said = {path: ast.get_docstring(ast.parse((TREE / path).read_bytes())) or "" for path, _ in sources(TREE)}
    assert len(said) > 600
    firsts = {path: text.partition("\n\n")[0].replace("\n", " ") for path, text in said.items()}
    assert {path: first for path, first in firsts.items() if not re.match(r"\S.*[.:]$", first)} == {}


# What contributors are told


def spans(page: str) -> set[str]:
    """What stands between backticks."""
    return set(re.findall(r"`([^`\n]+)`", prose(TREE / page)))


CONTRIBUTORS = [
    *("CONTRIBUTING.md", "docs/architecture.md", "docs/where-things-go.md", "docs/tests.md"),
    "docs/supply-chain.md",
]


@pytest.mark.parametrize("page", CONTRIBUTORS)
def test_files_that_are_named_are_there(page: str) -> None:
    named = {
        span
        for span in spans(page)
        if re.fullmatch(r"(bgjobd|client|docs|systemd|tests|web)/[a-z_\d./-]+", span, re.I)
    }
    assert [span for span in named if not (TREE / span).exists()] == []


@pytest.mark.parametrize("page", ["docs/architecture.md", "docs/where-things-go.md"])
def test_symbols_that_are_named_are_in_the_sources(page: str) -> None:
    texts = [source for _, source in sources(TREE)]
    texts += [(TREE / "tests" / "packaging" / name).read_text() for name in ("walkthrough.py", "manual.py")]
    known = {word for text in texts for word in re.findall(r"\w+", text)}
    symbols = {
        span
        for span in spans(page)
        if re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*", span) and not (TREE / span).exists()
    }
    files = {symbol for symbol in symbols if re.search(r"\.(py|toml|txt|conf)$", symbol)}
    named = {word for symbol in symbols - files for word in symbol.split(".")}
    assert len(named) > 20
    assert sorted(named - known) == []


def test_what_takes_long_is_told_as_it_is_run() -> None:
    (steps,) = re.findall(r"for step in (.*?); do", (TREE / "run").read_text(), re.DOTALL)
    told = (
        (TREE / "docs/tests.md").read_text().partition("in `./run check --all`")[2].partition("It needs")[0]
    )
    words = shlex.split(steps.replace("\\\n", ""))
    assert words == re.findall("`([^`]+)`", told.replace("`long`", ""))
    assert {one.partition(" --seconds")[0] for one in words} >= {
        "test --engine postgresql",
        "partition",
        "torture",
    }
