from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from leukobench.core.plotting import save_figure


def drawn() -> Figure:
    figure = Figure(figsize=(3, 2))
    axes = figure.add_subplot(xlabel="false positive rate")
    axes.plot([0, 1], [0, 1])
    axes.fill_between([0, 1], [0, 0.5], hatch="//")  # hatches and clips get names in an SVG
    axes.imshow(np.eye(3))
    return figure


def test_a_figure_is_a_png_of_160_dpi_and_an_svg_with_its_text_and_equal_figures_are_equal_files(
    tmp_path: Path,
) -> None:
    for name in ("a", "b"):
        save_figure(drawn(), tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.svg", "b.png", "b.svg"]
    for kind in ("png", "svg"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (480, 320)
    text = (tmp_path / "a.svg").read_text()
    assert ">false positive rate</text>" in text
    assert "<dc:date>" not in text
