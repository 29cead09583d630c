"""A Django project with the backend, beside a daemon; what it tests stands in `shop_tests.py` and `outbox_tests.py`,
what is killed in `outbox_web.py`.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pwd import getpwuid
from typing import NamedTuple
from urllib.parse import quote

import psycopg
import pytest

from tests.daemon import warm
from tests.daemon.running import RunningDaemon, daemon
from tests.frameworks.environments import environment
from tests.postgresql import USER, PostgreSQL
from tests.support import eventually

_HERE = Path(__file__).parent
_PROJECT = _HERE / "project"
_APPROVED = '"shop.tasks" = { methods = ["plain_has_connection_at_first"] }\n[queues]\nmail = {}'

pytestmark = pytest.mark.timeout(300)  # the first time it installs what it needs


class Project(NamedTuple):
    """The project beside its daemon: its interpreter and the variables of its processes."""

    running: RunningDaemon
    python: Path
    environ: Mapping[str, str]

    def start(self, *words: str, **environ: str) -> subprocess.Popen[str]:
        """A process of it, which is heard and spoken to."""
        return subprocess.Popen(
            [self.python, *words],
            env={**self.environ, **environ},
            cwd=self.running.directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str, **environ: str) -> str:
        """What a process of it has said until it ended well."""
        process = self.start(*words, **environ)
        said, _ = process.communicate()
        assert process.returncode == 0, said
        return said


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with beside_daemon(tmp_path_factory.mktemp("shop")) as project:
        yield project


@contextmanager
def beside_daemon(directory: Path, settings: str = _APPROVED, **of_daemon: str) -> Iterator[Project]:
    """A project in this directory, beside a daemon with these variables."""
    made = environment("django-6.0")
    environ = {"DJANGO_SETTINGS_MODULE": "shop_settings", "SHOP_STATE": str(directory)}
    app = f"""
python = "{made.python}"
prepare = "shop_prepared.setup"
env = {{ {", ".join(f'{name} = "{value}"' for name, value in environ.items())} }}
"""
    for one in _PROJECT.iterdir():
        (directory / one.name).symlink_to(one)
    path = f"{_HERE.parents[1] / 'client'}:{_PROJECT}:{_HERE}"
    with daemon(directory, settings, app, of_daemon, has_pydantic=True) as running:
        yield Project(
            running, made.python, {**environ, "PYTHONPATH": path, "BGJOBD_SOCKET": str(running.socket)}
        )


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """The variables by which the project's databases are of this kind."""
    if request.param == "sqlite":
        return {}
    server: PostgreSQL = request.getfixturevalue("postgresql")
    names = {f"SHOP_{name}": server.database() for name in ("DEFAULT", "OTHER")}
    return {"SHOP_POSTGRESQL": str(server.directory), **names}


def test_a_project_runs_its_tasks_in_the_background(project: Project) -> None:
    assert "Ran 30 tests" in project.run("-m", "unittest", "shop_tests")


def test_a_project_submits_by_its_outbox(project: Project, database: Mapping[str, str]) -> None:
    assert "Ran 38 tests" in project.run("-m", "unittest", "outbox_tests", **database)


def test_a_project_hands_its_jobs_over_in_the_database_from_which_the_daemon_works(
    postgresql: PostgreSQL, tmp_path: Path
) -> None:
    name, own_user = postgresql.database(), getpwuid(os.geteuid()).pw_name
    address = f"postgresql://{USER}@/{name}?host={quote(str(postgresql.directory), safe='')}"
    roles = f'{_APPROVED}\n[access.roles]\nclerk = "{own_user}"\n'
    with beside_daemon(tmp_path, roles, BGJOBD_DAEMON__DATABASE=address) as project:
        with psycopg.connect(postgresql.dsn(name), autocommit=True) as connection:
            connection.execute("CREATE ROLE clerk LOGIN IN ROLE bgjobd_submitter")
            connection.execute("GRANT ALL ON SCHEMA public TO clerk")
        place = {f"SHOP_{one}": name for one in ("DEFAULT", "OTHER")}
        environ = {"SHOP_POSTGRESQL": str(postgresql.directory), "SHOP_USER": "clerk", **place}
        assert "Ran 3 tests" in project.run("-m", "unittest", "direct_tests", **environ)


@pytest.mark.parametrize("rounds", [10, pytest.param(300, marks=pytest.mark.long)])
def test_whoever_is_killed_each_committed_order_is_packed_once_and_no_other(
    project: Project, database: Mapping[str, str], rounds: int
) -> None:
    running, book = project.running, Path(project.environ["SHOP_STATE"], "packed")
    book.unlink(missing_ok=True)
    web = project.start("-m", "outbox_web", f"{len(database)}-{rounds}", str(rounds), **database)
    said, killed = [], Counter[str]()
    assert web.stdout is not None
    for number, line in enumerate(iter(web.stdout.readline, "played\n")):
        said.append(line)
        assert line, said
        if ": killed, " in line:
            killed[reached(running, line)] += 1
        if number % 20 == 8:
            running.stop(signal.SIGKILL)
        elif number % 20 == 14:
            running.start()
    if running.process is None:
        running.start()
    told, _ = web.communicate("\n")
    assert web.returncode == 0, told
    with running.client() as client:
        eventually(lambda: client.list(status=["pending", "running"]).items == [], within=60)
    orders = told.partition("orders: ")[2].split()
    print(f"{2 * rounds} rounds, {len(orders)} orders; killed: {dict(killed)}")
    assert killed.total() > rounds, said
    if rounds > 100:
        assert killed.keys() == {"not committed", "committed", "committed, submitted", "deleted, submitted"}
    assert Counter(book.read_text().split()) == dict.fromkeys(orders, 1)


@pytest.mark.parametrize(
    ("task", "given", "words", "typed", "end"),
    [
        ("told", {"number": 5}, ["--trace"], "p number\nc\n", (0, ",1,5]")),
        ("fails", {"path": "order 7"}, [], "p path\nq\n", (1, ")fails()")),
        (
            "count_later",
            {},
            ["--trace"],
            "q\n",
            (130, ")count_later()\n-> return await Order.objects.acount()"),
        ),
    ],
)
def test_a_task_is_debugged_in_whatever_thread_it_runs(
    project: Project, task: str, given: dict[str, object], words: list[str], typed: str, end: tuple[int, str]
) -> None:
    running = project.running
    with running.client() as client:
        job = client.run_background_job("shop.tasks", task, given, max_retries=0)
        eventually(lambda: client.get(job.id).snapshot["finished_at"])
    as_root = ["--as-root"] if os.geteuid() == 0 else []
    command = ["debug", str(job.id), "--config", str(running.config), "--yes"]
    done = warm.run([*command, *as_root, *words], given=typed)
    assert (done.returncode, end[1] in done.stdout) == (end[0], True), done


def reached(running: RunningDaemon, line: str) -> str:
    """How far the order of a round has come that this line is about, by what has been stored of it until now."""
    order, end = line.split()[0], line.strip().partition(": killed, ")[2]
    has_job = running.query(f"SELECT 1 FROM background_jobs WHERE parameters LIKE '%\"{order}\"%'")
    return f"{end}, submitted" if has_job else end
