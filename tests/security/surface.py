"""What can be reached from outside, one thing a line: `python -m tests.security.surface` writes it to surface.txt.

A line more there is something more to attack, so that a review of its difference shows what has grown. Nothing is
listed by hand but the places where it is read from: the interface, the table of routes, the parsers, the models of the
configuration, and the sources for variables and signals.
"""

from __future__ import annotations

import argparse
import ast
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel

from bgjob.commands import arguments
from bgjob.commands.assistant import acting, looking
from bgjob.words import SERVICE
from bgjobd import main
from bgjobd.api import introspection, methods
from bgjobd.api.access import RIGHTS
from bgjobd.config import sections
from bgjobd.web import views
from tests.protocol import idl

TREE: Final = Path(__file__).resolve().parents[2]
FILE: Final = Path(__file__).with_name("surface.txt")
SOURCES: Final = ("bgjobd", "client/_bgjob_pytest", "client/bgjob", "systemd", "web")

OPEN: Final = "anybody"
"""The right that the methods of org.varlink.service take: whoever can connect may ask what is served."""

_VARIABLE: Final = re.compile(r"[A-Z]{3}[A-Z0-9]*(_[A-Z0-9]+)*_?|[A-Z]{2}_[A-Z0-9_]+")
_SETTERS: Final = {"signal.signal", "_signal.signal", "add_signal_handler"}


def lines() -> list[str]:
    """Everything, sorted."""
    return sorted(
        {
            *_methods(),
            *_errors(),
            *_routes(),
            *_commands(arguments.parser()),
            *_commands(main.parser()),
            *_tools(),
            *_keys("config", sections.Config),
            *_scripts(),
            *_variables(),
            *_signals(),
        }
    )


# The socket


def _methods() -> Iterator[str]:
    jobs = idl.parse(introspection.IDL.read_text())
    for interface in (jobs, _of_service()):
        for name, given in interface.inputs.items():
            method = f"method {interface.name}.{name}"
            yield f"{method} takes the right of {RIGHTS[name] if interface is jobs else OPEN}"
            yield from (f"{method} takes {field}: {kind}" for field, kind in _all_fields(interface, given))
            if interface is jobs and name in methods._STREAMS:
                yield f"{method} answers with more"


def _of_service() -> idl.Interface:
    return idl.parse(introspection.DESCRIPTIONS[SERVICE])


def _all_fields(interface: idl.Interface, fields: idl.Fields) -> Iterator[tuple[str, str]]:
    """The fields, with those of the types among them under the names of both."""
    for name, kind in fields.items():
        yield name, kind
        inner = interface.types.get(re.sub(r"^[?\[\]]*", "", kind))
        if inner is not None:
            yield from ((f"{name}.{field}", below) for field, below in _all_fields(interface, inner))


def _errors() -> Iterator[str]:
    for interface in (idl.parse(introspection.IDL.read_text()), _of_service()):
        for name, fields in interface.errors.items():
            yield f"error {interface.name}.{name} tells {', '.join(fields) or 'nothing'}"


# The page


def _routes() -> Iterator[str]:
    for verb, pattern in views.routes():
        yield f"route {verb} {pattern}"


# The commands


def _commands(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield f"command {command.prog}"
                yield from _commands(command)
        elif not isinstance(action, argparse._HelpAction):
            yield f"command {parser.prog} takes {_written(action)}"


def _written(action: argparse.Action) -> str:
    """How the action is written on the command line."""
    name = action.metavar or "|".join(action.choices or (action.dest,))
    told = " ".join(name) if isinstance(name, tuple) else name
    return f"{', '.join(action.option_strings)}{'' if action.nargs == 0 else f' {told}'}".strip()


def _tools() -> Iterator[str]:
    for tool in (*looking.TOOLS, *acting.TOOLS):
        yield f"tool {tool.name} of assistants {'acts, where that is allowed' if tool.acts else 'looks'}"


# The configuration


def _keys(path: str, model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        key = f"{path}.{field.alias or name}"
        models = list(_models(field.annotation))
        if not models:
            yield key
        for inner in models:
            is_table = inner is not field.annotation
            yield from _keys(f"{key}.NAME" if is_table else key, inner)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in a type, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _scripts() -> Iterator[str]:
    project = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]
    for name, entry in project["scripts"].items():
        yield f"script {name} = {entry}"
    for group, entries in project["entry-points"].items():
        yield from (f"entry point {group} {name} = {entry}" for name, entry in entries.items())


# What the sources read


def _sources(words: Iterable[str]) -> Iterator[tuple[str, list[ast.AST]]]:
    """The path and the nodes of every source that is installed and has one of these words: few are worth parsing."""
    for path in (path for folder in SOURCES for path in sorted((TREE / folder).rglob("*.py"))):
        text = path.read_text()
        if any(word in text for word in words):
            yield str(path.relative_to(TREE)), list(ast.walk(ast.parse(text, str(path))))


def _variables() -> Iterator[str]:
    """Every word in capitals of the modules that look at the environment: rather one too many than one unseen."""
    for path, nodes in _sources(["environ"]):
        shown = {node.value for node in nodes if isinstance(node, ast.keyword)}
        for node in set(nodes) - shown:  # a keyword's is what a help shows, such as FILE
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and _VARIABLE.fullmatch(node.value)
            ):
                yield f"variable {node.value} in {path}"


def _signals() -> Iterator[str]:
    """Every signal that is named in a module that sets what becomes of some; of SIGKILL nobody can set it."""
    for path, nodes in _sources(_SETTERS):
        names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        if _calls(nodes) & _SETTERS:
            for name in names - {"SIGKILL"}:
                if re.fullmatch(r"SIG[A-Z0-9]+", name):
                    yield f"signal {name} in {path}"


def _calls(nodes: Iterable[ast.AST]) -> set[str]:
    """The attributes that are called, with what they are of where that is a name: `signal.signal`, `loop().…`."""
    called = (node.func for node in nodes if isinstance(node, ast.Call))
    return {
        f"{function.value.id}.{function.attr}" if isinstance(function.value, ast.Name) else function.attr
        for function in called
        if isinstance(function, ast.Attribute)
    }


if __name__ == "__main__":
    FILE.write_text("".join(f"{line}\n" for line in lines()), encoding="utf-8")
