"""A schedule's past when its times are others, or years have gone by: the daemon's schedules over a real file."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjob.words import EntryType
from bgjobd.config import loading
from bgjobd.config.sections import Config
from bgjobd.daemon.counters import Counters
from bgjobd.daemon.current_catalogue import CurrentCatalogue
from bgjobd.daemon.peers import Peers
from bgjobd.daemon.schedules import AroundSchedules, Schedules
from bgjobd.store.items.item import Item
from bgjobd.store.items.schedules import ScheduleDefined, SchedulePut
from bgjobd.store.reader import Reader
from tests.daemon.test_schedules_at_reload import catalogue_of
from tests.store.samples import Store
from tests.store.test_schedules import FIRST, rows


class Looks:
    """The schedules of a configuration that changes, each time looked at by another daemon."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = Store(directory)
        self.reader = Reader(self.store.state_dir)
        self.said: list[str] = []
        self.counters = Counters()
        self.configured = 0
        self.turns = 0

    async def read(self, question: Any) -> Any:
        return question(self.reader)

    async def record(self, item: Item) -> Any:
        answer = self.store.answer(item)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def look(self, at: float, times: str) -> None:
        """A daemon starts that has this configured, does what is due at a time, and is gone."""
        self.store.now = at
        self.said.clear()
        self.counters = Counters()
        asyncio.run(self._look(self._config(times)))

    def _config(self, times: str) -> Config:
        self.configured += 1
        file = self.directory / f"{self.configured}.toml"
        file.write_text(
            "[approved]\n'a.Job' = {}\n"
            f"[schedules.nightly]\njob = 'a.Job::run'\noverlap = 'allow'\n{times}\n"
        )
        return loading.load(file, {}, is_root=False)

    async def _look(self, config: Config) -> None:
        def say(_: EntryType, message: str) -> None:
            self.said.append(message)

        catalogue = CurrentCatalogue(lambda: config, say)
        catalogue.take(catalogue_of(config, "run"))
        schedules = Schedules(
            AroundSchedules(
                config=lambda: config,
                current_catalogue=catalogue,
                read=self.read,
                record=self.record,
                peers=Peers(lambda: config, self.read, lambda: self.store.now),
                counters=self.counters,
                now=lambda: self.store.now,
                say=say,
            )
        )
        keeping = asyncio.create_task(schedules.keep())
        self.turns = 0
        while not schedules.kept or any(
            one.next is not None and one.next <= self.store.now for one in schedules.kept.values()
        ):
            self.turns += 1
            await asyncio.sleep(0)
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping
        schedules.close()

    def counted(self) -> dict[str, int]:
        told = self.counters.as_json()["schedules"]["nightly"]["occurrences"]
        return {one["reason"]: one["count"] for one in told if one["verdict"] == "skipped"}


@pytest.fixture
def looks(tmp_path: Path) -> Iterator[Looks]:
    looks = Looks(tmp_path)
    yield looks
    looks.reader.close()
    looks.store.close()


def test_what_other_times_end_is_said_and_counted(looks: Looks) -> None:
    looks.look(FIRST - 1, "every = '1m'")
    looks.look(FIRST + 130, "every = '7m'")
    assert rows(looks.store) == [(0, 2, 3, "skipped", "changed", None)]
    assert [line.partition("3 occurrences")[2].rpartition(" ")[2] for line in looks.said] == ["changed"]
    assert looks.counted() == {"changed": 3}


def test_what_became_a_job_before_the_clock_was_set_back_is_not_changed(looks: Looks) -> None:
    looks.look(FIRST - 1, "every = '1m'")
    looks.look(FIRST + 60, "every = '1m'\nmissed = 'run_all'")
    assert [row[3] for row in rows(looks.store)] == ["submitted", "submitted"]
    looks.look(FIRST - 1, "every = '1m'")
    looks.look(FIRST + 130, "every = '7m'")
    assert [row[:4] for row in rows(looks.store)] == [
        (0, 0, 1, "submitted"),
        (1, 1, 1, "submitted"),
        (2, 2, 1, "skipped"),
    ]


def test_a_clock_that_is_set_back_while_nobody_looks_is_counted_by_the_times_of_then(looks: Looks) -> None:
    looks.look(FIRST - 1, "every = '1m'")
    looks.look(FIRST + 630, "every = '1m'\nmissed = 'skip'\nlate = '1s'")
    looks.look(FIRST + 130, "every = '7m'")
    assert rows(looks.store) == [(0, 2, 3, "skipped", "missed", None)]
    assert [line for line in looks.said if "forgotten" in line] == [
        "schedule nightly: the clock was set back: 8 skipped occurrences are yet to come, and forgotten"
    ]


def test_why_a_schedule_begins_anew_is_said(looks: Looks) -> None:
    looks.look(FIRST - 1, "cron = '@daily'\nzone = 'Europe/Berlin'")
    looks.store.database.execute_sql(
        "UPDATE schedules SET definition = replace(definition, 'Berlin', 'Bonn')"
    )
    looks.look(FIRST + 130, "cron = '@daily'\nzone = 'Europe/Berlin'")
    (line,) = looks.said
    assert line.startswith(
        "schedule nightly: what it was before means nothing any more, and it begins anew: "
    )
    assert "zone must be a time zone" in line
    assert "Europe/Bonn" in line
    looks.store.database.execute_sql("UPDATE schedules SET definition = definition || 'x'")
    looks.look(FIRST + 140, "cron = '@daily'\nzone = 'Europe/Berlin'")
    assert "trailing characters" in looks.said[0]
    assert "a.Job" not in looks.said[0]


def test_beside_years_of_missed_minutes_others_are_in_time(looks: Looks) -> None:
    minutely = "cron = '* * * * *'\nzone = 'Europe/Berlin'\nmissed = 'skip'\nlate = '1s'\n"
    other = "[schedules.other]\njob = 'a.Job::run'\nevery = '10s'\nlate = '5s'\n"
    looks.look(FIRST - 1, minutely + other)
    looks.look(FIRST + 2 * 365 * 86_400 + 34, minutely + other)
    assert looks.turns < 1000  # and not one for each hundred of a million
    assert looks.counted() == {"missed": 2 * 365 * 1440 + 1}
    assert [row[2:4] for row in rows(looks.store) if row[5] is not None] == [(1, "submitted")]


def test_many_that_were_put_take_no_counter_from_one_that_is_configured(
    looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bgjobd.daemon.counters.MOST_NAMES", 1)
    definition = ScheduleDefined("a/1", '{"job":"a.Job::run","every":60}', is_new=True)
    looks.store.answer(SchedulePut(definition, 7, "alice", 10))
    looks.look(FIRST - 1, "every = '1m'")
    assert list(looks.counters.as_json()["schedules"]) == ["(other)", "nightly"]


def rules_of(offset: int) -> bytes:
    """A zone whose clocks are always so many seconds ahead of UTC, as a file of zones has it."""
    return (
        b"TZif"
        + bytes(16)
        + struct.pack(">6l", 0, 0, 0, 0, 1, 4)
        + struct.pack(">lBB", offset, 0, 0)
        + b"OWN\0"
    )


def test_new_rules_of_a_zone_hold_from_the_next_load_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone, file = tmp_path / "Own", tmp_path / "bgjobd.toml"
    file.write_text("[schedules]\nx = { job = 'a.Job::run', cron = '0 12 * * *', zone = 'Own' }\n")
    monkeypatch.setenv("PYTHONTZPATH", str(tmp_path))
    zoneinfo.reset_tzpath()
    try:
        noons = []
        for hours in (1, 3):
            zone.write_bytes(rules_of(3600 * hours))
            calendar = loading.load(file, {}, is_root=False).schedules["x"].calendar
            noons.append(next(calendar.after(0.0)) / 3600)
    finally:
        monkeypatch.undo()
        zoneinfo.reset_tzpath()
    assert noons == [11, 9]
