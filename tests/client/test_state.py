"""A job's state as its attempts know it: what is kept of a value, when it is saved, and what leaves it as it was."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

import bgjob
from bgjob import StepError, Suspended
from bgjob.state import State
from bgjob.steps import Steps
from bgjob.words import MOST_STATE_BYTES
from tests.client.test_steps import Kept


class KeptState:
    """A job's state, for as many attempts as a test likes; `saved` is each text that was to be kept."""

    def __init__(self, text: str | None = None) -> None:
        self.text = text
        self.saved: list[str] = []

    def saved_state(self) -> str | None:
        return self.text

    def save_state(self, text: str) -> None:
        self.saved.append(text)
        self.text = text


def attempt(kept: KeptState) -> bgjob.JobContext:
    context = bgjob.JobContext(1, 1)
    context._keeper, context._state_keeper = Kept(), kept
    return context


def state(kept: KeptState) -> Any:
    return attempt(kept).state


@pytest.mark.parametrize(
    ("value", "made", "text"),
    [
        ((1, 2), [1, 2], "[1,2]"),
        ({1: {True: None}}, {"1": {"true": None}}, '{"1":{"true":null}}'),
        ({1: "a", "1": "b"}, {"1": "b"}, '{"1":"b"}'),
        ("ü\0", "ü\0", '"ü\\u0000"'),
        (2**70, 2**70, str(2**70)),
    ],
)
def test_what_is_read_is_what_json_makes_of_it_at_once_and_in_the_next_attempt(
    value: Any, made: Any, text: str
) -> None:
    kept = KeptState()
    first = state(kept)
    first["a"] = value
    assert (first["a"], kept.saved) == (made, [f'{{"a":{text}}}'])
    assert dict(state(kept)) == {"a": made}


def test_what_is_changed_in_place_is_not_there_in_this_attempt_either() -> None:
    kept = KeptState('{"seen":[1]}')
    mine = state(kept)
    mine["seen"].append(2)
    mine.setdefault("seen", []).append(3)
    mine.setdefault("new", []).append(4)
    mine.get("seen").append(5)
    given = {"in": 1}
    mine["given"] = given
    given["in"] = 2
    assert dict(mine) == {"seen": [1], "new": [], "given": {"in": 1}}


@pytest.mark.parametrize(
    ("change", "after", "saves"),
    [
        (lambda mine: mine.update({"a": 2}, c=3), {"a": 2, "b": [1], "c": 3}, 1),
        (lambda mine: mine.update([("a", 2), ("a", 3)]), {"a": 3, "b": [1]}, 1),
        (lambda mine: mine.__ior__({"c": 3}), {"a": 1, "b": [1], "c": 3}, 1),
        (lambda mine: mine.pop("a"), {"b": [1]}, 1),
        (lambda mine: mine.pop("c", None), {"a": 1, "b": [1]}, 0),
        (lambda mine: mine.popitem(), {"a": 1}, 1),
        (lambda mine: mine.setdefault("a", 7), {"a": 1, "b": [1]}, 0),
        (lambda mine: mine.setdefault("c"), {"a": 1, "b": [1], "c": None}, 1),
        (lambda mine: mine.__delitem__("a"), {"b": [1]}, 1),
        (lambda mine: mine.clear(), {}, 1),
        (lambda mine: mine.__setitem__(1, 2), {"a": 1, "b": [1], "1": 2}, 1),
    ],
)
def test_each_change_is_saved_once(change: Callable[[Any], Any], after: dict[str, Any], saves: int) -> None:
    kept = KeptState('{"a":1,"b":[1]}')
    mine = state(kept)
    change(mine)
    assert (dict(mine), len(kept.saved), dict(state(kept))) == (after, saves, after)


def test_a_key_is_a_text_as_json_makes_it_wherever_it_is_used() -> None:
    mine = state(KeptState())
    mine[True] = mine[2] = mine[None] = 1
    assert list(mine) == ["true", "2", "null"]
    assert (mine[2], mine.get("2"), 2 in mine, mine.pop(True)) == (1, 1, True, 1)
    assert ([1] in mine, mine.get(object(), 5)) == (False, 5)
    with pytest.raises(KeyError):
        mine["none"]
    with pytest.raises(KeyError):
        del mine["none"]
    with pytest.raises(KeyError):
        state(KeptState()).popitem()


def deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("b", object(), "the state's 'b' is no JSON: Object of type object is not JSON serializable"),
        ("b", float("nan"), "not JSON compliant"),
        ("b", "\ud800", "surrogates not allowed"),
        ("\ud800", 1, "surrogates not allowed"),
        ("b", deep(101), "nested more than 99 levels deep"),
        ((1, 2), 1, "a key of the state is a text"),
        (object(), 1, "a key of the state is a text"),
        ("b", "x" * MOST_STATE_BYTES, "a state takes 65536 bytes at most, and this one 65556"),
    ],
)
def test_what_cannot_be_kept_leaves_the_state_as_it_was(key: Any, value: Any, why: str) -> None:
    kept = KeptState('{"a":"ü","c":1}')
    mine = state(kept)
    with pytest.raises(ValueError, match=why):
        mine.update({"a": 2, key: value})
    assert (dict(mine), kept.saved) == ({"a": "ü", "c": 1}, [])


def test_a_state_may_be_as_large_as_it_may_be_and_no_byte_larger() -> None:
    kept = KeptState()
    mine = state(kept)
    most = "ü" * ((MOST_STATE_BYTES - len('{"a":""}')) // 2)
    mine["a"] = most
    assert len(kept.saved[0].encode()) == MOST_STATE_BYTES
    with pytest.raises(ValueError, match="and this one 65537"):
        mine["a"] = f"{most}x"
    assert mine["a"] == most


def test_what_could_not_be_saved_is_not_there() -> None:
    class Closed(KeptState):
        def save_state(self, text: str) -> None:
            raise OSError("closed")

    mine = state(Closed())
    with pytest.raises(OSError, match="closed"):
        mine["a"] = 1
    assert dict(mine) == {}


def test_once_the_attempt_has_ended_to_wait_nothing_is_saved_and_all_is_read() -> None:
    kept = KeptState('{"a":1}')
    context = attempt(kept)
    with pytest.raises(Suspended):
        context.sleep(60)
    for change in (lambda: context.state.update(a=2), lambda: context.state.clear()):
        with pytest.raises(Suspended):
            change()
    assert (dict(context.state), kept.saved) == ({"a": 1}, [])


def test_a_forked_copy_reads_and_saves_nothing() -> None:
    kept = KeptState('{"a":1}')
    mine = State(kept, os.getpid() + 1, lambda: False)
    with pytest.raises(StepError, match="that it has forked"):
        mine["a"] = 2
    assert (dict(mine), kept.saved) == ({"a": 1}, [])


def test_threads_save_side_by_side_and_lose_nothing() -> None:
    kept = KeptState()
    mine = state(kept)

    def save(n: int) -> None:
        for k in range(100):
            mine[f"{n} {k}"] = k

    threads = [threading.Thread(target=save, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(mine), len(kept.saved), len(state(kept))) == (400, 400, 400)


def test_what_was_saved_by_itself_may_be_more_than_an_attempt_may_save() -> None:
    mine = state(KeptState('{"a":1e999,"b":"\\ud800"}'))
    assert mine["a"] == float("inf")


def test_outside_of_attempts_a_state_is_its_contexts_alone_and_that_of_everybody_is_empty() -> None:
    context = bgjob.JobContext(1, 1)
    context.state["a"] = 1
    assert (context.state["a"], dict(bgjob.JobContext(1, 1).state)) == (1, {})
    bgjob.CONTEXT.state["a"] = 1
    assert dict(bgjob.CONTEXT.state) == {}


def test_a_hook_and_an_attempt_of_an_older_daemon_have_no_state() -> None:
    with pytest.raises(StepError, match="of a daemon that knows it"):
        assert bgjob.JobContext(1, 1, stop_file=os.devnull).state


@pytest.mark.parametrize("which", ["state", "steps"])
def test_threads_that_ask_for_it_first_at_the_same_moment_get_the_same(
    monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    both = threading.Barrier(2, timeout=20)
    made: type[Any] = State if which == "state" else Steps
    make = made.__init__

    def meeting(self: Any, *given: Any) -> None:
        both.wait()
        make(self, *given)

    monkeypatch.setattr(made, "__init__", meeting)
    context = attempt(KeptState())
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(getattr(context, which))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] is found[1]
