"""The options of the commands about jobs: which run one, look at some, or ask something of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Final

from bgjob.commands import (
    compare,
    completion,
    debug,
    debug_arguments,
    errors,
    follow,
    look,
    manage,
    pages,
    stack,
    submit,
    values,
)
from bgjob.commands.shared_arguments import Commands, Options, add_id, add_ids, add_target, added
from bgjob.filters import CANCELLED, RETRIED
from bgjob.words import STATUS_WORDS, Backoff, EntryType, IfFailed, IfHeld, Outcome, UniqueWhile


def _add_run(commands: Commands) -> None:
    command = added(
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
    _add_waiting(command.add_argument_group("waiting for it"))


def _add_waiting(of_wait: Options) -> None:
    of_wait.add_argument(
        "-w", "--wait", action="store_true", help="wait for the end and print the result as JSON"
    )
    of_wait.add_argument(
        "-f", "--follow", action="store_true", help="print output as it comes, and log lines on stderr"
    )
    of_wait.add_argument("--timeout", type=values.seconds, metavar="TIME", help="wait at most this long")


def _add_parameters(of_job: Options) -> None:
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


def _add_start(of_job: Options) -> None:
    of_job.add_argument(
        "--delay", type=values.seconds, metavar="TIME", help="not before, from now: 90, 5m, 2h"
    )
    of_job.add_argument(
        "--at",
        type=values.start,
        metavar="WHEN",
        help="not before: 02:00, 'tomorrow 02:00', 2026-12-04T14:31:53Z; local time where no offset is given",
    )
    of_job.add_argument(
        "--expires",
        type=values.expiry,
        metavar="TIME",
        help="cancelled unless it starts within this time, or by this moment: 2h, 18:00, 2026-12-04T14:31:53Z",
    )
    _add_unique(of_job)
    queue = of_job.add_argument("--queue", metavar="QUEUE", help="the class's own, else default")
    completion.asking_for(queue, "queues")
    of_job.add_argument(
        "--limit-key",
        dest="key",
        metavar="KEY",
        help="what it shares with others of the queue, which limits those with one key, or has keys take turns",
    )
    host = of_job.add_argument("--host", metavar="NAME", help="of several hosts the one that is to run it")
    completion.asking_for(host, "hosts")
    of_job.add_argument(
        "--traceparent",
        metavar="TEXT",
        help="the span that it belongs to, as the W3C has it; else $TRACEPARENT",
    )
    labels = of_job.add_argument(
        "--label",
        dest="labels",
        action="append",
        metavar="LABEL",
        help="what it is found by, such as tenant:7; may be repeated",
    )
    completion.asking_for(labels, "labels")
    of_job.add_argument("--priority", type=int, metavar="N", help="higher goes first, 0 is usual")
    of_job.add_argument(
        "--attempt-timeout", type=values.seconds, metavar="TIME", help="stop an attempt after this time"
    )


def _add_unique(of_job: Options) -> None:
    of_job.add_argument(
        "--unique-key",
        metavar="KEY",
        help="one job of the method at a time has it; another gets that one's id",
    )
    of_job.add_argument(
        "--unique-while",
        choices=[word.value for word in UniqueWhile],
        help="it has it until it ends, or until its first attempt",
    )
    of_job.add_argument(
        "--unique-for", type=values.seconds, metavar="TIME", help="it has it for this long at least"
    )
    of_job.add_argument(
        "--if-held",
        choices=[word.value for word in IfHeld],
        help="get the id of who has it, be refused, or take its place",
    )
    of_job.add_argument(
        "--at-latest",
        type=values.seconds,
        metavar="TIME",
        help="how long it may be put off by being replaced",
    )


def _add_retries(of_job: Options) -> None:
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


def _add_after(of_job: Options) -> None:
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
    _add_status(command, STATUS_WORDS, f"one or more of {', '.join(STATUS_WORDS)}")
    _add_names(command)
    command.add_argument(
        "--search", metavar="TEXT", help="a part of class, method, error or a parameter's value"
    )


def _add_status(command: Options, words: Sequence[str], told: str) -> None:
    command.add_argument("--status", action="extend", nargs="+", choices=words, metavar="STATUS", help=told)


def _add_names(command: Options) -> None:
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


def _add_page_of_list(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--sort",
        choices=["id", "ended"],
        help="by the latest submit, or end, first; ended without --status: all that have ended",
    )
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
    target = command.add_argument(
        "--class",
        dest="target",
        type=values.class_of,
        default={},
        metavar="CLASS",
        help="met by this class, by its whole name",
    )
    completion.asking_for(target, "classes")
    command.add_argument(
        "--limit",
        type=values.page_size,
        default=pages.USUAL,
        metavar="N",
        help=f"at most so many ({pages.USUAL})",
    )


def _add_show(commands: Commands) -> None:
    command = added(commands, "show", look.show, "bgjob show 12 --logs", "bgjob show order-17")
    job = command.add_argument(
        "job", type=values.job, metavar="ID|KEY", help="of the job; what is no id is its idempotency key"
    )
    completion.asking_for(job, "jobs")
    command.add_argument("--logs", action="store_true", help="its log lines too")
    command.add_argument("--steps", action="store_true", help="all its steps, waits and signals, with values")


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
    _add_status(filters, status, f"one or more of {', '.join(status)} ({usual})")
    _add_names(filters)
    return of_many


def _add_again(commands: Commands) -> None:
    command = added(
        commands,
        "again",
        submit.again,
        "bgjob again 12",
        "bgjob again 12 -p to=other@example.com -w",
        "bgjob again 12 --from-step 'label 3'",
        hint="only jobs that have ended can run again; of one for review `bgjob settle` says first what it did",
        json_help="print JSON: the id, with -w the job, with -f lines",
    )
    add_id(command)
    of_job = command.add_argument_group("the new job")
    _add_parameters(of_job)
    of_job.add_argument(
        "--from-step",
        metavar="NAME",
        help="with all steps and waits that were finished before this step was",
    )
    of_job.add_argument(
        "--key", dest="idempotency_key", metavar="KEY", help="the same key gives the same job again"
    )
    _add_waiting(command.add_argument_group("waiting for it"))


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
    _add_run,
    _add_list,
    _add_errors,
    _add_show,
    _add_compare,
    _add_why,
    _add_stack,
    _add_tail,
    _add_follow,
    _add_output,
    _add_cancel,
    _add_retry,
    _add_again,
    _add_settle,
    _add_change,
    _add_signal,
    _add_debug,
)
