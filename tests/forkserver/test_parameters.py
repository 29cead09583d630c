"""What the annotations of a method make of JSON values: what its schema takes and refuses, and what the method gets."""

from __future__ import annotations

import datetime
import enum
import json
import re
import subprocess
import sys
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, NotRequired, TypeVar

import jsonschema_rs
import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints
from typing_extensions import TypedDict

from bgjobd.forkserver.class_rules import own_parameters
from bgjobd.forkserver.describe import describe
from bgjobd.forkserver.outcomes import InvalidParameters
from bgjobd.forkserver.parameters import adapter, coerced, foreign_names, needs_coercion


class Color(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    on: datetime.date


class Line(BaseModel):
    model_config = ConfigDict(strict=True)

    ends: list[Point]
    id: uuid.UUID


class Tree(BaseModel):
    below: list[Tree] = []


class Options(TypedDict):
    depth: int
    tags: NotRequired[list[str]]


class Dated(TypedDict):
    on: datetime.date


class Folder(TypedDict):
    names: dict[str, str | None]
    below: list[Folder]


class Unreadable(TypedDict):
    on: Unknown  # type: ignore[name-defined]  # noqa: F821  # nobody can read it


Number = NewType("Number", int)
Day = NewType("Day", datetime.date)
T = TypeVar("T")
Whole = TypeVar("Whole", bound=int)
Latest = TypeVar("Latest", bound=datetime.date)
TextOrDay = TypeVar("TextOrDay", str, datetime.date)


@dataclass(frozen=True)
class Row:
    annotation: Any
    takes: list[Any]
    refuses: list[Any] = field(default_factory=list)
    gives: Any = None  # what the first of `takes` becomes
    coerces: bool = True

    def __str__(self) -> str:
        return re.sub(" at 0x[0-9a-f]+", "", str(self.annotation))  # the same in each process


UTC = datetime.UTC
ID = uuid.UUID("12345678-1234-5678-1234-567812345678")
ROWS = [
    Row(datetime.date, ["2024-12-04"], ["4.12.2024", "2024-13-01", 5], datetime.date(2024, 12, 4)),
    Row(
        datetime.datetime,
        ["2024-12-04T10:00:00Z", "2024-12-04T10:00:00.5+02:00"],
        ["2024-12-04T10:00:00", "2024-12-04", "now", 5],  # RFC 3339 wants an offset
        datetime.datetime(2024, 12, 4, 10, tzinfo=UTC),
    ),
    Row(datetime.time, ["10:00:00Z"], ["10:00:00", "25:00:00Z"], datetime.time(10, tzinfo=UTC)),
    Row(datetime.timedelta, ["PT90S", "P1DT1H"], ["90", 90], datetime.timedelta(seconds=90)),
    Row(Decimal, ["1.10", 1.5, 2], [None, []], Decimal("1.10")),
    Row(uuid.UUID, [str(ID)], ["12345678", 5], ID),
    Row(Color, ["red"], ["blue", "RED"], Color.RED),
    Row(Path, ["/srv/x"], [5], Path("/srv/x")),
    Row(bytes, ["abc"], [5], b"abc"),
    Row(set[int], [[1, 2]], [[1, 1], ["x"]], {1, 2}),
    Row(tuple[int, str], [[1, "a"]], [[1], [1, "a", 2], ["a", 1]], (1, "a")),
    Row(dict[int, str], [{"1": "a"}], [{"1": 1}], {1: "a"}),
    Row(
        Point,
        [{"x": 1, "on": "2024-12-04"}],
        [{"x": 1}, {"x": "a", "on": "2024-12-04"}, {"x": 1, "on": "x"}],
        Point(1, datetime.date(2024, 12, 4)),
    ),
    Row(
        Line,
        [{"ends": [{"x": 1, "on": "2024-12-04"}], "id": str(ID)}],
        [{"ends": [{"x": 1}], "id": str(ID)}, {"ends": []}, {"ends": [], "id": "x"}],
        Line(ends=[Point(1, datetime.date(2024, 12, 4))], id=ID),
    ),
    Row(Tree, [{"below": [{}]}], [{"below": [{"below": 5}]}], Tree(below=[Tree()])),
    Row(Dated, [{"on": "2024-12-04"}], [{}, {"on": 1}], {"on": datetime.date(2024, 12, 4)}),
    Row(SecretStr, ["hunter2"], [5], SecretStr("hunter2")),
    Row(datetime.date | None, ["2024-12-04", None], ["x"], datetime.date(2024, 12, 4)),
    Row(Annotated[str, StringConstraints(strip_whitespace=True)], [" a "], [5], "a"),
    Row(Annotated[int, AfterValidator(lambda n: n + 1)], [1], ["1"], 2),
    Row(Annotated[int | str, Field(union_mode="left_to_right")], ["1"], [None], 1),
    # Of these JSON has the type itself, so that no attempt needs pydantic.
    Row(str, ["a"], [1, None], "a", coerces=False),
    Row(int, [1], ["1", 1.5, True], 1, coerces=False),
    Row(float, [1.5, 1], ["1"], 1.5, coerces=False),
    Row(bool, [True], [1, "true"], True, coerces=False),
    Row(None, [None], [0], None, coerces=False),
    Row(Any, ["a", None, {}], [], "a", coerces=False),
    Row(object, [1], [], 1, coerces=False),
    Row(int | None, [1, None], ["1"], 1, coerces=False),
    Row(int | str, ["1", 1], [None], "1", coerces=False),
    Row(list, [[1]], [{}], [1], coerces=False),
    Row(dict, [{"a": 1}], [[]], {"a": 1}, coerces=False),
    Row(dict[str, list[int]], [{"a": [1]}], [{"a": ["x"]}], {"a": [1]}, coerces=False),
    Row(Literal["a", 1, None], ["a", 1, None], ["b", 2], "a", coerces=False),
    Row(Annotated[int, Field(gt=0)], [1], [0], 1, coerces=False),
    Row(Annotated[str, StringConstraints(min_length=1)], ["a"], [""], "a", coerces=False),
    Row(Annotated[int, "a remark"], [1], ["1"], 1, coerces=False),
    Row(Number, [1], ["1"], 1, coerces=False),
    Row(Options, [{"depth": 1, "tags": []}], [{}, {"depth": "x"}], {"depth": 1, "tags": []}, coerces=False),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_schema_takes_what_the_annotation_means_and_nothing_else(row: Row) -> None:
    described = described_method(taking(row.annotation))
    validator = jsonschema_rs.validator_for(described["schema"], validate_formats=True)
    assert described["note"] is None
    assert [value for value in row.takes if not validator.is_valid({"value": value})] == []
    assert [value for value in row.refuses if validator.is_valid({"value": value})] == []
    assert not validator.is_valid({})


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_values_become_what_the_annotation_says(row: Row) -> None:
    got = coerced(adapter(taking(row.annotation), (), whole=False), {"value": row.takes[0]})["value"]
    assert (type(got), got) == (type(row.gives), row.gives)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_every_value_that_the_schema_takes_can_be_coerced(row: Row) -> None:
    for value in row.takes:
        assert "value" in coerced(adapter(taking(row.annotation), (), whole=False), {"value": value})


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_only_what_json_lacks_needs_coercion(row: Row) -> None:
    assert described_method(taking(row.annotation))["coerce"] is row.coerces


def test_names_that_pydantic_keeps_for_itself_are_names_like_any_other() -> None:
    def method(self: object, schema: int, _x: datetime.date, model_config: str, json: int = 1) -> None: ...

    values = {"schema": 1, "_x": "2024-12-04", "model_config": "a"}
    assert coerced(adapter(method, (), whole=False), values) == {
        "schema": 1,
        "_x": datetime.date(2024, 12, 4),
        "model_config": "a",
        "json": 1,
    }


def test_keywords_of_any_name_have_the_type_that_they_are_annotated_with() -> None:
    def method(self: object, first: int, /, *rest: int, on: str = "", **days: datetime.date) -> None: ...

    def closed(self: object, on: str = "") -> None: ...

    open_schema, closed_schema = (adapter(f, (), False).json_schema() for f in (method, closed))
    assert jsonschema_rs.is_valid(open_schema, {"a": "2024-12-04"}, validate_formats=True)
    assert not jsonschema_rs.is_valid(open_schema, {"a": "x"}, validate_formats=True)
    assert not jsonschema_rs.is_valid(closed_schema, {"a": "2024-12-04"})
    assert coerced(adapter(method, (), whole=False), {"a": "2024-12-04"})["a"] == datetime.date(2024, 12, 4)


@pytest.mark.parametrize(
    ("annotation", "is_foreign"),
    [
        *((one, False) for one in (Any, None, str, int, float, bool, object, list, dict, Number, Options)),
        *((one, False) for one in (int | None, list[str], dict[str, Any], Mapping[str, list[int]])),
        *((one, False) for one in (Literal["a", 1], Annotated[int, Field(ge=1)], "str | None", "Unknown")),
        *(
            (one, True)
            for one in (datetime.date, Decimal, uuid.UUID, Color, Point, Path, bytes, tuple, set[int])
        ),
        *((one, False) for one in (T, list[Whole], Folder, Unreadable)),
        *((one, True) for one in (Dated, list[Dated], Day, dict[str, Day], Latest, TextOrDay)),
        *((one, True) for one in (datetime.date | None, list[Point], dict[str, Color], "list[uuid.UUID]")),
    ],
    ids=repr,
)
def test_what_json_has_not_takes_somebody_who_converts(annotation: Any, is_foreign: bool) -> None:
    def method(self: object, plain: int, value: Any, given: Any) -> None: ...

    method.__annotations__ |= {"value": annotation, "given": datetime.date}
    assert foreign_names(method, ["given"]) == (["value"] if is_foreign else [])


def test_defaults_stay_what_the_method_says() -> None:
    default = object()

    def method(self: object, on: datetime.date, other: Any = default) -> None: ...

    assert coerced(adapter(method, (), whole=False), {"on": "2024-12-04"})["other"] is default


def test_a_default_that_only_pydantic_knows_is_filled_in_by_it() -> None:
    four = Field(default=4)

    def method(self: object, a: Annotated[int, Field(default=3)], b: Any = four) -> None: ...

    assert needs_coercion(method, (), adapter(method, (), False))
    assert coerced(adapter(method, (), whole=False), {}) == {"a": 3, "b": 4}


def test_a_parameter_with_an_alias_is_given_by_the_alias() -> None:
    def method(self: object, sender: Annotated[str, Field(alias="from")]) -> None: ...

    assert needs_coercion(method, (), adapter(method, (), False))
    assert coerced(adapter(method, (), whole=False), {"from": "me"}) == {"sender": "me"}


def test_contexts_are_neither_validated_nor_answered() -> None:
    def method(self: object, on: datetime.date, context: Callable[[], None]) -> None: ...

    assert coerced(adapter(method, ("context",), whole=False), {"on": "2024-12-04"}) == {
        "on": datetime.date(2024, 12, 4)
    }


def test_what_the_method_returns_need_not_be_known_while_it_runs() -> None:
    def method(self: object, on: datetime.date) -> Unknown: ...  # type: ignore[name-defined]  # noqa: F821

    assert coerced(adapter(method, (), whole=False), {"on": "2024-12-04"}) == {
        "on": datetime.date(2024, 12, 4)
    }


@pytest.mark.parametrize(
    ("annotation", "gives"),
    [
        (Line, Line(ends=[], id=ID)),
        (Mapping[str, Any], {"ends": [], "id": str(ID)}),
        (Any, {"ends": [], "id": str(ID)}),
    ],
)
def test_a_method_that_takes_the_whole_mapping_gets_it_as_annotated(annotation: Any, gives: Any) -> None:
    method = taking(annotation, name="params")
    assert coerced(adapter(method, (), whole=True), {"ends": [], "id": str(ID)}) == gives


def test_values_that_no_schema_can_tell_apart_are_refused_by_name_and_reason() -> None:
    def method(self: object, amount: Decimal, lines: list[Point]) -> None: ...

    with pytest.raises(InvalidParameters) as refusal:
        coerced(adapter(method, (), whole=False), {"amount": "much", "lines": [{"x": 1, "on": "0000-01-01"}]})
    text = str(refusal.value)
    assert text.startswith(
        "amount: Input should be a valid decimal; lines.0.on: Input should be a valid date"
    )


def test_a_refusal_shows_no_value_anywhere() -> None:
    def method(self: object, token: SecretStr, number: Decimal) -> None: ...

    values = {"token": 12345, "number": "hunter2"}
    with pytest.raises(InvalidParameters) as refusal:
        coerced(adapter(method, (), whole=False), values)
    # The first frame is this test, whose lines show the values themselves.
    refusal.value.__traceback__ = refusal.tb.tb_next
    shown = "".join(traceback.format_exception(refusal.value))
    assert "token: " in shown
    assert "hunter2" not in shown
    assert "12345" not in shown
    assert refusal.value.__context__ is None


def test_of_very_many_problems_only_the_first_are_told() -> None:
    with pytest.raises(InvalidParameters) as refusal:
        coerced(adapter(taking(list[int]), (), whole=False), {"value": ["x"] * 1000})
    assert str(refusal.value).count("valid integer") == 20
    assert str(refusal.value).endswith("; and 980 more")


def test_the_parameters_are_those_behind_self() -> None:
    assert [p.name for p in own_parameters(taking(int))] == ["value"]


def test_nobody_pays_for_pydantic_by_importing_this_module() -> None:
    code = "import sys, bgjobd.forkserver.parameters; print('pydantic' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed == "False\n"


def taking(annotation: Any, name: str = "value") -> Callable[..., Any]:
    """A method with one required parameter."""
    scope: dict[str, Any] = {"annotation": annotation}
    exec(f"class Some:\n    def method(self, {name}: annotation): ...", scope)
    method: Callable[..., Any] = scope["Some"].method
    return method


def described_method(function: Callable[..., Any]) -> dict[str, Any]:
    """The function described as the method of a class."""
    cls = type("Job", (), {"method": function})
    function.__module__, function.__qualname__ = cls.__module__, "Job.method"
    described: dict[str, Any] = describe(cls, None)["methods"]["method"]
    assert json.loads(json.dumps(described)) == described
    return described
