"""Amounts as people read them."""

from __future__ import annotations

import pytest

from bgjob.amounts import expected_text, rough_span_text, set_span_text, size_text, span_text


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


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0, "0 s"), (-0.1, "0 ms"), (0.1 + 0.2, "300 ms"), (0.0042, "4 ms"), (0.12, "120 ms"), (0.9994, "999 ms"),
        (0.9996, "1 s"), (1, "1 s"), (1.54, "1.5 s"), (9.96, "10 s"), (12.3, "12 s"), (59.6, "1 min 0 s"),
        (200.0, "3 min 20 s"), (3599.6, "1 h 0 min"), (7500.0, "2 h 5 min"), (86_399.6, "1 d 0 h"),
        (90_000.0, "1 d 1 h"),
    ],
)  # fmt: skip
def test_a_time_span_is_as_exact_as_a_person_needs_it(seconds: float, told: str) -> None:
    assert span_text(seconds) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.0, "0 s"), (0.05, "50 ms"), (30.0, "30 s"), (300.0, "5 min"), (90.0, "1 min 30 s"), (3600.0, "1 h"),
     (86_400.0, "1 d"), (90_000.0, "1 d 1 h")],
)  # fmt: skip
def test_a_time_span_that_somebody_has_set_has_no_zero_behind_it(seconds: float, told: str) -> None:
    assert set_span_text(seconds) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0, "0 s"), (0.02, "20 ms"), (0.2391, "240 ms"), (0.999, "1 s"), (1.54, "1.5 s"), (9.96, "10 s"),
        (38.2, "38 s"), (59.7, "1 min"), (95.0, "1 min 40 s"), (119.0, "2 min"), (1234.0, "21 min"),
        (3590.0, "1 h"), (4300.0, "1 h 10 min"), (40_000.0, "11 h"), (90_000.0, "1 day 1 h"),
        (2.6e6, "30 days 2 h"),
    ],
)  # fmt: skip
def test_an_estimate_is_told_as_roughly_as_it_is_known(seconds: float, told: str) -> None:
    assert rough_span_text(seconds) == told


def test_what_is_expected_says_what_is_left_or_that_it_takes_too_long() -> None:
    assert expected_text(40.0, 120.0) == "half end within 40 s, 95 of 100 within 2 min"
    left = "half end within 40 s, 95 of 100 within 2 min; about 20 s left"
    assert expected_text(40.0, 120.0, 20.2) == left
    late = "runs 6 times as long as usual: half end within 40 s, 95 of 100 within 2 min"
    assert expected_text(40.0, 120.0, 20.2, 6.2) == late
