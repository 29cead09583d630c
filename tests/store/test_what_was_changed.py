"""The rows of `changes`: written with what they tell of, the newest of them kept."""

from __future__ import annotations

from typing import Any

import pytest

from bgjob.words import ChangeKind
from bgjobd.store import changes
from bgjobd.store.items.daemons import CodeLoaded, DaemonStarted, Look, ReloadFailed
from bgjobd.store.items.holds import ClassHeld, ClassResumed, QueuePaused, QueueResumed
from bgjobd.store.items.item import Item
from bgjobd.store.items.schedules import ScheduleDefined, SchedulePaused, ScheduleResumed, SchedulesDefined
from bgjobd.store.reader import Reader
from tests.store.samples import NOW, Store, text


def told(store: Store) -> list[tuple[str, Any, str | None]]:
    """Kind, what and who of each row, oldest first."""
    with_reader = Reader(store.state_dir)
    try:
        return [(row["kind"], row["what"], row["who"]) for row in with_reader.changes(2**62, 1000)][::-1]
    finally:
        with_reader.close()


@pytest.mark.parametrize(
    ("item", "kind", "what", "who"),
    [
        (DaemonStarted("1.2", "web1"), "started", {"version": "1.2", "host": "web1"}, None),
        (
            QueuePaused("mail", NOW + 60, "uid 7"),
            "paused",
            {"queue": "mail", "until": text(NOW + 60)},
            "uid 7",
        ),
        (ClassHeld("a.B", 7, "uid 7"), "class_held", {"class": "a.B", "why": "asked"}, "uid 7"),
        (
            ReloadFailed("no module", None, "uid 7"),
            "reload_failed",
            {"reason": "no module", "host": None},
            "uid 7",
        ),
        (
            SchedulePaused("nightly", "uid 7"),
            "schedule_changed",
            {"did": "paused", "schedules": ["nightly"], "count": 1},
            "uid 7",
        ),
    ],
)
def test_what_was_done_is_told_with_who_did_it(
    store: Store, item: Item, kind: str, what: dict[str, Any], who: str | None
) -> None:
    store.commit(item)
    assert told(store) == [(kind, what, who)]


def test_a_reason_that_no_file_can_hold_as_it_is_is_told_all_the_same(store: Store) -> None:
    store.commit(ReloadFailed("/srv/\udcff\0☃ is missing"), QueuePaused("mail"))
    assert [what.get("reason") for _, what, _ in told(store)] == ["/srv/?\0☃ is missing", None]


def test_what_was_not_paused_or_held_is_not_told_to_go_on(store: Store) -> None:
    store.commit(QueueResumed("mail", "uid 7"), ClassResumed("a.B", "uid 7"))
    assert told(store) == []


def test_a_pause_that_ends_by_itself_is_told_as_nobodys(store: Store) -> None:
    store.commit(QueuePaused("mail", NOW + 60, "uid 7"))
    store.now = NOW + 61
    store.commit(Look())
    assert told(store)[-1] == ("resumed", {"queue": "mail"}, None)


def test_a_class_that_goes_on_is_told_with_who_let_it(store: Store) -> None:
    store.commit(ClassHeld("a.B", 7, "uid 7"))
    store.commit(ClassResumed("a.B", "uid 8"))
    kind, what, who = told(store)[-1]
    assert (kind, what["class"], who) == ("class_resumed", "a.B", "uid 8")


def test_code_is_told_once_with_that_before_it(store: Store) -> None:
    for code in ("9be07d", "9be07d", "4f2a1c"):
        store.commit(CodeLoaded(code))
    whats = [what for _, what, _ in told(store)]
    assert whats == [
        {"code": "9be07d", "was": None, "host": None},
        {"code": "4f2a1c", "was": "9be07d", "host": None},
    ]


def test_a_reload_is_told_though_the_code_is_the_same(store: Store) -> None:
    store.commit(CodeLoaded("9be07d"))
    store.commit(CodeLoaded("9be07d", is_asked=True, who="uid 7"))
    assert told(store)[-1] == ("loaded", {"code": "9be07d", "was": "9be07d", "host": None}, "uid 7")


def test_the_code_of_another_host_is_not_that_before_it(store: Store) -> None:
    store.commit(CodeLoaded("9be07d", "web1"))
    store.commit(CodeLoaded("4f2a1c", "web2"))
    assert told(store)[-1][1] == {"code": "4f2a1c", "was": None, "host": "web2"}


def test_schedules_that_are_configured_or_no_more_are_told_in_a_row_for_all(store: Store) -> None:
    names = [f"s{number:02}" for number in range(12)]
    store.commit(SchedulesDefined(tuple(ScheduleDefined(name, "{}", is_new=True) for name in names)))
    store.commit(SchedulesDefined((ScheduleDefined("s00", "{}"),)))
    configured, removed = (what for _, what, _ in told(store))
    assert configured == {"did": "configured", "schedules": names[:10], "count": 12}
    assert (removed["did"], removed["count"]) == ("removed", 11)


def test_the_same_schedules_at_the_next_start_are_no_change(store: Store) -> None:
    store.commit(SchedulesDefined((ScheduleDefined("s", "{}", is_new=True),)))
    store.commit(SchedulesDefined((ScheduleDefined("s", "{}"),)), ScheduleResumed("s", "uid 7"))
    assert [what["did"] for _, what, _ in told(store)] == ["configured", "resumed"]


def test_the_newest_rows_are_kept_and_older_ones_go_in_portions(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit(*[QueuePaused(f"q{number}") for number in range(20)])
    monkeypatch.setattr(changes, "KEPT", 5)
    monkeypatch.setattr(changes, "AT_ONCE", 8)
    store.commit(QueuePaused("x"))
    assert store.count("changes") == 21 - 8
    store.commit(QueuePaused("y"))
    store.commit(QueuePaused("z"))
    assert [what["queue"] for _, what, _ in told(store)] == ["q18", "q19", "x", "y", "z"]


def test_each_kind_is_one_of_those_that_clients_know() -> None:
    assert {kind.value for kind in ChangeKind} >= {"started", "loaded", "retried_many", "cancelled_many"}
