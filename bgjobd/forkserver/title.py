"""What ps and top show of a child: a title in the place of the command line that it has from the fork server."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

from .process_identity import place_of_arguments

SPARE = "bgjobd: spare"
BEGINNING = b"bgjobd: "
"""Of every title, also an order's."""

_USES = 100
"""How often a function is called until the interpreter leaves its code as it is: after a fork a change is a copy."""


def made() -> Callable[[str], None]:
    """Made before the fork: has a child called so, in as much of a title as its command line has room for."""
    begin, end = place_of_arguments(os.getpid())
    room = max(0, end - begin - 1)  # without a NUL at its end the kernel reads on, in the environment
    area = (ctypes.c_char * room).from_address(begin)
    blank = bytes(room)

    def show(title: str) -> None:
        area.raw = (title.encode("utf-8", "replace") + blank)[:room]

    own = area.raw
    for _ in range(_USES):
        show(SPARE)
    area.raw = own
    return show
