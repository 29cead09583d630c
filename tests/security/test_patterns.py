"""Regular expressions that some text keeps busy for ever (ReDoS): none of ours repeats what itself may repeat."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from bgjob.commands.screen import _PAINT
from bgjob.text import _CHARACTERS
from bgjobd.host.json_portions import _STRETCH, _TO_LAST_COMMA
from bgjobd.supervisor.page_process import _IS_TOKEN
from bgjobd.web.heads import _HEADER, _LINE
from bgjobd.web.views import routes

_parser: Any = import_module("re._parser")

ROOT = Path(__file__).parents[2]
FUNCTIONS = ("compile", "match", "search", "fullmatch", "findall", "finditer", "split", "sub", "subn")
MADE = [
    _CHARACTERS.pattern,
    _IS_TOKEN.pattern,
    _HEADER.pattern,
    _LINE.pattern,
    _PAINT.pattern,
    _STRETCH.pattern,
    _TO_LAST_COMMA.pattern,
    *(pattern for _, pattern in routes()),
]
"""Those that are put together."""

MAKERS = {
    "bgjobd/forkserver/masking.py",  # of quoted texts alone
    "bgjobd/store/engines/postgres_refusals.py",  # of constant ones
    "bgjobd/supervisor/page_process.py", "bgjobd/host/json_portions.py",
    "client/bgjob/commands/screen.py", "client/bgjob/text.py",
    "web/addresses.py", "web/heads.py", "web/views/routes.py",
}  # fmt: skip
DOTTED = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*"
UNAMBIGUOUS = {
    DOTTED: ["a." * 50_000, "a" * 50_000 + "-", "." * 50_000, "a.a" * 50_000 + "!"],
    _CHARACTERS.pattern: [
        "\u2600\u200d" * 20_000,
        "\u2600\ufe0f" * 20_000 + "x",
        "\u2600" + "\ufe0f" * 20_000 + "\u200d",
    ],
}
"""Those whose rounds begin with what none has within it, and texts that would keep them busy if that were not so."""


def written() -> Iterator[tuple[str, Any]]:
    """The file and the first argument of each call that takes an expression."""
    for folder in ("bgjobd", "client", "web"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            source = path.read_text()
            # As in most, and every process of a run comes by here.
            if not re.search(r"\bimport re\b", source):
                continue
            for node in ast.walk(ast.parse(source)):
                match node:
                    case ast.Call(func=ast.Attribute(ast.Name("re"), name), args=[first, *_]) if (
                        name in FUNCTIONS
                    ):
                        yield str(path.relative_to(ROOT)), first


CONSTANT = sorted({str(first.value) if isinstance(first.value, str) else first.value.decode() for _, first in written()
                   if isinstance(first, ast.Constant)})  # fmt: skip


def nests(parsed: Any, is_within: bool = False) -> bool:
    """Whether a repeat without end stands within another."""
    for kind, value in parsed:
        is_repeat = str(kind) in ("MAX_REPEAT", "MIN_REPEAT") and value[1] > 1
        if is_repeat and is_within and value[1] == _parser.MAXREPEAT:
            return True
        within = is_within or (is_repeat and value[1] == _parser.MAXREPEAT)
        if any(nests(inner, within) for inner in inners(value)):
            return True
    return False


def inners(value: Any) -> Iterator[Any]:
    """The expressions within a part of one."""
    if isinstance(value, _parser.SubPattern):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from inners(one)


def test_no_expression_repeats_what_may_itself_repeat() -> None:
    found = {pattern for pattern in (*CONSTANT, *MADE) if nests(_parser.parse(pattern))}
    assert len(CONSTANT) > 20
    assert found == set(UNAMBIGUOUS)


def test_every_expression_that_is_put_together_is_known_here() -> None:
    assert {path for path, first in written() if not isinstance(first, ast.Constant)} == MAKERS


@pytest.mark.parametrize(
    ("evil", "harmless"),
    [
        (r"(a+)+b", r"(a+)b"),
        (r"(?:a*)*", r"(?:a)*"),
        (r"((?:ab+)*,)", r"((?:ab+),)"),
        (r"(a|b+)+c", r"(a|b{2,3})+c"),
        (r"(?:x(?=(y+))z)*", r"(?:x(?=(y))z)*y+"),
        (r"(a+?){2,}", r"(a+?)?"),
    ],
)
def test_an_evil_one_would_be_found(evil: str, harmless: str) -> None:
    assert nests(_parser.parse(evil))
    assert not nests(_parser.parse(harmless))


def test_those_whose_rounds_cannot_be_told_apart_in_two_ways_end_soon() -> None:
    for pattern, texts in UNAMBIGUOUS.items():
        for text in texts:
            compiled = re.compile(pattern, re.DOTALL)
            compiled.fullmatch(text)
            compiled.search(text)
