"""The examples in the docstrings of the rules: all of them run."""

from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module

import pytest

import bgjobd.core

NAMES = [module.name for module in pkgutil.iter_modules(bgjobd.core.__path__)]


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_module_run(name: str) -> None:
    assert doctest.testmod(import_module(f"bgjobd.core.{name}")).failed == 0
