"""What a target of the fuzzer is, and how its bytes are cut; nothing of the product is here."""

from __future__ import annotations

import os
import random
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
_MEMORY = "/dev/shm"
MOST = 16 * 1024
"""Bytes of an input that a mutation makes."""


@dataclass(frozen=True)
class Target:
    """What is fed with bytes: `attempt` returns whatever they are, and raises where the code has a defect.

    `tokens` are pieces that mutations put in: without them hardly any input gets past the first check.
    """

    name: str
    attempt: Callable[[bytes], None]
    tokens: tuple[bytes, ...] = ()
    folder: str = ""
    """Where its corpus is; as its name where it is empty."""

    def corpus(self) -> list[Path]:
        """The inputs that are kept in the tree, by name."""
        return sorted((CORPUS / (self.folder or self.name)).iterdir())


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A directory for a target's files: in memory where that is to be had, unless $TMPDIR says where."""
    is_to_choose = "TMPDIR" not in os.environ and os.access(_MEMORY, os.W_OK)
    return tempfile.TemporaryDirectory(prefix="bgjobd-fuzz-", dir=_MEMORY if is_to_choose else None)


def luck_of(data: bytes) -> random.Random:
    """Chance that is the same whenever the input is."""
    return random.Random(zlib.crc32(data))


def pieces(data: bytes) -> Iterator[bytes]:
    """The bytes as they might arrive; the same whenever the bytes are."""
    luck = luck_of(data)
    most = luck.choice((1, 3, 16, 256, 4096))
    while data:
        size = luck.randint(1, most)
        yield data[:size]
        data = data[size:]
