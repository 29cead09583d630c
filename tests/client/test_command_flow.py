"""`bgjob flow`: what is submitted of a file, and how it is said where in the file something is wrong."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bgjob import command, retrying
from bgjob.codec import JsonObject, Reply, Request
from tests.client.scripted import Line, ScriptedDaemon

FLOW = """{
  "groups": [{"ref": "pages", "name": "pages"}],
  "jobs": [
    {"ref": "extract", "class_name": "a.Report", "method_name": "extract", "parameters": {"day": "2026-11-25"}},
    {
      "class_name": "a.Report", "method_name": "page",
      "parameters": {"number": [1]},
      "options": {
        "group": {"ref": "pages"},
        "after": [{"ref": "extract"}, {"id": 12}, {"group": 5}],
        "take": {"titel": {"of": {"ref": "extract"}}}
      }
    }
  ],
  "seal": [6]
}
"""
OURS = "org.bgjobd.Jobs"


def ran(tmp_path: Path, flow: str, script: Any, *words: str) -> tuple[int, ScriptedDaemon]:
    (tmp_path / "flow.json").write_text(flow)
    with ScriptedDaemon(tmp_path / "s", script) as daemon:
        given = ["--socket", str(daemon.path), "flow", str(tmp_path / "flow.json"), *words]
        return command.main(given), daemon


def stores(line: Line, asked: Request) -> None:
    line.reply(ids=[21, 22], groups=[7])


def asked_of(daemon: ScriptedDaemon) -> JsonObject:
    (asked,) = daemon.parameters("SubmitMany")
    return asked


def test_ids_and_refs_are_printed_and_what_the_groups_became_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(tmp_path, FLOW, stores)[0] == 0
    told = capsys.readouterr()
    assert told.out == "21 extract\n22\n"
    assert told.err == "bgjob: group 7 is pages; `bgjob group 7 --wait` waits for its end\n"


def test_of_a_flow_without_jobs_it_is_said_that_none_was_submitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(tmp_path, '{"jobs": []}', lambda line, _: line.reply(ids=[], groups=[]))[0] == 0
    assert capsys.readouterr().err == "bgjob: the flow has no jobs, so that none was submitted\n"


def test_a_program_reads_ids_and_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(tmp_path, FLOW, stores, "--json")[0] == 0
    assert capsys.readouterr().out == '{"ids": [21, 22], "groups": [7]}\n'


def test_what_has_no_idempotency_key_gets_one_and_all_else_is_sent_as_it_is_written(tmp_path: Path) -> None:
    asked = asked_of(ran(tmp_path, FLOW, stores)[1])
    keys = [
        one.pop("idempotency_key") for one in (*(job["options"] for job in asked["jobs"]), asked["groups"][0])
    ]
    assert len({*keys}) == 3
    assert asked["jobs"][0].pop("options") == {}
    assert asked == json.loads(FLOW)


def test_keys_of_the_file_are_kept(tmp_path: Path) -> None:
    job = {"class_name": "a.B", "method_name": "c", "options": {"idempotency_key": "mine"}}
    flow = {"jobs": [job], "groups": [{"ref": "g", "idempotency_key": "ours"}]}
    assert asked_of(ran(tmp_path, json.dumps(flow), stores)[1]) == flow


def test_jobs_of_one_method_get_keys_in_bulk(tmp_path: Path) -> None:
    flow = {"class_name": "a.B", "method_name": "c", "each": [{"n": 1}, {"n": 2}]}
    asked = asked_of(ran(tmp_path, json.dumps(flow), lambda line, _: line.reply(ids=[1, 2]))[1])
    assert len(set(asked.pop("keys"))) == 2
    assert asked == flow


def test_what_has_not_its_shape_is_left_to_the_daemon(tmp_path: Path) -> None:
    for flow in ({"jobs": [1]}, {"jobs": [{"options": "x"}]}, {"jobs": {}, "groups": 5, "each": 7}):
        assert asked_of(ran(tmp_path, json.dumps(flow), stores)[1]) == flow


@pytest.mark.parametrize(
    "flow", [{"jobs": [{"options": 5}]}, {"jobs": {"a": 1}}, {"jobs": 5}, {"jobs": [5]}, {"keys": 5}]
)
def test_a_refusal_of_what_has_not_its_shape_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flow: JsonObject
) -> None:
    refusal = Reply({"parameter": "jobs"}, error="org.varlink.service.InvalidParameter").to_bytes()
    code, _ = ran(tmp_path, json.dumps(flow), lambda line, _: line.send(refusal))
    assert code == 77
    assert "invalid value for jobs" in capsys.readouterr().err


# What is wrong


def _nested(count: int) -> str:
    return '{"jobs":\n [%s]}' % ("[" * count + "]" * count)


@pytest.mark.parametrize(
    ("flow", "told"),
    [
        ('{\n  "jobs": [\n    {"ref": }\n  ]\n}', "line 3, column 13: Expecting value"),
        ("[1]", "a flow is a JSON object, with the parameters of SubmitMany"),
        (
            '{"jobs":\n [{"ref": "a",\n   "ref": "b"}]}',
            "line 3, column 11, jobs.0.ref: an object has a key twice",
        ),
        (
            '{"jobs":\n [{"id": 123456789012345678901}]}',
            "line 2, column 10, jobs.0.id: an integer is beyond 64 bit",
        ),
        ('{"jobs":\n %s}' % ("9" * 5000), "line 2, column 2, jobs: an integer is beyond 64 bit"),
        ('{"jobs":\n [{"id": NaN}]}', "line 2, column 10, jobs.0.id: NaN is no JSON number"),
        ('{"jobs":\n [1e999]}', "line 2, column 3, jobs.0: 1e999 is no JSON number"),
        ('{"jobs":\n ["\\ud800"]}', "line 2, column 3, jobs.0: a text holds a lone surrogate"),
        *(
            (_nested(count), f"line 2, column 32, jobs{'.0' * 30}: a message is nested too deeply")
            for count in (30, 900)
        ),
        ("[" * 100_000, f"line 1, column 32, 0{'.0' * 30}: it is nested too deeply"),
    ],
)
def test_what_cannot_be_sent_is_said_with_its_line_before_anything_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flow: str, told: str
) -> None:
    (tmp_path / "flow.json").write_text(flow)
    with pytest.raises(SystemExit) as refused:
        command.main(["flow", str(tmp_path / "flow.json")])
    assert refused.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"bgjob flow: error: argument FILE|-: {told}; see `bgjob flow --help`"
    )


def test_a_file_that_cannot_be_read_is_told_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "flow.json").write_bytes(b'{"\xff": 1}')
    for name in ("flow.json", "none.json"):
        with pytest.raises(SystemExit):
            command.main(["flow", str(tmp_path / name)])
        assert f"no flow in '{tmp_path / name}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "parameters", "told"),
    [
        (
            "org.varlink.service.InvalidParameter",
            {"parameter": "jobs.1.options.after.0"},
            "line 10, column 19: invalid value for jobs.1.options.after.0",
        ),
        (
            "org.varlink.service.InvalidParameter",
            {"parameter": "jobs.1.options.take.titel.of"},
            "line 11, column 34: invalid value for jobs.1.options.take.titel.of: there is no job before it that is"
            " called extract\n",
        ),
        (
            "org.varlink.service.InvalidParameter",
            {"parameter": "jobs.1.options.group"},
            "line 9, column 18: invalid value for jobs.1.options.group: there is no group before it that is called",
        ),
        (
            "org.varlink.service.InvalidParameter",
            {"parameter": "jobs.0.optoins"},
            "line 4, column 5: invalid value for jobs.0.optoins: there is no such key, but ref, class_name",
        ),
        (
            "org.varlink.service.InvalidParameter",
            {"parameter": "group"},
            "line 1, column 1: invalid value for group: there is no such key, but jobs, groups, ",
        ),
        (
            "org.varlink.service.InvalidParameter",
            {"parameter": "jobs.0.options.if_failed"},
            "line 4, column 5: invalid value for jobs.0.options.if_failed: cancel, run or wait is wanted, beside",
        ),
        (
            "org.varlink.service.InvalidParameter",
            {"parameter": "jobs.0.options.queue"},
            "line 4, column 5: invalid value for jobs.0.options.queue",
        ),
        (
            f"{OURS}.InvalidParameters",
            {"problems": [{"path": "jobs/1/number/0", "message": '1 is not of type "string"'}]},
            'line 7, column 33, jobs.1.parameters.number.0: 1 is not of type "string"\n',
        ),
        (
            f"{OURS}.InvalidParameters",
            {"problems": [{"path": "jobs/0", "message": '"x" is a required property'}, {"path": "jobs/1/y"}]},
            'line 4, column 90, jobs.0.parameters: "x" is a required property\nbgjob: line 7, column 21, jobs.1',
        ),
        (
            f"{OURS}.InvalidParameters",
            {"problems": [{"path": "jobs/1/titel", "message": "there is no such parameter"}]},
            "line 11, column 27, jobs.1.options.take.titel: there is no such parameter",
        ),
        (
            f"{OURS}.NotApproved",
            {"class_name": "a.Report"},
            "line 4, column 38, jobs.0.class_name: a.Report is",
        ),
        (
            f"{OURS}.MethodNotApproved",
            {"class_name": "a.Report", "method_name": "page"},
            "line 6, column 48, jobs.1.method_name: a.Report has no approved method page",
        ),
        (
            f"{OURS}.InvalidName",
            {"field": "method_name", "value": "page"},
            "line 6, column 48, jobs.1.method_name: method_name is not a valid name",
        ),
        (
            f"{OURS}.JobNotFound",
            {"id": 12},
            "line 10, column 46, jobs.1.options.after.1.id: there is no job 12",
        ),
        (
            f"{OURS}.GroupNotFound",
            {"id": 5},
            "line 10, column 61, jobs.1.options.after.2.group: there is no group",
        ),
        (
            f"{OURS}.TooLarge",
            {"limit": 65536, "size": 70000, "parameter": "jobs.1.parameters"},
            "line 7, column 21: jobs.1.parameters: 70000 bytes, the limit is 65536",
        ),
        (f"{OURS}.GroupSealed", {"id": 6}, "line 15, column 12, seal.0: group 6 is sealed"),
        (f"{OURS}.GroupSealed", {"id": 9}, "group 9 is sealed"),
        (
            f"{OURS}.Duplicate",
            {"id": 3, "index": 0},
            "line 4, column 5: job 3 holds the unique key of jobs.0",
        ),
        (f"{OURS}.Duplicate", {"id": 3, "index": 7}, "job 3 holds the unique key of jobs.7"),
        (f"{OURS}.QueueFull", {"queue": "mail", "limit": 5}, "queue mail is full"),
        (f"{OURS}.InvalidParameters", {"problems": 5}, "the parameters do not fit the method"),
        (f"{OURS}.InvalidParameters", {"problems": [1]}, "the parameters do not fit the method"),
        (
            f"{OURS}.InvalidParameters",
            {"problems": [{"path": "jobs/" + "9" * 5000}]},
            "line 3, column 11, jobs.99",
        ),
        (f"{OURS}.InvalidParameters", {"problems": [{"path": "a/"}]}, "line 1, column 1, a: None"),
        (f"{OURS}.InvalidParameters", {"problems": [{"path": "/"}]}, "line 1, column 1: None"),
    ],
)
def test_what_a_daemon_refuses_is_said_with_line_column_and_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: str, parameters: JsonObject, told: str
) -> None:
    code, _ = ran(tmp_path, FLOW, lambda line, _: line.send(Reply(parameters, error=error).to_bytes()))
    assert code in (4, 75, 77)
    assert capsys.readouterr().err.startswith(f"bgjob: {told}")


def test_whose_unique_key_is_held_is_told_by_the_line_of_that_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = '{"class_name": "a.Report", "method_name": "page", "options": {"unique_key": "k", "if_held": "refuse"}}'
    refusal = Reply({"id": 3, "index": 1}, error=f"{OURS}.Duplicate").to_bytes()
    assert ran(tmp_path, f'{{"jobs": [\n{job},\n{job}\n]}}', lambda line, _: line.send(refusal))[0] == 77
    assert capsys.readouterr().err.startswith(
        "bgjob: line 3, column 77, jobs.1.options.unique_key: job 3 holds the unique key of jobs.1"
    )


def test_a_refusal_without_a_place_is_told_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal = Reply({"parameter": ""}, error="org.varlink.service.InvalidParameter").to_bytes()
    assert ran(tmp_path, '{"ref": "a"}', lambda line, _: line.send(refusal))[0] == 77
    assert capsys.readouterr().err.startswith("bgjob: invalid value for ")


def test_where_the_answer_is_lost_it_is_said_that_the_jobs_may_be_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys were made here, so a person cannot repeat it with them."""
    monkeypatch.setattr(retrying, "GIVE_UP_AFTER", 0.0)
    assert ran(tmp_path, FLOW, lambda line, _: line.hang_up())[0] == 69
    told = capsys.readouterr().err
    assert "nobody has said whether the jobs are stored; `bgjob list` has them if they are\n" in told
    assert "--key" not in told


def test_a_flow_is_read_from_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(FLOW))
    with ScriptedDaemon(tmp_path / "s", stores) as daemon:
        assert command.main(["--socket", str(daemon.path), "flow", "-"]) == 0
    assert len(asked_of(daemon)["jobs"]) == 2
