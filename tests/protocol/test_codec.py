"""The codec alone: bytes in, frames and messages out, and everything else refused; no socket here."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjob.codec import (
    FrameReader,
    IntegerOutOfRangeError,
    JsonObject,
    Reply,
    Request,
    encode,
    parse_parameters,
    parse_reply,
    parse_request,
    to_json,
)
from bgjob.errors import InvalidParameterError, ProtocolError

# What a message may hold

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
objects = st.dictionaries(texts, values, max_size=5)
requests = st.builds(
    Request, method=texts, parameters=objects, more=st.booleans(), oneway=st.booleans()
).filter(lambda request: not (request.more and request.oneway))
replies = st.builds(
    Reply,
    parameters=objects,
    continues=st.booleans(),
    error=st.none() | st.just("org.bgjobd.Jobs.InvalidState"),
)

frames = st.lists(st.binary(max_size=30).map(lambda raw: raw.replace(b"\0", b"")), max_size=8)


def request_of(parameters: str) -> bytes:
    """The frame of a request whose parameters are this JSON text."""
    return b'{"method":"a.B","parameters":' + parameters.encode("utf-8", "surrogatepass") + b"}"


def nested(levels: int, opening: str = "[", closing: str = "]") -> str:
    return opening * levels + closing * levels


def cut(stream: bytes, places: list[int]) -> Iterator[bytes]:
    """The stream in pieces, cut at these places."""
    edges = [0, *sorted(places), len(stream)]
    for start, end in itertools.pairwise(edges):
        yield stream[start:end]


# Frames


@given(frames, st.data())
def test_frames_are_the_same_wherever_the_stream_is_split(sent: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frame + b"\0" for frame in sent)
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=10))
    reader = FrameReader()
    assert [frame for piece in cut(stream, places) for frame in reader.feed(piece)] == sent
    assert not reader.is_unfinished


@given(frames)
def test_frames_arrive_byte_by_byte(sent: list[bytes]) -> None:
    reader = FrameReader()
    stream = b"".join(frame + b"\0" for frame in sent)
    assert [frame for byte in stream for frame in reader.feed(bytes([byte]))] == sent


def test_a_reader_says_whether_a_frame_is_unfinished() -> None:
    reader = FrameReader()
    states = [reader.is_unfinished]
    for piece, completed in ((b"ab", []), (b"c\0d", [b"abc"]), (b"\0", [b"d"])):
        assert reader.feed(piece) == completed
        states.append(reader.is_unfinished)
    assert states == [False, True, True, False]


def test_a_frame_may_be_as_long_as_the_limit() -> None:
    assert FrameReader(max_frame=4).feed(b"abcd\0abcd\0") == [b"abcd", b"abcd"]


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b"abcde\0"], id="whole"),
        pytest.param([b"abcde"], id="before its end"),
        pytest.param([b"abc", b"de\0"], id="in two pieces"),
        pytest.param([b"a", b"b", b"c", b"d", b"e"], id="byte by byte"),
        pytest.param([b"ok\0abcde\0ok\0"], id="between others"),
        pytest.param([b"ok\0abcde"], id="after another"),
    ],
)
def test_a_frame_over_the_limit_is_refused_as_soon_as_it_is_over(pieces: list[bytes]) -> None:
    reader = FrameReader(max_frame=4)
    for piece in pieces[:-1]:
        reader.feed(piece)
    with pytest.raises(ProtocolError, match="longer than 4 bytes"):
        reader.feed(pieces[-1])


def test_a_reader_that_refused_a_frame_collects_no_more_of_it() -> None:
    reader, chunk = FrameReader(max_frame=1000), b"x" * 65536
    tracemalloc.start()
    try:
        for _ in range(100):
            with suppress(ProtocolError):
                reader.feed(chunk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * len(chunk)


def test_a_reader_that_refused_a_frame_finds_no_other_in_what_follows() -> None:
    reader = FrameReader(max_frame=4)
    for piece in (b"abcde", b"f\0ok\0"):
        with pytest.raises(ProtocolError):
            reader.feed(piece)


# Strict JSON

NO_JSON_OF_OURS = {
    "an empty frame": b"",
    "blanks": b"  ",
    "no JSON": b"hello",
    "an array": b"[]",
    "a string": b'"a.B"',
    "a number": b"1",
    "null": b"null",
    "true": b"true",
    "cut short": b'{"method":"a.B"',
    "two messages": b'{"method":"a.B"}{"method":"a.B"}',
    "a trailing comma": b'{"method":"a.B",}',
    "a comment": b'{"method":"a.B"}//',
    "single quotes": b"{'method':'a.B'}",
    "a control character": b'{"method":"a.B","parameters":{"a":"\n"}}',
    "a key twice, of the message": b'{"method":"a.B","method":"a.C"}',
    "a key twice, parameters": b'{"method":"a.B","parameters":{},"parameters":{}}',
    "a key twice, in parameters": request_of('{"a":1,"a":1}'),
    "a key twice, spelled in two ways": request_of(r'{"a":1,"\u0061":2}'),
    "a key twice, deep below": request_of('{"a":[{"b":{"c":1,"c":2}}]}'),
    "NaN": request_of('{"a":NaN}'),
    "Infinity": request_of('{"a":Infinity}'),
    "-Infinity": request_of('{"a":-Infinity}'),
    "NaN deep below": request_of('{"a":[{"b":[NaN]}]}'),
    "invalid UTF-8": b'{"method":"a.B","parameters":{"a":"\xff"}}',
    "overlong UTF-8": b'{"method":"a.B","parameters":{"a":"\xc0\xaf"}}',
    "a surrogate in UTF-8": request_of('{"a":"\ud800"}'),
    "a byte order mark": b'\xef\xbb\xbf{"method":"a.B"}',
    "UTF-16": '{"method":"a.B"}'.encode("utf-16"),
    "UTF-16 without mark": '{"method":"a.B"}'.encode("utf-16-le"),
    "UTF-32": '{"method":"a.B"}'.encode("utf-32"),
    "depth 3000": request_of('{"a":' + nested(3000) + "}"),
    "depth 100000": request_of('{"a":' + nested(100_000) + "}"),
    "depth 100000 without end": b"[" * 100_000,
    "depth 100000 of objects": request_of('{"a":' * 100_000 + "1" + "}" * 100_000),
    "parameters as array": request_of("[]"),
    "parameters as string": request_of('"a"'),
    "parameters as number": request_of("0"),
    "parameters as false": request_of("false"),
}

NO_TEXT_OR_NUMBER_OF_OURS = {
    "1e999": '{"a":1e999}',
    "-1e999": '{"a":-1e999}',
    "1e999 deep below": '{"a":[{"b":[1,1e999]}]}',
    "a lone high surrogate": r'{"a":"\ud800"}',
    "a lone low surrogate": r'{"a":"x\udc00y"}',
    "surrogates in the wrong order": r'{"a":"\udc00\ud800"}',
    "a lone surrogate as key": r'{"\ud800":1}',
    "a lone surrogate deep below": r'{"a":[{"b":["\ud800"]}]}',
    "a lone surrogate as key deep below": r'{"a":[{"b":{"\ud800":[]}}]}',
    "a NUL": r'{"a":"a\u0000b"}',
    "a NUL as key": r'{"a\u0000b":1}',
    "a NUL deep below": r'{"a":[{"b":["\u0000"]}]}',
    "a NUL as key deep below": r'{"a":[{"\u0000":1}]}',
}

NO_REQUEST = {
    "no method": b"{}",
    "no method but parameters": b'{"parameters":{}}',
    "method as number": b'{"method":1}',
    "method as null": b'{"method":null}',
    "method as array": b'{"method":["a.B"]}',
    "an unknown field": b'{"method":"a.B","id":1}',
    "an unknown field with a NUL": rb'{"method":"a.B","\u0000":1}',
    "an unknown field with a lone surrogate": rb'{"method":"a.B","\ud800":1}',
    "more as number": b'{"method":"a.B","more":1}',
    "more as string": b'{"method":"a.B","more":"true"}',
    "more as a huge integer": b'{"method":"a.B","more":' + b"9" * 5000 + b"}",
    "oneway as number": b'{"method":"a.B","oneway":0}',
    "oneway as object": b'{"method":"a.B","oneway":{}}',
    "many answers and none": b'{"method":"a.B","more":true,"oneway":true}',
    "upgrade": b'{"method":"a.B","upgrade":true}',
    "upgrade as string": b'{"method":"a.B","upgrade":"no"}',
}


def table(rows: dict[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("given", list(rows.values()), ids=list(rows))


@table(NO_JSON_OF_OURS)
def test_a_request_that_is_no_strict_json_object_is_refused(given: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_request(given)


@table({name: it for name, it in NO_JSON_OF_OURS.items() if name != "depth 3000"})  # which newer Pythons read
def test_a_reply_that_is_no_strict_json_object_is_refused(given: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_reply(given)


@table(NO_TEXT_OR_NUMBER_OF_OURS)
def test_a_request_with_a_text_or_number_that_cannot_be_stored_is_refused(given: str) -> None:
    with pytest.raises(ProtocolError):
        parse_request(request_of(given))


@pytest.mark.parametrize("method", [r"\ud800", r"a.B\udc00", r"a.B\u0000"])
def test_a_method_name_that_is_no_text_is_refused(method: str) -> None:
    with pytest.raises(ProtocolError):
        parse_request(b'{"method":"' + method.encode() + b'"}')


@table(NO_REQUEST)
def test_a_request_of_another_shape_is_refused(given: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_request(given)


@pytest.mark.parametrize(
    "frame",
    [
        b'{"parameters":[]}',
        b'{"error":1}',
        b'{"error":{}}',
        b'{"continues":1}',
        b'{"continues":"yes"}',
    ],
)
def test_a_reply_of_another_shape_is_refused(frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_reply(frame)


@pytest.mark.parametrize(
    "value",
    [
        *(
            '"\\ud800"',
            '"\\uDFFF\\ud800"',
            '{"\\uDbFf":1}',
            "1e999",
            "-1E+999",
            f"{'9' * 320}.0",
            f"{'9' * 250}e99",
        ),
        *("[" * 20 + "1e400" + "]" * 20, "1" + "0" * 400 + ".5", "[0,\n\t -1.5E+400]"),
    ],
)
def test_a_reply_that_could_not_be_written_again_is_refused(value: str) -> None:
    with pytest.raises(ProtocolError):
        parse_reply(b'{"parameters":{"result":%b}}' % value.encode())


@pytest.mark.parametrize("value", ['"\\ud83d\\ude00"', '"\\\\ud800"', "1e300", "1" * 400, '"\\u0000"'])
def test_a_reply_that_only_looks_so_is_taken(value: str) -> None:
    assert parse_reply(b'{"parameters":{"result":%b}}' % value.encode()).parameters == {
        "result": json.loads(value)
    }


def test_a_reply_that_looks_like_any_other_is_not_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is doubtful costs a client twice the time: the hash of a version is not."""
    monkeypatch.setattr(Reply, "to_bytes", None)
    frame = b'{"parameters":{"code_version":"1e1234f0e999","created_at":"2024-12-04T14:31:53.000000Z"}}'
    assert parse_reply(frame).parameters["code_version"] == "1e1234f0e999"


def test_a_broken_rule_counts_more_than_a_large_integer() -> None:
    for parameters in ('{"a":9223372036854775808,"b":1e999}', r'{"a":9223372036854775808,"b":"\u0000"}'):
        with pytest.raises(ProtocolError):
            parse_request(request_of(parameters))


# What is accepted


def test_what_a_request_leaves_out_has_its_default() -> None:
    plain = Request("a.B", {}, more=False, oneway=False)
    assert parse_request(b'{"method":"a.B"}') == plain
    assert parse_request(b' {"parameters" : {} ,\t"method":"a.B"}\r\n') == plain
    everything_null = b'{"method":"a.B","parameters":null,"more":null,"oneway":null,"upgrade":null}'
    assert parse_request(everything_null) == plain
    assert parse_request(b'{"method":"a.B","more":false,"oneway":false,"upgrade":false}') == plain


def test_what_a_request_says_is_understood() -> None:
    assert parse_request(b'{"method":"a.B","parameters":{"a":[1]},"more":true}') == Request(
        "a.B", {"a": [1]}, more=True
    )


def test_what_a_reply_leaves_out_has_its_default() -> None:
    assert parse_reply(b"{}") == Reply({}, continues=False, error=None)
    assert parse_reply(b'{"parameters":null,"continues":null,"error":null}') == Reply()


def test_a_client_understands_replies_of_a_newer_daemon() -> None:
    assert parse_reply(b'{"parameters":{"id":1},"news":true}') == Reply({"id": 1})


def test_pairs_of_surrogates_and_other_escapes_are_text() -> None:
    request = parse_request(request_of(r'{"\u00e4":"\ud83d\ude00 \u2028 \\u0000 \u0001"}'))
    assert request.parameters == {"ä": "\N{GRINNING FACE} \u2028 \\u0000 \x01"}


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_a_message_may_nest_as_deep_as_the_limit_and_no_deeper(opening: str, closing: str) -> None:
    def deep(levels: int) -> bytes:
        inner = opening * levels + "1" + closing * levels
        return request_of('{"a":' + inner + "}")

    # The message and its parameters are two levels.
    assert parse_request(deep(30)).method == "a.B"
    with pytest.raises(ProtocolError, match="deep"):
        parse_request(deep(31))
    assert parse_request(deep(3), max_depth=5).method == "a.B"
    with pytest.raises(ProtocolError, match="deep"):
        parse_request(deep(4), max_depth=5)


@pytest.mark.parametrize("max_depth", [1, 2])
def test_where_least_may_be_nested_values_beside_each_other_still_may(max_depth: int) -> None:
    assert parse_request(request_of('{"a":1}'), max_depth).parameters == {"a": 1}
    with pytest.raises(ProtocolError, match="deep"):
        parse_request(request_of('{"a":[]}'), max_depth)


def test_depth_is_that_of_the_deepest_value_wherever_it_stands() -> None:
    deep = nested(31)
    for parameters in (f'{{"a":1,"b":{deep}}}', f'{{"a":[1,[],{{"b":{nested(29)}}}]}}'):
        with pytest.raises(ProtocolError, match="deep"):
            parse_request(request_of(parameters))


def test_siblings_do_not_count_as_depth() -> None:
    wide = json.dumps({"a": [[[]] for _ in range(1000)]})
    assert len(parse_request(request_of(wide)).parameters["a"]) == 1000


# Integers


@pytest.mark.parametrize("number", [0, -1, 2**53 + 1, 2**63 - 1, -(2**63)])
def test_an_integer_of_64_bit_stays_exact(number: int) -> None:
    assert parse_request(request_of(f'{{"a":{number}}}')).parameters == {"a": number}
    assert parse_reply(b'{"parameters":{"a":%d}}' % number).parameters == {"a": number}


@pytest.mark.parametrize(
    "number",
    [
        pytest.param("9223372036854775808", id="2^63"),
        pytest.param("-9223372036854775809", id="-2^63-1"),
        pytest.param("18446744073709551616", id="2^64"),
        pytest.param("1" + "0" * 20, id="21 digits"),
        pytest.param("-1" + "0" * 20, id="minus and 21 digits"),
        pytest.param("9" * 4301, id="4301 digits"),
        pytest.param("-" + "9" * 4301, id="minus and 4301 digits"),
        pytest.param("9" * 1_000_000, id="a million digits"),
    ],
)
@pytest.mark.parametrize("shape", ["%s", "[%s]", '{"x":[1,{"y":%s}]}'])
def test_an_integer_beyond_64_bit_is_told_by_its_parameter(number: str, shape: str) -> None:
    with pytest.raises(IntegerOutOfRangeError) as caught:
        parse_request(request_of('{"small":1,"large":' + shape % number + ',"next":[2]}'))
    assert caught.value.parameter == "large"
    assert "large" in str(caught.value)
    assert len(str(caught.value)) < 100


def test_of_several_integers_beyond_64_bit_the_first_is_told() -> None:
    with pytest.raises(IntegerOutOfRangeError) as caught:
        parse_request(request_of('{"a":1,"b":9223372036854775808,"c":9223372036854775808}'))
    assert caught.value.parameter == "b"


@pytest.mark.parametrize("number", [2**63, 10**20, 10**30, -(10**30)])
def test_a_large_integer_in_a_reply_never_becomes_another_number(number: int) -> None:
    """A job's result is JSON of the application's making: it is told as it is, or refused."""
    try:
        reply = parse_reply(b'{"parameters":{"result":%d}}' % number)
    except ProtocolError:
        return
    assert reply.parameters == {"result": number}


# Parameters on their own


@given(objects)
def test_parameters_on_their_own_are_read_as_those_of_a_request(parameters: JsonObject) -> None:
    text = to_json(parameters)
    assert parse_parameters(text.encode()) == parse_request(request_of(text)).parameters == parameters


@table(
    {
        **{name: text.encode() for name, text in NO_TEXT_OR_NUMBER_OF_OURS.items()},
        "nothing": b"",
        "an array": b"[]",
        "a string": b'"a"',
        "null": b"null",
        "cut short": b'{"a":1',
        "two objects": b"{}{}",
        "a NUL at the end": b"{}\0",
        "a key twice": b'{"a":1,"a":1}',
        "a key twice, spelled in two ways": rb'{"a":1,"\u0061":2}',
        "NaN": b'{"a":[NaN]}',
        "invalid UTF-8": b'{"a":"\xff"}',
        "a byte order mark": b"\xef\xbb\xbf{}",
        "UTF-16": "{}".encode("utf-16"),
        "depth 100000": b'{"a":' + nested(100_000).encode() + b"}",
    }
)
def test_parameters_on_their_own_are_refused_as_those_of_a_request(given: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_parameters(given)


def test_parameters_on_their_own_may_nest_as_deep_as_those_of_a_request() -> None:
    for levels, limit in ((30, 32), (3, 5)):
        assert "a" in parse_parameters(f'{{"a":{nested(levels)}}}'.encode(), limit)
        with pytest.raises(ProtocolError, match="deep"):
            parse_parameters(f'{{"a":{nested(levels + 1)}}}'.encode(), limit)


@pytest.mark.parametrize("number", ["9223372036854775808", "-9223372036854775809", "9" * 4301])
def test_an_integer_beyond_64_bit_among_parameters_on_their_own_is_told_by_its_parameter(number: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        parse_parameters(f'{{"small":1,"large":[{number}],"next":2}}'.encode())
    assert caught.value.parameters == {"parameter": "large"}


def test_why_bytes_are_no_json_is_said_without_quoting_them() -> None:
    for broken in (
        b'{"a":hunter2}',
        b'{"a":"hunter2\xff"}',
        b'{"hunter2":1,"hunter2":2}',
        rb'{"a":"\hunter2"}',
    ):
        with pytest.raises(ProtocolError) as caught:
            parse_parameters(broken)
        assert "hunter2" not in str(caught.value)
        assert "ff" not in str(caught.value)


# Both ways


@given(requests)
def test_a_request_survives_the_way_through_bytes(request: Request) -> None:
    (frame,) = FrameReader().feed(request.to_bytes())
    assert parse_request(frame) == request


@given(replies)
def test_a_reply_survives_the_way_through_bytes(reply: Reply) -> None:
    (frame,) = FrameReader().feed(reply.to_bytes())
    assert parse_reply(frame) == reply


@given(values)
def test_canonical_json_is_json(value: Any) -> None:
    assert json.loads(to_json(value)) == value


def test_canonical_json_has_no_blanks_and_escapes_only_what_it_must() -> None:
    assert to_json({"b": [1, 2.5, None], "a": 'ä\n"\0'}) == r'{"b":[1,2.5,null],"a":"ä\n\"\u0000"}'


def test_a_message_says_only_what_differs_from_the_default() -> None:
    assert Request("a.B").to_bytes() == b'{"method":"a.B","parameters":{}}\0'
    assert Reply().to_bytes() == b'{"parameters":{}}\0'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {"\udfff": 1}])
def test_what_json_cannot_hold_is_not_sent(value: Any) -> None:
    with pytest.raises(ValueError, match=r"JSON|surrogates"):
        encode({"a": value})


@given(objects)
def test_a_frame_holds_its_only_nul_at_its_end(message: JsonObject) -> None:
    assert encode(message).index(b"\0") == len(encode(message)) - 1


# Fuzz: any bytes at all

FRAGMENTS = [
    *(b"{", b"}", b"[", b"]", b":", b",", b'"', b" ", b"\\", b"-", b"."),
    *(b"null", b"true", b"false", b"NaN", b"-Infinity", b"1e999", b"0", b"9223372036854775808", b"9" * 5000),
    *(rb'"\ud800"', rb'"\u0000"', rb"\u", b"\xff", b"\xef\xbb\xbf", b"[" * 2000, b'{"a":' * 2000),
    *(b'{"method":"a.B"', b'"method":', b'"parameters":', b'{"parameters":{', b'"more":', b'"oneway":'),
    *(b'"upgrade":', b'"error":', b'"continues":', b'"a":', b'"a.B"'),
]
noise = st.binary(max_size=200) | st.lists(st.sampled_from(FRAGMENTS), max_size=20).map(b"".join)


@given(noise)
def test_any_bytes_are_a_request_or_a_refusal(frame: bytes) -> None:
    with suppress(ProtocolError, IntegerOutOfRangeError):
        assert isinstance(parse_request(frame), Request)


@given(noise)
def test_any_bytes_are_parameters_or_a_refusal(frame: bytes) -> None:
    with suppress(ProtocolError, InvalidParameterError):
        assert isinstance(parse_parameters(frame), dict)


@given(noise)
def test_any_bytes_are_a_reply_or_a_refusal(frame: bytes) -> None:
    with suppress(ProtocolError):
        assert isinstance(parse_reply(frame), Reply)


@given(objects, st.data())
def test_a_damaged_message_is_a_message_or_a_refusal(parameters: JsonObject, data: st.DataObject) -> None:
    frame = bytearray(Request("a.B", parameters, more=True).to_bytes()[:-1])
    for _ in range(data.draw(st.integers(1, 3))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ProtocolError, IntegerOutOfRangeError):
        parse_request(bytes(frame))
    with suppress(ProtocolError):
        parse_reply(bytes(frame))
