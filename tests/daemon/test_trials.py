"""Trials of classes that could not be loaded: when, of what, and what comes of it; what launches for them is a fake."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from bgjob.words import EntryType
from bgjobd.core.trials import UNTRIED
from bgjobd.supervisor import trials as module
from bgjobd.supervisor.application import Application
from bgjobd.supervisor.fork_server_loading import ForkServerError
from bgjobd.supervisor.trials import Trials

BILLS, MAILS, ODD, SHOP = "bills.Bills", "mails.Mails", "odd.Odd", "shop.Shop"
NO_USER = {ODD: "there is no user odd"}
APPLICATION = Application(
    None, (), {}, dict.fromkeys([BILLS, MAILS, ODD, SHOP]), {}, NO_USER, import_timeout=5.0
)


@dataclass
class Server:
    """A fork server, by the digests of its modules, what it lacks, and the classes that it was to have."""

    modules: dict[str, str]
    missing: dict[str, str]
    asked: Iterable[str] = ()

    @property
    def ready(self) -> dict[str, Any]:
        described = {name: {"unavailable": self.missing.get(name)} for name in self.asked}
        return {"classes": described, "modules": self.modules}


IN_FORCE = Server({"mails": "1"}, {BILLS: "no module"} | NO_USER)
MENDED = Server({"mails": "1", "bills": "1"}, NO_USER)
OTHER_CODE = Server({"mails": "2", "bills": "1"}, NO_USER)
OTHERS_BREAK = Server({"bills": "1"}, {MAILS: "no module"} | NO_USER)


class Bench:
    """Trials whose pauses are over at once, and what launches for them.

    `found` has what each trial finds: nothing, "fails", or the fork server that comes up with all classes then; after
    the last of it a trial hangs. A look at the others can load none of them where it `is_amid_deploy`, look by look.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *found: Server | str | None) -> None:
        self._found = list(found)
        self._mended = MENDED
        self.is_amid_deploy: list[bool] = []
        self.current: Server | None = IN_FORCE
        self.tried: list[tuple[list[str], float]] = []
        self.replaced: list[float] = []
        self.pauses: list[int] = []
        self.said: list[str] = []
        self.news: list[dict[str, Any]] = []
        self.tasks: list[asyncio.Task[None]] = []
        monkeypatch.setattr(module, "pause_before_trial", self._pause)
        self.trials = Trials(self, lambda: APPLICATION, self.news.append, self._say, self._begin)

    def _pause(self, count: int) -> float:
        self.pauses.append(count)
        return 0.0

    def _say(self, type: EntryType, told: str) -> None:
        self.said.append(told)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self.tasks.append(asyncio.ensure_future(work))
        return self.tasks[-1]

    async def try_out(self, application: Application) -> Server:
        if ODD in application.approved:  # which is never tried, so these are the others
            if self.is_amid_deploy and self.is_amid_deploy.pop(0):
                return Server({}, dict.fromkeys(application.approved, "half of it"))
            return Server({"mails": "1"}, NO_USER)
        self.tried.append((sorted(application.approved), application.import_timeout))
        if not self._found:
            await asyncio.Event().wait()
        found = self._found.pop(0)
        if found == "fails":
            raise ForkServerError("it did not come up")
        if isinstance(found, Server):
            self._mended = found
        broken = (
            found.missing if isinstance(found, Server) else dict.fromkeys(application.approved, "no module")
        )
        return Server({}, broken, application.approved)

    async def replace(self, application: Application, judge: Callable[[Any], Any]) -> Any:
        self.replaced.append(application.import_timeout)
        objection = judge(self._mended)
        if objection is None:
            self.current = self._mended
            self.trials.expect(self._mended.missing)
        return objection

    async def until_nothing_happens(self) -> None:
        for _ in range(100):
            await asyncio.sleep(0)


def play(bench: Callable[[], Bench], scene: Callable[[Bench], Awaitable[None]]) -> None:
    async def live() -> None:
        made = bench()
        made.trials.expect(IN_FORCE.missing)
        await made.until_nothing_happens()
        await scene(made)
        made.trials.close()
        await made.until_nothing_happens()
        assert all(task.done() for task in made.tasks)

    asyncio.run(live())


def test_what_is_missing_is_tried_until_it_can_be_loaded_each_time_with_more_patience(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(bench: Bench) -> None:
        # Not the class that the machine cannot limit: that is no matter of its import.
        assert bench.tried == [([BILLS], 10.0), ([BILLS], 20.0), ([BILLS], 40.0)]
        assert bench.pauses == [0, 1, 2]
        assert bench.news == [{BILLS: {"unavailable": "no module"}}, {BILLS: {"unavailable": None}}]
        assert (bench.current, bench.replaced, bench.said) == (MENDED, [40.0], [])
        assert [task.cancelled() for task in bench.tasks] == [False] * 3
        assert bench.trials.hint(BILLS) == UNTRIED

    play(lambda: Bench(monkeypatch, None, "fails", MENDED), scene)


def test_code_that_has_changed_besides_is_said_once_and_left_to_a_person(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = {BILLS: "no module", SHOP: "no module"}

    async def scene(bench: Bench) -> None:
        bench.current = Server(IN_FORCE.modules, missing | NO_USER)
        bench._found.append(Server(OTHER_CODE.modules, {SHOP: "no module"} | NO_USER))
        bench.trials.expect(missing)
        await bench.until_nothing_happens()
        count = len(bench.tried)
        told = "it can be imported by now, and the code of other classes has changed as well"
        assert bench.said == [f"{BILLS}: {told}; `bgjob reload` takes up both"]
        assert bench.trials.hint(BILLS) == f"{told}; `bgjob reload` takes up both"
        assert (bench.trials.hint(SHOP), bench.trials.hint(ODD)) == (UNTRIED, UNTRIED)
        bench.trials.pause()
        bench.trials.resume()
        await bench.until_nothing_happens()
        assert len(bench.tried) == count

    play(lambda: Bench(monkeypatch), scene)


def test_what_a_missing_class_had_got_to_is_no_code_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(bench: Bench) -> None:
        bench.current = Server({"mails": "1", "bills": "half of it"}, IN_FORCE.missing)
        bench._found.append(MENDED)
        bench.trials.expect(IN_FORCE.missing)
        await bench.until_nothing_happens()
        assert (bench.current, bench.said) == (MENDED, [])

    play(lambda: Bench(monkeypatch), scene)


def test_a_look_at_others_that_cannot_load_them_all_is_not_believed_and_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(bench: Bench) -> None:
        bench.current = Server({"mails": "1", "bills": "half of it"}, IN_FORCE.missing)
        bench._found += [OTHER_CODE, MENDED]
        bench.is_amid_deploy = [True]
        bench.trials.expect(IN_FORCE.missing)
        await bench.until_nothing_happens()
        assert bench.current == MENDED
        (told,) = bench.said
        assert told.startswith(f"{BILLS}: it can be imported by now, and another class cannot; ")

    play(lambda: Bench(monkeypatch), scene)


def test_another_class_that_breaks_is_said_once_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(bench: Bench) -> None:
        assert (bench.current, len(bench.tried)) == (IN_FORCE, 3)
        (told,) = bench.said
        assert told.startswith(
            f"{BILLS}: it can be imported by now, and another class cannot; it is tried again in "
        )
        assert "it is tried again now" in bench.trials.hint(BILLS)
        bench.trials.expect(IN_FORCE.missing)
        assert bench.trials.hint(BILLS).startswith("it is tried again in 0 s")

    play(lambda: Bench(monkeypatch, OTHERS_BREAK, OTHERS_BREAK), scene)


def test_a_trial_that_is_given_up_is_made_again_once_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(bench: Bench) -> None:
        bench.trials.resume()  # it is under way
        await bench.until_nothing_happens()
        assert len(bench.tried) == 1
        bench.trials.pause()
        await bench.until_nothing_happens()
        assert (len(bench.tried), bench.tasks[0].cancelled()) == (1, True)
        bench.trials.resume()
        bench.trials.resume()  # it is to come
        bench.trials.pause()
        await bench.until_nothing_happens()
        assert len(bench.tried) == 1
        bench.trials.resume()
        await bench.until_nothing_happens()
        assert (len(bench.tried), bench.pauses) == (2, [0, 1, 1])

    play(lambda: Bench(monkeypatch), scene)


def test_another_fork_server_has_all_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(bench: Bench) -> None:
        bench.trials.expect({MAILS: "no module"})
        await bench.until_nothing_happens()
        assert bench.tried[-2:] == [([BILLS], 20.0), ([MAILS], 10.0)]
        assert bench.tasks[-2].cancelled()
        assert bench.trials.hint(BILLS) == UNTRIED
        assert "it is tried again now" in bench.trials.hint(MAILS)
        bench.trials.expect({})
        await bench.until_nothing_happens()
        assert bench.tasks[-1].cancelled()

    play(lambda: Bench(monkeypatch, OTHERS_BREAK), scene)


def test_where_there_is_no_fork_server_to_compare_it_with_nothing_takes_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(bench: Bench) -> None:
        bench.current = None
        bench._found.append(MENDED)
        bench.trials.expect(IN_FORCE.missing)
        await bench.until_nothing_happens()
        assert (bench.current, bench.said) == (None, [])
        assert len(bench.tried) == 3  # the first hung, and the third does

    play(lambda: Bench(monkeypatch), scene)
