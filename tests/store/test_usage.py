"""What the attempts of each class used: percentiles of the latest that have ended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjobd.core.job import Call, Usage
from bgjobd.store import usage
from bgjobd.store.reader import Reader
from tests.store.samples import COMPLETED, FAILED, LOST, NOW, USAGE, Store, ends, starts

EXAMPLE = "myapp.jobs.ExampleJob"
NOTHING_KNOWN = dict.fromkeys(
    f"{measure}_{percentile}"
    for measure in ("wall", "cpu", "memory", "output")
    for percentile in ("p50", "p95")
)


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    reader = Reader(store.state_dir)
    yield reader
    reader.close()


# Percentiles


@pytest.mark.parametrize(
    ("values", "p50", "p95"),
    [
        ([], None, None),
        ([7], 7, 7),
        ([1, 2], 1, 2),
        ([1, 2, 3], 2, 3),
        ([15, 20, 35, 40, 50], 35, 50),
        (range(1, 20), 10, 19),
        (range(1, 21), 10, 19),
        (range(1, 22), 11, 20),
        (range(1, 101), 50, 95),
    ],
)
def test_a_percentile_is_one_of_the_values_by_nearest_rank(
    values: list[float], p50: float | None, p95: float | None
) -> None:
    assert (usage.percentile(values, 50), usage.percentile(values, 95)) == (p50, p95)


@given(values=st.lists(st.integers(0, 9), min_size=1), percent=st.integers(1, 100))
def test_a_percentile_is_the_least_value_that_is_not_below_so_many(values: list[int], percent: int) -> None:
    def reaches(value: float) -> bool:
        return 100 * sum(each <= value for each in values) >= percent * len(values)

    found = usage.percentile(sorted(values), percent)
    assert found == min(value for value in values if reaches(value))


def test_each_class_has_its_own_percentiles_and_its_measures_are_apart() -> None:
    told = usage.by_class(
        [
            ("b.B", 1.0, 0.5, 100, 0),
            ("a.A", 9.0, None, None, None),
            ("b.B", 3.0, 0.25, None, 7),
            ("b.B", 2.0, None, None, 8),
        ]
    )
    assert list(told.items()) == [
        ("a.A", {"attempts": 1} | NOTHING_KNOWN | {"wall_p50": 9.0, "wall_p95": 9.0}),
        (
            "b.B",
            {
                "attempts": 3,
                "wall_p50": 2.0,
                "wall_p95": 3.0,
                "cpu_p50": 0.25,
                "cpu_p95": 0.5,
                "memory_p50": 100,
                "memory_p95": 100,
                "output_p50": 7,
                "output_p95": 8,
            },
        ),
    ]


def test_of_no_attempts_nothing_is_told() -> None:
    assert usage.by_class([]) == {}


# From the file


def test_what_one_attempt_used_is_all_of_its_percentiles(store: Store, reader: Reader) -> None:
    job_id = store.run_one()
    used = Usage(max_rss=1 << 20, cpu_user=0.1, cpu_system=0.2, output_bytes=42)
    store.commit(starts(job_id), ends(job_id, COMPLETED, at=NOW + 1.5, usage=used))
    assert reader.trends.usage() == {
        EXAMPLE: {
            "attempts": 1,
            "wall_p50": 1.5,
            "wall_p95": 1.5,
            "cpu_p50": 0.3,
            "cpu_p95": 0.3,
            "memory_p50": 1 << 20,
            "memory_p95": 1 << 20,
            "output_p50": 42,
            "output_p95": 42,
        }
    }


def test_an_attempt_counts_once_it_has_ended_whatever_is_known_of_it(store: Store, reader: Reader) -> None:
    assert reader.trends.usage() == {}
    job_id = store.run_one()
    assert reader.trends.usage() == {}
    store.commit(ends(job_id, LOST))
    assert reader.trends.usage() == {EXAMPLE: {"attempts": 1} | NOTHING_KNOWN}


def test_attempts_of_a_class_are_taken_together_jobs_and_retries_alike(store: Store, reader: Reader) -> None:
    first = store.run_one()
    store.commit(starts(first), ends(first, FAILED, at=NOW + 4, usage=USAGE))
    second, other = store.run_one(), store.run_one(call=Call("myapp.jobs.Other", "run"))
    store.commit(starts(second), ends(second, COMPLETED, at=NOW + 2, usage=USAGE))
    store.commit(starts(other), ends(other, COMPLETED, at=NOW + 8, usage=USAGE))
    told = {
        name: (one["attempts"], one["wall_p50"], one["wall_p95"])
        for name, one in reader.trends.usage().items()
    }
    assert told == {EXAMPLE: (2, 2.0, 4.0), "myapp.jobs.Other": (1, 8.0, 8.0)}


def test_of_more_attempts_than_are_looked_at_the_newest_jobs_count(store: Store, reader: Reader) -> None:
    old = store.run_one(call=Call("myapp.jobs.Old", "run"))
    store.commit(ends(old, COMPLETED, usage=USAGE))
    often = store.run_one()
    store.commit(ends(often, COMPLETED, usage=USAGE))
    assert set(reader.trends.usage()) == {EXAMPLE, "myapp.jobs.Old"}
    store.database.execute_sql(
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i <= ?) "
        "INSERT INTO job_attempts (job_id, number, token, boot_id, outcome, max_rss) "
        "SELECT ?, i, 't', 'b', 'completed', i FROM n",
        (usage.MOST_ATTEMPTS, often),
    )
    told = reader.trends.usage()
    assert set(told) == {EXAMPLE}
    assert told[EXAMPLE]["attempts"] == usage.MOST_ATTEMPTS
    assert told[EXAMPLE]["memory_p50"] == usage.MOST_ATTEMPTS // 2 + 1
