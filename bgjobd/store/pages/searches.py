"""What a search looks in: the names, errors and parameters of jobs, as far as those are not secret."""

from __future__ import annotations

from typing import Final

from bgjob.codec import JsonObject, to_json
from bgjobd.core.case_folding import needle
from bgjobd.store.filters import JobFilter


def needles(wanted: JobFilter) -> JsonObject:
    """What is looked for as it is, and as JSON that we have written has it; and where it is not looked for."""
    folded = needle(wanted.search or "")
    return {
        "needle": folded,
        "as_json": to_json(folded)[1:-1],
        "sensitive": to_json({name: list(names) for name, names in wanted.sensitive.items()}),
    }


def contains(text: str, needle: str = ":needle") -> str:
    """Whether the folded text has the needle in it; what is all ASCII, as most is, needs no function of ours."""
    is_ascii = f"length({text}) = length(CAST({text} AS BLOB))"
    return (
        f"CASE WHEN {is_ascii} THEN instr(lower({text}), {needle}) ELSE instr(fold({text}), {needle}) END > 0"
    )


TARGET: Final = "(j.class_name || '::' || j.method_name)"
_HAS_SECRETS: Final = "j.sensitive IS NOT NULL OR j.class_name IN (SELECT key FROM json_each(:sensitive))"
HAS_VALUE: Final = (
    f"CASE WHEN CASE WHEN {_HAS_SECRETS} THEN true ELSE {contains('j.parameters', ':as_json')} END "
    "THEN has_value(j.parameters, j.sensitive, "
    "(SELECT value FROM json_each(:sensitive) WHERE key = j.class_name), :as_json) ELSE false END"
)
"""Most are told apart by their text. Where that has secrets it is no matter what they are: time would tell."""
