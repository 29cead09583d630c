"""Manual pages as roff: man(7) macros that groff and mandoc both know, and text that is escaped for them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Final

_WIDTH: Final = 79
_OPTION: Final = re.compile(r"(?<![\w-])(--?[a-z][a-z-]*)")


def document(pieces: Iterable[str]) -> str:
    """The pieces as one page; right after a heading there is a paragraph anyway."""
    return re.sub(r"^(\.S[HS] .*\n)\.PP\n", r"\1", "".join(pieces), flags=re.MULTILINE)


def page(name: str, section: int, origin: str, volume: str) -> str:
    """The first line. There is no date: it would be that of a build, and each would differ from the last."""
    return f'.TH {name.upper()} {section} "" "{origin}" "{volume}"\n'


def section(title: str) -> str:
    return f".SH {_quoted(title.upper())}\n"


def part(title: str) -> str:
    return f".SS {_quoted(title)}\n"


def paragraph(prose: str) -> str:
    return f".PP\n{text(prose)}\n"


def entry(term: str, prose: str) -> str:
    """A term, which is roff already, and what it means below it."""
    return f".TP\n{term}\n{text(prose)}\n"


def example(lines: Iterable[str]) -> str:
    shown = "\n".join(_line(code(line)) for line in lines)
    return f".PP\n.RS 4\n.EX\n{shown}\n.EE\n.RE\n"


def text(prose: str) -> str:
    """Prose, in lines that a person can read too; options, and what stands between backticks, are bold."""
    pieces = re.split(r"`([^`]+)`", prose)
    told = "".join(bold(piece) if index % 2 else _prose(piece) for index, piece in enumerate(pieces))
    lines = textwrap.wrap(told, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(map(_line, lines))


def code(written: str) -> str:
    """What a person types: its hyphens are no dashes, and its quotes none of print."""
    escaped = _escaped(written).replace("-", r"\-").replace("'", r"\(aq").replace("`", r"\(ga")
    return escaped.replace("^", r"\(ha").replace("~", r"\(ti")


def bold(written: str) -> str:
    return rf"\fB{code(written)}\fR"


def italic(written: str) -> str:
    return rf"\fI{code(written)}\fR"


def joined(pieces: Sequence[str]) -> str:
    return _line(" ".join(piece for piece in pieces if piece))


def _prose(written: str) -> str:
    """Options are recognised: the hyphen of prose is none that a program would take."""
    parts = _OPTION.split(written)
    return "".join(bold(part) if index % 2 else _escaped(part) for index, part in enumerate(parts))


def _escaped(written: str) -> str:
    ascii_only = written.replace("\\", r"\e")
    return "".join(c if c.isascii() else rf"\[u{ord(c):04X}]" for c in ascii_only)


def _quoted(title: str) -> str:
    return '"' + _escaped(title).replace('"', r"\(dq") + '"'


def _line(line: str) -> str:
    """A line that begins with a dot or a quote would be a request."""
    return rf"\&{line}" if line.startswith((".", "'")) else line
