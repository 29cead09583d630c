"""What `bgjobd check` says of `[web.views]`: which addresses lead nowhere, and what of them means nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgjob.words import STATUS_WORDS
from bgjobd.commands import check_views
from bgjobd.config import loading
from bgjobd.config.problems import ConfigError
from bgjobd.web.addresses import NARROWED_BY, STATUSES

CLASSES = '[approved]\n"shop.Mail" = {}\n[queues.mail]\n[schedules.nightly]\njob = "shop.Mail::send"\nevery = "1d"\n'


def found(directory: Path, *addresses: str) -> list[str]:
    file = directory / "bgjobd.toml"
    views = "".join(f'"View {n}" = "{address}"\n' for n, address in enumerate(addresses))
    file.write_text(f"{CLASSES}[web.views]\n{views}")
    return [str(one) for one in check_views.findings(loading.load(file, {}, is_root=False))]


def test_views_that_lead_somewhere_are_told_together(tmp_path: Path) -> None:
    good = (
        "/jobs?class=shop.Mail&status=failed&since=24h&queue=mail&schedule=nightly&outcome=timed_out&longer=10s",
        "/jobs?until=2026-11-27T14:02Z&label=tenant%3A7&sort=ended&per=25&q=smtp&error=7&group=1&key=k&host=h",
        "/jobs?schedule=shop%2Fcustomer-7",
        "/jobs",
        "/errors?since=1h",
        "/",
        "/schedules/nightly",
        "/labels?q=tenant",
        "/jobs?bulk=14",
        "/changes",
        "/compare?a=5121.2&b=5121.3",
        "/jobs/5121/graph",
    )
    (told,) = found(tmp_path, *good)
    assert told == f"ok           views: {', '.join(f'View {n}' for n in range(len(good)))}"
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("/nowhere", "the page has no /nowhere"),
        ("/jobs/1/output/7", "the page has no /jobs/1/output/7"),
        ("/jobs?colour=red", "jobs are not narrowed down by 'colour'"),
        ("/jobs?page=2&upto=7", "jobs are not narrowed down by 'page'"),
        (
            "/jobs?class=shop.Mial",
            "class = 'shop.Mial' would be left out of account: no such class is approved",
        ),
        ("/jobs?queue=mial", "queue = 'mial' would be left out of account: there is no such queue"),
        ("/jobs?schedule=x", "schedule = 'x' would be left out of account: there is no such schedule"),
        ("/jobs?since=yesterday", "since = 'yesterday' would be left out of account: a time ago is wanted"),
        ("/jobs?until=2026-13-27T14:02Z", "until = '2026-13-27T14:02Z' would be left out of account"),
        ("/jobs?status=fialed", "status = 'fialed' would be left out of account: one is wanted of "),
        ("/jobs?outcome=", "outcome = '' would be left out of account: one is wanted of "),
    ],
)
def test_what_means_nothing_is_told(tmp_path: Path, address: str, told: str) -> None:
    first, *_ = found(tmp_path, address, "/jobs")
    assert first.startswith(f"doubtful     views: 'View 0': {told}")
    assert first.endswith("; mend it in [web.views]")


@pytest.mark.parametrize(
    "address",
    [
        "jobs",
        "//evil.example/jobs",
        "/\\\\\\\\evil.example",
        "https://evil.example/",
        "/jobs?q=a b",
        "/é",
        "",
    ],
)
def test_what_is_no_address_of_the_page_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError, match="must be an address of the page"):
        found(tmp_path, address)


def test_check_and_page_know_the_same_filters_and_words() -> None:
    assert set(check_views.MEANS) == {*NARROWED_BY[check_views.JOBS], "q", "status", "per"}
    assert set(STATUSES) == set(STATUS_WORDS)
