"""Searches that mean something in another language, or that take for ever in it: here each is looked for as it is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import pytest

from bgjob import Client
from bgjob.command import main
from bgjob.errors import InvalidParametersError
from tests.daemon.running import daemon
from tests.engines import changing, prepared
from tests.security.paged import Target, target

MODULE = """
import bgjob


class Words:
    def say(self, lines: list[str], context: bgjob.JobContext):
        for line in lines:
            context.logger.info(line)
        raise ValueError(" ".join(lines))
"""
INPUTS = [
    "a-b", "who's", "args:secret", '"', '"a', 'a"b', '""', "''", "a*", "*", "^a", "(", "a)", "a AND b", "a OR b",
    "NOT a", "NEAR(a b, 2)", "a + b", "{args}: b", "-a", ":", "AND", "a;b", "--", "/* a", "a\\b", "100%", "a_b", "[a]",
    "?1", ":needle", "@x", "$1", "'; DROP TABLE job_logs; --", "a NOT b", "a,b", "a.b", "#", "\u201ca\u201d", "a\tb",
]  # fmt: skip
"""What FTS5 takes for operators, columns or errors, and LIKE, GLOB and SQL for something else than itself."""

NEARLY = [
    "a b",
    "axb",
    "aab",
    "a",
    "b",
    "who is",
    "secret",
    "args",
    "100",
    "1",
    "x",
    "needle",
    "a and c",
    "b near a",
]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """With a job, the second, that has said all inputs, and a third that has said what would match them elsewhere."""
    approved = '"words.Words" = { max_retries = 0 }'
    with target(tmp_path_factory.mktemp("page"), approved, {"words": MODULE}) as attacked:
        for lines in ([f"exactly {one} said" for one in INPUTS], NEARLY):
            job = attacked.client.run_background_job("words.Words", "say", {"lines": lines})
            job.wait(20)
            assert job.snapshot["error"] == f"ValueError: {' '.join(lines)}"
        yield attacked


@pytest.fixture(scope="module")
def log(attacked: Target) -> list[dict[str, Any]]:
    """All of the log, newest first."""
    found = attacked.client.logs(limit=1000)
    assert found.next is None
    return list(found.items)


@pytest.mark.parametrize("text", INPUTS)
def test_fts5_took_bound_text_for_a_query_and_here_it_is_text(
    attacked: Target,
    log: list[dict[str, Any]],
    text: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The 20 inputs that FTS5 stumbles over, and more: over the socket, on the page, and by the command."""
    monkeypatch.setenv("BGJOBD_SOCKET", str(attacked.running.socket))
    for search in (text, f"exactly {text} said"):
        wanted = [entry["message"] for entry in log if is_told_in(search, entry)]
        jobs = [job["id"] for job in attacked.client.list().items if is_in(search, job)]
        assert any(f"exactly {text} said" in message for message in wanted)
        assert 2 in jobs
        assert [entry["message"] for entry in attacked.client.logs(search=search, limit=1000).items] == wanted
        assert [job["id"] for job in attacked.client.list(search=search).items] == jobs
        query = urlencode({"q": search, "per": 100})
        entries = json.loads(attacked.ask(f"GET /?{query}", "Accept: application/json").body)["entries"]
        assert [entry["message"] for entry in entries] == wanted
        for path in ("/", "/jobs"):
            assert attacked.ask(f"GET {path}?{query}").status == 200
    if text == "--":
        return  # which argparse, before Python 3.13, takes for the end of the options, wherever it stands
    wanted = [entry["message"] for entry in log if is_told_in(text, entry)]
    assert main(["tail", f"--search={text}", "--json"]) == 0
    told = [json.loads(line)["message"] for line in capsys.readouterr().out.splitlines()]
    assert told == wanted[::-1][-len(told) :]


def is_told_in(search: str, entry: Mapping[str, Any]) -> bool:
    texts = (f"{entry['class_name']}::{entry['method_name']}", entry["message"])
    return any(search.casefold() in text.casefold() for text in texts)


def is_in(search: str, job: Mapping[str, Any]) -> bool:
    lines = {2: [f"exactly {one} said" for one in INPUTS], 3: NEARLY}.get(job["id"], [])
    texts = (f"{job['class_name']}::{job['method_name']}", job["error"] or "", *lines)
    return any(search.casefold() in text.casefold() for text in texts)


def test_fts5_and_sqlite_stumble_over_nul_and_here_it_is_refused_or_left_out(attacked: Target) -> None:
    """NUL still errors in FTS5; C7."""
    with pytest.raises(InvalidParametersError, match="NUL"):
        attacked.client.logs(search="a\0b")
    for path in ("/", "/jobs"):
        found = [attacked.ask(f"GET {path}?q={q}&per=100").body.count(b"<tr id=") for q in ("a%00-b", "a-b")]
        assert found[0] == found[1] > 0
    for q in ("%ED%A0%80", "%FF", "%", "%ZZ", "%C0%80"):  # what is no text
        assert attacked.ask(f"GET /?q={q}").status == 200


# Patterns that take for ever

BOMBS = {
    "wildcards": "%_" * 5000,
    "wildcards and a letter": "%a" * 99 + "b",
    "wildcards for single letters": "%_a" * 66 + "b",
    "single wildcards": "_" * 10_000,
    "escapes": "\\%" * 5000,
    "nearly all": "a" * 199 + "b",
    "nearly all of a long one": "a" * 9999 + "b",
    "nearly all, folded": "\u0390" * 199 + "a",
    "stars": "*a" * 5000,
    "an evil expression": "(a+)+" * 2000,
}


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A daemon with entries of a megabyte each, which is more than a job may say, of what the patterns are made of."""
    directory = tmp_path_factory.mktemp("heavy")
    at = "2024-12-04T14:31:53.000000Z"
    with changing(prepared(directory / "state")) as connection:
        texts = ["a" * 1_000_000, "%_" * 500_000, "\u0390" * 300_000, "\\%" * 500_000]
        rows = [(text, None if text.isascii() else text.casefold(), at) for text in texts]
        connection.execute(
            "INSERT INTO background_jobs (class_name, method_name, parameters, status, retry_count, max_retries,"
            " retry_delay, backoff, max_retry_delay, queue, priority, finished_at, created_at, updated_at, ready,"
            " error) VALUES ('a.A', 'a', '{}', 'failed', 0, 0, 0.0, 'constant', 0.0, 'default', 0, ?, ?, ?, 1, ?)",
            (at, at, at, texts[0]),
        )
        connection.executemany(
            "INSERT INTO job_logs (id, job_id, type, message, folded, created_at) VALUES (?, 1, 'info', ?, ?, ?)",
            [(number, *row) for number, row in enumerate(rows * 4, 1)],
        )
    with daemon(directory) as running, running.client() as client:
        yield client


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_like_took_ten_seconds_for_a_megabyte_and_here_no_pattern_takes_longer_than_a_word(
    heavy: Client, bomb: str
) -> None:
    """SQLite's LIKE: 1 MB of text and a pattern of 10 kB took 10.9 s, and nothing could interrupt it."""
    plain = min(seconds_of(heavy, "nosuch") for _ in range(2))
    # Others work on this machine meanwhile.
    assert any(seconds_of(heavy, bomb) < 20 * plain for _ in range(3))


def seconds_of(client: Client, search: str) -> float:
    began_at = time.monotonic()
    client.logs(search=search, limit=1)
    client.list(search=search, limit=1)
    return time.monotonic() - began_at


def test_a_page_takes_no_pattern_of_any_length(attacked: Target) -> None:
    for path in ("/", "/jobs"):
        assert attacked.ask(f"GET {path}?q={'%25_' * 3000}").status == 414
        assert attacked.ask(f"GET {path}?q={'%25_' * 1500}").status == 200
