"""Tells the targets of alerts that the daemon has failed, which it cannot by itself; run by bgjobd-failed.service."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

from bgjob.alerts import Notice
from bgjobd.config import loading
from bgjobd.config.alerts import AlertTarget
from bgjobd.config.problems import ConfigError
from bgjobd.config.sections import Config
from bgjobd.core.alerts import Alert, noted
from bgjobd.core.need_kinds import Kind
from bgjobd.host.clock import to_text

_OK: Final = 0
_FAILED: Final = 1


def main() -> int:
    """Tell it; 1 where somebody was not told."""
    try:
        config = loading.load(None, os.environ, is_root=os.geteuid() == 0)
    except ConfigError as error:
        print(f"nobody can be told that bgjobd has failed: {error}", file=sys.stderr)
        return _FAILED
    return tell(config, os.environ, time.time())


def tell(config: Config, environ: Mapping[str, str], now: float) -> int:
    """The same, by the targets of rule `daemon` that need no daemon; `environ` has what systemd says of the end."""
    (watch,) = (watch for watch in config.alerts.watches if watch.name == Kind.DAEMON)
    notice = notice_of(config.hosts.name, environ, now)
    targets = {name: config.alerts.targets[name] for name in watch.tell if name in config.alerts.targets}
    told = [_is_told(name, target, notice) for name, target in targets.items()]
    return _OK if all(told) else _FAILED


def notice_of(host: str, environ: Mapping[str, str], now: float) -> dict[str, Any]:
    """What is told: that it has failed, and how, as far as systemd says so."""
    result = environ.get("MONITOR_SERVICE_RESULT")
    message = f"the daemon has failed{f' ({result})' if result else ''}; systemd starts another"
    hint = "`journalctl -u bgjobd` has more; jobs go on"
    alert = Alert(0, Kind.DAEMON, Kind.DAEMON, host, now, message, hint, 1, now)
    return noted([alert], host) | {"since": to_text(now)}


def _is_told(name: str, target: AlertTarget, notice: dict[str, Any]) -> bool:
    """Whether that went well; a job tells nobody now."""
    try:
        if target.command is not None:
            Notice().command(list(target.command), notice)
        elif target.smtp is not None:
            Notice().smtp(target.smtp, target.sender, list(target.to), notice)
    except Exception as error:  # others are told all the same
        print(f"{name} was not told that bgjobd has failed: {type(error).__name__}: {error}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
