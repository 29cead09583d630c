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
    `base_path` is what each address of the page begins with: empty, or "/…" without a slash at its end.
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
    base_path: str = ""

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

    def at(self, place: str) -> str:
        """The address of a place of the page, as a browser asks for it."""
        return f"{self.base_path}{place}"

    def try_place(self, path: str) -> str | None:
        """The place that somebody asks for by this path; None where it is not below the base."""
        place = path.removeprefix(self.base_path)
        return place if path.startswith(f"{self.base_path}/") else None

    def address_of(self, port: int) -> str:
        """What a person opens; with the token, if it takes one. `port` is the one that was had, where any would do."""
        if self.is_unix:
            return self.bind
        place = f"{self.bind.rpartition(':')[0]}:{port}"
        return f"http://{place}{self.at('/' if self.token is None else f'/login?token={self.token}')}"
