"""`manage.py bgjob_outbox`: submits what has stayed in the outbox, or shows it."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connections

from bgjob import text
from bgjob.django import flushing, outbox
from bgjob.django.flushing import Flushed
from bgjob.django.models import OutboxRow

_PAUSE: Final = 5.0
"""Seconds between two looks: not every database tells of new rows."""

_LONGEST_PAUSE: Final = 30.0
"""The same while nothing can be submitted."""


class Command(BaseCommand):
    """See `help`."""

    help = "Submits the jobs that have stayed in the outbox."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What it takes beside Django's own arguments."""
        parser.add_argument("--database", help="alias of the database; that of the router if not given")
        parser.add_argument(
            "--again", nargs="*", metavar="KEY", help="submit what was refused as well, all or these keys"
        )
        other = parser.add_mutually_exclusive_group()
        other.add_argument("--list", action="store_true", help="show what has stayed, and submit nothing")
        other.add_argument(
            "--watch",
            action="store_true",
            help=f"go on: look every {_PAUSE:.0f} seconds for what has stayed",
        )

    def handle(self, *, database: str | None, again: list[str] | None, **options: Any) -> None:
        """Called by Django."""
        using = database or outbox.databases()[0]
        if again is not None:
            self._clear(using, again)
        if options["list"]:
            self._list(using)
        elif options["watch"]:
            self._watch(using)
        else:
            self._submit(using)

    def _clear(self, using: str, keys: list[str]) -> None:
        refused = OutboxRow.objects.using(using).exclude(refused=None)
        chosen = refused.filter(key__in=keys) if keys else refused
        if chosen.update(refused=None) < len(keys):
            raise CommandError("not each of these keys is a row's that was refused: see --list")

    def _list(self, using: str) -> None:
        for row in OutboxRow.objects.using(using).order_by("created_at", "key").iterator():
            key = text.one_line(row.key)
            self.stdout.write(f"{key}  {row.created_at:%Y-%m-%d %H:%M:%S}  {_what(row)}  {_how(row)}")

    def _submit(self, using: str) -> None:
        flushed = flushing.everything(using)
        self.stdout.write(_told(flushed))
        if flushed.trouble is not None:
            raise CommandError(text.one_line(str(flushed.trouble)))

    def _watch(self, using: str) -> None:
        pause = _PAUSE
        while True:
            pause = _PAUSE if self._look(using) else min(2 * pause, _LONGEST_PAUSE)
            try:
                time.sleep(pause)
            except KeyboardInterrupt:
                return

    def _look(self, using: str) -> bool:
        """Submit what is not with the process any more that wrote it; whether that can be done at present."""
        try:
            flushed = flushing.everything(using, flushing.nobodys())
        except Error as error:
            self.stderr.write(f"The database does not answer: {text.one_line(str(error))}")
            connections[using].close()
            return False
        if flushed.submitted or flushed.refused:
            self.stdout.write(_told(flushed))
        return flushed.trouble is None or flushed.submitted > 0


def _told(flushed: Flushed) -> str:
    parts = [f"{flushed.submitted} submitted"]
    if flushed.refused:
        parts.append(f"{flushed.refused} refused")
    if flushed.waiting:
        parts.append(f"{flushed.waiting} to be submitted later")
    return ", ".join(parts)


def _what(row: OutboxRow) -> str:
    """What is to run; its parameters may be secret."""
    try:
        return text.one_line(text.target(outbox.as_job(row)))
    except ValueError:
        return "?"


def _how(row: OutboxRow) -> str:
    return "waits" if row.refused is None else f"refused: {text.one_line(row.refused)}"
