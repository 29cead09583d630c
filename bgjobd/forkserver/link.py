"""The fork server's end of the link to its daemon: messages in, messages out; what they ask for is known elsewhere."""

from __future__ import annotations

import os
from collections import deque

from . import wire


class Link:
    """The socket of this `descriptor`; `inbox` has what came by it and is not taken, `decoder` the beginning of what is
    to come. It is not `is_open` any more once the daemon has closed its end.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self.descriptor = descriptor
        self.is_open = True
        self.inbox: deque[wire.Message] = deque()
        self.decoder = wire.Decoder()

    def receive(self) -> bool:
        """Take what the daemon sent; False at the end of the link. A reset may come before the last messages."""
        try:
            data = os.read(self.descriptor, 65536)
        except ConnectionResetError:
            return True
        if not data:
            self.is_open = False
            return False
        self.inbox += self.decoder.feed(data)
        return True

    def tell(self, message: wire.Message) -> None:
        """Send it, whole; where the daemon is gone, the journals tell its successor."""
        try:
            rest = wire.encode(message)
            while rest:
                rest = rest[os.write(self.descriptor, rest) :]
        except (BrokenPipeError, ConnectionResetError):
            return
