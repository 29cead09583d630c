"""Makes the documentation's pictures of the page, from the demo and from a daemon with the jobs of a small shop.

`python -m tests.page.pictures DIRECTORY` writes now.png, of the demo, log.png, job.png and graph.png. Jobs are
real; only how long ago the shop's ran is told to the database, so that the hour has a history. `--all` makes one of
every view, to be looked at.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page

from bgjob import Client, Draft, Submitted, chain, group, job
from tests.daemon.running import RunningDaemon, daemon
from tests.page.browsing import PHONE, WIDE, Site, chromium, web_settings
from tests.support import eventually

SHOP = """
import time
from pathlib import Path
import bgjob


class EmailNotification:
    def send(self, to, subject, context: bgjob.JobContext):
        context.logger.info(f"Delivered “{subject}” to {to}")
        return {"delivered": True}


class NightlyReport:
    def build(self, day, context: bgjob.JobContext, format="pdf"):
        print(f"reading the orders of {day}")
        print("412 orders, 3 without a total")
        rows = [{"order": 1007, "total": "18.50"}, {"order": 1008, "total": None}]
        return self.summed(rows)

    def summed(self, rows):
        return sum(self.amount(row) for row in rows)

    def amount(self, row):
        if row["total"] is None:
            raise ValueError(f"order {row['order']} has no total")
        return float(row["total"])


class StockImport:
    def run(self, go, context: bgjob.JobContext):
        context.progress(0.62, "3,100 of 5,000 rows")
        for _ in range(600):
            if Path(go).exists():
                return
            time.sleep(0.05)


class CatalogueImport:
    def split(self, file):
        return 5

    def load(self, part, go):
        if part == 2:
            raise ValueError("line 4,107 has no price")
        for _ in range(600 if part == 4 else 0):
            if Path(go).exists():
                return
            time.sleep(0.05)

    def publish(self):
        pass

    def tidy(self):
        pass
"""
APPROVED = (
    "\n".join(
        f'"shop.{name}" = {{ max_retries = 1, retry_delay = 0.1 }}'
        for name in ("EmailNotification", "NightlyReport", "StockImport")
    )
    + """
"shop.CatalogueImport" = { max_retries = 0 }
"""
)
SCHEDULES = """
[schedules.nightly-report]
job = "shop.NightlyReport::build"
parameters = { day = "yesterday" }
cron = "30 2 * * 1-5"
zone = "Europe/Berlin"

[schedules.stock-import]
job = "shop.StockImport::run"
parameters = { go = "/nowhere" }
cron = "0 */6 * * *"
missed = "skip"
"""
HISTORY = (3400, 3290, 3285, 3010, 2800, 2790, 2785, 2400, 2390, 2010, 1900, 1890, 1880, 1500, 1490, 1100, 1090,
           1085, 1080, 700, 690, 500, 300, 240, 95, 41)  # fmt: skip
"""How many seconds ago each message was sent; the report failed after the last but one."""

REAL = {"width": 920, "height": 900}
"""So wide that a README shows a picture as large as it is."""

BAD_DAY = {"width": 1100, "height": 640}
"""What needs somebody, and what ended."""

ACROSS = {"width": 1290, "height": 620}
"""As wide as the graph is."""

MAIL = "EmailNotification"
REPORT = "NightlyReport"
_INSTANTS = {
    "background_jobs": ("id", "scheduled_at", "started_at", "finished_at", "created_at", "updated_at"),
    "job_attempts": ("job_id", "started_at", "finished_at"),
    "job_logs": ("job_id", "created_at"),
}


def main() -> None:
    given = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    given.add_argument("directory", type=Path)
    given.add_argument("--all", action="store_true", help="one of every view, in both themes and on a phone")
    arguments = given.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    with shop_directory() as directory, chromium() as browser:
        go = directory / "go"
        web = web_settings() + "\nper_page = 10"
        with daemon(
            directory, APPROVED + SCHEDULES, modules={"shop": SHOP}, web=web, has_pydantic=True
        ) as running:
            failed = with_history(running, go)
            try:
                site = Site(browser, running)
                take(site, failed, arguments.directory, arguments.all)
                take_graph(site, go, arguments.directory, arguments.all)
            finally:
                go.touch()
        take_bad_day(browser, arguments.directory / "now.png")


def take_bad_day(browser: Browser, file: Path) -> None:
    """Photograph Now once the demo has shown all of its shop's bad day."""
    command = [sys.executable, "-m", "bgjobd", "demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo:
        assert demo.stdout is not None
        try:
            told = next(line for line in demo.stdout if line.startswith("What became of the shop"))
            (login,) = re.findall(r"http://\S+", told)
            page = browser.new_page(viewport=BAD_DAY, timezone_id="UTC")
            page.goto(login)
            page.get_by_text("need somebody").wait_for()
            page.screenshot(path=file)
        finally:
            demo.send_signal(signal.SIGINT)
            demo.stdout.read()


@contextmanager
def shop_directory() -> Iterator[Path]:
    """A directory that is called the same each time, for tracebacks show it. Raises FileExistsError."""
    directory = Path(tempfile.gettempdir()) / "shop"
    directory.mkdir(mode=0o700)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def with_history(running: RunningDaemon, go: Path) -> int:
    """Run the shop's jobs and let them have run over the last hour; one runs still. The job that failed."""
    ages: dict[int, int] = {}
    with running.client() as client:
        for number, age in enumerate(HISTORY[:-1]):
            ages[mailed(client, number)] = age
        report = client.run_background_job(f"shop.{REPORT}", "build", {"day": "2026-03-01", "format": "pdf"})
        failed = report.wait(20)
        ages[failed["id"]] = 60
        ages[mailed(client, len(HISTORY))] = HISTORY[-1]
    running.stop()
    age_all(running.database, ages)
    running.start()
    eventually(lambda: running.console().count("the page is at") == 2)
    with running.client() as client:
        client.run_background_job("shop.StockImport", "run", {"go": str(go)})
        eventually(lambda: client.logs(search="3,100 of 5,000").items)
    return int(failed["id"])


def imported(client: Client, go: Path) -> Submitted:
    """A file on its way into the catalogue: one of its parts has failed, one is being loaded."""

    def step(method: str, **parameters: object) -> Draft[object]:
        return job("shop.CatalogueImport", method, parameters)

    parts = group(*(step("load", part=part, go=str(go)) for part in range(5)), name="parts")
    publish, tidy = step("publish"), job("shop.CatalogueImport", "tidy", if_failed="run")
    flow = chain(step("split", file="spring.csv"), parts, publish, tidy).submit(client)
    found = flow.groups[0]
    eventually(lambda: found.refresh()["unfinished"] == 1 and flow.jobs[5].refresh()["status"] == "running")
    return flow


def mailed(client: Client, number: int) -> int:
    """Have a message sent, and wait for it; the job's id."""
    subjects = ("Your order has shipped", "Welcome", "Your invoice", "A table for four is booked")
    parameters = {"to": f"customer{number}@example.com", "subject": subjects[number % len(subjects)]}
    job = client.run_background_job(f"shop.{MAIL}", "send", parameters)
    job.wait(20)
    return job.id


def age_all(database: Path, ages: dict[int, int]) -> None:
    """Let each of these jobs have happened so many seconds earlier."""
    with sqlite3.connect(database) as connection:
        for table, (key, *columns) in _INSTANTS.items():
            changes = ", ".join(
                f"{name} = strftime('%Y-%m-%dT%H:%M:%f000Z', {name}, :earlier)" for name in columns
            )
            connection.executemany(
                f"UPDATE {table} SET {changes} WHERE {key} = :job",
                [{"job": job, "earlier": f"-{age} seconds"} for job, age in ages.items()],
            )
    connection.close()


def take(site: Site, failed: int, directory: Path, takes_all: bool) -> None:
    """Photograph the log and a job, or all views but those of groups."""
    views = {"log": "/", "job": f"/jobs/{failed}"}
    if takes_all:
        views |= {"schedules": "/schedules", "schedule": "/schedules/nightly-report"}
        views |= {"jobs": "/jobs", "system": "/system", "no-match": "/?q=no+such+words", "broken": "/nowhere"}
        views |= {"now": "/now", "errors": "/errors", "error": "/errors/1"}
        views |= {"classes": "/classes", "class": f"/classes/shop.{REPORT}"}
    shoot_all(site, views, directory, WIDE if takes_all else REAL, takes_all)
    if takes_all:
        with site.context(is_logged_in=False) as context:
            shoot(context.new_page(), "/login", directory / "login.png", takes_all)


def take_graph(site: Site, go: Path, directory: Path, takes_all: bool) -> None:
    """Photograph the graph of a flow, or all views of it; it would fill the log of the other pictures."""
    first = imported(site.client, go).jobs[0].id
    views = {"graph": f"/jobs/{first}/graph"}
    if takes_all:
        views |= {"groups": "/groups", "group": "/groups/1", "member": f"/jobs/{first + 1}"}
    shoot_all(site, views, directory, WIDE if takes_all else ACROSS, takes_all)


def shoot_all(
    site: Site, views: dict[str, str], directory: Path, size: dict[str, int], takes_all: bool
) -> None:
    """Photograph each; where all are taken in the dark and on a phone, too."""
    for suffix, options in {
        "": {"viewport": size},
        "-dark": {"color_scheme": "dark"},
        "-phone": {"viewport": PHONE, "is_mobile": True, "device_scale_factor": 2},
    }.items():
        if suffix and not takes_all:
            continue
        with site.context(**options) as context:
            for name, address in views.items():
                shoot(context.new_page(), address, directory / f"{name}{suffix}.png", takes_all)


def shoot(page: Page, address: str, file: Path, is_whole: bool) -> None:
    """Photograph what is at this address, down to its end or as far as the window goes."""
    page.goto(address)
    page.locator(".switches").wait_for()
    page.screenshot(path=file, full_page=is_whole)
    page.close()


if __name__ == "__main__":
    main()
