"""What a key does in `bgjob top`: a table, and the view and the wish that come of each key; pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, NamedTuple

from bgjob import text
from bgjob.answers import is_for_review
from bgjob.commands.top import many
from bgjob.commands.top.one_job import OneJob
from bgjob.commands.top.scene import Kind, Name, Row, Scene, Sorting, rows_of
from bgjob.commands.top.wishes import (
    Cancel,
    Count,
    DoToAll,
    Errors,
    Leave,
    Pause,
    Read,
    Resume,
    Retry,
    Search,
    Wish,
)
from bgjob.words import Status

CTRL_C: Final = "\x03"
_PAGE: Final = 10
_LONGEST_FILTER: Final = 200

_NAMES: Final[Mapping[str, str]] = {
    "\x1b[A": "up",
    "\x1bOA": "up",
    "\x1b[B": "down",
    "\x1bOB": "down",
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\x1b": "escape",
    "\r": "enter",
    "\n": "enter",
    "\t": "tab",
    "\x7f": "backspace",
    "\x08": "backspace",
}
_KEYS: Final = re.compile("\x1b\\[[0-9;?]*[ -/]*[@-~]|\x1bO.|.", re.DOTALL)


def keys_in(typed: str) -> list[str]:
    """The keys that these characters stand for: `up`, `page down`, `enter` and such, or themselves."""
    return [_NAMES.get(one, one) for one in _KEYS.findall(typed)]


class Mode(Enum):
    """What the next key is taken for."""

    LOOKING = "looking"
    TYPING = "typing"
    ASKED = "asked"
    READING = "reading"
    IN_ONE = "in_one"


class View(NamedTuple):
    """How somebody looks at a scene: `only` is the filter, `typed` what is to be the next one, `asked` what y means,
    `behind` what is gone back to then, `skip` how many lines of what is read are above the screen.
    """

    mode: Mode = Mode.LOOKING
    sorting: Sorting = Sorting.AGE
    only: str = ""
    typed: str = ""
    selected: Name | None = None
    asked: Wish | None = None
    behind: Mode = Mode.LOOKING
    skip: int = 0
    message: str = ""

    @property
    def shown(self) -> Mode:
        """What is on the screen, whatever the last line asks."""
        return self.behind if self.mode is Mode.ASKED else self.mode


Step = tuple[View, Wish | None]


def pressed(view: View, key: str, scene: Scene) -> Step:
    """The view after a key, and what is wanted of the daemon, or of the command."""
    if key == CTRL_C:
        return view, Leave()
    return _MODES[view.mode](view._replace(message=""), key, scene)


def selected_row(view: View, rows: list[Row]) -> Row | None:
    """The row that was selected, the first if none was; None where it is gone: no key is to meet another job."""
    return next((row for row in rows if view.selected in (None, row.name)), None)


def counted(view: View, told: many.Counted) -> View:
    """The view once it is known how many jobs a capital letter means: it asks, unless somebody does something else."""
    if not told.meant:
        return view._replace(message=many.nothing(told))
    return _asked(view, DoToAll(told)) if view.mode in (Mode.LOOKING, Mode.IN_ONE) else view


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


def _moving(by: int) -> Callable[[View, Scene], Step]:
    return lambda view, scene: ((_scrolled if view.mode is Mode.IN_ONE else _moved)(view, scene, by), None)


def _scrolled(view: View, scene: Scene, by: int) -> View:
    return view._replace(skip=max(0, view.skip + by))


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
        return view._replace(message="select a job or an error to read all of it"), None
    return view._replace(mode=Mode.IN_ONE, selected=row.name, skip=0), Read(row.name)


def _errors(view: View, scene: Scene) -> Step:
    return view._replace(selected=None), Errors(scene.look.errors is None)


def _cancel(view: View, scene: Scene) -> Step:
    row = _selected(view, scene)
    if row is None or row.kind is not Kind.RUNNING:
        return view._replace(message="select a running job to cancel it"), None
    return _asked(_chosen(view, row), Cancel(row.job_id)), None


def _retry(view: View, scene: Scene) -> Step:
    row = _selected(view, scene)
    if row is None or row.kind is not Kind.FAILED:
        return view._replace(message="select a failed job to run it again"), None
    if is_for_review(row.told):
        return view._replace(message=f"nobody knows what it did: bgjob settle {row.job_id}"), None
    wish = Retry(row.job_id)
    if view.selected is None:  # another may have come to be the first since it was seen
        return _asked(_chosen(view, row), wish), None
    return _chosen(view, row), wish


def _to_all(to: str) -> Callable[[View, Scene], Step]:
    def act(view: View, scene: Scene) -> Step:
        row = _selected(view, scene)
        if row is None:
            return view._replace(message=f"select a job, an error or a queue to {to} all of it"), None
        if view.only and row.kind in (Kind.ERROR, Kind.QUEUE):
            return view._replace(message=f"{to} of more than is shown: / and Enter show all first"), None
        meant = many.meant(row, to)
        return _chosen(view, row)._replace(message=f"jobs {meant.of} are counted …"), Count(meant)

    return act


def _pause(view: View, scene: Scene) -> Step:
    row = _selected(view, scene)
    if row is None:
        return view._replace(message="select a job to pause its queue"), None
    if row.kind is Kind.ERROR:
        return view._replace(message="select a job, or by Tab a queue, to pause it"), None
    queue = row.told["name" if row.kind is Kind.QUEUE else "queue"]
    paused = {one["name"] for one in scene.look.stats["queues"] if one["paused"]}
    return _chosen(view, row), Resume(queue) if queue in paused else Pause(queue)


def _chosen(view: View, row: Row) -> View:
    """The view with this row selected, though others come; what is read stays what was."""
    return view if view.mode is Mode.IN_ONE else view._replace(selected=row.name)


def _asked(view: View, wish: Wish) -> View:
    return view._replace(mode=Mode.ASKED, behind=view.mode, asked=wish, message="")


def _filter(view: View, scene: Scene) -> Step:
    return view._replace(mode=Mode.TYPING, typed=view.only), None


def _sort(view: View, scene: Scene) -> Step:
    ways = list(Sorting)
    return view._replace(sorting=ways[(ways.index(view.sorting) + 1) % len(ways)]), None


def _help(view: View, scene: Scene) -> Step:
    return view._replace(mode=Mode.READING), None


def _selected(view: View, scene: Scene) -> Row | None:
    if view.mode is Mode.IN_ONE:
        return _read_row(view, scene)
    return selected_row(view, rows_of(scene, view.sorting, view.only))


def _read_row(view: View, scene: Scene) -> Row | None:
    """What is read, as it stands now."""
    one, name = scene.look.one, view.selected
    if one is None or name is None or one.id != name[1]:
        return None
    if not isinstance(one, OneJob):
        return Row(Kind.ERROR, one.id, 0, one.read.error)
    kind = Kind.FAILED if Status(one.job["status"]).is_final else Kind.RUNNING
    return Row(kind, one.id, 0, one.job)


BINDINGS: Final = (
    Binding(("q", CTRL_C), "q", "quit", "ends", _leave),
    Binding(("up", "k"), "", "", "selects the row above", _moving(-1)),
    Binding(("down", "j"), "jk", "select", "selects the row below", _moving(1)),
    Binding(("page up",), "", "", "ten rows up", _moving(-_PAGE)),
    Binding(("page down", " "), "", "", "ten rows down", _moving(_PAGE)),
    Binding(("tab",), "Tab", "part", "goes on to the failed jobs, the queues, what runs", _next_part),
    Binding(("enter",), "Enter", "read", "shows the selected job or error: why, timeline, output", _read),
    Binding(("e",), "e", "errors", "shows errors instead of failed jobs, or these again", _errors),
    Binding(("c",), "c", "cancel", "cancels the selected running job, after a question", _cancel),
    Binding(("r",), "r", "retry", "runs the selected failed job again", _retry),
    Binding(("C",), "", "", "cancels all of the selected class, error, queue; it asks", _to_all(many.CANCEL)),
    Binding(
        ("R",), "CR", "all", "runs what failed of it again; it says how many, and asks", _to_all(many.RETRY)
    ),
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
    return view._replace(mode=view.behind, behind=Mode.LOOKING, asked=None), wish


def _on_reading(view: View, key: str, scene: Scene) -> Step:
    return view._replace(mode=Mode.LOOKING), None


def _on_reading_one(view: View, key: str, scene: Scene) -> Step:
    if key in _BACK:
        return view._replace(mode=Mode.LOOKING, skip=0), Read(None)
    return _on_looking(view, key, scene) if key in _IN_ONE else (view, None)


_BACK: Final = ("escape", "enter", "backspace", "q")
_IN_ONE: Final = ("up", "k", "down", "j", "page up", "page down", " ", "c", "r", "C", "R", "p")
"""Keys that mean there what they mean elsewhere, about what is read."""

_MODES: Final[Mapping[Mode, Callable[[View, str, Scene], Step]]] = {
    Mode.LOOKING: _on_looking,
    Mode.TYPING: _on_typing,
    Mode.ASKED: _on_answer,
    Mode.READING: _on_reading,
    Mode.IN_ONE: _on_reading_one,
}


def question(view: View, scene: Scene) -> str:
    """What y answers; it names the job as it is shown."""
    match view.asked:
        case Cancel(job_id):
            return f"cancel job {job_id}{_named(job_id, scene)}"
        case Retry(job_id):
            return f"run job {job_id}{_named(job_id, scene)} again"
        case DoToAll(told):
            return many.question(told)
        case _:
            return ""


def _named(job_id: int, scene: Scene) -> str:
    jobs = {one["job_id"]: one for one in scene.look.attempts} | {one["id"]: one for one in scene.look.failed}
    return f", {text.target(jobs[job_id])}" if job_id in jobs else ""
