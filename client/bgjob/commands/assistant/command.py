"""The function of `bgjob mcp`, without what it takes to serve: other commands import it with the table of them all."""

from __future__ import annotations

import argparse
import signal
from typing import Final

from bgjob.client import Client
from bgjob.commands import screen
from bgjob.commands.problems import OK, UNAVAILABLE

EXTRA: Final = (
    "mcp needs the SDK of the Model Context Protocol: in the clone pip install './client[mcp]', or '.[mcp]'"
)


def mcp(client: Client, given: argparse.Namespace) -> int:
    """Serve an assistant by the Model Context Protocol, over stdin and stdout: it only looks unless more is allowed."""
    from bgjob.commands.assistant import acting, looking, serving

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # else a read of stdin is waited for
    try:
        serving.serve(client, [*looking.TOOLS, *(acting.TOOLS if given.allow_actions else ())])
    except ModuleNotFoundError:
        screen.say(EXTRA)
        return UNAVAILABLE
    return OK
