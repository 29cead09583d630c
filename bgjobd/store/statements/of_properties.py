"""Statements of facts about the database itself."""

from __future__ import annotations

from typing import Final

LEAPT_AT: Final = "leapt_at"
"""The property that tells when a daemon last saw time leap ahead."""

SELECT_PROPERTY: Final = "SELECT value FROM properties WHERE name = :name"
SET_PROPERTY: Final = """
    INSERT INTO properties (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = :value
"""
