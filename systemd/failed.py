"""Tells the targets of alerts that the daemon has failed, which it cannot by itself; run by bgjobd-failed.service."""

from __future__ import annotations

import json
import math
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

_AGAIN: Final = 60.0
"""Seconds before a target that was not told is tried again."""

_TOLD: Final = "told.json"

_HOW: Final = ("MONITOR_SERVICE_RESULT", "MONITOR_EXIT_CODE", "MONITOR_EXIT_STATUS")
"""What systemd says of the end."""


def main() -> int:
    """Tell it, unless it was told a moment ago; 1 where somebody was not told."""
    try:
        config = loading.load(None, os.environ, is_root=os.geteuid() == 0)
    except ConfigError as error:
        now = time.time()
        if str(error) in told_lately(os.environ, now, _QUIET):
            return _OK
        print(f"nobody can be told that bgjobd has failed: {error}", file=sys.stderr)
        note(os.environ, told_lately(os.environ, now, math.inf) | {str(error): now})
        return _FAILED
    return tell(config, os.environ, time.time())


def tell(config: Config, environ: Mapping[str, str], now: float) -> int:
    """The same, by the targets of rule `daemon` that need no daemon; `environ` has what systemd says of the end.

    A daemon that cannot start fails every two seconds: whoever was told of the same within `quiet` is not told again,
    and who could not be is tried once a minute.
    """
    how = " ".join(environ.get(name, "") for name in _HOW)
    (watch,) = (watch for watch in config.alerts.watches if watch.name == Kind.DAEMON)
    notice = notice_of(config.hosts.name, environ, now)
    targets = {name: config.alerts.targets[name] for name in watch.tell if name in config.alerts.targets}
    told = told_lately(environ, now, config.alerts.quiet)
    ended = _OK
    for name, target in targets.items():
        if (key := f"{name}: {how}") in told:
            continue
        # Noted before: one that takes too long has systemd end this, and is not the first again.
        told[key] = now - max(0.0, config.alerts.quiet - _AGAIN)
        note(environ, told)
        if _is_told(name, target, notice):
            told[key] = now
            note(environ, told)
        else:
            ended = _FAILED
    return ended


def told_lately(environ: Mapping[str, str], now: float, quiet: float) -> dict[str, float]:
    """What was told within so many seconds, and when; nothing where systemd gives no directory for it."""
    directory = environ.get("RUNTIME_DIRECTORY")
    noted = {} if directory is None else _noted(Path(directory, _TOLD))
    return {one: at for one, at in noted.items() if 0 <= now - at < quiet}


def note(environ: Mapping[str, str], told: Mapping[str, float]) -> None:
    """Have it there the next time."""
    directory = environ.get("RUNTIME_DIRECTORY")
    if directory is None:
        return
    try:
        new = Path(directory, f"{_TOLD}.new")
        new.write_text(json.dumps(told))
        new.replace(Path(directory, _TOLD))
    except OSError as error:
        print(f"that bgjobd has failed will be told again: {error}", file=sys.stderr)


def _noted(file: Path) -> dict[str, float]:
    """When each was told; none where that cannot be read."""
    try:
        return {str(one): float(at) for one, at in json.loads(file.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError):
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
