"""What was measured, as figures beside their limits and targets: a table for people, JSON for comparing runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from measures import Confinement, Drain, Idle, Latency, Memory, Pass, Recovery
from pouring import Pouring
from pruning import Pruning
from rows import COUNT, Reading
from scheduling import Scheduling

DRAIN_RATIO: Final = 0.6
SUBMIT_MS: Final = 0.5
SUBMIT_MANY: Final = 50_000.0
TO_BODY_MS: Final = 4.0
RECOVERY_MS: Final = 500.0
PSS_MB: Final = 65.0
SLOWDOWN: Final = 1.1
CONFINEMENT_PERCENT: Final = 25.0
PAGE_MS: Final = 5.0
FAR_PAGE_MS: Final = 10.0
SEARCH_MS: Final = 50.0
SUBMITS_BESIDE: Final = 0.9
PRUNING: Final = 3.0
BESIDE_POURING: Final = 10.0
PSS_POURED_ON: Final = 200.0
BESIDE_SCHEDULES_MS: Final = 50.0


@dataclass(frozen=True)
class Figure:
    """One line of the table; `ratio` is to the limit measured beside it, `is_met` is None without a target."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    ratio: float | None = None
    target: str = ""
    is_met: bool | None = None


@dataclass(frozen=True)
class Findings:
    """All that one run of the bench found; `full` is the pass with `finished` jobs in the file."""

    empty: Pass
    full: Pass
    finished: int
    idle: Idle
    memory_at_rest: Memory
    memory_after_load: Memory
    confinement: Confinement
    recovery: Recovery
    reading: Reading | None
    pruning: Pruning | None
    pouring: Pouring
    scheduling: Scheduling


def figures(found: Findings) -> list[Figure]:
    """All lines of the table, in its order."""
    return [
        *_of_pass(found.empty),
        *_of_idle(found.idle),
        *_of_memory("at rest", found.memory_at_rest),
        *_of_memory("after the load", found.memory_after_load),
        *(_untargeted(figure, f", {found.finished:,} finished") for figure in _of_pass(found.full)),
        *_slowdowns(found),
        *_of_confinement(found.confinement),
        *_of_recovery(found.recovery),
        *(_of_reading(found.reading) if found.reading is not None else ()),
        *(_of_pruning(found.pruning) if found.pruning is not None else ()),
        *_of_pouring(found.pouring),
        *_of_scheduling(found.scheduling),
        *_cpu_of_a_job(found.empty.drain),
    ]


def to_json(
    lines: Sequence[Figure], measured: Mapping[str, Any], about: Mapping[str, object]
) -> dict[str, object]:
    """Figures by name, and the raw measurements."""
    return {
        "about": about,
        "figures": {figure.name: asdict(figure) for figure in lines},
        "measured": measured,
    }


def to_table(lines: Sequence[Figure], before: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """The figures in columns, each beside its limit and target; beside those of an earlier run, by name, too."""
    head = ("figure", "value", "limit here", "ratio", "target", "")
    rows = [_cells(figure) for figure in lines]
    if before is not None:
        head = (*head, "before", "ratio", "change")
        rows = [
            (*row, *_before(figure, before.get(figure.name))) for row, figure in zip(rows, lines, strict=True)
        ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = tuple("-" * width for width in widths)
    return "\n".join(_line(row, widths) for row in (head, rule, *rows))


# The figures


def _of_pass(found: Pass) -> list[Figure]:
    drain, submit, to_body = found.drain, found.submit, found.to_body
    return [
        Figure(
            "drain", drain.rate, "jobs/s", drain.raw, drain.ratio,
            f">= {DRAIN_RATIO} of raw", drain.ratio >= DRAIN_RATIO,
        ),
        Figure(
            "submit p50", submit.latency.p50, "ms", submit.committed_echo.p50, submit.ratio,
            f"<= {SUBMIT_MS} ms", submit.latency.p50 <= SUBMIT_MS,
        ),
        Figure("submit p99", submit.latency.p99, "ms", submit.committed_echo.p99),
        Figure("commit alone p50", submit.commit.p50, "ms"),
        Figure(
            "SubmitMany", found.submit_many, "jobs/s",
            target=f">= {SUBMIT_MANY:,.0f}/s", is_met=found.submit_many >= SUBMIT_MANY,
        ),
        Figure(
            "submit to body p50", to_body.latency.p50, "ms", to_body.raw.p50, to_body.ratio,
            f"<= {TO_BODY_MS:g} ms", to_body.latency.p50 <= TO_BODY_MS,
        ),
        Figure("submit to body p99", to_body.latency.p99, "ms", to_body.raw.p99),
        Figure("Stats", found.stats, "ms"),
    ]  # fmt: skip


def _untargeted(figure: Figure, when: str) -> Figure:
    return replace(figure, name=figure.name + when, target="", is_met=None)


def _of_idle(found: Idle) -> list[Figure]:
    when = f"in {found.seconds:g} idle s"
    wakeups = found.daemon_wakeups + found.fork_server_wakeups
    cpu = found.daemon_cpu + found.fork_server_cpu
    return [
        Figure(f"wake-ups {when}", wakeups, "", target="0", is_met=wakeups == 0),
        Figure(f"CPU {when}", cpu * 1e3, "ms"),
    ]


def _of_memory(when: str, found: Memory) -> list[Figure]:
    target = f"<= {PSS_MB:g} MB"
    return [
        Figure(f"PSS daemon {when}", found.daemon, "MB"),
        Figure(f"PSS fork server {when}", found.fork_server, "MB"),
        Figure(f"PSS sum {when}", found.sum, "MB", target=target, is_met=found.sum <= PSS_MB),
    ]


def _slowdowns(found: Findings) -> list[Figure]:
    """How much longer each takes with the finished jobs in the file: 1 where it does not matter."""
    empty, full = found.empty, found.full
    slower = {
        "drain": empty.drain.rate / full.drain.rate,
        "submit p50": full.submit.latency.p50 / empty.submit.latency.p50,
        "SubmitMany": empty.submit_many / full.submit_many,
        "submit to body p50": full.to_body.latency.p50 / empty.to_body.latency.p50,
    }
    return [
        Figure(f"{name}, slowed by", factor, "times", target=f"<= {SLOWDOWN}", is_met=factor <= SLOWDOWN)
        for name, factor in slower.items()
    ]


def _of_confinement(found: Confinement) -> list[Figure]:
    return [
        Figure("drain, unconfined", found.unconfined, "jobs/s"),
        Figure(
            "confinement, of the drain", found.cost * 100, "%",
            target=f"<= {CONFINEMENT_PERCENT:g} %", is_met=found.cost * 100 <= CONFINEMENT_PERCENT,
        ),
    ]  # fmt: skip


def _of_recovery(found: Recovery) -> list[Figure]:
    latency, empty = found.latency, found.empty
    name = f"recovery with {found.live:,} live, {found.queued:,} queued"
    return [
        Figure(f"{name} p50", latency.p50, "ms", empty.p50, found.ratio),
        Figure(
            f"{name} p99", latency.p99, "ms", empty.p99,
            target=f"<= {RECOVERY_MS:g} ms", is_met=latency.p99 <= RECOVERY_MS,
        ),
    ]  # fmt: skip


def _of_reading(found: Reading) -> list[Figure]:
    when = f"of {found.rows:,} rows"
    return [
        *_of_question(f"first page {when}", found.first_page, PAGE_MS),
        *_of_question(f"page {found.far:,} {when}", found.far_page, FAR_PAGE_MS),
        *_of_question(f"each of {found.far:,} pages by `next` {when}", found.each_of_many, FAR_PAGE_MS),
        *_of_question(f"filtered page {when}", found.filtered, PAGE_MS),
        *_of_question(f"search that all match {when}", found.all_match, SEARCH_MS),
        *_of_question(f"search that none matches {when}", found.none_matches, SEARCH_MS),
        *_of_question(f"page with a total of {COUNT:,} {when}", found.total, PAGE_MS),
        *_of_question(f"jobs with a total of {COUNT:,} {when}", found.total_of_jobs, PAGE_MS),
        *_of_question(f"search with a total of {COUNT:,} {when}", found.total_of_search, SEARCH_MS),
        *_of_question(f"Stats {when}", found.stats, None),
        *(
            figure
            for name, latency in found.views.items()
            for figure in _of_question(f"view {name} {when}", latency, _most_of_view(name))
        ),
        Figure("submits with nobody beside", found.submits_alone, "jobs/s"),
        Figure(
            "submits beside readers", found.submits_beside, "jobs/s", found.submits_alone, found.ratio,
            f">= {SUBMITS_BESIDE} of alone", found.ratio >= SUBMITS_BESIDE,
        ),
    ]  # fmt: skip


def _most_of_view(name: str) -> float | None:
    """Milliseconds that the view may take: only those of the log have targets."""
    if not name.startswith("log"):
        return None
    if "search" in name:
        return SEARCH_MS
    return FAR_PAGE_MS if "page" in name else PAGE_MS


def _of_question(name: str, latency: Latency, most: float | None) -> list[Figure]:
    target, is_met = ("", None) if most is None else (f"<= {most:g} ms", latency.p99 <= most)
    return [
        Figure(f"{name} p50", latency.p50, "ms"),
        Figure(f"{name} p99", latency.p99, "ms", target=target, is_met=is_met),
    ]


def _of_pruning(found: Pruning) -> list[Figure]:
    when = f"beside a prune of {found.jobs:,} jobs"
    return [
        Figure(f"submit p50 {when}", found.beside.p50, "ms", found.before.p50),
        Figure(
            f"submit p99 {when}", found.beside.p99, "ms", found.alone, found.ratio,
            f"<= {PRUNING:g} times alone", found.ratio <= PRUNING,
        ),
        Figure("prune meanwhile", found.rate, "jobs/s"),
    ]  # fmt: skip


def _of_pouring(found: Pouring) -> list[Figure]:
    most = found.alone.p99 * BESIDE_POURING
    memory = max(found.memory.values())
    return [
        Figure("ping p99", found.alone.p99, "ms"),
        *(
            Figure(
                f"ping p99 beside {name}", latency.p99, "ms", found.alone.p99, latency.p99 / found.alone.p99,
                f"<= {BESIDE_POURING:g} times alone", latency.p99 <= most,
            )
            for name, latency in found.beside.items()
        ),
        Figure(
            "PSS daemon beside all of that", memory, "MB",
            target=f"<= {PSS_POURED_ON:g} MB", is_met=memory <= PSS_POURED_ON,
        ),
    ]  # fmt: skip


def _of_scheduling(found: Scheduling) -> list[Figure]:
    when = f"beside {found.schedules:,} schedules of each second"
    return [
        Figure(f"submit p50 {when}", found.beside.p50, "ms", found.alone.p50),
        Figure(f"submit p99 {when}", found.beside.p99, "ms", found.alone.p99, found.ratio),
        Figure(
            f"longest submit {when}", found.longest, "ms",
            target=f"<= {BESIDE_SCHEDULES_MS:g} ms", is_met=found.longest <= BESIDE_SCHEDULES_MS,
        ),
    ]  # fmt: skip


def _cpu_of_a_job(drain: Drain) -> list[Figure]:
    spent = {
        "the daemon's loop": drain.daemon.main,
        "the daemon's other threads": drain.daemon.others,
        "the fork server": drain.fork_server.own,
        "the attempt": drain.fork_server.children,
    }
    return [Figure(f"CPU a job: {who}", seconds / drain.jobs * 1e3, "ms") for who, seconds in spent.items()]


# The table


def _cells(figure: Figure) -> tuple[str, ...]:
    verdict = {None: "", True: "met", False: "MISSED"}[figure.is_met]
    unit = f" {figure.unit}" if figure.unit else ""
    limit = "" if figure.limit is None else shown(figure.limit)
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    return figure.name, shown(figure.value) + unit, limit, ratio, figure.target, verdict


def shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _before(figure: Figure, earlier: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What it was, its ratio to the limit of that run, and by how much it is more now."""
    if earlier is None:
        return "", "", ""
    value, ratio = earlier["value"], earlier["ratio"]
    change = f"{(figure.value / value - 1) * 100:+.0f} %" if value else ""
    return shown(value), "" if ratio is None else f"{ratio:.2f}", change


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
    return "  ".join(cells).rstrip()
