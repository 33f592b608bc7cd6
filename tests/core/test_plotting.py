from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from leukobench.core.plotting import plot_bars, plot_training_curve, save_figure


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


def test_a_format_may_be_written_alone(tmp_path: Path) -> None:
    save_figure(drawn(), tmp_path / "a", formats=["png"])
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_bars_run_from_the_top_down_with_their_intervals_where_these_are_known() -> None:
    axes = Figure().add_subplot()
    plot_bars(axes, ["area", "radius"], np.array([0.2, 0.1]), np.array([[0.1, 0.4], [np.nan, np.nan]]))
    assert [bar.get_width() for bar in axes.patches] == [0.2, 0.1]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["area", "radius"]
    assert axes.yaxis_inverted()
    assert [segment.tolist() for segment in axes.collections[0].get_segments()] == [[[0.1, 0], [0.4, 0]]]


def test_the_folds_of_a_history_are_lines_of_one_name_over_whole_epochs() -> None:
    history = pd.DataFrame({"fold": [0, 0, 1, 1], "epoch": [1, 2, 1, 2], "loss": [0.7, 0.5, 0.6, 0.4]})
    axes = Figure().add_subplot()
    plot_training_curve(axes, history, "loss", color="black", line_style="--", label="a run")
    assert [line.get_ydata().tolist() for line in axes.lines] == [[0.7, 0.5], [0.6, 0.4]]
    assert axes.get_legend_handles_labels()[1] == ["a run"]
    assert all(tick == round(tick) for tick in axes.get_xticks())
