"""The command `bgjob`: parses, calls, answers; results on stdout, messages on stderr; no rule here."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from bgjob.client import Client
from bgjob.errors import (
    BgjobError,
    DaemonUnavailableError,
    JobCancelledError,
    JobFailedError,
    JobNotFoundError,
    QueueFullError,
    RequestError,
    ShuttingDownError,
    StorageUnavailableError,
    WaitTimeoutError,
)

USAGE: Final = 2
INTERRUPTED: Final = 130

_CODES: Final[Mapping[type[BaseException], int]] = {
    JobFailedError: 1,
    JobCancelledError: 3,
    JobNotFoundError: 4,
    DaemonUnavailableError: 69,
    QueueFullError: 75,
    StorageUnavailableError: 75,
    ShuttingDownError: 75,
    WaitTimeoutError: 124,
    RequestError: 77,
    BgjobError: 1,
}
"""Exit codes by what went wrong; the first that fits."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; answers the exit code."""
    given = _parser().parse_args(arguments)
    run: Callable[[Client, argparse.Namespace], int] = given.run
    try:
        with Client() as client:
            return run(client, given)
    except BgjobError as error:
        print(f"bgjob: {error}", file=sys.stderr)
        return next(code for kind, code in _CODES.items() if isinstance(error, kind))
    except KeyboardInterrupt:
        return INTERRUPTED


def run(client: Client, given: argparse.Namespace) -> int:
    """Submit a job and print its id."""
    class_name, method_name = given.target
    job = client.run_background_job(class_name, method_name, dict(given.parameters), given.retry_count)
    if not given.wait:
        print(job.id)
        return 0
    print(f"bgjob: job {job.id} submitted; waiting for its end", file=sys.stderr)
    print(json.dumps(job.result(given.timeout), ensure_ascii=False))
    return 0


def show(client: Client, given: argparse.Namespace) -> int:
    """Show a job with its attempts."""
    job = client.get(given.id).snapshot
    if given.json:
        print(json.dumps(job, ensure_ascii=False))
    else:
        _print_job(job)
    return 0


def _print_job(job: Mapping[str, Any]) -> None:
    for name, value in job.items():
        if name != "attempts" and value is not None:
            print(f"{name:<20} {_plain(value)}")
    for attempt in job["attempts"]:
        ending = attempt["outcome"] or "running"
        reason = f": {attempt['error_type']}: {attempt['error_message']}" if attempt["error_type"] else ""
        print(_plain(f"attempt {attempt['number']:<12} {ending}{reason}"))


def _plain(value: Any) -> str:
    """The value as one line of text that cannot move the cursor or colour the terminal."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _target(text: str) -> tuple[str, str]:
    class_name, separator, method_name = text.partition("::")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not CLASS::METHOD")
    return class_name, method_name


def _parameter(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("bgjobd")
    except PackageNotFoundError:
        return "unknown (not installed)"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bgjob", description="Background jobs on this machine.")
    parser.add_argument("--version", action="version", version=f"bgjob {_version()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    command = commands.add_parser("run", help=run.__doc__, description=run.__doc__)
    command.add_argument("target", type=_target, metavar="CLASS::METHOD")
    command.add_argument(
        "-p",
        dest="parameters",
        type=_parameter,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a parameter: JSON if it parses, else text",
    )
    command.add_argument(
        "--retry-count", type=int, default=0, metavar="N", help="start with this many retries spent"
    )
    command.add_argument(
        "-w", "--wait", action="store_true", help="wait for the end and print the result as JSON"
    )
    command.add_argument("--timeout", type=float, metavar="SECONDS", help="wait at most this long")
    command.set_defaults(run=run)

    command = commands.add_parser("show", help=show.__doc__, description=show.__doc__)
    command.add_argument("id", type=int, metavar="ID")
    command.add_argument("--json", action="store_true", help="print the job as JSON, keys as the columns")
    command.set_defaults(run=show)
    return parser


if __name__ == "__main__":
    sys.exit(main())
