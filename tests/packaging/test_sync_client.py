"""The sync client in the tree is what its sources give."""

from __future__ import annotations

import re

import pytest

from tests.packaging import sync_client


def test_the_sync_client_is_made_of_the_async_one() -> None:
    for name, made in sync_client.sync_forms(sync_client.sources()).items():
        assert (sync_client.CLIENT / name).read_text(encoding="utf-8") == made, "./run sync makes it anew"


@pytest.mark.parametrize("name", sync_client.FILES.values())
def test_nothing_of_asyncio_is_left_in_the_sync_client(name: str) -> None:
    text = (sync_client.CLIENT / name).read_text(encoding="utf-8")
    told = re.sub(r"Made of `async_\w+\.py`", "", text)
    assert re.findall(r"(?i)\w*async\w*|\bawait\w*", told) == []


def test_a_row_that_the_source_does_not_have_is_an_error() -> None:
    sources = sync_client.sources()
    sources["aio.py"] = sources["aio.py"].replace("safe for tasks, new loops", "safe")
    with pytest.raises(sync_client.StaleRowError, match="safe for tasks"):
        sync_client.sync_forms(sources)
