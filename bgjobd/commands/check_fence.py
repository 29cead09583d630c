"""What a check says of the fence: whether each class that others repeat can be ended in time, should the host be cut
off from the database.
"""

from __future__ import annotations

from collections.abc import Iterator

from bgjobd.commands.findings import Finding, broken, ok
from bgjobd.config.policy import policy_of
from bgjobd.config.sections import Config
from bgjobd.core.host_fence import longest_grace


def findings(config: Config) -> Iterator[Finding]:
    """None where nobody else repeats anything by himself."""
    after = config.fenced_after
    if after is None:
        return
    longest, half = longest_grace(after), after / 2
    policies = {name: policy_of(config, name) for name in sorted(config.approved)}
    graces = {name: policy.stop_grace for name, policy in policies.items() if policy.retry_lost}
    too_long = {name: grace for name, grace in graces.items() if grace > longest}
    for name, grace in too_long.items():
        told = f"{name}: stop_grace is {grace:g} s, and {longest:g} s are left from half of [hosts] lost_after on, when"
        more = "it is told to stop should this host be cut off, until others repeat it"
        yield broken(f"{told} {more}; lower that, raise lost_after, or set retry_lost = false")
    if graces and not too_long:
        yield ok(f"fence: what others may repeat ends {half:g} s after the last beat, and is killed in time")
