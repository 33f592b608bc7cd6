"""Every example in a docstring runs and prints what it says; every public name has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import leukobench
from tests.conftest import REPOSITORY

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PUBLIC = tuple(getattr(leukobench, "__all__", ()))


def module_names() -> list[str]:
    """The modules of the package: every file of a folder that has an `__init__.py`."""
    folders = [REPOSITORY, *(file.parent for file in REPOSITORY.glob("[a-z]*/**/__init__.py"))]
    kept = [folder for folder in folders if not {"build", "dist"} & set(folder.relative_to(REPOSITORY).parts)]
    names = []
    for file in (file for folder in kept for file in folder.glob("*.py")):
        parts = file.relative_to(REPOSITORY).with_suffix("").parts
        names.append(".".join(("leukobench", *(part for part in parts if part != "__init__"))))
    return sorted(names)


@pytest.mark.parametrize("name", module_names())
def test_the_examples_of_a_module_print_what_they_say(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # examples may write files
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    assert failed == 0


@pytest.mark.parametrize("name", [name for name in PUBLIC if not name.startswith("__")])
def test_every_public_name_has_an_example(name: str) -> None:
    value = getattr(leukobench, name)
    if callable(value):  # a constant is explained where it stands
        assert ">>> " in (inspect.getdoc(value) or "")
