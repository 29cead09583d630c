"""What the attempts of a daemon, and their hooks, have in common: where they are, who starts them, and whom their ends
are told.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bgjob.words import EntryType
from bgjobd.config.policy import Policy
from bgjobd.core.job import Job
from bgjobd.core.verdict import StopReason
from bgjobd.store.entrusted import Outbox
from bgjobd.supervisor.looks import Looks
from bgjobd.supervisor.outputs import Outputs
from bgjobd.supervisor.processes import LAST_LOOK, Known
from bgjobd.supervisor.recording import Recording
from bgjobd.supervisor.spool import Spool
from bgjobd.supervisor.starts import Starts
from bgjobd.supervisor.work_dirs import WorkDirs
from bgjobd.supervisor.work_limits import WorkLimits


@dataclass(slots=True, eq=False)
class AttemptSurroundings:
    """What is given to each attempt, and to each hook.

    `policy` tells a class's, `why_unfit` why what a job takes of results cannot be passed on, `processes` whose is
    which, `end_strays` ends what nobody knows of the processes that dead fork servers left to this one, `looks` asks
    where one is, `say` writes a line about the daemon itself. What has all attempts sets the two that are theirs:
    `note_changes` has all look at what has become of their journals, `catch_up` reads on for one that has told more
    than a portion.

    Of the output of an attempt others are given `shared_output()` bytes when it ends, 0 where there are none. For
    `near()` seconds after its submit a job goes on with the trace that it was submitted in.

    `longest_grace` is what an attempt that is stopped gets at most, in seconds, `fenced_grace` what one gets that
    others repeat, once this host is cut off; None where there are no others. `starts_no_more`: the daemon ends.
    """

    spool: Spool
    outbox: Outbox
    policy: Callable[[str], Policy]
    why_unfit: Callable[[Job], str | None]
    outputs: Outputs
    work: WorkDirs
    starts: Starts
    recording: Recording
    work_limits: WorkLimits
    processes: Known
    end_strays: Callable[[], Mapping[int, str]]
    looks: Looks
    now: Callable[[], float]
    say: Callable[[EntryType, str], None]
    shared_output: Callable[[], int] = lambda: 0
    near: Callable[[], float] = lambda: 0.0
    fenced_grace: float | None = None
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    note_changes: Callable[[Any], None] = field(init=False)
    catch_up: Callable[[Any], None] = field(init=False)
    longest_grace: float = math.inf
    starts_no_more: bool = False
    is_closed: bool = False
    is_spool_full: bool = False
    turns_of_classes: defaultdict[str, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )
    readings: set[asyncio.Task[None]] = field(default_factory=set)

    def grace(self, class_name: str, reason: StopReason | None) -> float:
        """Seconds from SIGTERM to SIGKILL for an attempt of this class that is stopped for this reason."""
        grace = min(self.policy(class_name).stop_grace, self.longest_grace)
        if reason is not StopReason.FENCED or self.fenced_grace is None:
            return grace
        return min(grace, self.fenced_grace)

    def retry_on_oserror(self, step: Callable[..., None], *given: Any) -> None:
        """Take this step, and again in a moment where a journal cannot be read for lack of descriptors or memory."""
        if self.is_closed:
            return
        try:
            step(*given)
        except OSError:
            self.loop.call_later(LAST_LOOK, self.retry_on_oserror, step, *given)
