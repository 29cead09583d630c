"""Which view answers which address; a view is a line here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar
from urllib.parse import unquote

from ..addresses import CLASS, ID, NAME, SCHEDULE
from ..exchange import Request, Response
from .classes import ClassViews
from .compare import CompareViews
from .errors import ErrorViews
from .groups import GroupViews
from .job import JobViews
from .labels import LabelViews
from .lists import ListViews
from .many import ManyViews
from .means import Means
from .now import NowViews
from .rest import OtherViews
from .schedules import ScheduleViews
from .system import SystemViews

_KINDS: Final = (
    *(NowViews, ClassViews, ListViews, JobViews, CompareViews, ManyViews, ErrorViews, LabelViews, GroupViews),
    *(ScheduleViews, SystemViews, OtherViews),
)
_K = TypeVar("_K")


class Views:
    """Those of one page, which has the means."""

    def __init__(self, means: Means) -> None:
        self._made: dict[type[Any], Any] = {kind: kind(means) for kind in _KINDS}

    def of(self, kind: type[_K]) -> _K:
        """The one of this kind."""
        made: _K = self._made[kind]
        return made


View = Callable[..., Response]


def _of(kind: type[_K], view: View, convert: Callable[[str], Any] = str) -> View:
    """The view, with what the address says in its own types."""

    def answer(views: Views, request: Request, *told: str) -> Response:
        return view(views.of(kind), request, *map(convert, told))

    return answer


ROUTES: Final[tuple[tuple[str, re.Pattern[str], View], ...]] = tuple(
    (method, re.compile(pattern), view)
    for method, pattern, view in (
        ("GET", r"/", _of(ListViews, ListViews.log)),
        ("GET", r"/now", _of(NowViews, NowViews.overview)),
        ("GET", r"/jobs", _of(ListViews, ListViews.jobs)),
        ("GET", r"/jobs/retry", _of(ManyViews, ManyViews.retry)),
        ("POST", r"/jobs/retry", _of(ManyViews, ManyViews.carry_out_retry)),
        ("GET", r"/jobs/cancel", _of(ManyViews, ManyViews.cancel)),
        ("POST", r"/jobs/cancel", _of(ManyViews, ManyViews.carry_out_cancel)),
        ("GET", r"/changes", _of(ManyViews, ManyViews.changes)),
        ("GET", rf"/jobs/({ID})", _of(JobViews, JobViews.one, int)),
        ("GET", rf"/jobs/({ID})/output/({ID})", _of(JobViews, JobViews.output, int)),
        ("GET", rf"/jobs/({ID})/graph", _of(GroupViews, GroupViews.graph, int)),
        ("POST", rf"/jobs/({ID})/retry", _of(JobViews, JobViews.retry, int)),
        ("POST", rf"/jobs/({ID})/cancel", _of(JobViews, JobViews.cancel, int)),
        ("POST", rf"/jobs/({ID})/stack", _of(JobViews, JobViews.stack, int)),
        ("POST", rf"/queues/({NAME})/pause", _of(SystemViews, SystemViews.pause)),
        ("POST", rf"/queues/({NAME})/resume", _of(SystemViews, SystemViews.resume)),
        ("GET", r"/classes", _of(ClassViews, ClassViews.overview)),
        ("GET", rf"/classes/({CLASS})", _of(ClassViews, ClassViews.one)),
        ("POST", rf"/classes/({CLASS})/hold", _of(SystemViews, SystemViews.hold_class)),
        ("POST", rf"/classes/({CLASS})/resume", _of(SystemViews, SystemViews.resume_class)),
        ("GET", r"/compare", _of(CompareViews, CompareViews.two)),
        ("GET", r"/errors", _of(ErrorViews, ErrorViews.overview)),
        ("GET", rf"/errors/({ID})", _of(ErrorViews, ErrorViews.one, int)),
        ("GET", r"/labels", _of(LabelViews, LabelViews.overview)),
        ("GET", r"/groups", _of(GroupViews, GroupViews.overview)),
        ("GET", rf"/groups/({ID})", _of(GroupViews, GroupViews.one, int)),
        ("POST", rf"/groups/({ID})/retry", _of(GroupViews, GroupViews.retry, int)),
        ("POST", rf"/groups/({ID})/cancel", _of(GroupViews, GroupViews.cancel, int)),
        ("POST", rf"/groups/({ID})/seal", _of(GroupViews, GroupViews.seal, int)),
        ("GET", r"/schedules", _of(ScheduleViews, ScheduleViews.overview)),
        ("GET", rf"/schedules/({SCHEDULE})", _of(ScheduleViews, ScheduleViews.one, unquote)),
        ("POST", rf"/schedules/({SCHEDULE})/run", _of(ScheduleViews, ScheduleViews.run, unquote)),
        ("POST", rf"/schedules/({SCHEDULE})/pause", _of(ScheduleViews, ScheduleViews.pause, unquote)),
        ("POST", rf"/schedules/({SCHEDULE})/resume", _of(ScheduleViews, ScheduleViews.resume, unquote)),
        ("GET", r"/system", _of(SystemViews, SystemViews.overview)),
        ("GET", r"/hosts", _of(SystemViews, SystemViews.hosts)),
        ("GET", r"/alerts", _of(SystemViews, SystemViews.alerts)),
        ("GET", r"/login", _of(OtherViews, OtherViews.login)),
        ("GET", r"/events", _of(OtherViews, OtherViews.events)),
        ("GET", r"/healthz", _of(OtherViews, OtherViews.healthz)),
        ("GET", r"/metrics", _of(OtherViews, OtherViews.metrics)),
        ("GET", r"/static/([0-9a-f]{16})/([A-Za-z0-9._-]{1,64})", _of(OtherViews, OtherViews.static)),
    )
)


def routes() -> Iterator[tuple[str, str]]:
    """Method and pattern of each address, for tests that must miss none."""
    for method, pattern, _ in ROUTES:
        yield method, pattern.pattern
