"""An attempt as it was claimed: what holds for it from then on, whichever daemon sees its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from bgjobd.config.policy import Policy
from bgjobd.core.attempt_life import EndTerms
from bgjobd.core.job import AttemptKey
from bgjobd.store.committed import Claim


class Claimed(NamedTuple):
    """What the claim says of an attempt; `timeout` in seconds, `has_key`: its job has one."""

    key: AttemptKey
    token: str
    class_name: str
    timeout: float | None
    has_key: bool

    @classmethod
    def by(cls, claim: Claim) -> Claimed:
        """One that this daemon has claimed."""
        job = claim.job
        key = job.id, job.attempt
        return cls(key, claim.token, job.call.class_name, job.timeout, job.key is not None)

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Claimed:
        """One that an earlier daemon has claimed, as the database has it."""
        key = row["job_id"], row["number"]
        return cls(key, row["token"], row["class_name"], row["timeout"], row["key"] is not None)

    def end_terms(self, policy: Policy) -> EndTerms:
        """What it and its class's policy say of its end."""
        return policy.end_terms(self.timeout, self.has_key)
