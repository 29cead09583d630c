"""What an attempt's journal and its exit record say, as facts, endings and notes for the rules; reads no file."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from typing import Final

from bgjob.amounts import size_text
from bgjob.codec import to_json
from bgjob.fingerprints import LONGEST_NAME, LONGEST_PLACE, Whence, is_fingerprint
from bgjob.words import KEY_LENGTHS, EntryType, Outcome, Throttle
from bgjobd.config.values import LONGEST_DURATION
from bgjobd.core.attempt_sights import EndSeen, ProcessVanished
from bgjobd.core.facts import AttemptEnded, AttemptStarted
from bgjobd.core.job import AttemptKey, Ending, Usage
from bgjobd.core.verdict import without_room
from bgjobd.core.waiting import Wait, WaitKind
from bgjobd.forkserver import journal as journals
from bgjobd.forkserver import journal_lines, subreaper
from bgjobd.forkserver.host_fence import FENCED
from bgjobd.forkserver.journal import Journal
from bgjobd.host import json_portions
from bgjobd.store.items.attempts import Note, StepNote, Told, UnusedSteps, ValueNote

_LONGEST_NAME: Final = 64
"""How much is told of a program's name: the kernel's have 15 bytes, and a job may have written its journal itself."""


def started(key: AttemptKey, journal: Journal, code_version: str | None) -> AttemptStarted | None:
    """The fact that the journal's first line tells, or None where the attempt was fenced."""
    record = journal.started
    return AttemptStarted(key[1], record["pid"], record["at"], code_version) if record else None


def has_token(journal: Journal, token: str) -> bool:
    """Whether the journal was begun for the claim with this token."""
    return journal.started is not None and bool(journal.started["token"] == token)


def mark_in(journal: Journal) -> str | None:
    """The mark of the fork server that has forked the attempt's process; None where nothing tells."""
    mark = None if journal.started is None else journal.started.get("mark")
    return mark if isinstance(mark, str) else None


def ended(
    key: AttemptKey, journal: Journal, exit_record: journal_lines.Record | None = None
) -> AttemptEnded | None:
    """The fact that the exit record tells, the one given or the journal's; None where there is neither.

    An outcome that was recorded whole wins, even if the process died right after.
    """
    record = exit_record or journal.exit  # the journal's may be the job's own invention
    if record is None:
        return None
    usage = record.get("usage")
    return AttemptEnded(
        key[1],
        _ending(journal, record.get("code"), record.get("signal")),
        record["at"],
        Usage(**usage) if usage is not None else None,
        record.get("oom_kills", 0),
        record.get("own_cpu"),
        seconds=_seconds(journal.started, record),
    )


def _seconds(started: journal_lines.Record | None, record: journal_lines.Record) -> float | None:
    """How long the process ran; None where one of the records does not tell, or the job has written over it."""
    ended_at = record.get("monotonic")
    if started is None or ended_at is None or ended_at < started["monotonic"]:
        return None
    return float(ended_at - started["monotonic"])


def end_seen(
    key: AttemptKey, journal: Journal, exit_record: journal_lines.Record | None = None
) -> EndSeen | None:
    """The end of an attempt, as `ended` tells it; and what it comes to should its long result be none."""
    fact = ended(key, journal, exit_record)
    if fact is None:
        return None
    return EndSeen(
        fact, ended(key, journal.without_outcome(), exit_record) if is_unread(fact.ending) else None
    )


def vanished(journal: Journal | None) -> ProcessVanished:
    """What an attempt has recorded whose process is gone without an exit record, with its outcome and without."""
    return ProcessVanished(left_in(journal), left_in(None if journal is None else journal.without_outcome()))


def strays(exit_record: journal_lines.Record | None) -> tuple[int, list[str]]:
    """How many processes were left behind and killed, as an exit record tells; and some names of their programs."""
    record = exit_record or {}
    names = [_storable(name[:_LONGEST_NAME]) for name in record.get("stray_names", [])]
    return record.get("strays", 0), names[: subreaper.MAX_NAMES]


def has_overstayed(journal: Journal, exit_record: journal_lines.Record | None) -> bool:
    """Whether what was to end with the attempt took longer than it may, after the outcome."""
    record = exit_record or journal.exit or {}
    return journal.outcome is not None and record.get("signal") == signal.SIGALRM


def was_fenced(journal: Journal, exit_record: journal_lines.Record | None) -> bool:
    """Whether its fork server has told it to stop, for its host was cut off."""
    record = exit_record or journal.exit or {}
    return bool(record.get("stopped") == FENCED)


def left_in(journal: Journal | None) -> Ending | None:
    """How an attempt ended by what it has recorded, its outcome or that this found no room; None where neither."""
    if journal is None or (journal.outcome is None and journal.waiting is None):
        return None
    return _ending(journal, None, None)


def _ending(journal: Journal, code: int | None, number: int | None) -> Ending:
    """The outcome that was recorded, or that it found no room; else what the exit code or the signal's number says."""
    if journal.outcome is not None:
        kind = journal.outcome["outcome"]
        if kind == Outcome.COMPLETED:
            return _completed(journal.outcome, code, number)
        ending = _OUTCOMES[kind](journal.outcome)
        return replace(ending, exit_code=ending.exit_code if code is None else code, signal=number)
    if journal.waiting is not None:
        return replace(without_room(journal.waiting["size"]), exit_code=code, signal=number)
    return Ending.exited(code) if code is not None else Ending.signalled(number or 0)


def is_unread(ending: Ending) -> bool:
    """Whether the attempt's result may be anything that a job has written; `check_result` sees to that."""
    return ending.result is not None and len(ending.result) > journals.LONG


def check_result(ending: Ending) -> Generator[None, None, Ending | None]:
    """The ending, or what it comes to where its result is none; None where that was no record at all.

    Gives way after each portion.
    """
    try:
        yield from json_portions.check(ending.result or "null", journal_lines.MAX_NESTING + 1)
    except json_portions.UnsayableError as error:
        return replace(_invalid(error), exit_code=ending.exit_code, signal=ending.signal)
    except ValueError:
        return None
    return ending


def _invalid(error: Exception) -> Ending:
    return Ending.failed("InvalidResult", f"the result is no JSON: {error}", may_retry=False)


def _completed(record: journal_lines.Record, code: int | None, number: int | None) -> Ending:
    if "unread" in record:
        return Ending.completed(record["unread"], code, number)
    try:
        result = to_json(record.get("result"))
        result.encode()
    except (ValueError, RecursionError) as error:
        return replace(_invalid(error), exit_code=code, signal=number)
    return Ending.completed(result, code, number)


def _failed(record: journal_lines.Record) -> Ending:
    ending = Ending.failed(
        _storable(record["error_type"]),
        _storable(record["error_message"]),
        _storable(record["traceback"]),
        may_retry=record["may_retry"],
        delay=_delay(record["delay"]) if record.get("delay") is not None else None,
        error_class=_storable(record["error_class"]) if record.get("error_class") is not None else None,
        whence=_try_whence(record),
    )
    exceeded = record.get("exceeded")
    outcome = None if exceeded is None else _EXCEEDED.get(exceeded["limit"])
    if exceeded is None or outcome is None:
        return ending
    more = ", and more was asked for" if exceeded["used"] < exceeded["most"] else ""
    return Ending.exceeded(
        outcome, f"{size_text(exceeded['used'])} of {size_text(exceeded['most'])}{more}", ending
    )


def _try_whence(record: journal_lines.Record) -> Whence | None:
    """Which error it is; None where the record does not tell it, or what no attempt would."""
    told = record.get("fingerprint")
    if type(told) is not str or not is_fingerprint(told):
        return None
    most = {"place": LONGEST_PLACE, "line": LONGEST_PLACE, "name": LONGEST_NAME}
    texts = {name: record.get(name) for name in most}
    kept = {name: _storable(text)[: most[name]] for name, text in texts.items() if type(text) is str and text}
    return Whence(told, **kept)


def _snoozed(record: journal_lines.Record) -> Ending:
    delay, of = _delay(record["delay"]), _THROTTLES.get(record.get("throttles"))
    return Ending.snoozed(delay) if of is None else Ending.throttled(delay, of)


def _suspended(record: journal_lines.Record) -> Ending:
    delay, until = record.get("delay"), record.get("until")
    match record["kind"]:
        case WaitKind.SIGNAL if len(record["name"]) in KEY_LENGTHS:
            wait, until = Wait(WaitKind.SIGNAL, _storable(record["name"]), record["turn"]), None
        case WaitKind.SLEEP:
            wait, delay, until = Wait(WaitKind.SLEEP, "", record["turn"]), delay or 0.0, None
        case WaitKind.UNTIL:
            wait, delay, until = Wait(WaitKind.UNTIL, "", record["turn"]), None, until or 0.0
        case _:
            return Ending.failed("StepError", "it waits for what nobody knows", may_retry=False)
    return Ending.suspended(wait, None if delay is None else _delay(delay), until)


def _exited(record: journal_lines.Record) -> Ending:
    return Ending.exited(record["exit_code"])


def _delay(seconds: float) -> float:
    """The delay that a job asked for, within what can be stored: it may have written its journal by itself."""
    return min(max(0.0, float(seconds)), LONGEST_DURATION)


def _storable(text: str) -> str:
    """The text with what UTF-8 cannot hold replaced, and cut: a job may have written its journal by itself."""
    return text[: journal_lines.MAX_TEXT].encode("utf-8", "replace").decode()


def notes(records: Iterable[journal_lines.Record]) -> tuple[Told, ...]:
    """What an attempt has told of itself, for the job's log, of its steps, and for whoever follows it."""
    return tuple([_TOLD.get(record["type"], _note)(record) for record in records])


def _began(record: journal_lines.Record) -> StepNote:
    return StepNote(record["at"], _storable(record["name"]))


def _finished(record: journal_lines.Record) -> StepNote:
    result = _storable_whole(record["result"])
    return StepNote(record["at"], _storable(record["name"]), result, record["is_awaited"])


def _storable_whole(text: str) -> str:
    """The text with what UTF-8 cannot hold replaced."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _value(record: journal_lines.Record) -> ValueNote:
    step, value = record["step"], _storable_whole(record["value"])
    return ValueNote(record["at"], record["place"], None if step is None else _storable(step), value)


def _unused(record: journal_lines.Record) -> UnusedSteps:
    text = record["names"]
    try:
        names = json.loads(text) if len(text) <= journal_lines.MAX_TEXT else []
    except (ValueError, RecursionError):
        names = []
    found = names if isinstance(names, list) else []
    return UnusedSteps(
        record["at"],
        tuple([_storable(name) for name in found if isinstance(name, str)][: journal_lines.MAX_STEPS]),
    )


def _note(record: journal_lines.Record) -> Note:
    is_progress = record["type"] == "progress"
    return Note(
        at=record["at"],
        type=EntryType.FAILURE if record.get("level") in ("ERROR", "CRITICAL") else EntryType.INFO,
        message=_storable(record["message"]),
        progress=float(record["fraction"]) if is_progress else None,
    )


_TOLD: Final[dict[str, Callable[[journal_lines.Record], Told]]] = {
    "began": _began,
    "step": _finished,
    "left": _unused,
    "value": _value,
}
"""What is no note for the log."""

_EXCEEDED: Final = {"memory": Outcome.OUT_OF_MEMORY, "output": Outcome.OUTPUT_EXCEEDED}
"""What exceeding a limit comes to, where the attempt's process itself met it."""

_THROTTLES: Final[dict[str | None, Throttle]] = {word.value: word for word in Throttle}
"""Any other word holds nobody: it may be one of a version to come, or a job's own."""

_OUTCOMES: Final[dict[str, Callable[[journal_lines.Record], Ending]]] = {
    "failed": _failed,
    "snoozed": _snoozed,
    "exited": _exited,
    "suspended": _suspended,
}
