"""The page as a process: `python -m bgjobd.web`, its settings as a line of JSON on stdin.

What comes there after that is asked of whoever still lives, and sent back; the page ends when its stdin does.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress

from bgjob.words import EntryType

from .console import finish, say
from .server import Server
from .settings import Settings
from .views import Page

_PATIENCE = 10.0
_PAUSE = 0.2


def main() -> None:
    """Serve until the other end of stdin is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for the daemon, which then ends the page
    with open(0, "rb", buffering=0, closefd=False) as line:  # and nothing of what comes behind them
        settings = Settings.from_json(line.readline())
    server = _bound(settings)
    thread = threading.Thread(target=server.serve_forever, name="server", daemon=True)
    thread.start()
    with suppress(ConnectionError):
        while (asked := os.read(0, 4096)) and thread.is_alive():
            os.write(0, asked)
    _remove(settings)
    finish()


def serve(settings: Settings, listener: socket.socket | None = None) -> None:
    """Serve in this process, until it is interrupted; raises KeyboardInterrupt then.

    The file of a `listener` that was handed over stays: whoever comes meanwhile waits there.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    server = _bound(settings, listener)
    try:
        server.serve_forever()
    finally:
        if listener is None:
            _remove(settings)
        finish()


def _bound(settings: Settings, listener: socket.socket | None = None) -> Server:
    """The server, once the page of an earlier daemon has let go of its address."""
    page = Page(settings)
    give_up_at = time.monotonic() + _PATIENCE
    while True:
        try:
            server = Server(settings, page.respond, listener=listener)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > give_up_at:
                why = f"the page cannot listen at {settings.bind}: {error.strerror or error}"
                say(settings, why, EntryType.FAILURE)
                finish()
                sys.exit(1)
            time.sleep(_PAUSE)
        else:
            say(settings, f"the page is at {settings.address_of(server.port)}")
            return server


def _remove(settings: Settings) -> None:
    if settings.is_unix:
        with suppress(FileNotFoundError):
            os.unlink(settings.path)


if __name__ == "__main__":
    main()
