"""What a check found, as values: how bad it is, what it is about, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from bgjob.commands.text import one_line


class Verdict(StrEnum):
    """How bad it is: `remark` is for a person to know, all below it keep the whole from being well."""

    OK = "ok"
    REMARK = "remark"
    DOUBTFUL = "doubtful"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: its verdict and a sentence that ends, where it is not well, with what to do."""

    verdict: Verdict
    told: str

    def __str__(self) -> str:
        return f"{self.verdict:<11}  {one_line(self.told)}"  # it may name what others wrote


def ok(told: str) -> Finding:
    return Finding(Verdict.OK, told)


def remark(told: str) -> Finding:
    return Finding(Verdict.REMARK, told)


def doubtful(told: str) -> Finding:
    return Finding(Verdict.DOUBTFUL, told)


def broken(told: str) -> Finding:
    return Finding(Verdict.BROKEN, told)


def is_whole(found: Iterable[Finding]) -> bool:
    """Whether nothing keeps a daemon, or a job, from doing what it should."""
    return all(finding.verdict in (Verdict.OK, Verdict.REMARK) for finding in found)
