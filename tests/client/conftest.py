"""Commands that run within this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import one_parser


@pytest.fixture(scope="module", autouse=True)
def one_parser_for_all() -> Iterator[None]:
    with one_parser():
        yield
