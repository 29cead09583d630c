"""What an attempt imports once it has begun: nothing, whatever its method takes; all is there before the fork."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.forkserver.driven import fork_server, order

CODE = """
import os, sys
from datetime import date
from decimal import Decimal

from pydantic import BaseModel

import bgjob
from bgjob.jobs import JobContext

known = set()
os.register_at_fork(after_in_child=lambda: known.update(sys.modules))


class Line(BaseModel):
    on: date
    amount: Decimal


class Imports:
    def of_plain(self, count: int):
        return sorted(set(sys.modules) - known)

    def of_date(self, on: date, amount: Decimal = Decimal(1)):
        assert (on.year, amount) == (2024, 1)
        return sorted(set(sys.modules) - known)

    def of_model(self, lines: list[Line]):
        assert lines[0].on.year == 2024
        return sorted(set(sys.modules) - known)

    def of_context(self, context: JobContext):
        context.progress(0.5, "half")
        context.logger.info("a line")
        return sorted(set(sys.modules) - known)

    def of_steps(self, context: JobContext):
        context.step("one", dict, a=1)
        assert len(context.token("one")) == 32
        assert dict(context.steps) == {"one": {"a": 1}}
        return sorted(set(sys.modules) - known)

    async def of_coroutine(self):
        return sorted(set(sys.modules) - known)

    def of_client(self):
        assert bgjob.Client and bgjob.run_background_job
        return sorted(set(sys.modules) - known)
"""


@pytest.mark.parametrize("spares", [0, 2])
def test_an_attempt_imports_nothing(tmp_path: Path, spares: int) -> None:
    (tmp_path / "imports.py").write_text(CODE)
    with fork_server(
        tmp_path, has_pydantic=True, approved={"imports.Imports": None}, spares=spares
    ) as server:
        for job, (method, parameters) in enumerate(CALLS.items(), 1):
            server.send({**order(job, method, **parameters), "class_name": "imports.Imports"})
            assert server.receive()["type"] == "ended"
            journal = server.journal(job)
            assert journal is not None
            assert journal.outcome is not None
            assert (method, journal.outcome.get("result")) == (method, []), journal.outcome


CALLS: dict[str, dict[str, object]] = {
    "of_plain": {"count": 1},
    "of_date": {"on": "2024-12-04"},
    "of_model": {"lines": [{"on": "2024-12-04", "amount": "1.5"}]},
    "of_context": {},
    "of_steps": {},
    "of_coroutine": {},
    "of_client": {},
}


def test_what_attempts_need_of_the_client_brings_no_openssl_into_their_fork_server() -> None:
    """Nor what is dear else: each page of memory makes each fork dearer."""
    program = "import bgjob.default_client, bgjob.steps, sys; print(sorted({'hashlib', 'inspect'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
