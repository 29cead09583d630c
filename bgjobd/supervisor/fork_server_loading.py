"""What a fork server tells until it is ready: that it imports, what it cannot, and how it comes to an end over that."""

from __future__ import annotations

import asyncio

from bgjobd.forkserver import wire


class ForkServerError(Exception):
    """The fork server could not be started, or ended before it was ready."""


class TooSlowError(ForkServerError):
    """It did not come up in time; given more, it may."""


class UnloadableError(Exception):
    """The fork server hung or ended over these classes; without them it may do.

    An end is not certain to be theirs: somebody may have killed the process.
    """

    def __init__(self, classes: list[str], reason: str, is_certain: bool = True) -> None:
        self.classes = classes
        self.reason = reason
        self.is_certain = is_certain
        super().__init__(f"{', '.join(classes)}: {reason}")


class Loading:
    """One fork server's, from its exec on."""

    def __init__(self) -> None:
        self._preparing: str | None = None
        self._classes: list[str] = []
        self._patience: asyncio.Timeout | None = None
        self._limit = 0.0
        self._ready: asyncio.Future[wire.Message] = asyncio.get_running_loop().create_future()

    @property
    def is_over(self) -> bool:
        """Whether it is ready, or will not be."""
        return self._ready.done()

    async def wait(self, patience: float) -> wire.Message:
        """Wait for `ready`, `patience` seconds from each sign of life. Raises ForkServerError, UnloadableError."""
        self._limit = patience
        try:
            async with asyncio.timeout(patience) as self._patience:
                return await asyncio.shield(self._ready)
        except TimeoutError:
            if self._preparing is not None:
                text = f"[app] {self._preparing} did not come back within {patience:g} s"
                raise TooSlowError(f"{text}; [app] import_timeout gives it longer") from None
            hint = "raise [app] import_timeout, or do less at the top of its module"
            reason = f"its module was not imported within {patience:g} s; {hint}"
            if not self._classes:
                text = f"the fork server did not come up within {patience:g} s"
                raise TooSlowError(f"{text}; [app] import_timeout gives it longer") from None
            raise UnloadableError(self._classes, reason) from None
        finally:
            self._patience = None

    def on_message(self, message: wire.Message) -> None:
        """A sign of life."""
        match message["type"]:
            case "preparing":
                self._preparing = message["what"]
                self._wait_anew()
            case "unprepared":
                self._fail(ForkServerError(f"[app] {message['what']} failed: {message['reason']}"))
            case "loading":
                self._preparing, self._classes = None, message["classes"]
                self._wait_anew()
            case "unfit":
                self._fail(UnloadableError(message["classes"], message["reason"]))
            case "outdated":
                reason = f"it speaks version {message['version']}, this daemon {wire.VERSION}"
                self._fail(
                    ForkServerError(f"bgjobd was upgraded under its daemon: {reason}; restart the daemon")
                )
            case "ready":
                self._ready.set_result(message)
            case unknown:
                raise ValueError(f"the fork server sent an unknown message: {unknown!r}")

    def _wait_anew(self) -> None:
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(asyncio.get_running_loop().time() + self._limit)

    def on_end(self) -> None:
        """The link has ended."""
        if self.is_over:
            return
        if self._preparing is not None:
            self._fail(ForkServerError(f"[app] {self._preparing} ended the fork server; stderr has more"))
            return
        reason = "its module ended the process while it was imported or described"
        without = ForkServerError("the fork server ended before it imported anything; stderr has more")
        self._fail(UnloadableError(self._classes, reason, False) if self._classes else without)

    def _fail(self, error: Exception) -> None:
        self._ready.set_exception(error)
        self._ready.exception()  # seen here: whoever waited may have given up
