"""The options of the commands about schedules."""

from __future__ import annotations

import argparse
from typing import Final

from bgjob.commands import completion, schedules, values
from bgjob.commands.shared_arguments import Commands, added


def _add_schedules(commands: Commands) -> None:
    command = added(
        commands,
        "schedules",
        schedules.schedules,
        "bgjob schedules",
        "bgjob schedules nightly-report --next 10",
    )
    name = command.add_argument("name", nargs="?", metavar="NAME", help="all that is known of one schedule")
    completion.asking_for(name, "schedules")
    command.add_argument(
        "--next", type=values.next_count, metavar="N", help="its next occurrences (3), or each schedule's"
    )


def _add_occurrences(commands: Commands) -> None:
    command = added(
        commands,
        "occurrences",
        schedules.occurrences,
        "bgjob occurrences nightly-report",
        hint=_SCHEDULES,
        more="Those that were skipped in a row for one reason are one line.",
    )
    _add_schedule_name(command)
    command.add_argument(
        "--limit", type=values.page_size, default=20, metavar="N", help="at most so many (20)"
    )
    command.add_argument("--before", type=values.instant, metavar="TIME", help="those before this moment")


def _add_schedule(commands: Commands) -> None:
    command = added(
        commands,
        "schedule",
        schedules.schedule,
        "bgjob schedule run nightly-report",
        "bgjob schedule pause nightly-report",
        "bgjob schedule backfill nightly-report --from 2026-01-01 --to 2026-02-01",
        "bgjob schedule put customer/7 --definition @customer.json",
        hint=_SCHEDULES,
        more="Jobs under way go on in any case. What is put has a name with a slash.",
    )
    command.add_argument("action", choices=schedules.ACTIONS, help="what is to be done")
    _add_schedule_name(command)
    command.add_argument(
        "--definition",
        type=values.parameters,
        metavar="JSON|@FILE|-",
        help="of put: the keys of [schedules] as a JSON object",
    )
    of_backfill = command.add_argument_group("of backfill, which makes jobs of occurrences that have none")
    of_backfill.add_argument("--from", dest="since", type=values.instant, metavar="TIME", help="the first")
    of_backfill.add_argument("--to", dest="until", type=values.instant, metavar="TIME", help="the last")
    of_backfill.add_argument(
        "--spread", type=values.seconds, metavar="TIME", help="their starts are spread over this time"
    )
    of_backfill.add_argument("--yes", action="store_true", help="make them; else they are counted")


def _add_schedule_name(command: argparse.ArgumentParser) -> None:
    name = command.add_argument("name", metavar="NAME", help="of the schedule")
    completion.asking_for(name, "schedules")


COMMANDS: Final = (_add_schedules, _add_occurrences, _add_schedule)

_SCHEDULES: Final = "`bgjob schedules` lists those there are"
