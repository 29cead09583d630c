"""What users read is true: the examples of README and docs/ are run in order, and what they name is there."""

from __future__ import annotations

import argparse
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from bgjob.commands import arguments
from bgjobd import main
from bgjobd.api.access import RIGHTS, Right
from bgjobd.config import approved, loading, schedules, sections
from bgjobd.config.section import Section
from tests.packaging import manual
from tests.packaging.walkthrough import PAGES, Answered, Block, Kind, blocks_of, is_as_shown, kind_of, walk
from tests.support import needed

TREE = Path(__file__).resolve().parents[2]
TEXTS = {page: (TREE / page).read_text(encoding="utf-8") for page in PAGES}
TEXT = "\n".join(TEXTS.values())
BLOCKS = [block for page, text in TEXTS.items() for block in blocks_of(text, page)]

# The first test of a session takes the whole walk, seconds unless all is busy.
pytestmark = pytest.mark.timeout(600)

# First line of a block that no test can run → why.
NOT_RUN = {
    "$ ./run test": "runs these tests",
    "$ ./run demo --once": "sets up .venv from a package index; tests/daemon/test_commands.py runs the demo",
    "$ sudo /srv/bgjobd/bin/bgjobd units --install": "takes root; tests/systemd/nspawn does it in a container",
    "$ bgjob debug 12": "a terminal's; tests/daemon/test_debug.py sits at one and reads this page",
    "$ bgjob top --once": "a moment of a busy daemon; tests/client/test_top.py compares such a picture",
    '$ sudo install -d -o "$(id -un)" /srv/bgjobd /srv/myapp /srv/myapp/myapp': "takes root and a package index",
    "$ /srv/bgjobd/bin/pip install --require-hashes --only-binary :all: -r runtime.lock": "takes a package index",
    **dict.fromkeys(
        (
            "$ sudo install -o prometheus -m 0400 /var/lib/bgjobd/metrics.token /etc/prometheus/bgjobd.token",
            "$ sudo cp docs/monitoring/bgjobd.rules.yml /etc/prometheus/",
            "$ sudo install -o prometheus -m 0400 /dev/stdin /etc/prometheus/bgjobd.password",
            """$ sudo sh -c 'echo "ada:$(openssl passwd -apr1)" | install -g www-data -m 0640 """
            "/dev/stdin /etc/nginx/ops.htpasswd'",
        ),
        "takes root",
    ),
    "$ sudo systemctl stop bgjobd.socket bgjobd.service": "takes a server; tests/daemon/test_migrate.py moves a daemon",
    "$ rm -rf build": "takes root, a package index and systemd; tests/daemon/test_upgrade.py upgrades a daemon",
    "HOST    STATE  SEEN     RUNNING  SLOTS  QUEUES   CODE          VERSION": "takes two machines; "
    "tests/daemon/test_hosts.py has two daemons",
    "bgjob hosts lost web2 --its-jobs-may-run-twice": "the same",
    "bgjob drain --host web2": "the same",
    "HOST    STATE     SEEN     RUNNING  SLOTS  QUEUES   CODE          VERSION": "the same",
    "FROM python:3.13-slim": "takes an engine and its images; tests/faults/test_containers.py has a container",
    "# apt install ./bgjobd_0.1.0-1_amd64.deb": "takes root; tests/systemd/package.py installs it in a container",
    "# /etc/prometheus/prometheus.yml": "for Prometheus; tests/page/test_prometheus.py has it read by one",
    "# /etc/prometheus/own.rules.yml": "the same",
    "# in the place of the job above, in /etc/prometheus/prometheus.yml": "for Prometheus; "
    "tests/page/test_behind_nginx.py asks as it says",
    '{"mcpServers": {"bgjobd": {"command": "/srv/bgjobd/bin/bgjob", "args": ["mcp", "--socket", '
    '"/srv/myapp/bgjobd.sock"]}}}': "an assistant's configuration; tests/daemon/test_mcp.py is one",
    **dict.fromkeys(
        ("# /etc/systemd/system/bgjobd-web.socket", "# /etc/systemd/system/bgjobd-web.service"),
        "for systemd; tests/systemd/page.py installs them in a container",
    ),
    "# /etc/nginx/sites-enabled/ops": "for nginx; tests/page/test_behind_nginx.py runs it",
}

# What the pages name and looks like an option of ours → what it is.
NO_OPTIONS = {
    "-wal": "the end of a file's name",
    "-shm": "the same",
    **dict.fromkeys(("--stop-timeout", "--hostname"), "an option of podman and docker"),
    **dict.fromkeys(("-p", "-t", "-u"), "of journalctl"),
}

# Keys whose default is no value but a rule, and the words for it.
RULES = {
    **dict.fromkeys(
        ("daemon.socket", "daemon.state_dir", "daemon.runtime_dir", "daemon.log_dir"), "see [Places](#places)"
    ),
    "daemon.slots": "number of cores",
    "hosts.name": "the machine's host name",
}

PROSE = re.sub(r"^( *)```.*?^\1```$", "", TEXT, flags=re.MULTILINE | re.DOTALL)
PARSERS = {"bgjob": arguments.parser(), "bgjobd": main.parser()}


def of_kind(*kinds: Kind) -> list[Any]:
    return [pytest.param(block, id=block.place) for block in BLOCKS if kind_of(block, NOT_RUN) in kinds]


# The first steps


def steps_of(script: str) -> list[str]:
    """The calls of `./run` in a shell script, in their order."""
    return re.findall(r"^(?:exec )?(\./run .+)$", script, re.MULTILINE)


def test_trying_it_takes_two_commands_and_the_continuous_integration_runs_what_a_change_must_pass() -> None:
    steps = TEXTS["README.md"].partition("\n## Try it\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\$ (.+)$", steps, re.MULTILINE) == ["./run demo --once", "./run test"]
    assert steps_of((TREE / ".ci/run").read_text()) == ["./run check"]


# The examples


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[Block, list[Answered]]:
    """What the commands of each session printed, after a walk through all pages."""
    answered: dict[Block, list[Answered]] = {}
    with walk(tmp_path_factory.mktemp("readme") / "myapp") as walking:
        for block in BLOCKS:
            match kind_of(block, NOT_RUN):
                case Kind.FILE:
                    walking.write(block)
                case Kind.ADDITION:
                    walking.add(block)
                case Kind.DAEMON:
                    walking.start(block)
                case Kind.SESSION:
                    answered[block] = walking.run(block)
    return answered


@pytest.mark.parametrize("block", of_kind(Kind.SESSION))
def test_a_session_prints_what_the_page_shows(block: Block, told: dict[Block, list[Answered]]) -> None:
    for answered in told[block]:
        if answered.got is None:
            needed(answered.command.split()[0])
        assert answered.is_as_shown, f"$ {answered.command}\n{answered.got}"


@pytest.mark.parametrize("block", of_kind(Kind.FRAGMENT))
def test_a_part_of_a_configuration_can_be_loaded(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "bgjobd.toml"
    file.write_text(block.text)
    assert loading.load(file, {}, is_root=False).file == file


def test_every_block_is_in_a_category() -> None:
    assert {kind_of(block, NOT_RUN) for block in BLOCKS} == set(Kind)
    assert {block.first_line for block in BLOCKS} >= NOT_RUN.keys()
    assert len(BLOCKS) == len(re.findall(r"^ *```", TEXT, re.MULTILINE)) / 2


def test_a_block_in_no_category_is_told() -> None:
    for text in ("```\nsome text\n```\n", "```python\nprint(1)\n```\n", "```console\nbgjob list\n```\n"):
        (block,) = blocks_of(f"# Title\n\n{text}", "page.md")
        with pytest.raises(ValueError, match=r"page\.md:3"):
            kind_of(block, NOT_RUN)


def test_what_varies_is_not_compared_and_all_else_is() -> None:
    assert is_as_shown("[2026-11-25 03:45:42] a (pid 7)\n", "[2027-01-01 00:00:00] a (pid 12)\n")
    assert is_as_shown("a\n…\nd …\n", "a\nb\nc\nd e\n")
    assert is_as_shown("", "")
    assert not is_as_shown("job 6 failed\n", "job 7 failed\n")
    assert not is_as_shown("day=2026-11-24\n", "day=2026-11-25\n")
    assert not is_as_shown("a\n", "a\nb\n")
    assert not is_as_shown("", "a\n")


# Commands and options


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (action,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    shown = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    return {option for action in shown for option in action.option_strings}


def spans() -> list[str]:
    """What stands between backticks in the prose, and in what alerts say."""
    alerts = (TREE / "docs" / "monitoring" / "bgjobd.rules.yml").read_text()
    return re.findall(r"`([^`\n]+)`", PROSE + alerts)


def named_commands() -> list[tuple[str, str, list[str]]]:
    """Program, command and options of whatever a page shows or names as a command."""
    shown = [command for block in BLOCKS if block.language == "console" for command, _ in block.exchanges]
    found = [
        re.match(r"(?:[A-Z_]+=\S+ )*(bgjobd?) ([a-z]+)\b([^|;>]*)", part.strip())
        for text in [*shown, *spans()]
        for part in re.split(r"[;|]", text)
    ]
    return [
        (one[1], one[2], re.findall(r"(?<!\S)--?[a-z][a-z-]*", one[3])) for one in found if one is not None
    ]


def test_every_command_and_option_that_is_named_exists() -> None:
    named = named_commands()
    assert len(named) > 40
    for program, command, options in named:
        known = commands_of(PARSERS[program])
        assert command in known, f"{program} {command}"
        assert options_of(known[command]) >= set(options), f"{program} {command} {options}"


def test_every_option_that_is_named_alone_exists() -> None:
    known = {
        option
        for parser in PARSERS.values()
        for one in (parser, *commands_of(parser).values())
        for option in options_of(one)
    }
    alone = {option for span in spans() for option in re.findall(r"^--?[a-z][a-z-]*", span)}
    assert alone - NO_OPTIONS.keys() <= known
    assert alone >= NO_OPTIONS.keys()


def test_the_reference_has_every_command_with_its_options() -> None:
    paragraphs = section("Commands").replace("\n|", "\n\n|").split("\n\n")
    for program, parser in PARSERS.items():
        for command, own in commands_of(parser).items():
            about = [text for text in paragraphs if re.match(rf"(\| .*)?`{command}\b", text)]
            assert about, f"{program} {command}"
            missing = options_of(own) - set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", " ".join(about)))
            assert missing <= {"-h", "--help", "--socket", "--json"}, f"{program} {command}"


def test_the_table_of_rights_has_every_method_that_a_key_grants() -> None:
    rows = re.findall(r"^\| `(\w+)` +\|(.*)\|$", section("Who may do what"), re.MULTILINE)
    told = {method: key for key, methods in rows for method in re.findall(r"`(\w+)`", methods)}
    assert told == {method: right for method, right in RIGHTS.items() if right is not Right.OWN}


def section(title: str) -> str:
    """The text below a heading, up to the next of its level or above."""
    (found,) = re.finditer(rf"^(#+) {re.escape(title)}\n", PROSE, re.MULTILINE)
    rest = PROSE[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


# The table of the configuration


def keys_of(model: type[BaseModel], prefix: str) -> dict[str, tuple[type[BaseModel], str]]:
    """Each key by its dotted name, with the section and field that it is."""
    return {f"{prefix}.{name}": (model, name) for name in model.model_fields}


def all_keys() -> dict[str, tuple[type[BaseModel], str]]:
    keys: dict[str, tuple[type[BaseModel], str]] = keys_of(sections.Queue, "queues.NAME")
    for name, field in sections.Config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            keys |= keys_of(field.annotation, name)
    return keys


def rows_of_configuration() -> dict[str, str]:
    rows = re.findall(
        r"^\| `([A-Za-z_]+(?:\.\w+)+)` +\| ([^|]+?) +\|", section("Configuration"), re.MULTILINE
    )
    assert len(dict(rows)) == len(rows)
    return dict(rows)


def test_the_table_has_every_key_of_the_configuration() -> None:
    assert rows_of_configuration().keys() == all_keys().keys()


def test_the_table_has_the_default_of_each_key() -> None:
    rows = rows_of_configuration()
    for key, (model, name) in all_keys().items():
        told = rows[key]
        if key in RULES:
            field = model.model_fields[name]
            assert told == RULES[key], key
            assert field.is_required() or field.default is PydanticUndefined, key
        else:
            given = {} if told == "none" else {name: tomllib.loads(f"it = {told.strip('`')}")["it"]}
            assert value_of(model, name, given) == value_of(model, name, {}), key
            assert (value_of(model, name, {}) is None) == (told == "none"), key


def value_of(model: type[BaseModel], name: str, given: dict[str, Any]) -> Any:
    required = {key: "/somewhere" for key, field in model.model_fields.items() if field.is_required()}
    return getattr(model(**required | given), name)


def test_the_table_says_first_what_the_sources_say_of_each_key() -> None:
    table, described = section("Configuration"), manual.described()
    for key, (model, name) in all_keys().items():
        told = re.search(rf"^\| `{re.escape(key)}` +\| [^|]+ \| (.+?) +\|$", table, re.MULTILINE)
        assert told is not None, key
        text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", told[1])
        assert text.lower().startswith(described[model][name].lower()), key


@pytest.mark.parametrize(
    ("model", "sentence"),
    [(approved.ClassPolicy, "A class of `[approved]`"), (schedules.Schedule, "A schedule of `[schedules]`")],
)
def test_there_is_a_table_with_every_key_of_what_has_a_name_of_its_own(
    model: type[BaseModel], sentence: str
) -> None:
    table = section("Configuration").partition(sentence)[2].partition("\n| ")[2].partition("\n\n")[0]
    told = [
        key
        for row in table.splitlines()
        if row.startswith("| `")
        for key in re.findall(r"`(\w+)`", row.split("|")[1])
    ]
    assert sorted(told) == sorted(model.model_fields)
    assert manual.described()[model].keys() == model.model_fields.keys()
