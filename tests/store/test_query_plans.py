"""The hot statements run on their partial indexes, whatever SQLite believes of the table."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterator
from contextlib import suppress

import pytest

from bgjob.words import ErrorSort
from bgjobd.host.clock import to_text
from bgjobd.store import (
    adoption,
    alerts,
    audit_of_steps,
    audit_of_ties,
    changes,
    deletions,
    dependencies,
    ends,
    error_pages,
    error_traits,
    errors,
    gate,
    graph_reach,
    graphs,
    keys,
    labels,
    many,
    method_usage,
    needs,
    progress,
    rates,
    release,
    retention,
    rising,
    span_books,
    span_rows,
    spans,
    step_pages,
    steps,
    tally,
    trends,
    uniques,
    usage,
    values,
    waiting,
    waits,
)
from bgjobd.store import reader as reads
from bgjobd.store.filters import JobFilter
from bgjobd.store.pages.job_sources import JOB_SOURCES, OF_ERROR
from bgjobd.store.reader import Reader
from bgjobd.store.reads import due
from bgjobd.store.statements import of_attempts, of_deletions, of_jobs, of_slots, of_ties, of_times
from tests.store.samples import NOW, Store, asked, statements_run_on

HOT = {
    "SELECT_READY": "jobs_ready",
    "SELECT_READY_OF_CLASS": "jobs_of_class",
    "SELECT_NEXT_READY_CLASS": "jobs_of_class",
    "SELECT_RUNNING": "jobs_running",
    "SELECT_NEXT_DUE": "jobs_scheduled",
    "MAKE_READY": "jobs_scheduled",
    "COUNT_RUNNING": "jobs_running",
    "SELECT_JOBS_BY_KEY": "jobs_key",
    "SELECT_JOB": "INTEGER PRIMARY KEY",
    "SELECT_JOBS": "INTEGER PRIMARY KEY",
    "UPDATE_JOB": "INTEGER PRIMARY KEY",
    "SELECT_LAST_BEGUN": "PRIMARY KEY",
    "SELECT_NOTED": "PRIMARY KEY",
    "UPDATE_ATTEMPT_STARTED": "PRIMARY KEY",
    "UPDATE_ATTEMPT_NOTED": "PRIMARY KEY",
    "UPDATE_ATTEMPT_ENDED": "PRIMARY KEY",
    "SELECT_EXPIRED": "jobs_expiring (expires_at>? AND expires_at<?)",
    "SELECT_NEXT_EXPIRY": "jobs_expiring",
    "UPDATE_REPLACED": "INTEGER PRIMARY KEY",
    "UPDATE_TERMS": "INTEGER PRIMARY KEY",
    "SELECT_SUBMITTERS": "INTEGER PRIMARY KEY",
    "SELECT_DELETABLE": "INTEGER PRIMARY KEY",
    "SELECT_NUMBERS": "PRIMARY KEY",
    "DELETE_ENTRIES": "COVERING INDEX logs_job (job_id=?)",
    "DELETE_ATTEMPTS": "PRIMARY KEY (job_id=?)",
    "DELETE_JOB": "INTEGER PRIMARY KEY",
    "SELECT_ENTRIES_AFTER": "INTEGER PRIMARY KEY (rowid>?)",
    "DELETE_OLD_ENTRIES": "INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
}
"""What each statement must find its rows by."""

STATEMENTS = ChainMap(
    *(vars(module) for module in (of_attempts, of_deletions, of_jobs, of_slots, of_ties, of_times)),
)

POPULATIONS = {
    "no statistics": "",
    "all completed": "status = 'completed', finished_at = created_at, ready = 1",
    "all failed, not ready": "status = 'failed', finished_at = created_at, ready = 0",
    "all running": "status = 'running', ready = 1",
    "all ready": "status = 'pending', ready = 1",
    "all scheduled": "status = 'pending', ready = 0, scheduled_at = created_at",
    "all waiting": "status = 'pending', ready = 4, waiting_on = 'sleep 1', scheduled_at = created_at",
    "all keyed": "idempotency_key = 'k' || id",
    "one queue each": "queue = 'q' || id",
}


def attempted_once(store: Store, changed: str) -> None:
    """300 jobs with an attempt each, all changed in the same way, and statistics of them if they are changed."""
    store.submit(*(asked() for _ in range(300)))
    store.database.execute_sql(
        "INSERT INTO job_attempts (job_id, number, token, boot_id) SELECT id, 1, 't', 'b' FROM background_jobs"
    )
    if changed:
        store.database.execute_sql(f"UPDATE background_jobs SET {changed}")
        store.database.execute_sql("ANALYZE")


@pytest.fixture(scope="module", params=POPULATIONS.values(), ids=POPULATIONS.keys())
def attempted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One of each population, for those who only ask."""
    store = Store(tmp_path_factory.mktemp("attempted"))
    attempted_once(store, request.param)
    store.database.execute_sql("PRAGMA query_only = on")
    yield store
    store.close()


def plan(store: Store, statement: str) -> list[str]:
    values = dict.fromkeys(re.findall(r":(\w+)", statement), 1)
    rows = store.database.execute_sql(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    return [row[3] for row in rows]


def test_hot_statements_use_their_index_whatever_the_statistics(attempted: Store) -> None:
    for name, index in HOT.items():
        steps = plan(attempted, STATEMENTS[name])
        text = "\n".join(steps)
        assert index in text, f"{name}:\n{text}"
        assert "TEMP B-TREE" not in text, f"{name}:\n{text}"
        by_index = [step for step in steps if index in step]
        on_jobs = [step for step in steps if re.match(r"(SCAN|SEARCH) (t1|background_jobs)", step)]
        assert by_index
        for step in on_jobs:
            assert step in by_index or "INTEGER PRIMARY KEY" in step, f"{name}:\n{text}"


MANY = 10_000_000

LARGE = {
    "half ready, half finished": {
        "jobs_ready": f"{MANY // 2} {MANY // 2} {MANY // 2} 1",
        "jobs_of_class": f"{MANY // 2} {MANY // 2} {MANY // 2} {MANY // 2} 1",
        "jobs_finished": f"{MANY // 2} {MANY // 2} 1",
    },
    "all ready": {
        "jobs_ready": f"{MANY} {MANY} {MANY} 1",
        "jobs_of_class": f"{MANY} {MANY} {MANY} {MANY} 1",
        "jobs_pending": f"{MANY} {MANY}",
    },
    "a class each": {"jobs_ready": f"{MANY} {MANY} {MANY} 1", "jobs_of_class": f"{MANY} {MANY} 1 1 1"},
    "all scheduled": {"jobs_scheduled": f"{MANY} 1", "jobs_pending": f"{MANY} {MANY}"},
    "none pending": {"jobs_pending": "0 0"},
    "all running": {"jobs_running": f"{MANY} {MANY}"},
    "all finished": {"jobs_finished": f"{MANY} {MANY // 3} 1"},
}
"""What ANALYZE would have written about ten million jobs."""


@pytest.mark.parametrize("statistics", LARGE.values(), ids=LARGE.keys())
def test_hot_statements_use_their_index_in_a_table_of_millions(
    store: Store, statistics: dict[str, str]
) -> None:
    store.submit(asked())
    store.database.execute_sql("ANALYZE")
    store.database.execute_sql("DELETE FROM sqlite_stat1")
    indexes = ("jobs_ready", "jobs_of_class", "jobs_scheduled", "jobs_running", "jobs_key")
    empty = dict.fromkeys(indexes, "0 0")
    for index, numbers in (empty | statistics | {None: str(MANY)}).items():
        store.database.execute_sql(
            "INSERT INTO sqlite_stat1 VALUES ('background_jobs', ?, ?)", (index, numbers)
        )
    store.close()
    store.open()
    for name in (
        *("SELECT_READY", "SELECT_READY_OF_CLASS", "SELECT_NEXT_READY_CLASS", "SELECT_RUNNING"),
        *("SELECT_NEXT_DUE", "MAKE_READY", "COUNT_RUNNING"),
    ):
        text = "\n".join(plan(store, STATEMENTS[name]))
        assert HOT[name] in text, f"{name}:\n{text}"
        assert "TEMP B-TREE" not in text, f"{name}:\n{text}"


def test_a_job_is_found_by_the_index_of_keys_whatever_the_statistics(attempted: Store) -> None:
    (step,) = plan(attempted, reads.ID_OF_KEY)
    assert "jobs_key (idempotency_key=?)" in step


def test_the_step_before_is_looked_for_from_the_jobs_newest_entry_on(store: Store) -> None:
    text = "\n".join(plan(store, progress.DELETE_STORED))
    assert "logs_job (job_id=? AND id<?)" in text
    assert "TEMP B-TREE" not in text


@pytest.mark.parametrize("is_analyzed", [False, True])
@pytest.mark.parametrize("name", ["SHIFT_RETRIES", "SHIFT_RETRIES_FROM_THE_FUTURE"])
def test_a_clock_that_was_set_moves_waiting_jobs_without_a_look_at_those_that_have_ended(
    store: Store, name: str, is_analyzed: bool
) -> None:
    store.submit(*(asked() for _ in range(300)))
    store.database.execute_sql(f"UPDATE background_jobs SET {POPULATIONS['all failed, not ready']}")
    if is_analyzed:
        store.database.execute_sql("ANALYZE")
    jobs, *_, attempts = plan(store, STATEMENTS[name])
    assert "jobs_scheduled" in jobs
    assert "SEARCH t1 USING PRIMARY KEY (job_id=?)" in attempts


def test_the_search_for_ready_jobs_reads_no_more_than_it_gives(store: Store) -> None:
    steps = plan(store, of_slots.SELECT_READY)
    assert any("SEARCH" in step and "jobs_ready (queue=?)" in step for step in steps), steps


def test_the_search_for_the_ready_jobs_of_a_class_reads_the_index_alone_and_no_other_class(
    store: Store,
) -> None:
    (step,) = plan(store, of_slots.SELECT_READY_OF_CLASS)
    assert step.endswith("COVERING INDEX jobs_of_class (queue=? AND class_name=?)"), step
    (step,) = plan(store, of_slots.SELECT_NEXT_READY_CLASS)
    assert step.endswith("COVERING INDEX jobs_of_class (queue=? AND class_name>?)"), step


def test_the_search_for_due_jobs_stops_at_now(store: Store) -> None:
    steps = plan(store, of_times.MAKE_READY)
    assert any("SEARCH" in step and "jobs_scheduled (scheduled_at<?)" in step for step in steps), steps


@pytest.mark.parametrize(
    "wanted",
    [
        JobFilter(),
        JobFilter(search="example"),
        JobFilter(queue="default"),
        JobFilter(status=("pending",)),
        JobFilter(status=("retrying",)),
        JobFilter(status=("waiting",)),
        JobFilter(status=("completed", "failed"), method_name="run"),
    ],
    ids=str,
)
def test_a_page_finds_the_latest_attempts_of_its_rows_only_and_by_their_keys(
    attempted: Store, wanted: JobFilter
) -> None:
    reader = Reader(attempted.state_dir)
    with statements_run_on(reader._database) as run:
        reader.list(wanted, now=NOW)
    reader.close()
    edges = [statement for statement in run if "OFFSET" in statement]
    rows = [statement for statement in run if statement not in edges]
    assert rows
    for edge in edges:
        assert not [step for step in plan(attempted, edge) if re.match("(SCAN|SEARCH) a ", step)]
    for statement in rows:
        steps = plan(attempted, statement)
        assert not [step for step in steps if "TEMP B-TREE" in step], steps
        on_both = [step for step in steps if re.match("(SCAN|SEARCH) (a|j) ", step)]
        for job, attempt in zip(on_both[::2], on_both[1::2], strict=True):
            assert job.startswith("SEARCH j USING IN"), steps
            assert attempt.startswith("SEARCH a USING PRIMARY KEY (job_id=? AND number=?)"), steps


def test_the_latest_attempts_are_read_in_their_order_and_their_jobs_by_id(attempted: Store) -> None:
    assert plan(attempted, usage._LATEST_ENDED) == ["SCAN a", "SEARCH j USING INTEGER PRIMARY KEY (rowid=?)"]


def test_a_start_counts_on_indexes_and_no_end_that_is_older_than_an_hour(attempted: Store) -> None:
    for statement in tally.COUNT_PLACES:
        (step,) = [step for step in plan(attempted, statement) if re.match("SCAN|SEARCH", step)]
        assert "INDEX jobs_" in step, step
    by_minute = "SEARCH background_jobs USING COVERING INDEX jobs_ended (status=? AND finished_at>? AND finished_at<?)"
    assert by_minute in plan(attempted, tally.COUNT_ENDS)
    future = "SEARCH background_jobs USING COVERING INDEX jobs_ended (status=? AND finished_at>?)"
    assert future in plan(attempted, tally.COUNT_FUTURE_ENDS)


def test_what_is_old_is_found_on_the_index_of_ends_alone_and_in_its_order(attempted: Store) -> None:
    for statement in (retention.OLDEST_END, retention.ENDED_BEFORE, retention.COUNT_ENDED_BEFORE):
        step, *of_reviews = plan(attempted, statement)  # and so no TEMP B-TREE
        assert "SEARCH background_jobs USING COVERING INDEX jobs_ended (status=? AND finished_at>?" in step
        with suppress(ValueError):
            of_reviews.remove("CREATE BLOOM FILTER")  # which SQLite makes from 3.53 on
        assert of_reviews == ["LIST SUBQUERY 1", "SCAN background_jobs USING INDEX jobs_for_review"]


@pytest.mark.parametrize("is_analyzed", [False, True])
def test_errors_and_their_attempts_are_found_on_indexes_and_nothing_is_sorted(
    store: Store, is_analyzed: bool
) -> None:
    attempted_once(store, "status = 'failed', finished_at = created_at" if is_analyzed else "")
    store.database.execute_sql("UPDATE job_attempts SET error_group = 1 + job_id % 2")
    if is_analyzed:
        store.database.execute_sql("ANALYZE")
    every = error_pages.ErrorFilter("2024", "myapp.jobs.Mail", "2024")
    found = {
        errors.SELECT_KNOWN: "SEARCH error_groups USING COVERING INDEX errors_by_fingerprint (fingerprint=?)",
        errors.MEET_AGAIN: "SEARCH error_groups USING INDEX errors_by_fingerprint (fingerprint=?)",
        errors.COUNT_NAMED: "SEARCH error_groups USING COVERING INDEX errors_named (class_name=?)",
        errors.SELECT_CODES: "SEARCH a USING PRIMARY KEY (job_id=? AND number=?)",
        errors.TELL_ATTEMPT: "SEARCH job_attempts USING PRIMARY KEY (job_id=? AND number=?)",
        errors.COUNT_FAILED: "SEARCH error_groups USING INTEGER PRIMARY KEY (rowid=?)",
        errors.FORGET_OLDEST: "SCAN error_groups USING COVERING INDEX errors_by_time",
        errors.FORGET_SILENT: "SEARCH error_groups USING COVERING INDEX errors_by_time (last_at<?)",
        errors.FORGET_COUNTS_OF_OLDEST: "SEARCH error_tallies USING PRIMARY KEY (error_group=?)",
        errors.FORGET_COUNTS_OF_SILENT: "SEARCH error_tallies USING PRIMARY KEY (error_group=?)",
        rising.MET: "SEARCH error_groups USING INDEX errors_by_time (last_at>?)",
        rising.COUNTED: "SEARCH t USING PRIMARY KEY (error_group=? AND span=? AND at>?)",
        errors.OLDEST: "SEARCH error_groups USING COVERING INDEX errors_by_time",
        error_pages.page_of(every): "SEARCH g USING INDEX errors_by_time (last_at>? AND last_at<?)",
        error_pages.ONE: "SEARCH g USING INTEGER PRIMARY KEY (rowid=?)",
        error_pages.TRACEBACK: "SEARCH job_attempts USING PRIMARY KEY (job_id=? AND number=?)",
    }
    for statement, step in found.items():
        steps = plan(store, statement)
        assert step in steps, (statement, steps)
        assert not [step for step in steps if "TEMP B-TREE" in step], (statement, steps)
    by_id = plan(store, error_pages.page_of(every._replace(sort=ErrorSort.NEWEST)))
    assert "SEARCH g USING INTEGER PRIMARY KEY (rowid<?)" in by_id
    assert not [step for step in by_id if "TEMP B-TREE" in step]
    own, others = (plan(store, statement) for statement in (error_traits.OWN, error_traits.OTHERS))
    assert "SEARCH job_attempts USING COVERING INDEX attempts_of_error (error_group=?)" in own
    assert "SEARCH a USING PRIMARY KEY (job_id=? AND number=?)" in own
    assert "SEARCH background_jobs USING INDEX jobs_by_class (class_name=? AND rowid>? AND rowid<?)" in others
    assert "SEARCH a USING PRIMARY KEY (job_id=?)" in others
    assert not [step for step in [*own, *others] if "TEMP B-TREE" in step]
    lately = plan(store, error_pages.LATELY)
    assert "SEARCH e USING COVERING INDEX attempts_of_error (error_group=? AND job_id>?)" in lately
    assert "SEARCH j USING INTEGER PRIMARY KEY (rowid=?)" in lately
    of_classes = plan(store, error_pages.CLASSES)
    assert "SEARCH job_attempts USING COVERING INDEX attempts_of_error (error_group=?)" in of_classes
    walk = f"SELECT e.job_id FROM {OF_ERROR} AND (e.job_id) < (:start) ORDER BY 1 DESC LIMIT :limit"
    steps = plan(store, walk)
    assert "SEARCH e USING COVERING INDEX attempts_of_error (error_group=? AND job_id<?)" in steps
    assert not [step for step in steps if "TEMP B-TREE" in step]


@pytest.mark.parametrize("changed", POPULATIONS.values(), ids=POPULATIONS.keys())
def test_labels_and_their_jobs_are_found_by_their_key_and_nothing_is_sorted(
    store: Store, changed: str
) -> None:
    attempted_once(store, changed)
    store.database.execute_sql("INSERT INTO job_labels SELECT 'l' || id % 3, id FROM background_jobs")
    if changed:
        store.database.execute_sql("ANALYZE")
    of_running = of_attempts.SELECT_RUNNING_ATTEMPTS_OF_LABEL
    for statement in (
        labels.COUNT,
        labels.COUNT_STANDINGS,
        labels.DELETE,
        labels.LABEL,
        labels.LOSE,
        of_running,
    ):
        steps = "\n".join(plan(store, statement))
        assert not re.search(r"SCAN (l|j|job_labels|background_jobs)\b", steps), steps
        is_of_few = statement in (labels.COUNT, labels.COUNT_STANDINGS)  # a page of labels, or a hundred jobs
        assert is_of_few or "TEMP B-TREE" not in steps, steps
    reader = Reader(store.state_dir)
    with statements_run_on(reader._database) as run:
        reader.list(JobFilter(label="l1"), now=NOW)
    reader.close()
    (listing,) = [sql for sql in run if "job_labels" in sql]
    steps = "\n".join(plan(store, listing))
    assert "SEARCH l USING PRIMARY KEY (label=? AND job_id" in steps
    assert "SCAN" not in steps
    assert "TEMP B-TREE" not in steps


def test_jobs_for_review_are_found_on_an_index_of_theirs(attempted: Store) -> None:
    for statement in tally._COUNT_FOR_REVIEW:
        assert plan(attempted, statement) == ["SCAN background_jobs USING INDEX jobs_for_review"]
    (source,) = JOB_SOURCES["review"]
    steps = plan(attempted, f"SELECT j.id FROM {source} AND j.id < :before ORDER BY j.id DESC LIMIT :limit")
    assert steps == ["SEARCH j USING INDEX jobs_for_review (id<?)"]


def test_what_may_need_somebody_is_found_on_indexes(attempted: Store) -> None:
    found = {
        needs.CRASHED: "SEARCH background_jobs USING INDEX jobs_crashed (finished_at>?)",
        needs.REVIEW: "SCAN background_jobs USING INDEX jobs_for_review",
        needs.NEW_ERRORS: "SEARCH error_groups USING INDEX errors_by_time (last_at>?)",
        needs.SKIPPED: "SEARCH o USING PRIMARY KEY (name=? AND at=?)",
        needs.FAILING: "SEARCH background_jobs USING INDEX jobs_by_schedule (schedule=?)",
        needs.LAST_JOBS: "SEARCH background_jobs USING INDEX jobs_by_schedule (schedule=?)",
        method_usage.COMPLETED: "SEARCH method_usage USING PRIMARY KEY (class_name=?)",
    }
    for statement, step in found.items():
        assert step in plan(attempted, statement), (statement, plan(attempted, statement))


@pytest.mark.parametrize("changed", ["", *list(POPULATIONS.values())[1:5]])
@pytest.mark.parametrize(
    "wanted",
    [
        JobFilter(status=("failed",)),
        JobFilter(status=("failed", "cancelled"), class_name="a.B", queue="mail", since="2024"),
        JobFilter(status=("pending",)),  # those that run are few, and sorted
        JobFilter(status=("failed",), bulk=1),
        JobFilter(status=("pending",), error=1),
        JobFilter(status=("failed",), schedule="nightly"),
    ],
    ids=str,
)
def test_all_that_match_are_found_on_indexes_in_portions_and_nothing_is_sorted(
    store: Store, changed: str, wanted: JobFilter
) -> None:
    attempted_once(store, changed)
    reader = Reader(store.state_dir)
    with statements_run_on(reader._database) as run:
        reader.matching(wanted, to_text(NOW), None, 100, NOW)
    reader.close()
    assert run
    for statement in run:
        steps = plan(store, statement)
        assert not [step for step in steps if "TEMP B-TREE" in step or step.startswith("SCAN")], steps


def test_changes_are_found_by_their_ids(store: Store) -> None:
    for statement in (changes.PAGE, changes.UPDATE, changes.TRIM):
        assert "INTEGER PRIMARY KEY" in " ".join(plan(store, statement)), statement
    assert "SEARCH background_jobs USING INTEGER PRIMARY KEY (rowid=?)" in plan(store, many.MARK)


def test_alerts_are_found_on_indexes(store: Store) -> None:
    found = {
        alerts.UNTOLD: "SCAN alerts USING INDEX alerts_untold",
        alerts.LATELY: "SEARCH alerts USING INDEX alerts_told (told_at>?)",
        alerts.PAGE: "SEARCH alerts USING INTEGER PRIMARY KEY (rowid<?)",
        alerts.OPEN_PAGE: "SEARCH alerts USING INDEX alerts_untold (id<?)",
    }
    for statement, step in found.items():
        assert step in plan(store, statement), (statement, plan(store, statement))


def test_whether_a_job_has_a_newer_entry_or_others_after_it_is_found_on_an_index(attempted: Store) -> None:
    steps = plan(attempted, of_deletions.SELECT_DELETABLE)
    assert any("COVERING INDEX edges_after (of=? AND after_id=?)" in step for step in steps)
    (step,) = [step for step in steps if "logs_job" in step]
    assert re.fullmatch(r"SEARCH \w+ USING COVERING INDEX logs_job \(job_id=\? AND id>\?\)", step)


def test_ended_jobs_are_counted_without_a_look_at_any_of_them(store: Store) -> None:
    for statement in tally.COUNT_PLACES[:3]:
        assert plan(store, statement) == ["SEARCH background_jobs USING INDEX jobs_finished (status=?)"]
        steps = store.database.execute_sql(f"EXPLAIN {statement}").fetchall()
        assert not [step for step in steps if step[1] == "Column"]


def test_the_jobs_before_one_are_counted_on_indexes_that_begin_and_end_where_they_do(
    attempted: Store,
) -> None:
    on_jobs = [step for step in plan(attempted, waiting.COUNT_AHEAD) if "background_jobs" in step]
    assert [re.sub(r".* INDEX ", "", step) for step in on_jobs] == [
        "jobs_ready (queue=? AND priority>?)",
        "jobs_ready (queue=? AND priority=? AND turn<?)",
        "jobs_ready (queue=? AND priority=? AND turn=? AND id<?)",
        "jobs_scheduled (scheduled_at<?)",
    ]


def test_the_oldest_pending_job_is_found_by_its_index_in_the_order_of_ids(attempted: Store) -> None:
    steps = plan(attempted, due.OLDEST_DUE)
    assert not [step for step in steps if "TEMP B-TREE" in step], steps
    on_jobs = [step for step in steps if re.match("(SCAN|SEARCH) background_jobs", step)]
    assert "jobs_pending (ready=?)" in on_jobs[0]
    assert "jobs_scheduled (scheduled_at<?)" in on_jobs[1]


def test_the_oldest_pending_job_of_a_queue_is_found_on_the_index_of_claims_priority_by_priority(
    attempted: Store,
) -> None:
    steps = plan(attempted, due.OLDEST_DUE_BY_QUEUE)
    assert [step for step in steps if "TEMP B-TREE" in step] == ["USE TEMP B-TREE FOR GROUP BY"]
    on_jobs = [step for step in steps if re.match("(SCAN|SEARCH) background_jobs", step)]
    assert [re.sub(r".* INDEX ", "", step) for step in on_jobs] == [
        "jobs_ready (queue=?)",
        "jobs_ready (queue=? AND priority>?)",
        "jobs_ready (queue=? AND priority=?)",
        "jobs_scheduled (scheduled_at<?)",
    ]


def test_what_is_due_of_a_queue_is_counted_on_the_index_of_claims_alone(attempted: Store) -> None:
    steps = plan(attempted, due.DUE)
    assert "SEARCH background_jobs USING COVERING INDEX jobs_ready (queue=?)" in steps
    assert not [step for step in steps if "TEMP B-TREE" in step]
    steps = plan(attempted, due.LATER)
    assert "SEARCH background_jobs USING INDEX jobs_scheduled (scheduled_at>?)" in steps


# Keys

OF_KEYS = {
    "running of a key": (gate.COUNT_KEY_RUNNING, "INDEX jobs_key_running (queue=? AND key=?)"),
    "ready of a key": (gate.COUNT_KEY_READY, "INDEX jobs_key_ready (queue=? AND key=?)"),
    "last ready": (gate.SELECT_LAST_READY, "INDEX jobs_key_ready (queue=? AND key=?)"),
    "first ready": (gate.PUT_FIRST_BEHIND, "INDEX jobs_key_ready (queue=? AND key=?)"),
    "first behind": (gate.SELECT_FIRST_BEHIND, "jobs_behind (queue=? AND key=?)"),
    "promoted": (gate.PROMOTE, "INTEGER PRIMARY KEY"),
    "put behind": (gate.PUT_BEHIND, "INTEGER PRIMARY KEY"),
    "a wait": (gate.SET_WAIT, "INTEGER PRIMARY KEY"),
    "due behind": (gate.SELECT_DUE_BEHIND, "jobs_due_behind (waits_until>? AND waits_until<?)"),
    "next behind": (gate.SELECT_NEXT_BEHIND, "INDEX jobs_due_behind"),
    "latest turn": (
        gate.SELECT_LATEST_TURN,
        "INDEX jobs_turns (queue=? AND key=? AND priority=? AND turn>?)",
    ),
    "turn of a queue": (gate.SELECT_QUEUE_TURN, "PRIMARY KEY (queue=? AND priority=?)"),
    "a turn": (gate.SET_TURN, "INTEGER PRIMARY KEY"),
    "next key": (adoption.SELECT_NEXT_KEY, "INDEX jobs_behind (queue=? AND key>?)"),
    "turns that end": (adoption.TAKE_TURNS_AWAY, "jobs_turns (queue=?)"),
    "buckets": (rates.SELECT_BUCKETS, "PRIMARY KEY (scope=?)"),
    "of a queue": (rates.BOUND_OF_QUEUE, "PRIMARY KEY (scope>? AND scope<?)"),
    "waiting of a class": (rates.IS_WAITING, "INDEX jobs_of_class (queue=? AND class_name=?)"),
    "shifted behind": (rates.SHIFT_BEHIND, "jobs_due_behind (waits_until>?)"),
    "asked anew": (rates.ASK_BEHIND_ANEW, "jobs_due_behind (waits_until>?)"),
    "whole buckets": (rates.SELECT_WHOLE_BUCKETS, "PRIMARY KEY (scope=?)"),
    "who of a key runs": (waiting.SELECT_KEY_RUNNING, "INDEX jobs_key_running (queue=? AND key=?)"),
    "who of a key is ready": (waiting.SELECT_KEY_READY, "INDEX jobs_key_ready (queue=? AND key=?)"),
    "before one of a key": (
        waiting.COUNT_READY_AHEAD,
        "INDEX jobs_key_ready (queue=? AND key=? AND priority=? AND turn=? AND id<?)",
    ),
    "before one behind": (
        waiting.COUNT_BEHIND_AHEAD,
        "INDEX jobs_behind (queue=? AND key=? AND priority=? AND turn=? AND id<?)",
    ),
    "turn to come": (
        waiting.SELECT_TURN_TO_COME,
        "INDEX jobs_turns (queue=? AND key=? AND priority=? AND turn>?)",
    ),
    "whether it is ready": (waiting.SELECT_READY, "INTEGER PRIMARY KEY"),
    "keys that run": (keys.SELECT_NEXT, "COVERING INDEX jobs_key_running (queue=? AND key>?)"),
    "keys that are ready": (keys.SELECT_NEXT, "INDEX jobs_key_ready (queue=? AND key>?)"),
    "keys that wait": (keys.SELECT_NEXT, "COVERING INDEX jobs_behind (queue=? AND key>?)"),
    "how a key stands": (keys.SELECT_STATE, "COVERING INDEX jobs_behind (queue=? AND key=?)"),
    "the first behind": (keys.SELECT_STATE, "USING INDEX jobs_behind (queue=? AND key=?)"),
    "all keys that run": (keys.SELECT_RUNNING, "COVERING INDEX jobs_key_running (queue=? AND key>?)"),
    "one of many that wait": (keys.SELECT_SAMPLED, "INDEX jobs_pending (ready=? AND rowid>?)"),
    "its key": (keys.SELECT_SAMPLED, "j USING INTEGER PRIMARY KEY (rowid=?)"),
    "made ready": (of_times.MAKE_READY_OR_BEHIND, "jobs_scheduled (scheduled_at<?)"),
}
"""Each statement about keys, and what it finds its rows by."""


def test_what_is_done_for_keys_is_found_by_its_index(attempted: Store) -> None:
    for name, (statement, index) in OF_KEYS.items():
        text = "\n".join(plan(attempted, statement))
        assert index in text, f"{name}:\n{text}"
        assert "TEMP B-TREE" not in text, f"{name}:\n{text}"


# Steps, waits and signals

OF_STEPS = {
    "steps of jobs": (steps.SELECT_NAMES, "PRIMARY KEY (job_id=?)"),
    "finished ones": (steps.SELECT_FINISHED, "PRIMARY KEY (job_id=? AND kind=?)"),
    "settled waits": (steps.SELECT_SETTLED, "PRIMARY KEY (job_id=?)"),
    "a count": (steps.COUNT_STEPS, "INTEGER PRIMARY KEY"),
    "states of jobs": (steps.SELECT_STATES, "INTEGER PRIMARY KEY (rowid=?)"),
    "a state that is told": (step_pages.SELECT_STATE, "INTEGER PRIMARY KEY (rowid=?)"),
    "steps that go": (steps.DELETE_CARRIED[0], "PRIMARY KEY (job_id=?)"),
    "steps that are taken over": (steps.COPY_STEPS, "job_steps USING PRIMARY KEY (job_id=?)"),
    "where a job goes on": (
        steps.SELECT_CUTS,
        "s USING PRIMARY KEY (job_id=? AND kind=? AND name=? AND turn=?)",
    ),
    "what was done before": (steps.SELECT_CUTS, "b USING PRIMARY KEY (job_id=?)"),
    "steps that are forgotten": (steps.FORGET_STEPS, "PRIMARY KEY (job_id=?)"),
    "a state that is": (steps.FORGET_STATE, "INTEGER PRIMARY KEY"),
    "signals to take anew": (waits.FREE_SIGNALS, "PRIMARY KEY (job_id=?)"),
    "an open wait": (waits.SELECT_OPEN, "PRIMARY KEY (job_id=?)"),
    "one that goes": (waits.DROP_WAIT, "PRIMARY KEY (job_id=?)"),
    "one that is moved": (waits.MOVE_WAIT, "PRIMARY KEY (job_id=?)"),
    "a settled one": (waits.SETTLE, "PRIMARY KEY (job_id=? AND kind=? AND name=? AND turn=?)"),
    "the oldest signal": (waits.SELECT_UNTAKEN, "PRIMARY KEY (job_id=?)"),
    "a taken one": (waits.TAKE_SIGNAL, "PRIMARY KEY (job_id=? AND number=?)"),
    "signals of jobs": (waits.SELECT_SIGNALS, "PRIMARY KEY (job_id=?)"),
    "steps that are told": (step_pages.SELECT_FINISHED, "PRIMARY KEY (job_id=?)"),
    "those begun": (step_pages.SELECT_BEGUN, "PRIMARY KEY (job_id=?)"),
    "signals that are told": (step_pages.SELECT_SIGNALS, "PRIMARY KEY (job_id=?)"),
    "the one under way": (step_pages.SELECT_UNDER_WAY, "PRIMARY KEY (job_id=? AND kind=?)"),
    "jobs amid them": (step_pages.COUNT_AMID, "INDEX jobs_suspended"),
    "those under way of all": (step_pages.SELECT_ALL_UNDER_WAY, "PRIMARY KEY (job_id=? AND kind=?)"),
    "signals that go": (steps.DELETE_CARRIED[1], "PRIMARY KEY (job_id=?)"),
    "who is due": (of_times.MAKE_READY_AFTER_WAIT, "jobs_waiting (scheduled_at>? AND scheduled_at<?)"),
    "who is due next": (of_times.SELECT_NEXT_TIMEOUT, "INDEX jobs_waiting"),
    "shifted": (of_times.SHIFT_WAITS, "INDEX jobs_waiting"),
    "shifted at a start": (of_times.SHIFT_WAITS_FROM_THE_FUTURE, "INDEX jobs_waiting"),
    "the last value": (values.SELECT_LAST, "PRIMARY KEY (job_id=?)"),
    "the first one": (values.SELECT_FIRST, "PRIMARY KEY (job_id=?)"),
    "values that are told": (values.SELECT_PAGE, "PRIMARY KEY (job_id=? AND number>?)"),
    "values that are too many": (values.TRIM, "PRIMARY KEY (job_id=? AND number<?)"),
    "values that go": (values.DELETE_OLDEST, "PRIMARY KEY (job_id=? AND number<?)"),
    "how many are kept": (values.SELECT_VALUED, "(job_id=? AND number=?)"),
    "what follows them": (waits.FOLLOW_JOBS, "job_steps USING PRIMARY KEY (job_id=?)"),
}
"""Each statement about them, and what it finds its rows by."""


@pytest.mark.parametrize("statistics", [None, "10000000 10000000"], ids=["no statistics", "millions"])
def test_what_is_kept_of_steps_is_found_by_its_job(store: Store, statistics: str | None) -> None:
    if statistics is not None:
        store.database.execute_sql("ANALYZE")
        for table in ("job_steps", "job_signals", "job_values", "background_jobs"):
            store.database.execute_sql("INSERT INTO sqlite_stat1 VALUES (?, NULL, ?)", (table, statistics))
    for name, (statement, index) in OF_STEPS.items():
        text = "\n".join(plan(store, statement))
        assert index in text, f"{name}:\n{text}"
        scans = [step for step in plan(store, statement) if step.startswith("SCAN") and not _is_small(step)]
        assert not scans or re.search("INDEX jobs_(waiting|running|suspended)", scans[0]), f"{name}:\n{text}"


@pytest.mark.parametrize("changed", POPULATIONS.values(), ids=POPULATIONS.keys())
def test_the_books_walk_once_through_steps_and_signals(store: Store, changed: str) -> None:
    attempted_once(store, changed)
    store.database.execute_sql(
        "INSERT INTO job_steps (job_id, kind, name, turn, attempt, tries, began_at, is_awaited, timed_out) "
        "SELECT id, 'step', 'a', 1, 1, 1, '', 0, 0 FROM background_jobs"
    )
    if changed:
        store.database.execute_sql("ANALYZE")
    for statement, walked in (
        (audit_of_steps._ODD_STEPS, ["SCAN job_steps", "SCAN s"]),
        (audit_of_steps._ODD_SIGNALS, ["SCAN g"]),
        (audit_of_steps._WITHOUT_SIGNAL, ["SCAN s"]),
        (audit_of_steps._ODD_VALUES, ["SCAN job_values", "SCAN v"]),
        (audit_of_steps._OF_NO_ATTEMPT, ["SCAN s"]),
    ):
        found = plan(store, statement.format(most=100))
        assert [step for step in found if step.startswith("SCAN")] == walked, found
        assert not any("TEMP B-TREE" in step for step in found), found


# Edges and groups

OF_TIES = {
    "edges after what ended": (release._SELECT_WITH_EDGES, "edges_after (of=? AND after_id=?)"),
    "edges to settle": (release._SELECT_EDGES, "edges_after (of=? AND after_id=? AND job_id>?)"),
    "what ended": (ends._SELECT_END, "INTEGER PRIMARY KEY"),
    "results": (ends._SELECT_RESULTS, "jobs_of_group (group_id=?)"),
    "groups in a group": (ends._SELECT_NESTED, "groups_of_group (group_id=?)"),
    "failed edges of a job": (release._COUNT_FAILED, "PRIMARY KEY (job_id=?)"),
    "the one before it of its schedule": (release._SELECT_OLDER, "jobs_of_schedule (schedule=? AND id<?)"),
    "members to cancel": (release._SELECT_MEMBERS, "jobs_of_group (group_id=? AND id>?)"),
    "what is noted": (release._NOTE, ""),
    "what is noted no more": (release._FORGET, "PRIMARY KEY (of=? AND id=?)"),
    "what new jobs come after": (dependencies._SELECT_STANDS, "INTEGER PRIMARY KEY"),
    "groups and those around them": (dependencies._SELECT_GROUPS, "INTEGER PRIMARY KEY"),
    "groups by their keys": (dependencies._SELECT_GROUP_KEYS, "groups_key (idempotency_key=?)"),
    "failed edges of those to retry": (dependencies.SELECT_FAILED_EDGES, "PRIMARY KEY (job_id=?)"),
    "a move": (of_ties.MOVE_EDGE, "PRIMARY KEY (job_id=? AND of=? AND after_id=?)"),
    "what is forgiven": (of_ties.FORGIVE_EDGES, "PRIMARY KEY (job_id=?)"),
    "ties": (of_ties.UPDATE_TIES, "INTEGER PRIMARY KEY"),
    "counts": (of_ties.COUNT_GROUP, "INTEGER PRIMARY KEY"),
    "a seal": (of_ties.SEAL_GROUP, "INTEGER PRIMARY KEY"),
    "edges that go": (of_deletions.DELETE_EDGES, "PRIMARY KEY (job_id=?)"),
    "whether members are needed": (deletions._IS_NEEDED, "edges_after (of=? AND after_id=?)"),
    "a group that goes": (deletions._DELETE_GROUP, "jobs_of_group (group_id=?)"),
    "groups that may go": (deletions._SELECT_GROUPS, "jobs_of_group (group_id=?)"),
    "a job's predecessors": (graphs._SELECT_PREDECESSORS, "PRIMARY KEY (job_id=?)"),
    "a node's successors": (graphs._SELECT_SUCCESSORS, "edges_after (of=? AND after_id=?)"),
    "a group's members": (graphs._SELECT_MEMBERS, "jobs_of_group (group_id=?)"),
    "its groups": (graphs._SELECT_NESTED, "groups_of_group (group_id=?)"),
    "edges of a graph": (graphs._SELECT_EDGES, "PRIMARY KEY (job_id=?)"),
    "jobs of a level": (graph_reach.SELECT_JOBS, "INTEGER PRIMARY KEY"),
    "predecessors of a level": (graph_reach.SELECT_BEFORE, "PRIMARY KEY (job_id=?)"),
    "successors of a level": (graph_reach.SELECT_LATER, "edges_after (of=? AND after_id=?)"),
    "groups around a level": (graph_reach.SELECT_AROUND, "INTEGER PRIMARY KEY"),
    "groups in a level": (graph_reach.SELECT_NESTED, "groups_of_group (group_id=?)"),
    "members of a level": (graph_reach.SELECT_MEMBERS, "jobs_of_group (group_id=?)"),
    "members to retry": (graphs._SELECT_RETRYABLE, "jobs_of_group (group_id=? AND id>?)"),
    "groups that have not ended": (graphs._COUNT_UNENDED, "groups_unended"),
}
"""Each statement about them, and what it must find its rows by."""

TIED = """
    INSERT INTO job_dependencies SELECT id + 1, 'job', id, 0 FROM background_jobs;
    INSERT INTO job_groups (since_id, total, unfinished, completed, failed, cancelled, created_at)
        SELECT 0, 1, 1, 0, 0, 0, '' FROM background_jobs;
    UPDATE background_jobs SET group_id = id
"""


@pytest.mark.parametrize("changed", POPULATIONS.values(), ids=POPULATIONS.keys())
def test_what_is_asked_about_edges_and_groups_is_found_by_an_index_whatever_the_statistics(
    store: Store, changed: str
) -> None:
    attempted_once(store, changed)
    for statement in TIED.split(";"):
        store.database.execute_sql(statement)
    if changed:
        store.database.execute_sql("ANALYZE")
    for name, (statement, index) in OF_TIES.items():
        steps = plan(store, statement)
        text = "\n".join(steps)
        assert index in text, f"{name}:\n{text}"
        scans = [step for step in steps if step.startswith("SCAN") and not _is_small(step)]
        assert not scans or "groups_unended" in text, f"{name}:\n{text}"


def _is_small(step: str) -> bool:
    """Whether it is a walk through what the statement itself was given, or has found before."""
    return re.match(r"SCAN (json_each|wanted|up|CONSTANT ROW|\d+ CONSTANT ROWS?)\b", step) is not None


def test_the_books_walk_once_through_edges_and_groups_and_find_the_rest_by_keys(attempted: Store) -> None:
    for statement, walked in ((audit_of_ties._ODD_EDGES, ["SCAN d"]), (audit_of_ties._ODD_GROUPS, [])):
        steps = plan(attempted, statement)
        scans = [step for step in steps if re.match(r"SCAN [djp]\b", step)]
        assert scans == walked or all("jobs_of_group" in step for step in scans), steps


@pytest.mark.parametrize("statistics", [None, "10000000 10000000"], ids=["no statistics", "millions"])
def test_a_unique_key_is_found_by_itself_by_its_job_or_by_its_time(
    store: Store, statistics: str | None
) -> None:
    if statistics is not None:
        store.database.execute_sql("ANALYZE")
        store.database.execute_sql("INSERT INTO sqlite_stat1 VALUES ('unique_keys', NULL, ?)", (statistics,))
    key = "PRIMARY KEY (class_name=? AND method_name=? AND key=?)"
    for statement, found_by in {
        of_ties.SELECT_HOLDINGS: key,
        of_ties.SELECT_HOLDINGS_OF_JOBS: key,
        of_ties.RELEASE_KEY: key,
        uniques.FORGET_OF_JOBS: "unique_keys_of (job_id=?)",
        uniques.SELECT_PASSED: "unique_keys_until ((held_until,class_name,method_name,key)>(?,?,?,?)",
        uniques.OLDEST_PASSED: "unique_keys_until",
    }.items():
        steps = plan(store, statement)
        of_keys = [step for step in steps if re.match(r"(SCAN|SEARCH) (u|unique_keys)\b", step)]
        assert [found_by in step for step in of_keys] == [True], steps
        assert "TEMP B-TREE" not in "\n".join(steps), steps


@pytest.mark.parametrize("is_analyzed", [False, True])
def test_what_is_counted_by_spans_is_found_by_its_key_and_attempts_of_a_class_by_their_jobs(
    store: Store, is_analyzed: bool
) -> None:
    attempted_once(store, "status = 'completed', finished_at = created_at" if is_analyzed else "")
    whole = "SEARCH {} USING PRIMARY KEY (span=? AND at=? AND {}=?)"
    found = {
        span_rows.CLASSES_THERE: "SEARCH class_tallies USING PRIMARY KEY (span=? AND at=?)",
        span_rows.CLASSES_TO_ADD_TO: "SEARCH class_tallies USING PRIMARY KEY (span=? AND at=?)",
        span_rows.WRITE_CLASS: whole.format("class_tallies", "class_name"),
        span_rows.FORGET_OF_ERROR: "SEARCH error_tallies USING PRIMARY KEY (error_group=? AND span=? AND at<?)",
        span_rows.FORGET[0]: "SEARCH class_tallies USING PRIMARY KEY (span=? AND at<?)",
        span_rows.FORGET[1]: "SEARCH queue_tallies USING PRIMARY KEY (span=? AND at<?)",
        spans.NEWEST: "SEARCH class_tallies USING PRIMARY KEY (span=?)",
        span_books.ENDED_SINCE: "SEARCH background_jobs USING INDEX jobs_ended (status=? AND finished_at>?)",
        trends.OF_CLASS: whole.format("t", "class_name"),
        trends.OF_QUEUE: whole.format("t", "queue"),
        trends.OF_CLASSES: "SEARCH class_tallies USING PRIMARY KEY (span=? AND at>? AND at<?)",
        trends.OF_QUEUES: "SEARCH queue_tallies USING PRIMARY KEY (span=? AND at>?)",
        trends.OF_ERROR: "SEARCH error_tallies USING PRIMARY KEY (error_group=? AND span=? AND at>?)",
    }
    for statement, step in found.items():
        steps = plan(store, statement)
        assert step in steps, (statement, steps)
        assert not [step for step in steps if "TEMP B-TREE" in step], (statement, steps)
    newest = plan(store, trends.NEWEST)
    by_class = "USING COVERING INDEX jobs_by_class (class_name=? AND rowid>? AND rowid<?)"
    assert f"SEARCH background_jobs {by_class}" in newest
    assert "SEARCH a USING PRIMARY KEY (job_id=?) LEFT-JOIN" in newest
