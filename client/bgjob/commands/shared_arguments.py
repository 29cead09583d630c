"""What options several commands have, and how one is added; those of a single command are not here."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from bgjob.client import Client
from bgjob.commands import completion, pages, values

Commands = Any  # argparse has no public name for what add_subparsers answers
Options = Any  # nor for what add_argument_group answers


def added(
    commands: Commands,
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
        formatter_class=Help,
        allow_abbrev=False,
    )
    add_socket(command, default=argparse.SUPPRESS)
    if json_help is not None:
        command.add_argument("--json", action="store_true", help=json_help)
    command.set_defaults(run=run, hint=hint or f"see `bgjob {name} --help`", refuse=command.error)
    return command


def add_socket(command: argparse.ArgumentParser, default: str | None) -> None:
    command.add_argument(
        "--socket",
        default=default,
        metavar="ADDRESS",
        help="of the daemon, a path or unix:PATH; else $BGJOBD_SOCKET, your own or the system's",
    )


def add_id(command: argparse.ArgumentParser, kind: str = "jobs") -> None:
    job = command.add_argument("id", type=values.job_id, metavar="ID", help="of the job")
    completion.asking_for(job, kind)


def add_limit(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--limit",
        type=values.page_size,
        default=pages.USUAL,
        metavar="N",
        help=f"at most so many ({pages.USUAL})",
    )


def add_ids(command: argparse.ArgumentParser, kind: str, nargs: str = "+") -> None:
    jobs = command.add_argument("ids", type=values.job_id, nargs=nargs, metavar="ID", help="of a job")
    completion.asking_for(jobs, kind)


def add_target(command: Options) -> None:
    target = command.add_argument(
        "--class",
        dest="target",
        type=values.class_filter,
        default={},
        metavar="CLASS[::METHOD]",
        help="jobs of this class, by its whole name",
    )
    completion.asking_for(target, "filters")


def add_class(command: Options, told: str) -> None:
    target = command.add_argument(
        "--class", dest="target", type=values.class_of, default={}, metavar="CLASS", help=told
    )
    completion.asking_for(target, "classes")


class Help(argparse.HelpFormatter):
    """Fills sentences and leaves lines as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)
