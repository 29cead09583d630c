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
    """What the daemon refuses: in these databases, else, where the settings have an outbox, in that of the router."""
    return [message for using in databases or _own() for message in _of_database(using)]


def _own() -> list[str]:
    backends = getattr(settings, "TASKS", {}).values()
    has_outbox = any(backend.get("OPTIONS", {}).get("on_commit") == OUTBOX for backend in backends)
    return outbox.databases()[:1] if has_outbox else []


def _of_database(using: str) -> list[CheckMessage]:
    try:
        refused = OutboxRow.objects.using(using).exclude(refused=None).order_by("created_at", "key")
        count = refused.count() if outbox.has_table(using) else 0
    except Error:  # checks run where there is no database, too
        return []
    if not count:
        return []
    told = f"The daemon refuses jobs of the outbox, {count} by now: {text.one_line(refused.first().refused)}"
    hint = "See manage.py bgjob_outbox --list; once it is mended: manage.py bgjob_outbox --again."
    return [Warning(told, hint=hint, obj=using, id="bgjob.W004")]
