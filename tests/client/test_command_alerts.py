"""What `bgjob alert` says of what it has done."""

from __future__ import annotations

from typing import Any, cast

import pytest

from bgjob.commands import arguments


class Alerts:
    """A client of a daemon that does what it is asked."""

    def __init__(self) -> None:
        self.muted: list[tuple[str, float]] = []
        self.telling: list[int] = []

    def mute_alerts(self, rule: str, seconds: float) -> None:
        self.muted.append((rule, seconds))

    def test_alerts(self, target: str | None) -> list[int]:
        return self.telling

    def wait(self, job_id: int, timeout: float) -> dict[str, Any]:
        return {"status": "completed"}


def test_where_no_job_tells_a_target_it_is_said_where_the_test_is_to_be_found(
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = arguments.parse(["alert", "--test"])
    assert given.run(cast(Any, Alerts()), given) == 0
    told = "no target is told by a job; `journal` has a line in the daemon's log, where it is a target"
    assert capsys.readouterr().err == f"bgjob: {told}\n"


@pytest.mark.parametrize(
    ("ids", "told"), [([7], "1 of 1 target was told"), ([7, 8], "2 of 2 targets were told")]
)
def test_targets_are_counted_as_people_do(
    capsys: pytest.CaptureFixture[str], ids: list[int], told: str
) -> None:
    client = Alerts()
    client.telling = ids
    given = arguments.parse(["alert", "--test"])
    assert given.run(cast(Any, client), given) == 0
    assert capsys.readouterr().err == f"bgjob: {told}\n"


@pytest.mark.parametrize(
    ("time", "seconds", "told"),
    [("2h", 7200.0, "rule slow tells nobody for 2 h 0 min"), ("0", 0.0, "rule slow tells again")],
)
def test_a_rule_is_mute_for_some_time_and_after_none_it_tells_again(
    capsys: pytest.CaptureFixture[str], time: str, seconds: float, told: str
) -> None:
    client = Alerts()
    given = arguments.parse(["alert", "mute", "slow", "--for", time])
    assert given.run(cast(Any, client), given) == 0
    assert client.muted == [("slow", seconds)]
    assert capsys.readouterr().err == f"bgjob: {told}\n"
