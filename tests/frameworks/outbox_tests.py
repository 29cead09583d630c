"""What a project sees of the outbox; run by unittest under an interpreter with Django, beside a daemon."""

from __future__ import annotations

import io
import logging
import unittest
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest import mock

import django

django.setup()

from asgiref.sync import async_to_sync  # noqa: E402  # once its settings are known
from django.conf import settings  # noqa: E402
from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from django.core.management import CommandError, call_command  # noqa: E402
from django.db import OperationalError, connection, transaction  # noqa: E402
from django.db.models.signals import post_delete, post_save  # noqa: E402
from django.tasks import TaskResultStatus, task_backends  # noqa: E402
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist  # noqa: E402
from django.tasks.signals import task_enqueued, task_started  # noqa: E402
from django.test import TestCase, override_settings  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.utils import timezone  # noqa: E402
from shop import tasks  # noqa: E402
from shop.models import Order  # noqa: E402
from shop_tests import ended  # noqa: E402

import bgjob.testing  # noqa: E402
from bgjob import Client  # noqa: E402
from bgjob.django import flushing, outbox, run_background_job  # noqa: E402
from bgjob.django.models import OutboxRow  # noqa: E402
from bgjob.outbox import flushing as rules  # noqa: E402
from bgjob.outbox.rows import PORTION  # noqa: E402
from bgjob.testing import no_daemon  # noqa: E402

_AWAY = {"on_commit": "outbox", "address": "/nowhere/s.sock"}


def setUpModule() -> None:
    logging.getLogger("bgjob.outbox").addHandler(logging.NullHandler())
    flushing.PATIENCE = rules.BUDGET = rules.PIECE = 20.0  # the machine may be busy
    rules.OWNERS_TIME = 3600.0
    for using in ("default", "other"):
        call_command("migrate", database=using, run_syncdb=True, verbosity=0)


def enqueued(backend: str = "outbox", **changes: Any) -> Any:
    return replace(tasks.welcome, backend=backend, queue_name="default", **changes).enqueue(7)


@contextmanager
def daemon_away(*backends: str) -> Iterator[None]:
    """No daemon answers to what these backends ask."""
    changed = {name: {**settings.TASKS[name], "OPTIONS": _AWAY} for name in backends or ("outbox",)}
    with override_settings(TASKS={**settings.TASKS, **changed}):
        yield


def left(**changes: Any) -> Any:
    """The result of a task whose row has stayed, for longer than it is left to whoever wrote it."""
    with daemon_away(), transaction.atomic():
        result = enqueued(**changes)
    OutboxRow.objects.filter(key=result.id).update(created_at=timezone.now() - timedelta(hours=2))
    return result


def command(*words: str) -> str:
    out = io.StringIO()
    call_command("bgjob_outbox", *words, stdout=out)
    return out.getvalue()


class Outbox(unittest.TestCase):
    def tearDown(self) -> None:
        for using in ("default", "other"):
            OutboxRow.objects.using(using).all().delete()
        flushing._not_asked_until.clear()

    def is_stored(self, result: Any) -> bool:
        try:
            Client().get(key=result.id)
        except bgjob.JobNotFoundError:
            return False
        return True


class Transactions(Outbox):
    def test_a_row_waits_for_the_commit_which_submits_and_deletes_it(self) -> None:
        with transaction.atomic():
            result = enqueued()
            self.assertEqual((result.status, result.enqueued_at), (TaskResultStatus.READY, None))
            self.assertFalse(self.is_stored(result))
            self.assertEqual(tasks.welcome.get_result(result.id).kwargs, {"user_id": 7})
        self.assertIsNotNone(result.enqueued_at)
        self.assertEqual(ended(result).return_value, "welcome, 7")
        self.assertFalse(OutboxRow.objects.exists())

    def test_a_rollback_leaves_nothing_of_a_savepoint_neither(self) -> None:
        with transaction.atomic():
            dropped = [enqueued()]
            transaction.set_rollback(True)
        with transaction.atomic():
            kept = enqueued()
            with self.assertRaises(ZeroDivisionError), transaction.atomic():
                dropped.append(enqueued())
                raise ZeroDivisionError
            savepoint = transaction.savepoint()
            dropped.append(enqueued())
            transaction.savepoint_rollback(savepoint)
        self.assertTrue(self.is_stored(kept))
        for result in dropped:
            self.assertRaises(TaskResultDoesNotExist, result.refresh)

    def test_nothing_is_asked_of_a_daemon_before_the_commit_which_needs_none(self) -> None:
        with daemon_away(), self.assertLogs("bgjob.outbox", "WARNING"):
            with transaction.atomic(), self.assertNoLogs("bgjob.outbox"):
                result = enqueued()
            self.assertEqual(tasks.welcome.get_result(result.id).status, TaskResultStatus.READY)
        self.assertFalse(self.is_stored(result))

    def test_a_transaction_waits_once_for_a_daemon_that_does_not_answer(self) -> None:
        rest = mock.patch.object(flushing, "_REST", 60.0)
        with daemon_away(), rest, self.assertLogs("bgjob.outbox", "WARNING") as told, transaction.atomic():
            for _ in range(3):
                enqueued()
        self.assertEqual((len(told.output), OutboxRow.objects.count()), (1, 3))

    def test_the_rows_of_a_transaction_are_submitted_together(self) -> None:
        with CaptureQueriesContext(connection) as queries, transaction.atomic():
            with self.assertRaises(ZeroDivisionError), transaction.atomic():
                dropped = enqueued()
                raise ZeroDivisionError
            results = [enqueued() for _ in range(30)]
        self.assertLess(len([one for one in queries if "INSERT" not in one["sql"]]), 20)
        self.assertTrue(all(self.is_stored(result) and result.enqueued_at for result in results))
        self.assertFalse(self.is_stored(dropped))

    def test_what_another_hook_of_the_commit_submits_before_costs_a_row_nothing(self) -> None:
        inner: list[Any] = []

        def hook() -> None:
            with transaction.atomic():
                inner.append(enqueued())

        with transaction.atomic():
            transaction.on_commit(hook)
            outer = [enqueued(), enqueued()]
        self.assertTrue(all(self.is_stored(result) and result.enqueued_at for result in [*inner, *outer]))
        self.assertFalse(OutboxRow.objects.exists())

    def test_a_task_that_runs_in_this_process_is_in_no_transaction_of_the_flush(self) -> None:
        seen: list[bool] = []

        def note(**_: Any) -> None:
            seen.append(connection.in_atomic_block)

        task_started.connect(note)
        try:
            with bgjob.testing.inline(), transaction.atomic():
                enqueued()
        finally:
            task_started.disconnect(note)
        self.assertEqual((seen, OutboxRow.objects.count()), ([False], 0))

    def test_receivers_of_every_model_hear_of_no_row(self) -> None:
        seen: list[Any] = []

        def note(sender: Any, **_: Any) -> None:
            seen.append(sender)

        signals = (post_save, post_delete)
        for signal in signals:
            signal.connect(note)
        try:
            with transaction.atomic():
                self.assertTrue(enqueued())
        finally:
            for signal in signals:
                signal.disconnect(note)
        self.assertEqual((seen, OutboxRow.objects.count()), ([], 0))

    def test_the_row_is_in_the_database_of_the_transaction(self) -> None:
        with transaction.atomic("other"):
            enqueued()
            self.assertEqual(OutboxRow.objects.using("other").count(), 1)
            with transaction.atomic():
                enqueued()
                self.assertEqual(OutboxRow.objects.count(), 1)
        self.assertFalse(OutboxRow.objects.using("other").exists())

    def test_nothing_that_goes_wrong_with_what_was_left_is_the_error_of_a_task_that_was_submitted(
        self,
    ) -> None:
        gone = mock.patch.object(flushing, "flush", side_effect=RuntimeError("what a receiver raises"))
        with gone, self.assertLogs("bgjob.outbox", "ERROR"):
            self.assertTrue(self.is_stored(enqueued()))

    def test_without_a_transaction_a_task_is_submitted_at_once_or_written(self) -> None:
        self.assertTrue(self.is_stored(enqueued()))
        with self.assertRaises(InvalidTask):
            tasks.day.using(backend="outbox").enqueue("28.11.2026")
        with daemon_away(), self.assertLogs("bgjob.outbox", "WARNING"):
            result = enqueued()
        self.assertEqual(OutboxRow.objects.get().key, result.id)

    def test_async_code_writes_into_the_transaction_too(self) -> None:
        with transaction.atomic():
            task = tasks.welcome.using(backend="outbox")
            result = async_to_sync(task.aenqueue)(7)
            read = async_to_sync(task.aget_result)(result.id)
            self.assertEqual((read.status, OutboxRow.objects.count()), (TaskResultStatus.READY, 1))
        self.assertTrue(self.is_stored(result))

    def test_a_task_may_say_by_itself_that_it_goes_by_the_outbox(self) -> None:
        own = replace(tasks.welcome, on_commit="outbox")
        with mock.patch.object(tasks, "own", own, create=True), transaction.atomic():
            result = own.enqueue(1)
            self.assertEqual(own.get_result(result.id).status, TaskResultStatus.READY)

    def test_a_row_of_a_manual_transaction_is_for_the_next_flush_and_no_error(self) -> None:
        Order.objects.count()
        transaction.set_autocommit(False)
        try:
            dropped = enqueued()
            transaction.rollback()
            result = enqueued()
            transaction.commit()
        finally:
            transaction.set_autocommit(True)
        self.assertFalse(self.is_stored(result))
        self.assertEqual(command(), "1 job submitted\n")
        self.assertEqual((self.is_stored(dropped), self.is_stored(result)), (False, True))

    def test_a_database_that_commits_by_hand_does_so_from_its_first_statement_on(self) -> None:
        connection.close()
        with mock.patch.dict(connection.settings_dict, AUTOCOMMIT=False):
            result = enqueued()
            transaction.rollback()
            connection.close()
        self.assertFalse(self.is_stored(result) or OutboxRow.objects.exists())

    def test_a_method_of_a_class_goes_by_the_outbox_as_well(self) -> None:
        with transaction.atomic():
            key = run_background_job("shop.tasks", "plain_has_connection_at_first", using="default")
            self.assertEqual(OutboxRow.objects.get().backend, "")
        self.assertIs(Client().get(key=key).result(30), False)
        with self.assertRaises(bgjob.NotApprovedError):
            run_background_job("shop.gone", "run", backend="outbox")


class Left(Outbox):
    def test_the_next_enqueue_submits_what_was_left_and_tells_of_it(self) -> None:
        seen: list[str] = []

        def note(task_result: Any, **_: Any) -> None:
            seen.append(task_result.id)
            raise ZeroDivisionError

        mine, young = left(), left()
        OutboxRow.objects.filter(key=young.id).update(created_at=timezone.now())
        flushing._not_asked_until.clear()
        task_enqueued.connect(note)
        try:
            with self.assertLogs("django.dispatch", "ERROR"), transaction.atomic():
                own = enqueued()
        finally:
            task_enqueued.disconnect(note)
        self.assertEqual(seen, [own.id, mine.id])
        self.assertTrue(self.is_stored(mine))
        self.assertFalse(self.is_stored(young))

    def test_a_row_whose_job_is_stored_already_is_the_same_job(self) -> None:
        with transaction.atomic():
            result = enqueued()
            row = OutboxRow.objects.get()
        job = Client().get(key=result.id)
        row.save(force_insert=True)
        self.assertEqual(command(), "1 job submitted\n")
        self.assertEqual((Client().get(key=result.id).id, OutboxRow.objects.count()), (job.id, 0))

    def test_the_command_goes_past_a_portion_of_rows_that_wait(self) -> None:
        for number in range(PORTION + 1):
            request = '{"class_name": "shop.tasks", "method_name": "welcome", "options": {"queue": "full"}}'
            at = timezone.now() - timedelta(minutes=2)
            OutboxRow.objects.create(key=f"{number:032}", request=request, backend="outbox", created_at=at)
        result = left()
        full = bgjob.QueueFullError(queue="full", limit=1)
        submit = Client._call

        def answer(client: Client, call: Any) -> Any:
            if call.parameters.get("options", {}).get("queue") == "full":
                raise full
            return submit(client, call)

        with mock.patch.object(Client, "_call", answer), self.assertRaisesRegex(CommandError, "full"):
            command()
        self.assertTrue(self.is_stored(result))
        self.assertEqual(OutboxRow.objects.count(), PORTION + 1)

    def test_rows_that_another_flush_is_at_are_left_to_it(self) -> None:
        if not connection.features.has_select_for_update_skip_locked:
            self.skipTest("this database locks no rows")
        held, result = left(), left()
        other = connection.copy()
        other.set_autocommit(False)
        with closing(other), other.cursor() as cursor:
            cursor.execute("SELECT key FROM bgjob_outbox WHERE key = %s FOR UPDATE", [held.id])
            self.assertEqual(command(), "1 job submitted, 1 to be submitted later\n")
        self.assertEqual((self.is_stored(held), self.is_stored(result)), (False, True))
        self.assertEqual(OutboxRow.objects.get().key, held.id)

    def test_the_command_goes_on_looking_and_says_once_that_the_database_is_away(self) -> None:
        result = left()
        young = left()
        OutboxRow.objects.filter(key=young.id).update(created_at=timezone.now())
        all_rows, away = flushing.all_rows, [OperationalError("gone"), OperationalError("gone")]

        def look(using: str) -> Any:
            if away:
                raise away.pop()
            return all_rows(using)

        slept = mock.patch(
            "bgjob.outbox.telling.time.sleep", side_effect=[None, None, None, KeyboardInterrupt]
        )
        out, err = io.StringIO(), io.StringIO()
        with mock.patch.object(flushing, "all_rows", look), slept as sleep:
            call_command("bgjob_outbox", watch=True, stdout=out, stderr=err)
        self.assertEqual(out.getvalue(), "2 jobs submitted\n")
        self.assertEqual(err.getvalue(), "gone; looking again every 5 s\nall is well again\n")
        self.assertEqual([call.args for call in sleep.mock_calls], 4 * [(5.0,)])
        self.assertTrue(self.is_stored(result) and self.is_stored(young))

    def test_the_command_counts_all_that_waits(self) -> None:
        for _ in range(3):
            left()
        out = io.StringIO()
        with daemon_away(), self.assertRaises(CommandError) as told:
            call_command("bgjob_outbox", stdout=out)
        self.assertEqual(out.getvalue(), "0 jobs submitted, 3 to be submitted later\n")
        self.assertEqual(told.exception.returncode, 69)

    def test_a_daemon_that_is_away_holds_up_no_rows_of_another(self) -> None:
        with daemon_away("outbox", "committed"), transaction.atomic():
            enqueued("committed", on_commit="outbox")
            result = enqueued()
        with daemon_away("committed"), self.assertRaisesRegex(CommandError, "nowhere"):
            command()
        self.assertTrue(self.is_stored(result))

    def test_what_goes_wrong_with_telling_of_a_job_holds_up_no_other(self) -> None:
        left()
        left()
        broken = mock.patch("bgjob._tasks.TaskBackend.announce", side_effect=ZeroDivisionError)
        with broken, self.assertLogs("bgjob.outbox", "ERROR"):
            self.assertEqual(command(), "2 jobs submitted\n")

    def test_rows_of_a_backend_that_there_is_no_more_wait(self) -> None:
        OutboxRow.objects.create(key="a" * 32, request="{}", backend="gone", created_at=timezone.now())
        with self.assertRaisesRegex(CommandError, "TASKS\\['gone'\\]"):
            command()
        self.assertEqual(OutboxRow.objects.count(), 1)


class Refused(Outbox):
    def test_what_the_daemon_refuses_is_kept_and_told(self) -> None:
        with self.assertLogs("bgjob.outbox", "ERROR"), transaction.atomic():
            result = tasks.day.using(backend="outbox").enqueue("28.11.2026")
        result.refresh()
        self.assertEqual(result.status, TaskResultStatus.FAILED)
        self.assertIs(result.errors[0].exception_class, bgjob.JobFailedError)
        self.assertIn("on: ", result.errors[0].traceback)
        self.assertIn("shop.tasks::day  refused: ", command("--list"))
        self.assertEqual(command(), "0 jobs submitted\n")
        told = io.StringIO()
        call_command("check", stderr=told)
        self.assertIn("bgjob.W004", told.getvalue())

    def test_a_refused_row_is_submitted_again_when_that_is_asked_for(self) -> None:
        result = left()
        OutboxRow.objects.update(refused="not approved")
        with self.assertRaisesRegex(CommandError, "not each of these keys") as told:
            command("--again", result.id, "b" * 32)
        self.assertEqual((told.exception.returncode, command()), (4, "0 jobs submitted\n"))
        self.assertRaisesRegex(CommandError, "not allowed with", command, "--list", "--again")
        self.assertEqual(command("--again", result.id), "1 job submitted\n")
        self.assertTrue(self.is_stored(result))

    def test_no_text_of_a_row_harms_a_terminal(self) -> None:
        row = {
            "key": "\x1b[2J",
            "request": "{}",
            "created_at": timezone.now(),
            "refused": "no \x1b[2J\nreally",
        }
        OutboxRow.objects.create(**row)
        (line,) = command("--list").splitlines()
        self.assertTrue(line.startswith("\\x1b[2J  "), line)
        self.assertTrue(line.endswith("?  refused: no \\x1b[2J\\nreally"), line)

    def test_a_row_that_nobody_here_has_written_holds_up_no_others(self) -> None:
        old = timezone.now() - timedelta(hours=1)
        for key, request in (
            ("a" * 32, "what?"),
            ("b" * 32, '{"options": {}, "class_name": 5}'),
            ("c" * 32, "[]"),
        ):
            OutboxRow.objects.create(key=key, request=request, backend="outbox", created_at=old)
        result = left()
        out, err = io.StringIO(), io.StringIO()
        with self.assertRaises(CommandError) as told:
            call_command("bgjob_outbox", stdout=out, stderr=err)
        self.assertEqual((out.getvalue(), told.exception.returncode), ("1 job submitted, 3 refused\n", 77))
        self.assertIn(f"{'c' * 32} is refused: ", err.getvalue())
        self.assertTrue(self.is_stored(result))


class StandIns(TestCase):
    databases = frozenset(("default", "other"))

    def test_a_captured_commit_runs_the_task_in_this_process(self) -> None:
        with bgjob.testing.inline() as jobs:
            with self.captureOnCommitCallbacks(execute=True):
                result = enqueued()
                self.assertEqual(len(jobs), 0)
            result.refresh()
        self.assertEqual((len(jobs), result.return_value), (1, "welcome, 7"))
        self.assertFalse(OutboxRow.objects.exists())

    def test_a_flush_that_is_broken_off_leaves_the_transaction_of_the_test(self) -> None:
        broken = mock.patch.object(flushing.Sender, "answer", side_effect=ZeroDivisionError)
        heard = self.assertLogs("django.test", "ERROR")
        with bgjob.testing.inline(), heard, broken, self.captureOnCommitCallbacks(execute=True):
            enqueued()
        self.assertEqual(OutboxRow.objects.count(), 1)

    def test_a_test_that_has_forgotten_its_stand_in_hears_of_it_at_once(self) -> None:
        no_daemon.refuse()
        try:
            self.assertRaises(bgjob.errors.NoDaemonInTestsError, enqueued)
        finally:
            no_daemon.refuse_no_more()


class Settings(unittest.TestCase):
    def test_the_application_has_to_be_installed(self) -> None:
        backend = task_backends["outbox"]
        with mock.patch("django.apps.apps.is_installed", return_value=False):
            self.assertRaisesRegex(ImproperlyConfigured, "INSTALLED_APPS", enqueued)
            self.assertEqual([one.id for one in backend.check()], ["bgjob.E004"])

    def test_an_id_that_no_database_takes_is_nobodys(self) -> None:
        with self.assertRaises(TaskResultDoesNotExist):
            tasks.welcome.using(backend="outbox").get_result("a\0b")

    def test_no_migration_is_missing(self) -> None:
        call_command("makemigrations", "bgjob", check=True, dry_run=True, verbosity=0)

    def test_a_router_may_keep_the_table_away_from_a_database(self) -> None:
        router = mock.Mock(spec=("allow_migrate",), allow_migrate=lambda using, label, **_: using != "other")
        with override_settings(DATABASE_ROUTERS=[router]):
            self.assertEqual((outbox.databases(), outbox.database()), (["default"], "default"))
            with transaction.atomic("other"):
                self.assertRaisesRegex(transaction.TransactionManagementError, "'other'", outbox.database)
                with transaction.atomic():
                    self.assertEqual(outbox.database(), "default")

    def test_results_and_checks_do_without_a_table_that_is_not_made_yet(self) -> None:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE bgjob_outbox RENAME TO elsewhere")
            with self.assertRaises(TaskResultDoesNotExist):
                tasks.welcome.using(backend="outbox").get_result("a" * 32)
            transaction.set_rollback(True)

    def test_enqueue_and_command_and_check_say_what_makes_the_table(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE bgjob_outbox RENAME TO elsewhere")
        heard = io.StringIO()
        try:
            with self.assertRaisesRegex(CommandError, "manage.py migrate") as told:
                command()
            with self.assertRaisesRegex(ImproperlyConfigured, "manage.py migrate"), transaction.atomic():
                enqueued()
            call_command("check", stderr=heard)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE elsewhere RENAME TO bgjob_outbox")
        self.assertEqual(told.exception.returncode, 69)
        self.assertIn("bgjob.W005", heard.getvalue())
