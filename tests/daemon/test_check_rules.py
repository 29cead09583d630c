"""What a check says of the rules of [alerts]: what each would tell now, by the file, and by a daemon that answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgjobd.commands.check_rules import findings, judge
from bgjobd.commands.findings import Severity
from bgjobd.config import loading
from bgjobd.config.alerts import Alerts
from bgjobd.core.alerts import Watch
from bgjobd.core.need_kinds import USUAL, Kind, Need, Queue, Rule, Seen
from tests.store.samples import Store, asked

NOW = 1_000_000.0
PAUSED = Seen("web1", queues=(Queue("mail", True, None, NOW - 60), Queue("rest", True, None, NOW - 60)))
AWAY = Need(Kind.STORAGE, "web1", NOW, "the database cannot be written: disk full")


@pytest.mark.parametrize(
    ("rule", "seen", "of_daemon", "told"),
    [
        (USUAL[Kind.PAUSED], Seen("web1"), None, "rule own would tell nothing now"),
        (USUAL[Kind.PAUSED], PAUSED, None, "rule own would tell pager now: queue mail is paused"),
        (USUAL[Kind.PAUSED], PAUSED, None, "; and 1 more"),
        (Rule(Kind.PAUSED, queue="other"), PAUSED, None, "would tell nothing now"),
        (USUAL[Kind.STORAGE], Seen("web1"), None, "known to a running daemon alone"),
        (USUAL[Kind.STORAGE], Seen("web1"), [], "would tell nothing now"),
        (USUAL[Kind.STORAGE], Seen("web1"), [AWAY], "would tell pager now: the database cannot be written"),
        (USUAL[Kind.FAILURE_RATE], Seen("web1"), [], "known to a running daemon alone"),
    ],
)
def test_each_rule_comes_to_a_line_of_what_it_would_tell_now(
    rule: Rule, seen: Seen, of_daemon: list[Need] | None, told: str
) -> None:
    found = judge(Watch("own", rule, ("pager",)), seen, of_daemon, NOW)
    assert told in found.told
    assert found.severity is (Severity.OK if "nothing" in told else Severity.REMARK)


def test_what_the_file_has_is_found_without_a_daemon(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.submit(asked())
    store.close()
    config = loading.load(None, {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}, is_root=False)
    nightly = {"when": "no_success", "job": "a.B::run", "within": "25h"}
    own = Alerts(tell=["journal"], rules={"nightly": nightly, "slow": {"tell": []}})
    told = [
        one.told for one in findings(config.model_copy(update={"alerts": own}), None, store.state_dir, False)
    ]
    assert len(told) == len(own.watches) - 1
    assert any(
        "rule oldest_pending would tell journal now: a job has waited for a slot" in one for one in told
    )
    assert "alerts: rule nightly would tell nothing now" in told
    assert not any("rule slow" in one for one in told)
