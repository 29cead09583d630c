"""The function of `bgjob top`, without what it takes to draw: other commands import it with the table of them all."""

from __future__ import annotations

import argparse

from bgjob.client import Client


def top(client: Client, given: argparse.Namespace) -> int:
    """Show what runs and what it uses, the queues and the latest failed jobs, as it changes."""
    from bgjob.commands.top import show

    return show.run(client, given)
