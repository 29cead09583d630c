"""What may run, rule by rule, at a real daemon: classes, methods, names, parameters, contexts, interpreters."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bgjob import (
    ClassUnavailableError,
    InvalidNameError,
    InvalidParametersError,
    JobFailedError,
    MethodNotApprovedError,
    NotApprovedError,
)
from bgjob.client import Client
from tests.daemon import warm
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

BASES = '''
import os


def sprung(*_, **__):
    """Notes that code ran which nobody approved."""
    with open(os.environ["TRAPS"], "a") as book:
        book.write("sprung\\n")


class Base:
    def from_base(self):
        return "from base"

    def covered(self):
        return "base"

    def hidden(self):
        sprung()
'''
RULED = '''
"""Classes that offer what they may, and much that nobody may call."""

import collections
import functools
import os
import subprocess
import bases
from bases import Base, sprung
from pydantic import BaseModel


def own_function(self):
    sprung()


class Callable:
    def __call__(self, *_):
        sprung()


def kept(function):
    @functools.wraps(function)
    def wrapper(self, *arguments, **keywords):
        return ["wrapped", function(self, *arguments, **keywords)]
    return wrapper


class Ruled(Base, collections.UserDict):
    """What a class may hold.

    In two paragraphs.
    """

    def plain(self, text: str = "plain"):
        """Returns its text."""
        return text

    async def later(self, text: str = "later"):
        """Returns its text, later."""
        return text

    @kept
    def decorated(self):
        return "decorated"

    def covered(self):
        return super().covered() + " covered"

    hidden = None

    @property
    def prop(self):
        sprung()
        return sprung

    @functools.cached_property
    def cached(self):
        sprung()

    @staticmethod
    def static():
        sprung()

    @classmethod
    def of_class(cls):
        sprung()

    class Nested:
        def __init__(self, *_):
            sprung()

        def run(self):
            sprung()

    instance = Callable()
    partial = functools.partial(sprung)
    anonymous = lambda self: sprung()
    borrowed = subprocess.run
    system = os.system
    from_elsewhere = sprung
    from_this_module = own_function
    of_another_class = Callable.__call__
    text = "text"

    def _private(self):
        sprung()

    def __dunder__(self):
        sprung()

    def __mangled(self):
        sprung()

    def by_position(self, value, /):
        sprung()

    def without_self():
        sprung()

    def __getattr__(self, name):
        sprung()
        return sprung


class Listed(Base):
    def one(self):
        return 1

    def two(self):
        sprung()


class OfBuiltins(dict):
    def own(self):
        return "own"


class Worker(Base):
    """Inherits everything that it offers."""


class OfLibrary(BaseModel):
    def own(self):
        return "own"


class Unlisted(Ruled):
    def run(self):
        sprung()


def function():
    sprung()


instance = Ruled()


class NeedsMore:
    def __init__(self, connection, *, port, name="x"):
        sprung()

    def run(self):
        sprung()


class RaisesAtOnce:
    def __init__(self):
        raise OSError("no connection")

    def run(self):
        sprung()
'''
APPROVED = """
"ruled.Ruled" = {}
"ruled.Listed" = { methods = ["one", "from_base"], queue = "mail", priority = 7, timeout = 60 }
"ruled.OfBuiltins" = {}
"ruled.Worker" = {}
"ruled.OfLibrary" = {}
"ruled.function" = {}
"ruled.instance" = {}
"ruled.NeedsMore" = {}
"ruled.RaisesAtOnce" = {}
"ruled.Missing" = {}
"nowhere.Job" = {}
"ruled.Ruled.Nested" = {}
"typed.Typed" = {}
"typed_future.Typed" = {}
"contexts.InConstructor" = {}
"contexts.InMethod" = {}
[queues]
mail = { slots = 1 }
"""

TYPED = """
import enum
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, field_validator, model_validator


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


@dataclass
class Point:
    x: int
    on: date


class Address(BaseModel):
    street: str
    since: date | None = None


class Person(BaseModel):
    name: str
    addresses: list[Address]


def checked_even(number):
    if number % 2:
        raise ValueError("must be even")
    return number


class Span(BaseModel):
    first: int
    last: int

    @model_validator(mode="after")
    def is_forward(self):
        if self.last < self.first:
            raise ValueError("ends before it begins")
        return self


def told(value):
    return [type(value).__name__, str(value)]


class Typed:
    def any(self, value):
        return told(value)

    def text(self, value: str):
        return told(value)

    def flag(self, value: bool):
        return told(value)

    def number(self, value: float):
        return told(value)

    def day(self, value: date):
        return told(value)

    def instant(self, value: datetime):
        return told(value)

    def hour(self, value: time):
        return told(value)

    def span(self, value: timedelta):
        return told(value)

    def uuid(self, value: UUID):
        return told(value)

    def amount(self, value: Decimal):
        return told(value)

    def path(self, value: Path):
        return told(value)

    def color(self, value: Color):
        return told(value)

    def level(self, value: Level):
        return told(value)

    def word(self, value: Literal["a", "b"]):
        return told(value)

    def point(self, value: Point):
        return told(value)

    def person(self, value: Person):
        return told(value) + [type(one).__name__ for one in value.addresses] + [
            type(one.since).__name__ for one in value.addresses
        ]

    def small(self, value: Annotated[int, Field(ge=1, le=9)]):
        return told(value)

    def short(self, value: Annotated[str, Field(min_length=1, max_length=3)]):
        return told(value)

    def days(self, value: list[date]):
        return told(value) + [type(one).__name__ for one in value]

    def maybe(self, value: Optional[date] = None):
        return told(value)

    def either(self, value: Union[int, str]):
        return told(value)

    def counted(self, value: dict[str, int]):
        return told(value)

    def keywords(self, first: int, *, second: date, third: int = 3):
        return [first, type(second).__name__, third]

    def anything(self, first: int, **rest: int):
        return [first, rest]

    def even(self, value: Annotated[int, AfterValidator(checked_even)]):
        return told(value)

    def forward(self, value: Span):
        return told(value)

    def unreadable(self, value: "Nothing"):
        return told(value)

    def params(self, params):
        return told(params)

    def parameters(self, parameters):
        return told(parameters)

    def keyword_only(self, *, params):
        return told(params)

    def typed_params(self, params: dict[str, date]):
        return told(params) + [type(one).__name__ for one in params.values()]

    def model_params(self, parameters: Address):
        return told(parameters) + [type(parameters.since).__name__]

    def optional_params(self, params=None):
        return told(params)

    def params_and_more(self, params, other=1):
        return [params, other]
"""
CONTEXTS = """
import bgjob
from bgjob import JobContext


class InConstructor:
    def __init__(self, context: JobContext):
        self.context = context

    def tell(self):
        return [self.context.job_id, self.context.attempt, self.context.remaining, self.context.stop_reason]

    def params(self, params):
        return [self.context.job_id, params]


class InMethod:
    def __init__(self, any_name: "JobContext | None" = None):
        self.first = any_name

    def tell(self, number: int, where: bgjob.JobContext, text: str = "x"):
        return [number, text, where.job_id, where.attempt, where is self.first, where.remaining]

    def whole(self, context: JobContext, params):
        return [context.job_id, params]

    def whole_behind(self, parameters, *, context: JobContext):
        return [context.job_id, parameters]

    async def later(self, context: JobContext):
        return context.job_id

    def again(self, context: JobContext):
        if context.attempt == 1:
            raise bgjob.Retry("again", delay=0)
        return context.attempt

    def untyped(self, context):
        return context

    def report(self, context: JobContext):
        context.progress(0.5, "half of it")
        context.progress(1)
        context.logger.debug("not told")
        context.logger.info("a piece of %s", "news")
        context.logger.warning("a warning")
        context.logger.info("100 % more than can be told: %d", {"a": 1})
        context.logger.error("a mishap")
        try:
            {}["x"]
        except KeyError:
            context.logger.exception("a fault")

    def boast(self, context: JobContext):
        context.progress(1.5)
"""


@pytest.fixture(scope="module")
def traps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where code that nobody approved leaves its mark."""
    return tmp_path_factory.mktemp("traps") / "sprung"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, traps: Path) -> Iterator[RunningDaemon]:
    modules = {
        "bases": BASES,
        "ruled": RULED,
        "typed": TYPED,
        "typed_future": f"from __future__ import annotations\n{TYPED}",
        "contexts": CONTEXTS,
    }
    app = f'env = {{ TRAPS = "{traps}" }}'
    with daemon(
        tmp_path_factory.mktemp("rules"), APPROVED, app, modules=modules, has_pydantic=True
    ) as running:
        yield running


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


def described(client: Client, name: str) -> dict[str, Any]:
    (one,) = [one for one in client.classes() if one["name"] == name]
    return one


def methods(client: Client, name: str) -> dict[str, dict[str, Any]]:
    return {method["name"]: method for method in described(client, name)["methods"]}


def refusal(client: Client, method: str, parameters: dict[str, Any], name: str = "typed.Typed") -> list[Any]:
    """The problems that the daemon tells of these parameters."""
    with pytest.raises(InvalidParametersError) as refused:
        client.run_background_job(name, method, parameters)
    problems: list[Any] = refused.value.parameters["problems"]
    assert all(problem["message"] in str(refused.value) for problem in problems)
    return problems


def check(running: RunningDaemon) -> subprocess.CompletedProcess[str]:
    return warm.run(["check", "--config", str(running.config)])


# The class is in the allowlist


@pytest.mark.parametrize(
    "name",
    [
        "ruled.Unlisted",  # of an approved module, and of an approved class
        "ruled.Base",  # an approved class's base, by the name that its module gives it
        "bases.Base",
        "ruled.Callable",
        "ruled.subprocess",
        "ruled",
        "Ruled",
        "ruled.ruled",
        "RULED.Ruled",
        "ruled.Ruled.Ruled",
        "ruled.Ruled.plain",
        "builtins.dict",
        "os.system",
        "subprocess.Popen",
        "__main__.Server",
        "bgjobd_forkserver.server._Server",
        "class",
        "ruled.__dict__",
    ],
)
def test_a_class_that_is_not_listed_is_not_approved(client: Client, name: str) -> None:
    with pytest.raises(NotApprovedError, match=rf"^{name} is not an approved class; list it under"):
        client.run_background_job(name, "run")


# It exists and imports


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("broken.Job", "RuntimeError: this module does not import"),
        ("nowhere.Job", "ModuleNotFoundError: No module named 'nowhere'"),
        ("ruled.Missing", "AttributeError: module 'ruled' has no attribute 'Missing'"),
        ("ruled.Ruled.Nested", "ModuleNotFoundError: No module named 'ruled.Ruled'"),
        ("ruled.function", "it is no class"),
        ("ruled.instance", "it is no class"),
        ("ruled.NeedsMore", "its constructor needs connection, port"),
    ],
)
def test_an_approved_class_that_cannot_be_used_is_unavailable_and_says_why(
    client: Client, name: str, reason: str
) -> None:
    with pytest.raises(ClassUnavailableError) as refused:
        client.run_background_job(name, "run")
    assert refused.value.parameters["reason"].startswith(reason)
    assert described(client, name)["unavailable"].startswith(reason)
    assert described(client, name)["methods"] == []


def test_a_class_that_fails_to_import_has_its_traceback_in_the_log_and_in_check(
    client: Client, running: RunningDaemon
) -> None:
    checked = check(running)
    assert checked.returncode == 1
    assert "unavailable  broken.Job: RuntimeError: this module does not import" in checked.stdout
    eventually(lambda: any("broken.Job is unavailable: RuntimeError" in line for line in running.lines()))
    (line,) = [line for line in running.lines() if "broken.Job is unavailable" in line]
    for text in (checked.stdout, line):
        assert "Traceback (most recent call last)" in text
        assert f'File "{running.directory}/broken.py", line 1' in text
    assert client.run_background_job("ruled.Ruled", "plain").result(20) == "plain"


def test_a_constructor_that_raises_fails_the_attempt_and_not_the_class(client: Client) -> None:
    job = client.run_background_job("ruled.RaisesAtOnce", "run", max_retries=0)
    with pytest.raises(JobFailedError, match="OSError: no connection"):
        job.result(20)


# The method


@pytest.mark.parametrize(
    ("name", "method", "result"),
    [
        ("ruled.Ruled", "plain", "plain"),
        ("ruled.Ruled", "later", "later"),
        ("ruled.Ruled", "decorated", ["wrapped", "decorated"]),
        ("ruled.Ruled", "from_base", "from base"),
        ("ruled.Ruled", "covered", "base covered"),
        ("ruled.OfBuiltins", "own", "own"),
        ("ruled.Worker", "from_base", "from base"),
        ("ruled.Listed", "one", 1),
        ("ruled.Listed", "from_base", "from base"),
    ],
)
def test_a_method_that_the_application_defines_runs(
    client: Client, name: str, method: str, result: object
) -> None:
    assert client.run_background_job(name, method).result(20) == result


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("ruled.Ruled", method)
        for method in (
            *("prop", "cached", "static", "of_class", "Nested", "instance", "partial", "anonymous"),
            *("borrowed", "system", "from_elsewhere", "from_this_module", "of_another_class", "text"),
            *(
                "_private",
                "__dunder__",
                "__mangled",
                "_Ruled__mangled",
                "__init__",
                "__class__",
                "__getattr__",
            ),
            *("by_position", "without_self", "hidden", "missing", "Plain", "run"),
            *("copy", "update", "get", "pop", "__setitem__"),  # of collections.UserDict
        )
    ]
    + [("ruled.OfBuiltins", method) for method in ("update", "pop", "get", "fromkeys", "__setitem__")]
    + [("ruled.Listed", method) for method in ("two", "covered", "hidden")],
)
def test_anything_else_is_no_method_and_no_code_runs(
    client: Client, traps: Path, name: str, method: str
) -> None:
    with pytest.raises(MethodNotApprovedError, match=rf"^{name} has no approved method {method};"):
        client.run_background_job(name, method)
    assert not traps.exists()


def test_the_catalogue_lists_what_may_run_and_nothing_else(client: Client, traps: Path) -> None:
    assert methods(client, "ruled.Ruled").keys() == {"plain", "later", "decorated", "from_base", "covered"}
    assert methods(client, "ruled.Listed").keys() == {"one", "from_base"}
    assert methods(client, "ruled.OfBuiltins").keys() == {"own"}
    assert methods(client, "ruled.Worker").keys() == {"from_base", "covered", "hidden"}
    assert not traps.exists()


def test_what_a_class_inherits_from_a_library_may_not_be_called(client: Client) -> None:
    assert client.run_background_job("ruled.OfLibrary", "own").result(20) == "own"
    assert methods(client, "ruled.OfLibrary").keys() == {"own"}


def test_the_catalogue_tells_docstrings_and_schemas(client: Client) -> None:
    assert described(client, "ruled.Ruled")["doc"].splitlines()[0] == "What a class may hold."
    plain = methods(client, "ruled.Ruled")["plain"]
    assert (plain["doc"], plain["note"]) == ("Returns its text.", None)
    assert plain["schema"]["properties"]["text"]["type"] == "string"
    assert plain["schema"]["additionalProperties"] is False
    small = methods(client, "typed.Typed")["small"]["schema"]
    assert small["required"] == ["value"]
    assert (small["properties"]["value"]["minimum"], small["properties"]["value"]["maximum"]) == (1, 9)


def test_the_keys_of_a_class_hold_for_its_jobs(client: Client) -> None:
    job = client.run_background_job("ruled.Listed", "one").refresh()
    assert (job["queue"], job["priority"], job["timeout"]) == ("mail", 7, 60.0)
    job = client.run_background_job("ruled.Listed", "one", queue="default", priority=0, timeout=5.0).refresh()
    assert (job["queue"], job["priority"], job["timeout"]) == ("default", 0, 5.0)


# Names

NO_CLASS_NAMES = [
    *("", ".", "a.", ".a", "a..b", "1a", "a.1b", "a-b", "a b", " a", "a ", "a\n", "a.B\n", "a/b", "../a"),
    *("a:b", "a::b", "a()", "a[0]", "a;b", "a'b", "a\\b", "%s", "{a}", "ruled.Rulеd", "ｒuled.Ruled"),
    *("ä.B", "a.Β", "a\u200b.B", "ruled\u2024Ruled", "a" * 256, "ruled.Ruled" + "." + "x" * 256),
]
NO_METHOD_NAMES = [*(name for name in NO_CLASS_NAMES if "." not in name), "a.b", "plain.__call__", "ｐlain"]


@pytest.mark.parametrize("name", NO_CLASS_NAMES)
def test_what_is_no_class_name_is_an_invalid_name(client: Client, name: str) -> None:
    with pytest.raises(InvalidNameError, match=r"^class_name is not a valid name: ") as refused:
        client.run_background_job(name, "plain")
    assert refused.value.parameters == {"field": "class_name", "value": name[:255]}


@pytest.mark.parametrize("name", NO_METHOD_NAMES)
def test_what_is_no_method_name_is_an_invalid_name(client: Client, name: str) -> None:
    with pytest.raises(InvalidNameError, match=r"^method_name is not a valid name: ") as refused:
        client.run_background_job("ruled.Ruled", name)
    assert refused.value.parameters == {"field": "method_name", "value": name[:255]}


def test_a_name_of_255_characters_is_a_name(client: Client) -> None:
    with pytest.raises(NotApprovedError):
        client.run_background_job("a" * 255, "run")
    with pytest.raises(MethodNotApprovedError):
        client.run_background_job("ruled.Ruled", "a" * 255)


# Parameters


@dataclass(frozen=True)
class Row:
    """A value that a method takes, what it becomes there, and values that are refused at submit."""

    method: str
    value: Any
    becomes: list[Any]
    refused: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.method}-{self.value}"


ID = "12345678-1234-5678-1234-567812345678"
PERSON = {"name": "Ann", "addresses": [{"street": "High", "since": "2024-12-04"}, {"street": "Low"}]}
ROWS = [
    Row("any", {"a": [1]}, ["dict", "{'a': [1]}"], ()),
    Row("text", "x", ["str", "x"], (1, None, ["x"], {})),
    Row("flag", True, ["bool", "True"], (1, 0, "true", None)),
    Row("number", 1.5, ["float", "1.5"], ("1.5", True, None)),
    Row("day", "2024-12-04", ["date", "2024-12-04"], ("2024-13-01", "4.12.2024", "", 5, None)),
    Row(
        "instant",
        "2024-12-04T10:00:00Z",
        ["datetime", "2024-12-04 10:00:00+00:00"],
        ("now", "2024-12-04T25:00:00Z", None),
    ),
    Row("instant", "2024-12-04T10:00:00+02:00", ["datetime", "2024-12-04 10:00:00+02:00"], ()),
    Row("instant", "2024-12-04T10:00:00", ["datetime", "2024-12-04 10:00:00"], ()),
    Row("hour", "10:30:00", ["time", "10:30:00"], ("25:00:00", "soon", None)),
    Row("hour", "10:30:00Z", ["time", "10:30:00+00:00"], ()),
    Row("span", "PT90S", ["timedelta", "0:01:30"], ("soon", "P", None)),
    Row("uuid", ID, ["UUID", ID], ("12345678", ID + "0", 5)),
    Row("amount", "1.10", ["Decimal", "1.10"], (None, [])),
    Row("amount", 2, ["Decimal", "2"], ()),
    Row("path", "/srv/x", [type(Path()).__name__, "/srv/x"], (5,)),
    Row("color", "red", ["Color", "Color.RED"], ("RED", "green", 1)),
    Row("level", 1, ["Level", "1"], (2, "1")),
    Row("word", "a", ["str", "a"], ("c", "A", 1)),
    Row(
        "point",
        {"x": 1, "on": "2024-12-04"},
        ["Point", "Point(x=1, on=datetime.date(2024, 12, 4))"],
        ({"x": 1}, {"x": "a", "on": "2024-12-04"}, {"x": 1, "on": "x"}, []),
    ),
    Row(
        "person",
        PERSON,
        [
            "Person",
            "name='Ann' addresses=[Address(street='High', since=datetime.date(2024, 12, 4)), "
            "Address(street='Low', since=None)]",
            *("Address", "Address", "date", "NoneType"),
        ],
        ({"name": "Ann"}, {"name": "Ann", "addresses": [{"street": 5}]}, "Ann"),
    ),
    Row("small", 9, ["int", "9"], (0, 10, "5", 5.5, True)),
    Row("short", "abc", ["str", "abc"], ("", "abcd")),
    Row("days", ["2024-12-04"], ["list", "[datetime.date(2024, 12, 4)]", "date"], (["x"], "2024-12-04")),
    Row("maybe", "2024-12-04", ["date", "2024-12-04"], ("x", 5)),
    Row("maybe", None, ["NoneType", "None"], ()),
    Row("either", "1", ["str", "1"], (None, [])),
    Row("counted", {"a": 1}, ["dict", "{'a': 1}"], ({"a": "x"}, [])),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("module", ["typed", "typed_future"])
def test_values_become_what_the_annotations_say(client: Client, module: str, row: Row) -> None:
    job = client.run_background_job(f"{module}.Typed", row.method, {"value": row.value})
    assert job.result(20) == row.becomes


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("module", ["typed", "typed_future"])
def test_values_that_do_not_fit_are_refused_at_submit_by_path_and_message(
    client: Client, module: str, row: Row
) -> None:
    for value in row.refused:
        for problem in refusal(client, row.method, {"value": value}, f"{module}.Typed"):
            assert problem["path"].split("/")[0] == "value"
            assert problem["message"]


@pytest.mark.parametrize(
    ("method", "parameters", "problems"),
    [
        ("small", {"value": 10}, [("value", "10 is greater than the maximum of 9")]),
        ("small", {}, [("", '"value" is a required property')]),
        ("keywords", {}, [("", '"first" is a required'), ("", '"second" is a required')]),
        ("small", {"value": 1, "wert": 2}, [("", "no parameter is called 'wert'")]),
        ("person", {"value": {"name": "A", "addresses": [{"street": "x", "since": "x"}]}}, [
            ("value/addresses/0/since", "x")
        ]),
        ("anything", {"first": 1, "second": "x"}, [("second", "not of type")]),
    ],
)  # fmt: skip
def test_each_problem_is_told_by_its_path_and_what_is_wrong(
    client: Client, method: str, parameters: dict[str, Any], problems: list[tuple[str, str]]
) -> None:
    told = refusal(client, method, parameters)
    assert [problem["path"] for problem in told] == [path for path, _ in problems]
    for problem, (_, message) in zip(told, problems, strict=True):
        assert message in problem["message"]


def test_parameters_are_keywords_also_where_a_method_takes_no_others(client: Client) -> None:
    given = {"first": 1, "second": "2024-12-04"}
    assert client.run_background_job("typed.Typed", "keywords", given).result(20) == [1, "date", 3]
    given = {"first": 1, "second": 2, "third": 3}
    assert client.run_background_job("typed.Typed", "anything", given).result(20) == [
        1,
        {"second": 2, "third": 3},
    ]
    assert client.run_background_job("typed.Typed", "maybe").result(20) == ["NoneType", "None"]


@pytest.mark.parametrize("module", ["typed", "typed_future"])
@pytest.mark.parametrize(
    ("method", "value", "message"),
    [
        ("even", 3, "InvalidParameters: value: Value error, must be even"),
        ("forward", {"first": 2, "last": 1}, "InvalidParameters: value: Value error, ends before it begins"),
    ],
)
def test_what_only_a_validator_can_tell_fails_in_the_child_as_clearly_and_once(
    client: Client, module: str, method: str, value: object, message: str
) -> None:
    job = client.run_background_job(f"{module}.Typed", method, {"value": value}, max_retries=5)
    ended = job.wait(20)
    assert (ended["status"], ended["error"], len(ended["attempts"])) == ("failed", message, 1)
    assert ended["attempts"][0]["error_type"] == "InvalidParameters"


def test_an_annotation_that_nobody_can_read_leaves_the_check_of_names_and_says_so(client: Client) -> None:
    note = methods(client, "typed.Typed")["unreadable"]["note"]
    assert "only names are checked" in note
    assert client.run_background_job("typed.Typed", "unreadable", {"value": 1}).result(20) == ["int", "1"]
    assert refusal(client, "unreadable", {})


@pytest.mark.parametrize("module", ["typed", "typed_future"])
@pytest.mark.parametrize(
    ("method", "becomes"),
    [
        ("params", ["dict", "{'b': 1, 'a': 'x'}"]),
        ("parameters", ["dict", "{'b': 1, 'a': 'x'}"]),
        ("keyword_only", ["dict", "{'b': 1, 'a': 'x'}"]),
        ("optional_params", ["dict", "{'b': 1, 'a': 'x'}"]),
    ],
)
def test_a_method_with_params_or_parameters_alone_gets_the_whole_mapping(
    client: Client, module: str, method: str, becomes: list[str]
) -> None:
    job = client.run_background_job(f"{module}.Typed", method, {"b": 1, "a": "x"})
    assert job.result(20) == becomes
    assert client.run_background_job(f"{module}.Typed", method).result(20) == ["dict", "{}"]


def test_a_whole_mapping_is_checked_and_coerced_as_it_is_annotated(client: Client) -> None:
    job = client.run_background_job("typed.Typed", "typed_params", {"a": "2024-12-04"})
    assert job.result(20) == ["dict", "{'a': datetime.date(2024, 12, 4)}", "date"]
    assert [one["path"] for one in refusal(client, "typed_params", {"a": "x"})] == ["a"]
    given = {"street": "High", "since": "2024-12-04"}
    assert client.run_background_job("typed.Typed", "model_params", given).result(20)[::2] == [
        "Address",
        "date",
    ]
    assert refusal(client, "model_params", {"since": "2024-12-04"})


def test_params_beside_another_parameter_is_a_parameter_like_any_other(client: Client) -> None:
    job = client.run_background_job("typed.Typed", "params_and_more", {"params": 1, "other": 2})
    assert job.result(20) == [1, 2]
    assert refusal(client, "params_and_more", {"a": 1})


# The context


def test_a_context_in_the_constructor_tells_which_attempt_it_is(client: Client) -> None:
    job = client.run_background_job("contexts.InConstructor", "tell")
    assert job.result(20) == [job.id, 1, None, None]
    job = client.run_background_job("contexts.InConstructor", "tell", timeout=50)
    assert 40 < job.result(20)[2] <= 50
    job = client.run_background_job("contexts.InConstructor", "params", {"a": 1})
    assert job.result(20) == [job.id, {"a": 1}]


def test_a_context_in_a_method_is_injected_whatever_its_name_and_is_the_constructors(client: Client) -> None:
    job = client.run_background_job("contexts.InMethod", "tell", {"number": 5}, timeout=50)
    *told, remaining = job.result(20)
    assert told == [5, "x", job.id, 1, True]
    assert 40 < remaining <= 50
    job = client.run_background_job("contexts.InMethod", "later")
    assert job.result(20) == job.id


@pytest.mark.parametrize("method", ["whole", "whole_behind"])
def test_beside_a_context_the_whole_mapping_still_is_whole(client: Client, method: str) -> None:
    job = client.run_background_job("contexts.InMethod", method, {"a": 1, "context": 2})
    assert job.result(20) == [job.id, {"a": 1, "context": 2}]


def test_a_context_counts_the_attempts(client: Client) -> None:
    assert client.run_background_job("contexts.InMethod", "again", max_retries=1).result(20) == 2


def test_no_caller_gives_a_context(client: Client) -> None:
    assert refusal(client, "tell", {"number": 5, "where": {"job_id": 1}}, "contexts.InMethod")
    assert "where" not in methods(client, "contexts.InMethod")["tell"]["schema"]["properties"]
    assert client.run_background_job("contexts.InMethod", "untyped", {"context": 1}).result(20) == 1


def test_progress_and_log_records_become_entries_of_the_jobs_log(
    client: Client, running: RunningDaemon
) -> None:
    job = client.run_background_job("contexts.InMethod", "report")
    job.result(20)
    rows = running.query(
        f"SELECT type, message FROM job_logs WHERE job_id = {job.id} AND attempt = 1 ORDER BY id"
    )
    *noted, fault = rows[2:-1]
    assert noted == [
        ("info", "Background job is at 100%"),
        ("info", "a piece of news"),
        ("info", "a warning"),
        ("failure", "a mishap"),
    ]
    assert fault[0] == "failure"
    assert fault[1].startswith("a fault\nTraceback")
    eventually(lambda: any("INFO: contexts.InMethod::report - a piece of news" in x for x in running.lines()))
    assert eventually(
        lambda: any("FAILURE: contexts.InMethod::report - a mishap" in line for line in running.lines())
    )


def test_progress_beyond_the_whole_is_the_jobs_own_mistake(client: Client) -> None:
    with pytest.raises(JobFailedError, match=r"ValueError: progress is a fraction from 0\.0 to 1\.0"):
        client.run_background_job("contexts.InMethod", "boast", max_retries=0).result(20)


# The application's own interpreter

PLAIN = '''
import enum, sys
from dataclasses import dataclass
from datetime import date
import bgjob
from bgjob import JobContext


@dataclass
class Point:
    x: int


class Plain:
    """Knows no pydantic."""

    def __init__(self, context: JobContext):
        self.context = context

    def tell(self, number: int, on: date = None):
        """Returns types."""
        return [type(number).__name__, type(on).__name__, self.context.job_id]

    def point(self, value: Point):
        return type(value).__name__

    def whole(self, params):
        return params

    def anything(self, first, **rest):
        return [first, rest]

    async def report(self, context: JobContext):
        context.progress(0.5, "half")
        context.logger.info("news")
        return context is self.context

    def give_up(self):
        raise bgjob.Fail("no such account")

    def snooze(self, context: JobContext):
        if context.attempt == 1:
            raise bgjob.Snooze(0)
        return context.attempt

    def packages(self):
        import importlib.util
        names = ("bgjob", "bgjobd", "pydantic", "peewee", "structlog")
        return {name: importlib.util.find_spec(name) is not None for name in names}

    def place(self):
        return [sys.prefix, bgjob.__file__]

    def failed(self, error):
        with open(__file__ + ".failed", "w") as book:
            book.write(f"{error.outcome} {error}")
'''


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter without any package."""
    place = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True, timeout=50)
    return place / "bin" / "python"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, bare_python: Path) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("without-pydantic")
    app = f'python = "{bare_python}"'
    with daemon(directory, '"plain.Plain" = {}', app, modules={"plain": PLAIN}, has_pydantic=True) as running:
        yield running


@pytest.fixture
def bare_client(bare: RunningDaemon) -> Iterator[Client]:
    with bare.client() as client:
        yield client


def test_without_pydantic_names_and_arity_are_checked(bare_client: Client) -> None:
    def run(method: str, parameters: dict[str, Any]) -> Any:
        return bare_client.run_background_job("plain.Plain", method, parameters)

    job = run("tell", {"number": "no number", "on": "2024-12-04"})
    assert job.result(20) == ["str", "str", job.id]
    assert run("point", {"value": {"x": 1}}).result(20) == "dict"
    assert run("whole", {"a": 1}).result(20) == {"a": 1}
    assert run("anything", {"first": 1, "b": 2}).result(20) == [1, {"b": 2}]
    for method, parameters in (
        ("tell", {}),
        ("tell", {"number": 1, "of": 2}),
        ("tell", {"number": 1, "context": 2}),
        ("anything", {"b": 1}),
        ("report", {"context": 1}),
    ):
        assert refusal(bare_client, method, parameters, "plain.Plain")


def test_without_pydantic_check_and_catalogue_say_what_is_not_checked(
    bare: RunningDaemon, bare_client: Client, bare_python: Path
) -> None:
    note = "pydantic is not installed in the application's interpreter: only names are checked"
    assert {one["note"] for one in methods(bare_client, "plain.Plain").values()} == {note}
    said = check(bare).stdout
    assert f"    tell: {note}" in said
    why = (
        "pydantic, which would convert it, cannot be used in the application's interpreter; install it there"
    )
    for method, name in (("point", "value"), ("tell", "on")):
        told = f"doubtful     plain.Plain::{method} gets {name} as JSON has it, not as annotated: {why}"
        assert told in said
    assert said.count(why) == 2
    assert str(bare_python.parent.parent) in said


def test_the_client_package_is_lent_to_an_interpreter_that_lacks_it_and_nothing_else_is(
    bare_client: Client, bare_python: Path
) -> None:
    packages = bare_client.run_background_job("plain.Plain", "packages").result(20)
    assert [name for name, is_there in packages.items() if is_there] == ["bgjob"]
    prefix, _ = bare_client.run_background_job("plain.Plain", "place").result(20)
    assert prefix == str(bare_python.parent.parent)


def test_the_words_of_job_authors_work_in_an_interpreter_without_packages(
    bare: RunningDaemon, bare_client: Client
) -> None:
    assert bare_client.run_background_job("plain.Plain", "snooze").result(20) == 2
    job = bare_client.run_background_job("plain.Plain", "report")
    assert job.result(20) is True
    rows = bare.query(f"SELECT message FROM job_logs WHERE job_id = {job.id} AND type = 'info' ORDER BY id")
    assert rows == [("Background job is at 50%: half",), ("news",)]
    job = bare_client.run_background_job("plain.Plain", "give_up", max_retries=5)
    with pytest.raises(JobFailedError, match="Fail: no such account"):
        job.result(20)
    assert len(job.snapshot["attempts"]) == 1
    book = bare.directory / "plain.py.failed"
    assert eventually(lambda: book.exists() and book.read_text()) == "failed Fail: no such account"


OTHER_BGJOB = {
    "one module": {"bgjob.py": "WHOSE = 'the application'\n"},
    "a package without jobs": {"bgjob/__init__.py": "WHOSE = 'the application'\n"},
}
WITH_OTHER = """
import bgjob


class Job:
    def run(self):
        return bgjob.WHOSE

    def fail(self):
        raise ValueError("no recipient")
"""
HOOK = """
    def failed(self, error):
        pass
"""
HOOKS = [
    pytest.param("", id="without hooks"),
    pytest.param(HOOK, id="with a failed hook"),
]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("files", OTHER_BGJOB.values(), ids=OTHER_BGJOB.keys())
def test_a_module_of_the_applications_that_is_called_bgjob_wins_and_harms_nobody(
    tmp_path: Path, bare_python: Path, files: dict[str, str], hook: str
) -> None:
    for name, source in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    modules = {"other": WITH_OTHER + hook, "innocent": "class Job:\n    def run(self):\n        return 5\n"}
    settings, app = '"other.Job" = {}\n"innocent.Job" = {}', f'python = "{bare_python}"'
    with (
        daemon(tmp_path, settings, app, modules=modules, has_pydantic=True) as running,
        running.client() as client,
    ):
        assert client.run_background_job("innocent.Job", "run").result(20) == 5
        assert client.run_background_job("other.Job", "run").result(20) == "the application"
        job = client.run_background_job("other.Job", "fail", max_retries=0)
        assert job.wait(20)["error"] == "ValueError: no recipient"


class _StartedElsewhere(RunningDaemon):
    """A daemon that was started in a directory of somebody else's making."""

    def spawn(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "bgjobd", "serve", "--config", str(self.config)],
            cwd=self.directory / "planted",
            stderr=(self.directory / "console").open("ab"),
        )


def test_files_that_lie_where_the_daemon_starts_or_on_pythons_path_are_not_imported(tmp_path: Path) -> None:
    planted, mark = tmp_path / "planted", tmp_path / "sprung"
    planted.mkdir()
    for name in ("sitecustomize", "usercustomize", "json", "traceback", "hashlib", "pydantic", "bgjob"):
        (planted / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write({name!r})\n")
    startup = planted / "json.py"
    app = f'env = {{ PYTHONPATH = "{planted}", PYTHONSTARTUP = "{startup}", PYTHONHOME = "{planted}" }}'
    running = _StartedElsewhere(tmp_path, app=app, has_pydantic=True)
    try:
        running.start()
        with running.client() as client:
            path = client.run_background_job("probes.Probe", "describe_itself").result(20)["env"][
                "PYTHONPATH"
            ]
            assert path == str(planted)
            assert methods(client, "probes.Probe")["echo"]["note"] is None
        assert not mark.exists()
    finally:
        if running.process is not None:
            running.stop()
