"""Why a job has not run, has not ended, or how it ended: each cause, its exact sentence, and which comes first."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from bgjob.words import Outcome, Status
from bgjobd.core.edges import Group, Node, Of
from bgjobd.core.expectation import Expectation
from bgjobd.core.gate import KeyRules, Share
from bgjobd.core.job import Carried, Ending, RetryPolicy
from bgjobd.core.on_file import (
    MOST_AHEAD,
    Ahead,
    Keeper,
    LatestAttempt,
    OfKey,
    OnFile,
    RunningJob,
    StepUnderWay,
)
from bgjobd.core.peers import Peer
from bgjobd.core.planner import Lanes
from bgjobd.core.quarantine import ClassHold, Reason, asked
from bgjobd.core.rates import Bucket, Rate
from bgjobd.core.state_machine import HAS_KEY
from bgjobd.core.trials import Unavailable
from bgjobd.core.verdict import StopReason
from bgjobd.core.why import _REASONS, Closing, Known, UnderWay, why
from tests.core.samples import (
    BAD_ENDINGS,
    CALL,
    COMPLETED,
    CRASHED,
    FAILED,
    NOT_STARTED,
    NOW,
    SNOOZED,
    STOPPED,
    ended,
    for_review,
    pending,
    running,
)

LANES = Lanes(2, {"default": None, "mail": 1}, {})
DAY = 86_400


def holding(*ids: int, queue: str = "default", class_name: str = "other.Class") -> tuple[RunningJob, ...]:
    return tuple(RunningJob(id, queue, class_name) for id in ids)


def told(on_file: OnFile, now: float = NOW, lanes: Lanes = LANES, **known: Any) -> str:
    return why(Known(on_file, lanes, **known), now)


# Pending


def scheduled(delay: float, ending: Ending | None = None, **given: Any) -> OnFile:
    """A job that waits for its time; with `ending` after its second attempt, which ended like that."""
    job = pending(scheduled_at=NOW + delay, attempt=0 if ending is None else 2, **given)
    latest = None if ending is None else LatestAttempt(2, 4711, NOW - 9, NOW - 5, ending)
    return OnFile(job, latest)


@pytest.mark.parametrize(
    ("delay", "when"),
    [
        (0.4, "14:31:53 UTC, in a moment"),
        (5, "14:31:58 UTC, in 5 s"),
        (7500, "16:36:53 UTC, in 2 h"),
        (DAY, "2024-12-05 14:31:53 UTC, in 1 day"),
    ],
)
def test_a_job_that_waits_for_its_time_says_when_that_is(delay: float, when: str) -> None:
    assert told(scheduled(delay)) == f"job 7 waits for its time: it is not to start before {when}"


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (FAILED, "as retry 1 of 3: ValueError: no recipient (attempt 2)"),
        (Ending.exited(3), "as retry 1 of 3: exited: the process ended with code 3 (attempt 2)"),
        (Ending.signalled(9), "as retry 1 of 3: signalled: the process was ended by signal 9 (attempt 2)"),
    ],
)
def test_a_job_that_waits_for_a_retry_says_how_the_last_attempt_ended(ending: Ending, reason: str) -> None:
    expected = f"job 7 is to be tried again at 14:31:58 UTC, in 5 s, {reason}"
    assert told(scheduled(5, ending, retry_count=1)) == expected


@pytest.mark.parametrize("ending", BAD_ENDINGS, ids=lambda ending: ending.outcome)
def test_a_job_that_waits_for_a_retry_names_every_way_to_end_badly(ending: Ending) -> None:
    sentence = told(scheduled(5, ending, retry_count=1))
    assert sentence.endswith(f", as retry 1 of 3: {ending.error} (attempt 2)")


@pytest.mark.parametrize("ending", [None, FAILED, SNOOZED], ids=["at a time", "a retry", "a snooze"])
def test_one_whose_time_had_come_before_the_clock_was_set_back_waits_for_it_no_more(
    ending: Ending | None,
) -> None:
    waits = replace(scheduled(3600, ending), was_due=True)
    assert told(waits) == "job 7 is due, a slot is free, and it starts in a moment"


def test_a_snooze_and_an_attempt_that_could_not_start_are_told_apart_from_a_retry() -> None:
    again = "job 7 is to be tried again at 14:31:58 UTC, in 5 s: "
    assert told(scheduled(5, SNOOZED)) == f"{again}attempt 2 asked for a snooze"
    expected = (
        f"{again}not_started: the attempt could not start: no memory (attempt 2, which spends no retry)"
    )
    assert told(scheduled(5, NOT_STARTED)) == expected


def test_of_an_error_of_many_lines_the_beginning_is_told_on_one() -> None:
    sentence = told(scheduled(5, Ending.failed("ValueError", "first\n  second " + "x" * 70_000)))
    assert "ValueError: first second xxx" in sentence
    assert sentence.endswith("x… (attempt 2)")
    assert len(sentence) < 350


WAITS_BEHIND = OnFile(
    pending(queue="mail"), None, NOW - 200, Ahead(17), holding(3, queue="mail") + holding(9)
)
"""A job whose queue is paused and full, behind others, while all slots are taken."""

ALL = {
    "lanes": Lanes(2, {"default": None, "mail": 1}, {CALL.class_name: 1}),
    "closing": Closing.DRAINING,
    "storage_trouble": "disk I/O error",
    "recording_trouble": "/run/spool: No space left on device; make room there",
    "no_fork_server": "it is being started, which imports the approved classes",
    "unavailable": Unavailable("ImportError: no", "it is tried again in 40 s, and by `bgjob reload` at once"),
    "why_held": "they hold 2 GiB",
}
"""Everything that may keep a job from starting, at once."""

SHARES = replace(
    WAITS_BEHIND,
    job=pending(queue="mail", key="customer:7", is_behind=True),
    paused_at=None,
    running=(*holding(3, queue="mail"), *holding(9, class_name=CALL.class_name)),
    of_key=OfKey((3,), ahead=Ahead(2)),
    of_class=Bucket(NOW + 0.4),
)
"""The same of a key whose place is taken, and of a class that is full and has no token."""

ALL_SHARED = {
    "lanes": Lanes(
        2,
        {"default": None, "mail": 1},
        {CALL.class_name: 1},
        keys={"mail": KeyRules(slots=1)},
        rates={CALL.class_name: Rate(100, 60.0)},
    )
}

CRASHES = ClassHold(
    CALL.class_name,
    Reason.CRASHES,
    "736711a9ab89",
    NOW,
    "10 attempts of 7 jobs in a row ended by signal 11 with code 736711a9ab89",
    next_try_at=NOW + 40,
)
IN_ORDER: list[tuple[OnFile, dict[str, Any], str]] = [
    (
        replace(
            WAITS_BEHIND,
            job=pending(queue="mail", scheduled_at=NOW + 60, schedule="nightly", waits_for=1),
            keeper=Keeper(Node(Of.JOB, 3), Status.RUNNING),
        ),
        ALL,
        "waits for job 3 of schedule nightly, which runs",
    ),
    (
        replace(
            WAITS_BEHIND, job=pending(is_waiting=True, carried=Carried(steps=12, waiting_on="signal packed"))
        ),
        ALL,
        "waits for signal packed, without a timeout; 12 steps are done; bgjob signal 7 packed JSON",
    ),
    (
        replace(WAITS_BEHIND, job=pending(queue="mail", scheduled_at=NOW + 60)),
        ALL,
        "waits for its time: it is not to start before 14:32:53 UTC, in 1 min",
    ),
    (
        WAITS_BEHIND,
        ALL,
        "waits: the daemon drains and starts nothing new; the next daemon starts it",
    ),
    (
        WAITS_BEHIND,
        ALL | {"closing": Closing.STOPPING},
        "waits: the daemon is stopping; the next daemon starts it",
    ),
    (
        WAITS_BEHIND,
        ALL | {"closing": None},
        "waits: nothing starts while the database cannot be written: disk I/O error",
    ),
    (
        WAITS_BEHIND,
        ALL | {"closing": None, "storage_trouble": None, "gone_back": "the database has gone back"},
        "waits: nothing starts, for the database has gone back",
    ),
    (
        WAITS_BEHIND,
        ALL | {"closing": None, "storage_trouble": None},
        "waits: nothing starts while ends of attempts cannot be recorded: /run/spool: No space left on device; make "
        "room there",
    ),
    (
        WAITS_BEHIND,
        ALL | {"closing": None, "storage_trouble": None, "recording_trouble": None},
        "waits for a fork server: it is being started, which imports the approved classes",
    ),
    (
        replace(WAITS_BEHIND, job=pending(queue="gone")),
        {"lanes": ALL["lanes"]},
        "waits: queue gone gets no slots, for it is not configured; `bgjob reload` takes it up",
    ),
    (
        WAITS_BEHIND,
        {name: ALL[name] for name in ("lanes", "unavailable")},
        "waits: queue mail is paused since 14:28:33 UTC, 3 min ago; `bgjob resume mail` lets it go on",
    ),
    (
        replace(WAITS_BEHIND, resumes_at=NOW + 600),
        {"lanes": ALL["lanes"]},
        "waits: queue mail is paused until 14:41:53 UTC, in 10 min; `bgjob resume mail` lets it go on before",
    ),
    (
        replace(WAITS_BEHIND, paused_at=None),
        {name: ALL[name] for name in ("lanes", "unavailable")},
        "waits: its class is approved, and cannot be used: ImportError: no; it is tried again in 40 s, and by "
        "`bgjob reload` at once",
    ),
    (
        replace(WAITS_BEHIND, paused_at=None),
        {"lanes": ALL["lanes"], "why_held": "they hold 2 GiB"},
        "waits: no job of its class starts: they hold 2 GiB",
    ),
    (
        replace(SHARES, of_class=Bucket(NOW + 1, NOW + 90, 12), class_hold=asked(CALL.class_name, 1000, NOW)),
        ALL_SHARED,
        "waits: its class is held since 14:31:53 UTC, as uid 1000 has asked; "
        "`bgjob class resume myapp.jobs.ExampleJob` lets it go on",
    ),
    (
        replace(SHARES, of_class=Bucket(NOW + 1, NOW + 90, 12), class_hold=CRASHES),
        ALL_SHARED,
        "waits: its class is held since 14:31:53 UTC: 10 attempts of 7 jobs in a row ended by signal 11 with code "
        "736711a9ab89; next trial in 40 s, and job 9 runs",
    ),
    (
        replace(SHARES, of_class=Bucket(NOW + 1, NOW + 90, 12), class_hold=replace(CRASHES, since=None)),
        ALL_SHARED,
        "waits: job 12 was told to come later, and no other of its class starts until 14:33:23 UTC, in 2 min",
    ),
    (
        SHARES,
        ALL_SHARED,
        "waits for its key: customer:7 has 1 place in queue mail, taken by job 3, and 2 jobs are before it",
    ),
    (
        replace(SHARES, job=pending(queue="mail"), of_key=None),
        ALL_SHARED,
        "waits for a slot: its class has 1 slot, taken by job 9, and 17 jobs are before it in queue mail",
    ),
    (
        replace(SHARES, job=pending(queue="mail"), of_key=None, running=holding(3, queue="mail")),
        ALL_SHARED,
        "waits for its rate: myapp.jobs.ExampleJob starts 100 in 1 min, next in 0.38 s, and 17 jobs are before it in "
        "queue mail",
    ),
    (
        replace(WAITS_BEHIND, paused_at=None),
        {"lanes": ALL["lanes"]},
        "waits for a slot: queue mail has 1 slot, taken by job 3, and 17 jobs are before it in queue mail",
    ),
    (
        replace(WAITS_BEHIND, paused_at=None, running=holding(9, 4), everywhere=holding(8, queue="mail")),
        {"lanes": replace(ALL["lanes"], queues_everywhere={"mail": 1})},
        "waits for a slot: queue mail has 1 slot on all hosts, taken by job 8, and 17 jobs are before it in queue mail",
    ),
    (
        replace(WAITS_BEHIND, paused_at=None, running=holding(9, 4)),
        {"lanes": ALL["lanes"]},
        "waits for a slot: the daemon has 2 slots, taken by jobs 4 and 9, and 17 jobs are before it in queue mail",
    ),
    (
        replace(WAITS_BEHIND, paused_at=None, running=()),
        {"lanes": ALL["lanes"]},
        "waits for its turn: slots are free, and 17 jobs are before it in queue mail",
    ),
    (
        replace(WAITS_BEHIND, paused_at=None, running=(), ahead=Ahead()),
        {"lanes": ALL["lanes"]},
        "is due, a slot is free, and it starts in a moment",
    ),
]
"""Each reason, while all that stand behind it hold as well."""


@pytest.mark.parametrize(("on_file", "known", "sentence"), IN_ORDER, ids=[row[2] for row in IN_ORDER])
def test_of_all_reasons_that_hold_the_first_is_told(
    on_file: OnFile, known: dict[str, Any], sentence: str
) -> None:
    assert told(on_file, **known) == f"job 7 {sentence}"


@pytest.mark.parametrize(
    ("waiting_on", "scheduled_at", "steps", "sentence"),
    [
        ("sleep 3", NOW + 7200, 12, "sleeps until 16:31:53 UTC, in 2 h; 12 steps are done"),
        ("until 1", NOW + 7200, 0, "sleeps until 16:31:53 UTC, in 2 h"),
        (
            "signal it's so",
            NOW + 7200,
            1,
            "waits for signal it's so, until 16:31:53 UTC, in 2 h; 1 step is done; "
            "bgjob signal 7 'it'\\''s so' JSON",
        ),
    ],
)
def test_who_waits_says_for_what_and_what_ends_it(
    waiting_on: str, scheduled_at: float, steps: int, sentence: str
) -> None:
    job = pending(
        is_waiting=True, scheduled_at=scheduled_at, carried=Carried(steps=steps, waiting_on=waiting_on)
    )
    assert told(OnFile(job, LatestAttempt(2, 4711, NOW - 9, NOW - 5))) == f"job 7 {sentence}"


def test_a_running_job_says_which_step_it_is_in() -> None:
    on_file = OnFile(running(carried=Carried(steps=12)), LatestAttempt(1, 4711, NOW - 9))
    begun = told(on_file, under_way=UnderWay(4711, NOW - 9, has_begun=True))
    assert begun.endswith("; it has no timeout; 12 steps are done")
    within = replace(on_file, step=StepUnderWay("label 3", NOW - 5))
    sentence = told(within, under_way=UnderWay(4711, NOW - 9, has_begun=True))
    assert sentence.endswith("; it has no timeout; in step label 3 since 14:31:48 UTC, 12 are done")


def test_a_running_job_says_how_long_others_take_and_what_is_left() -> None:
    latest = LatestAttempt(1, 4711, NOW - 9, host="web2")
    on_file = OnFile(running(), latest, expected=Expectation(50, 40.0, 120.0, None, 20.0))
    usual = "half end within 40 s, 95 of 100 within 2 min"
    here = replace(on_file, latest=replace(latest, host=None))
    begun = UnderWay(4711, NOW - 9, has_begun=True)
    assert told(here, under_way=begun).endswith(f"; it has no timeout; {usual}; about 20 s left")
    assert told(on_file, lanes=ON_WEB1, peers=(WEB1, WEB2)).endswith(f"pid 4711; {usual}; about 20 s left")
    late = replace(here, expected=Expectation(50, 40.0, 120.0, None, None, 6.2))
    assert told(late, under_way=begun).endswith(f"; it runs 6 times as long as usual: {usual}")


def test_of_a_job_of_a_schedule_that_and_its_occurrence_are_told() -> None:
    for job in (pending(schedule="nightly", occurrence=NOW - 60), running()):
        sentence = told(OnFile(job.changed(schedule="nightly", occurrence=NOW - 60)))
        assert sentence.startswith(told(OnFile(job.changed(schedule=None, occurrence=None))))
        assert sentence.endswith("; schedule nightly submitted it, for 14:30:53 UTC, 1 min ago")


def test_every_reason_is_told_somewhere_in_the_order_of_the_table() -> None:
    def reason_of(on_file: OnFile, known: dict[str, Any]) -> int:
        facts = Known(on_file, **known)
        return next(place for place, reason in enumerate(_REASONS) if reason(facts, NOW) is not None)

    found = [reason_of(on_file, known) for on_file, known, _ in IN_ORDER]
    assert set(found) == set(range(len(_REASONS)))
    assert all(one <= other for one, other in pairwise(found))


@pytest.mark.parametrize(
    ("ids", "named"),
    [
        ((3,), "job 3"),
        ((7, 3), "jobs 3 and 7"),
        (range(5, 0, -1), "jobs 1, 2, 3, 4 and 5"),
        (range(1, 19), "jobs 1, 2, 3, 4, 5 and 13 more"),
    ],
)
def test_those_that_have_the_slots_are_named_the_first_of_many(ids: tuple[int, ...], named: str) -> None:
    on_file = OnFile(pending(), running=holding(*ids))
    assert f"taken by {named}, and" in told(on_file, lanes=Lanes(len(ids)))


@pytest.mark.parametrize(
    ("ahead", "told_of"),
    [
        (0, "it is the next of queue default"),
        (1, "1 job is before it in queue default"),
        (2, "2 jobs are before it in queue default"),
        (999, "999 jobs are before it in queue default"),
        (MOST_AHEAD, "1,000 jobs or more are before it in queue default"),
    ],
)
def test_how_many_are_before_it_is_told(ahead: int, told_of: str) -> None:
    on_file = OnFile(pending(), ahead=Ahead(ahead, may_be_more=ahead == MOST_AHEAD), running=holding(1, 2))
    assert told(on_file).endswith(f", and {told_of}")


def test_more_running_than_slots_are_all_slots_taken() -> None:
    lanes = Lanes(1, {"default": 1}, {CALL.class_name: 1})
    of_class = OnFile(pending(), running=holding(3, 4, class_name=CALL.class_name))
    assert "its class has 1 slot, taken by jobs 3 and 4" in told(of_class, lanes=lanes)
    assert "queue default has 1 slot, taken by jobs 3 and 4" in told(
        OnFile(pending(), running=holding(3, 4)), lanes=lanes
    )


# What is shared with others

BEHIND = pending(key="customer:7", is_behind=True)


def behind(of_key: OfKey, rules: KeyRules, running: tuple[RunningJob, ...] = ()) -> str:
    """What a job behind its key waits for."""
    lanes = Lanes(2, keys={"default": rules})
    return told(OnFile(BEHIND, of_key=of_key, running=running), lanes=lanes).removeprefix("job 7 ")


TWO = KeyRules(slots=2)
SLOW = KeyRules(rate=Rate(10, 60.0, burst=2))


def test_a_job_behind_its_key_names_those_that_have_the_places_and_counts_those_before_it() -> None:
    has = "waits for its key: customer:7 has 2 places in queue default, taken by"
    assert behind(OfKey((15,), (12,), Ahead(3)), TWO) == f"{has} jobs 12 and 15, and 3 jobs are before it"
    assert behind(OfKey((12, 15)), TWO) == f"{has} jobs 12 and 15, and it is the next"
    many = OfKey(tuple(range(MOST_AHEAD)), ahead=Ahead(1, may_be_more=True))
    expected = "jobs 0, 1, 2, 3, 4 and at least 995 more, and 1 job or more is before it"
    assert behind(many, TWO) == f"{has} {expected}"


def test_a_lowered_limit_leaves_those_their_places_that_run() -> None:
    expected = "customer:7 has 2 places in queue default, taken by jobs 1, 2 and 3, and it is the next"
    assert behind(OfKey((1, 2, 3)), TWO) == f"waits for its key: {expected}"


@pytest.mark.parametrize("rules", [KeyRules(slots=5), KeyRules(), KeyRules(share=Share.KEY)])
def test_a_job_behind_its_key_by_a_limit_of_before_is_told_no_number_of_it(rules: KeyRules) -> None:
    given = "waits for its key: customer:7 has a free place in queue default, given away"
    assert behind(OfKey((1, 2), ahead=Ahead(1)), rules) == f"{given} in a moment, and 1 job is before it"
    full = behind(OfKey((1, 2)), rules, holding(1, 2))
    assert full == f"{given} once a slot is free, and it is the next"


def test_a_job_behind_the_rate_of_its_key_says_when_the_next_may_start() -> None:
    starts = (
        "waits for the rate of its key: customer:7 starts 10 in 1 min, 2 of them at once in queue default"
    )
    used_up = OfKey(ahead=Ahead(2), bucket=Bucket(NOW + 6.4))
    assert behind(used_up, SLOW) == f"{starts}, next in 0.38 s, and 2 jobs are before it"
    far = OfKey(bucket=Bucket(NOW + 306))
    assert behind(far, SLOW) == f"{starts}, next in 5 min, and it is the next"
    one_is_ready = OfKey(ready=(12,), ahead=Ahead(2))
    for found in (one_is_ready, replace(one_is_ready, bucket=Bucket(NOW + 6.4))):
        told = behind(found, SLOW)
        assert told == f"{starts}, job 12 waits for a slot as the next, and 2 jobs are before it"


def test_a_job_behind_a_key_that_is_held_says_by_whom_and_until_when() -> None:
    held = OfKey((3, 4), ahead=Ahead(2), bucket=Bucket(NOW + 9, NOW + 60, 12))
    expected = (
        "waits: job 12 was told to come later, and no other of customer:7 in queue default starts until "
        "14:32:53 UTC, in 1 min, and 2 jobs are before it"
    )
    assert behind(held, TWO) == behind(held, KeyRules()) == expected
    over = OfKey((3, 4), bucket=Bucket(NOW + 9, NOW, 12))
    assert behind(over, TWO).startswith("waits for its key: customer:7 has 2 places")


def test_users_are_named_as_such() -> None:
    lanes = Lanes(2, keys={"default": KeyRules(slots=1, share=Share.USER)})
    on_file = OnFile(pending(key="1000", is_behind=True), of_key=OfKey((3,)))
    assert "waits for its key: user 1000 has 1 place in queue default, taken by job 3" in told(
        on_file, lanes=lanes
    )


def test_a_key_of_before_users_took_turns_is_named_as_it_is() -> None:
    rules = KeyRules(slots=1, share=Share.USER)
    assert behind(OfKey((3,)), rules).startswith("waits for its key: customer:7 has 1 place")


def test_a_key_of_many_lines_is_told_on_one() -> None:
    on_file = OnFile(pending(key="a\nb" + "x" * 250, is_behind=True), of_key=OfKey((3,)))
    sentence = told(on_file, lanes=Lanes(2, keys={"default": KeyRules(slots=1)}))
    assert "\n" not in sentence
    assert "x… has 1 place" in sentence


@pytest.mark.parametrize(
    "rules", [KeyRules(), TWO, SLOW, KeyRules(slots=1, rate=Rate(1, 9.0), share=Share.KEY), KeyRules(slots=9)]
)
@pytest.mark.parametrize("of_key", [OfKey(), OfKey((1, 2)), OfKey((), (3,)), OfKey(bucket=Bucket(NOW + 60))])
@pytest.mark.parametrize("running", [(), holding(1, 2)])
def test_a_job_behind_its_key_never_waits_for_a_slot(
    rules: KeyRules, of_key: OfKey, running: tuple[RunningJob, ...]
) -> None:
    assert re.match("waits for (the rate of )?its key: ", behind(of_key, rules, running))


def test_one_that_has_a_place_waits_for_a_slot_whatever_its_key_says_by_now() -> None:
    lanes = Lanes(2, {"default": 1}, keys={"default": replace(SLOW, slots=1)})
    of_key = OfKey((3, 4), bucket=Bucket(NOW + 3600))
    on_file = OnFile(pending(key="customer:7"), of_key=of_key, running=holding(3))
    assert told(on_file, lanes=lanes) == (
        "job 7 waits for a slot: queue default has 1 slot, taken by job 3, and it is the next of queue default"
    )
    due = replace(on_file, of_key=replace(of_key, has_come_in=False))
    assert "waits for its key: customer:7 has 1 place in queue default" in told(due, lanes=lanes)
    free = replace(due, of_key=OfKey(has_come_in=False))
    assert "waits for a slot: queue default has 1 slot" in told(free, lanes=lanes)


def test_a_job_that_was_told_to_come_later_says_whom_it_holds() -> None:
    at = "job 7 is to be tried again at 14:31:58 UTC, in 5 s: attempt 2 "
    held = replace(scheduled(5, SNOOZED), of_class=Bucket(0.0, NOW + 5, 7))
    assert told(held) == f"{at}was told to come later, and no other of its class starts before"
    by_key = replace(scheduled(5, SNOOZED), of_key=OfKey(bucket=Bucket(0.0, NOW + 5, 7)))
    assert told(by_key) == f"{at}was told to come later, and no other of its key starts before"
    by_another = replace(held, of_class=Bucket(0.0, NOW + 5, 8))
    assert told(by_another) == f"{at}asked for a snooze"
    anew = OnFile(pending(), of_class=Bucket(0.0, NOW + 5, 7))
    assert told(anew) == (
        "job 7 waits: it was told to come later, and no other of its class starts until 14:31:58 UTC, in 5 s"
    )


def test_in_a_queue_that_shares_those_of_its_own_key_are_counted_among_those_before_it() -> None:
    lanes = Lanes(2, {"default": None}, keys={"default": KeyRules(share=Share.KEY)})
    shares = OnFile(pending(key="customer:7", turn=4), ahead=Ahead(17), of_key=OfKey(ahead=Ahead(3)))
    assert told(shares, lanes=lanes) == (
        "job 7 waits for its turn: queue default shares by key, slots are free, and 17 jobs are before it, "
        "3 of them of customer:7"
    )
    full = replace(shares, running=holding(1, 2))
    assert told(full, lanes=lanes).endswith(
        "and 17 jobs are before it in queue default, which shares by key, 3 of them of customer:7"
    )
    without = replace(shares, job=pending(turn=4), of_key=None, ahead=Ahead(2, may_be_more=True))
    assert told(without, lanes=lanes).endswith("slots are free, and 2 jobs or more are before it")
    assert told(replace(full, ahead=Ahead(0, may_be_more=True), of_key=None), lanes=lanes).endswith(
        "and it is among the next of queue default, which shares by key"
    )


def test_a_job_says_when_it_expires_whatever_it_waits_for() -> None:
    expires = {"expires_at": NOW + 60}
    told_of = "; it expires at 14:32:53 UTC, in 1 min, if it has not started by then"
    assert told(scheduled(5, **expires)).endswith(f"14:31:58 UTC, in 5 s{told_of}")
    assert told(OnFile(pending(**expires), running=holding(1, 2))).endswith(f"queue default{told_of}")
    assert "expires" not in told(OnFile(pending(started_at=NOW - 5, **expires)))
    over = told(OnFile(pending(expires_at=NOW - 1), running=holding(1, 2)))
    assert over.endswith("; it expired at 14:31:52 UTC, 1 s ago, and is cancelled in a moment")


def blocked_by(keeper: Keeper, waits_for: int = 1) -> str:
    return told(OnFile(pending(waits_for=waits_for), keeper=keeper)).removeprefix("job 7 waits for ")


def test_a_job_behind_one_that_is_blocked_says_so() -> None:
    keeper = Keeper(Node(Of.JOB, 3), Status.PENDING)
    assert blocked_by(keeper) == "job 3, which has not begun, or waits to be tried again"
    assert blocked_by(replace(keeper, is_blocked=True), 2) == (
        "job 3, which is blocked itself; `bgjob why 3` tells by what, and 1 more"
    )


def test_a_job_behind_a_group_that_ended_badly_is_told_what_helps() -> None:
    group = Group(5, 1, total=2, sealed_at=NOW, ended_at=NOW, cancelled=2)
    keeper = Keeper(Node(Of.GROUP, 5), group=group)
    assert blocked_by(keeper) == "group 5, which failed; `bgjob group 5` says what lets it go on"
    some = replace(keeper, group=replace(group, cancelled=1, failed=1))
    assert blocked_by(some) == "group 5, which failed; `bgjob group 5 --retry` lets it go on"


def test_a_job_behind_an_open_group_that_has_none_left_is_told_of_the_seal() -> None:
    keeper = Keeper(Node(Of.GROUP, 5), group=Group(5, 1, name="pages"))
    assert blocked_by(keeper) == "group 5 (pages), which nobody has sealed; `bgjob group 5 --seal` does"


def test_a_job_that_was_cancelled_for_a_group_leads_to_it() -> None:
    error = "cancelled: group 5, which it came after, failed"
    job = ended(Status.CANCELLED, error=error, cancelled_after="group 5")
    assert told(OnFile(job)).endswith(
        "just now: group 5, which it came after, failed; `bgjob group 5` tells which"
    )


def test_a_job_that_stays_cancelled_says_who_has_its_unique_key() -> None:
    job = ended(Status.CANCELLED, error=f"cancelled: job 9 {HAS_KEY}")
    assert told(OnFile(job)) == (
        "job 7 was cancelled at 14:31:53 UTC, just now, and stays so: job 9 has its unique key"
    )


def test_a_job_whose_own_error_ends_as_that_does_is_one_that_was_stopped() -> None:
    job = ended(Status.CANCELLED, error=f"ValueError: this order {HAS_KEY}")
    assert told(OnFile(job)) == "job 7 was cancelled at 14:31:53 UTC, just now, before its first attempt"


def test_a_class_that_is_approved_no_more_is_told_beside_what_the_job_waits_for() -> None:
    refusal = "myapp.jobs.ExampleJob is not an approved class"
    expected = "its attempt fails as soon as it starts, and is not retried: " + refusal
    assert told(scheduled(5), refusal=refusal).endswith(f"14:31:58 UTC, in 5 s; {expected}")
    assert told(OnFile(pending()), refusal=refusal).endswith(f"it starts in a moment; {expected}")


# Running


def runs(under_way: UnderWay | None, latest: LatestAttempt | None = None, **given: Any) -> str:
    """Of attempt 2, 200 s after it was given its slot."""
    return told(OnFile(running(attempt=2, **given), latest), NOW + 200, under_way=under_way)


BEGUN = UnderWay(pid=4711, began_at=NOW + 1, has_begun=True)
STORED = LatestAttempt(2, 4711, NOW + 1.0)


def test_an_attempt_that_runs_says_since_when_where_and_until_when() -> None:
    began = "job 7 runs: attempt 2 began at 14:31:54 UTC, 3 min ago, pid 4711; "
    assert runs(BEGUN, STORED) == f"{began}it has no timeout"
    assert (
        runs(replace(BEGUN, seconds_left=57.2), STORED, timeout=240.0)
        == f"{began}its timeout of 240 s is over in 57 s"
    )
    assert runs(BEGUN, STORED, timeout=0.5) == f"{began}its timeout is 0.5 s"


def test_a_start_that_is_not_stored_yet_is_told_from_the_journal() -> None:
    assert (
        runs(BEGUN, LatestAttempt(2))
        == "job 7 runs: attempt 2 began at 14:31:54 UTC, 3 min ago, pid 4711; it has no timeout"
    )


def test_a_job_whose_journal_says_nothing_runs_since_its_slot_was_granted() -> None:
    expected = "job 7 runs: attempt 2 began at 14:31:53 UTC, 3 min ago; it has no timeout"
    assert runs(UnderWay(has_begun=True), LatestAttempt(2)) == expected


def test_an_attempt_whose_process_is_not_there_yet_says_so() -> None:
    since = "job 7 has had a slot since 14:31:53 UTC, 3 min ago: "
    assert runs(None) == f"{since}attempt 2 is about to be started"
    assert runs(UnderWay()) == f"{since}the process of attempt 2 has not proved its start yet"


def test_an_attempt_in_line_says_what_goes_before_it() -> None:
    since = "job 7 has had a slot since 14:31:53 UTC, 3 min ago: attempt 2 "
    in_line = UnderWay(is_in_line=True)
    assert (
        runs(in_line) == f"{since}waits for a start before it that goes alone, as it may end the fork server"
    )
    assert runs(in_line, crashes=1) == (
        f"{since}goes alone, once those before it have begun: the last one crashed"
    )
    assert runs(in_line, crashes=2).endswith("the last 2 crashed")
    gone = told(OnFile(running(attempt=2)), under_way=in_line, no_fork_server="it ended (signal 11)")
    assert gone.endswith("attempt 2 waits for a fork server: it ended (signal 11)")


def test_a_result_that_finds_no_room_says_what_it_waits_for() -> None:
    expected = "job 7 has run, and its result waits for room in the spool: attempt 2 began at 14:31:53 UTC, 3 min ago"
    assert runs(UnderWay(has_begun=True, is_waiting=True)) == f"{expected}; it has no timeout"


def test_an_end_that_is_not_stored_says_what_it_waits_for() -> None:
    ends = UnderWay(has_begun=True, ending=COMPLETED)
    expected = "job 7 has run: attempt 2 has ended (completed), and that waits to be stored"
    assert runs(ends) == expected
    broken = told(OnFile(running(attempt=2)), under_way=ends, storage_trouble="disk I/O error")
    assert broken == f"{expected}: the database cannot be written: disk I/O error"


WHY_STOPPED = {
    StopReason.CANCELLED: "is being cancelled: a cancel was requested at 14:35:12 UTC, 1 s ago",
    StopReason.TIMED_OUT: "is being stopped: attempt 2 has run longer than its timeout of 60 s",
    StopReason.SHUTDOWN: "is being stopped: attempt 2 ends with the daemon",
    StopReason.FENCED: "is being stopped: the host of attempt 2 is cut off from the database",
}
HOW_FAR = {
    "its process (pid 4711) was sent TERM, and KILL follows in 4 s": {"sent": "TERM", "seconds_left": 4.2},
    "its process (pid 4711) was sent KILL and has not ended yet": {"sent": "KILL", "seconds_left": 2.0},
    "its process (pid 4711) gets TERM in a moment": {},
}


@pytest.mark.parametrize("reason", StopReason)
@pytest.mark.parametrize("told_of", HOW_FAR)
def test_an_attempt_that_is_stopped_says_why_and_how_far_that_is(reason: StopReason, told_of: str) -> None:
    under_way = replace(BEGUN, stop_reason=reason, **HOW_FAR[told_of])
    asked_at = NOW + 199 if reason is StopReason.CANCELLED else None
    sentence = runs(under_way, STORED, timeout=60.0, cancel_requested_at=asked_at)
    assert sentence == f"job 7 {WHY_STOPPED[reason]}; {told_of}"


def test_a_cancel_that_meets_an_attempt_without_a_process_waits_for_its_start() -> None:
    asked = {"cancel_requested_at": NOW + 199}
    expected = (
        f"job 7 {WHY_STOPPED[StopReason.CANCELLED]}; "
        "its process has not proved its start yet, and gets TERM once it has"
    )
    assert runs(UnderWay(stop_reason=StopReason.CANCELLED), **asked) == expected
    assert runs(UnderWay(), **asked) == expected


# Ended


def test_a_job_whose_starts_ended_their_fork_servers_says_so_and_how_it_starts_again() -> None:
    error = "quarantined: 3 starts in a row ended their fork server (signal 11)"
    on_file = OnFile(ended(Status.FAILED, attempt=3, crashes=3, error=error))
    assert told(on_file, NOW + 7200) == (
        f"job 7 failed at 14:31:53 UTC, 2 h ago: {error} (attempt 3; `bgjob retry 7` has it start again)"
    )


def test_a_job_whose_start_ended_its_fork_server_says_that_the_next_is_alone() -> None:
    waits = pending(attempt=1, crashes=1, scheduled_at=NOW + 2)
    latest = LatestAttempt(1, ended_at=NOW, ending=replace(CRASHED, crash=None))
    assert told(OnFile(waits, latest)).endswith(
        "its fork server ended before it began (signal 11) (attempt 1, which spends no retry, and starts alone then)"
    )


def test_a_completed_job_says_when_and_by_which_attempt() -> None:
    on_file = OnFile(ended(Status.COMPLETED, attempt=3))
    assert told(on_file, NOW + 7200) == "job 7 completed at 14:31:53 UTC, 2 h ago, by attempt 3"
    assert told(on_file, NOW) == "job 7 completed at 14:31:53 UTC, just now, by attempt 3"
    assert told(on_file, NOW - 3600) == "job 7 completed at 13:31:53 UTC, just now, by attempt 3"
    tomorrow = "job 7 completed at 2024-12-04 14:31:53 UTC, 1 day ago, by attempt 3"
    assert told(on_file, NOW + DAY) == tomorrow


@pytest.mark.parametrize(
    ("max_retries", "retry_count", "retries"),
    [
        (0, 0, "it has no retries"),
        (1, 1, "its only retry is spent"),
        (3, 3, "all its 3 retries are spent"),
        (3, 5, "all its 3 retries are spent"),
        (3, 1, "such an end is not retried"),
    ],
)
def test_a_failed_job_says_of_what_and_why_no_retry_follows(
    max_retries: int, retry_count: int, retries: str
) -> None:
    policy = RetryPolicy(max_retries)
    job = ended(Status.FAILED, attempt=4, retry_count=retry_count, policy=policy, error="ValueError: no")
    expected = f"job 7 failed at 14:31:53 UTC, 5 s ago: ValueError: no (attempt 4; {retries})"
    assert told(OnFile(job), NOW + 5) == expected


def test_a_job_for_review_says_so_and_how_a_person_says_what_it_did() -> None:
    assert told(OnFile(for_review()), NOW + 5) == (
        "job 7 failed for review at 14:31:53 UTC, 5 s ago: signalled: the process was ended by signal 9, "
        "and what it did nobody knows; bgjob settle 7"
    )


def test_a_job_that_a_person_has_settled_is_not_said_to_have_completed_by_an_attempt() -> None:
    job = ended(Status.COMPLETED, outcome=Outcome.SIGNALLED)
    assert told(OnFile(job), NOW + 5) == (
        "job 7 was settled as completed at 14:31:53 UTC, 5 s ago, by a person"
    )


def test_a_job_that_comes_after_one_for_review_says_what_that_takes() -> None:
    keeper = Keeper(Node(Of.JOB, 3), Status.FAILED, is_for_review=True)
    assert told(OnFile(pending(waits_for=1), keeper=keeper)) == (
        "job 7 waits for job 3, which failed for review; `bgjob settle 3` says what it did"
    )


def test_a_cancelled_job_says_what_became_of_its_attempt() -> None:
    asked_at = NOW - 10
    job = ended(Status.CANCELLED, attempt=2, cancel_requested_at=asked_at)
    when = "job 7 was cancelled at 14:31:53 UTC, 5 s ago, "

    def cancelled(latest: LatestAttempt | None) -> str:
        return told(OnFile(job, latest), NOW + 5)

    assert cancelled(None) == f"{when}before its first attempt"
    before = LatestAttempt(2, ended_at=asked_at - 1.0, ending=FAILED)
    assert cancelled(before) == f"{when}after attempt 2 and before the next"
    stopped = LatestAttempt(2, ended_at=NOW, ending=STOPPED)
    assert cancelled(stopped) == f"{when}and attempt 2 was stopped"
    failed = LatestAttempt(2, ended_at=NOW, ending=FAILED)
    assert cancelled(failed) == f"{when}and attempt 2 ended: ValueError: no recipient"


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("outcome", [None, *Outcome])
def test_every_status_after_every_outcome_has_a_sentence(status: Status, outcome: Outcome | None) -> None:
    evidence = Ending(outcome or Outcome.LOST, 3, 9, error_type="ValueError", error_message="no recipient")
    latest = None if outcome is None else LatestAttempt(1, 4711, NOW, NOW, evidence)
    job = running().changed(status=status, finished_at=NOW if status.is_final else None)
    for given in (job, job.changed(scheduled_at=NOW + 5), job.changed(cancel_requested_at=NOW)):
        sentence = told(OnFile(given, latest))
        assert sentence.startswith("job 7 ")
        assert "None" not in sentence
        assert "\n" not in sentence


# Several hosts

PLACE = frozenset({"default", "nightly"})
WEB1 = Peer("web1", NOW - 1, 600.0, frozenset({"default"}), frozenset({CALL.class_name}))
WEB2 = Peer("web2", NOW - 1, 600.0, PLACE, frozenset({CALL.class_name}))
WEB3 = replace(WEB2, name="web3")
ON_WEB1 = replace(LANES, host="web1", known=frozenset({CALL.class_name}))
NO_CLASSES = replace(WEB2, classes=frozenset())


@pytest.mark.parametrize(
    ("given", "peers", "told_of"),
    [
        ({"queue": "nightly"}, (WEB1,), "waits: no host that lives has queue nightly"),
        ({"queue": "nightly"}, (WEB1, NO_CLASSES), "waits: no host that lives has its class approved"),
        ({"host_wanted": "web9"}, (WEB1,), "waits: no host that lives is web9, which it asks for"),
        ({"queue": "nightly"}, (WEB1, WEB2, WEB3), "waits for a slot of hosts web2, web3"),
        ({"host_wanted": "web2"}, (WEB1, WEB2, WEB3), "waits for a slot of host web2"),
    ],
)
def test_a_job_that_others_alone_may_start_says_who_or_what_none_of_them_has(
    given: dict[str, Any], peers: tuple[Peer, ...], told_of: str
) -> None:
    full = OnFile(pending(**given), running=holding(8, 9))
    assert told(full, lanes=ON_WEB1, peers=peers, closing=Closing.DRAINING) == f"job 7 {told_of}"
    paused = replace(full, paused_at=NOW - 5)
    assert ("is paused" in told(paused, lanes=ON_WEB1, peers=peers)) is ("slot" in told_of)


def test_a_job_that_others_alone_may_start_says_what_all_hosts_share_before_whose_slots_it_waits_for() -> (
    None
):
    everywhere = holding(8, 9, queue="default", class_name=CALL.class_name)
    there = OnFile(pending(host_wanted="web2"), everywhere=everywhere)
    lanes = replace(ON_WEB1, queues_everywhere={"default": 2})
    full = (
        "queue default has 2 slots on all hosts, taken by jobs 8 and 9, and it is the next of queue default"
    )
    assert told(there, lanes=lanes, peers=(WEB1, WEB2)) == f"job 7 waits for a slot: {full}"
    lanes = replace(ON_WEB1, rates={CALL.class_name: Rate(100, 60.0)})
    used_up = replace(there, of_class=Bucket(NOW + 0.4))
    rate = f"{CALL.class_name} starts 100 in 1 min, next in 0.38 s, and it is the next of queue default"
    assert told(used_up, lanes=lanes, peers=(WEB1, WEB2)) == f"job 7 waits for its rate: {rate}"


def test_a_reason_of_one_host_names_it_where_there_are_others() -> None:
    full = OnFile(pending(), running=holding(8, 9))
    sentence = told(full, lanes=ON_WEB1, peers=(WEB1, WEB2))
    assert sentence.startswith("job 7 waits for a slot: the daemon has 2 slots, taken by jobs 8 and 9")
    assert sentence.endswith(", as host web1 sees it")
    paused = OnFile(pending(), paused_at=NOW - 5)
    assert told(paused, lanes=ON_WEB1, peers=(WEB1,)).endswith("lets it go on")


@pytest.mark.parametrize(
    ("peer", "more"),
    [
        (WEB2, ""),
        (replace(WEB2, seen_at=NOW - 180), ", which has not been seen for 3 min; counts as lost in 7 min"),
        (
            replace(WEB2, seen_at=NOW - 180, lost_after=None),
            ", which has not been seen for 3 min; it counts as lost once somebody says so: `bgjob hosts lost web2`",
        ),
        (
            replace(WEB2, seen_at=NOW - 660, is_lost=True),
            ", which has not been seen for 11 min, and counts as lost",
        ),
    ],
)
def test_a_job_that_runs_on_another_host_says_where_and_what_is_to_be_feared_of_that(
    peer: Peer, more: str
) -> None:
    there = OnFile(running(), LatestAttempt(1, 4711, NOW - 5, host="web2"))
    began = "attempt 1 began at 14:31:48 UTC, 5 s ago, pid 4711"
    assert told(there, lanes=ON_WEB1, peers=(WEB1, peer)) == f"job 7 runs on host web2{more}: {began}"
    unbegun = replace(there, latest=LatestAttempt(1, host="web2"))
    begin = f"job 7 runs on host web2{more}: attempt 1 has had"
    assert told(unbegun, lanes=ON_WEB1, peers=(peer,)).startswith(begin)


def test_a_job_that_is_being_cancelled_on_another_host_says_both() -> None:
    there = OnFile(running(cancel_requested_at=NOW - 2), LatestAttempt(1, 4711, NOW - 5, host="web2"))
    sentence = told(there, lanes=ON_WEB1, peers=(WEB1, WEB2))
    assert sentence.startswith("job 7 is being cancelled: a cancel was requested at ")
    assert sentence.endswith("; it runs on host web2")


def test_a_job_waits_for_slots_that_hosts_share_and_says_who_has_them() -> None:
    everywhere = holding(8, 9, queue="default", class_name=CALL.class_name)
    on_file = OnFile(pending(), running=holding(8), everywhere=everywhere)
    lanes = replace(ON_WEB1, slots=9, queues_everywhere={"default": 2})
    full = "has 2 slots on all hosts, taken by jobs 8 and 9, "
    assert told(on_file, lanes=lanes, peers=(WEB1, WEB2)).startswith(
        f"job 7 waits for a slot: queue default {full}"
    )
    lanes = replace(ON_WEB1, slots=9, classes_everywhere={CALL.class_name: 2})
    assert told(on_file, lanes=lanes, peers=(WEB1, WEB2)).startswith(
        f"job 7 waits for a slot: its class {full}"
    )
    lanes = replace(ON_WEB1, slots=9, queues_everywhere={"default": 3})
    assert "on all hosts" not in told(on_file, lanes=lanes, peers=(WEB1, WEB2))
