"""What an attempt used, from its process to every place that tells of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bgjob import text
from tests.client.test_commands import Commands
from tests.daemon.running import daemon

MODULE = """
import time


class Heavy:
    def work(self):
        held = bytearray(b"x") * (50 * 1024 * 1024)
        while time.process_time() < 0.2:
            sum(held[:10_000])
        print("x" * 999)
        return len(held)
"""


def test_what_a_job_used_is_told_by_get_list_stats_and_the_commands(tmp_path: Path) -> None:
    with daemon(tmp_path, '"heavy.Heavy" = {}', modules={"heavy": MODULE}) as running:
        commands = Commands(running.socket)
        with running.client() as client:
            (attempt,) = client.run_background_job("heavy.Heavy", "work").wait(20)["attempts"]
            (listed,) = client.list().items
            used = client.stats(usage=True)["usage"]
            assert client.stats()["usage"] is None
        shown = commands.run("show", "1").stdout
        row = commands.run("list", "--columns", "memory,cpu,output").stdout.splitlines()[1]
        table = commands.run("stats").stdout.splitlines()
        assert commands.json("stats")["usage"] == used

    cpu = attempt["cpu_user"] + attempt["cpu_system"]
    assert 50 << 20 < attempt["max_rss"] < 500 << 20
    assert cpu >= 0.2
    assert attempt["output_bytes"] == 1000
    for name in ("max_rss", "cpu_user", "cpu_system", "output_bytes"):
        assert listed[name] == attempt[name]

    wall = text.instant(attempt["finished_at"]) - text.instant(attempt["started_at"])
    known = {"wall": wall, "cpu": cpu, "memory": attempt["max_rss"], "output": 1000}
    assert set(used) == {"heavy.Heavy"}
    assert used["heavy.Heavy"] == {
        "attempts": 1,
        **{f"{name}_p50": pytest.approx(value, abs=0.002) for name, value in known.items()},
        **{f"{name}_p95": pytest.approx(value, abs=0.002) for name, value in known.items()},
    }

    memory = text.size(attempt["max_rss"])
    assert f"  used      {memory} of memory, {text.span(cpu)} of CPU, 1000 B of output\n" in shown
    assert re.split(" {2,}", row.strip()) == [memory, text.span(cpu), "1000 B"]
    told = re.split(" {2,}", table[-1])
    assert (told[:2], told[4:]) == (["heavy.Heavy", "1"], [f"{memory}/{memory}", "1000 B/1000 B"])
