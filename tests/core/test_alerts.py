"""What is told, when, and once: alerts that are raised, gathered, quiet, mute, taken up, over; and a model of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest

from bgjobd.core.alerts import (
    DONE,
    HOUR,
    MOST_IN_NOTICE,
    Alert,
    Load,
    Plan,
    Raised,
    Settings,
    Watch,
    compare,
    loads,
    next_change,
    noted,
    partly_seen,
    plan,
    raised,
    told_count_at_end,
    told_subject,
)
from bgjobd.core.need_kinds import (
    DAY,
    MOST,
    USUAL,
    Crashed,
    ForReview,
    Kind,
    MetError,
    Minute,
    Need,
    Queue,
    RisingError,
    Rule,
    Run,
    Seen,
)

NOW = 1_000_000.0
USUALLY = Settings(quiet=HOUR, gather=10.0, most=20)
NEED = Need(Kind.PAUSED, "mail", NOW, "queue mail is paused")
OPEN = Alert(1, "paused", "paused", "mail", NOW, "queue mail is paused", None, 1, raised_at=NOW)
TOLD = replace(OPEN, told_at=NOW + 10, told_count=1)


def planned(
    *stored: Alert,
    at: float,
    told: tuple[tuple[str, str, float], ...] = (),
    mutes: Mapping[str, float] | None = None,
    settings: Settings = USUALLY,
    telling: tuple[str, ...] = ("paused",),
) -> Plan:
    return plan(stored, told, mutes or {}, telling, settings, at)


# What becomes of what was found


def test_what_is_found_first_is_new_and_what_is_open_stays() -> None:
    assert compare([Raised("paused", NEED)], [], ["paused"]).new == (Raised("paused", NEED),)
    assert not any(compare([Raised("paused", NEED)], [OPEN], ["paused"]))


def test_what_is_about_more_jobs_by_now_is_changed_and_other_words_alone_are_not() -> None:
    more = NEED._replace(jobs=7)
    assert compare([Raised("paused", more)], [OPEN], ["paused"]).changed == ((OPEN, more),)
    assert not any(compare([Raised("paused", NEED._replace(sentence="for 5 min"))], [OPEN], ["paused"]))


def test_what_is_found_no_more_is_over_and_of_a_rule_that_is_gone_it_is_dropped() -> None:
    assert compare([], [OPEN], ["paused"]).over == (OPEN,)
    assert compare([], [OPEN], []).dropped == (OPEN,)


def test_what_was_over_and_is_found_again_is_a_new_one() -> None:
    assert compare([Raised("paused", NEED)], [replace(TOLD, cleared_at=NOW + 60)], ["paused"]).new


def test_of_one_error_one_rule_finds_something() -> None:
    error = MetError(14, "OSError", "a.B", NOW, None, 3, 2, NOW)
    seen = Seen("web1", errors=(error,), failures=(error,))
    watches = [Watch("new_error", USUAL[Kind.NEW_ERROR]), Watch("bad", Rule(Kind.FAILED))]
    assert [one.rule for one in raised(watches, seen, NOW)] == ["new_error"]
    assert [one.rule for one in raised(watches, replace(seen, errors=()), NOW)] == ["bad"]


def test_of_one_error_who_asks_for_its_class_is_told_and_not_who_asks_for_all() -> None:
    error = MetError(14, "OSError", "a.B", NOW, None, 3, 2, NOW)
    other = replace(error, id=15, class_name="a.C")
    watches = [Watch("new_error", USUAL[Kind.NEW_ERROR]), Watch("shop", Rule(Kind.NEW_ERROR, job="a.B"))]
    found = raised(watches, Seen("web1", errors=(error, other)), NOW)
    assert [(one.rule, one.need.subject) for one in found] == [("shop", "14"), ("new_error", "15")]


def test_a_class_that_is_held_for_the_code_of_one_host_is_not_for_another_to_let_go() -> None:
    held = replace(OPEN, rule="quarantined", kind="quarantined", subject="a.B", host="web1")
    assert not any(compare([], [held], ["quarantined"], others=["web1"]))
    assert compare([], [held], ["quarantined"]).over == (held,)


HELD = NEED._replace(grade=1)


def test_what_has_come_to_a_higher_grade_is_a_new_one_and_of_the_lower_nobody_hears() -> None:
    changes = compare([Raised("paused", HELD)], [TOLD], ["paused"])
    assert (changes.new, changes.changed, changes.over, changes.dropped) == (
        (Raised("paused", HELD),),
        (),
        (),
        (TOLD,),
    )
    assert not any(compare([Raised("paused", HELD)], [replace(TOLD, grade=1)], ["paused"]))


def test_what_has_come_down_to_a_lower_grade_stays_open_and_is_news_if_it_comes_up_again() -> None:
    high = replace(TOLD, grade=1, rule="paused", host="web1")
    assert compare([Raised("paused", NEED)], [high], ["paused"]).changed == ((high, NEED),)
    assert not any(compare([Raised("paused", NEED)], [high], ["paused"], others=["web1"]))


def test_a_higher_grade_does_not_wait_for_what_was_told_of_a_lower() -> None:
    again = replace(OPEN, id=2, raised_at=NOW + 100, grade=1)
    lower, same = ("paused", "mail", NOW), ("paused", told_subject("mail", 1), NOW)
    assert planned(again, at=NOW + 200, told=(lower,)).tell == (again,)
    assert planned(again, at=NOW + 200, told=(lower, same)) == Plan((), False, NOW + HOUR)


def test_that_there_is_no_code_is_neither_raised_nor_over_while_it_is_loaded_for_the_first_time() -> None:
    watches = [Watch("no_code", USUAL[Kind.NO_CODE])]
    failed = Seen("web1", has_code=False)
    loading = replace(failed, is_loading=True)
    (found,) = raised(watches, failed, NOW)
    assert raised(watches, loading, NOW) == []
    told = replace(TOLD, rule="no_code", kind="no_code", subject=found.need.subject, raised_at=NOW - 10 * DAY)
    assert not any(compare([], [told], ["no_code"], partly=partly_seen(loading, NOW)))
    assert compare([], [told], ["no_code"], partly=partly_seen(Seen("web1"), NOW)).over == (told,)


def test_without_code_nothing_that_depends_on_it_is_over() -> None:
    told = replace(TOLD, rule="unavailable", kind="unavailable", subject="a.B", raised_at=NOW - 10 * DAY)
    for seen, is_over in ((Seen("web1", has_code=False), False), (Seen("web1"), True)):
        assert bool(compare([], [told], ["unavailable"], partly=partly_seen(seen, NOW)).over) is is_over


# When it is told


def test_it_is_told_once_what_comes_beside_it_has_been_gathered() -> None:
    other = replace(OPEN, id=2, subject="reports", raised_at=NOW + 9)
    assert planned(OPEN, other, at=NOW + 9) == Plan((), False, NOW + 10)
    assert planned(OPEN, other, at=NOW + 10) == Plan((OPEN, other), False, None)


def test_what_was_told_is_not_told_again_until_it_is_over() -> None:
    assert planned(TOLD, at=NOW + 10 * HOUR) == Plan((), False, None)
    over = replace(TOLD, cleared_at=NOW + HOUR)
    assert planned(over, at=NOW + HOUR + 10).tell == (over,)
    assert planned(replace(over, told_count=DONE), at=NOW + HOUR + 10) == Plan((), False, None)


def test_of_what_was_over_before_it_was_told_nobody_hears() -> None:
    assert told_count_at_end(OPEN) == DONE
    assert told_count_at_end(TOLD) == 1


def test_the_same_again_waits_until_it_has_been_quiet() -> None:
    again = replace(OPEN, id=2, raised_at=NOW + 100)
    assert planned(again, at=NOW + 200, told=(("paused", "mail", NOW),)) == Plan((), False, NOW + HOUR)
    assert planned(again, at=NOW + HOUR, told=(("paused", "mail", NOW),)).tell == (again,)
    assert planned(again, at=NOW + 200, told=(("paused", "other", NOW),)).tell == (again,)


def test_a_rule_that_is_mute_tells_nothing_until_then_and_one_without_targets_never() -> None:
    assert planned(OPEN, at=NOW + 20, mutes={"paused": NOW + 60}) == Plan((), False, NOW + 60)
    assert planned(OPEN, at=NOW + 60, mutes={"paused": NOW + 60}).tell == (OPEN,)
    assert planned(OPEN, at=NOW + 60, telling=()) == Plan((), False, None)


def test_of_one_that_somebody_has_taken_up_only_its_end_is_told() -> None:
    taken = replace(OPEN, acknowledged_at=NOW + 1)
    assert planned(taken, at=NOW + 60) == Plan((), False, None)
    over = replace(TOLD, acknowledged_at=NOW + 20, cleared_at=NOW + 30)
    assert planned(over, at=NOW + 40).tell == (over,)


def test_an_hour_has_so_many_notices_and_one_more_that_says_that_others_wait() -> None:
    told = tuple(("paused", str(number), NOW - 1800 + number) for number in range(20))
    assert planned(OPEN, at=NOW + 10, told=told[1:]) == Plan((OPEN,), False, None)
    assert planned(OPEN, at=NOW + 10, told=told) == Plan((OPEN,), True, None)
    full = (*told, ("paused", "last", NOW))
    assert planned(OPEN, at=NOW + 10, told=full) == Plan((), False, NOW - 1800 + HOUR)
    assert planned(OPEN, at=NOW + 10 + HOUR, told=full).tell == (OPEN,)


def test_what_was_told_at_once_is_one_notice_of_the_hour() -> None:
    told = tuple(("paused", str(number), NOW) for number in range(1000))
    assert planned(OPEN, at=NOW + 10, told=told).tell == (OPEN,)


def test_a_clock_that_was_set_back_makes_nothing_wait() -> None:
    told = (("paused", "mail", NOW + 10 * HOUR),)
    assert planned(replace(OPEN, raised_at=NOW + 9 * HOUR), at=NOW, told=told).tell != ()


# When to look


@pytest.mark.parametrize(
    ("kind", "seen", "at"),
    [
        (Kind.OLDEST_PENDING, Seen("a", queues=(Queue("mail", oldest_due=NOW - 60),)), NOW + 540),
        (Kind.OLDEST_PENDING, Seen("a", queues=(Queue("mail", True, None, NOW - 60),)), None),
        (Kind.NEW_ERROR, Seen("a", errors=(MetError(1, "E", "a.B", NOW, None, 1, 1),)), NOW + 86_400),
        (Kind.DAEMON, Seen("a", ended_early=NOW - 60), NOW + HOUR - 60),
        (Kind.PAUSED, Seen("a", queues=(Queue("mail", True, None, NOW - 60),)), None),
        (Kind.QUARANTINED, Seen("a", crashed=(Crashed("a.B", 2, NOW - 9, NOW - 5, "no"),)), NOW + 86_395),
        (Kind.FAILURE_RATE, Seen("a", attempts={"a.B": (Minute(NOW - 60, 20, 20),)}), NOW + 840),
        (
            Kind.RISING_ERROR,
            Seen("a", rising=(RisingError(1, "E", "a.B", 9, 0.0, NOW),)),
            NOW - NOW % HOUR + HOUR,
        ),
        (Kind.RISING_ERROR, Seen("a", rising=(RisingError(1, "E", "a.B", 9, 9.0, NOW),)), None),
        (Kind.SLOW, Seen("a", runs=(Run(7, "a.B", "run", NOW - 10, 20.0, 20),)), NOW + 60),
    ],
)
def test_time_alone_is_waited_for_where_it_changes_something(
    kind: Kind, seen: Seen, at: float | None
) -> None:
    found = next_change([Watch(kind, USUAL[kind])], seen, NOW)
    assert found == (None if at is None else pytest.approx(at, abs=1))


def test_a_success_that_does_not_come_is_looked_for_when_it_is_due() -> None:
    rule = Rule(Kind.NO_SUCCESS, job="a.B", within=HOUR)
    seen = Seen("a", loaded={rule: NOW - 60}, successes={"a.B": NOW - 10})
    assert next_change([Watch("nightly", rule)], seen, NOW) == pytest.approx(NOW - 10 + HOUR, abs=1)
    assert next_change([Watch("nightly", rule)], seen, NOW + HOUR) is None


# Since when a rule is there


def test_a_rule_is_there_since_its_first_load_and_one_that_is_gone_is_forgotten() -> None:
    known = loads(["nightly a.B"], {}, [], "web1", NOW)
    assert known == {"nightly a.B": Load(NOW, "web1")}
    assert loads(["nightly a.B"], known, [], "web1", NOW + HOUR) == known
    assert loads(["nightly a.C"], known, [], "web1", NOW + HOUR) == {"nightly a.C": Load(NOW + HOUR, "web1")}
    assert loads([], known, [], "web1", NOW + HOUR) == {}


def test_a_rule_that_another_host_has_is_kept_while_that_lives_and_taken_over_with_its_age() -> None:
    known = {"nightly a.B": Load(NOW, "web1")}
    assert loads([], known, ["web1"], "web2", NOW + HOUR) == known
    assert loads(["nightly a.B"], known, ["web1"], "web2", NOW + HOUR) == known
    assert loads(["nightly a.B"], known, [], "web2", NOW + HOUR) == {"nightly a.B": Load(NOW, "web2")}


def test_where_the_clock_was_set_back_a_rule_begins_anew() -> None:
    assert loads(["r"], {"r": Load(NOW + HOUR, "web1")}, [], "web1", NOW) == {"r": Load(NOW, "web1")}


# What a notice has


def test_a_notice_has_the_first_that_is_open_and_the_others_beside_it() -> None:
    over = replace(TOLD, id=1, cleared_at=NOW)
    told = noted([over, replace(OPEN, id=2, count=4)], "web1", is_full=True)
    assert (told["id"], told["rule"], told["count"], told["cleared"], told["host"]) == (
        2,
        "paused",
        4,
        False,
        "web1",
    )
    (other,) = told["others"] if isinstance(told["others"], list) else ()
    assert (other["id"], other["cleared"]) == (1, True)
    assert "others wait" in str(told["note"])


def test_a_notice_is_bounded() -> None:
    told = noted([replace(OPEN, id=number) for number in range(1, 1001)], "web1")
    assert isinstance(told["others"], list)
    assert (len(told["others"]), told["more"]) == (MOST_IN_NOTICE - 1, 1000 - MOST_IN_NOTICE)


# A model


@dataclass
class World:
    """Needs that come and go, a daemon that looks when it is told to or by chance, and all that it has told."""

    now: float = NOW
    stored: list[Alert] = field(default_factory=list)
    notices: list[tuple[float, tuple[Alert, ...], bool]] = field(default_factory=list)

    def look(self, needed: set[str], settings: Settings) -> float | None:
        found = [Raised("r", Need(Kind.PAUSED, one, self.now, one)) for one in sorted(needed)]
        changes = compare(found, self.stored, ["r"])
        for alert in changes.over:
            self._put(replace(alert, cleared_at=self.now, told_count=told_count_at_end(alert)))
        for one in changes.new:
            self.stored.append(
                Alert(len(self.stored), "r", "paused", one.need.subject, self.now, "", None, 1, self.now)
            )
        told = [("r", alert.subject, at) for at, those, _ in self.notices for alert in those]
        found_plan = plan(self.stored, told, {}, ["r"], settings, self.now)
        for alert in found_plan.tell:
            self._put(
                replace(alert, told_at=self.now, told_count=alert.told_count + 1 if alert.is_open else DONE)
            )
        if found_plan.tell:
            self.notices.append((self.now, found_plan.tell, found_plan.is_full))
        return found_plan.next_at

    def _put(self, alert: Alert) -> None:
        self.stored[alert.id] = alert


@pytest.mark.parametrize("seed", range(12))
def test_whatever_comes_and_goes_each_is_told_once_and_its_end_once_and_no_hour_has_too_many(
    seed: int,
) -> None:
    chance = random.Random(seed)
    settings = Settings(quiet=chance.choice([60.0, 600.0]), gather=10.0, most=chance.choice([2, 5]))
    world, needed = World(), set[str]()
    next_at: float | None = None
    for _ in range(400):
        later = world.now + chance.expovariate(1 / 60)
        world.now = later if next_at is None else min(later, next_at)
        needed ^= {str(chance.randrange(8))} if world.now == later else set()
        next_at = world.look(needed, settings)
        assert next_at is None or next_at > world.now
    begun = Counter(alert.id for _, those, _ in world.notices for alert in those if alert.is_open)
    ended = Counter(alert.id for _, those, _ in world.notices for alert in those if not alert.is_open)
    assert {*begun.values(), *ended.values()} <= {1}
    assert ended.keys() <= begun.keys()
    times = [at for at, _, _ in world.notices]
    assert all(sum(at <= one < at + HOUR for one in times) <= settings.most + 1 for at in times)
    for subject in map(str, range(8)):
        told = [(at, alert) for at, those, _ in world.notices for alert in those if alert.subject == subject]
        begins = [at for at, alert in told if alert.is_open]
        assert all(later - at >= settings.quiet for at, later in pairwise(begins))


def test_a_flood_is_one_notice_and_what_is_needed_for_long_is_told_in_the_end() -> None:
    world, needed = World(), {str(number) for number in range(1000)}
    next_at = world.look(needed, USUALLY)
    assert next_at == NOW + 10
    for step in range(100):
        world.now = NOW + step / 10
        assert world.look(needed, USUALLY) == NOW + 10
    world.now = NOW + 10
    assert world.look(needed, USUALLY) is None
    assert [(at, len(those)) for at, those, _ in world.notices] == [(NOW + 10, 1000)]


def test_of_what_was_partly_seen_nothing_is_over_until_a_day_has_gone() -> None:
    partly = {Kind.PAUSED: NOW - DAY}
    assert not any(compare([], [OPEN], ["paused"], partly=partly))
    assert compare([], [OPEN], ["paused"], partly={Kind.PAUSED: NOW + 1}).over == (OPEN,)
    assert compare([], [OPEN], ["paused"], partly={Kind.HOST: NOW - DAY}).over == (OPEN,)
    assert compare([], [OPEN], [], partly=partly).dropped == (OPEN,)


def test_of_what_was_partly_seen_no_more_than_so_many_are_open() -> None:
    those = [Raised("paused", NEED._replace(subject=str(number))) for number in range(MOST + 9)]
    assert len(compare(those, [OPEN], ["paused"], partly={Kind.PAUSED: NOW - DAY}).new) == MOST - 1
    assert len(compare(those, [OPEN], ["paused"]).new) == MOST + 9


def test_what_was_seen_in_part_is_what_was_asked_for_no_more_of() -> None:
    error = MetError(14, "OSError", "a.B", NOW, None, 3, 2, NOW)
    assert partly_seen(Seen("web1", errors=(error,) * MOST), NOW) == {}
    much = Seen(
        "web1",
        errors=(error,) * (MOST + 1),
        refused={str(number): "no such queue" for number in range(6)},
        review=(ForReview("a.B", 7, NOW, is_more=True),),
    )
    assert partly_seen(much, NOW) == dict.fromkeys(("new_error", "refused", "review"), NOW - DAY)
