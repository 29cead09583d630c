"""The options by which jobs are found: of `list`, and of what is asked of all that match."""

from __future__ import annotations

from collections.abc import Sequence

from bgjob.commands import completion, values
from bgjob.commands.shared_arguments import Options, add_target
from bgjob.words import Outcome


def add_status(command: Options, words: Sequence[str], told: str) -> None:
    choices = [str(word) for word in words]  # as a refusal prints them
    command.add_argument("--status", action="extend", nargs="+", choices=choices, metavar="STATUS", help=told)


def add_names(command: Options) -> None:
    queue = command.add_argument("--queue", metavar="QUEUE", help="jobs of this queue")
    completion.asking_for(queue, "queues")
    add_target(command)
    schedule = command.add_argument("--schedule", metavar="NAME", help="jobs of this schedule")
    completion.asking_for(schedule, "schedules")
    group = command.add_argument("--group", type=values.job_id, metavar="ID", help="members of this group")
    completion.asking_for(group, "groups")
    command.add_argument("--limit-key", dest="key", metavar="KEY", help="jobs that share this key")
    again_of = command.add_argument(
        "--again-of", type=values.job_id, metavar="ID", help="jobs that run the call of this one again"
    )
    completion.asking_for(again_of, "jobs")
    host = command.add_argument("--host", metavar="NAME", help="jobs whose latest attempt is on this host")
    completion.asking_for(host, "hosts")
    error = command.add_argument(
        "--error", type=values.job_id, metavar="ID", help="jobs of which this error has ended an attempt"
    )
    completion.asking_for(error, "errors")
    label = command.add_argument("--label", metavar="LABEL", help="jobs that have this label")
    completion.asking_for(label, "labels")
    command.add_argument(
        "--bulk",
        type=values.job_id,
        metavar="ID",
        help="jobs that this change has retried or cancelled with others",
    )
    _add_times_and_ends(command)


def _add_times_and_ends(command: Options) -> None:
    command.add_argument(
        "--since",
        type=values.since,
        metavar="TIME",
        help="ended since, where --status has only ends, else submitted since: 1h, 2026-12-04T14:31:53Z",
    )
    command.add_argument("--until", type=values.since, metavar="TIME", help="the same before this time")
    command.add_argument(
        "--longer-than",
        type=values.seconds,
        metavar="TIME",
        help="jobs whose latest attempt took longer, until now where it runs: 10s, 5m",
    )
    words = [one.value for one in Outcome]
    command.add_argument(
        "--outcome",
        choices=words,
        metavar="OUTCOME",
        help=f"jobs whose latest attempt ended so: {', '.join(words)}",
    )
