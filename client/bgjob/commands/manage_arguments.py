"""The options of the commands that ask something of jobs, and of the one that runs a job's method here."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Final

from bgjob.commands import completion, debug, debug_arguments, manage, values
from bgjob.commands.filter_arguments import add_names, add_status
from bgjob.commands.shared_arguments import Commands, Options, add_id, add_ids, added
from bgjob.commands.submit_arguments import add_again
from bgjob.filters import CANCELLED, RETRIED


def _add_cancel(commands: Commands) -> None:
    command = added(
        commands,
        "cancel",
        manage.cancel,
        "bgjob cancel 12 13",
        "bgjob cancel --matching --class myapp.jobs.Email --status scheduled",
        "bgjob cancel --matching --bulk 14     # what a retry of many has begun",
        more="Of jobs that are named by their IDs none is if one cannot be.",
        hint="only jobs that have not ended can be cancelled",
    )
    add_ids(command, "open_jobs", nargs="*")
    _add_matching(command, CANCELLED, "pending and running")


def _add_retry(commands: Commands) -> None:
    command = added(
        commands,
        "retry",
        manage.retry,
        "bgjob retry 12 13",
        "bgjob retry --matching --error 14 --since 1h --spread 10m",
        more="Of jobs that are named by their IDs none is if one cannot be.",
        hint="only failed and cancelled jobs can run again",
    )
    add_ids(command, "ended_jobs", nargs="*")
    of_many = _add_matching(command, RETRIED, "failed")
    of_many.add_argument(
        "--spread", type=values.seconds, metavar="TIME", help="their starts over this time: 90, 1m, 2h"
    )
    of_many.add_argument(
        "--at-most-once", action="store_true", help="those too that may be tried but once, by --max-retries 0"
    )
    command.add_argument(
        "--anyway", action="store_true", help="though what they come after failed: that counts as done, then"
    )
    command.add_argument(
        "--from-start",
        action="store_true",
        help="without the steps that they have finished; signals are taken anew",
    )


def _add_matching(command: argparse.ArgumentParser, status: Sequence[str], usual: str) -> Options:
    """All that match, in place of some by their ids."""
    of_many = command.add_argument_group("all that match")
    of_many.add_argument(
        "--matching", action="store_true", help="all jobs of the filter; it says how many, and asks"
    )
    of_many.add_argument("--yes", action="store_true", help="do not ask")
    of_many.add_argument("--dry-run", action="store_true", help="say how many and which, and do nothing")
    filters = command.add_argument_group("the filter")
    add_status(filters, status, f"one or more of {', '.join(status)} ({usual})")
    add_names(filters)
    return of_many


def _add_settle(commands: Commands) -> None:
    command = added(
        commands,
        "settle",
        manage.settle,
        'bgjob settle 12 --completed \'{"id": "charge-12"}\'',
        "bgjob settle 12 --failed --why 'the bank knows nothing of it'",
        'bgjob settle 12 --step charge \'{"id": "charge-12"}\'',
        more="That it may be done again is said by `bgjob retry`.",
        hint="only jobs that failed for review can be settled",
    )
    add_id(command, "jobs_for_review")
    said = command.add_mutually_exclusive_group(required=True)
    said.add_argument(
        "--completed",
        type=values.payload,
        nargs="?",
        const=None,
        default=argparse.SUPPRESS,
        metavar="JSON|@FILE|-",
        help="it took effect; its result, else null",
    )
    said.add_argument("--failed", action="store_true", help="it did not, and is over")
    said.add_argument(
        "--step",
        action=values.StepResult,
        nargs="+",
        metavar=("NAME", "JSON|@FILE|-"),
        help="this step of it took effect, with this result, else null; it goes on behind it",
    )
    command.add_argument(
        "--anyway", action="store_true", help="with --step: though another one began and has no record"
    )
    command.add_argument("--why", metavar="TEXT", help="with --failed: what its error says")


def _add_change(commands: Commands) -> None:
    command = added(
        commands,
        "change",
        manage.change,
        "bgjob change 12 --priority 5",
        "bgjob change 12 13 --queue mail --expires none",
        more="If one cannot be, none of them is.",
        hint="only jobs that wait can be changed",
    )
    add_ids(command, "open_jobs")
    terms = command.add_argument_group("what they get")
    _add_term(terms, "--priority", type=int, metavar="N", help="higher goes first")
    completion.asking_for(_add_term(terms, "--queue", metavar="QUEUE", help="where they wait"), "queues")
    _add_times(terms)
    _add_term(terms, "--max-retries", type=values.count, metavar="N", help="how often to try again")


def _add_signal(commands: Commands) -> None:
    command = added(
        commands,
        "signal",
        manage.signal,
        "bgjob signal 12 packed '{\"parcels\": 2}'",
        "bgjob signal order-17 paid --key webhook-4711",
        hint="only jobs that have not ended get signals",
    )
    job = command.add_argument(
        "job", type=values.job, metavar="ID|KEY", help="of the job; what is no id is its idempotency key"
    )
    completion.asking_for(job, "open_jobs")
    command.add_argument("name", metavar="NAME", help="what a wait of the job calls it")
    command.add_argument(
        "payload",
        type=values.payload,
        nargs="?",
        metavar="JSON|@FILE|-",
        help="what the wait returns, from a file, or from stdin; else null",
    )
    command.add_argument(
        "--key", dest="signal_key", metavar="K", help="the same key twice is one signal to the job"
    )


def _add_debug(commands: Commands) -> None:
    command = added(
        commands,
        "debug",
        debug.debug,
        "bgjob debug 12",
        "bgjob debug 12 --trace -p full=false",
        "bgjob show 12 --steps --json | bgjob debug 12 --from -",
        json_help=None,
        more="What the job does to the world it does again; nothing of it is recorded. "
        "The exit code is 0 where it completed, 1 where it raised, 130 where it was interrupted.",
    )
    completion.asking_for(debug_arguments.add_options(command), "jobs")
    command.add_argument("--config", metavar="FILE", help="of the daemon; else as for bgjobd")


def _add_times(terms: Options) -> None:
    _add_term(
        terms,
        "--at",
        type=values.new_start,
        metavar="WHEN",
        help="not before: 02:00, 'tomorrow 02:00', 2026-12-04T14:31:53Z; none: as soon as it can be",
    )
    _add_term(
        terms,
        "--expires",
        dest="expires_at",
        type=values.new_expiry,
        metavar="TIME",
        help="cancelled unless it starts within this time, from now, or by this moment; none: never",
    )
    _add_term(
        terms,
        "--attempt-timeout",
        dest="timeout",
        type=values.new_timeout,
        metavar="TIME",
        help="stop an attempt after this time; none: never",
    )


def _add_term(terms: Options, name: str, **given: Any) -> argparse.Action:
    """What is not given is not in the arguments, for None means something."""
    action: argparse.Action = terms.add_argument(name, default=argparse.SUPPRESS, **given)
    return action


COMMANDS: Final = (
    _add_cancel,
    _add_retry,
    add_again,
    _add_settle,
    _add_change,
    _add_signal,
    _add_debug,
)
