"""The sync client in the tree is what its source gives."""

from __future__ import annotations

import re

import pytest

from tests.packaging import sync_client


def test_the_sync_client_is_made_of_the_async_one() -> None:
    made = sync_client.sync_form(sync_client.SOURCE.read_text(encoding="utf-8"))
    assert sync_client.MADE.read_text(encoding="utf-8") == made, "./run sync makes it anew"


def test_nothing_of_asyncio_is_left_in_the_sync_client() -> None:
    assert re.findall(r"(?i)\w*async\w*|\bawait\w*", sync_client.MADE.read_text(encoding="utf-8")) == []


def test_a_row_that_the_source_does_not_have_is_an_error() -> None:
    source = sync_client.SOURCE.read_text(encoding="utf-8").replace("safe for tasks, new loops", "safe")
    with pytest.raises(sync_client.StaleRowError, match="safe for tasks"):
        sync_client.sync_form(source)
