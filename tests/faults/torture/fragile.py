"""A class whose module cannot be imported while there is a certain file: a deploy that is half done."""

from __future__ import annotations

import os

from tortured import Tortured

if os.path.exists(os.environ["TORTURE_BROKEN"]):
    raise ImportError("a deploy that is half done")


class Fragile(Tortured):
    """As the others, when it can be imported."""
