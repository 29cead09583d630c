"""`bgjob mcp` as an assistant has it: started by its configuration, over stdin and stdout, with a daemon behind it."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from bgjob.commands.assistant import answering, asking, serving
from bgjob.commands.assistant.answering import NOTICE, WRITTEN
from tests.client.asked import ALL, HOSTILE, ORDER, READ, asked_of
from tests.daemon.running import RunningDaemon, daemon
from tests.page.serving import SAMPLES

if TYPE_CHECKING:
    from mcp import Client as Assistant  # elsewhere where it is used, as to import it takes two seconds

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "assistants.md"
JOBS: Final = f"""
HOSTILE = {HOSTILE!r}


class Loud:
    def shout(self, text: str, token: str):
        print(HOSTILE + "x" * 1024 * 1024 + HOSTILE, end=chr(0), flush=True)
        raise ValueError(HOSTILE + token)
"""
SETTINGS: Final = '"loud.Loud" = { max_retries = 0, sensitive = ["token"] }'
SECRET: Final = "s3cret-of-7"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(tmp_path_factory.mktemp("mcp"), SETTINGS, modules={"loud": JOBS}) as running:
        yield running


@pytest.fixture(scope="module")
def loud(running: RunningDaemon) -> int:
    """A job that has failed, and has said all that it could."""
    with running.client() as client:
        given = {"text": HOSTILE, "token": SECRET}
        job = client.run_background_job("loud.Loud", "shout", given, labels=[ORDER[:60]], key=ORDER)
        job.wait(60)
        return job.id


def configured(socket: str) -> dict[str, Any]:
    """What the page has an assistant's configuration say, with this environment and daemon in the place of its own."""
    (block,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    here = block.replace("/srv/bgjobd/bin", str(Path(sys.executable).parent))
    here = here.replace("/srv/myapp/bgjobd.sock", socket)
    told: dict[str, Any] = json.loads(here)["mcpServers"]["bgjobd"]
    return told


def test_an_assistant_that_is_configured_as_the_page_says_finds_the_cause_and_follows_nobody(
    running: RunningDaemon, loud: int, tmp_path: Path
) -> None:
    from mcp import StdioServerParameters, stdio_client

    told = configured(str(running.socket))
    server = StdioServerParameters(command=told["command"], args=told["args"])

    async def look(assistant: Assistant) -> dict[str, Any]:
        assert [one.name for one in (await assistant.list_tools()).tools] == list(READ)
        asked = {
            "errors": {},
            "job": {"job": loud},
            "output": {"job": loud, "tail": asking.MOST_OUTPUT},
            "log": {},
        }
        return {name: await assistant.call_tool(name, given) for name, given in asked.items()}

    with (tmp_path / "stderr").open("w") as stderr:
        answers = with_assistant(stdio_client(server, stderr), look)
    assert (tmp_path / "stderr").read_text() == ""
    for name, answer in answers.items():
        assert not answer.is_error, name
        assert answer.structured_content["notice"] == NOTICE
        (content,) = answer.content
        assert json.loads(content.text) == answer.structured_content
        assert content.text.isprintable()
        assert len(content.text) <= answering.MOST
        assert SECRET not in content.text
    job = answers["job"].structured_content
    assert (job["id"], job["status"], job["class_name"]) == (loud, "failed", "loud.Loud")
    assert ORDER in job[WRITTEN]["error"]
    assert "***" in job[WRITTEN]["parameters"]
    assert "raise ValueError" in job["attempts"][-1][WRITTEN]["traceback"]
    assert ORDER in answers["output"].structured_content[WRITTEN]["output"]


def test_what_it_does_where_it_is_allowed_is_done(running: RunningDaemon) -> None:
    with running.client() as client:
        client.hold_class("loud.Loud")
        job = {"job": client.run_background_job("loud.Loud", "shout", {"text": "", "token": ""}).id}
        jobs = {"jobs": list(job.values())}

        async def act(assistant: Assistant) -> list[Any]:
            calls: list[tuple[str, dict[str, Any]]] = [
                *(("job", job), ("cancel", jobs), ("cancel", jobs), ("retry", jobs), ("job", job)),
                *(
                    ("cancel", jobs),
                    ("resume_class", {"class_name": "loud.Loud"}),
                    ("pause", {"queue": "no"}),
                ),
            ]
            return [await assistant.call_tool(name, given) for name, given in calls]

        *done, paused = with_assistant(serving.server_of(client, ALL.values()), act)
        held = {one["name"]: one["held"] for one in client.classes()}
    assert "is held" in done[0].structured_content[WRITTEN]["why"]
    assert [one.is_error for one in done] == [False, False, True, False, False, False, False]
    assert done[2].content[0].text == f"job {job['job']} is cancelled; the tool job tells how it stands"
    assert done[4].structured_content["status"] == "pending"
    assert held["loud.Loud"] is None
    assert paused.content[0].text.endswith("; mend that argument, and ask again")


def test_tools_are_annotated_as_what_they_are_and_come_by_the_protocol(tmp_path: Path) -> None:
    async def look(assistant: Assistant) -> tuple[Any, Any, Any]:
        tools = await assistant.list_tools()
        told = await assistant.call_tool("job", {"job": 1})
        return tools.tools, told, await assistant.call_tool("job", {"job": "x"})

    with asked_of(tmp_path, SAMPLES) as asked:
        tools, told, refused = with_assistant(serving.server_of(asked.client, ALL.values()), look)
    assert [one.name for one in tools] == list(ALL)
    assert {one.name for one in tools if one.annotations.read_only_hint} == READ.keys()
    assert {one.name for one in tools if one.annotations.destructive_hint} == {
        *("retry", "cancel", "pause", "hold_class", "pause_schedule")
    }
    assert {one.name for one in tools if not one.annotations.idempotent_hint} == {"retry", "pause"}
    assert all(one.annotations.open_world_hint for one in tools)
    assert told.structured_content["notice"] == NOTICE
    assert json.loads(told.content[0].text) == told.structured_content
    assert not told.is_error
    assert refused.is_error
    assert refused.content[0].text.startswith("wrong arguments: ")


def with_assistant(server: Any, ask: Callable[[Assistant], Awaitable[Any]]) -> Any:
    from mcp import Client as Assistant

    async def connected() -> Any:
        async with Assistant(server) as assistant:
            return await ask(assistant)

    return asyncio.run(connected())


def test_the_page_has_each_tool() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) +\|", PAGE.read_text(), re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"\w+", row)]
    assert named == list(ALL)
