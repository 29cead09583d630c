"""The options of `bgjob debug`, which are those of `bgjobd debug`; they go there as they are."""

from __future__ import annotations

import argparse

# Both commands have these: what they are read by is imported inside functions, as `bgjobd --version` does without.


def add_options(command: argparse.ArgumentParser) -> argparse.Action:
    """Add them, but for --config; the argument for the id."""
    job: argparse.Action = command.add_argument("id", type=_number, metavar="ID", help="of the job")
    command.add_argument(
        "--attempt", type=_number, metavar="N", help="as this attempt of it; else as the latest"
    )
    command.add_argument("--trace", action="store_true", help="stop at the method's first line")
    command.add_argument(
        "-p",
        dest="parameters",
        type=_given,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another value of a parameter: JSON if it parses, else text; of a secret @FILE that holds it",
    )
    command.add_argument(
        "--from",
        dest="source",
        metavar="FILE|-",
        help="the job as `bgjob show ID --steps --json` has printed it, from a file or stdin; no daemon is asked",
    )
    command.add_argument(
        "--confined", action="store_true", help="with the limits of its class, and what it may write"
    )
    command.add_argument("--as-root", action="store_true", help="though it would run as root")
    command.add_argument("--anyway", action="store_true", help="though the job runs")
    command.add_argument("--yes", action="store_true", help="do not ask")
    return job


def words_of(given: argparse.Namespace) -> list[str]:
    """What was given of that, as it can be given again."""
    words = [str(given.id)]
    words += [
        f"--{name}={value}" for name, value in (("attempt", given.attempt), ("from", given.source)) if value
    ]
    words += [word for name, value in given.parameters for word in ("-p", f"{name}={value}")]
    flags = ("trace", "confined", "as_root", "anyway", "yes")
    return words + [f"--{name.replace('_', '-')}" for name in flags if getattr(given, name)]


def _number(text: str) -> int:
    from bgjob.commands import values

    return values.job_id(text)


def _given(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise argparse.ArgumentTypeError("a parameter is KEY=VALUE")
    return name, value
