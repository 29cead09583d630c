"""The trace that a job belongs to, as the W3C's `traceparent` has it: what is one, and which there is; imports none."""

from __future__ import annotations

import os
import re
import sys
from typing import Final

VARIABLE: Final = "TRACEPARENT"
"""The variable by which processes hand it on."""

_FORM: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def is_traceparent(text: object) -> bool:
    """Whether it is one: `00-`, 32 hex digits of the trace, `-`, 16 of the span, `-`, 2 of flags; small letters."""
    return isinstance(text, str) and _FORM.fullmatch(text) is not None


def try_current() -> str | None:
    """The current span, where the application has imported OpenTelemetry; else what this process was given."""
    api = sys.modules.get("opentelemetry.trace")
    if api is not None:
        span = api.get_current_span().get_span_context()
        if span.is_valid:
            return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
    given = os.environ.get(VARIABLE)
    return given if is_traceparent(given) else None
