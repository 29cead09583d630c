"""Errors of a job as text that harms nobody, whatever their classes do; one file for fork servers and `bgjob.testing`.

bgjobd/forkserver has a link to it, as to `class_rules`. Standard library only.
"""

from __future__ import annotations

import traceback

_LONGEST_PATH = 511


def path_of(cls: type) -> str | None:
    """The class with its module, `shop.errors.Unpaid`; None where it is this package's, or cannot be told whole."""
    try:
        module = type.__dict__["__module__"].__get__(cls)
    except AttributeError:
        return None
    if type(module) is not str or f"{module}.".startswith(f"{__package__}."):
        return None
    path = f"{module}.{name_of(cls)}"
    return printable(path) if len(path) <= _LONGEST_PATH else None


def name_of(cls: type) -> str:
    """The class's name, whatever its metaclass does with it."""
    return printable(type.__dict__["__qualname__"].__get__(cls))


def kind_of(cls: type) -> str:
    """The class as errors are told apart by it: with its module, where that can be told."""
    return path_of(cls) or name_of(cls)


def text_of(error: BaseException) -> str:
    """The error's own text, whatever its class does with str()."""
    try:
        return printable(str(error))
    except Exception as second:
        return f"<str() of this error raised {type(second).__name__}>"


def traceback_of(error: BaseException) -> str:
    """The trace from the job's own frames on; those before are of what calls it."""
    tail = error.__traceback__
    while tail is not None and tail.tb_frame.f_globals.get("__package__") in _CALLERS:
        tail = tail.tb_next
    try:
        return printable("".join(traceback.format_exception(type(error), error, tail)))
    except Exception as second:
        return f"<formatting this traceback raised {type(second).__name__}>"


_CALLERS = (__package__, "bgjob", "bgjob.django")


def printable(text: str) -> str:
    """The text with what UTF-8 cannot hold (lone surrogates) replaced."""
    return text.encode("utf-8", "replace").decode()
