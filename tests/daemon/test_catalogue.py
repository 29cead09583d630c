"""What is told of parameters that do not fit their schema: soon, whatever they are, and without secrets."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from bgjob.errors import InvalidParametersError
from bgjobd.config.loading import load
from bgjobd.config.sections import Config
from bgjobd.daemon import validator
from bgjobd.daemon.catalogue import Catalogue

Told = list[tuple[str, str]]
Judge = Callable[..., Told]

_NO_FORM = "is not valid under any of the schemas listed in the 'anyOf' keyword"
_TERM = {"anyOf": [{"$ref": "#/$defs/Sum"}, {"$ref": "#/$defs/Product"}, {"type": "integer"}]}


def _operation(name: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"left": _TERM, "by": {"const": name}},
        "required": ["left", "by"],
    }


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """Path and message of each problem that parameters have with the schemas of their method."""
    config = tmp_path / "bgjobd.toml"
    config.write_text("[approved]\n'a.Job' = {}\n")

    def told(
        schemas: dict[str, Any],
        parameters: dict[str, Any],
        sensitive: tuple[str, ...] = (),
        taken: Sequence[tuple[str, ...]] = ((),),
        **more: Any,
    ) -> Told:
        schema = {"type": "object", "properties": schemas, "additionalProperties": False, **more}
        method = {
            "schema": schema,
            "names": list(schemas),
            "sensitive": list(sensitive),
            "plain": None,
            "bare_context": False,
            "unconverted": [],
        }
        described = {"unavailable": None, "attributes": {}, "methods": {"run": method}}
        catalogue = Catalogue(load(config, {}, is_root=False), {"a.Job": described}, "")
        problems: Told = []
        for names in taken:
            try:
                catalogue.check("a.Job", "run", parameters, names)
            except InvalidParametersError as error:
                problems += [(one["path"], one["message"]) for one in error.parameters["problems"]]
        return problems

    return told


def test_a_value_whose_forms_may_have_each_other_in_them_is_judged_at_once(judge: Judge) -> None:
    value: object = "no number"
    for _ in range(14):
        value = {"left": value, "by": "sum"}
    began_at = time.process_time()
    ((path, message),) = judge(
        {"term": _TERM},
        {"term": value},
        **{"$defs": {"Sum": _operation("sum"), "Product": _operation("product")}},
    )
    assert time.process_time() - began_at < 0.5  # seven levels more took a thousand times as long
    assert path == "term"
    assert message.endswith(_NO_FORM)


def test_of_many_values_the_first_that_does_not_fit_is_told(judge: Judge) -> None:
    numbers = {"numbers": {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}}
    assert judge(numbers, {"numbers": [1] * 300}) == []
    assert judge(numbers, {"numbers": [1] * 300 + [[], {}]}) == [("numbers/300", f"[] {_NO_FORM}")]


def test_of_very_many_values_the_parameter_is_told_that_holds_what_does_not_fit(judge: Judge) -> None:
    texts = {"type": "array", "items": {"type": "string"}}
    told = judge(
        {"names": texts, "others": texts, "count": {"type": "integer"}},
        {"names": ["x"] * 5000, "others": ["x"] * 5000 + [1], "count": "x", "strange": 1},
    )
    assert sorted(told) == [
        ("", "no parameter is called 'strange'"),
        ("count", '"x" is not of type "integer"'),
        ("others", "something in it does not fit"),
    ]


def test_a_name_that_is_not_known_is_told_at_once_however_much_it_holds(judge: Judge) -> None:
    began_at = time.process_time()
    told = judge({}, {"value": [1] * 1_000_000})
    assert told == [("", "no parameter is called 'value'")]
    assert time.process_time() - began_at < 0.5


def test_a_name_that_is_nearly_one_is_told_with_that_one(judge: Judge) -> None:
    told = judge({"recipient": {"type": "string"}, "subject": {}}, {"recipent": "a", "sbject": "b"})
    (message,) = (message for path, message in told if path == "")
    assert message.endswith("; did you mean recipient or subject?")
    inner = {"to": {"type": "object", "properties": {"name": {}}, "additionalProperties": False}}
    assert judge(inner, {"to": {"nam": 1}}) == [
        ("to", "Additional properties are not allowed ('nam' was unexpected)")
    ], "that is no parameter"


def test_of_few_values_each_that_does_not_fit_is_told_with_its_place(judge: Judge) -> None:
    numbers = {"numbers": {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}}
    assert judge(numbers, {"numbers": [[], 1, {}]}) == [
        ("numbers/0", f"[] {_NO_FORM}"),
        ("numbers/2", f"{{}} {_NO_FORM}"),
    ]


def test_what_must_fit_one_form_alone_says_so(judge: Judge) -> None:
    either = {"number": {"oneOf": [{"minimum": 1}, {"maximum": 5}]}}
    assert judge(either, {"number": 9}) == []
    told = "3 is not valid under exactly one of the schemas listed in the 'oneOf' keyword"
    assert judge(either, {"number": 3}) == [("number", told)]


def test_where_there_are_secrets_no_value_is_quoted(judge: Judge) -> None:
    values = {name: {"anyOf": [{"type": "integer"}, {"type": "null"}]} for name in ("key", "id")}
    told = judge(values, {"key": "hunter2", "id": "hunter2 again"}, ("key",))
    assert sorted(told) == [("id", f"*** {_NO_FORM}"), ("key", "does not fit")]


def test_forms_that_refer_to_elsewhere_are_judged_all_the_same(judge: Judge) -> None:
    referring = {"a": {"type": "integer"}, "b": {"anyOf": [{"$ref": "#/properties/a"}, {"type": "null"}]}}
    assert judge(referring, {"a": 1, "b": 2}) == []
    assert judge(referring, {"a": 1, "b": "text"}) == [("", "something does not fit")]


# What is taken of results

ROWS = {"rows": {"type": "array"}, "title": {"type": "string"}, "limit": {"type": "integer"}}
REQUIRED = ["rows", "title"]


@pytest.mark.parametrize(
    ("parameters", "taken", "told"),
    [
        ({"title": "a"}, ("rows",), []),
        ({}, ("title", "rows"), []),
        ({}, ("rows",), [("", '"title" is a required property')]),
        ({"rows": []}, ("rows", "title"), [("rows", "is to be taken from a result, and is given, too")]),
        (
            {"title": "a"},
            ("rows", "other"),
            [("other", "is to be taken, and there is no such parameter")],
        ),
        ({"title": "a", "limit": "x"}, ("rows",), [("limit", '"x" is not of type "integer"')]),
        (
            {"title": "a", "x": 1},
            ("rows",),
            [("", "no parameter is called 'x'")],
        ),
    ],
)
def test_what_is_not_taken_has_to_be_given_and_to_fit(
    judge: Judge, parameters: dict[str, Any], taken: tuple[str, ...], told: Told
) -> None:
    assert judge(ROWS, parameters, taken=[taken], required=REQUIRED) == told


def test_who_takes_ever_other_parameters_has_no_schema_compiled_for_each(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of a method with many models took 300 ms each, of the loop's time."""
    models = {f"M{n}": {"properties": {f"p{m}": _TERM for m in range(20)}} for n in range(10)}
    of_terms = {"Sum": _operation("sum"), "Product": _operation("product")}
    many = {f"a{n}": {"$ref": f"#/$defs/M{n % 10}"} for n in range(20)}
    subsets = [(f"a{n}", f"a{m}") for n in range(20) for m in range(n)]
    compiled = mock.Mock(wraps=validator._compiled)
    monkeypatch.setattr(validator, "_compiled", compiled)
    counts = []
    for taken in (subsets[:1], subsets):
        compiled.reset_mock()
        assert judge(many, {}, taken=taken, **{"$defs": {**models, **of_terms}}) == []
        counts.append(compiled.call_count)
    assert 0 < counts[0] == counts[1]


def test_methods_that_are_anothers_in_typed_calls_are_remarked(tmp_path: Path) -> None:
    config = tmp_path / "bgjobd.toml"
    config.write_text("[approved]\n'a.Job' = {}\n'a.Base' = {}\n")
    written = {"run": "a.Base", "end": "a.Base", "tell": "a._impl.Job", "own": "a.Job"}
    described = {"unavailable": None, "attributes": {}, "methods": {}, "written_in": written}
    base = {**described, "written_in": {}}
    catalogue = Catalogue(load(config, {}, is_root=False), {"a.Job": described, "a.Base": base}, "")
    by_name = "run_background_job, by name, the class's own"
    assert catalogue.remarks("a.Job") == [
        f"a.Job has end, run from a.Base: bgjob.submit submits that one's; {by_name}",
        f"a.Job has tell from a._impl.Job: bgjob.submit submits that one's, which is not approved; {by_name}",
    ]


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "integer"}, None),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None),
        ({}, None),
        ({"type": "array"}, "key of a.Job is customer, which is neither text nor an integer for run"),
        (
            {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "key of a.Job is customer, which is neither text",
        ),
    ],
)
def test_a_key_that_no_job_could_have_is_doubtful(
    tmp_path: Path, schema: dict[str, Any], told: str | None
) -> None:
    config, catalogue = keyed(tmp_path, {"customer": schema})
    assert catalogue.classes["a.Job"]["unavailable"] is None
    doubts = catalogue.doubts(config, "a.Job")
    assert doubts == [] if told is None else doubts[0].startswith(told)


def test_a_class_whose_key_is_of_what_no_method_takes_is_unavailable(tmp_path: Path) -> None:
    _, catalogue = keyed(tmp_path, {"custommer": {"type": "string"}})
    assert catalogue.classes["a.Job"]["unavailable"] == "key is customer, and no method has such a parameter"


@pytest.mark.parametrize("policy", ["key = 'customer'", "unique = ['customer']"])
def test_a_class_that_was_not_loaded_is_unavailable_for_that_and_not_for_its_keys(
    tmp_path: Path, policy: str
) -> None:
    file = tmp_path / "bgjobd.toml"
    file.write_text(f"[approved]\n'a.Job' = {{ {policy} }}\n")
    reason = "ModuleNotFoundError: No module named 'nonexistent'"
    described = {"unavailable": reason, "traceback": "Traceback …", "methods": {}, "hooks": []}
    catalogue = Catalogue(load(file, {}, is_root=False), {"a.Job": described}, "")
    assert catalogue.classes["a.Job"] == described
    assert catalogue.missing == {"a.Job": reason}


def keyed(directory: Path, schemas: dict[str, Any]) -> tuple[Config, Catalogue]:
    file = directory / "bgjobd.toml"
    file.write_text("[approved]\n'a.Job' = { key = 'customer' }\n")
    method = {
        "schema": {"type": "object", "properties": schemas},
        "names": list(schemas),
        "sensitive": [],
        "plain": None,
        "bare_context": False,
        "unconverted": [],
    }
    config = load(file, {}, is_root=False)
    described = {"unavailable": None, "attributes": {}, "methods": {"run": method}, "hooks": []}
    return config, Catalogue(config, {"a.Job": described}, "")
