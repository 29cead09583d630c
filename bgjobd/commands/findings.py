"""What a check found, as values: how bad it is, what it is about, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from bgjob.text import one_line


class Severity(StrEnum):
    """How bad it is: `remark` is for a person to know, all below it keep the whole from being well."""

    OK = "ok"
    REMARK = "remark"
    DOUBTFUL = "doubtful"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: its severity and a sentence that ends, where it is not well, with what to do."""

    severity: Severity
    told: str

    def __str__(self) -> str:
        return f"{self.severity:<11}  {one_line(self.told)}"  # it may name what others wrote


def ok(told: str) -> Finding:
    return Finding(Severity.OK, told)


def remark(told: str) -> Finding:
    return Finding(Severity.REMARK, told)


def doubtful(told: str) -> Finding:
    return Finding(Severity.DOUBTFUL, told)


def broken(told: str) -> Finding:
    return Finding(Severity.BROKEN, told)


def is_whole(found: Iterable[Finding]) -> bool:
    """Whether nothing keeps a daemon, or a job, from doing what it should."""
    return all(finding.severity in (Severity.OK, Severity.REMARK) for finding in found)


def is_fit(found: Iterable[Finding]) -> bool:
    """Whether nothing of it keeps a daemon from its start."""
    return not any(finding.severity is Severity.BROKEN for finding in found)
