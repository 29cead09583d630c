"""What a key does in `bgjob top`: a table, and the view and the wish that come of each key; pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, NamedTuple

from bgjob import text
from bgjob.answers import is_for_review
from bgjob.commands.top.scene import Kind, Name, Row, Scene, Sorting, rows_of

CTRL_C: Final = "\x03"
_LONGEST_FILTER: Final = 200

_NAMES: Final[Mapping[str, str]] = {
    "\x1b[A": "up",
    "\x1bOA": "up",
    "\x1b[B": "down",
    "\x1bOB": "down",
    "\x1b": "escape",
    "\r": "enter",
    "\n": "enter",
    "\t": "tab",
    "\x7f": "backspace",
    "\x08": "backspace",
}
_KEYS: Final = re.compile("\x1b\\[[0-9;?]*[ -/]*[@-~]|\x1bO.|.", re.DOTALL)


def keys_in(typed: str) -> list[str]:
    """The keys that these characters stand for: `up`, `down`, `enter`, `tab`, `escape`, `backspace`, or themselves."""
    return [_NAMES.get(one, one) for one in _KEYS.findall(typed)]


# What somebody wants


class Leave(NamedTuple):
    """To see no more."""


class Cancel(NamedTuple):
    job_id: int


class Retry(NamedTuple):
    job_id: int


class Pause(NamedTuple):
    queue: str


class Resume(NamedTuple):
    queue: str


class Search(NamedTuple):
    """To see only jobs whose class or method has this in its name."""

    only: str


class Read(NamedTuple):
    """To see all of a job, or none any more."""

    job_id: int | None


class Errors(NamedTuple):
    """To see the errors instead of the failed jobs, or these again."""

    are_wanted: bool


Wish = Leave | Cancel | Retry | Pause | Resume | Search | Read | Errors


class Mode(Enum):
    """What the next key is taken for."""

    LOOKING = "looking"
    TYPING = "typing"
    ASKED = "asked"
    READING = "reading"
    IN_JOB = "in_job"


class View(NamedTuple):
    """How somebody looks at a scene: `only` is the filter, `typed` what is to be the next one, `asked` what y means."""

    mode: Mode = Mode.LOOKING
    sorting: Sorting = Sorting.AGE
    only: str = ""
    typed: str = ""
    selected: Name | None = None
    asked: Wish | None = None
    message: str = ""


Step = tuple[View, Wish | None]


def pressed(view: View, key: str, scene: Scene) -> Step:
    """The view after a key, and what is wanted of the daemon, or of the command."""
    if key == CTRL_C:
        return view, Leave()
    return _MODES[view.mode](view._replace(message=""), key, scene)


def selected_row(view: View, rows: list[Row]) -> Row | None:
    """The row that was selected, the first if none was; None where it is gone: no key is to meet another job."""
    return next((row for row in rows if view.selected in (None, row.name)), None)


# Looking


class Binding(NamedTuple):
    """What keys do: in a word for the last line of the screen, if it is shown there, and in a sentence."""

    keys: tuple[str, ...]
    shown: str
    word: str
    sentence: str
    act: Callable[[View, Scene], Step]


def _leave(view: View, scene: Scene) -> Step:
    return view, Leave()


def _up(view: View, scene: Scene) -> Step:
    return _moved(view, scene, -1), None


def _down(view: View, scene: Scene) -> Step:
    return _moved(view, scene, 1), None


def _moved(view: View, scene: Scene, by: int) -> View:
    rows = rows_of(scene, view.sorting, view.only)
    if not rows:
        return view
    row = selected_row(view, rows)
    if row is None:
        return view._replace(selected=rows[0].name)
    rows = [one for one in rows if (one.kind is Kind.QUEUE) is (row.kind is Kind.QUEUE)]  # which stand apart
    return view._replace(selected=rows[min(max(0, rows.index(row) + by), len(rows) - 1)].name)


def _next_part(view: View, scene: Scene) -> Step:
    rows = rows_of(scene, view.sorting, view.only)
    parts = list(dict.fromkeys(row.kind for row in rows))
    if not parts:
        return view, None
    row = selected_row(view, rows)
    part = parts[0] if row is None else parts[(parts.index(row.kind) + 1) % len(parts)]
    return view._replace(selected=next(row.name for row in rows if row.kind is part)), None


def _read(view: View, scene: Scene) -> Step:
    row = _selected(view, scene)
    if row is None or row.kind is Kind.QUEUE:
        return view._replace(message="select a job to read all of it"), None
    if row.kind is Kind.ERROR:
        return view._replace(message=f"bgjob errors {row.job_id} has all of it"), None
    return view._replace(mode=Mode.IN_JOB, selected=row.name), Read(row.job_id)


def _errors(view: View, scene: Scene) -> Step:
    return view._replace(selected=None), Errors(scene.look.errors is None)


def _cancel(view: View, scene: Scene) -> Step:
    row = _selected(view, scene)
    if row is None or row.kind is not Kind.RUNNING:
        return view._replace(message="select a running job to cancel it"), None
    return view._replace(mode=Mode.ASKED, selected=row.name, asked=Cancel(row.job_id)), None


def _retry(view: View, scene: Scene) -> Step:
    row = _selected(view, scene)
    if row is None or row.kind is not Kind.FAILED:
        return view._replace(message="select a failed job to run it again"), None
    if is_for_review(row.told):
        return view._replace(message=f"nobody knows what it did: bgjob settle {row.job_id}"), None
    return view._replace(selected=row.name), Retry(row.job_id)


def _pause(view: View, scene: Scene) -> Step:
    row = _selected(view, scene)
    if row is None:
        return view._replace(message="select a job to pause its queue"), None
    if row.kind is Kind.ERROR:
        return view._replace(message="select a job, or by Tab a queue, to pause it"), None
    queue = row.told["name" if row.kind is Kind.QUEUE else "queue"]
    paused = {one["name"] for one in scene.look.stats["queues"] if one["paused"]}
    return view._replace(selected=row.name), Resume(queue) if queue in paused else Pause(queue)


def _filter(view: View, scene: Scene) -> Step:
    return view._replace(mode=Mode.TYPING, typed=view.only), None


def _sort(view: View, scene: Scene) -> Step:
    ways = list(Sorting)
    return view._replace(sorting=ways[(ways.index(view.sorting) + 1) % len(ways)]), None


def _help(view: View, scene: Scene) -> Step:
    return view._replace(mode=Mode.READING), None


def _selected(view: View, scene: Scene) -> Row | None:
    return selected_row(view, rows_of(scene, view.sorting, view.only))


BINDINGS: Final = (
    Binding(("q", CTRL_C), "q", "quit", "ends", _leave),
    Binding(("up", "k"), "", "", "selects the row above", _up),
    Binding(("down", "j"), "jk", "select", "selects the row below", _down),
    Binding(("tab",), "Tab", "part", "goes on to the failed jobs, the queues, what runs", _next_part),
    Binding(("enter",), "", "", "shows the selected job: why, attempts, traceback, output", _read),
    Binding(("e",), "e", "errors", "shows errors instead of failed jobs, or these again", _errors),
    Binding(("c",), "c", "cancel", "cancels the selected running job, after a question", _cancel),
    Binding(("r",), "r", "retry", "runs the selected failed job again", _retry),
    Binding(("p",), "p", "pause", "pauses the selected queue, or the job's, or resumes it", _pause),
    Binding(("/",), "/", "filter", "shows only jobs with a text in class or method", _filter),
    Binding(("s",), "s", "sort", "sorts what runs by age, CPU or memory", _sort),
    Binding(("?",), "?", "help", "shows this", _help),
)

_BOUND: Final[Mapping[str, Binding]] = {key: binding for binding in BINDINGS for key in binding.keys}


def _on_looking(view: View, key: str, scene: Scene) -> Step:
    binding = _BOUND.get(key)
    return (view, None) if binding is None else binding.act(view, scene)


# The other modes


def _on_typing(view: View, key: str, scene: Scene) -> Step:
    match key:
        case "enter":
            return view._replace(mode=Mode.LOOKING, only=view.typed), Search(view.typed)
        case "escape":
            return view._replace(mode=Mode.LOOKING), None
        case "backspace":
            return view._replace(typed=view.typed[:-1]), None
        case _ if len(key) == 1 and key.isprintable():
            return view._replace(typed=f"{view.typed}{key}"[:_LONGEST_FILTER]), None
        case _:
            return view, None


def _on_answer(view: View, key: str, scene: Scene) -> Step:
    wish = view.asked if key in ("y", "Y") else None
    return view._replace(mode=Mode.LOOKING, asked=None), wish


def _on_reading(view: View, key: str, scene: Scene) -> Step:
    return view._replace(mode=Mode.LOOKING), None


def _on_reading_a_job(view: View, key: str, scene: Scene) -> Step:
    return (view._replace(mode=Mode.LOOKING), Read(None)) if key in _BACK else (view, None)


_BACK: Final = ("escape", "enter", "backspace", "q")

_MODES: Final[Mapping[Mode, Callable[[View, str, Scene], Step]]] = {
    Mode.LOOKING: _on_looking,
    Mode.TYPING: _on_typing,
    Mode.ASKED: _on_answer,
    Mode.READING: _on_reading,
    Mode.IN_JOB: _on_reading_a_job,
}


def question(view: View, scene: Scene) -> str:
    """What y answers; it names the job as it is shown."""
    match view.asked:
        case Cancel(job_id):
            names = [text.target(one) for one in scene.look.attempts if one["job_id"] == job_id]
            return f"cancel job {job_id}{''.join(f', {name}' for name in names)}? y/n"
        case _:
            return ""
