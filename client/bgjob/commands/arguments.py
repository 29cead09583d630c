"""What may be written after `bgjob`: all commands. The options of each are in `…_arguments`; no function is here."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NoReturn

from bgjob import __version__
from bgjob.commands import (
    alerts,
    completion,
    daemon_arguments,
    flow_arguments,
    groups,
    hosts,
    look_arguments,
    manage,
    manage_arguments,
    many,
    schedule_arguments,
    schedules,
    submit,
    submit_arguments,
    values,
    watch_arguments,
    watching,
)
from bgjob.commands.parsing import Parser
from bgjob.commands.shared_arguments import Commands, Help, add_socket, added


def parse(given: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; `run` in them is the command's function. Exits with 2 where they are wrong."""
    words = parser()
    texts = sys.argv[1:] if given is None else given
    for word in texts:
        if not values.is_text(word):
            words.error(f"an argument is no UTF-8: {word!r}")
    arguments = words.parse_args(texts)
    arguments.words = shlex.join([words.prog, *texts])
    twice = values.try_twice(getattr(arguments, "parameters", ()))
    wrong = twice or _try_reversed(arguments) or _try_misfit(arguments)
    if wrong is not None:
        arguments.refuse(wrong)
    return arguments


_SAME: Final = timedelta(seconds=1)
"""Ages are counted from when each was read."""


def _try_reversed(arguments: argparse.Namespace) -> str | None:
    """What is wrong with a span that ends before it begins."""
    since, until = (getattr(arguments, name, None) for name in ("since", "until"))
    if since is None or until is None:
        return None
    if datetime.fromisoformat(since) - datetime.fromisoformat(until) < _SAME:
        return None
    first, last = ("--from", "--to") if arguments.run is schedules.schedule else ("--since", "--until")
    return f"the span ends before it begins: {last} is earlier than {first}"


def _try_misfit(arguments: argparse.Namespace) -> str | None:
    """What does not fit together of what was given to a command, as far as it has a say in that."""
    if arguments.run not in _MISFITS:
        return None
    try_wrong, sentence = _MISFITS[arguments.run]
    wrong = try_wrong(arguments)
    return None if wrong is None else sentence.format(wrong=wrong, **vars(arguments))


_MISFITS: Final = {
    submit.run: (submit.try_wrong, "{wrong}"),
    submit.again: (submit.try_wrong, "{wrong}"),
    groups.group: (groups.try_wrong, "{wrong}"),
    manage.change: (manage.try_empty_change, "{wrong}"),
    manage.retry: (many.try_wrong, "retry {wrong}"),
    manage.cancel: (many.try_wrong, "cancel {wrong}"),
    watching.wait: (watching.try_wrong, "wait {wrong}"),
    watching.watch: (watching.try_wrong, "watch {wrong}"),
    alerts.alert: (alerts.try_wrong, "alert {wrong}"),
    hosts.hosts: (hosts.try_missing, "hosts {action} needs {wrong}"),
    schedules.schedule: (schedules.try_missing, "schedule {action} needs {wrong}"),
}
"""Of a command what finds that, and in which sentence it is told."""


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    words = Parser(
        prog="bgjob",
        description="Background jobs on this machine: submit them, wait for them, see what became of them.",
        epilog="`bgjob COMMAND --help` has the options of a command, and an example.\n\n"
        "exit codes: 0 well, 1 the job or group failed, something needs somebody, or a\n"
        "target was not told, 2 usage, 3 cancelled, 4 no such job, step, group, error,\n"
        "alert, host or schedule, 69 no daemon, or what a command takes is not\n"
        "installed, 70 a bug in the daemon, 74 the result could not be written,\n"
        "75 queue full, storage unavailable or shutting down, 76 not our protocol,\n"
        "77 refused, 124 the wait timed out, 130 interrupted, 141 whoever reads what is\n"
        "printed has closed it",
        formatter_class=_Grouped,
        allow_abbrev=False,
    )
    words.add_argument(
        "--version", action="version", version=f"bgjob {__version__}", help="print the version"
    )
    add_socket(words, default=None)
    commands = words.add_subparsers(metavar="COMMAND", required=True)
    for add in _ALL:
        add(commands)
    _add_completion(commands, words)
    return words


def _add_completion(commands: Commands, words: argparse.ArgumentParser) -> None:
    command = added(
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


class _Grouped(Help):
    """With a heading before the first command of each kind."""

    def _format_action(self, action: argparse.Action) -> str:
        told, heading = super()._format_action(action), _HEADINGS.get(str(action.metavar))
        return told if heading is None else f"\n  {heading}:\n{told}"


class _Words(argparse.Action):
    """Prints the words of a kind, a line each, for the scripts of completion: `--words KIND [LINE...]`."""

    def __call__(self, parser: argparse.ArgumentParser, _: object, given: Any, *more: object) -> NoReturn:
        kind, *line = given or [""]
        print("".join(f"{word}\n" for word in completion.words(kind, line)), end="")
        parser.exit()


_ALL: Final = (
    submit_arguments.add_run,
    *look_arguments.COMMANDS,
    *manage_arguments.COMMANDS,
    *watch_arguments.COMMANDS,
    *flow_arguments.COMMANDS,
    *daemon_arguments.COMMANDS,
    *schedule_arguments.COMMANDS,
)
"""What adds a command, each, in the order in which help tells them."""

_HEADINGS: Final = {
    "run": "to submit a job",
    "list": "to look at jobs",
    "cancel": "to act on jobs",
    "wait": "to wait for jobs",
    "flow": "jobs after others, and in groups",
    "top": "how all of it does",
    "classes": "what there is",
    "class": "to act on classes, queues, hosts and the daemon",
    "schedules": "schedules",
    "completion": "in your shell",
}
"""What the commands from each of these on are for."""
