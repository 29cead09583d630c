"""What may run as things are: the catalogue of the fork server in charge, for those who wait for the first one too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from bgjob.errors import ClassUnavailableError, InvalidParametersError, RequestError, ShuttingDownError
from bgjob.words import EntryType
from bgjobd.config.alerts import NOTICE
from bgjobd.config.policy import Policy, policy_of
from bgjobd.config.sections import Config
from bgjobd.core.edges import Node
from bgjobd.core.job import Call, Job
from bgjobd.core.taking import sources
from bgjobd.daemon.catalogue import Catalogue


class CurrentCatalogue:
    """The catalogue that holds now, with the policies and refusals that follow from it.

    `config` tells the configuration that holds, `say` writes a line of the log.
    """

    def __init__(self, config: Callable[[], Config], say: Callable[[EntryType, str], None]) -> None:
        self._config = config
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._catalogue: asyncio.Future[Catalogue] = self._loop.create_future()
        self._known: Catalogue | None = None
        self._is_closed = False
        self._told: dict[str, str] = {}
        self.doubts: list[str] = []
        """What is said of the classes in use and means nothing."""

    def close(self) -> None:
        """Nothing may be submitted any more; what was taken still tells policies."""
        self._is_closed = True
        if not self._catalogue.done():
            self._catalogue.set_exception(ShuttingDownError())
            self._catalogue.exception()

    async def catalogue(self) -> Catalogue:
        """What may run; waits for the first fork server. Raises ShuttingDownError."""
        if self._is_closed:
            raise ShuttingDownError
        return await asyncio.shield(self._catalogue)

    def try_catalogue(self) -> Catalogue | None:
        """The same, None as long as there is none."""
        return self._known

    def policy(self, class_name: str) -> Policy:
        """What holds for the jobs of a class; without its attributes as long as there is no catalogue."""
        catalogue = self._known
        known = None if catalogue is None else catalogue.policies.get(class_name)
        return known if known is not None else policy_of(self._config(), class_name)

    def secrets(self, class_name: str, method_name: str, given: Collection[str]) -> Collection[str]:
        """The parameters of a call whose values are shown nowhere: all `given`, as long as nobody knows the method."""
        catalogue = self.try_catalogue()
        if catalogue is None or not catalogue.has(class_name, method_name):
            return given
        return catalogue.sensitive(class_name, method_name, given)

    def try_has_failed_hook(self, class_name: str) -> bool | None:
        """Whether a class has one; None where that is not known, for there is no catalogue or the class is missing."""
        catalogue = self.try_catalogue()
        return None if catalogue is None else catalogue.try_has_failed_hook(class_name)

    def missing(self) -> Mapping[str, str]:
        """The approved classes that cannot be loaded as things are, with the reason."""
        catalogue = self.try_catalogue()
        return {} if catalogue is None else catalogue.missing

    def try_refusal(self, call: Call) -> str | None:
        """Why an attempt of the call would be refused; None where it would not, or not yet, as far as is known."""
        catalogue = self.try_catalogue()
        if catalogue is None or (call.class_name == NOTICE and catalogue.has_notice):
            return None
        try:
            catalogue.check_target(call.class_name, call.method_name)
        except ClassUnavailableError:
            return None  # it waits, or runs: only submits are refused
        except RequestError as refusal:
            return str(refusal)
        return None

    def why_unfit(self, job: Job) -> str | None:
        """Why what the job has taken of results is nothing that its method takes; None where all is well."""
        if job.takes is None:
            return None
        came_from = {name: (node, problem) for name, node, problem in sources(job.takes)}
        for name, (node, problem) in came_from.items():
            if problem is not None:
                return f"{name}: {problem} (from {node.named})"
        return self._misfits(job, {name: node for name, (node, _) in came_from.items()})

    def _misfits(self, job: Job, came_from: Mapping[str, Node]) -> str | None:
        """What does not fit the schema, each with where it came from; values of secrets are not told."""
        catalogue = self.try_catalogue()
        if catalogue is None:
            return None
        try:
            catalogue.check(job.call.class_name, job.call.method_name, json.loads(job.call.parameters))
        except InvalidParametersError as error:
            return "; ".join(
                _misfit(problem, job.call.sensitive, came_from) for problem in error.parameters["problems"]
            )
        except RequestError:
            return None  # it waits for its class, or the attempt tells it
        return None

    def take(self, catalogue: Catalogue) -> None:
        """From now on this one holds; say what is wrong with it."""
        if self._catalogue.done():
            self._catalogue = self._loop.create_future()
        self._catalogue.set_result(catalogue)
        self._known = catalogue
        self._say_changes(catalogue)
        in_use = sorted(catalogue.classes.keys() - self._told.keys())
        self.doubts = [doubt for name in in_use for doubt in catalogue.doubts(self._config(), name)]
        for doubt in self.doubts:
            self._say(EntryType.FAILURE, f"[approved] {doubt}")

    def renew(self, described: Mapping[str, Mapping[str, Any]]) -> None:
        """Classes that are missing were tried again: say where the reason is another one by now."""
        catalogue = self.try_catalogue()
        if catalogue is not None:
            catalogue.renew({name: one for name, one in described.items() if name in catalogue.missing})
            self._say_changes(catalogue)

    def _say_changes(self, catalogue: Catalogue) -> None:
        """Say which classes cannot be used, where that or its reason is new, and which can be again."""
        broken = {
            name: described["unavailable"]
            for name, described in catalogue.classes.items()
            if described["unavailable"] is not None
        }
        self.say_unavailable(catalogue, [name for name, why in broken.items() if self._told.get(name) != why])
        for name in sorted(self._told.keys() & catalogue.classes.keys() - broken.keys()):
            self._say(EntryType.INFO, f"{name} is available again (code version {catalogue.code_version})")
        self._told = broken

    def say_unavailable(self, catalogue: Catalogue, names: Iterable[str]) -> None:
        """Say why these classes of a catalogue, which need not be the one that holds, cannot be used."""
        for name in names:
            described = catalogue.classes[name]
            trace = f"\n{described['traceback'].rstrip()}" if described["traceback"] else ""
            self._say(EntryType.FAILURE, f"{name} is unavailable: {described['unavailable']}{trace}")


def _misfit(problem: Mapping[str, str], sensitive: Collection[str], came_from: Mapping[str, Node]) -> str:
    name = problem["path"].partition("/")[0]
    path, message = (name, "does not fit") if name in sensitive else (problem["path"], problem["message"])
    told = f"{path}: {message}" if path else message
    return f"{told} (from {came_from[name].named})" if name in came_from else told
