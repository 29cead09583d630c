"""What the books say of steps, waits, signals, states and values: rows that contradict each other; the SQL and the
words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from bgjob.words import MOST_STATE_BYTES

Ask = Callable[[str], list[tuple[Any, ...]]]
"""Runs a statement on a connection that cannot write."""

OF_JOBS: Final = (
    ("j.status <> 'pending' AND j.waiting_on IS NOT NULL", "it is {status}, and still waits for something"),
    (
        "j.ready = 4 AND (j.status <> 'pending' OR j.waiting_on IS NULL)",
        "its ready says that it waits, and nothing says for what",
    ),
    (
        "(j.steps <> 0 OR j.step_bytes <> 0 OR j.waiting_on IS NOT NULL) "
        "AND NOT EXISTS (SELECT 1 FROM job_steps WHERE job_id = j.id)",
        "it counts steps, or waits, and no row tells of that",
    ),
    ("j.again_of >= j.id", "it calls a job again that was submitted later"),
)
"""Rows of audit._OF_JOBS."""

# A wait as its job's column names it, and as a signal that it has taken does.
_WAITED: Final = "kind || ' ' || CASE kind WHEN 'signal' THEN name ELSE '' || turn END"
_ODD_STEPS: Final = f"""
    SELECT s.job_id, j.id IS NULL, j.carries, j.steps, j.step_bytes, j.waiting_on, s.finished, s.bytes, s.last,
        s.waited, s.waits
    FROM (
        SELECT job_id, count(number) AS finished, coalesce(max(number), 0) AS last,
            coalesce(sum(length(CAST(result AS BLOB))), 0) AS bytes,
            sum(kind <> 'step' AND number IS NULL) AS waits,
            max(CASE WHEN kind <> 'step' AND number IS NULL THEN {_WAITED} END) AS waited
        FROM job_steps GROUP BY job_id
    ) AS s LEFT JOIN background_jobs AS j ON j.id = s.job_id
    WHERE j.id IS NULL OR j.carries = 0 OR j.steps <> s.finished OR s.last <> s.finished OR j.step_bytes <> s.bytes
        OR s.waits > 1 OR s.waited IS NOT j.waiting_on
    LIMIT {{most}}"""
_ODD_SIGNALS: Final = """
    SELECT g.job_id, g.number, g.taken_by, j.id IS NULL, j.carries
    FROM job_signals AS g LEFT JOIN background_jobs AS j ON j.id = g.job_id
    WHERE j.id IS NULL OR j.carries = 0 OR g.taken_by IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM job_steps AS s WHERE s.job_id = g.job_id AND s.kind = 'signal' AND s.name = g.name
            AND g.taken_by = s.name || ' ' || s.turn AND s.number IS NOT NULL AND s.timed_out = 0
            AND s.result IS g.payload)
    LIMIT {most}"""
# Of waits that another job was through with, whose call this one runs again, that one has the signals.
_WITHOUT_SIGNAL: Final = """
    SELECT job_id, wait, signals FROM (
        SELECT s.job_id, s.name || ' ' || s.turn AS wait, 1 - s.timed_out AS expected, (
            SELECT count(*) FROM job_signals AS g WHERE g.job_id = s.job_id AND g.taken_by = s.name || ' ' || s.turn
        ) AS signals
        FROM job_steps AS s WHERE s.kind = 'signal' AND s.number IS NOT NULL AND s.attempt > 0)
    WHERE signals <> expected LIMIT {most}"""
_ODD_VALUES: Final = """
    SELECT v.job_id, j.id IS NULL, j.carries, v.number, v.span, v.bytes, v.told FROM (
        SELECT job_id, count(*) AS number, max(number) - min(number) + 1 AS span,
            sum(length(CAST(value AS BLOB))) AS bytes,
            max(ends) - min(ends - length(CAST(value AS BLOB))) AS told
        FROM job_values GROUP BY job_id
    ) AS v LEFT JOIN background_jobs AS j ON j.id = v.job_id
    WHERE j.id IS NULL OR j.carries = 0 OR v.number <> v.span OR v.bytes <> v.told
    LIMIT {most}"""

_ODD_STATES: Final = f"""
    SELECT s.job_id, j.id IS NULL, j.carries, s.attempt, a.number IS NOT NULL
    FROM job_states AS s LEFT JOIN background_jobs AS j ON j.id = s.job_id
    LEFT JOIN job_attempts AS a ON a.job_id = s.job_id AND a.number = s.attempt
    WHERE j.id IS NULL OR j.carries = 0 OR a.number IS NULL OR length(CAST(s.value AS BLOB)) > {MOST_STATE_BYTES}
        OR CASE WHEN json_valid(s.value) THEN json_type(s.value) <> 'object' ELSE true END
    LIMIT {{most}}"""
_OF_NO_ATTEMPT: Final = """
    SELECT s.job_id, s.name FROM job_steps AS s JOIN background_jobs AS j ON j.id = s.job_id
    WHERE s.attempt < 1 AND (j.again_of IS NULL OR s.number IS NULL) LIMIT {most}"""


def odd_steps(ask: Ask, most: int) -> Iterator[tuple[int, str]]:
    """Job by job what is wrong with its steps, waits, signals, state and values; at most so many of each kind."""
    for job_id, *row in ask(_ODD_STEPS.format(most=most)):
        yield job_id, _why_odd(*row)
    for job_id, number, taken_by, is_left, carries in ask(_ODD_SIGNALS.format(most=most)):
        if is_left:
            yield job_id, f"it was sent signal {number}, and there is no such job"
        elif not carries:
            yield job_id, f"it was sent signal {number}, which would not be deleted with it"
        else:
            yield job_id, f"its signal {number} was taken by wait {taken_by}, which knows nothing of it"
    for job_id, wait, signals in ask(_WITHOUT_SIGNAL.format(most=most)):
        yield job_id, f"its wait {wait} is settled, and has taken {signals} signals"
    for job_id, is_left, carries, attempt, has_attempt in ask(_ODD_STATES.format(most=most)):
        yield job_id, _why_odd_state(is_left, carries, attempt, has_attempt)
    for job_id, *row in ask(_ODD_VALUES.format(most=most)):
        yield job_id, _why_odd_values(*row)
    for job_id, name in ask(_OF_NO_ATTEMPT.format(most=most)):
        yield job_id, f"no attempt of it began its step {name}, and it has none of another job's"


def _why_odd_state(is_left: bool, carries: int, attempt: int, has_attempt: bool) -> str:
    if is_left:
        return "it has a state, and there is no such job"
    if not carries:
        return "it has a state, which would not be deleted with it"
    if not has_attempt:
        return f"its state was saved by attempt {attempt}, and there is none"
    return "its state is none that an attempt can save"


def _why_odd_values(is_left: bool, carries: int, number: int, span: int, size: int, told: int) -> str:
    if is_left:
        return "it has emitted values, and there is no such job"
    if not carries:
        return "it has emitted values, which would not be deleted with it"
    if number != span:
        return f"it has {number} values, whose numbers are of {span}"
    return f"its values are said to take {told} bytes, and take {size}"


def _why_odd(
    is_left: bool,
    carries: int,
    steps: int,
    step_bytes: int,
    waiting_on: str | None,
    finished: int,
    size: int,
    last: int,
    waited: str | None,
    waits: int,
) -> str:
    if is_left:
        return "it has steps, and there is no such job"
    if not carries:
        return "it has steps, which would not be deleted with it"
    if steps != finished or last != finished:
        return f"it counts {steps} steps, and has {finished}, the last is number {last}"
    if step_bytes != size:
        return f"its steps are said to take {step_bytes} bytes, and take {size}"
    if waits > 1:
        return f"it waits for {waits} things at once"
    return f"it waits for {waiting_on or 'nothing'}, and its open wait is for {waited or 'nothing'}"
