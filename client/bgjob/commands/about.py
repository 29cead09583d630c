"""What the daemon has to offer and how it stands: `bgjob classes` and `bgjob stats`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from bgjob import text
from bgjob.amounts import limits_text, set_span_text
from bgjob.client import Client
from bgjob.commands import class_figures, needs, screen, tables
from bgjob.commands.problems import OK
from bgjob.commands.tables import Column, Cut
from bgjob.errors import NotApprovedError
from bgjob.words import BEHIND, BLOCKED, REVIEW, WAITING, Status, Unknown

_INDENT: Final = 2
"""Of what is folded."""


def classes(client: Client, given: argparse.Namespace) -> int:
    """Show the approved classes: methods and their parameters, documentation, policy, what cannot be used and why."""
    found = [one for one in client.classes() if given.name is None or _is_named(one["name"], given.name)]
    if given.name is not None and not found:
        raise NotApprovedError(class_name=given.name)
    if given.json:
        screen.tell_json({"classes": found})
        return OK
    if not found:
        screen.say("no class is approved; list some under [approved] in the daemon's configuration")
    now = time.time()
    screen.show("\n".join("".join(line + "\n" for line in _class(one, now)) for one in found))
    return OK


def stats(client: Client, given: argparse.Namespace) -> int:
    """Show how the daemon stands: version, slots, jobs by status, the last hour, queues; and what attempts used."""
    if given.class_name is not None:
        return _of_class(client, given)
    standing, now = client.stats(usage=True), time.time()
    if given.json:
        screen.tell_json(standing)
        return OK
    version = text.one_line(standing["version"])
    found = needs.try_found(client)
    head = [f"bgjobd {version}, pid {standing['pid']}, {standing['slots']} slots"]
    head += [screen.painted(text.one_line(one["sentence"]), "red") for one in (found.needs if found else ())]
    head += [f"jobs: {job_counts(standing, screen.painted)}"]
    if "minutes" in standing:  # which the daemons before it did not tell
        head += [f"last hour: {_lately(standing, now)}"]
    for line in head:
        for part in screen.folded(line, _INDENT):
            screen.tell(part)
    shown = [
        tables.table(queue_columns(standing["queues"], now)),
        *([_usage(standing["usage"])] if standing["usage"] else []),
    ]
    screen.show("".join(f"\n{table}" for table in shown))
    return OK


def _of_class(client: Client, given: argparse.Namespace) -> int:
    if not given.class_name:
        return _of_classes(client, given)
    one = class_figures.found(client, given.class_name)
    if given.json:
        screen.tell_json(one)
        return OK
    screen.show("".join(f"{line}\n" for line in class_figures.lines(one)))
    if not (one["day"]["ended"] or one["before"]["ended"]):
        screen.say("nothing of it has ended in the last 14 days; `bgjob classes` lists what is approved")
    return OK


def _of_classes(client: Client, given: argparse.Namespace) -> int:
    trends = client.class_trends()
    if given.json:
        screen.tell_json({"classes": trends})
    elif trends:
        screen.show(tables.table(class_figures.columns(trends)))
    else:
        screen.say("nothing has ended in the last 14 days; `bgjob classes` lists what is approved")
    return OK


def job_counts(standing: Mapping[str, Any], paint: Callable[[str], str] = str) -> str:
    """How many jobs there are of each status, and groups that have not ended."""
    counts = {status: f"{standing['jobs'].get(status, 0)} {paint(status)}" for status in Status}
    # Which daemons before did not tell.
    blocked, groups = standing.get("blocked"), standing.get("groups_open")
    behind = sum(queue.get("behind") or 0 for queue in standing["queues"])
    all_kept = ((blocked, BLOCKED), (behind, BEHIND), (standing.get("waiting"), WAITING))
    kept = [f"{count} {paint(word)}" for count, word in all_kept if count]
    if kept:
        counts[Status.PENDING] += f" ({', '.join(kept)})"
    if standing.get("review"):
        counts[Status.FAILED] += f" ({standing['review']} for {REVIEW})"
    have = "group has" if groups == 1 else "groups have"
    return ", ".join(counts.values()) + (f"; {groups} {have} not ended" if groups else "")


def _lately(standing: Mapping[str, Any], now: float) -> str:
    """What ended in the last hour, and for how long the job has waited that has waited longest, if any waits."""
    ended = ", ".join(
        f"{sum(minute[status] for minute in standing['minutes'])} {screen.painted(status)}"
        for status in (Status.COMPLETED, Status.FAILED)
    )
    if standing["oldest_pending"] is None:
        return ended
    return f"{ended}; the oldest pending job has waited for {_wait(standing, now)}"


def _wait(standing: Mapping[str, Any], now: float, told: Callable[[float], str] = text.span) -> str:
    """For how long the oldest pending job of the daemon or of a queue has waited; empty where none waits."""
    since = standing.get("oldest_pending")  # daemons before it did not tell it of queues
    return "" if since is None else told(max(0.0, now - text.instant(since)))


def queue_columns(
    queues: Sequence[Mapping[str, Any]], now: float, told: Callable[[float], str] = text.span
) -> list[Column]:
    """How the queues stand; what of this there is of few: jobs that are kept, the oldest that waits, rules for keys."""
    waits, rules = [_wait(queue, now, told) for queue in queues], [text.key_rules(queue) for queue in queues]
    kept = {name: [str(queue.get(name) or "") for queue in queues] for name in (BLOCKED, BEHIND, WAITING)}
    return [
        Column("QUEUE", [queue["name"] for queue in queues]),
        Column("PENDING", [str(queue["pending"]) for queue in queues], is_number=True),
        *(Column(name.upper(), counts, is_number=True) for name, counts in kept.items() if any(counts)),
        Column("RUNNING", [str(queue["running"]) for queue in queues], is_number=True),
        Column("SLOTS", [str(queue["slots"] or "all") for queue in queues], is_number=True),
        *([Column("OLDEST", waits, is_number=True)] if any(waits) else []),
        *([Column("PER KEY", rules, cut=Cut.END)] if any(rules) else []),
        Column("", [text.paused(queue, now) for queue in queues]),
    ]


def _usage(by_class: Mapping[str, Mapping[str, Any]]) -> str:
    """The classes with what half of their attempts, and 95 of 100, do not exceed."""
    counts = [str(used["attempts"]) for used in by_class.values()]
    return tables.table(
        [
            Column("CLASS", list(by_class), cut=Cut.BEGINNING),
            Column("ATTEMPTS", counts, is_number=True),
            *(
                Column(
                    f"{name.upper()} P50/P95",
                    [
                        f"{told(used[f'{name}_p50'])}/{told(used[f'{name}_p95'])}"
                        for used in by_class.values()
                    ],
                    is_number=True,
                )
                for name, told in _MEASURES.items()
            ),
        ]
    )


_MEASURES: Final[Mapping[str, Callable[[Any], str]]] = {
    "wall": text.span,
    "cpu": text.span,
    "memory": text.size,
    "output": text.size,
}
"""What attempts use, and how it reads."""


def _is_named(name: str, wanted: str) -> bool:
    """Whether a class is meant, by its whole name or the end of it."""
    return name == wanted or name.endswith(f".{wanted}")


def _class(described: Mapping[str, Any], now: float) -> Iterator[str]:
    yield screen.painted(text.one_line(described["name"]), "bold")
    if described["unavailable"] is not None:
        yield f"  {screen.painted('cannot be used', 'red')}: {_indented(described['unavailable'])}"
    if described.get("hint"):
        yield f"  {_indented(described['hint'])}"
    if described.get("held") is not None:  # which daemons before did not tell
        yield f"  {screen.painted('is held', 'red')} {_indented(described['held'].removeprefix('held '))}"
    until = described.get("held_until")  # which daemons before did not tell
    if until is not None:
        yield f"  none starts until {text.moment(until, now)}: job {described['held_by']} was told to come later"
    if described["doc"]:
        yield f"  {_indented(described['doc'])}"
    for method in described["methods"]:
        yield f"  {_folded(text.one_line(text.signature(method)))}"
        yield from (f"      {_indented(doc, 6)}" for doc in (method["doc"], method["note"]) if doc)
    if described["policy"] is not None and described["unavailable"] is None:
        yield "\n".join(screen.folded(f"  {_policy(described['policy'])}", 4))
        yield "\n".join(screen.folded(f"  limits: {text.one_line(limits_text(described['policy']))}", 4))


def _indented(doc: str, by: int = 2) -> str:
    import inspect  # here, as it takes long to import

    first, *others = text.lines(inspect.cleandoc(doc)).split("\n")
    return "\n".join([first, *(f"{' ' * by}{line}".rstrip() for line in others)])


def _folded(signature: str) -> str:
    """The signature in lines of the terminal's width, broken between parameters."""
    most = screen.columns()
    if most is None:
        return signature
    first, *others = signature.split(", ")
    lines = [f"  {first}"]
    for parameter in others:
        if text.width(f"{lines[-1]}, {parameter},") <= most:
            lines[-1] += f", {parameter}"
        else:
            lines[-1] += ","
            lines.append(f"{' ' * 8}{parameter}")
    return "\n".join(lines).lstrip()


def _policy(policy: Mapping[str, Any]) -> str:
    growth = "" if policy["backoff"] == "constant" else f", {policy['backoff']}"
    limit = "no timeout" if policy["timeout"] is None else f"timeout {set_span_text(policy['timeout'])}"
    key = "" if policy["key"] is None else f", key {text.one_line(policy['key'])}"
    unique = "".join(f", unique {text.one_line(name)}" for name in policy.get("unique") or ())
    retries = "1 retry" if policy["max_retries"] == 1 else f"{policy['max_retries']} retries"
    unknown = f", unknown ends for {REVIEW}" if policy.get("unknown") == Unknown.REVIEW else ""
    return (
        f"queue {text.one_line(policy['queue'])}, priority {policy['priority']}, {limit},"
        f" {retries} {set_span_text(policy['retry_delay'])} apart{growth}{key}{unique}{unknown}"
    )
