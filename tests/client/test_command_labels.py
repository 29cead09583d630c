"""What `bgjob labels` shows, and how labels are given and told by other commands."""

from __future__ import annotations

from typing import Any, cast

import pytest

from bgjob import submitting_calls
from bgjob.answers import PageBy
from bgjob.codec import JsonObject
from bgjob.commands import arguments, look
from bgjob.commands.submit import _options
from bgjob.words import Status
from tests.client.scripted import summary


class Labels:
    """A client of a daemon that has these labels, one page of them."""

    def __init__(self, *told: JsonObject, following: str | None = None) -> None:
        self._page = PageBy[Any, str](list(told), following)
        self.asked: JsonObject = {}

    def labels(self, **asked: Any) -> PageBy[Any, str]:
        self.asked = asked
        return self._page


def label(name: str, jobs: int, **standing: int) -> JsonObject:
    return {"label": name, "jobs": jobs, "newest": jobs, **dict.fromkeys(Status, 0), **standing}


def run(client: Labels, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[list[str], str]:
    given = arguments.parse(["labels", *words])
    assert given.run(cast(Any, client), given) == 0
    told = capsys.readouterr()
    return [" ".join(line.split()) for line in told.out.splitlines()], told.err


def test_labels_are_told_with_how_many_jobs_they_have_and_how_these_stand(
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = Labels(label("a\x1b[2J", 1000, failed=3, pending=97), label("b", 1, completed=1), following="b")
    lines, said = run(client, capsys, "--limit", "2")
    assert lines == [
        "LABEL JOBS FAILED RUNNING PENDING COMPLETED CANCELLED",
        "a\\x1b[2J 1000+ 3 0 97 0 0",
        "b 1 0 0 0 1 0",
    ]
    assert said == "bgjob: there are more labels; --limit shows them\n"
    assert client.asked == {"prefix": None, "limit": 2}


def test_where_there_is_none_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Labels(), capsys, "x") == ([], "bgjob: no label begins so\n")
    assert "`bgjob run --label LABEL`" in run(Labels(), capsys)[1]


def test_run_takes_labels_as_often_as_they_are_given() -> None:
    given = arguments.parse(["run", "a.B::c", "--label", "tenant:7", "--label", "release:42"])
    assert _options(given)["labels"] == ["tenant:7", "release:42"]
    assert _options(arguments.parse(["run", "a.B::c"]))["labels"] is None


def test_a_list_tells_labels_in_a_column_of_their_own() -> None:
    assert look.CELLS["labels"](summary(1, labels=["tenant:7", "b"]), 0.0) == "tenant:7 b"
    older = summary(1)
    del older["labels"]
    assert look.CELLS["labels"](older, 0.0) == ""


@pytest.mark.parametrize("given", [["a", "b"], ("a", "b"), iter(("a", "b")), {"a": 1, "b": 2}.keys()])
def test_a_submit_takes_labels_as_anything_that_gives_them(given: Any) -> None:
    job = submitting_calls.job_of("a.B", "c", None, 0, {"labels": given})
    assert submitting_calls.submission(job, None, None, None)["options"]["labels"] == ["a", "b"]


def test_one_text_is_no_list_of_its_letters() -> None:
    job = submitting_calls.job_of("a.B", "c", None, 0, {"labels": "tenant:7"})
    assert submitting_calls.submission(job, None, None, None)["options"]["labels"] == "tenant:7"
