"""When a database has gone back behind what it acknowledged."""

from __future__ import annotations

import pytest

from bgjobd.core.went_back import Acknowledged, Found, LogEntry, why_gone_back

OURS = LogEntry(7, 3, "2024-12-04T14:31:53.000000Z")
KNOWN = Acknowledged(5, OURS)


@pytest.mark.parametrize(
    "found",
    [Found(7, OURS, 5), Found(9, OURS, 6), Found(9, None, 5), Found(9, OURS)],
    ids=["as it was", "others went on", "deleted meanwhile", "beats unknown"],
)
def test_what_has_all_that_was_acknowledged_has_not_gone_back(found: Found) -> None:
    assert why_gone_back(KNOWN, found) is None


def test_who_was_told_nothing_yet_misses_nothing() -> None:
    assert why_gone_back(Acknowledged(), Found(0, None, 0)) is None


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (Found(7, OURS, 4), "it has 4 beats of this host, and 5 were acknowledged"),
        (Found(6, None, 5), "its newest log entry is 6, and 7 was acknowledged"),
        (
            Found(9, LogEntry(7, 4, OURS.created_at), 5),
            "log entry 7 is another than the one that was acknowledged",
        ),
    ],
)
def test_what_is_missing_is_named(found: Found, told: str) -> None:
    assert why_gone_back(KNOWN, found) == told
