"""Runs the tutorial, and writes its outputs and pictures.

    python docs/tutorial.py    # writes the outputs into tutorial.md, and the pictures into images/

A test calls `executed` and compares the outputs with those on the page, but for numbers, which may differ between
versions of libraries.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import tempfile
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from click.testing import CliRunner
from matplotlib.figure import Figure
from PIL import Image

from leukobench.cli import main
from leukobench.core.plotting import BLUE, ORANGE

PAGE = Path(__file__).resolve().with_name("tutorial.md")
IMAGES = PAGE.with_name("images")
OUTPUT = "text"
BLOCK = re.compile(r"```(?P<language>python|sh)\n(?P<code>.*?)```\n(?:\n```text\n.*?```\n)?", re.DOTALL)
PICTURES = {  # by name: the file of the tutorial that it is a copy of
    "tutorial_auroc.png": "report/auroc.png",
    "tutorial_subjects.png": "report/subjects.png",
    "tutorial_leakage.png": "leakage/leakage.png",
}
STRIP = "cells.png"


def executed(folder: Path) -> str:
    """Run every block of the tutorial in a folder, and return the page with their outputs."""
    names: dict[str, Any] = {}

    def run(block: re.Match[str]) -> str:
        code = block["code"]
        output = (
            _python(code, names)
            if block["language"] == "python"
            else "".join(map(_shell, code.replace("\\\n", "").splitlines()))
        )
        shown = "\n".join(line.rstrip() for line in output.splitlines())
        return f"```{block['language']}\n{code}```\n\n```{OUTPUT}\n{shown}\n```\n"

    with contextlib.chdir(folder):
        return BLOCK.sub(run, PAGE.read_text(encoding="utf-8"))


def _python(code: str, names: dict[str, Any]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, names)
    return printed.getvalue()


def _shell(line: str) -> str:
    program, *arguments = shlex.split(line)
    assert program == "leukobench"
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    if done.exit_code:
        raise RuntimeError(f"{line}: {done.output}")
    return done.stdout


def strip(folder: Path) -> Figure:
    """Draw the explained cells of the tutorial, and below each the contributions of the feature families."""
    explained = pd.read_csv(folder / "explained" / "explanations.csv")
    families = list(explained.columns[explained.columns.get_loc("reference_score") + 1 :])
    reach = 1.1 * explained[families].abs().to_numpy().max()
    figure, axes = plt.subplots(
        2, len(explained), figsize=(8, 3.4), height_ratios=(3, 2), sharey="row", layout="constrained"
    )
    for (above, below), (_, cell) in zip(axes.T, explained.iterrows(), strict=True):
        with Image.open(folder / cell["path"]) as image:
            above.imshow(image.crop((75, 75, 375, 375)).resize((150, 150)))
        label = Path(cell["path"]).parent.name
        above.set_title(f"{label}, score {cell['score']:.2f}", fontsize=9)
        above.set_axis_off()
        towards = [ORANGE if value > 0 else BLUE for value in cell[families]]
        below.barh(families, cell[families].astype(float), color=towards)
        below.axvline(0, color="black", linewidth=0.8)
        below.set_xlim(-reach, reach)
        below.tick_params(labelsize=8)
        below.spines[["top", "right"]].set_visible(False)
    axes[1, 0].invert_yaxis()
    figure.supxlabel("contribution to the probability of all (blast)", fontsize=9)
    return figure


def write_pictures(folder: Path) -> None:
    """Write the pictures of an executed tutorial into images/, in 256 colours."""
    figure = strip(folder)
    figure.savefig(folder / STRIP, dpi=110)
    plt.close(figure)
    for name, file in (PICTURES | {STRIP: STRIP}).items():
        with Image.open(folder / file) as image:
            small = image.convert("RGB")
            small.thumbnail((1000, 1000))
            small.quantize(256).save(IMAGES / name, optimize=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        PAGE.write_text(executed(Path(temporary)), encoding="utf-8", newline="\n")
        write_pictures(Path(temporary))
