"""What may be called on a class: its own public plain functions, nothing that it borrowed or inherited from Python."""

from __future__ import annotations

import subprocess
from typing import Any

from bgjobd.forkserver.describe import callable_methods, describe


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


def test_a_name_that_a_subclass_covers_with_something_else_may_not_be_called() -> None:
    class Covered(Sample):
        plain = 5  # type: ignore[assignment]  # that is the point

    assert "plain" not in callable_methods(Covered)


def test_the_schema_tells_what_there_is_and_what_is_required() -> None:
    methods = describe(Sample, None)["methods"]
    assert methods["plain"]["schema"] == {
        "type": "object",
        "properties": {"a": {}, "b": {}, "c": {}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert methods["open_ended"]["schema"]["additionalProperties"] is True
    assert (methods["whole"]["whole"], methods["plain"]["whole"]) == (True, False)
    assert methods["plain"]["doc"] == "Plain."


def test_a_list_of_methods_narrows_what_may_be_called() -> None:
    assert set(describe(Sample, ["plain", "_private", "static", "missing"])["methods"]) == {"plain"}


def test_what_is_no_class_or_needs_arguments_is_unavailable() -> None:
    class NeedsMore:
        def __init__(self, connection: str) -> None: ...

    assert describe(helper, None)["unavailable"] == "it is no class"
    assert describe(NeedsMore, None)["unavailable"] == "its constructor needs connection"
