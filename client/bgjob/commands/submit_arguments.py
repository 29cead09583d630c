"""The options of the commands that make a job: `run`, and `again`, which makes one of another."""

from __future__ import annotations

import argparse

from bgjob.commands import completion, submit, values
from bgjob.commands.shared_arguments import Commands, Options, add_id, added
from bgjob.words import Backoff, IfFailed, IfHeld, UniqueWhile


def add_run(commands: Commands) -> None:
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
    _add_unique(of_job)
    _add_terms(of_job)
    _add_retries(of_job)
    _add_after(of_job)
    _add_idempotency_key(of_job)
    _add_waiting(command.add_argument_group("waiting for it"))


def _add_idempotency_key(of_job: Options) -> None:
    """`--key`, as it was called first, is taken and not shown: elsewhere `key` is the one that jobs share."""
    for name, told in (
        ("--idempotency-key", "the same key gives the same job again"),
        ("--key", argparse.SUPPRESS),
    ):
        of_job.add_argument(name, dest="idempotency_key", metavar="KEY", help=told)


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


def _add_terms(of_job: Options) -> None:
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


def add_again(commands: Commands) -> None:
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
    _add_idempotency_key(of_job)
    _add_waiting(command.add_argument_group("waiting for it"))
