"""The fuzzer in short: every target takes its corpus, and some mutations; and the fuzzer finds what is planted."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import pytest

from tests.fuzz import one, planted
from tests.fuzz.mutator import mutations
from tests.fuzz.running import Course, fuzz
from tests.fuzz.target import CORPUS, MOST, Target, pieces
from tests.fuzz.targets import TARGETS
from tests.support import eventually

MANY = 150
"""Mutations of each target; `./run fuzz` tries millions."""


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_its_corpus(name: str) -> None:
    paths = TARGETS[name].corpus()
    assert paths
    for path in paths:
        TARGETS[name].attempt(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_mutations_of_its_corpus(name: str) -> None:
    target = TARGETS[name]
    corpus = [path.read_bytes() for path in target.corpus()]
    for data in islice(mutations(corpus, target.tokens, 7), MANY):
        target.attempt(data)


def test_each_folder_of_the_corpus_has_its_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


def test_mutations_are_the_same_for_the_same_seed_and_others_for_another() -> None:
    one, same, other = (list(islice(mutations([b"abc", b"de"], [b"X"], seed), 50)) for seed in (1, 1, 2))
    assert one == same != other
    assert len(set(one)) > 25
    assert max(map(len, one)) <= MOST


@pytest.mark.parametrize("data", [b"", b"a", b"frame\0" * 1000])
def test_pieces_are_all_of_it_and_the_same_each_time(data: bytes) -> None:
    assert b"".join(pieces(data)) == data
    assert list(pieces(data)) == list(pieces(data))


def test_what_the_corpus_has_made_once_is_no_growth_however_slow_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one, "_leave", lambda code: pytest.fail("its time was up before it was warm"))
    course = one.Course(Target("any", lambda data: None, folder="names"), tmp_path, seconds=0.0)
    course.warm_up()
    with pytest.raises(pytest.fail.Exception):
        eventually(lambda: course.attempt(b""))


def test_defects_that_are_planted_are_found_told_and_repeatable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    found = fuzz(list(planted.TARGETS.values()), Course(2.0, 7, "mutations", table="tests.fuzz.planted"))
    told = capsys.readouterr().out
    assert found == 1
    assert "KeyError: 'planted'" in told
    assert "the process ended with code -6" in told
    assert re.search(r"leaks: descriptors went from \d+ to \d+", told)
    assert re.search(r"grows: memory grew by \d+ MiB", told)
    for name in ("raises", "dies"):
        (repeats,) = re.findall(rf"once more: ./run fuzz --target {name} --input (\S+)", told)
        assert b"planted" in Path(repeats).read_bytes()
    with pytest.raises(KeyError):
        planted.TARGETS["raises"].attempt(next(tmp_path.glob("fuzz-raises-*")).read_bytes())
