"""The command `bgjob`: parses, has the command's function call and answer, and makes exit codes of what went wrong."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

try:
    from bgjob.client import Client
    from bgjob.commands import arguments, screen
    from bgjob.commands.meant import try_meant
    from bgjob.commands.problems import CLOSED_PIPE, INTERRUPTED, UNWRITABLE, code_of, explained, followed
    from bgjob.errors import BgjobError, ElsewhereError
except KeyboardInterrupt:  # it may be that somebody is quicker than these
    sys.exit(130)


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; answers the exit code."""
    screen.open_standard_streams()
    try:
        try:
            return _run(arguments.parse(given))
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt as interrupt:
        if interrupt.args:
            screen.say(str(interrupt))
        return INTERRUPTED
    except BrokenPipeError:
        screen.forget_stdout()
        return CLOSED_PIPE
    except OSError as error:
        screen.forget_stdout()
        screen.say(f"the result could not be written: {error.strerror or error}")
        return UNWRITABLE


def _run(given: argparse.Namespace) -> int:
    run: Callable[[Client, argparse.Namespace], int] = given.run
    try:
        with _TellingClient(given.socket) as client:
            return run(client, given)
    except BgjobError as error:
        screen.say(explained(error, _hint(error, given), try_meant(error, given)))
        return code_of(error)


def _hint(error: BgjobError, given: argparse.Namespace) -> str | None:
    """The command's own; where another host has what is asked for, the same command there."""
    if isinstance(error, ElsewhereError):
        return f"`ssh {error.parameters['host']} {given.words}`"
    hint: str | None = given.hint
    return hint


class _TellingClient(Client):
    """A client that says when the daemon it waits for or follows goes away, and when it is back."""

    def on_away(self, error: BgjobError) -> None:
        screen.say(followed(str(error), "waiting for the daemon to come back"))

    def on_back(self) -> None:
        screen.say("the daemon is back")


if __name__ == "__main__":
    sys.exit(main())
