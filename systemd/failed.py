"""Tells the targets of alerts that the daemon has failed, which it cannot by itself; run by bgjobd-failed.service."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
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

_QUIET: Final = 600.0
"""Seconds before the same is told again where no configuration says it."""

_HOW: Final = ("MONITOR_SERVICE_RESULT", "MONITOR_EXIT_CODE", "MONITOR_EXIT_STATUS")
"""What systemd says of the end."""


def main() -> int:
    """Tell it, unless it was told a moment ago; 1 where somebody was not told."""
    try:
        config = loading.load(None, os.environ, is_root=os.geteuid() == 0)
    except ConfigError as error:
        if not is_news(str(error), os.environ, time.time(), _QUIET):
            return _OK
        print(f"nobody can be told that bgjobd has failed: {error}", file=sys.stderr)
        return _FAILED
    return tell(config, os.environ, time.time())


def tell(config: Config, environ: Mapping[str, str], now: float) -> int:
    """The same, by the targets of rule `daemon` that need no daemon; `environ` has what systemd says of the end."""
    how = " ".join(environ.get(name, "") for name in _HOW)
    if not is_news(how, environ, now, config.alerts.quiet):
        return _OK
    (watch,) = (watch for watch in config.alerts.watches if watch.name == Kind.DAEMON)
    notice = notice_of(config.hosts.name, environ, now)
    targets = {name: config.alerts.targets[name] for name in watch.tell if name in config.alerts.targets}
    told = [_is_told(name, target, notice) for name, target in targets.items()]
    return _OK if all(told) else _FAILED


def is_news(failure: str, environ: Mapping[str, str], now: float, quiet: float) -> bool:
    """Whether this was not asked of the same within so many seconds, for a daemon that cannot start fails every two.

    That is noted in the directory that systemd gives; where there is none, all is news.
    """
    directory = environ.get("RUNTIME_DIRECTORY")
    if directory is None:
        return True
    file = Path(directory, "told.json")
    told = {one: at for one, at in _noted(file).items() if 0 <= now - at < quiet}
    if failure in told:
        return False
    try:
        new = file.with_suffix(".new")
        new.write_text(json.dumps(told | {failure: now}))
        new.replace(file)
    except OSError as error:
        print(f"that bgjobd has failed will be told again: {error}", file=sys.stderr)
    return True


def _noted(file: Path) -> dict[str, float]:
    """When each was told; none where that cannot be read."""
    try:
        return {str(one): float(at) for one, at in json.loads(file.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


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
