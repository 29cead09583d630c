"""The options of the commands that tell of jobs as they change: `bgjob wait` and `bgjob watch`."""

from __future__ import annotations

import argparse
from typing import Final

from bgjob.commands import completion, values, watching
from bgjob.commands.shared_arguments import Commands, add_class, add_ids, added


def _add_wait(commands: Commands) -> None:
    command = added(
        commands,
        "wait",
        watching.wait,
        "bgjob wait 12 13 --timeout 10m",
        "bgjob wait --label tenant:7",
        json_help="JSON lines: each job as it ends",
        more="The exit code is that of the first of them that did not complete.",
    )
    add_ids(command, "open_jobs", nargs="*")
    _add_label(command, "all that have this label and have not ended, those too that come meanwhile")
    command.add_argument(
        "--timeout", type=values.seconds, metavar="TIME", help="wait at most this long: 90, 5m, 2h"
    )


def _add_watch(commands: Commands) -> None:
    command = added(
        commands,
        "watch",
        watching.watch,
        "bgjob watch --label tenant:7",
        "bgjob watch 12 13",
        json_help="JSON lines: each job as it stands after a change",
        more="Of changes in quick succession the last may be told alone.",
    )
    add_ids(command, "open_jobs", nargs="*")
    queue = command.add_argument("--queue", metavar="QUEUE", help="jobs of this queue")
    completion.asking_for(queue, "queues")
    add_class(command, "jobs of this class, by its whole name")
    _add_label(command, "jobs that have this label")


def _add_label(command: argparse.ArgumentParser, told: str) -> None:
    completion.asking_for(command.add_argument("--label", metavar="LABEL", help=told), "labels")


COMMANDS: Final = (_add_wait, _add_watch)
