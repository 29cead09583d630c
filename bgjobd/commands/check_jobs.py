"""What a check says of the jobs that wait already: how many would fail, why, and what to do."""

from __future__ import annotations

from bgjob.amounts import many_of
from bgjobd.commands.findings import Finding, doubtful, ok
from bgjobd.daemon import fates
from bgjobd.daemon.fates import Looked


def findings(looked: Looked) -> list[Finding]:
    """Whom it concerns, most jobs first, and what to do; or that all is well."""
    wrong = [
        doubtful(f"queued jobs: {one}; mend the code or the configuration, or `bgjob cancel` them")
        for one in fates.told(looked)
    ]
    so_far = fates.try_so_far(looked)
    if so_far is not None:
        return [*wrong, ok(f"queued jobs: {so_far}")]
    return wrong or [ok(f"queued jobs: {many_of(looked.seen, 'job')}, and nothing against them")]
