"""Targets that are files and names: an attempt's journal, the configuration with its values, what jobs are called."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from bgjob.codec import to_json
from bgjob.errors import InvalidNameError
from bgjob.words import INT_MAX, LONGEST_THROTTLE
from bgjobd.api.submissions import check_names
from bgjobd.config import values as units
from bgjobd.config.loading import load
from bgjobd.config.problems import ConfigError
from bgjobd.config.sections import Config
from bgjobd.core.job import Ending
from bgjobd.daemon.catalogue import Catalogue
from bgjobd.forkserver import journal as journals
from bgjobd.forkserver import journal_lines, spool_names, state_file, wire
from bgjobd.host.clock import to_text
from bgjobd.store.items import Note, StepNote, Told, UnusedSteps, ValueNote
from bgjobd.supervisor import journal_facts, processes
from bgjobd.supervisor.application import Application
from tests.fuzz.target import pieces, scratch

_KEY = (1, 1)
_NAME = spool_names.file_name(*_KEY)


@cache
def _directory() -> Path:
    """One for all inputs of this process, which are never two at a time."""
    holder = scratch()
    _HELD.append(holder)
    return Path(holder.name)


_HELD: list[tempfile.TemporaryDirectory[str]] = []


# The journal


def journal(data: bytes) -> None:
    """An attempt's journal, or what lies in its place: `!symlink TO`, `!directory`, `!fifo`, `!sparse SIZE` as its
    first line, then the content. Whatever facts it gives can be stored and told.
    """
    directory = _spool()
    _put(directory, data)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        found = journals.try_read(descriptor, _NAME)
        if found is not None:
            _check_facts(found)
            _check_notes(descriptor, found, data)
        _notes(descriptor, 1)
    finally:
        os.close(descriptor)


def state(data: bytes) -> None:
    """The file in which an attempt saves its job's state, or what lies in its place; and one that has this text."""
    directory = _spool()
    name = spool_names.file_name(*_KEY, spool_names.STATE)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _put(directory, data, name)
        _check_saved(state_file.try_read(descriptor, name))
        shutil.rmtree(directory / name) if data.startswith(b"!directory") else (directory / name).unlink()
        (directory / name).write_bytes(state_file._record(1, data))
        found = state_file.try_read(descriptor, name)
        _check_saved(found)
        if found is not None and found.number:
            assert found.text.encode() == data
    finally:
        os.close(descriptor)


def _check_saved(found: state_file.Saved | None) -> None:
    """What was read can be handed to the database, which looks whether it is JSON."""
    if found is not None:
        assert 0 <= found.number < 2**53
        assert len(found.text.encode()) == found.size <= state_file.MAX_STATE


def _spool() -> Path:
    directory = _directory() / "spool"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    return directory


def _put(directory: Path, data: bytes, name: str = _NAME) -> None:
    first, _, content = data.partition(b"\n")
    word, _, argument = first.partition(b" ")
    place = directory / name
    match word:
        case b"!symlink":
            os.symlink(argument.replace(b"\0", b"")[:200] or b".", place)
        case b"!directory":
            place.mkdir()
        case b"!fifo":
            os.mkfifo(place)
        case b"!sparse":
            place.write_bytes(content)
            os.truncate(place, int(argument) if argument.isdigit() and len(argument) < 12 else 0)
        case _:
            place.write_bytes(data)


def _check_facts(found: journals.Journal) -> None:
    began = journal_facts.started(_KEY, found, None)
    if began is not None:
        to_text(began.at)
        assert 0 < began.pid <= 2**22
        journal_facts.has_token(found, "token")
    ended = journal_facts.ended(_KEY, found)
    if ended is not None:
        to_text(ended.at)
        _check_ending(ended.ending)
    left = journal_facts.left_in(found)
    if left is not None:
        _check_ending(left)
    pidfd = processes.try_open_process(found)
    if pidfd is not None:
        os.close(pidfd)


def _check_ending(ending: Ending) -> None:
    """Whether the database takes it, and a reply."""
    told = asdict(ending)
    to_json(told).encode()
    assert all(-INT_MAX <= value <= INT_MAX for value in told.values() if isinstance(value, int)), ending
    assert ending.until is None or to_text(ending.until)
    assert ending.wait is None or len(f"{ending.wait.name}.".encode()) <= 1024
    assert ending.throttles is None or 0 < (ending.delay or 0) <= LONGEST_THROTTLE, ending


def _check_notes(descriptor: int, found: journals.Journal, data: bytes) -> None:
    """Whether reading on as it grows tells what reading it once it is all there tells; and that can be stored."""
    if data.startswith(b"!") or found.started is None:
        return
    pid = found.started["pid"]
    at_once = _notes(descriptor, pid)
    read: tuple[journal_lines.Record, ...] = ()
    offset = 0
    place = os.open(_NAME, os.O_WRONLY | os.O_TRUNC | os.O_APPEND, dir_fd=descriptor)
    try:
        for piece in pieces(data):
            os.write(place, piece)
            notes, offset = _notes(descriptor, pid, offset)
            read += notes
    finally:
        os.close(place)
    assert (read, offset) == at_once
    for record in read:
        (note,) = journal_facts.notes((record,))
        to_text(note.at)
        assert all(len(text) <= most and text.encode() for text, most in _texts_of(note))


def _texts_of(note: Told) -> Iterator[tuple[str, int]]:
    """What is told in words, and how long that may be."""
    match note:
        case Note():
            yield f"{note.message}.", journal_lines.MAX_TEXT + 1
        case StepNote():
            yield f"{note.name}.", journal_lines.MAX_TEXT + 1
            yield f"{note.result}.", journals._LONGEST_NOTE
        case ValueNote():
            yield f"{note.step}.", journal_lines.MAX_TEXT + 1
            yield f"{note.value}.", journals._LONGEST_NOTE
        case UnusedSteps():
            assert len(note.names) <= journal_lines.MAX_STEPS
            yield f"{note.names}.", 10 * journal_lines.MAX_TEXT


def _notes(descriptor: int, pid: int, end: int = 0) -> tuple[tuple[journal_lines.Record, ...], int]:
    """The notes from there on, and where they end."""
    found: tuple[journal_lines.Record, ...] = ()
    has_more = True
    while has_more:
        notes, end, has_more = journals.read_on(descriptor, _NAME, end, pid)
        found += notes
    return found, end


# The configuration


_VARIABLE = re.compile(rb"([A-Z][A-Za-z0-9_.:]*)=(.*)")


def config(data: bytes) -> None:
    """A file of configuration; first lines such as `HOME=/tmp` are the environment instead."""
    environ: dict[str, str] = {}
    rest = data
    while (found := _VARIABLE.match(rest)) is not None:
        environ[found[1].decode()] = os.fsdecode(found[2].replace(b"\0", b""))
        rest = rest[found.end() + 1 :]
    environ.pop("BGJOBD_CONFIG", None)
    place = _directory() / "bgjobd.toml"
    place.write_bytes(rest)
    for is_root in (False, True):
        told = _loaded(place, environ, is_root)
        if isinstance(told, Config):
            _check_config(told)
        else:
            assert told.problems
            assert str(told)


def _loaded(place: Path, environ: dict[str, str], is_root: bool) -> Config | ConfigError:
    try:
        return load(place, environ, is_root=is_root)
    except ConfigError as error:
        return error


def _check_config(loaded: Config) -> None:
    """Whether the daemon can work with it."""
    (told,) = wire.Decoder().feed(wire.encode(asdict(Application.from_config(loaded))))
    assert told
    Catalogue(loaded, {}, "")
    assert "default" in loaded.queues
    assert loaded.daemon.socket.is_absolute()
    str(loaded.web.bind)


_KINDS = {
    name: TypeAdapter(kind)
    for name, kind in sorted(vars(units).items())
    if name in ("Count", "Whole", "Size", "Delay", "Duration", "Cores", "Place", "AbsolutePlace", "SocketPlace",
                "Address", "Executable", "Text", "ClassPath", "MethodName", "QueueName", "Account", "Member",
                "VariableName", "VariableValue", "RetriableOutcome")
}  # fmt: skip


def values(data: bytes) -> None:
    """A text as each kind of value: it is one, or there is a sentence about it."""
    text = os.fsdecode(data)
    for name, kind in _KINDS.items():
        try:
            value = kind.validate_python(text)
        except ValidationError:
            continue
        match name:
            case "Size":
                assert 0 < value <= INT_MAX
            case "Delay" | "Duration":
                assert 0 <= value <= units.LONGEST_DURATION
            case "Address":
                assert kind.validate_python(str(value)) == value


def names(data: bytes) -> None:
    """Names of a class and a method, a line each: what is taken is plain ASCII. Or of a file in the spool: it is one
    that is given to an attempt.
    """
    _check_file_name(os.fsdecode(data))
    class_name, _, method_name = os.fsdecode(data).partition("\n")
    try:
        check_names(class_name, method_name, 255)
    except InvalidNameError as error:
        _check_refusal(error)
        return
    assert all(part.isascii() and part.isidentifier() for part in class_name.split("."))
    assert method_name.isascii()
    assert method_name.isidentifier()
    assert len(class_name) <= 255
    assert len(method_name) <= 255


def _check_file_name(name: str) -> None:
    key = spool_names.try_key(name, "journal", "hook", "stop", "carry", "state")
    if key is not None:
        assert spool_names.file_name(*key, name.rpartition(".")[2]) == name
        assert all(0 < number <= INT_MAX for number in key)
    key = spool_names.try_directory_key(name)
    if key is not None:
        assert name in (
            spool_names.directory_name(*key, kind) for kind in (spool_names.ATTEMPT, *spool_names.HOOKS)
        )


def _check_refusal(error: InvalidNameError) -> None:
    assert len(error.parameters["value"]) <= 255
    assert str(error)
