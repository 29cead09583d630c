"""Whose word counts for an output: that of the file that is here, or what the database has kept."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bgjobd.api.elsewhere import try_kept
from bgjobd.store.kept_outputs import KeptOutput, Place

KEPT = KeptOutput(b"the", b"re")


@pytest.mark.parametrize(
    ("own", "host", "size", "told"),
    [
        (None, None, 3, None),
        (None, None, 0, KEPT),
        ("web1", None, 3, None),
        ("web1", None, 0, KEPT),  # from a server into a file, and from there into one
        ("web1", "web1", 0, None),
        ("web1", "web2", 3, KEPT),
    ],
)
def test_what_was_kept_is_told_where_the_output_is_not(
    own: str | None, host: str | None, size: int, told: KeptOutput | None
) -> None:
    async def read(_: object) -> Place:
        return Place(host, KEPT)

    daemon = SimpleNamespace(
        peers=SimpleNamespace(own=own),
        outputs=SimpleNamespace(size=lambda key: size),
        readers=SimpleNamespace(read=read),
    )
    assert asyncio.run(try_kept(cast(Any, daemon), 1, 1)) == told
