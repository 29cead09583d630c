"""What a job writes into its journal by itself is taken for no more than it can be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bgjob.words import Outcome, Throttle
from bgjobd.core.job import Ending
from bgjobd.core.verdict import UNSEEN
from bgjobd.core.waiting import Wait, WaitKind
from bgjobd.forkserver import journal as journals
from bgjobd.forkserver import journal_lines, spool_names
from bgjobd.store.items import StepNote, UnusedSteps
from bgjobd.supervisor import journal_facts

STARTED = journal_lines.started("ab", 7, 0, 1, "cd", 1.0)
USED = {"max_rss": 1, "cpu_user": 0.5, "cpu_system": 0, "output_bytes": 0}


def exit_of(usage: Any) -> journal_lines.Record | None:
    line = journal_lines.exited(7, 1.0, 0, None, usage=usage)
    return journals.parse(STARTED + line).exit


def test_usage_is_read_as_it_was_written() -> None:
    found = exit_of(USED)
    assert found is not None
    assert found["usage"] == USED


@pytest.mark.parametrize("name", USED)
@pytest.mark.parametrize(
    "value", [-1, -0.5, -(2**53), 2**53 + 2, float("nan"), float("inf"), "1", None, [], True]
)
def test_usage_that_nobody_can_have_had_is_none(name: str, value: Any) -> None:
    assert exit_of({**USED, name: value}) is None


@pytest.mark.parametrize(
    ("monotonic", "seconds"), [(3.5, 2.5), (1.0, 0.0), (0.5, None), (2**53, 2.0**53 - 1), (None, None)]
)
def test_how_long_it_ran_is_told_by_the_clock_that_nobody_sets(
    monotonic: float | None, seconds: float | None
) -> None:
    more = {} if monotonic is None else {"monotonic": monotonic}
    journal = journals.parse(STARTED + journal_lines.exited(7, 1.0, 0, None, **more))
    found = journal_facts.ended((1, 1), journal)
    assert found is not None
    assert found.seconds == seconds


@pytest.mark.parametrize("monotonic", [-1, "1", True, float("nan"), float("inf"), [1]])
def test_an_exit_at_no_time_is_none(monotonic: Any) -> None:
    assert journals.parse(STARTED + journal_lines.exited(7, 1.0, 0, None, monotonic=monotonic)).exit is None


def test_exits_that_make_no_sense_leave_the_one_before() -> None:
    text = (
        STARTED
        + journal_lines.exited(7, 1.0, 3, None)
        + journal_lines.exited(7, 1.0, 0, None, usage={"max_rss": -1})
    )
    found = journals.parse(text + json.dumps({"v": 1, "type": "exit"}).encode()).exit
    assert found is not None
    assert found["code"] == 3


@pytest.mark.parametrize("names", [7, "sleep", {"sleep": 1}, ["sleep", 7], None])
def test_names_of_strays_that_are_none_make_the_exit_none(names: Any) -> None:
    assert (
        journals.parse(STARTED + journal_lines.exited(7, 1.0, 0, None, strays=1, stray_names=names)).exit
        is None
    )


def test_of_names_of_strays_as_many_and_as_much_is_told_as_an_honest_journal_has() -> None:
    record = {"strays": 9, "stray_names": ["\ud800" * 100, *map(str, range(100))]}
    assert journal_facts.strays(record) == (9, ["?" * 64, "0", "1", "2", "3", "4", "5", "6"])
    assert journal_facts.strays({"strays": 2}) == (2, [])
    assert journal_facts.strays(None) == (0, [])


def test_an_exit_that_tells_of_no_signal_is_one_all_the_same() -> None:
    found = journals.parse(STARTED + b'\n{"v":1,"type":"exit","pid":7,"at":1.0}\n')
    fact = journal_facts.ended((1, 1), found)
    assert fact is not None
    assert fact.ending.outcome is Outcome.SIGNALLED


@pytest.mark.parametrize(
    "name",
    [
        *("0.1.journal", "1.0.journal", "01.1.journal", "1.01.journal", "١.1.journal", "-1.1.journal"),
        *(
            f"{2**63}.1.journal",
            "9" * 60 + ".1.journal",
            "1.1.journal.new",
            "1.1.",
            "1..journal",
            ".1.journal",
        ),
    ],
)
def test_a_file_whose_name_is_none_that_an_attempt_has_is_none_of_an_attempt(name: str) -> None:
    assert spool_names.try_key("12.3.journal", "journal") == (12, 3)
    assert spool_names.try_key(name, "journal") is None


def outcome_of(line: bytes) -> journal_lines.Record | None:
    return journals.parse(STARTED + b"\n" + line + b"\n" + journal_lines.exited(7, 1.0, 0, None)).outcome


def ending_of(line: bytes) -> Ending | None:
    return journal_facts.left_in(journals.Journal(outcome=outcome_of(line)))


@pytest.mark.parametrize("word", Throttle)
def test_whom_a_snooze_keeps_from_starting_is_told_as_it_was_asked(word: Throttle) -> None:
    assert ending_of(journal_lines.snoozed(7, 60.0, word)) == Ending.throttled(60.0, word)
    assert ending_of(journal_lines.snoozed(7, 60.0)) == Ending.snoozed(60.0)


@pytest.mark.parametrize("delay", [3600.5, 2**53, 36_500 * 86_400])
def test_a_job_that_writes_its_journal_by_itself_keeps_others_from_starting_for_an_hour_at_most(
    delay: float,
) -> None:
    assert ending_of(journal_lines.snoozed(7, delay, "class")) == Ending.throttled(3600.0, Throttle.CLASS)


@pytest.mark.parametrize("delay", [0, -0.5, -(2**53)])
def test_a_hold_of_no_time_holds_nobody(delay: float) -> None:
    assert ending_of(journal_lines.snoozed(7, delay, "class")) == Ending.snoozed(0.0)


@pytest.mark.parametrize("word", ["", "CLASS", "queue", "class:myapp.Other", "\ud800"])
def test_a_word_that_names_nobody_holds_nobody(word: str) -> None:
    assert ending_of(journal_lines.snoozed(7, 60.0, word)) == Ending.snoozed(60.0)


@pytest.mark.parametrize(
    ("line", "wait", "delay", "until"),
    [
        (journal_lines.suspended(7, "sleep", "", 3, 5.5, None), Wait(WaitKind.SLEEP, "", 3), 5.5, None),
        (
            journal_lines.suspended(7, "sleep", "x" * 300, 1, None, 7.0),
            Wait(WaitKind.SLEEP, "", 1),
            0.0,
            None,
        ),
        (
            journal_lines.suspended(7, "sleep", "", 1, 2**53, None),
            Wait(WaitKind.SLEEP, "", 1),
            3_153_600_000.0,
            None,
        ),
        (journal_lines.suspended(7, "until", "x", 1, 5.0, 7.0), Wait(WaitKind.UNTIL, "", 1), None, 7.0),
        (journal_lines.suspended(7, "until", "", 1, None, None), Wait(WaitKind.UNTIL, "", 1), None, 0.0),
        (
            journal_lines.suspended(7, "signal", "a\ud800", 1, None, 7.0),
            Wait(WaitKind.SIGNAL, "a?", 1),
            None,
            None,
        ),
    ],
)
def test_a_wait_is_told_as_it_was_asked_and_what_a_job_has_made_up_is_one_that_can_be(
    line: bytes, wait: Wait, delay: float | None, until: float | None
) -> None:
    assert ending_of(line) == Ending.suspended(wait, delay, until)


@pytest.mark.parametrize(
    ("kind", "name"), [("signal", ""), ("signal", "x" * 256), ("SLEEP", ""), ("step", "one")]
)
def test_a_wait_for_what_nobody_knows_is_a_step_error_and_not_retried(kind: str, name: str) -> None:
    ending = ending_of(journal_lines.suspended(7, kind, name, 1, 5.0, None))
    assert ending == Ending.failed("StepError", "it waits for what nobody knows", may_retry=False)


@pytest.mark.parametrize(
    ("turn", "delay", "until"),
    [
        (0, 5.0, None),
        (1001, 5.0, None),
        (True, 5.0, None),
        (1, float("nan"), None),
        (1, "5", None),
        (1, None, -1.0),
    ],
)
def test_a_wait_without_a_turn_or_a_time_is_no_outcome(turn: Any, delay: Any, until: Any) -> None:
    assert outcome_of(journal_lines.suspended(7, "sleep", "", turn, delay, until)) is None


def test_a_wait_that_does_not_say_for_how_long_is_one_for_ever() -> None:
    line = b'{"v":1,"type":"outcome","outcome":"suspended","pid":7,"kind":"signal","name":"a","turn":1}'
    assert ending_of(line) == Ending.suspended(Wait(WaitKind.SIGNAL, "a", 1), None)


def notes_of(*lines: bytes) -> tuple[Any, ...]:
    return journal_facts.notes([record for line in lines if (record := journals._try_record(line.strip()))])


def test_steps_are_told_as_they_were_made() -> None:
    assert notes_of(
        journal_lines.began(7, 1.5, "läbel"),
        journal_lines.step(7, 2.5, "läbel", '"ä"', True),
        journal_lines.left(7, 3.5, ["läbel", "charge"]),
    ) == (
        StepNote(1.5, "läbel"),
        StepNote(2.5, "läbel", '"ä"', True),
        UnusedSteps(3.5, ("läbel", "charge")),
    )


@pytest.mark.parametrize(
    "names", ["", "[1, null, [], {}]", "{}", "7", "[" * 60_000, "[1", '["' + "x" * 70_000 + '"]']
)
def test_names_that_are_none_are_told_to_nobody(names: str) -> None:
    line = json.dumps({"v": 1, "type": "left", "pid": 7, "at": 1.0, "names": names}).encode()
    assert notes_of(line) == (UnusedSteps(1.0, ()),)


@pytest.mark.parametrize(
    "more",
    [
        {"name": 7},
        {"result": None},
        {"result": {"a": 1}},
        {"is_awaited": 1},
        {"at": float("nan")},
        {"at": -1.0},
    ],
)
def test_a_step_whose_record_is_odd_is_none(more: dict[str, Any]) -> None:
    record = json.loads(journal_lines.step(7, 2.5, "one", "1", False))
    assert notes_of(json.dumps({**record, **more}).encode()) == ()


@pytest.mark.parametrize("delay", [float("nan"), float("inf"), 2**53 + 2, True, None, "60", [60]])
def test_a_snooze_without_a_time_is_no_outcome(delay: Any) -> None:
    assert outcome_of(journal_lines.snoozed(7, delay, "class")) is None


@pytest.mark.parametrize("word", [True, 1, ["class"], {"class": 1}])
def test_a_snooze_that_holds_what_is_no_word_is_no_outcome(word: Any) -> None:
    assert outcome_of(journal_lines.snoozed(7, 60.0, word)) is None


def test_a_long_result_stays_the_text_that_it_is() -> None:
    """1 MiB of lists held daemon and fork server for a tenth of a second each time the journal was read."""
    text = "[" + "[]," * 300_000 + "[]]"
    found = outcome_of(journal_lines.completed(7, text))
    assert found is not None
    assert (found["unread"], "result" in found) == (text, False)
    assert journal_facts.is_unread(journal_facts.left_in(journals.Journal(outcome=found)) or UNSEEN)


def test_a_result_that_is_long_in_bytes_alone_is_read() -> None:
    found = outcome_of(journal_lines.completed(7, json.dumps("é" * (journals.LONG - 10), ensure_ascii=False)))
    assert found is not None
    assert found["result"] == "é" * (journals.LONG - 10)


@pytest.mark.parametrize("path", ["shop.Unpaid", "x" * 511, "\U0001f600" * 100, "\U0001f600" * 511, None])
def test_a_failure_that_finds_no_room_for_its_texts_tells_its_class_whole_or_not(path: str | None) -> None:
    line = journal_lines.failed(7, "\0" * 255, "\0" * 9999, "\0" * 9999, may_retry=True, error_class=path)
    short = journal_lines.shortened(line)
    assert short is not None
    assert len(short) <= 4096
    found = outcome_of(short)
    assert found is not None
    assert found["error_class"] == (path if len(path or "") <= 100 else None)


@pytest.mark.parametrize("message", ["\0", "\U0001f600", '"', "\\", ",[{", '\\"'])
def test_a_failure_with_the_longest_texts_is_read(message: str) -> None:
    texts = message * (journal_lines.MAX_TEXT // len(message))
    found = outcome_of(journal_lines.failed(7, "Worst", texts, texts, may_retry=True))
    assert found is not None
    assert (found["error_message"], found["traceback"]) == (texts, texts)


@pytest.mark.parametrize(
    "line",
    [
        '{"v":1,"type":"log","pid":7,"at":1.0,"level":"INFO","message":"","more":[' + "[]," * 2000 + "[]]}",
        '{"v":1,"type":"log","pid":7,"at":1.0,"level":"INFO","message":"","more":[' + '"",' * 2000 + '""]}',
        '{"v":1,"type":"log","pid":7,"at":1.0,"level":"INFO","message":"' + "x" * 5000,
        '{"v":1,"type":"outcome","outcome":"completed","pid":8,"result":[' + "[]," * 2000 + "[]]}",
        '{"v":1,"type":"outcome","outcome":"completed","pid":7,"result":[' + "[]," * 2000 + "[]]",
    ],
)
def test_a_long_record_that_no_process_of_ours_writes_is_none_and_is_not_read(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def loads(text: str | bytes) -> Any:
        sizes.append(len(text))
        return real(text)

    real = json.loads
    monkeypatch.setattr(json, "loads", loads)
    journal = journals.parse(STARTED + b"\n" + line.encode() + b"\n")
    assert journal.outcome is None
    assert max(sizes) <= journals.LONG
