"""Runs what cannot be undone in a forked child, which tells the test what came of it."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from typing import Any


def in_child(act: Callable[[], Any]) -> Any:
    """What the function returns in a child of its own, as JSON has it; an OSError is told by its number.

    Raises AssertionError with the trace of any other error.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_child(act, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert told, f"the child ended with status {status}"
    answer = json.loads(told)
    assert "trace" not in answer, answer["trace"]
    return answer["value"]


def _be_child(act: Callable[[], Any], pipe: int) -> None:
    try:
        answer = {"value": act()}
    except OSError as error:
        answer = {"value": error.errno}
    except BaseException:
        answer = {"trace": traceback.format_exc()}
    try:
        os.write(pipe, json.dumps(answer).encode())
    finally:
        os._exit(0)
