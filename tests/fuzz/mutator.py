"""The built-in mutator, for where atheris does not install: small changes to the corpus, repeatable by their seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from tests.fuzz.target import MOST

_MOST_CHANGES = 6

Change = Callable[[bytes, random.Random, Sequence[bytes], Sequence[bytes]], bytes]
"""Bytes, chance, the corpus and the tokens become other bytes."""


def mutations(corpus: Sequence[bytes], tokens: Sequence[bytes], seed: int | str) -> Iterator[bytes]:
    """Without end: one of the corpus after the other at random, with some changes; the same for the same seed."""
    luck = random.Random(seed)
    while True:
        data = luck.choice(corpus)
        for _ in range(luck.randint(1, _MOST_CHANGES)):
            data = luck.choice(_CHANGES)(data, luck, corpus, tokens)
        yield data[:MOST]


def _splice(data: bytes, luck: random.Random, corpus: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """Its beginning, with another's end."""
    other = luck.choice(corpus)
    return data[: _place(data, luck)] + other[_place(other, luck) :]


def _flip(data: bytes, luck: random.Random, corpus: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    if not data:
        return data
    place = luck.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << luck.randrange(8)]) + data[place + 1 :]


def _overwrite(data: bytes, luck: random.Random, corpus: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    place = _place(data, luck)
    return data[:place] + luck.randbytes(1) + data[place + 1 :]


def _insert(data: bytes, luck: random.Random, corpus: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    place = _place(data, luck)
    return data[:place] + (luck.choice(tokens) if tokens else luck.randbytes(2)) + data[place:]


def _duplicate(data: bytes, luck: random.Random, corpus: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    begin, end = sorted((_place(data, luck), _place(data, luck)))
    return data[:end] + data[begin:end] * luck.choice((1, 1, 2, 40)) + data[end:]


def _leave_out(data: bytes, luck: random.Random, corpus: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    begin, end = sorted((_place(data, luck), _place(data, luck)))
    return data[:begin] + data[min(end, begin + 64) :]


def _truncate(data: bytes, luck: random.Random, corpus: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    return data[: _place(data, luck)]


_CHANGES: tuple[Change, ...] = (
    _splice,
    _flip,
    _overwrite,
    _insert,
    _insert,
    _duplicate,
    _leave_out,
    _truncate,
)


def _place(data: bytes, luck: random.Random) -> int:
    return luck.randint(0, len(data))
