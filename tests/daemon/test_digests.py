"""What tells apart two requests with one idempotency key stays as it is: stored jobs have it from earlier versions."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

import pytest

from bgjob.codec import to_json
from bgjobd.api import submissions
from bgjobd.api.schemas import NewJob
from bgjobd.core.facts import BESIDE_CALL

PARAMETERS: list[dict[str, Any]] = [
    {},
    {"a": 1},
    {"b": 1, "a": 'ü"\\'},
    {"b": {"z": 1, "y": [1, {"d": 2, "c": 3}]}, "a": [{"y": 1, "x": 2}] * 1500},
]
OPTIONS: list[dict[str, Any] | None] = [
    None,
    {"idempotency_key": "k"},
    {"idempotency_key": "k", "delay": 3.0, "queue": None},
    {"timeout": 2.0, "queue": "ü", "idempotency_key": "k"},
    {
        "after": [{"id": 12}, {"ref": "ü"}],
        "if_failed": "wait",
        "take": {"z": {"of": {"group": 5}}, "a": {"of": {"ref": "ü"}, "pointer": "/0"}},
        "group": {"ref": "g"},
    },
]


@pytest.mark.parametrize("parameters", PARAMETERS)
@pytest.mark.parametrize("options", OPTIONS)
def test_the_digest_of_a_request_is_of_a_list_of_what_it_asks_for(
    parameters: dict[str, Any], options: dict[str, Any] | None
) -> None:
    job = NewJob.model_validate(
        {"class_name": "äpp.Job", "method_name": "rün", "parameters": parameters, "retry_count": 2}
        | {"options": options}
    )
    told = {name: value for name, value in (options or {}).items() if value is not None}
    told.pop("idempotency_key", None)
    asked = ["äpp.Job", "rün", parameters, 2, told]
    text = json.dumps(asked, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    expected = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    digest = submissions.digester(job)
    assert digest(asyncio.run(submissions.text_in_order(parameters, to_json(parameters)))) == expected
    if all(type(value) not in (dict, list) for value in parameters.values()):
        in_order = dict(sorted(parameters.items()))
        assert submissions._is_in_order(in_order)
        assert digest(to_json(in_order)) == expected


def test_the_digest_for_a_key_that_a_client_made_is_of_what_is_asked_for_beside_the_call() -> None:
    def digest(**given: Any) -> str:
        return submissions.digest_beside_call(
            NewJob.model_validate({"class_name": "a.B", "method_name": "run"} | given)
        )

    plain = digest()
    assert plain[0] == BESIDE_CALL
    assert plain == digest(
        parameters={"x": 1}, options={"idempotency_key": "k", "queue": None}, retry_count=0
    )
    assert (
        len({plain, digest(retry_count=1), digest(options={"queue": "mail"}), digest(options={"delay": 1})})
        == 4
    )
