"""What PostgreSQL has nothing to do with: the files and tests that are about SQLite alone, and why."""

from __future__ import annotations

from typing import Final

_FILE: Final = "it is about the file of SQLite's"
_PLANS: Final = "it is about the plans of SQLite"
_STEPS: Final = "it counts the steps of SQLite's machine"
_BREAKS: Final = "it breaks the file, or SQLite's connection"
_LISTENS: Final = "it listens to a function of SQLite's"

OF_SQLITE: Final[dict[str, str | dict[str, str]]] = {
    "store/test_claims.py": {
        "test_the_jobs_that_wait_of_a_full_class_cost_a_commit_no_more_steps_than_a_few": _STEPS,
    },
    "store/test_database.py": _FILE,
    "store/test_expiry.py": {
        "test_a_first_transaction_that_fails_leaves_known_what_expires": _BREAKS,
    },
    "store/test_facts.py": {
        "test_a_transaction_that_failed_leaves_no_trace_and_can_be_repeated": _BREAKS,
        "test_whatever_the_file_refuses_is_raised_as_peewees_error": _BREAKS,
    },
    "store/test_gate.py": {
        "test_a_backup_that_is_put_in_place_goes_on_within_its_limits": _FILE,
        "test_an_end_its_promotion_and_the_claim_cost_no_more_however_many_jobs_and_keys_wait": _STEPS,
    },
    "store/test_migrations.py": _FILE,
    "store/test_occurrences.py": {
        "test_nothing_is_scanned_but_the_schedules": _PLANS,
    },
    "store/test_pages.py": {
        "test_a_commit_does_not_wait_for_a_search": _LISTENS,
        "test_a_list_walks_an_index_and_sorts_nothing": _PLANS,
        "test_a_search_looks_at_few_parameters_before_it_looks_at_the_clock": _STEPS,
        "test_a_statement_that_is_interrupted_keeps_what_it_found_and_skips_nothing": _STEPS,
        "test_a_total_is_counted_on_indexes": _PLANS,
        "test_a_total_that_takes_a_search_is_not_known_where_the_time_was_up": _STEPS,
        "test_entries_are_walked_by_an_index_and_nothing_is_sorted": _PLANS,
        "test_what_a_search_does_with_a_secret_does_not_depend_on_what_it_is": _LISTENS,
    },
    "store/test_query_plans.py": _PLANS,
    "store/test_reader.py": {
        "test_a_page_does_not_read_the_attempts_before_it": _PLANS,
        "test_a_reader_finds_the_file_in_a_directory_of_any_name": _FILE,
        "test_the_size_is_that_of_the_file_and_of_its_log": _FILE,
    },
    "store/test_tally.py": {
        "test_only_the_first_commit_counts": "where others write as well each commit reads what they have moved",
    },
    "store/test_whereabouts.py": _FILE,
    "store/test_writer.py": {
        "test_a_database_locked_by_another_program_refuses_submissions_until_it_lets_go": _FILE,
        "test_a_disk_with_room_for_little_is_still_full": _FILE,
        "test_a_file_beside_the_database_that_is_not_its_own_any_more_is_trouble": _FILE,
        "test_a_full_disk_is_told_as_what_it_is": _FILE,
        "test_a_full_disk_refuses_submissions_until_there_is_room": _FILE,
        "test_a_refusal_says_whether_what_was_asked_for_may_be_stored_all_the_same": _BREAKS,
        "test_no_other_database_is_made_where_the_daemons_own_was": _FILE,
        "test_the_log_of_a_file_that_was_moved_is_emptied_as_soon_as_nobody_reads_what_is_in_it": _FILE,
        "test_what_was_committed_into_a_file_that_was_moved_meanwhile_is_told_once_it_is_back": _FILE,
    },
}
