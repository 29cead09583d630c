"""SQLite's statements as PostgreSQL has them: text to text, without a server."""

from __future__ import annotations

import pytest

from bgjobd.store.engines.postgres_translation import readable, translated
from bgjobd.store.statements import of_jobs

RULES = [
    ("SELECT 1 WHERE a = :a", "SELECT 1 WHERE a = %(a)s"),
    ("SELECT :x::bigint, ':x', 'it''s :x', ?", "SELECT %(x)s::bigint, ':x', 'it''s :x', %s"),
    ("SELECT a FROM t INDEXED BY i WHERE a LIKE 'u %'", "SELECT a FROM t WHERE a LIKE 'u %%'"),
    ("SELECT a FROM t AS l NOT INDEXED WHERE true", "SELECT a FROM t AS l WHERE true"),
    ("a IS :b AND c IS NOT d.e", "a IS NOT DISTINCT FROM %(b)s AND c IS DISTINCT FROM d.e"),
    ("a IS NULL AND b IS NOT NULL AND c IS NOT true", "a IS NULL AND b IS NOT NULL AND c IS NOT true"),
    ("coalesce(length(CAST(a.b AS BLOB)), 0)", "coalesce(octet_length(a.b), 0)"),
    ("a GLOB 'x_: *' AND b % 2", "a LIKE 'x\\_: %%' AND b %% 2"),
    (
        "FROM json_each(:ids) AS w CROSS JOIN jobs AS j ON j.id = w.value",
        "FROM (SELECT value::bigint AS value FROM jsonb_array_elements_text(%(ids)s::jsonb)) AS w "
        "JOIN jobs AS j ON j.id = w.value",
    ),
    (
        "IN (SELECT value FROM json_each(:names))",
        "IN (SELECT value FROM (SELECT value FROM jsonb_array_elements_text(%(names)s::jsonb)) AS json_each)",
    ),
    ("IN (SELECT key FROM json_each(:s))", "IN (SELECT key FROM jsonb_each_text(%(s)s::jsonb) AS json_each)"),
    (
        "FROM json_each(:keys) AS w JOIN u ON u.name = json_extract(w.value, '$[0]') AND u.id = "
        "json_extract(w.value, '$[1]')",
        "FROM (SELECT value FROM jsonb_array_elements(%(keys)s::jsonb)) AS w JOIN u "
        "ON u.name = (w.value ->> 0) AND u.id = (w.value ->> 1)::bigint",
    ),
    ("SELECT a FROM (SELECT a FROM t)", "SELECT a FROM (SELECT a FROM t) AS nameless0"),
    ("FROM (SELECT (1)) AS x, (SELECT 2) WHERE 1", "FROM (SELECT (1)) AS x, (SELECT 2) WHERE 1"),
]


@pytest.mark.parametrize(("sqlite", "own"), RULES)
def test_a_statement_is_translated_by_rules(sqlite: str, own: str) -> None:
    assert translated(sqlite).text == own


def test_each_subquery_gets_a_name_of_its_own() -> None:
    text = translated("SELECT x FROM (SELECT 1 AS x FROM (SELECT 2 AS y) LIMIT 1) WHERE x").text
    assert (
        text == "SELECT x FROM (SELECT 1 AS x FROM (SELECT 2 AS y) AS nameless1 LIMIT 1) AS nameless0 WHERE x"
    )


def test_a_statement_without_an_end_is_a_bug() -> None:
    with pytest.raises(ValueError, match="has no end"):
        translated("SELECT a FROM (SELECT 1")


def test_jobs_in_bulk_are_rows_of_a_list_whose_values_say_their_types() -> None:
    text = translated(of_jobs.INSERT_BULK).text
    assert "%(timeout)s::double precision" in text
    assert "jsonb_array_elements(%(rows)s::jsonb) WITH ORDINALITY" in text
    assert "json_each" not in text


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ('["a\\u0000b"]', '["a\\ufffdb"]'),
        ('["\\ud800"]', '["?"]'),
        ('["\\ud83d\\ude00"]', '["\\ud83d\\ude00"]'),
        ("[9223372036854775808, 1]", "[null, 1]"),
        ('{"a\\u0000": [[-9223372036854775808]]}', '{"a\\ufffd": [[-9223372036854775808]]}'),
    ],
)
def test_a_list_has_nothing_that_no_column_can_have(given: str, read: str) -> None:
    assert readable(given) == read
    statement = translated("SELECT value FROM json_each(:ids)")
    assert statement.given({"ids": given, "other": given}) == {"ids": read, "other": given}


def test_a_list_of_what_is_usual_is_passed_on_as_it_is() -> None:
    statement = translated("SELECT value FROM json_each(:ids)")
    given = {"ids": "[1,2]"}
    assert statement.given(given) is given
