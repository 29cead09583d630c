"""The show: starts a daemon in a directory of its own, submits the sample jobs, and tells what became of them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from bgjob import AsyncClient, AsyncJob
from bgjob.errors import RequestError
from bgjobd import service
from bgjobd.config import loading
from bgjobd.config.sections import Config
from bgjobd.daemon import shutdown
from bgjobd.demo import life
from bgjobd.host.sd_listen import Handed
from bgjobd.host.sd_notify import Notifier
from bgjobd.supervisor import page_process

_JOBS = "bgjobd.demo.jobs"
_GRACE = 5.0
_APPROVED = ("ExampleJob", "EmailNotification", "FlakyJob", "CrashingJob")


async def run(directory: Path, is_once: bool) -> int:
    """Run the show in `directory`; answers the exit code, 0 where every job ended as it should."""
    settings = _settings(directory, with_life=not is_once)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with service.running(settings, lambda: settings, Notifier(), Handed()) as daemon:
        show = asyncio.ensure_future(_perform(settings.daemon.socket, directory))
        leaving = asyncio.ensure_future(stop.wait())
        await asyncio.wait([show, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not show.done():
            show.cancel()  # it would wait for the daemon to come back
            await asyncio.wait([show])
            await shutdown.stop_attempts(daemon, _GRACE, "the demo is over")
            return 130
        is_as_expected = _report(await show, directory)
        if not is_once:
            _print_hints(settings)
            made = partial(
                print, f"\nWhat became of the shop is on the page by now: {_page(settings)}", flush=True
            )
            await _until(leaving, life.live(settings.daemon.socket, directory, made))
        await shutdown.stop_attempts(daemon, _GRACE, "the demo is over")
    leaving.cancel()
    return 0 if is_as_expected else 1


async def _until(leaving: asyncio.Future[Any], life: Coroutine[Any, Any, None]) -> None:
    """Have the shop live until somebody leaves; what ends it before that is told, and the daemon goes on."""
    living = asyncio.ensure_future(life)
    await asyncio.wait([living, leaving], return_when=asyncio.FIRST_COMPLETED)
    if living.done() and not leaving.done():
        print(f"the shop closed early: {living.exception()!r}", file=sys.stderr)
    await leaving
    living.cancel()
    await asyncio.wait([living])


def _settings(directory: Path, with_life: bool) -> Config:
    file = directory / "bgjobd.toml"
    text = _SETTINGS.format(
        directory=directory,
        application=Path(__file__).parents[2],
        slots=4 if with_life else 2,
        shop=f', "{life.deploy(directory)}"' if with_life else "",
        port=_free_port(),
        approved="\n".join(f'"{_JOBS}.{name}" = {{}}' for name in _APPROVED),
    )
    file.write_text(text + (life.SETTINGS if with_life else ""), encoding="utf-8")
    return loading.load(file, {}, is_root=os.geteuid() == 0)


_SETTINGS = """
[daemon]
socket = "{directory}/bgjobd.sock"
state_dir = "{directory}/state"
runtime_dir = "{directory}/run"
log_dir = "{directory}/log"
slots = {slots}

[app]
path = ["{application}"{shop}]
env = {{ DEMO_MAILDIR = "{directory}/Maildir" }}

[retry]
max_retries = 1
retry_delay = 0.5

[log]
console = "text"

[web]
bind = "127.0.0.1:{port}"
actions = true

[approved]
{approved}
"""


def _free_port() -> int:
    """One that the page can have, so that its address can be told at the end, too."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _perform(address: Path, directory: Path) -> list[dict[str, Any]]:
    """Submit the jobs and wait for their ends; the jobs as they stand then."""
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("ExampleJob", "run", {"count": 3}),
        ("EmailNotification", "send", {"to": "user@example.com", "subject": "Hello"}),
        ("FlakyJob", "run", {"marker": str(directory / "marker")}),
        ("CrashingJob", "run", {}),
    ]
    async with AsyncClient(str(address), timeout=30.0) as client:
        jobs: list[AsyncJob] = [
            await client.run_background_job(f"{_JOBS}.{name}", method, parameters)
            for name, method, parameters in calls
        ]
        try:
            await client.run_background_job(f"{_JOBS}.ForbiddenJob", "run")
        except RequestError as error:
            print(f"\nrefused, as it should be: {error}\n", file=sys.stderr)
        return [await job.wait(timeout=60.0) for job in jobs]


_EXPECTED = ("completed", "completed", "completed", "failed")


def _report(jobs: list[dict[str, Any]], directory: Path) -> bool:
    """Print the table; whether all went as it should."""
    from rich.console import Console
    from rich.table import Table

    table = Table("job", "what", "status", "attempts", "result or error", title="What became of the jobs")
    for job in jobs:
        name = job["class_name"].rpartition(".")[2]
        said = job["error"] if job["status"] == "failed" else str(job["result"])
        table.add_row(
            str(job["id"]), f"{name}::{job['method_name']}", job["status"], str(len(job["attempts"])), said
        )
    table.add_row("–", "ForbiddenJob::run", "refused", "0", "not an approved class; nothing was stored")
    delivered = len(list((directory / "Maildir" / "new").glob("*")))
    console = Console()
    console.print(table)
    console.print(f"{delivered} message in the Maildir", highlight=False)
    return delivered == 1 and tuple(job["status"] for job in jobs) == _EXPECTED


def _print_hints(settings: Config) -> None:
    bgjob = "bgjob" if shutil.which("bgjob") else Path(sys.executable).with_name("bgjob")
    print(
        "\nThe daemon goes on until Ctrl-C, with a small shop that has a bad day, and so does its page:\n"
        f"  {_page(settings)}\n"
        "From another terminal:\n"
        f"  export BGJOBD_SOCKET={settings.daemon.socket}\n"
        f"  {bgjob} run {_JOBS}.ExampleJob::run -p count=50 -w\n"
        f"  {bgjob} list\n"
        f"  {bgjob} tail -f\n"
        "  varlinkctl introspect unix:$BGJOBD_SOCKET org.bgjobd.Jobs",
        flush=True,
    )


def _page(settings: Config) -> str:
    web = page_process.settings_of(settings)
    return f"http://{web['bind']}/login?token={web['token']}"
