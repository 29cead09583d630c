"""An order for an attempt or a hook, as the daemon gave it, and the place in which it is carried out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from . import journal as journals
from . import spool_names


class Place(NamedTuple):
    """Where attempts write: descriptors of the spool and of the output directory; which life and kernel this is;
    and the mark of the fork server.
    """

    spool: int
    output: int
    spool_path: str
    boot_id: str
    has_pidfs: bool
    mark: str = ""


class Order(NamedTuple):
    """What the daemon asked for: which attempt, and what it runs; `error` is what a hook is told, `kind` that of its
    journal, which says whether it is one, and which; `key` the idempotency key that the job was submitted with,
    `occurrence` the time that a schedule submitted it for. `seed` is what the tokens of its steps are made of;
    `carries`: what earlier attempts have finished is in the spool. `grace` is how many seconds it gets to leave where
    its host is cut off from the database; None for one that is not ended then. `traceparent` is the span that it is.

    The names in `sensitive` are parameters whose values no record may show. Long parameters are JSON text, `unread`,
    until the attempt has a process of its own: reading them would keep other starts waiting.
    """

    job: int
    number: int
    token: str
    class_name: str
    method_name: str
    parameters: Mapping[str, Any]
    sensitive: tuple[str, ...] = ()
    timeout: float | None = None
    error: Mapping[str, str | None] | None = None
    unread: str | None = None
    key: str | None = None
    kind: str = spool_names.ATTEMPT
    occurrence: str | None = None
    seed: str = ""
    carries: bool = False
    grace: float | None = None
    traceparent: str | None = None

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Order:
        """What the daemon's `start` asks for."""
        parameters = message["parameters"]
        is_short = len(parameters) <= journals.LONG
        return cls(
            message["job"],
            message["number"],
            message["token"],
            message["class_name"],
            message["method_name"],
            json.loads(parameters) if is_short else {},
            tuple(message["sensitive"]),
            message["timeout"],
            message["error"],
            None if is_short else parameters,
            message["key"],
            message.get("kind", spool_names.ATTEMPT if message["error"] is None else spool_names.HOOK),
            message["occurrence"],
            message.get("seed", ""),
            message.get("carries", False),
            message["stop_grace"] if message.get("repeatable") else None,
            message.get("traceparent"),
        )

    def to_json(self) -> str:
        """Its fields in this order, as JSON."""
        return json.dumps(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> Order:
        """The order that was written so."""
        order = cls(*json.loads(text))
        return order._replace(sensitive=tuple(order.sensitive))

    def read(self, parameters: str) -> Order:
        """With its parameters."""
        return self._replace(parameters=json.loads(parameters), unread=None)

    @property
    def journal(self) -> str:
        """The journal's name: a hook has one of its own."""
        return spool_names.file_name(self.job, self.number, self.kind)

    @property
    def directory(self) -> str:
        """The name of its working directory, and of its cgroup."""
        return spool_names.directory_name(self.job, self.number, self.kind)

    @property
    def title(self) -> str:
        """What its process is called."""
        method = self.method_name if self.kind == spool_names.ATTEMPT else "failed"
        return f"bgjobd: job {self.job} {self.class_name}::{method}"

    @property
    def is_hook(self) -> bool:
        """Whether it tells somebody that its job has failed."""
        return self.kind != spool_names.ATTEMPT
