"""What `manage.py check` says of the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning
from django.db import Error

from bgjob import text
from bgjob._task_checks import OUTBOX
from bgjob.django import outbox
from bgjob.django.models import OutboxRow


def of_outbox(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """What the daemon refuses: in these databases, else, where the settings have an outbox, in that of the router; and
    whether that one has the table, of which `migrate`, which names its database, need not hear.
    """
    try:
        if databases:
            return [message for using in databases for message in _of_rows(using)]
        return [message for using in _own() for message in [*_of_table(using), *_of_rows(using)]]
    except Error:  # checks run where there is no database, too
        return []


def _own() -> list[str]:
    backends = getattr(settings, "TASKS", {}).values()
    has_outbox = any(backend.get("OPTIONS", {}).get("on_commit") == OUTBOX for backend in backends)
    return outbox.databases()[:1] if has_outbox else []


def _of_table(using: str) -> list[CheckMessage]:
    if outbox.has_table(using):
        return []
    told = "Tasks go by the outbox, whose table is not made yet: enqueue raises in a transaction."
    return [Warning(told, hint=f"manage.py migrate --database {using}", obj=using, id="bgjob.W005")]


def _of_rows(using: str) -> list[CheckMessage]:
    refused = OutboxRow.objects.using(using).exclude(refused=None).order_by("created_at", "key")
    count = refused.count() if outbox.has_table(using) else 0
    if not count:
        return []
    told = f"The daemon refuses jobs of the outbox, {count} by now: {text.one_line(refused.first().refused)}"
    hint = (
        "See manage.py bgjob_outbox --list; once it is mended: manage.py bgjob_outbox --again. One is given up by "
        "OutboxRow.objects.filter(key=…).delete(), of bgjob.django.models."
    )
    return [Warning(told, hint=hint, obj=using, id="bgjob.W004")]
