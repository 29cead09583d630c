"""What PostgreSQL has nothing to do with: the files and tests that are about SQLite alone, and why."""

from __future__ import annotations

from typing import Final

_FILE: Final = "it is about the file of SQLite's"
_PLANS: Final = "it is about the plans of SQLite"
_STEPS: Final = "it counts the steps of SQLite's machine"
_BREAKS: Final = "it breaks the file, or SQLite's connection"
_LISTENS: Final = "it listens to a function of SQLite's"
_PRUNES: Final = "of a server only its daemon deletes: without one that is refused"
_BACKUP: Final = "the backup of a server is pg_dump's"
_DIES: Final = "it dies amid what SQLite asks of the kernel: a server has committed, or has not"
_APPROVED: Final = "where there may be other hosts a job waits for one that has its class approved"
_QUEUES: Final = "where there may be other hosts each has the queues of its configuration alone"
_CLOCK: Final = "the time is the server's, whatever a host's own clock does"

OF_SQLITE: Final[dict[str, str | dict[str, str]]] = {
    "daemon/test_check.py": {
        "test_before_the_first_start_all_is_well": _FILE,
        "test_a_database_of_a_newer_bgjobd_is_told": _FILE,
    },
    "daemon/test_debug.py": {
        "test_nothing_is_written_and_nothing_left": _FILE,
    },
    "daemon/test_fence.py": {
        "test_on_a_file_there_is_no_fence_and_no_timer_for_one": _FILE,
    },
    "daemon/test_hosts.py": {
        "test_where_the_database_is_a_file_the_one_host_is_told": _FILE,
    },
    "daemon/test_migrate.py": _FILE,
    "daemon/test_restart.py": {
        "test_a_file_that_is_no_database_is_refused_with_its_path_and_left_alone": _FILE,
        "test_a_daemon_that_was_stopped_leaves_one_file_with_all_that_it_has_stored": _FILE,
    },
    "daemon/test_retention.py": {
        "test_prune_deletes_by_the_ages_that_are_given[without one]": _PRUNES,
        "test_prune_deletes_old_entries_of_jobs_that_stay[without one]": _PRUNES,
        "test_an_archive_has_each_deleted_job_with_attempts_and_log[without one]": _PRUNES,
        "test_an_archive_has_nothing_that_became_a_secret_after_it_was_submitted": _PRUNES,
        "test_a_prune_that_is_killed_has_deleted_nothing_that_is_not_in_its_archive[without one]": _PRUNES,
        "test_where_there_is_no_database_prune_and_backup_say_so_and_make_nothing": _PRUNES,
        "test_a_backup_is_whole_though_the_daemon_writes_meanwhile": _BACKUP,
        "test_a_backup_without_a_name_goes_to_the_others_and_needs_no_daemon": _BACKUP,
        "test_a_backup_takes_the_place_of_no_file_unless_told_to": _BACKUP,
        "test_a_backup_into_a_directory_that_is_not_there_names_it": _BACKUP,
        "test_a_damaged_database_gives_no_backup": _BACKUP,
        "test_a_backup_goes_to_a_file_system_without_hard_links_and_takes_no_others_place_there": _BACKUP,
        "test_a_backup_that_its_disk_has_no_room_for_leaves_nothing_and_names_that_disk": _BACKUP,
        "test_a_restored_backup_starts_nothing_that_may_have_run_since": _BACKUP,
        "test_a_backup_that_is_put_beside_the_log_of_a_daemon_that_was_killed_is_not_taken_for_its_database": _BACKUP,
        "test_after_a_restore_no_id_is_given_again_and_whoever_follows_the_log_misses_nothing": _BACKUP,
    },
    "daemon/test_why.py": {
        "test_a_job_in_a_queue_that_a_reload_has_dropped": _QUEUES,
        "test_a_job_whose_class_is_approved_no_more_fails_as_it_was_told": _APPROVED,
        "test_jobs_while_the_database_cannot_be_written": _FILE,
    },
    "faults/test_again_kills.py": _DIES,
    "faults/test_books.py": {
        "test_a_damaged_file_is_found": _FILE,
        "test_books_that_are_not_there_are_told_by_path": _FILE,
    },
    "faults/test_clocks.py": {
        "test_a_set_clock_neither_hurries_nor_holds_up_retries_and_timeouts": _CLOCK,
    },
    "faults/test_frozen_disk.py": _FILE,
    "faults/test_moved_files.py": _FILE,
    "faults/test_places.py": _DIES,
    "faults/test_rates.py": {
        "test_no_stretch_has_more_starts_than_promised_through_a_restart_and_set_clocks": _CLOCK,
    },
    "faults/test_schedules.py": {
        "test_who_deals_is_killed_at_each_system_call_and_each_occurrence_becomes_one_job": _DIES,
        "test_what_is_due_while_the_disk_is_full_is_missed_and_told_of_once_it_is_not": _FILE,
        "test_a_clock_that_is_set_has_nothing_run_twice_and_one_that_was_in_2040_costs_nothing": _CLOCK,
    },
    "faults/test_storage.py": _FILE,
    "faults/test_workflows.py": {
        "test_who_settles_is_killed_at_each_system_call_and_each_callback_runs_once": _DIES,
    },
    "security/test_permissions.py": {
        "test_a_database_read_between_its_creation_and_its_chmod": _FILE,
    },
    "security/test_places.py": {
        "test_a_start_refuses_what_was_planted_and_says_what_to_do_as_does_a_check": _FILE,
        "test_what_is_no_file_in_the_place_of_the_database_ends_the_start_and_stays": _FILE,
    },
    "store/test_claims.py": {
        "test_the_jobs_that_wait_of_a_full_class_cost_a_commit_no_more_steps_than_a_few": _STEPS,
    },
    "store/test_class_holds.py": {
        "test_a_class_of_which_no_attempt_crashes_costs_no_statement": "each reads what others know of classes",
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
    "store/test_job_pages.py": {
        "test_a_search_looks_at_few_parameters_before_it_looks_at_the_clock": _STEPS,
        "test_what_a_search_does_with_a_secret_does_not_depend_on_what_it_is": _LISTENS,
    },
    "store/test_migrations.py": _FILE,
    "store/test_old_stores.py": _FILE,
    "store/test_moving.py": "it has a database of each engine by itself",
    "store/test_occurrences.py": {
        "test_nothing_is_scanned_but_the_schedules": _PLANS,
    },
    "store/test_pages.py": {
        "test_a_commit_does_not_wait_for_a_search": _LISTENS,
        "test_a_list_walks_an_index_and_sorts_nothing": _PLANS,
        "test_a_statement_that_is_interrupted_keeps_what_it_found_and_skips_nothing": _STEPS,
        "test_a_total_is_counted_on_indexes": _PLANS,
        "test_a_total_that_takes_a_search_is_not_known_where_the_time_was_up": _STEPS,
        "test_entries_are_walked_by_an_index_and_nothing_is_sorted": _PLANS,
    },
    "store/test_query_plans.py": _PLANS,
    "store/test_reader.py": {
        "test_a_page_does_not_read_the_attempts_before_it": _PLANS,
        "test_a_reader_finds_the_file_in_a_directory_of_any_name": _FILE,
        "test_the_size_is_that_of_the_file_and_of_its_log": _FILE,
    },
    "store/test_set_clocks.py": _CLOCK,
    "store/test_spans.py": {
        "test_after_the_clock_was_set_back_each_transaction_writes_only_what_ended_in_it": _LISTENS,
        "test_a_transaction_that_is_not_due_asks_nothing_of_the_tallies": _LISTENS,
    },
    "store/test_tally.py": {
        "test_only_the_first_commit_counts": "where others write as well each commit reads what they have moved",
    },
    "store/test_whereabouts.py": _FILE,
    "store/test_writer.py": {
        "test_a_clock_that_was_set_is_followed_when_the_ledger_is_told": _CLOCK,
        "test_a_database_locked_by_another_program_refuses_submissions_until_it_lets_go": _FILE,
        "test_a_disk_with_room_for_little_is_still_full": _FILE,
        "test_a_file_beside_the_database_that_is_not_its_own_any_more_is_trouble": _FILE,
        "test_a_full_disk_is_told_as_what_it_is": _FILE,
        "test_a_full_disk_refuses_submissions_until_there_is_room": _FILE,
        "test_a_refusal_says_whether_what_was_asked_for_may_be_stored_all_the_same": _BREAKS,
        "test_no_other_database_is_made_where_the_daemons_own_was": _FILE,
        "test_the_log_of_a_file_that_was_emptied_stays_and_what_happened_is_stored_once_that_is_whole_again": _FILE,
        "test_the_log_of_a_file_that_was_moved_is_emptied_as_soon_as_nobody_reads_what_is_in_it": _FILE,
        "test_what_was_committed_into_a_file_that_was_moved_meanwhile_is_told_once_it_is_back": _FILE,
    },
    "systemd/test_notify.py": {
        "test_a_database_that_cannot_be_written_is_no_reason_for_a_restart": _FILE,
        "test_no_beat_comes_while_the_writer_hangs_in_a_sync": "it is the server that has its files synced",
    },
}
