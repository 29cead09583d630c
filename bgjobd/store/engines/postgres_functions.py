"""Functions of SQLite's, and of ours, that PostgreSQL lacks: made with the schema, so that one text serves both.

A text that is no instant, or no JSON, is an answer here and no error, as it is there.
"""

from __future__ import annotations

from typing import Final

_IDS_LOCK: Final = 0x62676A6F03
"""Advisory, for as long as ids are taken: the transaction need not end for that."""

COUNTING: Final = (
    f"""
    CREATE FUNCTION take_ids(counter text, count bigint) RETURNS bigint LANGUAGE plpgsql AS $$
    DECLARE taken bigint;
    BEGIN
        IF count < 1 THEN RETURN 0; END IF;
        PERFORM pg_advisory_lock({_IDS_LOCK});
        taken := nextval(counter::regclass);
        IF count > 1 THEN PERFORM setval(counter::regclass, taken + count - 1); END IF;
        PERFORM pg_advisory_unlock({_IDS_LOCK});
        RETURN taken - 1;
    END $$
    """,
    f"""
    CREATE FUNCTION give_back_ids(counter text, last_used bigint, last_taken bigint) RETURNS void
        LANGUAGE plpgsql AS $$
    DECLARE newest bigint;
    BEGIN
        PERFORM pg_advisory_lock({_IDS_LOCK});
        EXECUTE format('SELECT last_value FROM %I', counter) INTO newest;
        IF newest = last_taken THEN
            PERFORM setval(counter::regclass, greatest(last_used, 1), last_used > 0);
        END IF;
        PERFORM pg_advisory_unlock({_IDS_LOCK});
    END $$
    """,
)
"""Ids: the one before so many that nobody else has, and are newer than all that were given before; and those back that
came to nothing, unless others were given since.
"""

_PURE: Final = "IMMUTABLE PARALLEL SAFE"

_LESSER_AND_GREATER: Final = tuple(
    f"""
    CREATE FUNCTION {name}(a {type}, b {type}) RETURNS {type} LANGUAGE sql {_PURE}
        AS $$ SELECT CASE WHEN a IS NULL OR b IS NULL THEN NULL WHEN a {compared} b THEN a ELSE b END $$
    """
    for name, compared in (("min", "<="), ("max", ">="))
    for type in ("bigint", "double precision", "text")
)
"""min() and max() of two, which are NULL where one of them is."""

_LIKE_AN_INSTANT: Final = "'^\\d{4}-\\d\\d-\\d\\dT'"
"""For PostgreSQL `tomorrow` is an instant, too."""

_INSTANT: Final = '\'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\''

FUNCTIONS: Final = (
    *_LESSER_AND_GREATER,
    f"""
    CREATE FUNCTION count_true(sum bigint, is_so boolean) RETURNS bigint LANGUAGE sql {_PURE}
        AS $$ SELECT sum + CASE WHEN is_so THEN 1 ELSE 0 END $$
    """,
    "CREATE AGGREGATE sum(boolean) (SFUNC = count_true, STYPE = bigint, INITCOND = '0')",
    "CREATE AGGREGATE total(boolean) (SFUNC = count_true, STYPE = bigint, INITCOND = '0')",
    f"""
    CREATE FUNCTION instr(haystack text, needle text) RETURNS bigint LANGUAGE sql {_PURE}
        AS $$ SELECT strpos(haystack, needle)::bigint $$
    """,
    f"""
    CREATE FUNCTION round(number double precision, digits bigint) RETURNS double precision LANGUAGE sql {_PURE}
        AS $$ SELECT round(number::numeric, digits::integer)::double precision $$
    """,
    # In days, from whenever: only differences are asked for.
    """
    CREATE FUNCTION julianday(at text) RETURNS double precision LANGUAGE sql IMMUTABLE
        AS $$ SELECT extract(epoch FROM at::timestamptz)::double precision / 86400 $$
    """,
    """
    CREATE FUNCTION strftime(format text, at text) RETURNS text LANGUAGE sql STABLE
        AS $$ SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS') $$
    """,
    """
    CREATE FUNCTION json_valid(given text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
    DECLARE brackets text; depth integer := 0;
    BEGIN
        PERFORM given::json;
        brackets := regexp_replace(given, '"(?:\\\\.|[^"\\\\])*"|[^][{}]', '', 'g');
        IF length(brackets) <= 2000 THEN RETURN true; END IF;
        FOR place IN 1..length(brackets) LOOP
            depth := depth + CASE WHEN substr(brackets, place, 1) IN ('[', '{') THEN 1 ELSE -1 END;
            IF depth > 1000 THEN RETURN false; END IF;
        END LOOP;
        RETURN true;
    EXCEPTION WHEN OTHERS THEN RETURN false;
    END $$
    """,
    f"""
    CREATE FUNCTION json_type(given text) RETURNS text LANGUAGE sql {_PURE}
        AS $$ SELECT json_typeof(given::json) $$
    """,
    f"""
    CREATE FUNCTION shifted(at text, seconds double precision) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
    DECLARE moved double precision; days integer;
    BEGIN
        IF at !~ {_LIKE_AN_INSTANT} OR seconds IS NULL THEN RETURN at; END IF;
        moved := extract(epoch FROM at::timestamptz)::double precision + seconds;
        moved := least(greatest(moved, -62135596800.0), 253402300799.0);
        days := floor(moved / 86400);  -- apart, for with all of them a number has too few digits for microseconds
        RETURN to_char(
            'epoch'::timestamp + make_interval(days => days, secs => moved - days * 86400.0), {_INSTANT});
    EXCEPTION WHEN OTHERS THEN RETURN at;
    END $$
    """,
    f"""
    CREATE FUNCTION seconds_between(first text, last text) RETURNS double precision LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN
        IF first !~ {_LIKE_AN_INSTANT} OR last !~ {_LIKE_AN_INSTANT} THEN RETURN NULL; END IF;
        RETURN extract(epoch FROM last::timestamptz)::double precision
            - extract(epoch FROM first::timestamptz)::double precision;
    EXCEPTION WHEN OTHERS THEN RETURN NULL;
    END $$
    """,
    # As str.casefold() does it, but for few letters of few scripts.
    f"""
    CREATE FUNCTION fold(given text) RETURNS text LANGUAGE sql {_PURE}
        AS $$ SELECT replace(replace(lower(given COLLATE "{{folding}}"), 'ß', 'ss'), 'ς', 'σ') $$
    """,
    # So that nothing is found that goes from one value, or name, to the next.
    f"""
    CREATE FUNCTION in_lines(json text) RETURNS text LANGUAGE sql {_PURE}
        AS $$ SELECT regexp_replace(json, '("(?:\\\\.|[^"\\\\])*")|[,:]', E'\\\\1\\n', 'g') $$
    """,
    """
    CREATE FUNCTION has_value(parameters text, sensitive text, more text, as_json text) RETURNS boolean
        LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN
        RETURN EXISTS (
            SELECT 1 FROM json_each(parameters::json) AS e
            WHERE strpos(fold(in_lines(e.value::text)), as_json) > 0
                AND NOT coalesce(sensitive, '[]')::jsonb ? e.key AND NOT coalesce(more, '[]')::jsonb ? e.key);
    EXCEPTION WHEN OTHERS THEN RETURN false;
    END $$
    """,
)
