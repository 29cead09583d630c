"""Tables: as wide as the terminal and no wider."""

from __future__ import annotations

import pytest

from bgjob.commands import screen, tables
from bgjob.commands.tables import Column, Cut


def _table(monkeypatch: pytest.MonkeyPatch, room: int | None, *columns: Column) -> list[str]:
    monkeypatch.setattr(screen, "columns", lambda: room)
    return tables.table(columns).splitlines()


def test_the_widest_column_that_may_be_cut_gives_way_first(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = (
        Column("ID", ["7", "12"], is_number=True),
        Column("JOB", ["myapp.jobs.ExampleJob::run", "a.B::c"], cut=Cut.BEGINNING),
        Column("NOTE", ["", "日本語の長い説明"], cut=Cut.END),
    )
    assert _table(monkeypatch, None, *columns) == [
        "ID  JOB                         NOTE",
        " 7  myapp.jobs.ExampleJob::run",
        "12  a.B::c                      日本語の長い説明",
    ]
    assert _table(monkeypatch, 30, *columns) == [
        "ID  JOB           NOTE",
        " 7  …pleJob::run",
        "12  a.B::c        日本語の長…",
    ]


def test_a_column_without_room_is_left_out_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = (Column("ID", ["7"]), Column("WHEN", ["12 min ago"]), Column("NOTE", ["x" * 9], cut=Cut.END))
    assert _table(monkeypatch, 24, *columns) == ["ID  WHEN        NOTE", "7   12 min ago  xxxxxxx…"]
    assert capsys.readouterr().err == ""
    assert _table(monkeypatch, 23, *columns) == ["ID  WHEN", "7   12 min ago"]
    assert capsys.readouterr().err == "bgjob: no room for NOTE\n"
    assert _table(monkeypatch, 1, *columns) == ["ID", "7"]


def test_a_column_is_not_cut_below_its_least() -> None:
    columns = (
        Column("WHAT", ["x" * 40], cut=Cut.BEGINNING, least=16),
        Column("WHY", ["y" * 20], cut=Cut.END),
        Column("ID", ["7"]),
    )
    assert tables.layout(columns, 36).widths == [16, 14, 2]
    assert tables.layout(columns, 30).widths == [16, 8, 2]
    assert tables.layout(columns, 29).left_out == ["ID"]
    assert tables.layout(columns, None).rows() == [f"{'x' * 40}  {'y' * 20}  7"]


def test_that_goes_first_which_yields_most_and_of_several_the_last() -> None:
    columns = (
        Column("A", ["a" * 8], yields=2),
        Column("B", ["b" * 8], yields=1),
        Column("C", ["c" * 8], yields=1),
        Column("D", ["d" * 8]),
        Column("E", ["e" * 8]),
    )
    wide = tables.layout(columns, 48)
    assert [tables.layout(columns, room).left_out for room in (48, 47, 37, 27, 17)] == [
        [],
        ["C"],
        ["B", "C"],
        ["B", "C", "E"],
        ["B", "C", "D", "E"],
    ], "the first stays"
    assert tables.layout(columns, 40).titles().split() == ["A", "B", "D", "E"]
    assert wide.titles().split() == ["A", "B", "C", "D", "E"]


def test_of_a_long_cell_only_what_could_be_shown_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    for cut, shown in ((Cut.END, "e\u0301"), (Cut.BEGINNING, "…\u0301")):
        cell = Column("NOTE", ["e" + "\u0301" * 65_536], cut=cut)
        line = _table(monkeypatch, 80, cell)[1]
        assert line.startswith(shown)
        assert len(line) < 1000


def test_a_column_without_title_that_has_no_room_is_said_in_a_word() -> None:
    columns = (Column("QUEUE", ["mail"]), Column("", ["paused, resumes in 10 min"]))
    assert tables.layout(columns, 20).left_out == ["notes"]


def test_a_line_with_colours_is_folded_by_what_is_seen_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "12 \x1b[32mcompleted\x1b[0m, 3 \x1b[31mfailed\x1b[0m"
    monkeypatch.setattr(screen, "columns", lambda: 18)
    assert screen.folded(line, 2) == ["12 \x1b[32mcompleted\x1b[0m, 3", "  \x1b[31mfailed\x1b[0m"]
    monkeypatch.setattr(screen, "columns", lambda: 22)
    assert screen.folded(line, 2) == [line]
    monkeypatch.setattr(screen, "columns", lambda: None)
    assert screen.folded(line, 2) == [line]
