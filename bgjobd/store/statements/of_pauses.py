"""Statements of queues that are paused."""

from __future__ import annotations

from typing import Final

SELECT_PAUSE: Final = "SELECT paused_at, resumes_at FROM queues WHERE name = :name"
SELECT_PAUSED: Final = "SELECT name, resumes_at FROM queues"
SELECT_NEXT_RESUME: Final = "SELECT min(resumes_at) FROM queues"
PAUSE_QUEUE: Final = """
    INSERT INTO queues (name, paused_at, resumes_at) VALUES (:name, :now, :resumes_at)
    ON CONFLICT (name) DO UPDATE SET resumes_at = excluded.resumes_at
"""
RESUME_QUEUE: Final = "DELETE FROM queues WHERE name = :name"
END_PAUSES: Final = "DELETE FROM queues WHERE resumes_at <= :now RETURNING name"
