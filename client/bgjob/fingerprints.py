"""Which error an exception is, whoever meets it: its type and the application's own place that it came from, as a
digest. One file for fork servers, the daemon and `bgjob.testing`.

bgjobd/forkserver has a link to it, as to `class_rules`. Standard library only.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import CodeType, TracebackType
from typing import Any, NamedTuple

LENGTH = 16
"""Hexadecimal digits of a fingerprint."""

LONGEST_NAME = 200
LONGEST_PLACE = 511
_LONGEST_MESSAGE = 1000
_MOST_LEAVES = 100

_FINGERPRINT = re.compile("[0-9a-f]{16}")
_LIBRARY = re.compile(r"/(?:site|dist)-packages/|/lib(?:64)?/python3[^/]*/|^<frozen ")
_INLINED = re.compile(r"(?:\.<locals>)?\.<(?:list|dict|set)comp>")
_OURS = (str(__package__), "bgjob")
_BELOW_OURS = tuple(f"{ours}." for ours in _OURS)
_PARTICULARS = re.compile(
    "(?<!\\w)'[^'\n]*'|\"[^\"\n]*\"|`[^`\n]*`"
    r"|\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b"
    r"|\b[0-9][0-9.,:]*(?![0-9a-zA-Z_])"
    r"|\b(?:0[xX])?(?=[a-fA-F]*[0-9])[0-9a-fA-F]+\b"
    r"|[0-9]+"
)
"""What is quoted, a UUID, hexadecimal, numbers."""


class Whence(NamedTuple):
    """Which error it is, by its fingerprint; where it is from: `module:qualname` of a function and `file.py:88`, None
    where that is not known; and the `name` that the job gave it, None where it gave none.
    """

    fingerprint: str
    place: str | None = None
    line: str | None = None
    name: str | None = None


def whence_of(
    error: BaseException,
    kind_of: Callable[[type], str],
    text_of: Callable[[BaseException], str],
    scrubbed: Callable[[str], str],
) -> Whence:
    """Which error it is; `kind_of` names a class, `text_of` tells a message, `scrubbed` a text without its secrets."""
    met, name = _met_in(error), _name_given(error)
    place, line = place_of(met)
    message = "" if place or name else text_of(met)
    words = words_of(kind_of(type(met)), message, place, name)
    told = [None if text is None else scrubbed(text) for text in (place, line, name)]
    return Whence(fingerprint_of(*map(scrubbed, words)), *told)


def words_of(kind: str, message: str, place: str | None = None, name: str | None = None) -> tuple[str, ...]:
    """What tells an exception of this class apart: the job's own word, else where it is from, else its message."""
    if name is not None:
        return "named", name
    return ("raised at", kind, place) if place else ("raised", kind, _in_general(message))


def is_of_library(file: str) -> bool:
    """Whether a file of code is the interpreter's or a library's, and not the application's own."""
    return _LIBRARY.search(file) is not None


def is_fingerprint(text: str) -> bool:
    return _FINGERPRINT.fullmatch(text) is not None


def fingerprint_of(*parts: str) -> str:
    """The digest that stands for these words."""
    digest: str = sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()
    return digest[:LENGTH]


def _in_general(message: str) -> str:
    """The beginning of a message, without what is particular to one case: numbers, hexadecimal, what is quoted."""
    return _PARTICULARS.sub("…", message[:_LONGEST_MESSAGE])


def place_of(error: BaseException) -> tuple[str | None, str | None]:
    """The innermost frame of the application's own: `module:qualname`, and `file.py:88`; None, None where none is."""
    for code, module, line in reversed(list(_frames(_traceback_of(error)))):
        if not is_of_library(code.co_filename) and not _is_ours(module):
            place = f"{module}:{_INLINED.sub('', code.co_qualname) or '<module>'}"
            where = f"{_base(code.co_filename)}:{line}"
            return _printable(place)[:LONGEST_PLACE], _printable(where)[:LONGEST_PLACE]
    return None, None


def _met_in(error: BaseException) -> BaseException:
    """What is to be looked at: of a group whose errors are all one, the first of these, else the error itself."""
    if not issubclass(type(error), BaseExceptionGroup):  # an instance may say anything of its class
        return error
    leaves = list(_leaves(error))  # type: ignore[arg-type]  # it is one
    kinds = {(type(leaf), place_of(leaf)[0]) for leaf in leaves}
    return leaves[0] if len(kinds) == 1 else error


def _name_given(error: BaseException) -> str | None:
    """The word by which the job itself tells errors apart, a text `error_group` of the error or its class; None
    where there is none.
    """
    try:
        name = getattr(error, "error_group", None)
    except Exception:
        return None
    return _printable(name[:LONGEST_NAME]) if type(name) is str and name else None


def _frames(tail: TracebackType | None) -> Iterator[tuple[CodeType, str, int]]:
    while tail is not None:
        module = tail.tb_frame.f_globals.get("__name__")
        yield tail.tb_frame.f_code, module if type(module) is str else "?", tail.tb_lineno or 0
        tail = tail.tb_next


def _traceback_of(error: BaseException) -> TracebackType | None:
    """Its own, whatever its class says of itself."""
    tail: TracebackType | None = BaseException.__dict__["__traceback__"].__get__(error)
    return tail


def _is_ours(module: str) -> bool:
    return module in _OURS or module.startswith(_BELOW_OURS)


def _leaves(group: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    """The errors in a group and in those within it, of very many the first."""
    told, waiting = 0, [group]
    while waiting and told < _MOST_LEAVES:
        within = BaseExceptionGroup.__dict__["exceptions"].__get__(waiting.pop())
        for error in within[: _MOST_LEAVES - told]:
            if issubclass(type(error), BaseExceptionGroup):
                waiting.append(error)
            else:
                told += 1
                yield error


def _base(file: str) -> str:
    return file.rpartition("/")[2]


def _printable(text: str) -> str:
    """The text with what UTF-8 cannot hold (lone surrogates) replaced."""
    return text.encode("utf-8", "replace").decode()


def _plain_sha256() -> Any:
    """hashlib's without OpenSSL, which is dear: Python's own since 3.12, that of those before, or whatever there is."""
    for name in ("_sha2", "_sha256"):
        with suppress(ImportError):
            return importlib.import_module(name).sha256
    return importlib.import_module("hashlib").sha256


sha256 = _plain_sha256()
