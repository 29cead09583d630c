"""Amounts as people read them."""

from __future__ import annotations

import pytest

from bgjob.amounts import size_text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (2, "2 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1025, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (10 * 1024 - 1, "10 KiB"),
        (10 * 1024, "10 KiB"),
        (214 * 2**20, "214 MiB"),
        (214 * 2**20 + 2**19 + 1, "215 MiB"),
        (2**20 - 1, "1.0 MiB"),
        (2**30 - 1, "1.0 GiB"),
        (2**30, "1 GiB"),
        (5 * 2**40, "5 TiB"),
        (2**53, "8192 TiB"),
    ],
)
def test_a_size_is_told_in_the_largest_unit_that_it_fills(size: int, text: str) -> None:
    assert size_text(size) == text
