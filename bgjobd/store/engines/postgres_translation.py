"""SQLite's statements as PostgreSQL has them: text to text, by few rules; what no rule has is stored beside it whole.

The functions that PostgreSQL lacks (`instr`, `json_valid`, max() of two) are made with the schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from bgjob.words import INT_MAX, INT_MIN
from bgjobd.store.engines.postgres_statements import FRAGMENTS, WHOLE

NO_NUL: Final = "\ufffd"
"""What is stored for a NUL, which PostgreSQL's texts cannot have."""

_LITERAL: Final = re.compile(r"'(?:[^']|'')*'")
_KEPT: Final = re.compile(r"\x01(\d+)\x01")
_INDEX: Final = re.compile(r"\s+(?:NOT INDEXED|INDEXED BY \w+)")
_OF_ANY_HOST: Final = re.compile(r"\s+INDEXED BY (?:jobs_ready|jobs_of_class)\s+WHERE\b")
"""What these have is for any host: those who ask for one have an index of their own."""
_EXTRACT: Final = re.compile(r"(\b(?:id|job_id|number) = )?json_extract\((\w+)\.value, \x01(\d+)\x01\)")
_LIST: Final = re.compile(r"json_each\(:(\w+)\)(?: AS \"?(\w+)\"?)?")
_KEY_OF_LIST: Final = re.compile(r"SELECT key FROM json_each|json_each\(:(\w+)\) WHERE key =")
_CROSS: Final = re.compile(r"CROSS JOIN (\"?\w+\"?(?: AS \"?\w+\"?)?)\s+ON\b")
_IS_NOT: Final = re.compile(r"\bIS NOT (?!NULL\b|DISTINCT\b|true\b)")
_IS: Final = re.compile(r"\bIS (?!NOT\b|NULL\b|DISTINCT\b|true\b)")
_BYTES: Final = re.compile(r"length\(CAST\((.+?) AS BLOB\)\)")
_GLOB: Final = re.compile(r"\bGLOB \x01(\d+)\x01")
_NAMED: Final = re.compile(r"(?<!:):([a-z]\w*)")
_SUBQUERY: Final = re.compile(r"\b(?:FROM|JOIN)\s*\((?=\s*(?:SELECT|WITH)\b)")
_HAS_ALIAS: Final = re.compile(r"\s*(?:AS\b|(?!WHERE|LIMIT|ORDER|GROUP|UNION|ON\b|LEFT|CROSS|JOIN)\w)")

_SUSPECT: Final = re.compile(r"\\u0000|\\u[dD][89a-fA-F]|\d{19}")
"""What a JSON text may have, and no jsonb, or no bigint; that it has it for sure is found by reading it."""


@dataclass(frozen=True, slots=True)
class Translated:
    """A statement of PostgreSQL's, and which of its values are lists, as JSON text."""

    text: str
    lists: tuple[str, ...]

    def given(self, values: Any) -> Any:
        """The values as this statement can take them."""
        if not self.lists or not isinstance(values, Mapping):
            return values
        changed = {
            name: readable(values[name])
            for name in self.lists
            if isinstance(values[name], str) and _SUSPECT.search(values[name])
        }
        return {**values, **changed} if changed else values


@lru_cache(maxsize=2048)
def translated(sql: str) -> Translated:
    """The statement for psycopg, with its own placeholders."""
    sql = WHOLE.get(sql, sql)
    for fragment, own in FRAGMENTS.items():
        sql = sql.replace(fragment, own)
    literals: list[str] = []
    text = _LITERAL.sub(lambda found: _keep(found.group(), literals), sql)
    lists = tuple(dict.fromkeys(name for name, _ in _LIST.findall(text)))
    text = _OF_ANY_HOST.sub(" WHERE host_wanted IS NULL AND", text)
    text = _INDEX.sub("", text)
    text = _with_lists(text, literals)
    text = _CROSS.sub(r"JOIN \1 ON", text)
    text = _IS_NOT.sub("IS DISTINCT FROM ", text)
    text = _IS.sub("IS NOT DISTINCT FROM ", text)
    text = _BYTES.sub(r"octet_length(\1)", text)
    text = _GLOB.sub(lambda found: f"LIKE {_keep(_like(literals[int(found.group(1))]), literals)}", text)
    text = _with_aliases(text)
    text = text.replace("%", "%%").replace("?", "%s")
    text = _NAMED.sub(r"%(\1)s", text)
    return Translated(_KEPT.sub(lambda found: literals[int(found.group(1))].replace("%", "%%"), text), lists)


def readable(text: str) -> str:
    """A list, or an object, of JSON as jsonb can read it, whose numbers are no larger than any that are stored."""
    return json.dumps(_readable(json.loads(text)))


def _readable(value: Any) -> Any:
    match value:
        case str():
            return value.replace("\0", NO_NUL).encode("utf-8", "replace").decode()
        case int() if not INT_MIN <= value <= INT_MAX:
            return None
        case list():
            return [_readable(one) for one in value]
        case dict():
            return {_readable(name): _readable(one) for name, one in value.items()}
    return value


def _keep(literal: str, literals: list[str]) -> str:
    literals.append(literal)
    return f"\x01{len(literals) - 1}\x01"


def _like(pattern: str) -> str:
    """The literal of a pattern of GLOB's, whose only special sign is `*`, as one of LIKE's."""
    return re.sub(r"([%_\\])", r"\\\1", pattern).replace("*", "%")


def _with_lists(text: str, literals: list[str]) -> str:
    """The elements of a list in JSON as rows: of numbers where it is one of ids, else of texts, or of lists."""
    nested = {alias for _, alias, _ in _EXTRACT.findall(text)}
    text = _EXTRACT.sub(lambda found: _element(found[1], found[2], found[3], literals), text)
    if _KEY_OF_LIST.search(text):
        return _LIST.sub(
            lambda found: f"jsonb_each_text(:{found[1]}::jsonb) AS {found[2] or 'json_each'}", text
        )

    def as_rows(found: re.Match[str]) -> str:
        name, alias = found.groups()
        alias = alias or "json_each"
        if alias in nested:
            return f"(SELECT value FROM jsonb_array_elements(:{name}::jsonb)) AS {alias}"
        value = "value::bigint AS value" if name.endswith("ids") else "value"
        return f"(SELECT {value} FROM jsonb_array_elements_text(:{name}::jsonb)) AS {alias}"

    return _LIST.sub(as_rows, text)


def _element(compared: str | None, alias: str, place: str, literals: list[str]) -> str:
    """An element of a list in a list: a text, but where it is compared with an id, or a number."""
    number = literals[int(place)].strip("'$[]")
    element = f"({alias}.value ->> {number})"
    return f"{compared}{element}::bigint" if compared else element


def _with_aliases(text: str) -> str:
    """Each subquery that rows are taken from has a name, as PostgreSQL before 16 wants it."""
    inserted = sorted(_ends_without_alias(text), reverse=True)
    for number, end in enumerate(inserted):
        text = f"{text[:end]} AS nameless{number}{text[end:]}"
    return text


def _ends_without_alias(text: str) -> Iterator[int]:
    for found in _SUBQUERY.finditer(text):
        end = _end_of(text, found.end())
        if not _HAS_ALIAS.match(text, end):
            yield end


def _end_of(text: str, start: int) -> int:
    """Behind the parenthesis that ends what begins here."""
    depth = 1
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place + 1
    raise ValueError(f"a statement has no end to a parenthesis: {text}")
