"""What needs somebody: of each kind what is found, what is not, and by which rules."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgjob.errors import InvalidParameterError
from bgjob.words import RULES
from bgjobd.core.need_kinds import (
    ASKED,
    KEYS,
    REASONS,
    USUAL,
    Crashed,
    FailedInRow,
    ForReview,
    HeldClass,
    Kind,
    MetError,
    Minute,
    Queue,
    RisingError,
    Rule,
    Run,
    Seen,
    SkippedLast,
)
from bgjobd.core.needs import found, most_of, needs, told
from bgjobd.core.peers import Peer

NOW = 1_000_000.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
WELL = Seen(host="web1")
WAITS = Queue("mail", oldest_due=NOW - HOUR)
RUN = Run(7, "a.B", "run", NOW - 100, p95=20.0, runs=20)
ERROR = MetError(14, "ValueError at a.py:3 in run", "a.B", NOW - HOUR, None, 5, 2, NOW - MINUTE)
SILENT = Peer("web2", NOW - 2 * MINUTE)
DAILY = Rule(Kind.NO_SUCCESS, job="a.B::build", within=25 * HOUR)

RISING = RisingError(15, "OSError at mail.py:88 in send", "a.B", 12, 0.5, NOW - HOUR)

EACH = {
    Kind.STORAGE: replace(WELL, storage_trouble="the database cannot be written: disk full"),
    Kind.NO_CODE: replace(WELL, has_code=False),
    Kind.DAEMON: replace(WELL, ended_early=NOW - MINUTE),
    Kind.UNAVAILABLE: replace(WELL, unavailable={"a.B": "ImportError: no"}),
    Kind.QUARANTINED: replace(
        WELL, held=(HeldClass("a.B", NOW - 9, "10 attempts ended by signal 11", NOW + 40),)
    ),
    Kind.REVIEW: replace(WELL, review=(ForReview("a.B", 2, NOW - 5),)),
    Kind.NEW_ERROR: replace(WELL, errors=(ERROR,)),
    Kind.RISING_ERROR: replace(WELL, rising=(RISING,)),
    Kind.PAUSED: replace(WELL, queues=(replace(WAITS, is_paused=True),)),
    Kind.OLDEST_PENDING: replace(WELL, queues=(WAITS,)),
    Kind.SLOW: replace(WELL, runs=(RUN,)),
    Kind.REFUSED: replace(WELL, refused={"nightly": "no such method"}),
    Kind.MISSED: replace(WELL, skipped=(SkippedLast("nightly", NOW - HOUR, 3, "missed"),)),
    Kind.SCHEDULE_FAILS: replace(WELL, failed_in_row=(FailedInRow("nightly", 3, NOW - HOUR, 9),)),
    Kind.DISK: replace(WELL, disks={"/var": "the disk is nearly full"}),
    Kind.HOST: replace(WELL, peers=(SILENT,)),
}
"""For each kind what has it, and nothing else."""


def kinds(seen: Seen, rule: Rule | None = None) -> list[Kind]:
    return [one.kind for one in (needs(seen, NOW) if rule is None else found(seen, NOW, rule))]


def test_where_all_is_well_nothing_needs_anybody() -> None:
    assert needs(WELL, NOW) == []


USUALLY = [kind for kind in Kind if kind not in ASKED]


@pytest.mark.parametrize("kind", USUALLY)
def test_each_kind_is_found_by_itself(kind: Kind) -> None:
    (need,) = needs(EACH[kind], NOW)
    assert need.kind is kind
    assert need.subject
    assert need.since <= NOW
    assert "\n" not in told(need)


def test_they_come_in_the_order_of_the_kinds() -> None:
    changes = {
        name: getattr(seen, name)
        for seen in EACH.values()
        for name in Seen.__dataclass_fields__
        if getattr(seen, name) != getattr(WELL, name) and name not in ("queues", "refused", "skipped")
    }
    queues = (replace(WAITS, is_paused=True), replace(WAITS, name="other"))
    seen = replace(
        WELL, **changes, queues=queues, refused={"a": "no"}, skipped=(SkippedLast("b", NOW, 1, "missed"),)
    )
    assert kinds(seen) == USUALLY


def test_however_many_there_are_of_a_kind_the_first_of_each_other_one_is_told() -> None:
    unavailable = {f"a.C{number}": "ImportError: no" for number in range(9)}
    seen = replace(WELL, unavailable=unavailable, disks={"/var": "nearly full", "/tmp": "nearly full"})
    told = most_of(needs(seen, NOW), 4)
    assert [one.subject for one in told] == ["a.C0", "a.C1", "a.C2", "/var"]
    assert most_of(needs(seen, NOW), 100) == needs(seen, NOW)


def test_what_degrades_a_daemon_is_what_keeps_jobs_from_running() -> None:
    assert {kind.value for kind in REASONS} == {"storage", "no_code", "unavailable", "refused", "disk"}


@pytest.mark.parametrize(
    "seen",
    [
        replace(WELL, ended_early=NOW - HOUR - 1),
        replace(WELL, fork_server_ends=(NOW - 20, NOW - 10)),
        replace(WELL, fork_server_ends=(NOW - 1000, NOW - 500, NOW - 10)),
        replace(WELL, queues=(Queue("mail", is_paused=True),)),
        replace(WELL, queues=(replace(WAITS, oldest_due=NOW - 599),)),
        replace(WELL, queues=(replace(WAITS, usual_wait=1200.0),)),
        replace(WELL, runs=(replace(RUN, runs=19),)),
        replace(WELL, runs=(replace(RUN, started_at=NOW - 69),)),
        replace(WELL, runs=(replace(RUN, p95=0.001, started_at=NOW - 9),)),
        replace(WELL, failed_in_row=(FailedInRow("nightly", 2, NOW, 9),)),
        replace(WELL, peers=(replace(SILENT, seen_at=NOW - 59),)),
        replace(WELL, peers=(replace(SILENT, has_left=True),)),
        replace(WELL, peers=(replace(SILENT, is_lost=True),)),
    ],
)
def test_what_is_over_or_usual_or_not_for_long_is_no_need(seen: Seen) -> None:
    assert needs(seen, NOW) == []


def test_three_fork_servers_in_ten_minutes_need_somebody_for_an_hour() -> None:
    ends = (NOW - HOUR, NOW - HOUR + 100, NOW - HOUR + 599)
    assert kinds(replace(WELL, fork_server_ends=ends)) == [Kind.DAEMON]
    assert needs(replace(WELL, fork_server_ends=ends), NOW + 1) == []


def test_of_a_class_that_is_held_its_crashed_jobs_are_not_told_as_well() -> None:
    crashed = Crashed("a.B", 3, NOW - 9, NOW - 5, "signal 11")
    (need,) = needs(replace(EACH[Kind.QUARANTINED], crashed=(crashed,)), NOW)
    assert need.sentence.startswith("a.B is held")
    (need,) = needs(replace(WELL, crashed=(crashed,)), NOW)
    assert need.sentence == "3 jobs were given up of a.B: signal 11"


def test_a_class_that_is_held_is_of_a_higher_grade_unless_somebody_has_asked_for_that() -> None:
    (held,) = EACH[Kind.QUARANTINED].held
    crashed = Crashed(held.class_name, 3, NOW - 60, NOW, "3 attempts in a row")
    by_state = {
        "given up": Seen("web1", crashed=(crashed,)),
        "held": Seen("web1", held=(replace(held, is_asked=False),)),
        "asked for": Seen("web1", held=(replace(held, is_asked=True),)),
    }
    told = {state: needs(seen, NOW)[0] for state, seen in by_state.items()}
    assert {state: need.grade for state, need in told.items()} == {"given up": 0, "held": 1, "asked for": 0}
    assert len({need.subject for need in told.values()}) == 1


def test_a_subject_is_bounded_and_still_one_for_each() -> None:
    paths = [f"/srv/{'é' * 4000}{end}" for end in "ab"]
    found = needs(Seen("web1", disks={**dict.fromkeys(paths, "is full"), "/srv": "is full"}), NOW)
    assert len({need.subject for need in found}) == 3
    assert all(len(need.subject.encode()) <= 500 for need in found)


def test_of_a_held_class_a_trial_is_not_told_as_to_come_once_its_time_has_gone() -> None:
    (held,) = EACH[Kind.QUARANTINED].held
    assert "; next trial at " in told(*needs(replace(WELL, held=(held,)), NOW))
    late = replace(held, next_try_at=NOW)
    assert "signal 11; its next job is a trial; " in told(*needs(replace(WELL, held=(late,)), NOW))


def test_of_a_class_that_somebody_holds_it_is_told_who_has_asked() -> None:
    held = HeldClass("a.B", NOW - 9, "as uid 7 has asked", is_asked=True)
    (need,) = needs(replace(WELL, held=(held,)), NOW)
    assert need.sentence == "a.B is held, as uid 7 has asked"


def test_of_a_method_all_slow_jobs_are_one_need_and_the_longest_is_named() -> None:
    other = replace(RUN, job_id=9, started_at=NOW - 200)
    (need,) = needs(replace(WELL, runs=(RUN, other)), NOW)
    assert (need.subject, need.since) == ("a.B::run", NOW - 130)
    assert "job 9 of a.B::run has run for 3 min, 10 times as long as 95 of 100, and 1 more" in need.sentence


def test_of_many_schedules_that_are_refused_some_are_told() -> None:
    *some, others = needs(replace(WELL, refused={f"c/{number}": "no" for number in range(100)}), NOW)
    assert [one.subject for one in some] == ["c/0", "c/1", "c/2", "c/3", "c/4"]
    assert "`bgjob schedules`" in told(others)


def test_an_occurrence_that_was_refused_is_not_told_beside_its_schedule() -> None:
    skipped = (SkippedLast("nightly", NOW, 1, "refused"),)
    assert kinds(replace(WELL, refused={"nightly": "no"}, skipped=skipped)) == [Kind.REFUSED]


def test_what_tells_no_time_is_needed_since_it_was_seen_first() -> None:
    seen = EACH[Kind.NO_CODE]
    (first,) = needs(seen, NOW)
    (later,) = needs(replace(seen, known_since={(first.kind, first.subject): first.since}), NOW + HOUR)
    assert (first.since, later.since) == (NOW, NOW)


def test_what_is_no_rule_is_answered_with_those_that_each_daemon_has() -> None:
    assert list(RULES) == USUALLY
    assert str(InvalidParameterError(parameter="rule")).endswith(", schedule_fails, disk, host")


def test_what_only_a_rule_asks_for_is_not_found_by_itself() -> None:
    minutes = {"a.B": (Minute(NOW - MINUTE, 100, 99),)}
    seen = replace(WELL, failures=(ERROR,), attempts=minutes)
    assert needs(seen, NOW) == []
    (failed,) = found(seen, NOW, Rule(Kind.FAILED))
    assert (failed.subject, failed.jobs) == ("14", 2)
    (rate,) = found(seen, NOW, USUAL[Kind.FAILURE_RATE])
    assert (rate.subject, rate.jobs) == ("a.B", 99)
    assert rate.sentence == "99% of 100 attempts of a.B ended badly within 15 min 0 s"


def test_what_a_rule_asks_for_is_in_the_list_and_of_an_error_once() -> None:
    seen = replace(WELL, failures=(ERROR,), loaded={DAILY: NOW - 9 * DAY})
    asked = [DAILY, Rule(Kind.FAILED)]
    assert [one.kind for one in needs(seen, NOW, asked=asked)] == [Kind.FAILED, Kind.NO_SUCCESS]
    both = needs(replace(seen, errors=(ERROR,)), NOW, asked=asked)
    assert [one.kind for one in both] == [Kind.NEW_ERROR, Kind.NO_SUCCESS]


@pytest.mark.parametrize(
    ("failed", "usual", "words"),
    [
        (5, 0.0, "5 jobs failed by OSError at mail.py:88 in send in the last hour, usually none"),
        (12, 0.5, "12 jobs failed by OSError at mail.py:88 in send in the last hour, usually 0.5"),
        (3000, 999.6, "3,000 jobs failed by OSError at mail.py:88 in send in the last hour, usually 1,000"),
        (4, 0.0, None),
        (14, 5.0, None),
        (100, None, None),
    ],
)
def test_an_error_rises_that_fails_several_times_as_many_jobs_as_in_its_usual_hour(
    failed: int, usual: float | None, words: str | None
) -> None:
    seen = replace(WELL, rising=(replace(RISING, failed=failed, usual=usual),))
    assert [one.sentence for one in needs(seen, NOW)] == ([] if words is None else [words])


def test_an_error_that_is_new_is_not_told_as_rising_too() -> None:
    seen = replace(WELL, errors=(ERROR,), rising=(replace(RISING, id=ERROR.id),), failures=(ERROR,))
    assert [one.kind for one in needs(seen, NOW, asked=[Rule(Kind.FAILED)])] == [Kind.NEW_ERROR]
    seen = replace(seen, errors=())
    assert [one.kind for one in needs(seen, NOW, asked=[Rule(Kind.FAILED)])] == [Kind.RISING_ERROR]


@pytest.mark.parametrize(
    ("minutes", "is_found"),
    [
        ([Minute(NOW - MINUTE, 20, 5)], True),
        ([Minute(NOW - MINUTE, 20, 4)], False),
        ([Minute(NOW - MINUTE, 19, 19)], False),
        ([Minute(NOW - 16 * MINUTE, 20, 20)], False),
        ([Minute(NOW - 2 * MINUTE, 10, 5), Minute(NOW - MINUTE, 10, 5)], True),
    ],
)
def test_a_rate_of_failures_counts_the_last_minutes_of_a_class_that_has_run_often_enough(
    minutes: list[Minute], is_found: bool
) -> None:
    seen = replace(WELL, attempts={"a.B": tuple(minutes)})
    assert kinds(seen, USUAL[Kind.FAILURE_RATE]) == [Kind.FAILURE_RATE] * is_found


def test_whatever_has_a_usual_number_is_a_key_of_its_kind() -> None:
    for kind, rule in USUAL.items():
        numbers = {
            name for name in Rule.__dataclass_fields__ if getattr(rule, name) != getattr(Rule(kind), name)
        }
        assert numbers <= KEYS[kind] <= Rule.__dataclass_fields__.keys()


@pytest.mark.parametrize(
    ("loaded", "last", "since"),
    [
        (NOW - 25 * HOUR, None, NOW),
        (NOW - 24 * HOUR, None, None),
        (NOW - 9 * DAY, NOW - 26 * HOUR, NOW - HOUR),
        (NOW - 9 * DAY, NOW - 24 * HOUR, None),
        (NOW - 24 * HOUR, NOW - 9 * DAY, None),
        (NOW - 9 * DAY, NOW + 24 * HOUR, None),
        (NOW - 26 * HOUR, NOW + 9 * DAY, NOW - HOUR),
        (NOW + 9 * DAY, None, None),
        (None, None, None),
    ],
)
def test_a_success_is_waited_for_from_the_last_one_or_the_rules_beginning_and_not_from_a_wrong_clock(
    loaded: float | None, last: float | None, since: float | None
) -> None:
    seen = replace(
        WELL,
        loaded={} if loaded is None else {DAILY: loaded},
        successes={} if last is None else {"a.B::build": last},
    )
    assert [one.since for one in found(seen, NOW, DAILY)] == ([] if since is None else [since])


def test_a_success_that_does_not_come_is_told_with_the_last_one() -> None:
    seen = replace(WELL, loaded={DAILY: NOW - 9 * DAY})
    (never,) = found(seen, NOW, DAILY)
    assert never.sentence == "no job of a.B::build has completed within 1 d 1 h: none has so far"
    (need,) = found(replace(seen, successes={"a.B::build": NOW - 2 * DAY}), NOW, DAILY)
    assert (need.subject, need.sentence[-39:]) == (
        "a.B::build", "the last did at 1970-01-10 13:46:40 UTC"
    )  # fmt: skip
    assert need.hint == "`bgjob list --class a.B` has what became of its jobs"


@pytest.mark.parametrize(
    ("kind", "asked", "is_found"),
    [
        (Kind.REVIEW, {"job": "a.B"}, True),
        (Kind.REVIEW, {"job": "a.C"}, False),
        (Kind.SLOW, {"job": "a.B::run"}, True),
        (Kind.SLOW, {"job": "a.B::stop"}, False),
        (Kind.SLOW, {"times": 5.0}, False),
        (Kind.SLOW, {"least": 21}, False),
        (Kind.OLDEST_PENDING, {"queue": "mail"}, True),
        (Kind.OLDEST_PENDING, {"queue": "other"}, False),
        (Kind.OLDEST_PENDING, {"longer": 2 * HOUR}, False),
        (Kind.PAUSED, {"queue": "other"}, False),
        (Kind.MISSED, {"schedule": "nightly"}, True),
        (Kind.MISSED, {"schedule": "other"}, False),
        (Kind.SCHEDULE_FAILS, {"last": 4}, False),
        (Kind.HOST, {"longer": HOUR}, False),
    ],
)
def test_a_rule_asks_for_other_numbers_or_for_some_alone(
    kind: Kind, asked: dict[str, str | float], is_found: bool
) -> None:
    assert kinds(EACH[kind], replace(USUAL[kind], **asked)) == [kind] * is_found  # type: ignore[arg-type]  # by name


def test_of_new_errors_those_come_first_by_which_most_jobs_failed() -> None:
    errors = tuple(replace(ERROR, id=id, failed=failed) for id, failed in ((1, 0), (2, 17), (3, 2), (4, 17)))
    assert [one.subject for one in needs(replace(WELL, errors=errors), NOW)] == ["2", "4", "3", "1"]
