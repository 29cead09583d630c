"""The options of the commands about the daemon, its queues and classes, and about outboxes."""

from __future__ import annotations

import argparse
from typing import Final

from bgjob.commands import (
    about,
    alerts,
    changes,
    completion,
    hosts,
    keys,
    labels,
    manage,
    needs,
    outbox,
    values,
)
from bgjob.commands.assistant import command as assistant
from bgjob.commands.shared_arguments import Commands, Options, add_limit, added
from bgjob.commands.top import command as top


def _add_top(commands: Commands) -> None:
    command = added(
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


def _add_stats(commands: Commands) -> None:
    command = added(
        commands,
        "stats",
        about.stats,
        "bgjob stats",
        "bgjob stats --class",
        "bgjob stats --class myapp.notifications.EmailNotification",
    )
    name = command.add_argument(
        "--class",
        dest="class_name",
        nargs="?",
        const="",
        metavar="NAME",
        help="how the classes do against their own past, or this one, with the last 24 hours as a line of blocks",
    )
    completion.asking_for(name, "classes")


def _add_needs(commands: Commands) -> None:
    added(
        commands,
        "needs",
        needs.needs,
        "bgjob needs",
        "bgjob needs || mail -s 'bgjobd needs you' ops",
        more="The exit code is 0 where nothing does, else 1.",
    )


def _add_alerts(commands: Commands) -> None:
    command = added(commands, "alerts", alerts.alerts, "bgjob alerts --open")
    command.add_argument("--open", action="store_true", help="that alone which is not over")
    add_limit(command)


def _add_alert(commands: Commands) -> None:
    command = added(
        commands,
        "alert",
        alerts.alert,
        "bgjob alert ack 14",
        "bgjob alert mute oldest_pending --for 2h",
        "bgjob alert --test",
        more="--test waits, and the exit code is 1 where a target was not told.",
    )
    command.add_argument("action", nargs="?", choices=("ack", "mute"), help="what is to be done")
    of = command.add_argument("of", nargs="?", metavar="ID|RULE", help="of the alert, or the rule's name")
    completion.asking_for(of, "alerts")
    command.add_argument(
        "--for",
        dest="seconds",
        type=values.seconds,
        metavar="TIME",
        help="for so long the rule tells nobody; 0: it tells again",
    )
    command.add_argument(
        "--test",
        nargs="?",
        const="",
        metavar="RULE",
        help="a notice that is marked as a test, to all targets, or those of a rule",
    )


def _add_changes(commands: Commands) -> None:
    command = added(commands, "changes", changes.changes, "bgjob changes --limit 10")
    add_limit(command)
    command.add_argument("--before", type=values.job_id, metavar="ID", help="those before this one")


def _add_classes(commands: Commands) -> None:
    command = added(commands, "classes", about.classes, "bgjob classes EmailNotification")
    name = command.add_argument(
        "name", nargs="?", metavar="NAME", help="one class, by its name or the end of it"
    )
    completion.asking_for(name, "classes")


def _add_class(commands: Commands) -> None:
    command = added(
        commands,
        "class",
        manage.hold_or_resume,
        "bgjob class hold myapp.notifications.EmailNotification",
        "bgjob class resume myapp.notifications.EmailNotification",
        hint="`bgjob classes` lists them",
        more="What runs goes on. A class whose attempts crash is held by itself, and tried from time to time; resume "
        "does not wait for that.",
    )
    command.add_argument("action", choices=manage.ACTIONS_OF_CLASS, help="what is to be done")
    name = command.add_argument("name", metavar="NAME", help="of the class, with its module")
    completion.asking_for(name, "classes")


def _add_reload(commands: Commands) -> None:
    added(
        commands,
        "reload",
        manage.reload,
        "bgjob reload",
        more="If anything is wrong with the new, all stays as it was, and the reason is told.",
    )


def _add_pause(commands: Commands) -> None:
    command = added(
        commands,
        "pause",
        manage.pause,
        "bgjob pause mail",
        "bgjob pause mail --for 10m",
        "bgjob pause mail --until 'tomorrow 08:00'",
        hint=_QUEUES,
        more="Of a queue that is paused already this replaces when it goes on by itself.",
    )
    _add_queue(command)
    until = command.add_mutually_exclusive_group()
    until.add_argument(
        "--for",
        dest="resumes_in",
        type=values.seconds,
        metavar="TIME",
        help="it goes on by itself after this time",
    )
    until.add_argument(
        "--until",
        dest="resumes_at",
        type=values.start,
        metavar="WHEN",
        help="it goes on by itself then: 08:00, 2026-12-04T14:31:53Z; local time where no offset is given",
    )


def _add_resume(commands: Commands) -> None:
    _add_queue(added(commands, "resume", manage.resume, "bgjob resume mail", hint=_QUEUES))


def _add_queue(command: argparse.ArgumentParser) -> None:
    queue = command.add_argument("queue", nargs="?", default="default", metavar="QUEUE", help="else default")
    completion.asking_for(queue, "queues")


def _add_keys(commands: Commands) -> None:
    command = added(
        commands,
        "keys",
        keys.keys,
        "bgjob keys mail",
        "bgjob keys mail --search customer:7",
        hint=_QUEUES,
    )
    _add_queue(command)
    command.add_argument("--search", metavar="TEXT", help="a part of the key")
    add_limit(command)


def _add_labels(commands: Commands) -> None:
    command = added(commands, "labels", labels.labels, "bgjob labels", "bgjob labels tenant:")
    prefix = command.add_argument("prefix", nargs="?", metavar="PREFIX", help="those that begin so")
    completion.asking_for(prefix, "labels")
    add_limit(command)


def _add_hosts(commands: Commands) -> None:
    command = added(
        commands,
        "hosts",
        hosts.hosts,
        "bgjob hosts",
        "bgjob hosts lost web2 --its-jobs-may-run-twice",
        "bgjob hosts accept",
        hint="`bgjob hosts` lists them",
        more="`lost`: another host is gone for good, and what it ran is to run elsewhere; if it lives after all, its "
        "jobs run twice. `accept`: the database has gone back in time, as after a restore, and is taken as it is.",
    )
    command.add_argument("action", nargs="?", choices=("lost", "accept"), help="else they are shown")
    host = command.add_argument("name", nargs="?", metavar="NAME", help="of the host that is lost")
    completion.asking_for(host, "hosts")
    command.add_argument(
        "--its-jobs-may-run-twice",
        action="store_true",
        help="what has to be said for a host to count as lost",
    )


def _add_drain(commands: Commands) -> None:
    command = added(
        commands,
        "drain",
        hosts.drain,
        "bgjob drain",
        "bgjob drain --host web2",
        hint="`bgjob hosts` lists them",
        more="What waits is for other hosts, or for the next start of that daemon. "
        "`bgjob hosts` tells when nothing runs there any more.",
    )
    host = command.add_argument(
        "--host", metavar="NAME", help="of several hosts; else that of the daemon that is asked"
    )
    completion.asking_for(host, "hosts")


def _add_outbox(commands: Commands) -> None:
    command = added(
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


def _add_ways(what: Options) -> None:
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


def _add_mcp(commands: Commands) -> None:
    command = added(
        commands,
        "mcp",
        assistant.mcp,
        "bgjob mcp",
        "bgjob mcp --allow-actions     # in the configuration of an assistant",
        json_help=None,
        more="What jobs wrote is marked as data in all answers.",
    )
    command.add_argument(
        "--allow-actions",
        action="store_true",
        help="let it retry and cancel jobs, too, and pause and resume queues, classes and schedules",
    )


COMMANDS: Final = (
    _add_top,
    _add_stats,
    _add_needs,
    _add_alerts,
    _add_alert,
    _add_changes,
    _add_classes,
    _add_keys,
    _add_labels,
    _add_class,
    _add_pause,
    _add_resume,
    _add_reload,
    _add_hosts,
    _add_drain,
    _add_outbox,
    _add_mcp,
)

_QUEUES: Final = "`bgjob stats` lists the queues"
