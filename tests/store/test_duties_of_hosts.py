"""What several hosts at one database leave to one of them: starts where one drains, hooks, retention, and who is
forgotten.
"""

from __future__ import annotations

from contextlib import closing

import pytest

from bgjobd.core.hosts import Drained
from bgjobd.core.job import Ending
from bgjobd.core.planner import Lanes
from bgjobd.store.engines import TermTakenError
from bgjobd.store.engines.postgres import Postgres
from bgjobd.store.items.hosts import AttemptsLost, HookBegun, HooksTakenOver, HostDrained, HostLeft
from bgjobd.store.items.retention import HostTrimming, RetentionDone, RetentionTaken
from bgjobd.store.reader import Reader
from tests.store.samples import NOW, Store, asked, ends
from tests.store.test_hosts import ONE_SLOT, Host, joined, lose, pair, place  # noqa: F401  # the fixtures

CLASS = "myapp.jobs.ExampleJob"
LASTING = Ending.failed("ValueError", "no", may_retry=False)
LONG_AGO = "2001-01-01T00:00:00.000000Z"


# Drains


def test_a_host_that_drains_starts_nothing_from_its_next_transaction_on(pair: tuple[Host, Host]) -> None:  # noqa: F811
    web1, web2 = pair
    (job_id,) = web1.submit(asked())
    assert web1.answer(HostDrained("web2", "uid 0 at host web1")) is True
    assert web2.claim(ONE_SLOT) == []
    drained = web2.beat().drained
    assert isinstance(drained, Drained)
    assert drained.by == "uid 0 at host web1"
    assert web1.beat().drained is None
    assert [claim.job.id for claim in web1.claim(ONE_SLOT)] == [job_id]


def test_what_runs_on_a_host_that_drains_ends_there(pair: tuple[Host, Host]) -> None:  # noqa: F811
    web1, web2 = pair
    job_id = web2.run_one()
    web1.answer(HostDrained("web2", "uid 0 at host web1"))
    assert web2.answer(ends(job_id, LASTING)).status == "failed"


def test_a_drain_is_over_with_the_next_daemon_of_the_host(
    place: Postgres,  # noqa: F811
    pair: tuple[Host, Host],  # noqa: F811
) -> None:
    web1, web2 = pair
    web1.answer(HostDrained("web2", "uid 0 at host web1"))
    web2.take(joined(place, "web2").term)
    web2.submit(asked())
    assert len(web2.claim(ONE_SLOT)) == 1
    assert web2.beat().drained is None


def test_a_host_that_is_not_there_cannot_be_drained(pair: tuple[Host, Host]) -> None:  # noqa: F811
    web1, web2 = pair
    assert web1.answer(HostDrained("web3", "uid 0 at host web1")) is False
    web2.commit(HostLeft())
    assert web1.answer(HostDrained("web2", "uid 0 at host web1")) is False


# Hooks


def test_a_hook_is_for_the_host_on_which_the_job_failed_until_it_is_about_to_call_it(
    place: Postgres,  # noqa: F811
    pair: tuple[Host, Host],  # noqa: F811
) -> None:
    web1, web2 = pair
    job_id = web2.run_one()
    web2.commit(ends(job_id, LASTING))
    with closing(Reader(place)) as reader:
        assert reader.hosts.owed_hooks(web2.term.host) == [(job_id, 1)]
        assert reader.hosts.owed_hooks(web1.term.host) == []
        assert web1.answer(HookBegun((job_id, 1))) is False
        assert web2.answer(HookBegun((job_id, 1))) is True
        assert reader.hosts.owed_hooks(web2.term.host) == []
    assert web2.answer(HookBegun((job_id, 1))) is True  # the next of the same attempt


@pytest.mark.parametrize("hookless", [frozenset(), frozenset([CLASS])])
def test_nothing_is_owed_to_a_class_without_a_hook(
    pair: tuple[Host, Host],  # noqa: F811
    hookless: frozenset[str],
) -> None:
    _, web2 = pair
    job_id = web2.run_one()
    web2.commit(ends(job_id, LASTING), lanes=Lanes(0, hookless=hookless))
    owed = web2.term.host if not hookless else None
    assert web2.attempts(job_id)[0]["hook_host"] == owed


def test_of_a_lost_host_another_one_calls_what_it_had_not_begun_to(pair: tuple[Host, Host]) -> None:  # noqa: F811
    web1, web2 = pair
    begun, left, foreign = web2.run_one(), web2.run_one(), web2.run_one(class_name="shop.Foreign")
    web2.commit(*(ends(job_id, LASTING) for job_id in (begun, left, foreign)))
    assert web2.answer(HookBegun((begun, 1)))
    assert web1.answer(HooksTakenOver(web2.term.host, (CLASS,), 100)) == ()  # it lives
    assert lose(web1, web2)
    assert web1.answer(AttemptsLost(web2.term.host, ())) == ()
    assert web1.answer(HooksTakenOver(web2.term.host, (CLASS,), 100)) == ((left, 1),)
    assert web1.answer(HookBegun((left, 1))) is True
    assert web1.beat().owing == (web2.term.host,)  # to who has the other class
    assert web1.answer(HooksTakenOver(web2.term.host, ("shop.Foreign",), 100)) == ((foreign, 1),)
    assert web1.beat().owing == ()


def test_the_hook_of_a_job_that_a_lost_host_ran_is_owed_by_who_says_so(
    place: Postgres,  # noqa: F811
    pair: tuple[Host, Host],  # noqa: F811
) -> None:
    web1, web2 = pair
    job_id = web2.run_one()
    assert lose(web1, web2)
    end = ends(job_id, Ending.lost("host web2 was lost", may_retry=False))
    web1.commit(AttemptsLost(web2.term.host, (end,)))
    with closing(Reader(place)) as reader:
        assert reader.hosts.owed_hooks(web1.term.host) == [(job_id, 1)]


def test_where_the_database_is_a_file_no_hook_is_written_down(store: Store) -> None:
    job_id = store.run_one()
    store.commit(ends(job_id, LASTING))
    assert store.attempts(job_id)[0]["hook_host"] is None


# Retention


def test_one_host_at_a_time_deletes_what_is_old(
    place: Postgres,  # noqa: F811
    pair: tuple[Host, Host],  # noqa: F811
) -> None:
    web1, web2 = pair
    assert web1.answer(RetentionTaken()) is True
    assert web2.answer(RetentionTaken()) is False
    assert web1.answer(RetentionTaken()) is True
    web2.commit(RetentionDone())  # it is not its to give
    assert web2.answer(RetentionTaken()) is False
    web1.commit(RetentionDone())
    assert web2.answer(RetentionTaken()) is True
    web1.rows("UPDATE hosts SET seen_at = ? WHERE name = 'web2' RETURNING id", LONG_AGO)
    assert web1.answer(RetentionTaken()) is True  # it was not seen for long
    joined(place, "web1")
    web2.beat()
    assert web2.answer(RetentionTaken()) is True  # the daemon that was at it is gone


def test_who_has_the_database_to_itself_deletes_when_it_likes(store: Store) -> None:
    assert store.answer(RetentionTaken()) is True
    assert store.answer(RetentionDone()) is None


# Who is forgotten


def gone(web1: Host, name: str, column: str = "left_at") -> None:
    web1.rows(f"UPDATE hosts SET {column} = ? WHERE name = ? RETURNING id", LONG_AGO, name)


def test_a_host_that_is_gone_for_long_is_forgotten_and_takes_a_new_row_when_it_is_back(
    place: Postgres,  # noqa: F811
    pair: tuple[Host, Host],  # noqa: F811
) -> None:
    web1, web2 = pair
    assert web1.answer(HostTrimming(NOW)) == ()
    gone(web1, "web2")
    with closing(Reader(place)) as reader:
        assert reader.old.oldest_gone() is not None
    assert web1.answer(HostTrimming(NOW)) == ("web2",)
    back = joined(place, "web2").term
    assert (back.number, back.host == web2.term.host) == (1, False)


def test_a_host_that_holds_anything_is_not_forgotten(pair: tuple[Host, Host]) -> None:  # noqa: F811
    web1, web2 = pair
    job_id = web2.run_one()
    gone(web1, "web2")
    assert web1.answer(HostTrimming(NOW)) == ()  # an attempt without an end
    gone(web1, "web2", "seen_at")
    web2.commit(ends(job_id, LASTING))
    assert web1.answer(HostTrimming(NOW)) == ()  # a hook
    web2.commit(HookBegun((job_id, 1)))
    assert web1.answer(HostTrimming(NOW)) == ("web2",)


def test_a_daemon_whose_host_was_forgotten_is_that_host_no_more(pair: tuple[Host, Host]) -> None:  # noqa: F811
    web1, web2 = pair
    gone(web1, "web2", "lost_at")
    assert web1.answer(HostTrimming(NOW)) == ("web2",)
    with pytest.raises(TermTakenError):
        web2.submit(asked())
