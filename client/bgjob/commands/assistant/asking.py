"""What an assistant can ask for: a tool as a value, what its arguments may be, and how one is called; no SDK here."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from bgjob import text
from bgjob.client import Client
from bgjob.commands.assistant import answering, refusing
from bgjob.commands.assistant.answering import Answer, TooMuchError
from bgjob.commands.assistant.refusing import WrongArgumentError
from bgjob.errors import BgjobError
from bgjob.words import STATUS_WORDS, EntryType, ErrorSort, Outcome

USUAL: Final = 20
MOST_ITEMS: Final = 50
MOST_OUTPUT: Final = 16 * 1024
USUAL_OUTPUT: Final = 4 * 1024


class Tool(NamedTuple):
    """One of them: what it `says` of itself, which arguments it `takes` and `requires`, the function that answers.

    `acts`: it changes something. `takes_away`: not only adds; `once`: a second call changes nothing more.
    """

    name: str
    says: str
    answer: Callable[..., Answer]
    takes: Sequence[str] = ()
    requires: Sequence[str] = ()
    acts: bool = False
    takes_away: bool = False
    once: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """Of its arguments, as JSON Schema."""
        return {
            "type": "object",
            "properties": {name: ARGUMENTS[name] for name in (*self.requires, *self.takes)},
            "required": list(self.requires),
            "additionalProperties": False,
        }


class Told(NamedTuple):
    """What a call came to: an answer, or in its place why there is none."""

    answer: Answer | None
    refusal: str = ""

    @property
    def text(self) -> str:
        """As one line of JSON, in which no text ends the quotes that it stands in."""
        return self.refusal if self.answer is None else text.to_json(self.answer)


def call(client: Client, tools: Mapping[str, Tool], name: str, arguments: Mapping[str, Any]) -> Told:
    """Call one of the tools."""
    tool = tools.get(name)
    if tool is None:
        return Told(None, refusing.unknown(name))
    wrong = _try_wrong(tool, arguments)
    if wrong is not None:
        return Told(None, wrong)
    try:
        return Told(answering.fitted(tool.answer(client, **arguments)))
    except BgjobError as error:
        return Told(None, refusing.refusal(error, acts=tool.acts))
    except WrongArgumentError as error:
        return Told(None, refusing.wrong(str(error)))
    except TooMuchError:
        return Told(None, refusing.TOO_MUCH)
    except Exception:  # a bug of ours, whose text may quote what jobs wrote
        traceback.print_exc()  # to stderr, which is the person's
        return Told(None, refusing.BUG)


def _try_wrong(tool: Tool, arguments: Mapping[str, Any]) -> str | None:
    """What is wrong with the arguments, first of all."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    found = best_match(Draft202012Validator(tool.schema).iter_errors(dict(arguments)))
    if found is None:
        return None
    place = ".".join(map(str, found.absolute_path))
    return refusing.wrong(f"{place}: {found.message}" if place else found.message)


_ID: Final = {"type": "integer", "minimum": 1}
_TEXT: Final = {"type": "string"}
_TIME: Final = "2026-12-04T14:31:53Z, or how long ago: 30m, 1h, 2d"

ARGUMENTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "job": {**_ID, "description": "The id of a job."},
    "jobs": {
        "type": "array",
        "items": _ID,
        "minItems": 1,
        "maxItems": MOST_ITEMS,
        "uniqueItems": True,
        "description": "The ids of jobs.",
    },
    "idempotency_key": {**_TEXT, "description": "The job's, in place of its id."},
    "error": {**_ID, "description": "The id of an error."},
    "attempt": {**_ID, "description": "The number of an attempt; else the latest."},
    "class_name": {**_TEXT, "description": "A class by its whole name, with its module."},
    "method_name": {**_TEXT, "description": "A method of that class."},
    "queue": {**_TEXT, "description": "The name of a queue."},
    "schedule": {**_TEXT, "description": "The name of a schedule."},
    "status": {
        "type": "array",
        "items": {"enum": list(STATUS_WORDS)},
        "minItems": 1,
        "description": "Where all of them are ends, the latest end is first.",
    },
    "outcome": {"enum": [one.value for one in Outcome], "description": "How the latest attempt ended."},
    "label": {**_TEXT, "description": "A label that they have."},
    "key": {**_TEXT, "description": "The key that they share with others of their queue."},
    "search": {**_TEXT, "description": "A part of class, method, message or a parameter's value."},
    "since": {**_TEXT, "description": f"At this time or later: {_TIME}."},
    "until": {**_TEXT, "description": f"Before this time: {_TIME}."},
    "new": {"type": "boolean", "description": "Those alone that were met for the first time within a day."},
    "sort": {"enum": [one.value for one in ErrorSort], "description": "By last met, failed jobs, or age."},
    "type": {"enum": [one.value for one in EntryType], "description": "Entries of this type."},
    "before": {**_TEXT, "description": "`next` of the answer before: what follows that."},
    "limit": {
        **_ID,
        "maximum": MOST_ITEMS,
        "default": USUAL,
        "description": f"At most so many; else {USUAL}.",
    },
    "tail": {
        **_ID,
        "maximum": MOST_OUTPUT,
        "default": USUAL_OUTPUT,
        "description": f"No more than the last so many bytes; else {USUAL_OUTPUT}.",
    },
    "seconds": {
        "type": "number",
        "exclusiveMinimum": 0,
        "description": "After so long it goes on by itself; else when it is resumed.",
    },
    "from_start": {
        "type": "boolean",
        "description": "Without the steps that they have finished, which are then done again.",
    },
}
"""By their names, which mean the same in each tool."""
