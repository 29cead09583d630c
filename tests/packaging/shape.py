"""The shape of the house, `./run shape`: its largest files, functions, classes; its rooms from the top down; circles.

It judges nothing: whoever changes something sees what that does to the house.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.packaging.test_layout import TREE, module_of, sources, uses

LONG_FUNCTION, LONG_CLASS, LARGEST = 30, 300, 12


@dataclass(frozen=True)
class Piece:
    """A file, class or function, and how many lines it has."""

    name: str
    lines: int


def main() -> int:
    files = sources(TREE)
    trees = {path: ast.parse(source) for path, source in files}
    imports = imported(files)
    pieces = [Piece(str(path), source.count("\n")) for path, source in files]
    print(f"{len(files)} files, {sum(one.lines for one in pieces):,} lines; the largest:")
    _print(sorted(pieces, key=lambda one: -one.lines)[:LARGEST])
    for what, kinds, limit in (
        ("classes", (ast.ClassDef,), LONG_CLASS),
        ("functions", (ast.FunctionDef, ast.AsyncFunctionDef), LONG_FUNCTION),
    ):
        long = [
            one for path, tree in trees.items() for one in pieces_of(path, tree, kinds) if one.lines > limit
        ]
        print(f"\n{what} above {limit} lines: {len(long) or 'none'}")
        _print(sorted(long, key=lambda one: -one.lines))
    rooms = imported_rooms(imports)
    print("\nrooms, each above all that it imports:")
    for floor in floors(rooms):
        print(f"    {', '.join(floor)}")
    for what, graph in (("rooms", rooms), ("modules", imports)):
        found = circles(graph)
        print(f"circles of {what}: {'; '.join(' → '.join(one) for one in found) or 'none'}")
    return 0


def _print(pieces: Iterable[Piece]) -> None:
    for one in pieces:
        print(f"{one.lines:8,}  {one.name}")


def pieces_of(path: Path, tree: ast.Module, kinds: tuple[type[ast.AST], ...]) -> Iterator[Piece]:
    for node in ast.walk(tree):
        if isinstance(node, kinds) and isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        ):
            yield Piece(
                f"{path}:{node.lineno} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1
            )


Graph = dict[str, set[str]]
"""Whoever imports, and what."""


def imported(files: list[tuple[Path, str]]) -> Graph:
    """The modules of the tree that each module imports, when it is loaded or only when it is called."""
    modules = {module_of(path) for path, _ in files}
    graph: Graph = {module: set() for module in modules}
    for path, source in files:
        module = module_of(path)
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        for use in uses(source, package):
            parts = use.name.split(".")
            names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
            found = next((name for name in names if name in modules), None)
            if found is not None and found != module:
                graph[module].add(found)
    return graph


def room_of(module: str) -> str:
    """The folder below bgjobd that a module is in, or the module itself; the client is one room."""
    parts = module.split(".")
    return parts[0] if parts[0] == "bgjob" else ".".join(parts[:2])


def imported_rooms(imports: Graph) -> Graph:
    rooms: defaultdict[str, set[str]] = defaultdict(set)
    for module, others in imports.items():
        rooms[room_of(module)] |= {room_of(other) for other in others} - {room_of(module)}
    return dict(rooms)


def floors(graph: Graph) -> list[list[str]]:
    """The nodes by the longest way to a node that imports nothing, the longest first; a circle is on one floor."""
    heights: dict[str, int] = {}

    def height(node: str, way: frozenset[str]) -> int:
        if node in way:
            return 0
        if node not in heights:
            heights[node] = max((height(one, way | {node}) + 1 for one in graph.get(node, ())), default=0)
        return heights[node]

    for node in graph:
        height(node, frozenset())
    top = max(heights.values(), default=0)
    return [sorted(node for node in graph if heights[node] == number) for number in range(top, -1, -1)]


def circles(graph: Graph) -> list[list[str]]:
    """Groups of nodes each of which reaches all others of its group (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


if __name__ == "__main__":
    sys.exit(main())
