"""What a project with an older Django has of the outbox, by the backport; run by unittest under an interpreter that has
both. Nothing but a stand-in answers.
"""

from __future__ import annotations

import unittest

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="of tests",
    USE_TZ=False,
    INSTALLED_APPS=["django_tasks", "bgjob.django"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    TASKS={"default": {"BACKEND": "bgjob.django_tasks.Backend", "OPTIONS": {"on_commit": "outbox"}}},
)
django.setup()

from django.core.management import call_command  # noqa: E402  # once the settings are known
from django.db import transaction  # noqa: E402
from django_tasks import task  # noqa: E402

import bgjob.testing  # noqa: E402
from bgjob.django import run_background_job  # noqa: E402
from bgjob.django.models import OutboxRow  # noqa: E402


@task
def double(number: int) -> int:
    return 2 * number


class Backport(unittest.TestCase):
    def test_a_commit_submits_what_the_transaction_has_asked_for(self) -> None:
        call_command("migrate", verbosity=0)
        call_command("makemigrations", "bgjob", check=True, dry_run=True, verbosity=0)
        with bgjob.testing.inline() as jobs:
            with transaction.atomic():
                result = double.enqueue(4)
                key = run_background_job(__name__, "double", {"number": 5}, backend="default")
                self.assertEqual(double.get_result(result.id).status, "READY")
                self.assertEqual((len(jobs), OutboxRow.objects.count()), (0, 2))
            result.refresh()
            self.assertEqual((result.return_value, double.get_result(key).return_value), (8, 10))
        self.assertFalse(OutboxRow.objects.exists())
