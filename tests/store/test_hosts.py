"""Several hosts at one database: whose transactions count, and what becomes of what a lost one ran."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bgjobd.core.hosts import LivesElsewhereError, Profile, Term
from bgjobd.core.job import Ending
from bgjobd.core.planner import Lanes
from bgjobd.store import hosts
from bgjobd.store.audit import Audit
from bgjobd.store.engines import CountsAsLostError, TermTakenError
from bgjobd.store.engines.postgres import Postgres
from bgjobd.store.engines.sqlite import Sqlite
from bgjobd.store.hosts import Beaten, Joined, NameTakenError, Newcomer, Wait
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.hosts import AttemptsLost, Beat, HostDrained, HostLeft, HostLost
from bgjobd.store.items.item import Item
from bgjobd.store.ledger import Ledger
from bgjobd.store.reader import Reader
from tests.postgresql import Places
from tests.store.samples import COMPLETED, LOST, NO_SLOTS, NOW, Store, asked, ends, submission

ONE_SLOT = Lanes(1, {"default": None})
PROFILE = Profile(4, ("default",), ("myapp.jobs.ExampleJob",))


@pytest.fixture
def place(places: Places, tmp_path: Path) -> Iterator[Postgres]:
    known = places.known()
    yield places.at(tmp_path)
    places.take_back(known)


def newcomer(name: str, uuid: str | None = None, lost_after: float | None = 600.0) -> Newcomer:
    return Newcomer(uuid or f"uuid of {name}", name, f"boot of {name}", lost_after, "1.0", PROFILE, 5.0)


def joined(place: Postgres, name: str, uuid: str | None = None, lost_after: float | None = 600.0) -> Joined:
    found = hosts.join(place, newcomer(name, uuid, lost_after))
    assert isinstance(found, Joined)
    return found


class Host(Store):
    """A ledger of one host."""

    term: Term

    @classmethod
    def called(cls, place: Postgres, name: str) -> Host:
        term = joined(place, name).term
        host = cls.on(place)
        assert isinstance(host, Host)
        host.take(term)
        return host

    def take(self, term: Term) -> None:
        self.term = term
        self.ledger = Ledger(self.database, f"boot of {term.name}", lambda: 1.0, term)

    def beat(self, profile: Profile | None = None) -> Beaten:
        found: Beaten = self.answer(Beat(profile))
        return found

    def row(self) -> dict[str, Any]:
        (row,) = self.rows("SELECT * FROM hosts WHERE id = ?", self.term.host)
        return row


@pytest.fixture
def pair(place: Postgres) -> Iterator[tuple[Host, Host]]:
    """Two hosts, web1 and web2."""
    both = Host.called(place, "web1"), Host.called(place, "web2")
    yield both
    for one in both:
        one.close()


def lose(by: Host, other: Host, *more: Item) -> Any:
    """Have the other count as lost, as it was seen last."""
    seen = next(one for one in by.beat().others if one.host == other.term.host)
    return by.commit(HostLost(seen.host, seen.term, seen.beats), *more).answers[0]


# Terms


def test_a_file_has_no_hosts(tmp_path: Path) -> None:
    assert hosts.join(Sqlite(tmp_path), newcomer("web1")) is None


def test_each_daemon_of_a_host_takes_the_next_term(place: Postgres) -> None:
    first, second = joined(place, "web1"), joined(place, "web1")
    assert (first.term.number, second.term.number) == (1, 2)
    assert first.term.host == second.term.host
    assert joined(place, "web2").term.host != first.term.host


def test_a_daemon_of_another_boot_waits_whether_the_one_before_beats(
    place: Postgres, pair: tuple[Host, Host]
) -> None:
    web1, _ = pair
    clone = replace(newcomer("web1"), boot_id="another")
    found = hosts.join(place, clone)
    assert isinstance(found, Wait)
    assert found.pulse == (1, 0)
    assert 0 < found.seconds <= 10
    assert hosts.join(place, clone, (1, 0), was_away=True) == Wait((1, 0), 10.0)
    web1.beat()
    with pytest.raises(LivesElsewhereError):
        hosts.join(place, clone, found.pulse)
    assert (web1.row()["term"], web1.row()["boot_id"]) == (1, "boot of web1")
    again = hosts.join(place, clone, (1, 1))
    assert isinstance(again, Joined)
    assert again.term.number == 2


def test_another_living_host_of_the_same_name_is_refused_and_told(place: Postgres) -> None:
    joined(place, "web1", "one machine")
    with pytest.raises(NameTakenError, match=r"another host that is called web1 .* last seen at 20"):
        joined(place, "web1", "another machine")


def test_a_name_is_free_once_its_host_has_left_or_was_not_seen_for_long(place: Postgres) -> None:
    first = joined(place, "web1", "one machine")
    with psycopg.connect(place.address) as connection:
        connection.execute("UPDATE bgjobd.hosts SET left_at = seen_at")
    second = joined(place, "web1", "another machine")
    assert second.term.host != first.term.host
    with psycopg.connect(place.address) as connection:
        connection.execute("UPDATE bgjobd.hosts SET seen_at = '2024-12-04T14:31:53.000000Z'")
    assert joined(place, "web1", "a third machine").term.number == 1


def test_nothing_of_a_term_that_somebody_else_has_taken_is_stored(
    place: Postgres, pair: tuple[Host, Host]
) -> None:
    web1, web2 = pair
    joined(place, "web1")
    with pytest.raises(TermTakenError, match="another daemon has taken the place of host web1"):
        web1.submit(asked())
    assert web2.count("background_jobs") == 0
    assert web2.submit(asked()) == [1]


# Beats


def test_a_beat_counts_and_shows_the_others(pair: tuple[Host, Host]) -> None:
    web1, web2 = pair
    assert web1.beat().beats == 1
    found = web1.beat()
    assert found.beats == 2
    (other,) = found.others
    assert (other.name, other.term, other.beats, other.lost_after) == ("web2", 1, 0, 600.0)
    assert (other.is_owing, other.has_left, other.is_lost) == (False, False, False)
    web2.beat()
    assert web1.beat().others[0].beats == 1


def alone(host: Host) -> Beaten | None:
    found = host.ledger.try_beat([Beat(may_be_alone=True)])
    return None if found is None else found[0]


def test_where_nothing_moves_a_beat_is_a_statement_that_finds_all_that_a_transaction_would(
    place: Postgres, pair: tuple[Host, Host]
) -> None:
    first, second = pair
    assert alone(first) is None  # what there is was never looked at
    before = first.beat()
    found = first.ledger.try_beat([Beat(may_be_alone=True)])
    assert found is not None
    beaten, reading = found
    assert beaten == before._replace(beats=before.beats + 1)
    assert reading.offset == pytest.approx(place.time().offset, abs=1.0)
    assert lose(first, second)
    first.answer(HostDrained("web1", "user 0"))
    owed = alone(first)
    assert owed is not None
    assert owed.owing == (second.term.host,)
    assert owed.drained is not None


def test_a_beat_looks_at_all_once_others_have_moved_a_job_or_left_something_to_settle(
    pair: tuple[Host, Host],
) -> None:
    first, second = pair
    first.beat()
    second.submit(asked())
    assert alone(first) is None
    first.beat()
    assert alone(first) is not None
    second.rows("INSERT INTO consequences VALUES ('job', 1, 0) RETURNING id")
    assert alone(first) is None


def test_no_beat_by_itself_counts_for_a_host_that_is_lost_or_a_term_that_is_over(
    place: Postgres, pair: tuple[Host, Host]
) -> None:
    first, second = pair
    first.beat()
    assert lose(second, first)
    assert alone(first) is None
    joined(place, "web1")
    assert alone(first) is None
    assert first.row()["beats"] == 0


def test_what_a_host_says_of_itself_stands_until_it_says_something_else(pair: tuple[Host, Host]) -> None:
    web1, _ = pair
    web1.beat(
        Profile(8, ("mail",), (), "736711a9ab89", "the disk is full", -0.25, {"retention.logs": "false"})
    )
    web1.beat()
    row = web1.row()
    assert (row["slots"], row["queues"], row["classes"]) == (8, '["mail"]', "[]")
    assert (row["code_version"], row["trouble"], row["clock_difference"]) == (
        "736711a9ab89",
        "the disk is full",
        -0.25,
    )
    assert row["rules"] == '{"retention.logs": "false"}'


def test_one_that_leaves_says_so_until_it_is_back(place: Postgres, pair: tuple[Host, Host]) -> None:
    web1, web2 = pair
    web1.commit(HostLeft())
    assert web1.row()["left_at"] is not None
    assert web2.beat().others[0].has_left
    joined(place, "web1")
    assert not web2.beat().others[0].has_left


# Attempts


def test_attempts_say_whose_they_are_and_take_that_hosts_slots_alone(pair: tuple[Host, Host]) -> None:
    web1, web2 = pair
    web1.submit(asked(), asked())
    (mine,) = web1.claim(ONE_SLOT)
    assert web1.claim(ONE_SLOT) == []
    (theirs,) = web2.claim(ONE_SLOT)
    assert web1.attempts(mine.job.id)[0]["host"] == web1.term.host
    assert web1.attempts(theirs.job.id)[0]["host"] == web2.term.host
    assert web2.claim(Lanes(1, {"default": None}, {"myapp.jobs.ExampleJob": 1})) == []


@pytest.mark.parametrize("wanted", [None, "web2"], ids=["of any host", "of this host"])
def test_what_another_writer_has_in_hand_is_looked_for_again_in_a_moment(
    place: Postgres, pair: tuple[Host, Host], wanted: str | None
) -> None:
    web1, web2 = pair
    (job_id,) = web1.submit(asked(host=wanted))
    lanes = Lanes(4, host="web2", known=frozenset(PROFILE.classes))
    with psycopg.connect(place.address) as other:
        other.execute("SELECT 1 FROM bgjobd.background_jobs FOR NO KEY UPDATE")
        committed = web2.commit(Look(), lanes=lanes)
    assert committed.claims == ()
    assert committed.next_due == web2.now + 0.05
    assert [claim.job.id for claim in web2.claim(lanes)] == [job_id]


def test_the_books_of_a_host_have_its_own_open_attempts(place: Postgres, pair: tuple[Host, Host]) -> None:
    web1, web2 = pair
    mine, theirs = web1.run_one(), web2.run_one()
    with closing(Audit(place)) as audit:
        assert [one.key for one in audit.open_attempts("uuid of web1")] == [(mine, 1)]
        assert audit.open_attempts("nobody's") == ()
    with closing(Reader(place)) as reader:
        assert [row["job_id"] for row in reader.hosts.open_attempts(web2.term.host)] == [theirs]


# Lost


def test_a_host_is_lost_once_and_only_where_it_was_seen(pair: tuple[Host, Host]) -> None:
    web1, web2 = pair
    (seen,) = web1.beat().others
    web2.beat()
    declared = HostLost(seen.host, seen.term, seen.beats)
    assert web1.answer(declared) is False  # it has moved
    assert web1.answer(HostLost(seen.host, seen.term, None)) is True
    assert web1.answer(HostLost(seen.host, seen.term, None)) is False
    assert web1.beat().owing == (seen.host,)


def test_what_a_lost_host_tells_is_not_stored_until_it_has_another_term(pair: tuple[Host, Host]) -> None:
    web1, web2 = pair
    assert lose(web1, web2)
    with pytest.raises(CountsAsLostError):
        web2.submit(asked())
    term = hosts.come_back(web2.database, web2.term)
    assert term == web2.term._replace(number=2)
    assert web1.beat().owing == ()
    assert hosts.come_back(web2.database, web2.term) is None
    web2.take(term)
    assert web2.submit(asked()) == [1]


def test_the_attempts_of_a_lost_host_are_lost_and_retried_elsewhere(pair: tuple[Host, Host]) -> None:
    web1, web2 = pair
    web2.submit(asked(), asked(retry_count=0))
    (claim,) = web2.claim(ONE_SLOT)
    job_id = claim.job.id
    assert lose(web1, web2)
    committed = web1.commit(AttemptsLost(web2.term.host, (ends(job_id, LOST),)))
    (jobs,) = committed.answers
    assert [job.status for job in jobs] == ["pending"]
    assert web1.attempts(job_id)[0]["outcome"] == "lost"
    assert web1.beat().owing == ()
    assert committed.settled == ()


def test_a_job_that_a_lost_host_was_the_last_to_try_has_failed_and_its_hook_is_for_who_says_so(
    pair: tuple[Host, Host],
) -> None:
    web1, web2 = pair
    job_id = web2.run_one()
    assert lose(web1, web2)
    end = ends(job_id, Ending.lost("host web2 was lost", may_retry=False))
    committed = web1.commit(AttemptsLost(web2.term.host, (end,)))
    assert [(job.id, job.status) for job in committed.settled] == [(job_id, "failed")]


def test_what_is_not_settled_yet_is_owed_until_it_is(pair: tuple[Host, Host]) -> None:
    web1, web2 = pair
    first, second = web2.run_one(), web2.run_one()
    assert lose(web1, web2)
    owing = AttemptsLost(web2.term.host, (ends(first, LOST),))
    assert len(web1.answer(owing)) == 1
    assert web1.beat().owing == (web2.term.host,)
    assert web1.answer(owing) == ()
    web1.commit(AttemptsLost(web2.term.host, (ends(first, LOST), ends(second, LOST))))
    assert web1.beat().owing == ()


def test_what_another_host_sees_to_at_that_moment_is_left_to_it(
    place: Postgres, pair: tuple[Host, Host]
) -> None:
    web1, web2 = pair
    job_id = web2.run_one()
    assert lose(web1, web2)
    with psycopg.connect(place.address) as other:
        other.execute("SELECT 1 FROM bgjobd.consequences FOR UPDATE")
        assert web1.answer(AttemptsLost(web2.term.host, (ends(job_id, LOST),))) == ()
    assert web1.attempts(job_id)[0]["outcome"] is None


def test_who_is_back_before_its_attempts_were_settled_has_them_to_itself(
    place: Postgres, pair: tuple[Host, Host]
) -> None:
    web1, web2 = pair
    job_id = web2.run_one()
    assert lose(web1, web2)
    back = joined(place, "web2")
    assert back.was_lost
    assert web1.answer(AttemptsLost(web2.term.host, (ends(job_id, LOST),))) == ()
    web2.take(back.term)
    assert web2.answer(ends(job_id, COMPLETED)).status == "completed"


def test_an_end_that_comes_when_its_attempt_has_counted_as_lost_is_told_and_changes_nothing(
    pair: tuple[Host, Host],
) -> None:
    web1, web2 = pair
    job_id = web2.run_one()
    assert lose(web1, web2)
    web1.commit(AttemptsLost(web2.term.host, (ends(job_id, LOST),)), Look())
    term = hosts.come_back(web2.database, web2.term)
    assert term is not None
    web2.take(term)
    before = web2.job(job_id)
    web2.commit(ends(job_id, COMPLETED))
    assert web2.job(job_id) == before
    told = "attempt 1 completed on host web2 after it had counted as lost"
    assert web2.messages(job_id)[-1] == told
    web2.commit(ends(job_id, LOST))
    assert web2.messages(job_id)[-1] == told


def test_jobs_of_a_lost_host_that_others_run_again_are_not_touched_by_its_late_words(
    pair: tuple[Host, Host],
) -> None:
    web1, web2 = pair
    job_id = web2.run_one()
    assert lose(web1, web2)
    web1.commit(AttemptsLost(web2.term.host, (ends(job_id, LOST),)))
    web1.now = web2.now = NOW + 3600
    (claim,) = web1.claim(ONE_SLOT)
    assert (claim.job.id, claim.job.attempt) == (job_id, 2)
    term = hosts.come_back(web2.database, web2.term)
    assert term is not None
    web2.take(term)
    web2.commit(ends(job_id, Ending.failed("ValueError", "no")))
    assert web1.job(job_id)["status"] == "running"
    assert web1.commit(ends(job_id, COMPLETED, number=2), submission(asked()), lanes=NO_SLOTS)
    assert web1.job(job_id)["status"] == "completed"


def test_what_a_host_owes_is_not_forgotten_by_a_daemon_whose_term_another_has_taken(
    pair: tuple[Host, Host], place: Postgres
) -> None:
    web1, web2 = pair
    before, taken = web2.term, joined(place, "web2").term
    web2.take(taken)
    assert lose(web1, web2)
    assert hosts.come_back(web2.database, before) is None
    assert web1.beat().owing == (taken.host,)
