"""What an assistant is told where it gets no answer: what happened, and what to do next; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bgjob.commands.problems import followed
from bgjob.errors import (
    BgjobError,
    CodeLoadingError,
    DaemonUnavailableError,
    ElsewhereError,
    ErrorGroupNotFoundError,
    InternalError,
    InvalidParameterError,
    InvalidStateError,
    JobNotFoundError,
    MethodNotFoundError,
    NoAnswerError,
    NotApprovedError,
    PermissionDeniedError,
    ProtocolError,
    ScheduleNotFoundError,
    SocketDeniedError,
    TooManyConnectionsError,
)
from bgjob.text import capped, one_line

_LONGEST: Final = 1000
"""Characters of what happened, which may quote what was given."""

TOO_MUCH: Final = "the answer would be too large; ask for fewer, by limit, or for less by a filter"

BUG: Final = "bgjob mcp met a bug; its stderr has more, for the person whom you help"

_NEXT: Final[Mapping[type[BgjobError], str]] = {
    JobNotFoundError: "the tool jobs lists those there are; old ones are deleted after some time",
    ErrorGroupNotFoundError: "the tool errors lists those there are",
    ScheduleNotFoundError: "the tool schedules lists those there are",
    NotApprovedError: "the tool classes lists those that are",
    InvalidStateError: "the tool job tells how it stands",
    InvalidParameterError: "mend that argument, and ask again",
    PermissionDeniedError: "do not try again: the user that `bgjob mcp` runs as has no right to this, which "
    "[access] of the daemon's configuration gives; tell that to the person whom you help",
    ElsewhereError: "only a `bgjob mcp` on that host can tell it",
    MethodNotFoundError: "the daemon is older than this command; `bgjobd` has to be upgraded for this",
    InternalError: "that is for the person whom you help to look at",
    SocketDeniedError: "do not try again: `ls -l` of the socket tells the group that may connect",
    CodeLoadingError: "ask again in some seconds",
    TooManyConnectionsError: "ask again in a moment",
    NoAnswerError: "`bgjobd status` there says whether it hangs",
    DaemonUnavailableError: "ask again in a moment; if that lasts, `bgjobd status` there says whether it is up",
    ProtocolError: "what answers there may be no bgjobd, or of another version",
}
"""What to do next, by the error: the first that fits."""


class WrongArgumentError(Exception):
    """An argument is not what it has to be; the message says what that is."""


def refusal(error: BgjobError, *, acts: bool) -> str:
    """Why there is no answer, on a line; of a call that `acts` also whether it may have been heard."""
    following = next((told for kind, told in _NEXT.items() if isinstance(error, kind)), None)
    told = capped(one_line(str(error)), _LONGEST)
    if following is not None:
        told = followed(told, following)
    if acts and isinstance(error, DaemonUnavailableError) and error.was_sent:
        told = followed(told, "it may have been done all the same: look at it before you ask again")
    return told


def wrong(told: str) -> str:
    """That an argument is wrong."""
    return f"wrong arguments: {capped(one_line(told), _LONGEST)}"


def unknown(name: str) -> str:
    """That there is no such tool."""
    told = capped(one_line(name), _LONGEST)
    return f"there is no tool {told} here; those that change something take `bgjob mcp --allow-actions`"
