"""What may be written after `bgjob`: the commands and their options. What they do is not here, nor their values."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from bgjob import __version__
from bgjob.client import Client
from bgjob.commands import (
    about,
    completion,
    flow,
    follow,
    groups,
    look,
    manage,
    outbox,
    pages,
    schedules,
    submit,
    values,
)
from bgjob.commands.parsing import Parser
from bgjob.commands.top import command as top
from bgjob.words import STATUS_WORDS, Backoff, EntryType, IfFailed


def parse(given: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; `run` in them is the command's function. Exits with 2 where they are wrong."""
    words = parser()
    texts = sys.argv[1:] if given is None else given
    if not all(values.is_text(word) for word in texts):
        words.error("an argument is no UTF-8")
    arguments = words.parse_args(texts)
    is_run = arguments.run is submit.run
    if is_run and arguments.timeout is not None and not (arguments.wait or arguments.follow):
        words.error("--timeout limits the wait and needs -w or -f; --attempt-timeout limits an attempt")
    if is_run and arguments.after and arguments.delay is not None:
        words.error("--delay from when, the submit or the end of what it comes after? --at is possible")
    if arguments.run is groups.group and arguments.timeout is not None and not arguments.wait:
        words.error("--timeout limits the wait and needs -w")
    missing = schedules.try_missing(arguments) if arguments.run is schedules.schedule else None
    if missing is not None:
        words.error(f"schedule {arguments.action} needs {missing}")
    return arguments


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    words = Parser(
        prog="bgjob",
        description="Background jobs on this machine: submit them, wait for them, see what became of them.",
        epilog="`bgjob COMMAND --help` has the options of a command, and an example.\n\n"
        "exit codes: 0 well, 1 the job failed, 2 usage, 3 cancelled, 4 no such job,\n"
        "group or schedule, 69 no daemon, 70 a bug of its, 74 the result could not be written,\n"
        "75 queue full, storage unavailable or shutting down, 76 not our protocol,\n"
        "77 refused, 124 the wait timed out, 130 interrupted",
        formatter_class=_Help,
        allow_abbrev=False,
    )
    words.add_argument(
        "--version", action="version", version=f"bgjob {__version__}", help="print the version"
    )
    _add_socket(words, default=None)
    commands = words.add_subparsers(metavar="COMMAND", required=True)
    for add in _ALL:
        add(commands)
    _add_completion(commands, words)
    return words


# The commands

_Commands = Any  # argparse has no public name for what add_subparsers answers
_Options = Any  # nor for what add_argument_group answers


def _add_run(commands: _Commands) -> None:
    command = _added(
        commands,
        "run",
        submit.run,
        f"bgjob run {values.EXAMPLE} -p to=user@example.com",
        "bgjob run myapp.jobs.ExampleJob::run --parameters @example.json --delay 5m",
        "bgjob run myapp.jobs.ExampleJob::run -w --timeout 30",
        json_help="print JSON: the id, with -w the job, with -f lines",
    )
    target = command.add_argument("target", type=values.target, metavar="CLASS::METHOD", help="what to run")
    completion.asking_for(target, "methods")
    of_job = command.add_argument_group("the job")
    _add_parameters(of_job)
    _add_start(of_job)
    _add_retries(of_job)
    _add_after(of_job)
    of_job.add_argument(
        "--key", dest="idempotency_key", metavar="KEY", help="the same key gives the same job again"
    )
    of_wait = command.add_argument_group("waiting for it")
    of_wait.add_argument(
        "-w", "--wait", action="store_true", help="wait for the end and print the result as JSON"
    )
    of_wait.add_argument(
        "-f", "--follow", action="store_true", help="print output as it comes, and log lines on stderr"
    )
    of_wait.add_argument("--timeout", type=values.seconds, metavar="TIME", help="wait at most this long")


def _add_parameters(of_job: _Options) -> None:
    of_job.add_argument(
        "-p",
        dest="parameters",
        type=values.parameter,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a parameter: JSON if it parses, else text; may be repeated",
    )
    of_job.add_argument(
        "--parameters",
        dest="whole",
        type=values.parameters,
        default={},
        metavar="JSON|@FILE|-",
        help="all parameters as a JSON object, from a file, or from stdin; -p adds to them",
    )


def _add_start(of_job: _Options) -> None:
    of_job.add_argument(
        "--delay", type=values.seconds, metavar="TIME", help="not before, from now: 90, 5m, 2h"
    )
    of_job.add_argument(
        "--at",
        type=values.start,
        metavar="WHEN",
        help="not before: 02:00, 'tomorrow 02:00', 2026-12-04T14:31:53Z; local time where no offset is given",
    )
    queue = of_job.add_argument("--queue", metavar="QUEUE", help="the class's own, else default")
    completion.asking_for(queue, "queues")
    of_job.add_argument("--priority", type=int, metavar="N", help="higher goes first, 0 is usual")
    of_job.add_argument(
        "--attempt-timeout", type=values.seconds, metavar="TIME", help="stop an attempt after this time"
    )


def _add_retries(of_job: _Options) -> None:
    of_job.add_argument("--max-retries", type=values.count, metavar="N", help="how often to try again")
    of_job.add_argument(
        "--retry-delay", type=values.seconds, metavar="TIME", help="time between two attempts"
    )
    of_job.add_argument(
        "--backoff", choices=[backoff.value for backoff in Backoff], help="how that time grows"
    )
    of_job.add_argument(
        "--retry-count", type=values.count, default=0, metavar="N", help="start with this many retries spent"
    )


def _add_after(of_job: _Options) -> None:
    after = of_job.add_argument(
        "--after",
        type=values.predecessor,
        action="append",
        metavar="ID|group:ID",
        help="not before this job, or group, has completed; may be repeated",
    )
    completion.asking_for(after, "jobs")
    of_job.add_argument(
        "--if-failed",
        choices=[one.value for one in IfFailed],
        help="where one of those fails or is cancelled: cancel this one (the default), run it, or wait for a retry",
    )


def _add_list(commands: _Commands) -> None:
    command = _added(
        commands,
        "list",
        look.list_jobs,
        "bgjob list --status failed --class myapp.jobs.EmailNotification",
        "bgjob list --columns id,status,job,took --limit 100",
    )
    _add_filters(command)
    _add_page_of_list(command)


def _add_filters(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--status",
        action="extend",
        nargs="+",
        choices=STATUS_WORDS,
        metavar="STATUS",
        help=f"one or more of {', '.join(STATUS_WORDS)}",
    )
    queue = command.add_argument("--queue", metavar="QUEUE", help="jobs of this queue")
    completion.asking_for(queue, "queues")
    _add_target(command)
    schedule = command.add_argument("--schedule", metavar="NAME", help="jobs of this schedule")
    completion.asking_for(schedule, "schedules")
    group = command.add_argument("--group", type=values.job_id, metavar="ID", help="members of this group")
    completion.asking_for(group, "groups")
    command.add_argument(
        "--search", metavar="TEXT", help="a part of class, method, error or a parameter's value"
    )
    command.add_argument(
        "--since",
        type=values.since,
        metavar="TIME",
        help="ended since, where --status has only ends, else submitted since: 1h, 2026-12-04T14:31:53Z",
    )


def _add_page_of_list(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--limit",
        type=values.page_size,
        default=pages.USUAL,
        metavar="N",
        help=f"at most so many ({pages.USUAL})",
    )
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


def _add_show(commands: _Commands) -> None:
    command = _added(commands, "show", look.show, "bgjob show 12 --logs", "bgjob show order-17")
    job = command.add_argument(
        "job", type=values.job, metavar="ID|KEY", help="of the job; what is no id is its idempotency key"
    )
    completion.asking_for(job, "jobs")
    command.add_argument("--logs", action="store_true", help="its log lines too")


def _add_why(commands: _Commands) -> None:
    _add_id(_added(commands, "why", look.why, "bgjob why 12"))


def _add_tail(commands: _Commands) -> None:
    command = _added(
        commands,
        "tail",
        follow.tail,
        "bgjob tail -f",
        "bgjob tail -n 100 --type failure --class myapp.jobs.EmailNotification",
        json_help="JSON lines: one entry of the log each",
    )
    command.add_argument("-f", "--follow", action="store_true", help="go on with new lines as they come")
    command.add_argument(
        "-n", dest="count", type=values.tail_size, default=10, metavar="N", help="how many lines first (10)"
    )
    job = command.add_argument("--job", type=values.job_id, metavar="ID", help="of this job; -f ends with it")
    completion.asking_for(job, "jobs")
    _add_target(command)
    command.add_argument("--type", choices=[type.value for type in EntryType], help="lines of this type")
    command.add_argument("--search", metavar="TEXT", help="a part of the message")


def _add_output(commands: _Commands) -> None:
    command = _added(
        commands,
        "output",
        follow.output,
        "bgjob output 12 > log.txt",
        "bgjob output -f -c 4K 12",
        json_help="JSON lines: attempt number, bytes (base64), their offset, how many were left out before them",
    )
    _add_id(command)
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


def _add_wait(commands: _Commands) -> None:
    command = _added(
        commands,
        "wait",
        follow.wait,
        "bgjob wait 12 13 --timeout 10m",
        json_help="JSON lines: each job as it ends",
        more="The exit code is that of the first of them that did not complete.",
    )
    _add_ids(command, "open_jobs")
    command.add_argument(
        "--timeout", type=values.seconds, metavar="TIME", help="wait at most this long: 90, 5m, 2h"
    )


def _add_cancel(commands: _Commands) -> None:
    command = _added(
        commands,
        "cancel",
        manage.cancel,
        "bgjob cancel 12 13",
        more="If one cannot be, none of them is.",
        hint="only jobs that have not ended can be cancelled",
    )
    _add_ids(command, "open_jobs")


def _add_retry(commands: _Commands) -> None:
    command = _added(
        commands,
        "retry",
        manage.retry,
        "bgjob retry 12 13",
        more="If one cannot be, none of them is.",
        hint="only failed and cancelled jobs can run again",
    )
    _add_ids(command, "ended_jobs")
    command.add_argument(
        "--anyway", action="store_true", help="though what they come after failed: that counts as done, then"
    )


def _add_flow(commands: _Commands) -> None:
    command = _added(
        commands,
        "flow",
        flow.flow,
        "bgjob flow nightly.json",
        more="The file has the parameters of SubmitMany, as JSON.",
    )
    command.add_argument(
        "flow", type=flow.written, metavar="FILE|-", help="the jobs and groups, from a file or from stdin"
    )


def _add_graph(commands: _Commands) -> None:
    command = _added(
        commands,
        "graph",
        groups.graph,
        "bgjob graph 12",
        more="The job has a star. What comes after another stands below it: indented, or, where the way goes on,"
        " with an arrow. Of those that look alike some are shown.",
    )
    _add_id(command)
    command.add_argument(
        "--limit",
        type=values.page_size,
        default=pages.LARGEST,
        metavar="N",
        help=f"at most so many jobs, the nearest ones ({pages.LARGEST})",
    )


def _add_group(commands: _Commands) -> None:
    command = _added(
        commands,
        "group",
        groups.group,
        "bgjob group 5 --wait --timeout 10m",
        "bgjob group 5 --retry",
        more="With -w the exit code is 0 where all members completed, 1 where some failed, else 3.",
    )
    group = command.add_argument("id", type=values.job_id, metavar="ID", help="of the group")
    completion.asking_for(group, "groups")
    what = command.add_mutually_exclusive_group()
    for action, does in groups.ACTIONS.items():
        what.add_argument(f"--{action}", dest="action", action="store_const", const=action, help=does)
    command.add_argument("-w", "--wait", action="store_true", help="wait until it has ended")
    command.add_argument("--timeout", type=values.seconds, metavar="TIME", help="wait at most this long")


def _add_top(commands: _Commands) -> None:
    command = _added(
        commands,
        "top",
        top.top,
        "bgjob top",
        "bgjob top --once",
        json_help="print JSON, once",
        more="On a terminal it goes on until q; its keys are told by ?.",
    )
    command.add_argument(
        "--every",
        type=values.seconds,
        default=2.0,
        metavar="SECONDS",
        help="look again after this time (2), besides when a job changes",
    )
    command.add_argument("--once", action="store_true", help="print it once, as where there is no terminal")


def _add_stats(commands: _Commands) -> None:
    _added(commands, "stats", about.stats, "bgjob stats")


def _add_classes(commands: _Commands) -> None:
    command = _added(commands, "classes", about.classes, "bgjob classes EmailNotification")
    name = command.add_argument(
        "name", nargs="?", metavar="NAME", help="one class, by its name or the end of it"
    )
    completion.asking_for(name, "classes")


def _add_reload(commands: _Commands) -> None:
    _added(
        commands,
        "reload",
        manage.reload,
        "bgjob reload",
        more="If anything is wrong with the new, all stays as it was, and the reason is told.",
    )


def _add_pause(commands: _Commands) -> None:
    _add_queue(_added(commands, "pause", manage.pause, "bgjob pause mail", hint=_QUEUES))


def _add_resume(commands: _Commands) -> None:
    _add_queue(_added(commands, "resume", manage.resume, "bgjob resume mail", hint=_QUEUES))


def _add_outbox(commands: _Commands) -> None:
    command = _added(
        commands,
        "outbox",
        outbox.outbox,
        "bgjob outbox --ddl sqlite | sqlite3 shop.db",
        "bgjob outbox --dsn shop.db --list",
        "bgjob outbox --dsn 'service=shop' --watch     # of ~/.pg_service.conf",
        json_help="print JSON, with --watch lines",
        more="The exit code is 69 as well where there is no database.",
    )
    where = command.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--dsn",
        metavar="DSN",
        help="of the database: postgresql://…, what libpq takes (dbname=shop), or the path of an SQLite file",
    )
    where.add_argument("--ddl", choices=outbox.DATABASES, help="print what makes the table, and end")
    command.add_argument(
        "--every", type=values.seconds, default=5.0, metavar="TIME", help="look again after this time (5)"
    )
    _add_ways(command.add_mutually_exclusive_group())


def _add_ways(what: _Options) -> None:
    what.add_argument(
        "--watch",
        action="store_true",
        help="go on, and look every few seconds for what stays; neither database nor daemon need be there",
    )
    what.add_argument("--list", action="store_true", help="show what stays, and why, and submit nothing")
    what.add_argument(
        "--again",
        nargs="?",
        const=outbox.ALL,
        metavar="KEY",
        help="submit as well what was refused for good: the job with this key, or all",
    )


def _add_schedules(commands: _Commands) -> None:
    command = _added(
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


def _add_occurrences(commands: _Commands) -> None:
    command = _added(
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


def _add_schedule(commands: _Commands) -> None:
    command = _added(
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


def _add_completion(commands: _Commands, words: argparse.ArgumentParser) -> None:
    command = _added(
        commands,
        "completion",
        completion.completion,
        "bgjob completion bash > ~/.local/share/bash-completion/completions/bgjob",
        "bgjob completion zsh > ~/.zfunc/_bgjob       # a directory of $fpath",
        "bgjob completion fish > ~/.config/fish/completions/bgjob.fish",
        json_help=None,
    )
    command.add_argument("shell", choices=completion.SHELLS)
    command.add_argument(
        "--words", action=_Words, nargs=argparse.REMAINDER, metavar="KIND", help=argparse.SUPPRESS
    )
    command.set_defaults(parser=words)


_ALL: Final = (
    *(_add_run, _add_list, _add_show, _add_why, _add_tail, _add_output, _add_wait, _add_cancel, _add_retry),
    *(_add_flow, _add_graph, _add_group),
    *(_add_top, _add_stats, _add_classes, _add_reload, _add_pause, _add_resume, _add_outbox),
    *(_add_schedules, _add_occurrences, _add_schedule),
)
"""What adds a command, each, in the order in which help tells them."""

_QUEUES: Final = "`bgjob stats` lists the queues"
_SCHEDULES: Final = "`bgjob schedules` lists those there are"


def _added(
    commands: _Commands,
    name: str,
    run: Callable[[Client, argparse.Namespace], int],
    *examples: str,
    json_help: str | None = "print JSON",
    more: str = "",
    hint: str | None = None,
) -> argparse.ArgumentParser:
    """A command with what all of them have: its sentence, examples, --socket and --json."""
    sentence = run.__doc__ or ""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=sentence[0].lower() + sentence[1:].rstrip("."),
        description=f"{sentence} {more}".rstrip(),
        epilog="\n".join(
            ["example:" if len(examples) == 1 else "examples:", *(f"  {one}" for one in examples)]
        ),
        formatter_class=_Help,
        allow_abbrev=False,
    )
    _add_socket(command, default=argparse.SUPPRESS)
    if json_help is not None:
        command.add_argument("--json", action="store_true", help=json_help)
    command.set_defaults(run=run, hint=hint or f"see `bgjob {name} --help`")
    return command


def _add_socket(command: argparse.ArgumentParser, default: str | None) -> None:
    command.add_argument(
        "--socket",
        default=default,
        metavar="ADDRESS",
        help="of the daemon, a path or unix:PATH; else $BGJOBD_SOCKET, your own or the system's",
    )


def _add_id(command: argparse.ArgumentParser) -> None:
    job = command.add_argument("id", type=values.job_id, metavar="ID", help="of the job")
    completion.asking_for(job, "jobs")


def _add_ids(command: argparse.ArgumentParser, kind: str) -> None:
    jobs = command.add_argument("ids", type=values.job_id, nargs="+", metavar="ID", help="of a job")
    completion.asking_for(jobs, kind)


def _add_target(command: argparse.ArgumentParser) -> None:
    target = command.add_argument(
        "--class",
        dest="target",
        type=values.class_filter,
        default={},
        metavar="CLASS[::METHOD]",
        help="jobs of this class, by its whole name",
    )
    completion.asking_for(target, "filters")


def _add_queue(command: argparse.ArgumentParser) -> None:
    queue = command.add_argument("queue", nargs="?", default="default", metavar="QUEUE", help="else default")
    completion.asking_for(queue, "queues")


class _Help(argparse.HelpFormatter):
    """Fills sentences and leaves lines as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


class _Words(argparse.Action):
    """Prints the words of a kind, a line each, for the scripts of completion: `--words KIND [LINE...]`."""

    def __call__(self, parser: argparse.ArgumentParser, _: object, given: Any, *more: object) -> NoReturn:
        kind, *line = given or [""]
        print("".join(f"{word}\n" for word in completion.words(kind, line)), end="")
        parser.exit()
