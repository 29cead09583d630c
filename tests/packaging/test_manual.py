"""The manual pages are those of the commands and keys as they are now, and nothing that formats them finds fault."""

from __future__ import annotations

import re
import subprocess

import pytest

from bgjob.commands import arguments
from bgjobd import main
from bgjobd.config import approved
from tests.packaging import manual, roff
from tests.packaging.test_readme import all_keys, commands_of, options_of
from tests.support import needed

NAMES = ("bgjob.1", "bgjobd.8", "bgjobd.toml.5")
PAGES = {name: (manual.PAGES / name).read_text(encoding="ascii") for name in NAMES}
PARSERS = {"bgjob.1": arguments.parser(), "bgjobd.8": main.parser()}


def shown(page: str) -> str:
    """The page's words, without what only a formatter sees."""
    return re.sub(r"\\f[BIR]|\\&", "", page).replace(r"\-", "-").replace(r"\(ti", "~")


@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_as_the_sources_make_it(name: str) -> None:
    assert PAGES[name] == manual.pages()[name], "`./run man` makes the pages anew"


def test_no_other_file_is_among_the_pages() -> None:
    assert sorted(file.name for file in manual.PAGES.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("name", PARSERS)
def test_the_page_has_every_command_and_option(name: str) -> None:
    text = shown(PAGES[name])
    for command, parser in commands_of(PARSERS[name]).items():
        (about,) = re.findall(rf'^\.SS "\w+ {command}"\n(.*?)(?=^\.S[SH])', text, re.MULTILINE | re.DOTALL)
        missing = options_of(parser) - set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", about))
        assert missing <= {"-h", "--help", "--socket"}, command


def test_the_page_has_every_exit_code_that_the_parser_tells() -> None:
    codes = re.findall(r"\\fB(\d+)\\fR\n", PAGES["bgjob.1"])
    assert codes == ["0", "1", "2", "3", "4", "69", "70", "74", "75", "76", "77", "124", "130", "141"]


def test_the_page_has_every_key_with_what_it_takes() -> None:
    text = shown(PAGES["bgjobd.toml.5"])
    keys = [*all_keys(), *(f"approved.NAME.{name}" for name in approved.ClassPolicy.model_fields)]
    sections = dict(re.findall(r'^\.SS "\[(\w+)\].*?"\n(.*?)(?=^\.S[SH])', text, re.MULTILINE | re.DOTALL))
    for key in keys:
        section, *_, name = key.split(".")
        assert re.search(rf"^\.TP\n{name} = \S.*\n\S", sections[section], re.MULTILINE), key


def test_what_a_person_types_can_be_copied_from_the_page() -> None:
    assert roff.text("use `-p a='b'`, or \\n") == r"use \fB\-p a=\(aqb\(aq\fR, or \en"
    assert roff.text("with -w, --or-so, well-known -1") == r"with \fB\-w\fR, \fB\-\-or\-so\fR, well-known -1"
    assert roff.text(". is no request") == r"\&. is no request"
    assert roff.text("so …") == r"so \[u2026]"


# mandoc wants a date; it would be that of a build, and two builds of the same would differ.
NO_DATE = "missing date"


@pytest.mark.parametrize("name", NAMES)
def test_mandoc_finds_no_fault(name: str) -> None:
    mandoc = needed("mandoc")
    done = subprocess.run(
        [mandoc, "-T", "lint", manual.PAGES / name], capture_output=True, text=True, check=False
    )
    assert [line for line in done.stdout.splitlines() if NO_DATE not in line] == []


@pytest.mark.parametrize("name", NAMES)
def test_groff_warns_of_nothing(name: str) -> None:
    groff = needed("groff")
    done = subprocess.run(
        [groff, "-man", "-ww", "-z", "-T", "utf8", manual.PAGES / name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
