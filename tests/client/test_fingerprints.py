"""Which error an exception is: the same wherever it is met, whatever the interpreter, and whatever it does."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bgjob import fingerprints
from bgjob.fingerprints import Whence, place_of, whence_of
from bgjob.testing.error_texts import kind_of, text_of
from bgjobd.web.render import own_frames

PATHS = {
    "/srv/myapp/myapp/mail.py": True,
    "/srv/lib/myapp/mail.py": True,
    "/opt/python3/mail.py": True,
    "mail.py": True,
    "<string>": True,
    "/srv/venv/lib/python3.13/site-packages/requests/api.py": False,
    "/usr/lib/python3/dist-packages/yaml/__init__.py": False,
    "/usr/lib/python3.11/json/decoder.py": False,
    "/usr/lib64/python3.12/ssl.py": False,
    "/opt/python/lib/python3.14/asyncio/tasks.py": False,
    "<frozen importlib._bootstrap>": False,
}
"""Whether a frame of this file is the application's own, for errors and for the page's "your code"."""


def raised(source: str, file: str = "/srv/myapp/mail.py", module: str = "myapp.mail", **given: Any) -> Any:
    """What the function `run` of this source raises."""
    space = {"__name__": module, **given}
    exec(compile(source, file, "exec"), space)
    try:
        space["run"]()
    except BaseException as error:
        # Without the test's own frame.
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
        return error
    raise AssertionError("it raised nothing")


def whence(error: BaseException) -> Whence:
    return whence_of(error, kind_of, text_of, str)


def fingerprint(error: BaseException) -> str:
    return whence(error).fingerprint


RAISES = "def run(number=1):\n    raise ValueError(f'no order {number}')\n"


@pytest.mark.parametrize(("path", "is_own"), PATHS.items())
def test_the_page_and_the_grouping_of_errors_know_the_applications_own_frames_alike(
    path: str, is_own: bool
) -> None:
    error = raised(RAISES, file=path)
    assert (place_of(error)[0] is not None) == is_own
    own, library = '  File "/srv/own.py", line 1, in run', '  File "/usr/lib/python3.13/x.py", line 1, in run'
    shown = own_frames("\n".join([library if is_own else own, f'  File "{path}", line 1, in run', ""]))
    assert shown is not None
    assert (path in shown) == is_own


def test_an_error_is_its_type_and_the_innermost_frame_of_the_applications_own() -> None:
    found = whence(raised(RAISES))
    assert (found.place, found.line, found.name) == ("myapp.mail:run", "mail.py:2", None)
    moved = whence(raised("\n\n" + RAISES.replace("1", "2")))
    assert (moved.fingerprint, moved.line) == (found.fingerprint, "mail.py:4")
    assert fingerprint(raised(RAISES.replace("ValueError", "KeyError"))) != found.fingerprint
    assert fingerprint(raised(RAISES, module="myapp.sms")) != found.fingerprint


def test_a_frame_of_a_library_is_passed_over_and_the_applications_that_called_it_counts() -> None:
    library: dict[str, Any] = {"__name__": "requests.api"}
    source = "def get():\n    raise OSError('no route')\n"
    exec(compile(source, "/srv/venv/lib/python3.13/site-packages/requests/api.py", "exec"), library)
    found = whence(raised("def run():\n    get()\n", get=library["get"]))
    assert (found.place, found.line) == ("myapp.mail:run", "mail.py:2")


def test_where_no_frame_is_the_applications_own_numbers_and_what_is_quoted_tell_nothing_apart() -> None:
    def without_frame(message: str) -> str:
        return fingerprint(ValueError(message))

    same = [
        "order 12 of 'ann': 0x7f3a at 12:30, id 6d1a9f0c-11e4-4b1f-9f77-0123456789ab",
        "order 4711 of 'bob': 0xdeadbeef0 at 01:02:03.5, id abcdef01-dead-beef-cafe-aaaaaaaaaaaa",
    ]
    assert len({without_frame(message) for message in same}) == 1
    assert without_frame("no order") != without_frame("no invoice")
    assert without_frame("can't open it, won't try") != without_frame("can't close it, won't try")
    assert whence(ValueError("order 12")).place is None


def test_a_word_of_the_errors_own_or_of_its_class_is_all_that_counts() -> None:
    class Declined(Exception):
        error_group = "payment declined"

    class Other(Exception):
        pass

    other = Other()
    other.error_group = "payment declined"  # type: ignore[attr-defined]  # what this is about
    assert fingerprint(Declined("a")) == fingerprint(other) == fingerprint(raised(
        "def run():\n    raise error", error=Declined("b")
    ))  # fmt: skip
    assert whence(other).name == "payment declined"
    other.error_group = "\ud800" + "x" * 300  # type: ignore[attr-defined]
    assert whence(other).name == "?" + "x" * 199


@pytest.mark.parametrize("word", ["", 7, None, b"x", ["x"]])
def test_what_is_no_word_names_nothing(word: Any) -> None:
    error = ValueError("no")
    error.error_group = word  # type: ignore[attr-defined]
    assert whence(error) == whence(ValueError("no"))


def test_an_error_that_resists_being_asked_for_its_word_has_none() -> None:
    class Resisting(Exception):
        @property
        def error_group(self) -> str:
            raise RuntimeError("never")

        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(name)

    assert whence(Resisting()).name is None


def test_a_group_of_one_error_is_that_error_and_one_of_several_is_itself() -> None:
    one, same, other = raised(RAISES), raised(RAISES), raised(RAISES.replace("ValueError", "KeyError"))
    nested = ExceptionGroup("all", [ExceptionGroup("some", [one]), same])
    assert fingerprint(nested) == fingerprint(one)
    both = ExceptionGroup("all", [one, other])
    assert fingerprint(both) not in (fingerprint(one), fingerprint(other))
    assert fingerprint(both) == fingerprint(ExceptionGroup("all", [other, one]))


def test_the_error_of_a_task_group_is_that_of_its_tasks() -> None:
    source = (
        "import asyncio\nasync def fetch():\n    raise OSError('gone')\nasync def run():\n"
        "    async with asyncio.TaskGroup() as group:\n        group.create_task(fetch())\n"
        "        group.create_task(fetch())\n"
    )
    space: dict[str, Any] = {"__name__": "myapp.mail"}
    exec(compile(source, "/srv/myapp/mail.py", "exec"), space)
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(space["run"]())
    assert whence(caught.value).place == "myapp.mail:fetch"


def test_a_deep_group_and_a_cycle_of_causes_are_looked_at_no_longer_than_others() -> None:
    deep: Exception = ValueError("innermost")
    for _ in range(20_000):
        deep = ExceptionGroup("one", [deep])
    wide = ExceptionGroup("many", [ValueError("innermost")] * 100_000)
    assert fingerprint(deep) == fingerprint(wide) == fingerprint(ValueError("innermost"))
    one, other = raised(RAISES), raised(RAISES)
    before = fingerprint(one)
    one.__cause__, other.__cause__ = other, one
    assert fingerprint(one) == before
    while isinstance(deep, ExceptionGroup):  # freed from outside in: the interpreter would go down to the end
        deep = deep.exceptions[0]


def test_a_recursion_that_ends_at_the_interpreters_limit_is_one_error() -> None:
    source = "def run(depth=0):\n    return run(depth + 1)\n"
    assert whence(raised(source)).place == "myapp.mail:run"


PROGRAM = """
import asyncio, importlib.util, sys
spec = importlib.util.spec_from_file_location("fingerprints", sys.argv[1])
fingerprints = importlib.util.module_from_spec(spec)
sys.modules["fingerprints"] = fingerprints
spec.loader.exec_module(fingerprints)

def kind(cls): return f"{cls.__module__}.{cls.__qualname__}"

def plain(): raise ValueError("no recipient")
def listed(): return [1 / (number - number) for number in (1, 2)]
def mapped(): return {number: int("x") for number in (1,)}
def generated(): return list(int("x") for number in (1,))
def nested(): return [[int("x") for _ in (1,)] for _ in (1,)]
def library(): import json; json.loads("{")
def caused():
    try: plain()
    except ValueError as error: raise OSError("down") from error
def within():
    def inner(): raise KeyError(1)
    inner()
async def fetch(): raise TimeoutError
def tasks():
    async def all_of_them():
        async with asyncio.TaskGroup() as group: group.create_task(fetch())
    asyncio.run(all_of_them())
class Shop:
    def sell(self): return max([self.price for _ in (1, 2)])
    @property
    def price(self): raise LookupError("sold out")
def method(): Shop().sell()
def compiled(): compile("1 +", "<text>", "exec")
def recursive(): recursive()
def frameless(): raise ValueError("order 12")

for case in (plain, listed, mapped, generated, nested, library, caused, within, tasks, method, compiled, recursive):
    try:
        case()
    except BaseException as error:
        found = fingerprints.whence_of(error, kind, str, str)
        print(case.__name__, found.fingerprint, found.place)
"""


def test_an_error_is_the_same_with_each_python_that_is_installed(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(PROGRAM)
    found = [shutil.which(f"python3.{minor}") for minor in range(11, 15)]
    told = {}
    for python in {sys.executable, *filter(None, found)}:
        asked = [python, "-I", str(tmp_path / "shop.py"), fingerprints.__file__]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        if done.returncode == 0 or python == sys.executable:
            told[python] = done.stdout
    assert told[sys.executable].count("\n") == 12
    assert len(set(told.values())) == 1, told
