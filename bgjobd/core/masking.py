"""The masking of secrets in parameters: sensitive ones are shown by name, without their values.

What an attempt tells is masked by forkserver/masking.py.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, Final

MASK: Final = "***"
"""What is shown in place of a sensitive value."""


def masked(parameters: Mapping[str, Any], sensitive: Collection[str]) -> dict[str, Any]:
    """The parameters, each sensitive one with its name and without its value."""
    return {name: MASK if name in sensitive else value for name, value in parameters.items()}


def masked_names(parameters: str, sensitive: Collection[str]) -> list[str]:
    """Which of them are masked so, of JSON text, in order."""
    return sorted({*sensitive}.intersection(json.loads(parameters))) if sensitive else []


def masked_text(parameters: str, sensitive: Collection[str]) -> str:
    """The same of JSON text, which nobody has to read where none is sensitive."""
    if not sensitive:
        return parameters
    return json.dumps(masked(json.loads(parameters), sensitive), ensure_ascii=False, separators=(",", ":"))
