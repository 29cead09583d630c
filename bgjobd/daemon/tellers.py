"""How each target of [alerts.targets] is told: by which job, as things are."""

from __future__ import annotations

from typing import Final

from bgjob.errors import RequestError
from bgjobd.config.alerts import NOTICE, AlertTarget
from bgjobd.config.sections import Config
from bgjobd.core.facts import Submitted
from bgjobd.core.job import Call, RetryPolicy
from bgjobd.core.planner import BESIDE
from bgjobd.daemon.catalogue import Catalogue
from bgjobd.store.alert_items import Teller

_RETRIES: Final = RetryPolicy(max_retries=5)
_TIMEOUT: Final = 60.0
"""Seconds for an attempt of ours; a job of the configuration has its class's."""


def tellers(config: Config, catalogue: Catalogue | None) -> tuple[dict[str, Teller], dict[str, RequestError]]:
    """By target; and why the jobs of some are refused."""
    found: dict[str, Teller] = {}
    refused: dict[str, RequestError] = {}
    for name, target in config.alerts.targets.items():
        try:
            found[name] = _teller(target, catalogue)
        except RequestError as refusal:
            found[name], refused[name] = Teller({}), refusal
    return found, refused


def _teller(target: AlertTarget, catalogue: Catalogue | None) -> Teller:
    """Raises the refusals of a submit."""
    if target.command is not None:
        return Teller({"argv": list(target.command)}, _job(NOTICE, "command", _TIMEOUT, ("argv",)))
    if target.smtp is not None:
        mail = {"server": target.smtp, "sender": target.sender, "to": list(target.to)}
        return Teller(mail, _job(NOTICE, "smtp", _TIMEOUT))
    class_name, _, method_name = str(target.job).partition("::")
    if catalogue is not None:  # else nobody knows
        catalogue.check(class_name, method_name, {"notice": {}})
        return Teller({}, _job(class_name, method_name, catalogue.policies[class_name].timeout))
    return Teller({}, _job(class_name, method_name, None))


def _job(
    class_name: str, method_name: str, timeout: float | None, sensitive: tuple[str, ...] = ()
) -> Submitted:
    """What is `sensitive` is the configuration's, and not for all who may read jobs."""
    call = Call(class_name, method_name, "{}", sensitive)
    return Submitted(id=0, call=call, retry_count=0, policy=_RETRIES, queue=BESIDE, timeout=timeout)
