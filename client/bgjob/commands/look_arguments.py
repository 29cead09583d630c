"""The options of the commands that look at jobs, at once or as they go on."""

from __future__ import annotations

import argparse
from typing import Final

from bgjob.commands import compare, completion, errors, export, follow, look, stack, values
from bgjob.commands.filter_arguments import add_names, add_status
from bgjob.commands.shared_arguments import Commands, add_class, add_id, add_limit, add_target, added
from bgjob.words import STATUS_WORDS, EntryType, ErrorSort


def _add_list(commands: Commands) -> None:
    command = added(
        commands,
        "list",
        look.list_jobs,
        "bgjob list --status failed --class myapp.jobs.EmailNotification",
        "bgjob list --columns id,status,job,took --limit 100",
    )
    _add_filters(command)
    _add_page_of_list(command)


def _add_filters(command: argparse.ArgumentParser) -> None:
    add_status(command, STATUS_WORDS, f"one or more of {', '.join(STATUS_WORDS)}")
    add_names(command)
    command.add_argument(
        "--search", metavar="TEXT", help="a part of class, method, error or a parameter's value"
    )


def _add_page_of_list(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--sort",
        choices=["id", "ended"],
        help="by the latest submit, or end, first; ended without --status: all that have ended",
    )
    add_limit(command)
    command.add_argument(
        "--before", type=values.job_id, metavar="ID", help="jobs behind this one in the list"
    )
    command.add_argument(
        "--columns",
        type=values.columns,
        default=look.DEFAULT_COLUMNS,
        metavar="A,B,C",
        help=f"some of {', '.join(look.CELLS)}",
    )


def _add_errors(commands: Commands) -> None:
    command = added(
        commands,
        "errors",
        errors.errors,
        "bgjob errors --since 1h",
        "bgjob errors --new --class myapp.jobs.EmailNotification",
        "bgjob errors 14",
        hint="`bgjob errors` lists them",
        more="What is one error: an exception by its type and where it comes from, another end by how it came.",
    )
    error = command.add_argument(
        "id", type=values.job_id, nargs="?", metavar="ID", help="of an error, which is shown"
    )
    completion.asking_for(error, "errors")
    command.add_argument(
        "--since", type=values.since, metavar="TIME", help="met since: 1h, 2026-12-04T14:31:53Z"
    )
    command.add_argument("--new", action="store_true", help="met for the first time within a day")
    add_class(command, "met by this class, by its whole name")
    command.add_argument(
        "--sort",
        choices=[word.value for word in ErrorSort],
        help="first those that were met last, by which most jobs failed, or that are newest",
    )
    add_limit(command)


def _add_show(commands: Commands) -> None:
    command = added(commands, "show", look.show, "bgjob show 12 --logs", "bgjob show order-17")
    job = command.add_argument(
        "job", type=values.job, metavar="ID|KEY", help="of the job; what is no id is its idempotency key"
    )
    completion.asking_for(job, "jobs")
    command.add_argument("--logs", action="store_true", help="its log lines too")
    command.add_argument("--steps", action="store_true", help="all its steps, waits and signals, with values")


def _add_export(commands: Commands) -> None:
    command = added(
        commands,
        "export",
        export.export,
        "bgjob export --logs --steps > jobs.jsonl",
        "bgjob export --status failed --since 1d | jq .error",
        json_help=None,
        more="What is secret is masked, as everywhere. A job that changes meanwhile is told as it is when it is read.",
    )
    command.add_argument(
        "--jsonl", "--json", action="store_true", help="JSON lines, as without it: a job each"
    )
    _add_filters(command)
    command.add_argument(
        "--before",
        type=values.job_id,
        metavar="ID",
        help="only jobs behind this one, to go on where it ended",
    )
    command.add_argument("--logs", action="store_true", help="with its entries of the log")
    command.add_argument(
        "--steps", action="store_true", help="with its steps, waits and signals, and their values"
    )
    command.set_defaults(sort=None)


def _add_compare(commands: Commands) -> None:
    command = added(
        commands,
        "compare",
        compare.compare,
        "bgjob compare 5121.2 5121.3",
        "bgjob compare 5121",
        more="An attempt is JOB.NUMBER, the latest where no number is given.",
        hint="`bgjob show ID` has a job's attempts",
    )
    for name, other in (("a", None), ("b", "?")):
        what = (
            "the one" if other is None else "the other; else the last of its class and method that completed"
        )
        job = command.add_argument(name, type=values.attempt, nargs=other, metavar="ATTEMPT", help=what)
        completion.asking_for(job, "jobs")


def _add_why(commands: Commands) -> None:
    add_id(added(commands, "why", look.why, "bgjob why 12"))


def _add_stack(commands: Commands) -> None:
    command = added(
        commands,
        "stack",
        stack.stack,
        "bgjob stack 12",
        hint="only a job that runs is somewhere; `bgjob list --status running` has those",
        json_help="JSON, with all frames",
    )
    add_id(command)
    command.add_argument(
        "--no-signal", action="store_true", help="as the kernel sees it: its process is not asked"
    )
    command.add_argument(
        "--insist", action="store_true", help="ask it even where that may end a call of C's that waits"
    )
    command.add_argument("--children", action="store_true", help="copies that it has forked, too")


def _add_tail(commands: Commands) -> None:
    command = added(
        commands,
        "tail",
        follow.tail,
        "bgjob tail -f",
        "bgjob tail -n 100 --type failure --class myapp.jobs.EmailNotification",
        json_help="JSON lines: one entry of the log each",
        more="What the daemon says of itself, as of a reload that failed, is in its log's file, and on its stderr.",
    )
    either = command.add_mutually_exclusive_group()
    either.add_argument("-f", "--follow", action="store_true", help="go on with new lines as they come")
    either.add_argument(
        "--until",
        type=values.since,
        metavar="TIME",
        help="from where the log had got to then: 1h, 2026-12-04T14:31:53Z",
    )
    command.add_argument(
        "-n", dest="count", type=values.tail_size, default=10, metavar="N", help="how many lines first (10)"
    )
    job = command.add_argument("--job", type=values.job_id, metavar="ID", help="of this job; -f ends with it")
    completion.asking_for(job, "jobs")
    add_target(command)
    command.add_argument("--type", choices=[type.value for type in EntryType], help="lines of this type")
    command.add_argument(
        "--said",
        action="store_true",
        help="but for jobs submitted, dispatched, started, and how far they are",
    )
    command.add_argument("--search", metavar="TEXT", help="a part of the message, or of class::method")


def _add_follow(commands: Commands) -> None:
    command = added(
        commands,
        "follow",
        follow.follow,
        "bgjob follow 12",
        "bgjob follow 12 --after 480 --json",
        json_help="JSON lines: each value with its number, attempt, step and time",
        more="Each is a line of JSON. What an attempt has repeated comes twice, and --json tells its attempt.",
    )
    add_id(command)
    command.add_argument(
        "--after",
        type=values.count,
        default=0,
        metavar="N",
        help="only those behind the value of this number",
    )


def _add_output(commands: Commands) -> None:
    command = added(
        commands,
        "output",
        follow.output,
        "bgjob output 12 > log.txt",
        "bgjob output -f -c 4K 12",
        json_help="JSON lines: attempt number, bytes (base64), their offset, how many were left out before them",
    )
    add_id(command)
    command.add_argument(
        "--attempt",
        type=values.job_id,
        metavar="N",
        help="this attempt's, with -f from this one on; else the latest",
    )
    command.add_argument(
        "-c",
        dest="tail",
        type=values.size,
        metavar="SIZE",
        help="no more than the last SIZE bytes of it: 4096, 64K, 1M",
    )
    command.add_argument("-f", "--follow", action="store_true", help="go on until the job has ended")


COMMANDS: Final = (
    _add_list,
    _add_errors,
    _add_show,
    _add_export,
    _add_compare,
    _add_why,
    _add_stack,
    _add_tail,
    _add_follow,
    _add_output,
)
