"""What a fork server is told of the configuration: the application it serves, where its attempts write. Values only."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bgjobd.config.alerts import NOTICE, NOTICE_METHODS
from bgjobd.config.sections import Config
from bgjobd.core.host_fence import longest_grace
from bgjobd.forkserver.cgroup import Groups
from bgjobd.host import container
from bgjobd.supervisor import limits

_EXPOSED: Final = 200
"""Of the kernel's OOM killer's score: in a container attempts go before their daemon."""


@dataclass(frozen=True, slots=True)
class Application:
    """What a fork server serves: the interpreter, where its code is, which environment, what is approved; `prepare` is
    the function that comes before all imports, `on_failure` that which hears of failed jobs.

    `approved` maps a class to the methods that its policy lists, or to None for all, `limits` to those of its attempts,
    `missing` to why it cannot run at all. `slots` is how many attempts there may be at once, `spares` how many children
    it has ready for them at most.
    """

    python: str | None
    path: tuple[str, ...]
    env: dict[str, str]
    approved: dict[str, list[str] | None]
    limits: dict[str, dict[str, Any]]
    missing: dict[str, str]
    import_timeout: float
    slots: int = 1
    spares: int = 0
    prepare: str | None = None
    on_failure: str | None = None

    @classmethod
    def from_config(cls, config: Config) -> Application:
        """What the configuration says of it."""
        approved = {
            name: list(policy.methods) if policy.methods is not None else None
            for name, policy in config.approved.items()
        }
        approved |= {NOTICE: list(NOTICE_METHODS)} if config.alerts.needs_notice else {}
        app = config.app
        path = tuple(str(directory) for directory in app.path)
        python = None if app.python is None else str(app.python)
        class_limits, missing = limits.message(config)
        return cls(
            python=python,
            path=path,
            env={"BGJOBD_SOCKET": str(config.daemon.socket)} | app.env,
            approved=approved,
            limits=class_limits,
            missing=missing,
            import_timeout=app.import_timeout,
            slots=config.daemon.slots,
            spares=config.daemon.spares,
            prepare=app.prepare,
            on_failure=app.on_failure,
        )

    def only(self, names: Collection[str]) -> Application:
        """The same with no other classes than these, to be looked at: nothing starts."""
        return replace(
            self,
            spares=0,
            approved={name: methods for name, methods in self.approved.items() if name in names},
            missing={name: why for name, why in self.missing.items() if name in names},
        )


@dataclass(frozen=True, slots=True)
class AttemptDirs:
    """The directories that attempts write to, and the life they belong to.

    What lies in `state_dir` none of them may read whose files are confined; `groups` are their cgroups. `console` is
    the descriptor that a fork server prints to; `exposed` by how much the kernel's OOM killer prefers attempts.
    `fenced_grace` is how many seconds those get at most that others repeat, once this host is cut off from them; None
    where there are no others.
    """

    state_dir: Path
    runtime_dir: Path
    life_id: str = ""
    groups: Groups | None = None
    console: int = 2
    exposed: int = 0
    fenced_grace: float | None = None

    @classmethod
    def from_config(
        cls, config: Config, life_id: str = "", groups: Groups | None = None, console: int = 2
    ) -> AttemptDirs:
        """Where the configuration has them; without a life for who starts nothing there."""
        exposed = _EXPOSED if container.is_around(os.environ) else 0
        after = config.fenced_after
        grace = None if after is None else longest_grace(after)
        dirs = config.daemon.state_dir, config.daemon.runtime_dir
        return cls(*dirs, life_id, groups, console, exposed, grace)

    @property
    def fence(self) -> Path:
        """The file that says until when those may run that others repeat."""
        return self.runtime_dir / "fence"

    @property
    def spool(self) -> Path:
        return self.runtime_dir / "spool"

    @property
    def work(self) -> Path:
        return self.runtime_dir / "work"

    @property
    def output(self) -> Path:
        return self.state_dir / "output"
