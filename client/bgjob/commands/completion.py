"""`bgjob completion`: the script with which a shell completes the words of `bgjob`."""

from __future__ import annotations

import argparse

from bgjob.client import Client
from bgjob.commands import screen
from bgjob.commands.problems import OK


def completion(client: Client, given: argparse.Namespace) -> int:
    """Print the script that completes the words of bgjob in a shell."""
    import shtab

    screen.tell(shtab.complete(given.parser, shell=given.shell))
    return OK
