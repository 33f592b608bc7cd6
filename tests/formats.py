"""What docs/reference/formats.md says of the files that a command writes."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "reference" / "formats.md"
FIGURES = {".png", ".svg"}
FOLDERS = ("masks/", "cut_out/", "layers/")  # whose files have names of their own


def assert_described(path: Path, command: str, *, lacking: tuple[str, ...] = ()) -> None:
    """Check that the page names every file that a command wrote, and the columns of every table, in their order.

    Args:
        path: What the command wrote: a file, or a folder with everything in it.
        command: The command.
        lacking: Columns that the page lists and these tables lack.
    """
    page = PAGE.read_text(encoding="utf-8")
    for file in sorted(file for file in path.rglob("*") if file.is_file()) or [path]:
        name = _name_on_page(file, path)
        assert f"`{name}`" in page, file
        if file.suffix == ".csv" and not name.endswith("failures.csv"):
            found = pd.read_csv(file, nrows=0).columns.tolist()
            listed = [[column for column in columns if column not in lacking] for columns in _columns(name, command)]
            assert found in listed, file


def _name_on_page(file: Path, folder: Path) -> str:
    """Return the name under which the page has a file."""
    if file == folder:  # which has a name that the user gave
        return re.sub(r"^.*(?=\.failures)", "NAME", re.sub(r"^\w+", "predictions", file.name))
    for part in file.relative_to(folder).parent.parts:
        assert f"`{part}/`" in PAGE.read_text(encoding="utf-8") or re.match(r"\d{3}_", part), file
        if f"{part}/" in FOLDERS:
            return f"{part}/"
    return re.sub(r"\d+$", "N", file.stem) if file.suffix in FIGURES else file.name


def _columns(name: str, command: str) -> list[list[str]]:
    """Return the columns that the page lists for a table of a command; there may be several tables of this name."""
    page = PAGE.read_text(encoding="utf-8")
    found = re.findall(rf"^`{re.escape(name)}` of `{command}`.*\n\n((?:\|.*\n)+)", page, re.MULTILINE)
    return [re.findall(r"^\| `(\w+)`", rows, re.MULTILINE) for rows in found]
