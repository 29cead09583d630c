"""The page's views over HTTP, as a browser asks for them, from a page of the bench's own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from measures import Latency, timed
from station import Station, StationError

_START: Final = 20.0
_PER_PAGE: Final = 10
_FAR: Final = 1000


def latencies(station: Station, rows: int, samples: int) -> Mapping[str, Latency]:
    """Milliseconds of each view, by name; the log has so many rows."""
    newest = station.client.logs(limit=1).items[0]["id"]
    far = min(_FAR, rows // _PER_PAGE)
    addresses = {
        "first page": "/",
        f"page {far:,}": f"/?{urlencode({'page': far, 'upto': newest - (far - 1) * _PER_PAGE})}",
        "failures": "/?status=failure",
        "search, all match": "/?q=A",
        "search, none matches": "/?q=no+such+thing",
        "jobs": "/jobs",
        "system": "/system",
    }
    with _page(station) as ask:
        return {name: Latency.of(timed(samples, lambda at=at: ask(at))) for name, at in addresses.items()}


@contextmanager
def _page(station: Station) -> Iterator[Callable[[str], bytes]]:
    """A page meanwhile, on a Unix socket; asked on one connection."""
    place = station.runtime / "page"
    settings = {"socket": str(station.socket), "bind": f"unix:{place}", "per_page": _PER_PAGE}
    with subprocess.Popen(
        [sys.executable, "-m", "bgjobd.web"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(settings) + "\n")
        process.stdin.flush()
        with _connected(place) as connection, connection.makefile("rb") as answers:

            def ask(address: str) -> bytes:
                request = f"GET {address} HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n"
                connection.sendall(request.encode())
                status, length = answers.readline(), 0
                while (line := answers.readline()) != b"\r\n":
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                body = answers.read(length)
                if b" 200 " not in status:
                    raise StationError(f"the page answered {address} with {status!r}: {body[-500:]!r}")
                return body

            yield ask
        process.stdin.close()


@contextmanager
def _connected(place: Path) -> Iterator[socket.socket]:
    deadline = time.monotonic() + _START
    while True:
        connection = socket.socket(socket.AF_UNIX)
        with suppress(FileNotFoundError, ConnectionRefusedError):
            connection.connect(str(place))
            break
        connection.close()
        if time.monotonic() > deadline:
            raise StationError(f"the page did not come up within {_START:g} s")
        time.sleep(0.01)
    with connection:
        yield connection
