"""What `bgjobd check` remarks on where keys and rates cannot do what they are for."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgjobd.commands import check_keys
from bgjobd.config import loading
from bgjobd.config.policy import policy_of

LIMITED = "[queues.default]\nslots_per_key = 2\n"
RATED = '[approved]\n"a.B" = { rate = "1/1h" }\n'


def remarks(directory: Path, text: str) -> list[str]:
    file = directory / "bgjobd.toml"
    file.write_text(text)
    config = loading.load(file, {}, is_root=False)
    policies = {name: policy_of(config, name, {}) for name in config.approved}
    return [one.told for one in check_keys.findings(config, policies, 0.0)]


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        (f'{LIMITED}[approved]\n"a.B" = {{}}\n', "slots_per_key"),
        ('[queues.default]\nshare = "key"\nrate_per_key = "1/1s"\n', 'rate_per_key and share = "key"'),
        (
            f'{LIMITED}[queues.mail]\n[approved]\n"a.B" = {{ key = "customer", queue = "mail" }}\n',
            "slots_per_key",
        ),
    ],
)
def test_a_limit_by_key_of_a_queue_without_keys_is_remarked_on(
    tmp_path: Path, text: str, limits: str
) -> None:
    (told,) = remarks(tmp_path, text)
    assert told.startswith(
        f"queue default: {limits} count for jobs that have a key, and no class or schedule"
    )


@pytest.mark.parametrize(
    "text",
    [
        f'{LIMITED}[approved]\n"a.B" = {{ key = "customer" }}\n',
        f'{LIMITED}[approved]\n"a.B" = {{}}\n[schedules.s]\njob = "a.B::c"\nevery = "1d"\nkey = "k"\n',
        f'{LIMITED}share = "user"\n',
        '[approved]\n"a.B" = {}\n',
    ],
)
def test_where_jobs_have_keys_or_nothing_counts_by_key_nothing_is_said(tmp_path: Path, text: str) -> None:
    assert remarks(tmp_path, text) == []


def test_a_rate_below_what_schedules_bring_is_remarked_on(tmp_path: Path) -> None:
    often = '[schedules.s]\njob = "a.B::c"\nevery = "30m"\n'
    (told,) = remarks(tmp_path, RATED + often)
    assert told.startswith("a.B: its schedules bring 1,440 jobs in 30 days, and rate lets 721 start")
    assert remarks(tmp_path, RATED + often.replace("30m", "1h")) == []


CALLED_OFTEN = '[schedules.{name}]\njob = "a.B::c"\nevery = "30m"\n'


@pytest.mark.parametrize(
    ("queue", "policy", "of_each"),
    [
        ("", "", 'key = "acme"\n'),
        ("", 'key = "customer"', 'parameters = { customer = "acme" }\n'),
        ('share = "user"', "", ""),
    ],
)
def test_so_is_a_rate_by_key_below_what_schedules_bring_of_one_key(
    tmp_path: Path, queue: str, policy: str, of_each: str
) -> None:
    limited = f'[queues.default]\nrate_per_key = "1/15m"\n{queue}\n[approved]\n"a.B" = {{ {policy} }}\n'
    two = [CALLED_OFTEN.format(name=name) + of_each for name in ("s", "t")]
    third = CALLED_OFTEN.format(name="u") + of_each
    assert [one for one in remarks(tmp_path, limited + "".join(two)) if "bring" in one] == []
    (told,) = remarks(tmp_path, limited + "".join([*two, third]))
    assert told.startswith(
        "queue default: schedules s, t, u bring 4,320 jobs of one key in 30 days, and rate_per_key lets 2,881 start"
    )


def test_schedules_of_other_keys_are_counted_apart(tmp_path: Path) -> None:
    limited = '[queues.default]\nrate_per_key = "1/30m"\n[approved]\n"a.B" = {}\n'
    each = [CALLED_OFTEN.format(name=name) + f'key = "{name}"\n' for name in ("s", "t")]
    assert remarks(tmp_path, limited + "".join(each)) == []


def test_schedules_whose_jobs_are_refused_for_what_is_to_be_their_key_are_not_counted(tmp_path: Path) -> None:
    limited = '[queues.default]\nrate_per_key = "1/1h"\n[approved]\n"a.B" = { key = "customer" }\n'
    each = CALLED_OFTEN.format(name="s") + "parameters = {{ customer = {} }}\n"
    assert len(remarks(tmp_path, limited + each.format("12"))) == 1
    for no_key in ('["acme"]', "1.5", '""', f'"{"x" * 256}"'):
        assert remarks(tmp_path, limited + each.format(no_key)) == []
