"""What the application's code offers as it is now, by a fork server that starts no job and is ended again."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from bgjobd.config.sections import Config
from bgjobd.daemon.catalogue import Catalogue
from bgjobd.host import life
from bgjobd.supervisor.application import Application, AttemptDirs
from bgjobd.supervisor.fork_server_link import ForkServer


async def imported(config: Config) -> tuple[Catalogue, dict[str, Any]]:
    """The catalogue, and what the fork server told of itself. Raises ForkServerError."""
    with tempfile.TemporaryDirectory(prefix="bgjobd-import-") as directory:
        application = Application.from_config(config)
        own = AttemptDirs(Path(directory), Path(directory), life.own().id)
        for made in (own.spool, own.work, own.output):
            made.mkdir(mode=0o700)
        server = await ForkServer.launch(application, own, lambda *_: None, lambda _: None, set())
        await server.abandon()
        return Catalogue(config, server.ready["classes"], server.code_version), server.ready
