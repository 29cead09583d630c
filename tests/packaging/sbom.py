"""What an installation consists of, as CycloneDX JSON: `./run sbom [FILE]`.

Versions and hashes are those of the locks and web/vendored.toml, never those of this machine: the same tree gives
the same bytes. Only licences, and who needs whom, are asked of what is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import tomllib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.hash.factories import HashTypeFactory
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.component_evidence import ComponentEvidence, Occurrence
from cyclonedx.model.license import License, LicenseAcknowledgement
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.spdx import is_expression, is_supported_id
from packageurl import PackageURL

from tests.packaging import lock
from tests.packaging.lock import Pinned

LICENCES: Final = {
    "cronsim": "BSD-3-Clause",
    "jinja2": "BSD-3-Clause",
    "markdown-it-py": "MIT",
    "mdurl": "MIT",
    "peewee": "MIT",
}
"""Read from their licence files: the metadata of these tells none by a name of SPDX."""

_VENDORED: Final = lock.TREE / "web" / "vendored.toml"
_INSTALLED: Final = "bgjobd/web/static"
"""Where an installation has what vendored.toml lists."""

_HASH: Final = HashTypeFactory().from_composite_str


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="run sbom", description="What an installation consists of, as CycloneDX JSON."
    )
    parser.add_argument("file", nargs="?", metavar="FILE", help="where it goes; else to standard output")
    parser.add_argument(
        "--beside", nargs="+", default=[], metavar="NAME", help="what is installed beside runtime.lock"
    )
    given = parser.parse_args()
    told = document(given.beside)
    if given.file is None:
        print(told, end="")
    else:
        Path(given.file).write_text(told)


def document(beside: Sequence[str] = ()) -> str:
    """The same for the same tree; $SOURCE_DATE_EPOCH, where it is set, becomes the time of it."""
    told: dict[str, Any] = json.loads(JsonV1Dot6(_bom(beside)).output_as_string())
    # The library has a time and a random number in each document.
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        del told["metadata"]["timestamp"]
    else:
        told["metadata"]["timestamp"] = datetime.fromtimestamp(int(epoch), UTC).isoformat()
    del told["serialNumber"]
    told["serialNumber"] = uuid5(NAMESPACE_URL, json.dumps(told, sort_keys=True)).urn
    return json.dumps(told, indent=2, sort_keys=True) + "\n"


def _bom(beside: Sequence[str]) -> Bom:
    project = _project()
    pinned = lock.read(lock.DEVELOPMENT) | lock.read(lock.RUNTIME)
    needed = [*lock.PROJECT["project"]["dependencies"], *beside]
    needs = lock.closure(needed)
    components = {name: _distribution(pinned[name]) for name in needs}
    vendored = list(_vendored())
    bom = Bom(metadata=BomMetaData(component=project), components=[*components.values(), *vendored])
    for name, component in components.items():
        bom.register_dependency(component, [components[one] for one in needs[name]])
    direct = map(lock.name_of, lock.requirements(needed))
    bom.register_dependency(project, [*(components[name] for name in direct), *vendored])
    return bom


def _project() -> Component:
    told = lock.PROJECT["project"]
    return Component(
        type=ComponentType.APPLICATION,
        bom_ref=told["name"],
        name=told["name"],
        version=told["version"],
        description=told["description"],
        licenses=[_licence(told["license"], LicenseAcknowledgement.DECLARED)],
        purl=PackageURL("generic", name=told["name"], version=told["version"]),  # it is on no index
    )


def _distribution(pinned: Pinned) -> Component:
    purl = PackageURL("pypi", name=pinned.name, version=pinned.version)
    # Each is the hash of one of its files, of which one is installed: none is that of the component.
    files = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(str(purl)),
        comment="the files of this version; any one of them is installed",
        hashes=map(_HASH, pinned.hashes),
    )
    return Component(
        type=ComponentType.LIBRARY,
        bom_ref=str(purl),
        name=pinned.name,
        version=pinned.version,
        licenses=[_licence_of(pinned.name)],
        purl=purl,
        external_references=[files],
    )


def _vendored() -> Iterator[Component]:
    for file, told in tomllib.loads(_VENDORED.read_text()).items():
        purl = PackageURL.from_string(f"{told['package']}@{told['version']}")
        yield Component(
            type=ComponentType.LIBRARY,
            bom_ref=str(purl),
            name=purl.name,
            version=purl.version,
            hashes=[_HASH(f"sha256:{told['sha256']}")],
            licenses=[_licence(told["licence"], LicenseAcknowledgement.DECLARED)],
            purl=purl,
            external_references=[
                ExternalReference(type=ExternalReferenceType.WEBSITE, url=XsUri(told["source"]))
            ],
            evidence=ComponentEvidence(occurrences=[Occurrence(location=f"{_INSTALLED}/{file}")]),
        )


def _licence_of(name: str) -> License:
    """Raises ValueError where neither the distribution nor LICENCES tells it."""
    if declared := declared_licence(name):
        return _licence(declared, LicenseAcknowledgement.DECLARED)
    if name not in LICENCES:
        raise ValueError(
            f"the metadata of {name} tells no licence by a name of SPDX: "
            "read its licence file, and put the name into LICENCES of tests/packaging/sbom.py"
        )
    return _licence(LICENCES[name], LicenseAcknowledgement.CONCLUDED)


def declared_licence(name: str) -> str | None:
    """What the installed metadata tells, in the form since PEP 639 or the one before, if SPDX knows it."""
    told = metadata.metadata(name).json
    candidates = (told.get("license_expression"), told.get("license"))
    return next((one for one in candidates if isinstance(one, str) and is_of_spdx(one)), None)


def is_of_spdx(licence: str) -> bool:
    return is_supported_id(licence) or is_expression(licence)


def _licence(told: str, acknowledgement: LicenseAcknowledgement) -> License:
    return LicenseFactory().make_from_string(told, license_acknowledgement=acknowledgement)


if __name__ == "__main__":
    main()
