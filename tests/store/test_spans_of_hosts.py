"""Several hosts count what ends by spans: each its own, once, into the same rows."""

from __future__ import annotations

from contextlib import closing

import pytest

from bgjobd.core.planner import Lanes
from bgjobd.core.spans import FIVE_MINUTES
from bgjobd.store.audit import Audit
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.hosts import AttemptsLost
from bgjobd.store.ledger import Ledger
from bgjobd.store.spans import Spans
from tests.store.samples import COMPLETED, LOST, NOW, asked, ends
from tests.store.test_hosts import Host, lose, pair, place  # noqa: F401  # the fixtures
from tests.store.test_spans import counts

LANES = Lanes(100, {"default": None})


def counting(host: Host) -> Spans:
    spans = Spans()
    host.ledger = Ledger(host.database, f"boot of {host.term.name}", lambda: 1.0, host.term, spans=spans)
    return spans


def run(host: Host) -> int:
    (job_id,) = host.submit(asked())
    (claim,) = host.claim(LANES)
    assert claim.job.id == job_id
    return job_id


def complete(host: Host) -> None:
    job_id = run(host)
    host.now += 1
    host.commit(ends(job_id, COMPLETED, at=host.now))


def later(*hosts: Host) -> None:
    for host in hosts:
        host.now += FIVE_MINUTES
        host.commit(Look())


@pytest.fixture
def two(pair: tuple[Host, Host]) -> tuple[Host, Host]:  # noqa: F811
    for one in pair:
        counting(one)
        one.now = NOW
    return pair


def test_what_each_host_has_counted_is_added_in_the_same_rows(two: tuple[Host, Host]) -> None:
    web1, web2 = two
    complete(web1)
    complete(web2)
    complete(web2)
    later(web1, web2)
    assert counts(web1) == (3, 0, 0)


def test_after_a_kill_a_host_counts_its_own_attempts_again_and_no_others(two: tuple[Host, Host]) -> None:
    web1, web2 = two
    complete(web1)
    complete(web2)
    counting(web1)
    later(web1, web2)
    assert counts(web1) == (2, 0, 0)
    counting(web2)
    later(web1, web2)
    assert counts(web1) == (2, 0, 0)


def test_a_host_that_comes_after_others_have_written_counts_what_it_had_done_before(
    pair: tuple[Host, Host],  # noqa: F811
) -> None:
    web1, web2 = pair
    web1.now = web2.now = NOW
    complete(web2)  # as by a daemon that did not count yet
    counting(web1)
    complete(web1)
    later(web1)
    counting(web2)
    web2.now = web1.now
    later(web2)
    assert counts(web1) == (2, 0, 0)
    with closing(Audit(web1.state_dir)) as audit:
        assert audit.odd_spans() == ()


def test_an_attempt_that_was_lost_is_counted_once_whoever_settles_it(two: tuple[Host, Host]) -> None:
    web1, web2 = two
    job_id = run(web2)
    assert lose(web1, web2)
    fact = ends(job_id, LOST, at=web1.now)
    (jobs,) = web1.commit(AttemptsLost(web2.term.host, (fact,))).answers
    assert [job.id for job in jobs] == [job_id]
    assert [row["bad"] for row in web1.rows("SELECT bad FROM class_tallies WHERE span = 300")] == [
        '{"lost": 1}'
    ] * 2
    counting(web1)
    later(web1)
    later(web1)
    assert [row["bad"] for row in web1.rows("SELECT bad FROM class_tallies WHERE span = 300")] == [
        '{"lost": 1}'
    ] * 2
