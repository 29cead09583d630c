"""What a check says of alerts: rules that tell nobody, or wait for what cannot run, and targets that cannot be told."""

from __future__ import annotations

import os
from collections.abc import Iterator

from bgjob.errors import RequestError
from bgjob.unknown_names import perhaps
from bgjobd.commands.findings import Finding, doubtful, ok, remark
from bgjobd.config.alerts import AlertTarget
from bgjobd.config.sections import Config
from bgjobd.core.alerts import JOURNAL
from bgjobd.daemon.catalogue import Catalogue


def findings(config: Config, catalogue: Catalogue | None) -> Iterator[Finding]:
    """`catalogue` is None where nothing could be imported."""
    own = config.alerts
    if not own.is_on:
        if own.targets or own.rules:
            yield remark("alerts: nobody is told, for neither tell of [alerts] nor a rule names a target")
        return
    named = {name for watch in own.watches for name in watch.tell}
    yield ok(f"alerts: {', '.join(sorted(named))} {'is' if len(named) == 1 else 'are'} told")
    for name, target in sorted(own.targets.items()):
        if name not in named:
            yield remark(f"alerts: no rule tells target {name}")
        wrong = _wrong(target, catalogue)
        if wrong is not None:
            yield doubtful(f"alerts: target {name} cannot be told: {wrong}")
    yield from _not_configured(config)
    if catalogue is not None:
        yield from _in_vain(config, catalogue)
    if named == {JOURNAL}:
        yield remark("alerts: they are told to the journal alone")


def _not_configured(config: Config) -> Iterator[Finding]:
    """The rules of a schedule or a queue that is not configured; other hosts may have it."""
    found = doubtful if config.daemon.database is None else remark
    for name, rule in sorted(config.alerts.rules.items()):
        is_put = rule.schedule is not None and "/" in rule.schedule  # while the daemon runs
        for what, named, known in (
            ("schedule", None if is_put else rule.schedule, config.schedules),
            ("queue", rule.queue, config.queues),
        ):
            if named is not None and named not in known:
                meant = perhaps([named], known)
                told = f"alerts: rule {name} looks for {what} {named}, which is not configured"
                yield found(f"{told}{meant and '; '}{meant}")


def _in_vain(config: Config, catalogue: Catalogue) -> Iterator[Finding]:
    """The rules that wait for a success of what nothing may run."""
    for watch in config.alerts.awaiting:
        class_name, _, method_name = str(watch.rule.job).partition("::")
        described = catalogue.classes.get(class_name)
        if described is None and not catalogue.has_others:
            yield doubtful(f"alerts: rule {watch.name} waits for {class_name}, which is not approved")
        elif described is None or described["unavailable"] is not None:
            continue  # which has been told
        elif method_name and method_name not in described["methods"]:
            yield doubtful(f"alerts: rule {watch.name} waits for {method_name}, which {class_name} has not")


def _wrong(target: AlertTarget, catalogue: Catalogue | None) -> str | None:
    if target.command is not None and not os.access(target.command[0], os.X_OK):
        return f"{target.command[0]} is no program that this user may run"
    if target.job is not None and catalogue is not None:
        class_name, _, method_name = target.job.partition("::")
        try:
            catalogue.check(class_name, method_name, {"notice": {}})
        except RequestError as refusal:
            return str(refusal)
    return None
