"""A reload that comes while schedules are being taken up, with a file that answers when it pleases."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bgjob.words import EntryType
from bgjobd.config import loading
from bgjobd.config.sections import Config
from bgjobd.daemon.catalogue import Catalogue
from bgjobd.daemon.counters import Counters
from bgjobd.daemon.current_catalogue import CurrentCatalogue
from bgjobd.daemon.peers import Peers
from bgjobd.daemon.schedules import AroundSchedules, Schedules
from bgjobd.store.committed import Dealt, StoredSchedule
from bgjobd.store.items.schedules import OccurrencesDue, SchedulesDefined


def config_of(directory: Path, method: str) -> Config:
    file = directory / f"{method}.toml"
    file.write_text(
        f"[approved]\n'a.Job' = {{}}\n[schedules]\nx = {{ job = 'a.Job::{method}', every = '1s' }}\n"
    )
    return loading.load(file, {}, is_root=False)


def catalogue_of(config: Config, method: str) -> Catalogue:
    described = {
        "schema": {"type": "object"},
        "sensitive": [],
        "plain": None,
        "bare_context": False,
        "unconverted": [],
        "names": [],
    }
    one = {"unavailable": None, "attributes": {}, "methods": {method: described}}
    return Catalogue(config, {"a.Job": one}, method)


class File:
    """Stores what it is handed, and has a reload happen before it first answers."""

    def __init__(self, reload: Any) -> None:
        self.reload = reload
        self.jobs: list[str | None] = []
        self.is_done = asyncio.Event()

    async def record(self, item: Any) -> Any:
        if isinstance(item, SchedulesDefined):
            self.reload()
            return [StoredSchedule(one.name, one.definition, 0.0, 0.0, None) for one in item.schedules]
        assert isinstance(item, OccurrencesDue)
        self.jobs += [None if one.job is None else one.job.call.method_name for one in item.schedules]
        self.is_done.set()
        return [Dealt(one.due.until) for one in item.schedules]

    async def read(self, question: Any) -> Any:
        return question(SimpleNamespace(schedules=self))

    def stored(self) -> list[StoredSchedule]:
        return []

    def last_successes(self, names: list[str]) -> dict[str, float | None]:
        return dict.fromkeys(names)


async def outcome(directory: Path) -> tuple[list[str | None], list[str]]:
    """The jobs that the first occurrence became, and what was said."""
    old, new = config_of(directory, "old"), config_of(directory, "new")
    holds = [old]
    said: list[str] = []

    def say(_: EntryType, message: str) -> None:
        said.append(message)

    catalogue = CurrentCatalogue(lambda: holds[0], say)
    catalogue.take(catalogue_of(old, "old"))

    def reload() -> None:
        if holds[0] is old:
            holds[0] = new
            catalogue.take(catalogue_of(new, "new"))
            schedules.wake()

    file = File(reload)
    schedules = Schedules(
        AroundSchedules(
            config=lambda: holds[0],
            current_catalogue=catalogue,
            read=file.read,
            record=file.record,
            peers=Peers(lambda: holds[0], file.read, lambda: 1.5),
            counters=Counters(),
            now=lambda: 1.5,
            say=say,
        )
    )
    keeping = asyncio.create_task(schedules.keep())
    await file.is_done.wait()
    keeping.cancel()
    schedules.close()
    return file.jobs, said


def test_code_that_a_reload_has_brought_says_nothing_of_what_was_configured_before(tmp_path: Path) -> None:
    assert asyncio.run(outcome(tmp_path)) == (["new"], [])
