"""What a job's page shows of an output that grows: what somebody has seen already, and the text behind that; no I/O."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bgjob.answers import OutputPart
from bgjob.text import without_sequences, without_terminal

_SEEN: Final = re.compile(r"([0-9]{1,9})\.([0-9]{1,18})\.([0-9]{1,18})")
_BEGUN: Final = re.compile(rb"[\x80-\xbf]{1,3}")
"""The rest of a character that begins before the first byte."""

_NOT_OVER: Final = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*)?\Z")
"""The beginning of what tells a terminal something, of which the rest is to come."""

_UNSEEN: Final = re.compile(rb"(?:\r|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\))\Z")
"""The end of a line, or a colour: what comes after says whether the line is written over."""

_LONGEST_SEQUENCE: Final = 256
_MOST_UNSEEN: Final = 1024


@dataclass(frozen=True)
class Seen:
    """Until where a browser has a job's output, in bytes of an attempt's, and its log, as the id of an entry."""

    attempt: int = 0
    end: int = 0
    entry: int = 0

    @classmethod
    def of(cls, text: str) -> Seen:
        """What "2.65536.17" says; nothing where it is no such text."""
        found = _SEEN.fullmatch(text)
        return cls(*map(int, found.groups())) if found else cls()


@dataclass(frozen=True)
class Printed:
    """Some text of attempt `number`, and which bytes of its output those are; `rewinds` where it begins on a line that
    has been shown.
    """

    number: int = 0
    text: str = ""
    begin: int = 0
    end: int = 0
    rewinds: bool = False


def _rewinds(text: str) -> bool:
    """Whether the first line of more text is written over what stood there before."""
    return "\r" in without_sequences(text).partition("\n")[0].rstrip("\r")


def shown_of(parts: Sequence[OutputPart], seen: Seen, is_whole: bool) -> Printed:
    """The parts behind what was seen of the same attempt, as a terminal would show them.

    A character that is not yet whole is left for later, unless no more will come, and so is what tells a terminal
    something.
    """
    if not parts:
        return Printed()
    number = parts[-1].number
    after = seen.end if seen.attempt == number else 0
    begin, end = parts[0].offset - parts[0].left_out, parts[-1].offset + len(parts[-1].data)
    if begin <= after <= end and after:
        begin, data = after, b"".join(_behind(part, after) for part in parts)
    else:
        data = b"".join(part.marked for part in parts)
        cut = _BEGUN.match(data) if begin else None
        data = data[cut.end() :] if cut else data
    is_more = begin == after and after > 0
    over = data if is_whole else _over(data)
    text = over.decode("utf-8", "replace")
    end -= len(data) - len(over)
    return Printed(number, without_terminal(text), begin, end, is_more and _rewinds(text))


def _over(data: bytes) -> bytes:
    """What is over of it."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(data)
    whole = data[: len(data) - len(decoder.getstate()[0])]
    found = _NOT_OVER.search(whole, max(0, len(whole) - _LONGEST_SEQUENCE))
    whole = whole[: found.start()] if found else whole
    end = len(whole)
    while (found := _UNSEEN.search(whole, max(0, end - _LONGEST_SEQUENCE), end)) and len(
        whole
    ) - end < _MOST_UNSEEN:
        end = found.start()
    return whole[:end] if b"\r" in whole[end:] else whole


def _behind(part: OutputPart, after: int) -> bytes:
    """What a part has behind this byte."""
    return part.marked if part.offset >= after else part.data[after - part.offset :]
