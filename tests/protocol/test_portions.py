"""A frame that is read in portions is the request that it is when it is read at once, or is refused alike."""

from __future__ import annotations

import gc
import json
import random
import time
import tracemalloc
from collections.abc import Collection, Generator, Iterator
from typing import Any, TypeVar

import pytest

from bgjob import codec
from bgjob.codec import IntegerOutOfRangeError, Request
from bgjob.errors import InvalidParameterError, ProtocolError
from bgjob.words import INT_MAX, INT_MIN
from bgjobd.host import json_portions

T = TypeVar("T")


def whole(work: Generator[None, None, T]) -> T:
    """All of it, and how it was reached does not matter."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            done: T = end.value
            return done


def told(frame: bytes, is_at_once: bool, max_depth: int = 8) -> tuple[str, Any]:
    """What a frame is: a request, one with an integer too large in a parameter, or none."""
    try:
        if is_at_once:
            return "request", codec.parse_request(frame, max_depth)
        return "request", whole(json_portions.request_in(frame, max_depth))
    except IntegerOutOfRangeError as error:
        return "oversized", error.parameter
    except ProtocolError:
        return "none", None


class Pieces:
    """What is read, or looked at, between two moments when others have their turn: characters, or values."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.longest = 0
        self._read = 0
        self._loads, self._check_value = codec.loads, codec.check_value
        monkeypatch.setattr(codec, "loads", self._on_loads)
        monkeypatch.setattr(codec, "check_value", self._on_check)

    def of(self, work: Generator[None, None, T]) -> T:
        while True:
            self._read = 0
            try:
                next(work)
            except StopIteration as end:
                done: T = end.value
                return done
            self.count += 1
            self.longest = max(self.longest, self._read)

    def _on_loads(self, text: str, *more: Any) -> Any:
        self._read += len(text)
        return self._loads(text, *more)

    def _on_check(self, value: Any, depth: int, has_escapes: bool, known: Collection[int]) -> bool:
        self._read += _count(value, known)
        return self._check_value(value, depth, has_escapes, known)


def _count(value: Any, known: Collection[int]) -> int:
    """How many values are in this one, without those that are known."""
    if id(value) in known or not isinstance(value, list | dict):
        return 1
    return 1 + sum(_count(item, known) for item in (value.values() if isinstance(value, dict) else value))


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> Pieces:
    monkeypatch.setattr(json_portions, "PORTION", 128)
    return Pieces(monkeypatch)


def framed(parameters: str) -> bytes:
    return f'{{"method":"a.B","parameters":{parameters}}}'.encode()


def some_value(chance: random.Random, depth: int) -> Any:
    kind = chance.randrange(9 if depth else 6)
    if kind < 6:
        return chance.choice(
            [
                0,
                -7,
                1.5,
                INT_MAX,
                INT_MAX + 1,
                True,
                None,
                "",
                "[",
                '{"',
                "a,b",
                "é\\",
                "x" * 40,
                "\n\t",
                "\ud800",
                "\0",
            ]
            if chance.random() < 0.02
            else [0, -7, 1.5, True, None, "", "[", '{"', "a,b", "é\\", "x" * 40, "\n\t", "]}"]
        )
    inner = [some_value(chance, depth - 1) for _ in range(chance.randrange(12))]
    return inner if kind < 8 else {f"k{number}": value for number, value in enumerate(inner)}


@pytest.mark.parametrize("portion", [2, 7, 40])
def test_whatever_a_frame_holds_it_is_read_as_at_once(portion: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut at each comma that there may be; and each frame broken at some place, which is where seams would show."""
    monkeypatch.setattr(json_portions, "PORTION", portion)
    chance = random.Random(portion)
    kinds = set()
    for _ in range(150):
        value = {"a": some_value(chance, 5), "b": some_value(chance, 5)}
        space = chance.choice([None, 1])
        frame = framed(
            json.dumps(
                value, ensure_ascii=chance.random() < 0.5 or "\\ud8" in json.dumps(value), indent=space
            )
        )
        for tried in (frame, broken(chance, frame)):
            expected = told(tried, is_at_once=True)
            assert told(tried, is_at_once=False) == expected, tried
            kinds.add(expected[0])
    assert kinds == {"request", "oversized", "none"}


def broken(chance: random.Random, frame: bytes) -> bytes:
    """The frame with a byte lost, added or changed that means something in JSON."""
    at = chance.randrange(len(frame))
    return (
        frame[:at]
        + chance.choice([b"", *(bytes([byte]) for byte in b',[]{}":\\ 1NaN\0')])
        + frame[at + chance.randrange(2) :]
    )


@pytest.mark.parametrize(
    "parameters",
    [
        *(
            '{"a":[1,2,]}',
            '{"a":[,1]}',
            '{"a":[1,,2]}',
            '{"a":[   ,1]}',
            '{"a":{   ,"b":1}}',
            '{"a":[[1,2],]}',
            '{"a":[1 2]}',
            '{"a":[1,2}}',
            '{"a":1,}',
        ),
        *(
            '{"a":NaN}',
            '{"a":[[1,2,3],NaN]}',
            '{"a":[NaN,[1,2,3]]}',
            '{"a":-[1,2,3]}',
            '{"a":1[1,2,3]}',
            '{"a":Infinity}',
        ),
        *(
            '{"a":1,"b":2,"a":3}',
            '{"a":[1,2,3],"a":[4,5,6]}',
            "{[1,2,3]:1}",
            '{"a":[1,2,3]x}',
            '{"a":"b\\"}',
            '{"a":tru}',
        ),
        *(
            '{"a":"\\u0000"}',
            '{"a":["\\ud800",1]}',
            '{"a":[1e999,1]}',
            '{"a":[[[[[[[1]]]]]]]}',
            '{"a":[[[[[[[1]]]]]]',
            "[]",
            "{}{}",
        ),
    ],
)
def test_what_is_no_request_is_none_however_it_is_cut(
    parameters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_portions, "PORTION", 2)
    assert told(framed(parameters), is_at_once=True) == ("none", None)
    assert told(framed(parameters), is_at_once=False) == ("none", None)


@pytest.mark.parametrize(
    "inner",
    [
        "[]",
        "{}",
        "1",
        '""',
        "[[[[[]]]]]",
        '{"a":{"b":[{}]}}',
        '"[{,"',
        r'"\n"',
        "1.25",
        '{"class_name":"a.B","parameters":{"a":1}}',
        "[" + "1," * 100 + "1]",
    ],
)
def test_no_more_than_a_portion_is_read_at_once(inner: str, pieces: Pieces) -> None:
    """1 MiB of lists held the interpreter for a tenth of a second, and all others with it."""
    frame = framed('{"a":[' + ",".join([inner] * (50_000 // len(inner))) + "]}")
    request = pieces.of(json_portions.request_in(frame, 32))
    assert request == Request("a.B", json.loads(frame)["parameters"])
    assert pieces.longest <= 4 * json_portions.PORTION


@pytest.mark.parametrize("text", [" " * 50_000 + "1", '"' + "x" * 50_000 + '"', '"' + r"\n" * 25_000 + '"'])
def test_what_has_no_commas_for_long_is_looked_through_in_portions_too(text: str, pieces: Pieces) -> None:
    pieces.of(json_portions.request_in(framed(f'{{"a":{text}}}'), 8))
    assert pieces.count >= 50_000 / json_portions.PORTION


def test_what_is_nested_too_deeply_is_not_looked_at_any_deeper() -> None:
    with pytest.raises(ProtocolError, match="nested too deeply"):
        whole(json_portions.request_in(b'{"method":"a.B","parameters":' + b"[" * 8, 8))
    with pytest.raises(ProtocolError, match="not closed"):
        whole(json_portions.request_in(b'{"method":"a.B","parameters":' + b"[" * 7, 8))


def test_the_parameter_that_is_named_is_the_one_that_is_too_large() -> None:
    for value in (INT_MIN - 1, INT_MAX + 1, 10**30):
        frame = framed(f'{{"a":{INT_MIN},"b":{INT_MAX},"c":[1,{{"d":{value}}}],"e":{value}}}')
        assert told(frame, is_at_once=False) == ("oversized", "c")


def test_parameters_alone_are_read_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_portions, "PORTION", 4)
    deepest = b'{"a":' + b"[" * 6 + b"1,2,3" + b"]" * 6 + b"}"
    assert whole(json_portions.parameters_in(deepest, 8)) == codec.parse_parameters(deepest, 8)
    for text, error in {
        b'{"a":' + b"[" * 7 + b"]" * 7 + b"}": ProtocolError,
        b"[1,2,3]": ProtocolError,
        b'{"a":[1,99999999999999999999]}': InvalidParameterError,
    }.items():
        for read in (
            lambda text: codec.parse_parameters(text, 8),
            lambda text: whole(json_portions.parameters_in(text, 8)),
        ):
            with pytest.raises(error):
                read(text)


def test_what_is_let_go_is_let_go_in_portions() -> None:
    value = [[[], {"a": [1, 2, {}]}] for _ in range(2000)]
    kept, kept_too = value[7], value[7][1]
    assert sum(1 for _ in json_portions.emptied([value])) >= 5
    assert (value, kept, kept_too) == ([], [], {})


def judged(text: str) -> str:
    """What a text is as a result: it can be passed on, is JSON that no reply can tell, or none at all."""
    try:
        whole(json_portions.check(text, 8))
    except json_portions.UnsayableError:
        return "unsayable"
    except ValueError:
        return "none"
    return "fine"


def is_a_reply(text: str) -> bool:
    try:
        codec.parse_reply(f'{{"parameters":{{"result":{text}}}}}'.encode())
    except ProtocolError:
        return False
    return True


@pytest.mark.parametrize("portion", [2, 7, 40])
def test_what_is_passed_on_as_a_result_is_what_a_client_takes(
    portion: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_portions, "PORTION", portion)
    chance = random.Random(portion)
    kinds = set()
    for _ in range(150):
        value = some_value(chance, 5)
        text = json.dumps(value, ensure_ascii="\\ud8" in json.dumps(value), indent=chance.choice([None, 1]))
        for tried in (text, broken(chance, text.encode()).decode("utf-8", "replace")):
            kind = judged(tried)
            assert (kind == "fine") == is_a_reply(tried), tried
            kinds.add(kind)
    assert kinds == {"fine", "unsayable", "none"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('["\\u0000",1]', "fine"),
        ("[100000000000000000000000000000,1]", "fine"),
        ("[[[[[[[[1]]]]]]]]", "fine"),
        ("[[[[[[[[[1]]]]]]]]]", "unsayable"),
        ("[1e999,1]", "unsayable"),
        ('["\\ud800",1]', "unsayable"),
        ('{"a":1,"b":[1,2,3],"a":3}', "none"),
        ('{"a":[{"b":1,"c":2,"b":3}]}', "none"),
        ('[1,2],"pid":7', "none"),
        ("[" + "9" * 5000 + "]", "none"),
        ("[NaN]", "none"),
        ("", "none"),
    ],
)
def test_a_result_may_hold_what_a_reply_can_tell(
    text: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_portions, "PORTION", 2)
    assert judged(text) == expected


def test_of_a_result_that_is_judged_no_more_than_a_portion_is_read_at_once(pieces: Pieces) -> None:
    pieces.of(json_portions.check("[" + "[]," * 30_000 + "[]]", 8))
    assert pieces.longest <= 4 * json_portions.PORTION


@pytest.mark.parametrize(
    "text",
    ["[" + "0.5," * 50_000 + "1]", "{" + ",".join(f'"{n}":"{"x" * 400}"' for n in range(500)) + "}"],
    ids=["list", "object"],
)
def test_nothing_of_a_result_that_is_judged_is_kept(text: str) -> None:
    tracemalloc.start()
    try:
        whole(json_portions.check(text, 8))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < len(text)


@pytest.mark.parametrize("seed", range(30))
def test_what_is_written_in_portions_is_what_is_written_at_once(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(json_portions, "PORTION", chance.choice([1, 2, 3, 50]))
    value = {f"n{number}": some_value(chance, 3) for number in range(chance.randrange(5))}
    assert whole(json_portions.written(value, codec.to_json)) == codec.to_json(value)


def test_of_a_long_list_no_more_than_a_portion_is_written_at_once() -> None:
    sizes = []

    def to_text(value: Any) -> str:
        text = codec.to_json(value)
        sizes.append(len(text))
        return text

    whole(json_portions.written({"a": [1] * 30_000, "b": 2}, to_text))
    assert max(sizes) <= 3 * json_portions.PORTION


@pytest.mark.parametrize("unit", [r'"\""', "[[[]]]"])
def test_what_has_no_commas_is_read_in_portions_too(unit: str, without_gc: None) -> None:
    frame = framed('{"a":[' + unit * 150_000)

    def longest() -> float:
        seconds: list[float] = []
        with pytest.raises(ProtocolError):
            whole(timed(json_portions.request_in(frame, 32), seconds))
        return max(seconds)

    # It was 200 ms, in which nobody else was heard. What a busy machine adds, it adds to one in three.
    assert min(longest() for _ in range(3)) < 0.005


def test_of_a_request_that_is_refused_no_parameters_are_left() -> None:
    with pytest.raises(IntegerOutOfRangeError) as refused:
        whole(json_portions.request_in(framed(f'{{"a":[[1],{INT_MAX + 1}],"b":1}}'), 32))
    assert (refused.value.parameter, refused.value.request.parameters) == ("a", {})


@pytest.fixture
def without_gc() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def timed(work: Generator[None, None, T], seconds: list[float]) -> Generator[None, None, T]:
    """The work, which tells how long each piece of it took."""
    while True:
        began_at = time.thread_time()
        try:
            next(work)
        except StopIteration as end:
            done: T = end.value
            return done
        finally:
            seconds.append(time.thread_time() - began_at)
        yield
