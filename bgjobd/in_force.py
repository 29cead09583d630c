"""What may run as things are: the catalogue of the fork server in charge, for those who wait for the first one too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from bgjob.errors import RequestError, ShuttingDownError
from bgjob.words import EntryType
from bgjobd.catalogue import Catalogue
from bgjobd.config import Config
from bgjobd.core.job import Call
from bgjobd.policy import Policy, policy_of


class InForce:
    """The catalogue that holds now, with the policies and refusals that follow from it.

    `config` tells the configuration that holds, `say` writes a line of the log.
    """

    def __init__(self, config: Callable[[], Config], say: Callable[[EntryType, str], None]) -> None:
        self._config = config
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._catalogue: asyncio.Future[Catalogue] = self._loop.create_future()
        self._is_closed = False

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
        is_there = self._catalogue.done() and self._catalogue.exception() is None
        return self._catalogue.result() if is_there else None

    def policy(self, class_name: str) -> Policy:
        """What holds for the jobs of a class; without its attributes as long as there is no catalogue."""
        catalogue = self.try_catalogue()
        known = None if catalogue is None else catalogue.policies.get(class_name)
        return known if known is not None else policy_of(self._config(), class_name)

    def has_failed_hook(self, class_name: str) -> bool:
        """Whether a class is known to have one."""
        catalogue = self.try_catalogue()
        return catalogue is not None and catalogue.has_failed_hook(class_name)

    def try_refusal(self, call: Call) -> str | None:
        """Why the call would be refused; None where it would not, as far as is known."""
        catalogue = self.try_catalogue()
        if catalogue is None:
            return None
        try:
            catalogue.check_target(call.class_name, call.method_name)
        except RequestError as refusal:
            return str(refusal)
        return None

    def take(self, catalogue: Catalogue) -> None:
        """From now on this one holds; say what is wrong with it."""
        if self._catalogue.done():
            self._catalogue = self._loop.create_future()
        self._catalogue.set_result(catalogue)
        broken = [
            name for name, described in catalogue.classes.items() if described["unavailable"] is not None
        ]
        self.say_unavailable(catalogue, broken)
        for name in catalogue.classes.keys() - set(broken):
            for doubt in catalogue.doubts(self._config(), name):
                self._say(EntryType.FAILURE, f"[approved] {doubt}")

    def say_unavailable(self, catalogue: Catalogue, names: Iterable[str]) -> None:
        """Say why these classes of a catalogue, which need not be the one that holds, cannot be used."""
        for name in names:
            described = catalogue.classes[name]
            trace = f"\n{described['traceback'].rstrip()}" if described["traceback"] else ""
            self._say(EntryType.FAILURE, f"{name} is unavailable: {described['unavailable']}{trace}")
