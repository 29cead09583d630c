"""The documentation as a site: made without a warning, whole, and without a request to anywhere else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import bgjob
from tests.packaging import site

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # between Sphinx and what extends it
]


PAGES = {page.stem for page in [*site.TREE.glob("*.md"), *site.DOCS.glob("*.md")]}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as Sphinx sees them, which it warns of alike: the theme and the index are half of what it takes."""
    return made(tmp_path_factory.mktemp("pages"), "xml")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("site"), "html")


def made(folder: Path, builder: str) -> Path:
    assert site.build(folder, builder) == 0
    return folder


def test_each_page_is_in_it(built: Path) -> None:
    assert PAGES | {"api"} <= {page.stem for page in built.glob("*.xml")}


@pytest.mark.long
def test_each_page_can_be_searched(whole: Path) -> None:
    assert PAGES | {"api", "search"} <= {page.stem for page in whole.glob("*.html")}
    index = (whole / "searchindex.js").read_text(encoding="utf-8")
    assert all(f'"{name}"' in index for name in PAGES)


def test_what_prometheus_and_grafana_take_can_be_downloaded_from_it(built: Path) -> None:
    page = (built / "monitoring.xml").read_text(encoding="utf-8")
    names = re.findall(r'<download_reference filename="\w+/([\w.]+)"', page)
    assert {*names} >= {"bgjobd.rules.yml", "bgjobd.dashboard.json"}


def test_its_first_page_fits_a_screen(built: Path) -> None:
    """One without a heading within, of so many words."""
    words = (site.DOCS / "index.md").read_text(encoding="utf-8").split()
    assert len(words) < 260


def test_all_that_the_client_offers_is_in_the_reference_of_the_api(built: Path) -> None:
    api = (built / "api.xml").read_text(encoding="utf-8")
    told = set(re.findall(r'ids="bgjob\.(?:errors\.)?(\w+)"', api))
    assert {*bgjob.__all__} - told == set()


@pytest.mark.parametrize("client", [bgjob.Client, bgjob.AsyncClient])
def test_so_is_each_method_of_a_client_whichever_class_it_comes_from(built: Path, client: type) -> None:
    api = (built / "api.xml").read_text(encoding="utf-8")
    told = set(re.findall(rf'ids="bgjob\.{client.__name__}\.(\w+)"', api))
    methods = {name for name in dir(client) if not name.startswith("_") and callable(getattr(client, name))}
    assert methods - told == set()


def test_no_picture_is_fetched_from_elsewhere(built: Path) -> None:
    pages = [page.read_text(encoding="utf-8") for page in built.glob("*.xml")]
    assert not any("<raw " in page for page in pages)  # HTML as it stands, which could fetch anything
    pictures = {name for page in pages for name in re.findall(r'<image [^>]*uri="([^"]*)"', page)}
    assert len(pictures) > 2
    assert {name for name in pictures if "//" in name} == set()


@pytest.mark.long
def test_nothing_in_it_is_fetched_from_elsewhere(whole: Path) -> None:
    fetched = re.compile(
        r"""(?:<(?:script|img|iframe)[^>]+src|<link[^>]+href)=["']?(?:https?:)?//|@import|url\(["']?http"""
    )
    for file in [*whole.rglob("*.html"), *whole.rglob("*.css")]:
        assert not fetched.search(file.read_text(encoding="utf-8")), file.name


def test_links_lead_to_pages_beside_each_other() -> None:
    text = "[a](docs/keys.md#x) [b](../SECURITY.md) ![c](../web/pictures/c.png) [d](../systemd/d) [e](LICENSE) [f](#g)"
    assert site.beside(text) == "[a](keys.md#x) [b](SECURITY.md) ![c](pictures/c.png) d e [f](#g)"


def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = tmp_path / "docs"
    (docs / "site").mkdir(parents=True)
    (docs / "site" / "conf.py").write_text((site.DOCS / "site" / "conf.py").read_text())
    (docs / "index.md").write_text("# Index\n\n[gone](nosuch.md)\n")
    (docs / "monitoring").mkdir()
    (tmp_path / "web" / "pictures").mkdir(parents=True)
    monkeypatch.setattr(site, "TREE", tmp_path)
    monkeypatch.setattr(site, "DOCS", docs)
    monkeypatch.setattr(site, "CONTENTS", {})
    assert site.build(tmp_path / "built", "dummy") != 0
