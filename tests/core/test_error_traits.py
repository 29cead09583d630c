"""What attempts of an error have in common is counted beside others of the same classes."""

from __future__ import annotations

from typing import Any

from bgjobd.core.error_traits import Seen, Trait, traits_of


def seen(job_id: int, **told: Any) -> Seen:
    usual = {"number": 1, "code": "new", "queue": "mail", "host": None, "seconds": 1.0, "at": None}
    return Seen(job_id, **{**usual, "has_completed": False, **told})


def test_each_value_is_counted_beside_the_others_that_have_it_and_the_commonest_is_first() -> None:
    own = [seen(1, queue="default"), seen(2), seen(3)]
    traits = traits_of(own, [seen(4, code="old"), seen(5, code="old", queue="mail")])
    assert (traits.attempts, traits.others) == (3, 2)
    assert traits.each == (
        Trait("code", "new", 3, 0),
        Trait("queue", "mail", 2, 2),
        Trait("queue", "default", 1, 0),
    )


def test_half_of_them_are_told_beside_half_of_those_that_completed() -> None:
    own = [seen(1, seconds=3.0), seen(2, seconds=None), seen(3, seconds=9.0)]
    others = [seen(4, seconds=0.2, has_completed=True), seen(5, seconds=50.0)]
    traits = traits_of(own, others)
    assert (traits.seconds, traits.usual) == (3.0, 0.2)


def test_the_newest_that_completed_is_named() -> None:
    others = [seen(job, at=at, has_completed=True) for job, at in ((4, "2024-12-04"), (6, "2024-12-03"))]
    assert traits_of([], others).completed == others[0]
    assert traits_of([seen(1)], [seen(9, at="2024-12-05")]).completed is None
