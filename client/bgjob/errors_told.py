"""How an error reads to a person, whichever jobs have met it: what it is, where, and whether it is new; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def kind_of(error: Mapping[str, Any]) -> str:
    """What it is called: the job's own word, the exception's type, else the outcome."""
    return str(error["name"] or error["error_type"] or error["outcome"])


def where(error: Mapping[str, Any]) -> str:
    """Where it is from: `mail.py:88 in deliver`; of what is no exception the class, empty where nothing tells."""
    if error["place"] is None:
        return "" if error["error_type"] else error["class_name"]
    function = str(error["place"]).partition(":")[2] or str(error["place"])
    return f"{error['line'] or '?'} in {function}"


def title_of(error: Mapping[str, Any]) -> str:
    """All of it on a line: `ConnectionError at mail.py:88 in deliver`."""
    place = where(error)
    if error["place"] is not None:
        return f"{kind_of(error)} at {place}"
    if error["error_type"] is not None:
        return f"{kind_of(error)}: {error['message'] or ''}".rstrip(": ")
    return f"{error['message'] or error['outcome']} ({place})"


def age_of(error: Mapping[str, Any], code_version: str | None) -> str:
    """Whether it is new, with the code that is in force, or back after a long silence; empty where it is neither."""
    if error["is_new"]:
        is_of_deploy = code_version is not None and error["first_version"] == code_version
        return "new since the deploy" if is_of_deploy else "new"
    return "back" if error["is_back"] else ""


def retrying_of(error: Mapping[str, Any]) -> str:
    """How many jobs wait for a retry, "200+" where more attempts were not looked at; empty of an older daemon."""
    many = error.get("retrying")
    if many is None:
        return ""
    return f"{many:,}+" if many and error["attempts"] > error["counted"] else f"{many:,}"
