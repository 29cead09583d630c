"""The forms of values that JSON has not: those that pydantic writes, takes at submit and gives back in the attempt."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections import deque
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import IPv4Interface, IPv4Network, IPv6Address, ip_interface, ip_network
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar
from uuid import UUID

import pydantic
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    RootModel,
    SecretBytes,
    SecretStr,
    SerializerFunctionWrapHandler,
    computed_field,
    field_serializer,
    model_serializer,
)
from pydantic_core import to_jsonable_python

from bgjob import codec, values
from bgjobd.daemon.validator import Validator
from bgjobd.forkserver.describe import describe
from bgjobd.forkserver.parameters import adapter, coerced


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 3


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    on: date
    near: tuple[Point, ...] = ()
    unit: ClassVar[str] = "m"


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    number: UUID
    paid_at: datetime = Field(alias="paidAt")
    points: list[Point] = []

    @computed_field  # type: ignore[prop-decorator]  # as pydantic has it
    @property
    def is_large(self) -> bool:
        return len(self.points) > 1


class Account(BaseModel):
    token: SecretStr
    since: date
    others: dict[str, list[SecretStr]] = {}
    spare: set[SecretStr] = set()
    inner: Account | None = None


@pydantic.dataclasses.dataclass
class Login:
    password: SecretStr
    on: date


DAY = date(2026, 1, 2)
ZONES = st.none() | st.integers(-23 * 60, 23 * 60).map(lambda least: timezone(timedelta(minutes=least)))
BEFORE_ZONES = timezone(timedelta(minutes=53, seconds=28))
INSTANTS = st.datetimes(timezones=ZONES)
POINTS = st.builds(
    Point, st.integers(0, 9), st.dates(), st.builds(Point, st.just(1), st.dates()).map(lambda p: (p,))
)
ORDERS = st.builds(Order, number=st.uuids(), paidAt=INSTANTS, points=st.lists(POINTS, max_size=2))
PATHS = st.text("ab./ é", min_size=1).map(Path)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=3) | st.integers().map(Decimal)
SPANS = st.timedeltas(timedelta(days=-4000), timedelta(days=4000))
NETWORKS = st.ip_addresses().map(ip_network)
LEAVES = st.one_of(
    *(
        st.dates(),
        INSTANTS,
        st.times(timezones=ZONES),
        st.uuids(),
        DECIMALS | st.decimals(allow_nan=False, allow_infinity=False),
        PATHS,
    ),
    *(SPANS | st.timedeltas(), st.ip_addresses(), NETWORKS, NETWORKS.map(ip_interface)),
    *(st.sampled_from(Color), st.sampled_from(Level), POINTS, ORDERS, st.none(), st.booleans(), st.text()),
)
KEYS = st.text().map("{}k".format) | st.dates() | st.uuids() | st.sampled_from(Color) | st.integers()
SOME = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.frozensets(st.dates() | st.integers() | st.sampled_from(Color), max_size=3)
        | st.sets(st.uuids(), max_size=3)
    ),
    max_leaves=8,
)


@given(SOME)
@example([datetime(2026, 1, 2, tzinfo=UTC), time(3, tzinfo=UTC)])
@example([datetime(1890, 1, 2, tzinfo=BEFORE_ZONES), time(3, tzinfo=timezone(-timedelta(seconds=90)))])
@example([timedelta(0), timedelta(days=365), timedelta(hours=-25), timedelta.max, timedelta.min])
def test_the_form_is_the_one_that_pydantic_writes(value: Any) -> None:
    assert in_any_order(read(values.plain(value))) == in_any_order(to_jsonable_python(value, round_trip=True))


TYPED: dict[Any, st.SearchStrategy[Any]] = {
    date: st.dates(),
    datetime: INSTANTS,
    time: st.times(timezones=ZONES),
    timedelta: SPANS,
    IPv6Address: st.ip_addresses(v=6),
    IPv4Network: st.ip_addresses(v=4).map(IPv4Network),
    IPv4Interface: st.ip_addresses(v=4).map(IPv4Interface),
    UUID: st.uuids(),
    Decimal: DECIMALS,
    Path: PATHS,
    Color: st.sampled_from(Color),
    Level: st.sampled_from(Level),
    Point: POINTS,
    Order: ORDERS,
    SecretStr: st.text().map(SecretStr),
    SecretBytes: st.text().map(str.encode).map(SecretBytes),
    set[date]: st.sets(st.dates(), max_size=3),
    dict[UUID, Decimal]: st.dictionaries(st.uuids(), DECIMALS, max_size=3),
    tuple[Color, Point | None]: st.tuples(st.sampled_from(Color), st.none() | POINTS),
}


@pytest.mark.parametrize("wanted", TYPED, ids=lambda one: getattr(one, "__name__", None))
def test_a_daemon_takes_it_and_gives_the_same_value_to_the_method(wanted: Any) -> None:
    def taking(self: Any, value: Any) -> None: ...

    taking.__annotations__["value"] = wanted
    is_taken = Validator(schema(taking), has_secrets=False).fits
    converter = adapter(taking, [], whole=False)

    @given(TYPED[wanted])
    def compare(value: Any) -> None:
        sent = read(values.plain({"value": value}))
        assert is_taken(sent)
        assert coerced(converter, sent) == {"value": value}

    compare()


@pytest.mark.parametrize(
    "value", [{1, 10, 2, 33}, frozenset("abcdef"), {Color.RED, Color.BLUE}, {date(2026, 1, 1), 3}]
)
def test_a_set_is_the_same_request_in_each_order(value: Any) -> None:
    backwards = type(value)(sorted(value, key=repr, reverse=True))
    assert codec.to_json(values.plain(value)) == codec.to_json(values.plain(backwards))


class Numbered(BaseModel, frozen=True):
    number: int


class Mixed(BaseModel):
    numbers: set[int]
    pairs: frozenset[tuple[int, int]]
    models: set[Numbered]


def test_sets_in_a_model_are_the_same_request_in_each_order() -> None:
    def mixed(*numbers: int) -> Mixed:
        models = {Numbered(number=one) for one in numbers}
        return Mixed(numbers=set(numbers), pairs=frozenset((one, 1) for one in numbers), models=models)

    told = values.plain([mixed(*range(0, 80, 8)), mixed(*range(72, -1, -8))])
    assert told[0] == told[1]
    assert Mixed.model_validate(told[0]) == mixed(*range(0, 80, 8))


def test_secrets_are_told_wherever_they_are() -> None:
    inner = Account(token=SecretStr("b"), since=DAY, spare={SecretStr("d"), SecretStr("c")})
    account = Account(token=SecretStr("a"), since=DAY, others={"x": [SecretStr("e")]}, inner=inner)
    told = values.plain([SecretStr("f"), Login("g", DAY), account])
    assert told[:2] == ["f", {"password": "g", "on": "2026-01-02"}]
    assert Account.model_validate(told[2]) == account
    assert told[2]["inner"]["spare"] == ["c", "d"]


class Tagged(BaseModel):
    token: SecretStr
    name: str = "n"

    @model_serializer(mode="wrap", when_used="json")
    def write(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"kind": "tagged", **inner(self)}


class Renamed(Tagged):
    @model_serializer(mode="wrap", when_used="json")
    def write(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written = inner(self)
        return {"secret": written["token"], "name": written["name"]}


class Joined(BaseModel):
    tokens: list[SecretStr]

    @field_serializer("tokens")
    def join(self, tokens: list[SecretStr]) -> str:
        return " ".join(map(str, tokens))


class Kept(BaseModel):
    tokens: dict[Any, SecretStr] = {}
    queue: deque[SecretStr] = deque()
    pairs: set[tuple[SecretStr, int]] = set()
    names: dict[SecretStr, int] = {}


class Sealed(BaseModel):
    token: SecretStr
    tokens: set[Annotated[SecretStr, PlainSerializer(lambda it: f"sealed {len(it)}", when_used="json")]] = (
        set()
    )

    @field_serializer("token", when_used="json")
    def seal(self, token: SecretStr) -> str:
        return token.get_secret_value()[::-1]


def test_a_secret_is_told_under_the_name_that_its_mask_has() -> None:
    keyed = Kept(
        pairs={(SecretStr("a"), 1), (SecretStr("b"), 2)},
        tokens={1: SecretStr("a"), DAY: SecretStr("b"), "x": SecretStr("c")},
        queue=deque([SecretStr("q")]),
    )
    assert values.plain(Tagged(token=SecretStr("t"))) == {"kind": "tagged", "token": "t", "name": "n"}
    told = values.plain(keyed)
    assert (told["tokens"], told["queue"]) == ({"1": "a", "2026-01-02": "b", "x": "c"}, ["q"])
    assert told["pairs"] == [["a", 1], ["b", 2]]
    assert values.plain([RootModel(SecretStr("r")), RootModel([SecretStr("s")])]) == ["r", ["s"]]


@pytest.mark.parametrize(
    "value",
    [
        Renamed(token=SecretStr("t")),
        Kept(names={SecretStr("a"): 1}),
        Joined(tokens=[SecretStr("a")]),
    ],
    ids=repr,
)
def test_secrets_whose_masks_are_elsewhere_have_no_form(value: BaseModel) -> None:
    told = f"^login: JSON has no form for the secrets of a value of type tests.{type(value).__name__}$"
    with pytest.raises(TypeError, match=told):
        values.plain({"login": value})


def test_a_secret_that_the_application_writes_in_a_form_of_its_own_keeps_that() -> None:
    sealed = Sealed(token=SecretStr("abc"), tokens={SecretStr("four")})
    assert values.plain(sealed) == {"token": "cba", "tokens": ["sealed 4"]}


def test_what_only_looks_like_one_of_them_keeps_its_form() -> None:
    class Day(date):
        """A date of a library's own."""

    class Stamp(str):
        """A text with more to it."""

    assert values.plain([Day(2026, 1, 2), Stamp("x"), PurePosixPath("/a")]) == ["2026-01-02", "x", "/a"]


def test_a_model_with_something_in_it_that_pydantic_cannot_write_has_no_form() -> None:
    class Box(BaseModel):
        inside: Any

    with pytest.raises(
        TypeError, match=r"^boxes\.1: JSON has no form for a value of type tests\..*Box: Pydantic.*object'>$"
    ):
        values.plain({"boxes": [Box(inside=DAY), Box(inside=object())]})


def test_nothing_is_made_of_plain_values() -> None:
    assert values.plain({"a": [1, (2.5, None)], 3: {"b": True}}) == {"a": [1, [2.5, None]], 3: {"b": True}}


def schema(method: Callable[..., Any]) -> dict[str, Any]:
    namespace = {"taking": method, "__module__": __name__, "__qualname__": "Taker"}
    method.__module__, method.__qualname__ = __name__, "Taker.taking"
    told: dict[str, Any] = describe(type("Taker", (), namespace), None)["methods"]["taking"]["schema"]
    return told


def read(value: Any) -> Any:
    return json.loads(codec.to_json(value))


def in_any_order(value: Any) -> Any:
    """With each list sorted, for a set has no order that both know."""
    if isinstance(value, dict):
        return {str(name): in_any_order(one) for name, one in value.items()}
    if isinstance(value, list):
        return sorted((in_any_order(one) for one in value), key=json.dumps)
    return value
