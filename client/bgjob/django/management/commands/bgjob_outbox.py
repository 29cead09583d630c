"""`manage.py bgjob_outbox`: submits what has stayed in the outbox, or shows it."""

from __future__ import annotations

from argparse import ArgumentParser
from contextlib import suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connections

from bgjob import text
from bgjob.commands.problems import NOT_FOUND, REFUSED, UNAVAILABLE, code_of, followed
from bgjob.django import flushing, outbox
from bgjob.django.models import OutboxRow
from bgjob.errors import BgjobError
from bgjob.outbox import telling
from bgjob.outbox.flushing import Flushed


class Command(BaseCommand):
    """See `help`."""

    help = "Submits the jobs that have stayed in the outbox."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What it takes beside Django's own arguments."""
        parser.add_argument("--database", help="alias of the database; that of the router if not given")
        other = parser.add_mutually_exclusive_group()
        other.add_argument("--list", action="store_true", help="show what has stayed, and submit nothing")
        other.add_argument(
            "--watch",
            action="store_true",
            help=f"go on: look every {telling.PAUSE:.0f} seconds for what has stayed",
        )
        other.add_argument(
            "--again", nargs="*", metavar="KEY", help="submit what was refused as well, all or these keys"
        )

    def handle(self, *, database: str | None, again: list[str] | None, **options: Any) -> None:
        """Called by Django."""
        using = database or outbox.databases()[0]
        try:
            if options["list"]:
                self._list(using)
            elif options["watch"]:
                self._watch(using)
            else:
                self._submit(using, again)
        except Error as error:
            raise CommandError(_trouble(error, using), returncode=UNAVAILABLE) from error

    def _list(self, using: str) -> None:
        for row in OutboxRow.objects.using(using).order_by("created_at", "key").iterator():
            key = text.one_line(row.key)
            self.stdout.write(f"{key}  {row.created_at:%Y-%m-%d %H:%M:%S}  {_what(row)}  {_how(row)}")

    def _submit(self, using: str, again: list[str] | None) -> None:
        if again is not None and not flushing.again(again, using):
            told = "not each of these keys is a row's that was refused: see --list"
            raise CommandError(told, returncode=NOT_FOUND)
        flushed = flushing.all_rows(using)
        self._tell(flushed)
        trouble = flushed.trouble
        if trouble is not None:
            code = code_of(trouble) if isinstance(trouble, BgjobError) else UNAVAILABLE
            raise CommandError(_trouble(trouble, using), returncode=code)
        if flushed.refused:
            raise CommandError("what is refused is kept, with the reason: see --list", returncode=REFUSED)

    def _watch(self, using: str) -> None:
        def look() -> str:
            try:
                flushed = flushing.all_rows(using)
            except Error as error:
                told = _trouble(error, using)
                connections[using].close()
                return told
            if flushed.submitted or flushed.refused:
                self._tell(flushed)
            return "" if flushed.trouble is None else _trouble(flushed.trouble, using)

        with suppress(KeyboardInterrupt):
            telling.watch(look, self.stderr.write)

    def _tell(self, flushed: Flushed) -> None:
        for key, why in flushed.refused:
            told = followed(
                f"{key} is refused: {why}", f"`manage.py bgjob_outbox --again {key}` submits it again"
            )
            self.stderr.write(text.one_line(told))
        self.stdout.write(telling.counts(flushed))
        self.stdout.flush()  # a watch may be heard by a pipe


def _trouble(error: Exception, using: str) -> str:
    told = text.one_line(str(error))
    if isinstance(error, Error) and not _may_have_table(using):
        return followed(told, "`manage.py migrate` makes its table")
    return told


def _may_have_table(using: str) -> bool:
    with suppress(Error):
        return outbox.has_table(using)
    return True


def _what(row: OutboxRow) -> str:
    """What is to run; its parameters may be secret."""
    try:
        return text.one_line(text.target(outbox.as_job(row)))
    except ValueError:
        return "?"


def _how(row: OutboxRow) -> str:
    return "waits" if row.refused is None else f"refused: {text.one_line(row.refused)}"
