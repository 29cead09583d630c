"""What the page is told when it starts: where it listens, whom it asks, what it allows; nothing else sets it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

UNIX = "unix:"


@dataclass(frozen=True)
class Settings:
    """`socket` is the daemon's address, `bind` "HOST:PORT" or "unix:PATH"; `token` lets in whoever knows it,
    `metrics_token` to /metrics alone.

    Both are None on a Unix socket, where the file's mode decides. `console` is "text", "json" or "none";
    `for_journald`: who reads it is told how grave each line is. `views` are names for addresses.
    """

    socket: str
    bind: str
    token: str | None = None
    metrics_token: str | None = None
    per_page: int = 10
    actions: bool = False
    allow_remote: bool = False
    console: str = "text"
    for_journald: bool = False
    views: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str | bytes) -> Settings:
        """The settings of a line of JSON: they come on stdin, for a command line is everybody's to see."""
        return cls(**json.loads(text))

    @property
    def is_unix(self) -> bool:
        return self.bind.startswith(UNIX)

    @property
    def path(self) -> str:
        """The Unix socket's."""
        return self.bind.removeprefix(UNIX)

    @property
    def host(self) -> str:
        """Of the address, without brackets."""
        return self.bind.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.bind.rpartition(":")[2])

    def address_of(self, port: int) -> str:
        """What a person opens; with the token, if it takes one. `port` is the one that was had, where any would do."""
        if self.is_unix:
            return self.bind
        place = f"{self.bind.rpartition(':')[0]}:{port}"
        return f"http://{place}/" if self.token is None else f"http://{place}/login?token={self.token}"
