"""Text compared without regard to case, as SQLite's lower() and str.casefold() do it together."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjobd.core.case_folding import MAX_NEEDLE, fold, folded, needle

TEXTS = st.text(st.characters(exclude_categories=("Cs",)))


@pytest.mark.parametrize(
    ("one", "other"),
    [("STRASSE", "straße"), ("ΣΊΣΥΦΟΣ", "σίσυφος"), ("Ǆ", "ǆ"), ("\N{KELVIN SIGN}", "k"), ("ﬁ", "FI")],
)
def test_texts_that_differ_in_case_alone_fold_to_the_same(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize("text", ["", "Plain ASCII, UPPER and \x00 too", "grösser", "日本語 TEXT"])
def test_what_sqlite_lowers_rightly_is_not_stored_twice(text: str) -> None:
    assert folded(text) is None


@pytest.mark.parametrize("text", ["Straße", "GRÖSSER", "İstanbul", "ςigma"])
def test_what_sqlite_lowers_wrongly_is_stored_folded(text: str) -> None:
    assert folded(text) == text.casefold()


@given(TEXTS)
def test_what_is_stored_or_else_sqlites_lower_is_the_folded_text(text: str) -> None:
    database = sqlite3.connect(":memory:")
    (found,) = database.execute("SELECT coalesce(?, lower(?))", (folded(text), text)).fetchone()
    database.close()
    assert found == text.casefold()


def test_no_more_is_looked_for_than_the_first_characters() -> None:
    assert needle("A" * MAX_NEEDLE + "B") == "a" * MAX_NEEDLE
