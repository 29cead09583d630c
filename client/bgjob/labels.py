"""What may be a label of a job, as both sides have it; what jobs have which stays out."""

from __future__ import annotations

import re
from typing import Any, Final

MOST_LABELS: Final = 10
LABEL_LENGTHS: Final = range(1, 65)
"""How many a job may have, and how many characters each."""

_NO_TEXT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Controls, ends of lines, and halves of characters."""


def is_label(value: Any) -> bool:
    """Whether a job could have it as a label."""
    return isinstance(value, str) and len(value) in LABEL_LENGTHS and _NO_TEXT.search(value) is None


def are_labels(value: Any) -> bool:
    """Whether these may be the labels of a job, some perhaps twice."""
    return isinstance(value, list) and len(value) <= MOST_LABELS and all(map(is_label, value))


def distinct(labels: list[str]) -> list[str]:
    """Each once, in the order in which they were given."""
    return list(dict.fromkeys(labels))
