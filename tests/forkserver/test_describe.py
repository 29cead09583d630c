"""What may be called on a class: its own public plain functions, nothing that it borrowed or inherited from Python."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import jsonschema_rs
import pytest
from pydantic import BaseModel, SecretBytes, SecretStr
from typing_extensions import TypedDict, Unpack

from bgjob.jobs import JobContext
from bgjob.words import Backoff
from bgjobd.forkserver.describe import callable_methods, describe, describe_or_tell_why

if TYPE_CHECKING:
    from bgjobd.forkserver.server import Missing  # type: ignore[attr-defined]  # seen by type checkers only


class Base:
    def from_base(self) -> None:
        """Inherited from the application's own class."""


def helper(self: object) -> None:
    """A function of this module, but not of the class."""


class Sample(Base, dict[str, Any]):
    attribute = subprocess.run
    assigned = helper
    value = 5

    def plain(self, a: int, b: int = 1, *, c: str = "") -> None:
        """Plain."""

    async def waits(self) -> None:
        """Async."""

    def open_ended(self, a: int, **rest: Any) -> None: ...

    def whole(self, params: dict[str, Any]) -> None: ...

    def by_position(self, a: int, /) -> None: ...

    def _private(self) -> None: ...

    def __call__(self) -> None: ...

    @staticmethod
    def static() -> None: ...

    @classmethod
    def of_class(cls) -> None: ...

    @property
    def computed(self) -> int:
        return 1

    class Nested:
        pass


def test_only_plain_public_functions_of_the_application_may_be_called() -> None:
    assert set(callable_methods(Sample)) == {"from_base", "plain", "waits", "open_ended", "whole"}


def test_a_method_is_told_with_the_class_that_it_was_written_in() -> None:
    written = describe(Sample, ["plain", "from_base"])["written_in"]
    assert written == {"plain": f"{__name__}.Sample", "from_base": f"{__name__}.Base"}


def test_a_name_that_a_subclass_covers_with_something_else_may_not_be_called() -> None:
    class Covered(Sample):
        plain = 5  # type: ignore[assignment]  # that is the point

    assert "plain" not in callable_methods(Covered)


def test_the_schema_tells_what_there_is_and_what_is_required() -> None:
    methods = describe(Sample, None)["methods"]
    plain = methods["plain"]
    assert plain == {
        "doc": "Plain.",
        "schema": {
            "type": "object",
            "properties": {
                "a": {"title": "A", "type": "integer"},
                "b": {"title": "B", "type": "integer", "default": 1},
                "c": {"title": "C", "type": "string", "default": ""},
            },
            "required": ["a"],
            "additionalProperties": False,
        },
        "whole": None,
        "contexts": [],
        "coerce": False,
        "required": ["a"],
        "names": ["a", "b", "c"],
        "sensitive": [],
        "plain": None,
        "integers": ["a", "b"],
        "caller": None,
        "by_place": False,
        "note": None,
        "bare_context": False,
        "unconverted": [],
    }
    assert methods["waits"]["names"] == []
    assert (methods["open_ended"]["names"], methods["open_ended"]["required"]) == (None, ["a"])
    assert (methods["whole"]["names"], methods["whole"]["whole"]) == (None, "params")


@pytest.mark.parametrize(
    ("annotation", "takes", "refuses"),
    [
        (Any, [{}, {"a": 1}], [[], None, "a"]),
        (dict[str, int], [{}, {"a": 1}], [{"a": "b"}, []]),
        (dict[str, int] | None, [{"a": 1}], [None]),
    ],
)
def test_the_whole_mapping_is_always_an_object(annotation: Any, takes: list[Any], refuses: list[Any]) -> None:
    def method(self: object, params: annotation) -> None: ...  # type: ignore[valid-type]

    method.__annotations__["params"] = annotation
    told = described_method(method)
    validator = jsonschema_rs.validator_for(told["schema"])
    assert told["note"] is None
    assert all(validator.is_valid(value) for value in takes)
    assert not any(validator.is_valid(value) for value in refuses)


def test_a_list_of_methods_narrows_what_may_be_called() -> None:
    assert set(describe(Sample, ["plain", "_private", "static", "missing"])["methods"]) == {"plain"}


def test_what_is_no_class_or_needs_arguments_is_unavailable() -> None:
    class NeedsMore:
        def __init__(self, connection: str) -> None: ...

    assert describe(helper, None)["unavailable"] == "it is no class"
    assert describe(NeedsMore, None)["unavailable"] == "its constructor needs connection"


# Contexts


class WithContext:
    def __init__(self, context: JobContext, number: int = 0) -> None: ...

    def run(self, to: str, context: JobContext, other: JobContext | None = None) -> None: ...

    def whole(self, params: dict[str, Any], *, context: JobContext) -> None: ...

    def bare(self, context: int) -> None: ...


class Inherits(WithContext): ...


class MadeByNew:
    def __new__(cls, context: JobContext) -> MadeByNew: ...  # type: ignore[empty-body]


@dataclass
class Data:
    context: JobContext


def test_arguments_annotated_with_the_context_are_no_parameters() -> None:
    described = describe(WithContext, None)
    run, whole, bare = (described["methods"][name] for name in ("run", "whole", "bare"))
    assert described["unavailable"] is None
    assert described["contexts"] == ["context"]
    assert (run["contexts"], run["names"], run["required"]) == (["context", "other"], ["to"], ["to"])
    assert set(run["schema"]["properties"]) == {"to"}
    assert (whole["contexts"], whole["whole"]) == (["context"], "params")
    assert (bare["contexts"], bare["names"]) == ([], ["context"])


def test_a_constructor_may_be_inherited_or_made() -> None:
    assert [describe(cls, None)["contexts"] for cls in (Inherits, Data, MadeByNew)] == [["context"]] * 3


def test_a_context_is_known_even_where_the_other_annotations_are_not() -> None:
    def method(self: object, missing: Missing, context: JobContext) -> None: ...

    told = described_method(method)
    assert (told["contexts"], told["names"]) == (["context"], ["missing"])


# Attributes and hooks


class Policy:
    MAX_RETRIES = 5
    BACKOFF = "exponential"


class PolicyOfWords(Policy):
    BACKOFF = Backoff.EXPONENTIAL


class Tuned(Policy):
    MAX_RETRIES: ClassVar[Any] = [1]
    RETRY_DELAY = float("inf")

    def retry_delay(self, attempt: int, error: Exception) -> float: ...  # type: ignore[empty-body]

    def failed(self, error: Exception) -> None: ...

    def run(self) -> None: ...


def test_the_policy_of_a_class_is_told_and_what_json_lacks_as_text() -> None:
    for cls in (Policy, PolicyOfWords):
        assert describe(cls, None)["attributes"] == {"MAX_RETRIES": 5, "BACKOFF": "exponential"}
    assert describe(Tuned, None)["attributes"] == {
        "MAX_RETRIES": "[1]",
        "BACKOFF": "exponential",
        "RETRY_DELAY": "inf",
    }


def test_hooks_are_told_and_never_callable() -> None:
    class Borrows:
        failed = helper

    described = describe(Tuned, ["run", "failed", "retry_delay"])
    assert described["hooks"] == ["retry_delay", "failed"]
    assert set(described["methods"]) == {"run"}
    assert describe(Borrows, None)["hooks"] == []


# Secrets


class Login(BaseModel):
    user: str
    password: SecretStr


class Chain(BaseModel):
    next: Chain | None = None
    key: SecretBytes | None = None


def test_parameters_that_hold_a_secret_are_sensitive() -> None:
    def method(
        self: object, user: str, token: SecretStr, logins: list[Login], chain: Chain, format: str = "password"
    ) -> None: ...

    assert described_method(method)["sensitive"] == ["chain", "logins", "token"]


@pytest.mark.parametrize(("annotation", "names"), [(Login, ["password"]), (Chain | None, ["key", "next"])])
def test_the_fields_of_a_whole_mapping_are_what_is_sensitive(annotation: Any, names: list[str]) -> None:
    def method(self: object, params: Any) -> None: ...

    method.__annotations__["params"] = annotation
    assert described_method(method)["sensitive"] == names


def test_secrets_stay_known_where_another_parameter_gives_no_schema() -> None:
    def method(self: object, token: SecretStr, thing: Sample, user: str = "") -> None: ...

    method.__annotations__["thing"] = Opaque
    told = described_method(method)
    assert told["sensitive"] == ["token"]
    assert told["note"] is not None


# What gives no schema


class Opaque:
    """Means nothing to pydantic."""


class Raises:
    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
        raise RuntimeError("no schema\nof mine")


class Tells(int):
    @classmethod
    def __get_pydantic_json_schema__(cls, source: object, handler: object) -> Any:
        return {"type": "integer", "default": float("nan")}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: Any) -> Any:
        return handler(int)


class Words(TypedDict):
    a: int


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (Opaque, "Unable to generate pydantic-core schema"),
        (Raises, "RuntimeError: no schema)"),
        (Tells, "ValueError: Out of range float values"),
        ("Missing", "NameError: name 'Missing' is not defined"),
        ("1 / 0", "ZeroDivisionError"),
        ("not even python", "SyntaxError"),
    ],
)
def test_a_method_without_a_schema_is_checked_by_names_and_says_why(annotation: Any, reason: str) -> None:
    def method(self: object, a: Any, b: int = 1) -> None: ...

    method.__annotations__["a"] = annotation
    told = described_method(method)
    assert told["note"].endswith("only names are checked")
    assert reason in told["note"]
    assert "\n" not in told["note"]
    assert told["schema"] == {
        "type": "object",
        "properties": {"a": {}, "b": {}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert (told["coerce"], told["names"], told["required"]) == (False, ["a", "b"], ["a"])


def test_unpacked_keywords_are_checked_by_names() -> None:
    def method(self: object, **rest: Unpack[Words]) -> None: ...

    told = described_method(method)
    assert told["schema"]["additionalProperties"] is True
    assert "unpacked keywords" in told["note"]


def test_a_whole_mapping_that_is_annotated_as_something_else_says_so() -> None:
    def method(self: object, params: list[int]) -> None: ...

    told = described_method(method)
    assert told["schema"] == {"type": "object"}
    assert "annotated otherwise" in told["note"]


def test_without_pydantic_names_are_checked_and_every_method_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)
    methods = describe(Sample, None)["methods"]
    assert methods["plain"]["schema"] == {
        "type": "object",
        "properties": {"a": {}, "b": {}, "c": {}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert methods["open_ended"]["schema"]["additionalProperties"] is True
    assert methods["whole"]["schema"] == {"type": "object"}
    assert {method["coerce"] for method in methods.values()} == {False}
    note = "pydantic is not installed in the application's interpreter: only names are checked"
    assert {method["note"] for method in methods.values()} == {note}


# Hostile classes


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError


class Meta(type):
    @property
    def __doc__(cls) -> str:  # type: ignore[override]
        raise Unprintable


class Hostile(metaclass=Meta): ...


class OddlyDocumented:
    __doc__ = 5  # type: ignore[assignment]

    def run(self) -> None: ...

    run.__doc__ = "a lone \ud800"


def test_a_class_that_resists_being_described_is_unavailable() -> None:
    described = describe_or_tell_why(Hostile, None)
    reason = "it cannot be described: Unprintable: <str() of this error raised ValueError>"
    assert described["unavailable"] == reason
    assert "Unprintable" in described["traceback"]


def test_every_description_has_the_same_keys() -> None:
    keys = {"doc", "is_module", "unavailable", "traceback", "contexts", "attributes", "hooks"}
    keys |= {"written_in", "methods"}
    assert [set(describe_or_tell_why(cls, None)) for cls in (Sample, helper, Hostile)] == [keys] * 3


def test_documentation_that_is_no_text_does_no_harm() -> None:
    described = describe(OddlyDocumented, None)
    assert described["doc"] == ""
    assert described["methods"]["run"]["doc"] == "a lone ?"


def described_method(function: Callable[..., Any]) -> dict[str, Any]:
    """The function described as the method of a class."""
    cls = type("Job", (), {"method": function})
    function.__module__, function.__qualname__ = cls.__module__, "Job.method"
    described: dict[str, Any] = describe(cls, None)["methods"]["method"]
    assert json.loads(json.dumps(described)) == described
    return described
