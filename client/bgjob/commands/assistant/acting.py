"""The tools that change something, for an assistant that is allowed them; each asks the client for just that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bgjob.client import Client
from bgjob.commands.assistant.answering import Answer
from bgjob.commands.assistant.asking import Tool


def _retry(client: Client, jobs: Sequence[int], from_start: bool = False) -> Answer:
    client.retry(*jobs, from_start=from_start)
    return {"done": "retried", "jobs": list(jobs)}


def _cancel(client: Client, jobs: Sequence[int]) -> Answer:
    client.cancel(*jobs)
    return {"done": "cancelled", "jobs": list(jobs)}


def _pause(client: Client, queue: str, seconds: float | None = None) -> Answer:
    return {"done": "paused", "resumes_at": client.pause(queue, resumes_in=seconds)}


def _resume(client: Client, queue: str) -> Answer:
    client.resume(queue)
    return {"done": "resumed"}


def _hold_class(client: Client, class_name: str) -> Answer:
    client.hold_class(class_name)
    return {"done": "held"}


def _resume_class(client: Client, class_name: str) -> Answer:
    client.resume_class(class_name)
    return {"done": "resumed"}


def _pause_schedule(client: Client, schedule: str) -> Answer:
    client.pause_schedule(schedule)
    return {"done": "paused"}


def _resume_schedule(client: Client, schedule: str) -> Answer:
    client.resume_schedule(schedule)
    return {"done": "resumed"}


TOOLS: Final = (
    Tool(
        "retry",
        "Run failed or cancelled jobs again, with all their retries: what they do to the world they do again. "
        "All of them, or none.",
        _retry,
        ("from_start",),
        ("jobs",),
        acts=True,
        takes_away=True,
    ),
    Tool(
        "cancel",
        "Cancel jobs that have not ended; those that run are stopped. All of them, or none.",
        _cancel,
        requires=("jobs",),
        acts=True,
        takes_away=True,
        once=True,
    ),
    Tool(
        "pause",
        "Start no more jobs of a queue; those that run go on.",
        _pause,
        ("seconds",),
        ("queue",),
        acts=True,
        takes_away=True,
    ),
    Tool(
        "resume",
        "Start the jobs of a paused queue again.",
        _resume,
        requires=("queue",),
        acts=True,
        once=True,
    ),
    Tool(
        "hold_class",
        "Start no more attempts of a class; its jobs wait, and those that run go on.",
        _hold_class,
        requires=("class_name",),
        acts=True,
        takes_away=True,
        once=True,
    ),
    Tool(
        "resume_class",
        "Start attempts of a class again that is held, because its attempts crash or somebody has asked for it.",
        _resume_class,
        requires=("class_name",),
        acts=True,
        once=True,
    ),
    Tool(
        "pause_schedule",
        "Have the occurrences of a schedule become no jobs; what runs goes on.",
        _pause_schedule,
        requires=("schedule",),
        acts=True,
        takes_away=True,
        once=True,
    ),
    Tool(
        "resume_schedule",
        "Have the occurrences of a schedule become jobs again.",
        _resume_schedule,
        requires=("schedule",),
        acts=True,
        once=True,
    ),
)
