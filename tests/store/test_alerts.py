"""Alerts in the file: raised once, told by a job in the same transaction, over, taken up, mute, forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bgjob.fingerprints import Whence
from bgjobd.core.alerts import Alert, Load, Raised, Settings, Watch, raised
from bgjobd.core.facts import Submitted
from bgjobd.core.job import Call, Ending, RetryPolicy
from bgjobd.core.need_kinds import DAY, MOST, USUAL, Kind, Need, Rule, Seen
from bgjobd.core.planner import BESIDE, Lanes
from bgjobd.store.items.alerts import (
    AlertAcknowledged,
    AlertsLooked,
    AlertsMuted,
    AlertsTested,
    AlertsTold,
    AlertTrimming,
    Teller,
)
from bgjobd.store.items.daemons import Look
from bgjobd.store.reader import Reader
from tests.store.samples import COMPLETED, NOW, Row, Store, asked, ends, text

GATHER, HOUR = 10.0, 3600.0
JOB = Submitted(
    id=0,
    call=Call("bgjob.alerts.Notice", "command", "{}", ()),
    retry_count=0,
    policy=RetryPolicy(),
    queue=BESIDE,
)
NEED = Need(Kind.PAUSED, "mail", NOW - 60, "queue mail is paused", "resume it")


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    reader = Reader(store.state_dir)
    yield reader
    reader.close()


def looked(*subjects: str, **given: Any) -> AlertsLooked:
    """A look that finds these queues paused."""
    found = tuple(Raised("paused", NEED._replace(subject=one)) for one in subjects)
    usual = AlertsLooked(
        found=found,
        rules={"paused": ("script", "journal")},
        tellers={"script": Teller({"argv": ["/bin/page"]}, JOB)},
        settings=Settings(quiet=HOUR, gather=GATHER, most=20),
        host="web1",
        uid=0,
    )
    return replace(usual, **given)


def look(store: Store, *subjects: str, **given: Any) -> AlertsTold:
    told = store.answer(looked(*subjects, **given))
    assert isinstance(told, AlertsTold), told
    return told


def rows(store: Store) -> list[Row]:
    return store.rows("SELECT * FROM alerts ORDER BY id")


def notices(store: Store) -> list[dict[str, Any]]:
    found = store.rows("SELECT parameters FROM background_jobs WHERE queue = ? ORDER BY id", BESIDE)
    return [json.loads(row["parameters"]) for row in found]


def test_what_is_found_is_raised_once_and_told_once_by_a_job_of_the_same_transaction(store: Store) -> None:
    assert look(store, "mail").next_at == pytest.approx(NOW + GATHER)
    store.now += GATHER
    told = look(store, "mail", "nightly")
    assert [alert.subject for alert in told.told] == ["mail", "nightly"]
    store.now += HOUR
    assert look(store, "mail", "nightly") == AlertsTold()
    mail, nightly = rows(store)
    assert (mail["raised_at"], mail["told_at"], mail["told_count"]) == (text(NOW), text(NOW + GATHER), 1)
    assert nightly["told_at"] == text(NOW + GATHER)
    (parameters,) = notices(store)
    assert parameters["argv"] == ["/bin/page"]
    notice = parameters["notice"]
    assert (notice["id"], notice["message"], notice["since"], notice["host"]) == (
        mail["id"], "queue mail is paused", text(NOW - 60), "web1",
    )  # fmt: skip
    assert [one["subject"] for one in notice["others"]] == ["nightly"]


def test_what_is_found_no_more_is_over_and_that_is_told(store: Store) -> None:
    look(store, "mail")
    store.now += GATHER
    look(store, "mail")
    store.now += 60
    assert look(store).told == ()
    store.now += GATHER
    (over,) = look(store).told
    assert (over.subject, over.is_open) == ("mail", False)
    assert [one["notice"]["cleared"] for one in notices(store)] == [False, True]
    assert rows(store)[0]["end_told_at"] == text(store.now)


def test_what_comes_to_a_higher_grade_is_told_at_once_and_its_end_once(store: Store) -> None:
    held = (Raised("paused", NEED._replace(grade=1, sentence="it is held", hint="let it go on")),)
    for found in (looked("mail").found, held):
        look(store, found=found)
        store.now += GATHER
        (told,) = look(store, found=found).told
    assert (told.message, told.grade) == ("it is held", 1)
    store.now += 1
    look(store, "mail")
    assert (rows(store)[1]["message"], rows(store)[1]["told_count"]) == (NEED.sentence, 1)
    look(store)
    store.now += GATHER
    assert [one.id for one in look(store).told] == [told.id]
    assert [row["told_count"] for row in rows(store)] == [2, 2]
    assert len(notices(store)) == 3


def test_what_was_over_before_it_was_told_stays_untold(store: Store) -> None:
    look(store, "mail")
    store.now += 1
    look(store)
    store.now += HOUR
    assert look(store) == AlertsTold()
    assert notices(store) == []


def test_nothing_is_owed_where_nothing_changes(store: Store, reader: Reader) -> None:
    assert reader.needs.is_owed(looked(), NOW) == (False, None)
    assert reader.needs.is_owed(looked("mail"), NOW) == (True, None)
    look(store, "mail")
    assert reader.needs.is_owed(looked("mail"), NOW) == (False, pytest.approx(NOW + GATHER))
    assert reader.needs.is_owed(looked("mail"), NOW + GATHER)[0]


def test_one_that_is_taken_up_is_not_told(store: Store) -> None:
    look(store, "mail")
    (alert,) = rows(store)
    assert store.answer(AlertAcknowledged(alert["id"], 1000)) is True
    store.now += GATHER
    assert look(store, "mail").told == ()
    assert rows(store)[0]["acknowledged_uid"] == 1000
    assert store.answer(AlertAcknowledged(alert["id"] + 1, 1000)) is False


def test_a_mute_rule_tells_what_is_open_when_that_is_over(store: Store, reader: Reader) -> None:
    store.answer(AlertsMuted("paused", NOW + HOUR, 1000))
    look(store, "mail")
    store.now += GATHER
    assert look(store, "mail") == AlertsTold(next_at=NOW + HOUR)
    assert reader.needs.mutes(store.now) == {"paused": NOW + HOUR}
    store.now = NOW + HOUR
    assert len(look(store, "mail").told) == 1
    store.answer(AlertsMuted("paused", NOW, 1000))
    assert reader.needs.mutes(store.now) == {}


def test_what_a_rule_that_is_no_more_had_raised_is_closed_in_silence(store: Store) -> None:
    look(store, "mail")
    store.now += GATHER
    look(store, "mail")
    store.now += GATHER
    look(store, rules={"slow": ("script",)})
    store.now += GATHER
    assert look(store, rules={"slow": ("script",)}) == AlertsTold()
    assert rows(store)[0]["cleared_at"] is not None


def test_what_another_host_that_lives_sees_of_itself_is_for_it_to_end(store: Store) -> None:
    look(store, "mail")
    look(store, host="web2", others=frozenset({"web1"}))
    assert rows(store)[0]["cleared_at"] is None
    look(store, host="web2")
    assert rows(store)[0]["cleared_at"] is not None


def test_a_target_without_a_job_is_told_of(store: Store) -> None:
    look(store, "mail")
    store.now += GATHER
    assert look(store, "mail", tellers={"script": Teller({})}).untold == ("script",)


def test_a_test_is_told_by_each_target_and_leaves_no_alert(store: Store) -> None:
    alert = Alert(0, "test", "test", "test", NOW, "this is a test", None, 1, NOW)
    (job_id,) = store.answer(AlertsTested(alert, {"script": Teller({}, JOB), "other": Teller({})}, "web1", 0))
    assert store.job(job_id)["queue"] == BESIDE
    assert notices(store)[0]["notice"]["note"] == "this is a test"
    assert rows(store) == []


def test_alerts_are_forgotten_once_they_were_over_for_long(store: Store, reader: Reader) -> None:
    look(store, "mail")
    store.now += 1
    look(store)
    store.now += HOUR
    look(store, "other")
    assert reader.old.oldest_alert() == NOW + 1
    assert store.answer(AlertTrimming(NOW + 1)) == (0, False)
    assert store.answer(AlertTrimming(NOW + 2)) == (1, False)
    assert [row["subject"] for row in rows(store)] == ["other"]
    assert reader.old.oldest_alert() is None


def test_since_when_a_rule_waits_outlives_restarts_and_is_forgotten_with_it(
    store: Store, reader: Reader
) -> None:
    waiting = frozenset({"nightly a.B::build"})
    assert reader.needs.is_owed(looked(awaiting=waiting), NOW) == (True, None)
    assert look(store, awaiting=waiting) == AlertsTold()
    store.now += HOUR
    assert reader.needs.is_owed(looked(awaiting=waiting), store.now) == (False, None)
    look(store, "mail", awaiting=waiting)
    assert reader.needs.first_loads() == {"nightly a.B::build": Load(NOW, "web1")}
    assert reader.needs.is_owed(looked("mail"), store.now)[0]
    look(store, "mail")
    assert reader.needs.first_loads() == {}


def test_a_success_that_does_not_come_is_told_and_so_is_the_next_one(store: Store, reader: Reader) -> None:
    rule = Rule(Kind.NO_SUCCESS, job="myapp.jobs.ExampleJob::run", within=25 * HOUR)
    watch = Watch("nightly", rule, ("script",))

    def find() -> AlertsTold:
        loads = reader.needs.first_loads()
        seen = Seen(
            "web1",
            successes=reader.needs.last_successes([str(rule.job)]),
            loaded={rule: loads[watch.of_load].at if loads else store.now},
        )
        found = tuple(raised([watch], seen, store.now))
        return look(store, found=found, rules={"nightly": ("script",)}, awaiting=frozenset([watch.of_load]))

    lanes = Lanes(1, {"default": None}, awaited=frozenset([str(rule.job)]))
    for hours, count in ((0, 0), (24, 0), (25, 0), (26, 1)):
        store.now = NOW + hours * HOUR
        assert len(find().told) == count, hours
    store.submit(asked())
    (job_id,) = [claim.job.id for claim in store.claim(lanes)]
    store.commit(ends(job_id, COMPLETED, at=store.now, seconds=1.0), lanes=lanes)
    find()
    store.now += GATHER
    (over,) = find().told
    assert (over.rule, over.is_open) == ("nightly", False)


def test_they_are_read_newest_first_and_those_that_are_open_by_themselves(
    store: Store, reader: Reader
) -> None:
    look(store, "mail", "nightly")
    store.now += 1
    look(store, "nightly", "other")
    assert [one["subject"] for one in reader.needs.alerts(False, 1000, 2)] == ["other", "nightly"]
    assert [one["subject"] for one in reader.needs.alerts(False, rows(store)[1]["id"], 2)] == ["mail"]
    (newest, _) = reader.needs.alerts(True, 1000, 50)
    assert (newest["kind"], newest["hint"], newest["since"]) == ("paused", "resume it", text(NOW - 60))


def test_it_is_told_though_all_slots_are_taken_and_takes_none_of_them(store: Store) -> None:
    store.submit(asked(), asked())
    lanes = Lanes(1, {"default": None, BESIDE: 1})
    assert [claim.job.queue for claim in store.claim(lanes)] == ["default"]
    look(store, "mail")
    store.now += GATHER
    look(store, "mail")
    assert [claim.job.queue for claim in store.claim(lanes)] == [BESIDE]
    assert store.claim(lanes) == []
    assert store.claim(Lanes(2, lanes.queues))[0].job.queue == "default"


def test_a_notice_of_a_class_that_cannot_start_holds_up_no_other(store: Store) -> None:
    pager = JOB._replace(call=Call("myapp.ops.Pager", "page", "{}", ()))
    look(store, "mail")
    store.now += GATHER
    tellers = {"pager": Teller({}, pager), "script": Teller({}, JOB)}
    look(store, "mail", rules={"paused": ("pager", "script")}, tellers=tellers)
    lanes = Lanes(1, {"default": None, BESIDE: 1}).without(["myapp.ops.Pager"])
    assert [claim.job.class_name for claim in store.claim(lanes)] == ["bgjob.alerts.Notice"]


def test_while_nothing_may_start_no_notice_does(store: Store) -> None:
    look(store, "mail")
    store.now += GATHER
    look(store, "mail")
    assert store.claim(Lanes(1, {"default": None, BESIDE: 1}).closed()) == []


def test_of_thousands_of_failures_between_two_looks_one_notice_tells(store: Store, reader: Reader) -> None:
    whence = Whence("0123456789abcdef", "myapp.mail:send", "mail.py:88", None)
    ending = Ending.failed("OSError", "no route", "…", error_class="builtins.OSError", whence=whence)
    watches, settings = [Watch("new_error", USUAL[Kind.NEW_ERROR], ("script",))], Settings(HOUR, GATHER, 20)
    rules = {"new_error": ("script",)}

    def find() -> AlertsTold:
        seen = Seen("web1", errors=reader.needs.stored(store.now).errors)
        return look(store, found=tuple(raised(watches, seen, store.now)), rules=rules, settings=settings)

    for _ in range(10):
        ids = store.submit(*[asked(policy=RetryPolicy(max_retries=0)) for _ in range(200)])
        store.claim(Lanes(1000, {"default": None}))
        store.commit(*[ends(job_id, ending, at=store.now) for job_id in ids])
        store.now += 0.1
        find()
    store.now += GATHER
    assert len(find().told) == 1
    (parameters,) = notices(store)
    assert (parameters["notice"]["count"], parameters["notice"]["others"]) == (2000, [])


def test_a_notice_whose_class_is_held_is_looked_at_when_its_trial_is_due(store: Store) -> None:
    lanes = Lanes(30, {"default": None, BESIDE: 1})
    crashing = asked(class_name="bgjob.alerts.Notice", policy=RetryPolicy(max_retries=0))
    jobs = store.submit(*[crashing] * 10)
    store.claim(lanes)
    store.commit(*(ends(job, Ending.signalled(9)) for job in jobs))
    store.now += GATHER / 2
    look(store, "mail", settings=Settings(HOUR, 0.0, 20))
    assert store.commit(Look(), lanes=lanes).next_due == NOW + 10


def test_of_more_than_is_looked_at_none_is_over_for_it_and_no_more_than_so_many_are_open(
    store: Store,
) -> None:
    def find(first: int) -> None:
        queues = [str(number) for number in range(first, first + MOST + 1)]
        look(store, *queues, partly={Kind.PAUSED: store.now - DAY})
        store.now += GATHER

    for first in range(0, 1000, 100):
        find(first)
    assert (len(rows(store)), len(notices(store))) == (MOST, 1)
    store.now += DAY
    find(1000)
    find(1000)
    assert next(row["subject"] for row in rows(store) if row["cleared_at"] is None) == "1000"
