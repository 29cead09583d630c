"""Items by which somebody pauses a queue or holds a class, and has it go on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueuePaused:
    """Grant no slots to a queue until it is resumed, or until `resumes_at`, in place of an earlier such time. Answered
    by None.
    """

    queue: str
    resumes_at: float | None = None
    who: str | None = None


@dataclass(frozen=True, slots=True)
class QueueResumed:
    """Grant slots to a queue again. Answered by None."""

    queue: str
    who: str | None = None


@dataclass(frozen=True, slots=True)
class ClassHeld:
    """Start no attempt of a class until it is resumed, for this user has asked. Answered by whether it was held."""

    class_name: str
    uid: int | None = None
    who: str | None = None


@dataclass(frozen=True, slots=True)
class ClassResumed:
    """Start attempts of a class again, whatever holds it. Answered by whether it was held."""

    class_name: str
    who: str | None = None
