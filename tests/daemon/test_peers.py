"""What is known of the hosts of a database, and of this one among them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from bgjobd.core.peers import Peer
from bgjobd.daemon.peers import Peers

OLD = frozenset({"default", "dropped"})


def test_this_host_has_what_it_is_configured_for_and_others_what_their_last_beat_said() -> None:
    told = (
        Peer("web1", 1.0, queues=OLD, classes=frozenset({"a.Old"})),
        Peer("web2", 1.0, queues=OLD, classes=frozenset({"a.Old"})),
    )
    config = SimpleNamespace(host="web1", queues={"default": None, "new": None}, approved={"a.New": None})

    async def read(question: Any) -> Any:
        return told

    seen = asyncio.run(Peers(lambda: config, read, lambda: 1.0).look())  # type: ignore[arg-type, return-value]  # what it needs
    assert [(peer.name, sorted(peer.queues), sorted(peer.classes)) for peer in seen] == [
        ("web1", ["default", "new"], ["a.New"]),
        ("web2", ["default", "dropped"], ["a.Old"]),
    ]
