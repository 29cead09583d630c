"""A frame that is read in portions is the request that it is when it is read at once, or is refused alike."""

from __future__ import annotations

import json
import random
from collections.abc import Generator
from typing import Any, TypeVar

import pytest

from bgjob import codec
from bgjob.codec import IntegerOutOfRangeError, Request
from bgjob.errors import InvalidParameterError, ProtocolError
from bgjob.words import INT_MAX
from bgjobd import portions

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
        return "request", whole(portions.request_in(frame, max_depth))
    except IntegerOutOfRangeError as error:
        return "oversized", error.parameter
    except ProtocolError:
        return "none", None


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
    monkeypatch.setattr(portions, "PORTION", portion)
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
    monkeypatch.setattr(portions, "PORTION", 2)
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
    ],
)
def test_no_more_than_a_portion_is_read_at_once(inner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 MiB of lists held the interpreter for a tenth of a second, and all others with it."""
    sizes = []

    def loads(text: str, *more: Any) -> Any:
        sizes.append(len(text))
        return real(text, *more)

    real = codec.loads
    monkeypatch.setattr(codec, "loads", loads)
    frame = framed('{"a":[' + ",".join([inner] * (100_000 // len(inner))) + "]}")
    assert whole(portions.request_in(frame, 32)) == Request("a.B", json.loads(frame)["parameters"])
    assert max(sizes) <= 3 * portions.PORTION
    assert len(sizes) >= len(frame) / (3 * portions.PORTION)


def test_parameters_alone_are_read_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "PORTION", 4)
    deepest = b'{"a":' + b"[" * 6 + b"1,2,3" + b"]" * 6 + b"}"
    assert whole(portions.parameters_in(deepest, 8)) == codec.parse_parameters(deepest, 8)
    for text, error in {
        b'{"a":' + b"[" * 7 + b"]" * 7 + b"}": ProtocolError,
        b"[1,2,3]": ProtocolError,
        b'{"a":[1,99999999999999999999]}': InvalidParameterError,
    }.items():
        for read in (
            lambda text: codec.parse_parameters(text, 8),
            lambda text: whole(portions.parameters_in(text, 8)),
        ):
            with pytest.raises(error):
                read(text)


def test_what_is_let_go_is_let_go_in_portions() -> None:
    value = [[[], {"a": [1, 2, {}]}] for _ in range(2000)]
    kept = value[7]
    assert sum(1 for _ in portions.emptied([value])) >= 5
    assert (value, kept) == ([], [])


def judged(text: str) -> str:
    """What a text is as a result: it can be passed on, is JSON that no reply can tell, or none at all."""
    try:
        whole(portions.check(text, 8))
    except portions.UnsayableError:
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
    monkeypatch.setattr(portions, "PORTION", portion)
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
        ("[NaN]", "none"),
        ("", "none"),
    ],
)
def test_a_result_may_hold_what_a_reply_can_tell(
    text: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portions, "PORTION", 2)
    assert judged(text) == expected


def test_of_a_result_that_is_judged_no_more_than_a_portion_is_read_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = []

    def loads(text: str, *more: Any) -> Any:
        sizes.append(len(text))
        return real(text, *more)

    real = codec.loads
    monkeypatch.setattr(codec, "loads", loads)
    whole(portions.check("[" + "[]," * 30_000 + "[]]", 8))
    assert max(sizes) <= 3 * portions.PORTION
    assert len(sizes) >= 30
