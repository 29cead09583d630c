"""What becomes of occurrences: each is dealt with once, by the rules of its schedule and how that stands."""

from __future__ import annotations

from itertools import islice, pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgjobd.core.calendar import Cron, Every
from bgjobd.core.schedules import (
    Calendar,
    Due,
    Missed,
    Overlap,
    Reason,
    Rules,
    Skipped,
    Span,
    Standing,
    Unfinished,
    Verdict,
    Wanted,
    decide,
    due,
    jitter_of,
    left_at,
    left_of,
    span_of,
    spans_of,
    surplus_of,
)

NOW = 10_000.0
RUNS = Unfinished(5, is_running=True)
STANDS = {"idle": (), "running": (RUNS,), "one waits": (RUNS, Unfinished(6, is_blocked=True))}

# Of two occurrences, one too late, one in time, what becomes where nothing else is to be said.
W, M, O = "job", Reason.MISSED, Reason.OVERLAP  # noqa: E741
CELLS = {
    (Missed.SKIP, Overlap.SKIP, "idle"): (M, W),
    (Missed.SKIP, Overlap.SKIP, "running"): (M, O),
    (Missed.SKIP, Overlap.SKIP, "one waits"): (M, O),
    (Missed.SKIP, Overlap.ALLOW, "idle"): (M, W),
    (Missed.SKIP, Overlap.ALLOW, "running"): (M, W),
    (Missed.SKIP, Overlap.ALLOW, "one waits"): (M, W),
    (Missed.SKIP, Overlap.WAIT, "idle"): (M, W),
    (Missed.SKIP, Overlap.WAIT, "running"): (M, "waits"),
    (Missed.SKIP, Overlap.WAIT, "one waits"): (M, O),
    (Missed.SKIP, Overlap.CANCEL, "idle"): (M, W),
    (Missed.SKIP, Overlap.CANCEL, "running"): (M, "waits, 5 cancelled"),
    (Missed.SKIP, Overlap.CANCEL, "one waits"): (M, "waits, 5 6 cancelled"),
    (Missed.RUN_ALL, Overlap.ALLOW, "idle"): (W, W),
    (Missed.RUN_ALL, Overlap.ALLOW, "running"): (W, W),
    (Missed.RUN_ALL, Overlap.ALLOW, "one waits"): (W, W),
    (Missed.RUN_ALL, Overlap.WAIT, "idle"): (W, "waits"),
    (Missed.RUN_ALL, Overlap.WAIT, "running"): ("waits", O),
    (Missed.RUN_ALL, Overlap.WAIT, "one waits"): ("waits", O),
}
CELLS |= {(Missed.RUN_ONCE, *rest): cell for (missed, *rest), cell in CELLS.items() if missed is Missed.SKIP}


def told(verdict: Verdict) -> str | Reason:
    if isinstance(verdict, Skipped):
        return verdict.reason
    cancelled = f", {' '.join(map(str, verdict.cancels))} cancelled" if verdict.cancels else ""
    return ("job" if verdict.after is None else "waits") + cancelled


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "-".join(cell))
def test_each_cell_of_missed_and_overlap(cell: tuple[Missed, Overlap, str]) -> None:
    missed, overlap, stands = cell
    standing = Standing(next_id=7, unfinished=STANDS[stands])
    rules = Rules(missed, overlap)
    verdicts = decide(Due(None, (NOW - 61, NOW), NOW), rules, standing, NOW)
    assert tuple(map(told, verdicts)) == CELLS[cell]


@pytest.mark.parametrize(("missed", "overlap"), list(product(Missed, Overlap)))
@pytest.mark.parametrize(("how", "reason"), [("is_paused", Reason.PAUSED), ("is_refused", Reason.REFUSED)])
def test_nothing_runs_of_a_schedule_that_is_paused_or_refused(
    missed: Missed, overlap: Overlap, how: str, reason: Reason
) -> None:
    standing = Standing(next_id=7, unfinished=(RUNS,), **{how: True})
    of_all = Due(Span(1.0, 3.0, 3), (NOW - 61, NOW), NOW)
    verdicts = decide(of_all, Rules(missed, overlap), standing, NOW)
    assert verdicts == [Skipped(Span(1.0, NOW, 5), reason)]


def test_the_newest_of_those_that_were_missed_runs_where_one_is_to() -> None:
    verdicts = decide(Due(Span(1.0, 3.0, 3), (4.0,), 4.0), Rules(), Standing(next_id=7), NOW)
    assert verdicts == [Skipped(Span(1.0, 3.0, 3), Reason.MISSED), Wanted(4.0, 7)]


def test_missed_ones_wait_in_a_row_where_all_are_to_run() -> None:
    rules = Rules(Missed.RUN_ALL, Overlap.WAIT)
    verdicts = decide(Due(None, (1.0, 2.0, 3.0), NOW), rules, Standing(next_id=7), NOW)
    assert verdicts == [Wanted(1.0, 7), Wanted(2.0, 8, after=7), Wanted(3.0, 9, after=8)]


def test_one_that_waits_is_cancelled_for_a_newer_one_of_the_same_moment() -> None:
    verdicts = decide(
        Due(None, (NOW - 1, NOW), NOW), Rules(overlap=Overlap.CANCEL), Standing(7, unfinished=(RUNS,)), NOW
    )
    assert verdicts == [
        Wanted(NOW - 1, 7, after=5, cancels=(5,)),
        Wanted(NOW, 8, after=5, cancels=(7,)),
    ]


def test_a_full_queue_skips_and_cancels_nothing() -> None:
    rules = Rules(overlap=Overlap.CANCEL)
    full = Standing(7, unfinished=(RUNS,), room=0)
    assert decide(Due(None, (NOW,), NOW), rules, full, NOW) == [Skipped(Span(NOW, NOW), Reason.QUEUE_FULL)]
    pending = Standing(7, unfinished=(Unfinished(5),), room=0)  # which leaves its place
    assert decide(Due(None, (NOW,), NOW), rules, pending, NOW) == [Wanted(NOW, 7, cancels=(5,))]


@pytest.mark.parametrize(
    ("job", "room"),
    [(Unfinished(5, is_elsewhere=True), 0), (Unfinished(5), -1), (Unfinished(5, is_elsewhere=True), -1)],
)
def test_a_queue_is_as_full_when_what_is_cancelled_waits_in_another_or_more_wait_than_may(
    job: Unfinished, room: int
) -> None:
    standing = Standing(7, unfinished=(job,), room=room)
    verdicts = decide(Due(None, (NOW,), NOW), Rules(overlap=Overlap.CANCEL), standing, NOW)
    assert verdicts == [Skipped(Span(NOW, NOW), Reason.QUEUE_FULL)]


def test_a_queue_takes_as_many_as_it_has_room_for() -> None:
    verdicts = decide(
        Due(None, (NOW - 2, NOW - 1, NOW), NOW), Rules(overlap=Overlap.ALLOW), Standing(7, room=1), NOW
    )
    assert verdicts == [Wanted(NOW - 2, 7), Skipped(Span(NOW - 1, NOW, 2), Reason.QUEUE_FULL)]


def test_the_first_that_becomes_a_job_holds_their_unique_key_for_the_next_ones() -> None:
    standing = Standing(7, has_key=True)
    verdicts = decide(Due(None, (NOW - 2, NOW - 1, NOW), NOW), Rules(overlap=Overlap.ALLOW), standing, NOW)
    assert verdicts == [Wanted(NOW - 2, 7), Skipped(Span(NOW - 1, NOW, 2), Reason.HELD, 7)]


@pytest.mark.parametrize(("holder", "is_held"), [(Unfinished(5), False), (RUNS, True), (Unfinished(6), True)])
def test_a_pending_job_that_is_cancelled_for_the_next_gives_it_the_unique_key(
    holder: Unfinished, is_held: bool
) -> None:
    standing = Standing(7, unfinished=(holder,), has_key=True, held_by=5)
    (verdict,) = decide(Due(None, (NOW,), NOW), Rules(overlap=Overlap.CANCEL), standing, NOW)
    assert (verdict == Skipped(Span(NOW, NOW), Reason.HELD, 5)) is is_held


def test_a_skip_names_the_job_that_has_not_ended() -> None:
    verdicts = decide(Due(None, (NOW - 1, NOW), NOW), Rules(), Standing(7, unfinished=(RUNS,)), NOW)
    assert verdicts == [Skipped(Span(NOW - 1, NOW, 2), Reason.OVERLAP, 5)]


def last(found: object) -> Due:
    *_, found = found  # type: ignore[misc]  # an iterator
    assert isinstance(found, Due)
    return found


def test_of_two_months_of_minutes_one_is_left_to_run_and_the_others_are_counted() -> None:
    minutes = 60 * 1440
    now = minutes * 60.0 + 90
    looked = list(due(Every(60.0).after(0.0), (), Rules(), now))
    assert looked.count(None) == minutes // 100
    assert looked[-1] == Due(
        Span(60.0, minutes * 60.0 - 60.0, minutes - 1),
        (minutes * 60.0, minutes * 60.0 + 60),
        minutes * 60.0 + 60,
    )


@given(
    st.sampled_from(Missed),
    st.sampled_from(Overlap),
    st.integers(0, 3),
    st.floats(0, 400),
    st.integers(0, 2500),
    st.one_of(st.none(), st.integers(0, 5)),
    st.booleans(),
)
def test_each_occurrence_is_dealt_with_once(
    missed: Missed, overlap: Overlap, limit: int, late: float, span: int, room: int | None, is_paused: bool
) -> None:
    rules = Rules(missed, overlap, late, limit)
    dealt: list[Verdict] = []
    cursor = 0.0
    while cursor < span:
        counted = surplus_of(Every(1.0), cursor, (), rules, float(span))
        begin = cursor if counted is None else counted.until
        of = last(due(Every(1.0).after(begin), (), rules, float(span), counted))
        assert of == last(due(Every(1.0).after(cursor), (), rules, float(span)))
        dealt += decide(of, rules, Standing(7, is_paused=is_paused, room=room), float(span))
        cursor = of.until
    spans = [one.span if isinstance(one, Skipped) else Span(one.at, one.at) for one in dealt]
    assert sum(one.count for one in spans) == span
    assert all(one.until - one.at + 1 == one.count for one in spans)
    assert all(earlier.until + 1 == later.at for earlier, later in pairwise(spans))


def test_one_that_became_a_job_before_the_clock_was_set_back_is_passed_over() -> None:
    rules, known = Rules(Missed.RUN_ALL, Overlap.ALLOW), {3.0}
    assert last(due(Every(1.0).after(0.0), known, rules, 5.0)) == Due(None, (1.0, 2.0), 3.0)
    assert last(due(Every(1.0).after(2.0), known, rules, 5.0)) == Due(None, (), 3.0)
    assert last(due(Every(1.0).after(3.0), known, rules, 5.0)) == Due(None, (4.0, 5.0), 5.0)
    assert list(due(Every(1.0).after(5.0), known, rules, 5.0)) == [None]


@given(
    st.sampled_from([Every(7.0), Cron("*/7 * * * *"), Cron("30 2 * * 1")]),
    st.integers(0, 10**6),
    st.integers(1, 50),
    st.integers(0, 60),
)
def test_of_a_span_that_is_cut_each_is_counted(calendar: Calendar, since: int, many: int, cut: int) -> None:
    occurrences = list(islice(calendar.after(float(since)), many))
    now = occurrences[min(cut, many - 1)] + 0.5
    left = [at for at in occurrences if at <= now]
    span = Span(occurrences[0], occurrences[-1], many)
    assert left_at(calendar, span, now) == Span(left[0], left[-1], len(left))


@settings(deadline=None)  # a busy machine is no error
@given(st.sampled_from(Missed), st.integers(0, 3), st.integers(0, 600), st.integers(2, 5 * 1440))
def test_what_is_counted_by_the_day_is_what_is_counted_one_by_one(
    missed: Missed, limit: int, late: int, minutes: int
) -> None:
    rules, now, calendar = (
        Rules(missed, late=float(late), missed_limit=limit),
        minutes * 60.0,
        Cron("* * * * *"),
    )
    counted = surplus_of(calendar, 0.0, (), rules, now)
    begin = 0.0 if counted is None else counted.until
    assert last(due(calendar.after(begin), (), rules, now, counted)) == last(
        due(calendar.after(0.0), (), rules, now)
    )


@pytest.mark.parametrize(
    ("rules", "surplus", "instants"),
    [
        (Rules(Missed.RUN_ALL, late=9.0, missed_limit=1000), Span(1.0, 490.0, 490), range(491, 1500)),
        (Rules(Missed.RUN_ALL, late=1500.0), None, range(1, 1500)),
        (Rules(Missed.RUN_ONCE, late=250.0), Span(1.0, 1248.0, 1248), range(1249, 1500)),
        (Rules(Missed.SKIP, late=250.0), Span(1.0, 1249.0, 1249), range(1250, 1500)),
    ],
)
def test_many_are_dealt_with_a_hundred_at_once_the_same_as_all_together(
    rules: Rules, surplus: Span | None, instants: range
) -> None:
    found = [last(due(Every(1.0).after(0.0), (), rules, 1499.5))]
    while found[-1].until < 1499:
        found.append(last(due(Every(1.0).after(found[-1].until), (), rules, 1499.5)))
    assert [one.surplus for one in found] == [surplus, *[None] * (len(found) - 1)]
    assert [at for one in found for at in one.instants] == list(map(float, instants))
    assert {len(one.instants) for one in found[:-1]} == {100}
    assert all(one.until == one.instants[-1] for one in found)


def test_a_year_of_seconds_is_counted_at_once() -> None:
    counted = surplus_of(Every(1.0), 0.0, (), Rules(), 3e7)
    assert counted is not None
    *_, found = due(Every(1.0).after(counted.until), (), Rules(), 3e7, counted)
    late, *in_time = [3e7 - at for at in range(61, -1, -1)]
    assert found == Due(Span(1.0, late - 1, int(late) - 1), (late, *in_time), 3e7)


def test_where_a_newer_one_ran_before_the_clock_was_set_back_none_that_was_missed_does() -> None:
    rules = Rules(Missed.RUN_ONCE, Overlap.ALLOW, late=1.0)
    assert last(due(Every(1.0).after(0.0), {4.0}, rules, 9.0)) == Due(Span(1.0, 3.0, 3), (), 4.0)
    assert last(due(Every(1.0).after(0.0), {4.0}, rules, 4.0)) == Due(Span(1.0, 2.0, 2), (3.0,), 4.0)


def test_those_up_to_one_that_became_a_job_are_counted_at_once() -> None:
    rules, known = Rules(Missed.RUN_ONCE), {10.0, 1e6, 2e6}
    assert surplus_of(Every(1.0), 10.0, known, rules, 3e7) == Span(11.0, 999_998.0, 999_988)
    assert surplus_of(Every(1.0), 2e6, known, rules, 3e7) is not None


def test_a_span_counts_those_up_to_an_instant() -> None:
    assert span_of(Every(2.0), 0.0, 7.0) == Span(2.0, 6.0, 3)
    assert span_of(Every(2.0), 0.0, 1.0) is None
    assert span_of(Cron("0 0 * * *"), 0.0, 4e8) == Span(86_400.0, 4629 * 86_400.0, 4629)


def test_what_is_known_cuts_a_span() -> None:
    cut = [Span(2.0, 2.0), None, Span(8.0, 8.0)]
    assert list(spans_of(Every(2.0), 0.0, 9.0, {4.0, 6.0, 12.0})) == cut
    assert list(spans_of(Every(2.0), 0.0, 9.0, {3.0})) == [Span(2.0, 2.0), Span(4.0, 8.0, 3)]
    left = left_of(Cron("* * * * *"), Span(60.0, 300.0, 5), {60.0, 180.0})
    assert list(left) == [None, Span(120.0, 120.0), Span(240.0, 300.0, 2)]


def test_jitter_follows_from_name_and_occurrence() -> None:
    parts = [jitter_of("nightly", float(at), 300.0) for at in range(1000)]
    assert parts == [jitter_of("nightly", float(at), 300.0) for at in range(1000)]
    assert min(parts) < 10.0
    assert 290.0 < max(parts) < 300.0
    assert jitter_of("weekly", 1.0, 300.0) != parts[1]
