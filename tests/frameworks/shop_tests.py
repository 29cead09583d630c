"""What a project sees of the backend; run by unittest under an interpreter with Django, beside a daemon."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import unittest
import warnings
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import django

django.setup()

from asgiref.sync import async_to_sync  # noqa: E402  # once its settings are known
from django.conf import settings  # noqa: E402
from django.core.checks import CheckMessage  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections, transaction  # noqa: E402
from django.tasks import TaskResultStatus, task_backends  # noqa: E402
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist  # noqa: E402
from django.test import override_settings  # noqa: E402
from django.utils import timezone  # noqa: E402
from shop import tasks  # noqa: E402
from shop.models import Order  # noqa: E402

import bgjob.testing  # noqa: E402
from bgjob import Client  # noqa: E402
from bgjob.django import job_context  # noqa: E402


def setUpModule() -> None:
    call_command("migrate", run_syncdb=True, verbosity=0)


def vanished() -> None:
    """A task that the daemon does not know."""


def ended(result: Any) -> Any:
    """The result once the task has ended."""
    deadline = time.monotonic() + 30
    while not result.is_finished:
        assert time.monotonic() < deadline, result
        time.sleep(0.01)
        result.refresh()
    return result


class Results(unittest.TestCase):
    def test_a_result_tells_what_became_of_the_job(self) -> None:
        result = tasks.welcome.enqueue(user_id=7)
        self.assertEqual(result.status, TaskResultStatus.READY)
        read = tasks.welcome.get_result(ended(result).id)
        self.assertEqual((read.return_value, read.kwargs, read.attempts), ("welcome, 7", {"user_id": 7}, 1))
        self.assertLessEqual(read.enqueued_at, read.started_at)
        self.assertLessEqual(read.started_at, read.finished_at)
        job = Client().get(key=result.id).snapshot
        self.assertEqual((job["queue"], job["priority"], job["max_retries"]), ("mail", 10, 0))
        self.assertEqual(job["parameters"], {"user_id": 7})

    def test_a_task_whose_unique_key_is_held_has_the_result_of_the_holder(self) -> None:
        later = timezone.now() + timedelta(hours=1)
        own = {"expires_in": 7200.0, "key": "1", "labels": ("tenant:7",)}
        one = replace(tasks.welcome, unique_key="welcome", **own).using(run_after=later)
        first, second = one.enqueue(user_id=1), one.enqueue(user_id=2)
        third = async_to_sync(one.aenqueue)(user_id=3)
        self.assertEqual((second.id, third.id), (first.id, first.id))
        self.assertEqual(tasks.welcome.get_result(second.id).kwargs, {"user_id": 1})
        holder = Client().get(key=first.id)
        self.assertEqual((holder.snapshot["key"], holder.snapshot["labels"]), ("1", ["tenant:7"]))
        holder.cancel()

    def test_values_become_what_the_annotations_say(self) -> None:
        self.assertEqual(ended(tasks.day.enqueue("2026-11-28")).return_value, "28 November")
        with self.assertRaisesRegex(InvalidTask, "on: ") as refused:
            tasks.day.enqueue("28.11.2026")
        self.assertIsInstance(refused.exception.__cause__, bgjob.errors.InvalidParametersError)
        with self.assertRaises(TypeError):
            tasks.day.enqueue("2026-11-28", 5)

    def test_a_task_may_have_both_contexts(self) -> None:
        result = ended(tasks.told.enqueue(number=5))
        self.assertEqual(result.return_value, [1, result.id, 1, 5])

    def test_an_async_task_is_run_and_asked_for_by_async_code(self) -> None:
        async def asked() -> Any:
            result = await tasks.count_later.aenqueue()
            while not result.is_finished:
                await asyncio.sleep(0.01)
                await result.arefresh()
            return result.return_value

        for _ in range(2):  # each in a loop of its own
            self.assertEqual(asyncio.run(asked()), Order.objects.count())

    def test_errors_have_their_class_and_ends_that_are_none_an_own_one(self) -> None:
        failed = ended(tasks.fails.enqueue("/srv"))
        self.assertIs(failed.errors[0].exception_class, tasks.Unpaid)
        self.assertIn("shop.tasks.Unpaid: /srv", failed.errors[0].traceback)
        killed = ended(tasks.is_killed.enqueue())
        self.assertIs(killed.errors[0].exception_class, bgjob.errors.JobFailedError)
        self.assertIn("signal 9", killed.errors[0].traceback)

    def test_a_task_of_steps_that_sleeps_has_ended_once_and_met_no_error(self) -> None:
        results = [ended(task.enqueue()) for task in (tasks.ships, tasks.ships_later)]
        for result in results:
            self.assertEqual(result.return_value, [[12, "paid"], "shipped", 2])
            self.assertEqual((result.errors, result.attempts), ([], 2))
        ends = Path(os.environ["SHOP_STATE"], "ends").read_text().splitlines()
        self.assertEqual(ends, ["ships SUCCESSFUL", "ships_later SUCCESSFUL"])

    def test_whatever_a_task_calls_has_the_context_of_its_attempt(self) -> None:
        posted, later = (ended(task.enqueue()) for task in (tasks.posts, tasks.posts_later))
        self.assertEqual(posted.return_value, [[12, "paid"], [2, 2], 2])
        self.assertEqual(later.return_value, [[12, "paid"], 2, 2])
        self.assertIs(job_context(), bgjob.CONTEXT)

    def test_retries_are_attempts_of_one_task(self) -> None:
        result = ended(tasks.asks_again.enqueue())
        self.assertEqual((result.status, result.attempts, len(result.errors)), ("FAILED", 3, 3))

    def test_a_cancelled_task_has_failed_with_that(self) -> None:
        later = tasks.welcome.using(run_after=timezone.now() + timedelta(days=1)).enqueue(1)
        Client().get(key=later.id).cancel()
        self.assertIs(ended(later).errors[0].exception_class, bgjob.errors.JobCancelledError)

    def test_a_result_that_is_no_tasks_does_not_exist_and_nothing_is_imported(self) -> None:
        with self.assertRaises(TaskResultDoesNotExist):
            tasks.welcome.get_result("x" * 300)
        self.assertRaises(TaskResultDoesNotExist, tasks.welcome.get_result, "a\0b")
        Path(os.environ["SHOP_STATE"], "elsewhere.py").touch()
        job = {"class_name": "elsewhere", "method_name": "run", "queue": "default", "priority": 0}
        found = mock.patch.object(Client, "get", return_value=mock.Mock(snapshot=job))
        with found, self.assertRaises(TaskResultDoesNotExist):
            tasks.welcome.get_result("a" * 32)
        self.assertNotIn("elsewhere", sys.modules)

    def test_a_result_is_of_the_backend_that_was_asked(self) -> None:
        result = tasks.welcome.using(backend="committed").enqueue(1)
        self.assertEqual(ended(result).task.backend, "committed")
        self.assertEqual(task_backends["committed"].get_result(result.id).task.backend, "committed")

    def test_what_json_cannot_hold_is_a_type_error(self) -> None:
        with self.assertRaises(TypeError):
            tasks.welcome.enqueue(float("nan"))


class Database(unittest.TestCase):
    def test_many_tasks_at_once_have_connections_of_their_own(self) -> None:
        order = Order.objects.create(name="a book")
        results = [tasks.invoice.enqueue(order.pk) for _ in range(40)]
        self.assertEqual({ended(result).status for result in results}, {"SUCCESSFUL"})
        order.refresh_from_db()
        self.assertEqual(order.invoices, 40)
        self.assertIs(ended(tasks.has_connection_at_first.enqueue()).return_value, False)
        plain = bgjob.run_background_job("shop.tasks", "plain_has_connection_at_first")
        self.assertIs(plain.result(30), False)


class Transactions(unittest.TestCase):
    def enqueued(self) -> Any:
        order = Order.objects.create(name="a pen")
        return tasks.invoice.using(backend="committed").enqueue(order.pk)

    def test_a_submit_waits_for_the_commit(self) -> None:
        with transaction.atomic():
            result = self.enqueued()
            self.assertIsNone(result.enqueued_at)
            self.assertRaises(TaskResultDoesNotExist, result.refresh)
        self.assertEqual(ended(result).return_value, 1)

    def test_a_rollback_leaves_nothing_of_a_savepoint_neither(self) -> None:
        results = []
        with transaction.atomic():
            results.append(self.enqueued())
            transaction.set_rollback(True)
        with transaction.atomic(), self.assertRaises(ZeroDivisionError), transaction.atomic():
            results.append(self.enqueued())
            raise ZeroDivisionError
        for result in results:
            self.assertRaises(TaskResultDoesNotExist, result.refresh)

    def test_a_transaction_of_another_database_is_not_waited_for(self) -> None:
        with transaction.atomic(using="other"):
            self.assertIsNotNone(self.enqueued().enqueued_at)

    def test_what_the_daemon_would_refuse_is_told_before_the_commit(self) -> None:
        with self.assertRaises(InvalidTask), transaction.atomic():
            tasks.invoice.using(backend="committed").enqueue("x")

    def test_async_code_waits_for_the_commit_as_well(self) -> None:
        order = Order.objects.create(name="a pencil")
        with transaction.atomic():
            result = async_to_sync(tasks.invoice.using(backend="committed").aenqueue)(order.pk)
            self.assertRaises(TaskResultDoesNotExist, result.refresh)
        self.assertEqual(ended(result).return_value, 1)

    def test_a_task_may_say_that_it_waits_for_no_commit(self) -> None:
        with transaction.atomic():
            at_once = replace(tasks.welcome, backend="committed", on_commit=None)
            self.assertIsNotNone(at_once.enqueue(1).enqueued_at)

    def test_a_daemon_that_is_away_is_met_by_the_commit(self) -> None:
        address = {"OPTIONS": {"on_commit": "default", "address": "/nowhere/s.sock", "client_timeout": 0.1}}
        away = {**settings.TASKS["committed"], **address}
        with override_settings(TASKS={**settings.TASKS, "away": away}):
            with self.assertRaises(bgjob.errors.DaemonUnavailableError), transaction.atomic():
                order = Order.objects.create(name="a rubber")
                tasks.invoice.using(backend="away").enqueue(order.pk)
            self.assertTrue(Order.objects.filter(pk=order.pk).exists())

    @override_settings(DEBUG=True)
    def test_in_debug_a_task_in_a_transaction_that_nobody_waits_for_is_warned_of(self) -> None:
        with self.assertWarnsRegex(RuntimeWarning, "before the commit") as warned, transaction.atomic():
            tasks.welcome.enqueue(1)
        self.assertEqual(os.path.basename(warned.filename), os.path.basename(__file__))


class StandIns(unittest.TestCase):
    def test_tasks_run_in_this_process_under_inline(self) -> None:
        with bgjob.testing.inline() as jobs:
            order = Order.objects.create(name="a pencil")
            result = tasks.invoice.using(backend="committed").enqueue(order.pk)
            with transaction.atomic():
                told = tasks.told.enqueue()
            failed = tasks.fails.enqueue("/srv")
            counted = async_to_sync(tasks.count_later.aenqueue)()
            counted.refresh()
            self.assertEqual(counted.return_value, Order.objects.count())
            for one in (result, told, failed):
                one.refresh()
            self.assertEqual((result.return_value, told.return_value), (1, [1, told.id, 1, 1]))
            self.assertIs(failed.errors[0].exception_class, tasks.Unpaid)
        self.assertEqual([job.status for job in jobs], ["completed", "completed", "failed", "completed"])

    def test_it_has_the_context_of_an_attempt_there_and_nobody_else_has(self) -> None:
        with bgjob.testing.inline() as jobs:
            tasks.posts_later.enqueue()
            self.assertIs(job_context(), bgjob.CONTEXT)
        self.assertEqual(jobs[0].result, [[12, "paid"], 2, 2])


class Checks(unittest.TestCase):
    def messages(self, **settings: Any) -> list[CheckMessage]:
        backend = type(task_backends["default"])("default", {"QUEUES": [], **settings})
        return list(backend.check())

    def ids(self, **settings: Any) -> list[str]:
        return [message.id for message in self.messages(**settings)]

    def test_a_project_that_fits_its_daemon_has_nothing_to_be_told(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            call_command("check")

    def test_a_server_with_more_workers_than_a_user_has_connections_is_told(self) -> None:
        for workers, told in (("65", ["bgjob.W002"]), ("64", []), ("auto", [])):
            with mock.patch.dict(os.environ, WEB_CONCURRENCY=workers):
                messages = self.messages()
            self.assertEqual([message.id for message in messages], told)
            for message in messages:
                self.assertIn("has 65 workers, as WEB_CONCURRENCY says", message.msg)

    def test_checks_ask_no_daemon_where_tests_may_not(self) -> None:
        bgjob.testing.no_daemon.refuse()
        self.addCleanup(bgjob.testing.no_daemon.refuse_no_more)
        self.assertEqual(self.ids(QUEUES=["none"]), [])
        for enqueue in (tasks.welcome.enqueue, async_to_sync(tasks.welcome.aenqueue)):
            self.assertRaises(bgjob.NoDaemonInTestsError, enqueue, 1)

    def test_a_unique_key_whose_id_is_told_before_the_commit_is_told(self) -> None:
        for on_commit, told in (("default", ["bgjob.W003"]), (None, [])):
            keyed = replace(tasks.welcome, unique_key="welcome", on_commit=on_commit)
            with mock.patch.object(tasks, "keyed", keyed, create=True):
                self.assertEqual(self.ids(), told)

    def test_what_does_not_fit_is_told(self) -> None:
        self.assertEqual(self.ids(QUEUES=["none"]), ["bgjob.E001"])
        self.assertEqual(self.ids(OPTIONS={"address": "/nowhere/s.sock"}), ["bgjob.W001"])
        for module, id in (("shop.gone", "bgjob.E002"), ("shop.tasks", "bgjob.E003")):
            vanished.__module__ = module
            with mock.patch.object(tasks, "vanished", replace(tasks.day, func=vanished), create=True):
                self.assertEqual(self.ids(), [id])

    def test_an_option_that_there_is_not_is_told_with_those_there_are(self) -> None:
        with self.assertRaisesRegex(Exception, "has on_comit; there are address"):
            self.ids(OPTIONS={"on_comit": "default"})


def tearDownModule() -> None:
    connections.close_all()
