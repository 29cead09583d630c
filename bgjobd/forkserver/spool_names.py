"""The names of an attempt's files in the spool, and of the directories that it has; nothing is read here."""

from __future__ import annotations

ATTEMPT, HOOK, ON_FAILURE = "journal", "hook", "on_failure"
"""The kinds of journals: an attempt's, that of its class's `failed` hook, that of the function for all classes."""

HOOKS = (HOOK, ON_FAILURE)

CARRY = "carry"
"""The kind of the file that tells an attempt what those before it have finished."""

STATE = "state"
"""The kind of the file in which an attempt saves its job's state."""

_DIGITS = len(str(2**63))


def file_name(job: int, number: int, kind: str = ATTEMPT) -> str:
    """The name of an attempt's file: in the spool its `journal`, its hooks', its `stop` reason, or that it is
    `bereft` of its journal; its output, `out`.
    """
    return f"{job}.{number}.{kind}"


def directory_name(job: int, number: int, kind: str = ATTEMPT) -> str:
    """The name of the directory that an attempt, or a hook after it, works in, and of its cgroup."""
    return f"{job}.{number}" if kind == ATTEMPT else file_name(job, number, kind)


def try_directory_key(name: str) -> tuple[int, int] | None:
    """Job and attempt number of a directory with such a name; None for any other."""
    return try_key(name, *HOOKS) if name.count(".") == 2 else try_key(f"{name}.", "")


def try_key(name: str, *kinds: str) -> tuple[int, int] | None:
    """Job and attempt number of a file with such a name, of one of these kinds; None for any other.

    A job may have put there what file_name would never have: that is not taken for an attempt's.
    """
    job, _, rest = name.partition(".")
    number, _, kind = rest.partition(".")
    return (int(job), int(number)) if kind in kinds and _is_plain(job) and _is_plain(number) else None


def _is_plain(number: str) -> bool:
    """Whether it is written as file_name writes it, and SQLite can hold it: a job may have made up the name."""
    return number.isascii() and number.isdecimal() and number[0] != "0" and len(number) < _DIGITS
