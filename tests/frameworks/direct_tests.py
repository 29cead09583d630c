"""What a project sees of the outbox whose database is the daemon's too; run by unittest under an interpreter with
Django, beside that daemon.
"""

from __future__ import annotations

import unittest
from dataclasses import replace
from typing import Any

import django

django.setup()

from django.core.management import call_command  # noqa: E402  # once its settings are known
from django.db import transaction  # noqa: E402
from django.tasks import TaskResultStatus  # noqa: E402
from django.tasks.exceptions import TaskResultDoesNotExist  # noqa: E402
from django.tasks.signals import task_enqueued  # noqa: E402
from shop import tasks  # noqa: E402
from shop_tests import ended  # noqa: E402

from bgjob import Client  # noqa: E402
from bgjob.django import run_background_job  # noqa: E402
from bgjob.django.models import OutboxRow  # noqa: E402


def setUpModule() -> None:
    call_command("migrate", run_syncdb=True, verbosity=0)


def enqueued() -> Any:
    return replace(tasks.welcome, backend="outbox", queue_name="default").enqueue(7)


class DirectTests(unittest.TestCase):
    def test_a_task_is_handed_over_in_the_transaction_and_told_after_its_commit(self) -> None:
        told: list[str] = []

        def note(task_result: Any, **_: Any) -> None:
            told.append(task_result.id)

        task_enqueued.connect(note)
        try:
            with transaction.atomic():
                result = enqueued()
                self.assertEqual(OutboxRow.objects.count(), 0)
                self.assertEqual(told, [])
        finally:
            task_enqueued.disconnect(note)
        self.assertEqual(told, [result.id])
        self.assertEqual(ended(result).status, TaskResultStatus.SUCCESSFUL)

    def test_of_a_rolled_back_one_there_is_nothing(self) -> None:
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            result = enqueued()
            raise ZeroDivisionError
        with self.assertRaises(TaskResultDoesNotExist):
            result.refresh()

    def test_a_job_that_wants_a_row_gets_one_and_is_submitted_by_the_commit(self) -> None:
        with transaction.atomic():
            key = run_background_job("shop.tasks", "welcome", {"user_id": 7}, unique_key="a")
            self.assertEqual(OutboxRow.objects.count(), 1)
        self.assertEqual(OutboxRow.objects.count(), 0)
        self.assertEqual(Client().get(key=key).wait(30)["status"], "completed")
