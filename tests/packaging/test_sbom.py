"""What `./run sbom` tells: all that an installation consists of, nothing else, and the same whenever it is asked."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion, _res
from jsonschema_rs import Draft7Validator, Registry, ValidationError

from tests.packaging import lock, sbom

Bom = dict[str, Any]


@pytest.fixture(scope="module")
def told() -> Bom:
    found: Bom = json.loads(sbom.document())
    return found


@pytest.fixture(scope="module")
def distributions(told: Bom) -> list[Bom]:
    return [one for one in told["components"] if one["purl"].startswith("pkg:pypi/")]


@pytest.fixture(scope="module")
def vendored(told: Bom) -> list[Bom]:
    return [one for one in told["components"] if not one["purl"].startswith("pkg:pypi/")]


def test_it_holds_what_is_installed_with_bgjobd_and_nothing_else(distributions: list[Bom]) -> None:
    """The components come of what the installed distributions require, and are compared with what uv has resolved."""
    assert sorted((one["name"], one["version"]) for one in distributions) == sorted(
        (name, pinned.version) for name, pinned in lock.read(lock.RUNTIME).items()
    )
    for one in distributions:
        assert one["version"] == metadata.version(one["name"])


def test_its_hashes_are_those_of_the_lock(distributions: list[Bom]) -> None:
    hashes = [found for one in distributions for found in one["externalReferences"][0]["hashes"]]
    assert {one["alg"] for one in hashes} == {"SHA-256"}
    assert sorted(one["content"] for one in hashes) == sorted(
        re.findall("sha256:([0-9a-f]{64})", lock.RUNTIME.read_text())
    )


def test_the_vendored_files_are_in_it_as_they_are(vendored: list[Bom]) -> None:
    assert vendored
    for one in vendored:
        (occurrence,) = one["evidence"]["occurrences"]
        content = _installed(occurrence["location"])
        assert one["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}]
        assert one["licenses"]
    scripts = {one["evidence"]["occurrences"][0]["location"].rpartition("/")[2] for one in vendored}
    assert {path.name for path in (lock.TREE / "web" / "static").glob("*.min.*")} == scripts


def _installed(location: str) -> bytes:
    package, _, name = location.partition("/static/")
    return (files(package.replace("/", ".")) / "static" / name).read_bytes()


def test_everything_in_it_is_reached_from_bgjobd(told: Bom) -> None:
    graph = {one["ref"]: set(one.get("dependsOn", ())) for one in told["dependencies"]}
    root = told["metadata"]["component"]["bom-ref"]
    assert graph.keys() == {root, *(one["bom-ref"] for one in told["components"])}
    reached: set[str] = set()
    ahead = {root}
    while ahead:
        reached |= ahead
        ahead = {one for ref in ahead for one in graph[ref]} - reached
    assert reached == graph.keys()


def test_it_tells_who_needs_whom(told: Bom) -> None:
    graph = {_name(one["ref"]): {*map(_name, one.get("dependsOn", ()))} for one in told["dependencies"]}
    assert graph["jinja2"] == {"markupsafe"}
    assert graph["bgjobd"] > {"jinja2", "idiomorph"}
    assert "markupsafe" not in graph["bgjobd"]


def _name(ref: str) -> str:
    return ref.rpartition("/")[2].partition("@")[0]


def test_it_is_told_of_bgjobd_as_it_is_released(told: Bom) -> None:
    own = told["metadata"]["component"]
    assert (own["name"], own["version"]) == ("bgjobd", metadata.version("bgjobd"))
    assert own["licenses"][0]["license"]["id"] == metadata.metadata("bgjobd")["License-Expression"]


# Licences


def test_each_licence_has_its_name_of_spdx(told: Bom) -> None:
    for one in told["components"]:
        (licence,) = one["licenses"]
        assert "expression" in licence or "id" in licence["license"], one["name"]


def test_a_licence_is_told_by_us_only_where_the_distribution_does_not(distributions: list[Bom]) -> None:
    names = {one["name"] for one in distributions}
    assert {name for name in names if sbom.declared_licence(name) is None} == sbom.LICENCES.keys()
    concluded = {
        one["name"]
        for one in distributions
        if one["licenses"][0].get("license", {}).get("acknowledgement") == "concluded"
    }
    assert concluded == sbom.LICENCES.keys()


def test_a_licence_that_nobody_tells_ends_it_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sbom.LICENCES, "peewee")
    with pytest.raises(ValueError, match=r"metadata of peewee tells no licence .* read its licence file"):
        sbom.document()


# The document


def made(**environ: str) -> str:
    """As `./run sbom` does, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "tests.packaging.sbom"],
        env=os.environ | {"PYTHONPATH": str(lock.TREE), **environ},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_same_tree_gives_the_same_bytes(told: Bom) -> None:
    first = made(PYTHONHASHSEED="1")
    assert first == made(PYTHONHASHSEED="3")
    assert json.loads(first) == told
    assert "timestamp" not in told["metadata"]


def test_it_has_the_time_that_a_build_is_told(told: Bom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")
    dated = json.loads(sbom.document())
    assert dated["metadata"].pop("timestamp") == "2026-01-01T00:00:00+00:00"
    assert dated["serialNumber"] != told["serialNumber"]
    assert dated | {"serialNumber": told["serialNumber"]} == told


def test_it_goes_to_the_file_that_is_named(
    told: Bom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["sbom", "bom.json"])
    sbom.main()
    assert json.loads((tmp_path / "bom.json").read_text()) == told


@pytest.fixture(scope="module")
def schema() -> Draft7Validator:
    """CycloneDX 1.6, as the library ships it; its own validator would bring seventeen packages along."""
    others = {Path(one).name: json.loads(Path(one).read_text()) for one in (_res.SPDX_JSON, _res.JSF)}
    bom = _res.BOM_JSON[SchemaVersion.V1_6]
    assert bom is not None
    whole = json.loads(Path(bom).read_text())
    prefix = whole["$id"].rpartition("/")[0]
    registry = Registry([(f"{prefix}/{name}", one) for name, one in others.items()])
    return Draft7Validator(whole, registry=registry, validate_formats=True)


def test_it_is_what_the_schema_of_cyclonedx_asks_for(told: Bom, schema: Draft7Validator) -> None:
    assert told["specVersion"] == "1.6"
    schema.validate(told)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("licenses", [{"license": {"id": "BSD License"}}]),
        ("hashes", [{"alg": "SHA-256", "content": "4cbd"}]),
        ("type", "package"),
        ("externalReferences", [{"type": "website", "url": "not a place"}]),
    ],
)
def test_the_schema_finds_fault(told: Bom, schema: Draft7Validator, key: str, value: object) -> None:
    first, *others = told["components"]
    with pytest.raises(ValidationError):
        schema.validate(told | {"components": [first | {key: value}, *others]})
