"""The page as a process: `python -m bgjobd.web`, its settings as a line of JSON on stdin; it ends when stdin does."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from contextlib import suppress

from .server import Server
from .settings import Settings
from .views import Page

_PATIENCE = 10.0
_PAUSE = 0.2


def main() -> None:
    """Serve until the other end of stdin is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for the daemon, which then ends the page
    settings = Settings.from_json(sys.stdin.readline())
    server = _bound(settings)
    threading.Thread(target=server.serve_forever, name="server", daemon=True).start()
    while os.read(0, 4096):
        pass  # whoever started it says nothing more; the end is what counts
    _remove(settings)


def serve(settings: Settings) -> None:
    """Serve in this process, until it is interrupted; raises KeyboardInterrupt then."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    server = _bound(settings)
    try:
        server.serve_forever()
    finally:
        _remove(settings)


def _bound(settings: Settings) -> Server:
    """The server, once the page of an earlier daemon has let go of its address."""
    page = Page(settings)
    give_up_at = time.monotonic() + _PATIENCE
    while True:
        try:
            server = Server(settings, page.respond)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > give_up_at:
                sys.exit(f"bgjobd-web: the page cannot listen at {settings.bind}: {error.strerror or error}")
            time.sleep(_PAUSE)
        else:
            print(
                f"bgjobd-web: the page is at {settings.address_of(server.port)}", file=sys.stderr, flush=True
            )
            return server


def _remove(settings: Settings) -> None:
    if settings.is_unix:
        with suppress(FileNotFoundError):
            os.unlink(settings.path)


if __name__ == "__main__":
    main()
