"""Requests and responses as values, and their heads as bytes."""

from __future__ import annotations

import gzip
import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjobd.web.exchange import SECURITY, Request, Response, as_json, html, plain, redirect
from bgjobd.web.heads import BadHeadError, head_of, read_head

LONG = b"a line of a page\n" * 100


def asked(body: bytes = b"", **headers: str) -> Request:
    return Request("GET", "/", {}, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def ok(body: bytes = LONG) -> Response:
    return Response(200, body, {"Content-Type": "text/html"})


# Responses


def test_a_page_is_compressed_for_whoever_takes_that() -> None:
    for accepted in ("gzip", "gzip, br", "br,gzip;q=0.5", "gzip;q=0.001, br", "gzip ; q=1"):
        assert "Content-Encoding" in ok().fitted(asked(accept_encoding=accepted)).headers
    fitted = ok().fitted(asked(accept_encoding="br, gzip"))
    assert fitted.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(fitted.body) == LONG
    assert "Accept-Encoding" in fitted.headers["Vary"]


@pytest.mark.parametrize(
    "accepted", ["", "br", "identity", "gzip;q=0", "gzip;q=0,br", "br, gzip; q=0.0", "xgzip"]
)
def test_it_is_not_for_others(accepted: str) -> None:
    fitted = ok().fitted(asked(accept_encoding=accepted))
    assert (fitted.body, "Content-Encoding" in fitted.headers) == (LONG, False)


def test_a_small_page_is_sent_as_it_is() -> None:
    assert ok(b"small").fitted(asked(accept_encoding="gzip")).body == b"small"


def test_equal_pages_have_equal_tags_and_others_have_not() -> None:
    tags = [ok(body).fitted(asked()).headers["ETag"] for body in (LONG, LONG, LONG + b"!")]
    assert tags[0] == tags[1] != tags[2]


def test_who_has_a_page_is_told_that_it_is_the_same() -> None:
    tag = ok().fitted(asked()).headers["ETag"]
    for known in (tag, f"W/{tag}", f'"x", {tag}', f'"x",W/{tag} , "y"', "*"):
        again = ok().fitted(asked(if_none_match=known))
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    for other in ("", '"x"', tag.strip('"')):
        assert ok().fitted(asked(if_none_match=other)).status == 200


def test_what_went_wrong_is_never_the_same() -> None:
    assert "ETag" not in plain("no", 500).fitted(asked(if_none_match="*")).headers


def test_text_that_is_no_unicode_can_be_sent() -> None:
    assert html("a\udc80").body == b"a?"
    assert as_json({"a": "\ud800"}).body == b'{"a": "?"}'


def test_answers_are_kept_by_nobody_unless_they_say_so() -> None:
    for answer in (html(""), as_json({}), plain("no", 404), redirect("/", Set_Cookie="a=b")):
        assert b"\r\nCache-Control: no-store\r\n" in head_of(answer, is_last=False)
    kept = head_of(Response(200, headers={"Cache-Control": "max-age=1"}), is_last=False)
    assert kept.count(b"Cache-Control: ") == kept.count(b"Cache-Control: max-age=1\r\n") == 1
    assert redirect("/", Set_Cookie="a=b").headers == {"Location": "/", "Set-Cookie": "a=b"}


@given(st.text())
def test_a_value_stays_in_its_line(value: str) -> None:
    head = head_of(Response(200, b"", {"X": value}), is_last=False)
    lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    names = [line.partition(b":")[0] for line in lines[1:]]
    wanted = ["Server", "Date", "Cache-Control", *SECURITY, "X", "Content-Length"]
    assert names == [name.encode() for name in wanted]
    assert not set(head) & set(b"\0\x0b\x0c\x7f\t")


# Requests


@given(st.binary(max_size=300))
def test_whatever_comes_is_a_head_or_refused(data: bytes) -> None:
    for begin in (b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET /"):
        with suppress(BadHeadError):
            assert read_head(io.BytesIO(begin + data)).request(b"").path.startswith("/")


@given(st.binary(max_size=300), st.text())
def test_whatever_a_body_or_a_cookie_holds_is_read(body: bytes, cookie: str) -> None:
    request = asked(body, cookie=cookie)
    assert all(isinstance(value, str) for value in [*request.form.values(), *request.cookies("")])


def test_a_form_has_few_fields() -> None:
    assert asked(b"token=a&b=c").form == {"token": "a", "b": "c"}
    assert asked(b"token=a" + b"&b=c" * 99).form == {}


def test_all_cookies_of_a_name_are_told() -> None:
    assert asked(cookie="a=1; b=2; a=3").cookies("a") == ["1", "3"]


def test_a_program_says_that_it_wants_json() -> None:
    assert asked(accept="application/json").wants_json
    assert not asked(accept="text/html,*/*;q=0.8").wants_json
