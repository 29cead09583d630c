"""`bgjobd schedules --from-crontab`: a draft of `[schedules]` for the lines of a crontab that call `bgjob run`.

A command is read, and never run: what only a shell could do is said beside its line, with what is needed instead.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from os.path import basename
from typing import Any, Final

from pydantic import ValidationError

from bgjob.codec import to_json
from bgjob.commands import arguments
from bgjob.text import one_line
from bgjobd.commands import toml_text
from bgjobd.commands.exit_codes import FAILED, OK, complain
from bgjobd.config.problems import dotted, fault_message
from bgjobd.config.schedules import Schedule
from bgjobd.core.schedules import Missed, Overlap
from bgjobd.host import clock

_VARIABLE: Final = re.compile(r"[\"']?([A-Za-z_]\w*)[\"']?\s*=\s*(.*)")
_REDIRECTION: Final = re.compile(r"\s(?:\d|&)?>{1,2}\s*\S+\s*$")
_SUBSTITUTION: Final = re.compile(r"\$\(\([^()]*\)\)|\$\([^()]*\)|`[^`]*`")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
_SAME: Final = {"@midnight": "@daily", "@annually": "@yearly"}
_PROGRAMS: Final = ("env", "exec", "-m", "sh", "bash")
"""What may stand before `bgjob` and changes nothing, beside an interpreter with `-m`."""

_OF_VARIABLES: Final = {
    "CRON_TZ": "the zone of what comes below",
    "TZ": "is of the commands, not of the times; jobs get theirs by [app] env",
    "MAILTO": "nobody gets a mail; [app] on_failure, or the class's `failed`, hears of a job that failed for good",
    **dict.fromkeys(("PATH", "SHELL", "HOME"), "a job needs none, for no shell runs it"),
}
_OF_WRAPPERS: Final = {
    "flock": "overlap says what becomes of an occurrence while a job of it has not ended",
    "timeout": "timeout, a key of the schedule, stops an attempt",
    **dict.fromkeys(("nice", "ionice"), "nice, a key of the class, does it"),
    **dict.fromkeys(("sudo", "su", "runuser"), "user, a key of the class, does it where the daemon is root"),
}
_IMPATIENT: Final = re.compile(r"-\w*[nw].*|--(?:nb|nonblock|wait|timeout).*")
"""Options of flock by which it gives up, at once or in the end."""
_LEFT_OUT: Final = {
    "idempotency_key": ("--idempotency-key", "an occurrence becomes one job without it"),
    "delay": ("--delay", "write the later time"),
    "at": ("--at", "the times say when"),
    "wait": ("--wait", "nobody waits for it"),
    "follow": ("--follow", "nobody waits for it"),
    "timeout": ("--timeout", "nobody waits for it; timeout, a key of the schedule, stops an attempt"),
    "json": ("--json", "nobody reads what it prints"),
    "retry_count": ("--retry-count", "max_retries says how often it is tried"),
    "socket": ("--socket", "it is the daemon's that has this configuration"),
}
"""Options of `bgjob run` that mean nothing in a schedule, and why."""


class _Unfit(Exception):
    """A line that makes no schedule; as text, what it needs."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line's times and command; `user` is whom cron runs it as, where that is written."""

    times: str
    user: str | None
    command: str


def draft(given: argparse.Namespace) -> int:
    """Print the draft for the crontab that the arguments name; answers the exit code."""
    try:
        with sys.stdin if given.from_crontab == "-" else open(given.from_crontab, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        return complain(f"{one_line(given.from_crontab)} cannot be read: {error}", FAILED)
    print("\n".join(drafted(text, clock.try_zone(), given.with_users)))
    return OK


def drafted(text: str, zone: str | None, has_users: bool = False) -> Iterator[str]:
    """The lines of the draft; `zone` is the machine's, None where nobody knows."""
    yield "# Drafted from a crontab. Once these lines are in the configuration, take their like out of the crontab:"
    yield "# `bgjobd check` says what each means, and whether its job may run."
    yield "# As with cron what is missed does not run, and a job runs beside one that has not ended, unless a line"
    yield "# has flock. Without the lines `missed` and `overlap` the newest that is missed runs, and one job at a time."
    if zone is None:
        yield "# cron's times are on the clocks of its machine, whose zone nobody knows by name: see that it is UTC."
    crontab = _Crontab(zone or "UTC")
    for number, line in enumerate(text.split("\n"), 1):
        told = line.strip()
        if told and not told.startswith("#"):
            yield ""
            yield f"# line {number}: {one_line(told)}"
            yield from crontab.of_line(told, has_users)


@dataclass(slots=True)
class _Crontab:
    """What the lines before say of those behind them: the zone, and the names that are taken."""

    zone: str
    names: set[str] = field(default_factory=set)

    def of_line(self, line: str, has_users: bool) -> Iterator[str]:
        variable = _VARIABLE.fullmatch(line)
        if variable is not None:
            if variable[1] == "CRON_TZ":
                self.zone = variable[2].strip("\"' ")
            yield f"#   {_OF_VARIABLES.get(variable[1], 'jobs get their variables by [app] env')}"
            return
        try:
            yield from self._schedule(_entry(line, has_users))
        except _Unfit as unfit:
            yield f"#   {one_line(str(unfit))}"

    def _schedule(self, entry: _Entry) -> list[str]:
        words, before = _call(entry.command)
        given = _parsed(words)
        wrappers = _wrappers(before)
        keys = _keys(entry.times, self.zone, _overlap(wrappers), given)
        notes = [*_of_wrappers(wrappers, entry.user), *_of_options(given)]
        _check(keys)
        return [*(f"#   left out: {one_line(note)}" for note in notes), *self._table(keys)]

    def _table(self, keys: Mapping[str, Any]) -> list[str]:
        try:
            values = [f"{key} = {toml_text.text_of(value)}" for key, value in keys.items()]
        except ValueError as error:
            raise _Unfit(f"has a parameter that is null ({error}); needs a default of the method's") from None
        return [f"[schedules.{self._name(*str(keys['job']).split('::'))}]", *values]

    def _name(self, class_name: str, method_name: str) -> str:
        """One that no line before has: `email-notification-send`."""
        words = f"{class_name.rpartition('.')[2]}-{method_name}"
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_+", "-", words)
        name = re.sub(r"[^a-z0-9.-]|^[^a-z]+", "", words.lower())[:56] or "schedule"
        numbered = (name if number == 1 else f"{name}-{number}" for number in count(1))
        free = next(one for one in numbered if one not in self.names)
        self.names.add(free)
        return free


def _entry(line: str, has_users: bool) -> _Entry:
    fields = 1 if line.startswith("@") else 5
    parts = line.split(None, fields + has_users)
    if len(parts) < fields + has_users + 1:
        wanted = "times, a user and a command" if has_users else "times and a command"
        raise _Unfit(f"is no line of a crontab, which has {wanted}")
    times = " ".join(parts[:fields])
    return _Entry(_SAME.get(times.lower(), times), parts[fields] if has_users else None, parts[-1])


# The command


def _call(command: str) -> tuple[list[str], list[str]]:
    """The words after `bgjob`, and those before it. Raises _Unfit where it does anything else."""
    if re.search(r"(?<!\\)%", command):
        raise _Unfit("feeds the command by %; write what it is fed as parameters")
    return _in_shell(_SUBSTITUTION.sub("${}", command.replace("\\%", "%")))


def _in_shell(text: str) -> tuple[list[str], list[str]]:
    words = _words(_without_redirections(text))
    if words[:1] == ["cd"] and words[2:3] == ["&&"]:
        words = words[3:]
    place = next((place for place, word in enumerate(words) if basename(word) == "bgjob"), None)
    if place is not None:
        _check_is_alone(words)
        return words[place + 1 :], words[:place]
    for place, (option, inner) in enumerate(pairwise(words)):
        if option == "-c" and "bgjob" in inner:  # of a shell, or of su or flock, which call one
            around = [*words[:place], *words[place + 2 :]]
            _check_is_alone(around)
            called, before = _in_shell(inner)
            return called, [*around, *before]
    what = "a class's method or a function that does it, approved under [approved]"
    raise _Unfit(f"calls no `bgjob run`; needs {what}, and a schedule with that as its job")


def _check_is_alone(words: Sequence[str]) -> None:
    operators = [word for word in words if word and set(word) <= set("();<>|&")]
    if operators:
        more = '; for a sleep by chance there is jitter, as in jitter = "5m"' if "sleep" in words else ""
        raise _Unfit(
            f"does more than call `bgjob run` ({operators[0]}); needs one method that does all of it{more}"
        )


def _words(command: str) -> list[str]:
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        return list(lexer)
    except ValueError as error:
        raise _Unfit(f"cannot be read as a shell would: {error}") from None


def _without_redirections(command: str) -> str:
    """Where output goes is left out: what a job prints is kept anyway."""
    while (found := _REDIRECTION.search(command)) is not None and _is_whole(command[: found.start()]):
        command = command[: found.start()]
    return command


def _is_whole(command: str) -> bool:
    """Whether no quote of it is open."""
    try:
        shlex.split(command)
    except ValueError:
        return False
    return True


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    _check_is_run(words)
    for word, following in zip(words, [*words[1:], ""], strict=True):
        option, _, value = word.partition("=")
        source = value or following
        if option == "--parameters" and (source == "-" or source.startswith("@")):
            raise _Unfit(f"reads its parameters from {source} at each run; write them as parameters")
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
            given = arguments.parser().parse_args(words)
    except SystemExit:
        raise _Unfit(
            f"is no call that `bgjob` takes: {told.getvalue().strip().rpartition('error: ')[2]}"
        ) from None
    return given


def _check_is_run(words: Sequence[str]) -> None:
    """Other commands are not even parsed: an option of one, for completion, asks a daemon as it is read."""
    rest = list(words)
    while rest and rest[0].startswith("-"):
        rest = rest[1 if "=" in rest[0] else 2 :]
    if rest[:1] != ["run"]:
        raise _Unfit("calls no `bgjob run`, and only that makes jobs")


# The schedule


def _keys(times: str, zone: str, overlap: Overlap, given: argparse.Namespace) -> dict[str, Any]:
    keys = {
        "job": "::".join(given.target),
        "parameters": {**given.whole, **dict(given.parameters)} or None,
        "cron": times,
        "zone": None if zone == "UTC" else zone,
        "missed": Missed.SKIP.value,
        "overlap": overlap.value,
        "queue": given.queue,
        "priority": given.priority,
        "timeout": _seconds(given.attempt_timeout),
        "max_retries": given.max_retries,
        "retry_delay": _seconds(given.retry_delay),
        "backoff": given.backoff,
    }
    written = {key: value for key, value in keys.items() if value is not None}
    if "$" in to_json(written):
        instead = "a method that finds that out itself: JobContext.occurrence tells what time it is for"
        raise _Unfit(f"has a shell write a part of it ($); needs {instead}")
    return written


def _seconds(value: float | None) -> float | None:
    return int(value) if value is not None and value == int(value) else value


def _check(keys: Mapping[str, Any]) -> None:
    try:
        Schedule.model_validate(keys)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        wrong = "; ".join(f"{dotted(fault['loc'])}: {fault_message(fault, fault['loc'])}" for fault in faults)
        raise _Unfit(f"makes no schedule: {wrong}") from None


def _wrappers(before: Sequence[str]) -> list[list[str]]:
    """The commands that the call is an argument of, each with its own arguments, without mere ways to call it."""
    found: list[list[str]] = []
    for word in before:
        name = basename(word)
        if name in _PROGRAMS or name.startswith("python") or _ASSIGNMENT.fullmatch(word):
            continue
        if name in _OF_WRAPPERS or not found:
            found.append([])
        found[-1].append(word)
    return found


def _overlap(wrappers: Sequence[Sequence[str]]) -> Overlap:
    """What comes closest to that which the line does while the job before has not ended."""
    options = next((options for program, *options in wrappers if basename(program) == "flock"), None)
    if options is None:
        return Overlap.ALLOW
    return Overlap.SKIP if any(map(_IMPATIENT.fullmatch, options)) else Overlap.WAIT


def _of_wrappers(wrappers: Sequence[Sequence[str]], user: str | None) -> Iterator[str]:
    instead = "" if user is not None else "; --with-users is for crontabs whose lines name a user"
    for words in wrappers:
        why = _OF_WRAPPERS.get(basename(words[0]), f"a job is called by no other command{instead}")
        yield f"{' '.join(words)}: {why}"
    if user is not None:
        yield f"as {user}: user, a key of the class, does it where the daemon is root"


def _of_options(given: argparse.Namespace) -> Iterator[str]:
    for name, (option, why) in _LEFT_OUT.items():
        if getattr(given, name):
            yield f"{option}: {why}"
