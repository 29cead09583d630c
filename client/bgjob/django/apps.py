"""The application: `"bgjob.django"` in INSTALLED_APPS has `manage.py check` look at tasks, daemon and outbox."""

from __future__ import annotations

from contextlib import suppress

from django.apps import AppConfig
from django.core.checks import register
from django.utils.module_loading import autodiscover_modules


class BgjobConfig(AppConfig):
    """Imports the module `tasks` of each application, and what registers the checks of backends."""

    name = "bgjob.django"
    label = "bgjob"
    verbose_name = "Background jobs"

    def ready(self) -> None:
        """Called once all applications are there."""
        with suppress(ImportError):  # before Django 6; the backport's own application does it
            import django.tasks  # noqa: F401
        autodiscover_modules("tasks")
        from bgjob.django import checks

        register(checks.of_outbox)
