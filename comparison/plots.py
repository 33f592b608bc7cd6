"""Figures of a comparison, in a palette that the colour-blind can read; narrow enough for a phone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leukobench.cohort.manifest import NEGATIVE, POSITIVE
from leukobench.comparison.curves import GRID, Curve, calibration, precision_recall, roc
from leukobench.comparison.resampled_metrics import Scored
from leukobench.comparison.results import LEVELS, Comparison, scored_rows
from leukobench.core.plotting import save_figure
from leukobench.results.metrics import THRESHOLD

# Okabe & Ito's palette without its yellow, which is too pale on white; line styles tell runs apart in grey
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
STYLES = ("-", "--", "-.", ":")
CLASS_COLORS = {POSITIVE: "#D55E00", NEGATIVE: "#0072B2"}
WIDTH = 5.4  # inches: at 11 points the text stays legible where a phone shows it 360 px wide
MOST_BANDS = 4  # of more runs the bands would hide each other
GREY = "#8a8a8a"
STYLE = {
    "font.size": 11,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the style that it was drawn in: ticks are made only now."""
    with matplotlib.rc_context(STYLE):
        save_figure(figure, path)


def draw_all(comparison: Comparison) -> dict[str, Figure]:
    """Draw every figure that the predictions give, by the name of its file."""
    scored = {name: scored_rows(comparison.rows, name, comparison.draws) for name in comparison.runs}
    counts = comparison.draws.counts
    with matplotlib.rc_context(STYLE):
        return {
            "auroc": auroc_figure(comparison),
            "roc": roc_figure(comparison, {name: roc(each, counts) for name, each in scored.items()}),
            "precision_recall": precision_recall_figure(
                comparison, {name: precision_recall(each, counts) for name, each in scored.items()}
            ),
            "calibration": calibration_figure(scored, counts),
            "scores": scores_figure(comparison),
            "subjects": subjects_figure(comparison),
        }


def auroc_figure(comparison: Comparison) -> Figure:
    """Draw every run's AUROC with its interval, of cells and of subjects, the best run on top."""
    names = comparison.ranked[::-1]
    figure = Figure(figsize=(WIDTH, 1.3 + 0.5 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    for level, marker, color, shift in zip(LEVELS, "os", COLORS, (0.12, -0.12), strict=False):
        found = [comparison.assessment(name, level).figures["auroc"] for name in names]
        value = np.array([each.value for each in found])
        ends = np.abs([value - [each.low for each in found], [each.high for each in found] - value])
        axes.errorbar(
            value, np.arange(len(names)) + shift, xerr=ends, fmt=marker, color=color, capsize=3, label=f"of {level}"
        )
    axes.axvline(0.5, color=GREY, linewidth=1)
    axes.set_yticks(range(len(names)), [_shown(comparison, name) for name in names])
    axes.set(xlabel="AUROC, 95% interval", ylim=(-0.6, len(names) - 0.4))
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def roc_figure(comparison: Comparison, curves: Mapping[str, Curve]) -> Figure:
    """Draw the ROC curve of every run on the shared test cells."""
    figure, axes = _square("1 - specificity", "sensitivity")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    _draw_curves(axes, comparison, curves, "default")
    return _legend_below(figure, axes)


def precision_recall_figure(comparison: Comparison, curves: Mapping[str, Curve]) -> Figure:
    """Draw the precision-recall curve of every run; the grey line is what chance gives."""
    figure, axes = _square("sensitivity (recall)", "precision")
    axes.axhline((comparison.rows["label"] == POSITIVE).mean(), color=GREY, linewidth=1)
    _draw_curves(axes, comparison, curves, "steps-pre")
    return _legend_below(figure, axes)


def calibration_figure(scored: Mapping[str, Scored], counts: np.ndarray) -> Figure:
    """Draw the share of blasts against the mean probability, by bins of probability."""
    figure, axes = _square("mean probability of all", "share that is all")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    for number, (name, rows) in enumerate(scored.items()):
        found = calibration(rows, counts)
        if len(scored) <= MOST_BANDS:
            ends = np.abs([found.observed - found.low, found.high - found.observed])
            axes.errorbar(found.predicted, found.observed, yerr=ends, fmt="none", color=_color(number), alpha=0.4)
        size = 12 + 90 * found.rows / found.rows.max()
        axes.scatter(found.predicted, found.observed, s=size, color=_color(number))
        axes.plot(found.predicted, found.observed, color=_color(number), linestyle=_style(number), label=name)
    return _legend_below(figure, axes)


def scores_figure(comparison: Comparison) -> Figure:
    """Draw how the scores of each class are distributed, one panel a run."""
    panels = _panels(comparison, 1.35, "probability of all")
    for name, axes in panels.items():
        for label, color in CLASS_COLORS.items():
            scores = comparison.rows[name][comparison.rows["label"] == label]
            hatch = "//" if label == NEGATIVE else None
            shown = {"histtype": "stepfilled", "alpha": 0.45, "color": color, "edgecolor": color, "hatch": hatch}
            weights = np.full(len(scores), 100 / len(scores))
            axes.hist(scores, bins=np.linspace(0, 1, 26), weights=weights, label=f"{label} ({len(scores):,})", **shown)
        axes.set_ylabel("% of class")
        axes.axvline(THRESHOLD, color="black", linewidth=1, linestyle=":")
    return _legend_above(next(iter(panels.values())))


def subjects_figure(comparison: Comparison) -> Figure:
    """Draw one dot a subject at the mean score of its cells, one panel a run."""
    panels = _panels(comparison, 1.2, "mean probability of all, over a subject's cells")
    for name, axes in panels.items():
        for row, (label, color) in enumerate(CLASS_COLORS.items()):
            scores = comparison.subjects[name][comparison.subjects["label"] == label].sort_values()
            # neighbours are set apart by turns, so that no dot hides another: nothing here is random
            height = row + 0.2 * (np.arange(len(scores)) % 3 - 1)
            axes.scatter(scores, height, color=color, alpha=0.75, s=34, marker="os"[row], linewidths=0, label=label)
        axes.set_yticks([0, 1], [POSITIVE, NEGATIVE])
        axes.set_ylim(1.5, -0.5)
        axes.axvline(THRESHOLD, color="black", linewidth=1, linestyle=":")
    return next(iter(panels.values())).figure


def training_figure(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw loss and validation AUROC over the epochs, one line a run or fold."""
    with matplotlib.rc_context(STYLE):
        shown = [column for column in ("loss", "val_loss", "val_auroc") if any(column in h for h in histories.values())]
        figure = Figure(figsize=(WIDTH, 2.0 * len(shown) + 0.6), layout="constrained")
        grid = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
        names = {"loss": "training loss", "val_loss": "validation loss", "val_auroc": "validation AUROC"}
        for axes, column in zip(grid, shown, strict=True):
            for number, (name, history) in enumerate(histories.items()):
                if column not in history:
                    continue
                folds = history.groupby("fold") if "fold" in history else [("", history)]
                for place, (_, fold) in enumerate(folds):
                    axes.plot(
                        fold["epoch"],
                        fold[column],
                        color=_color(number),
                        linestyle=_style(number),
                        marker="." if len(fold) < 30 else None,
                        label=name if place == 0 else None,
                    )
            axes.set_ylabel(names[column])
        grid[-1].set_xlabel("epoch")
        grid[-1].xaxis.get_major_locator().set_params(integer=True)
        return _legend_above(grid[0])


def importance_figure(table: pd.DataFrame, most: int = 15) -> Figure:
    """Draw the most important features, or families of features, with their intervals where there are any.

    Args:
        table: First column the name, then `importance` and, where known, `low` and `high`.
        most: How many to show.
    """
    table = table.sort_values("importance", ascending=False).head(most)[::-1]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.9 + 0.3 * len(table)), layout="constrained")
        axes = figure.add_subplot()
        ends = None
        if {"low", "high"} <= set(table.columns):
            value = table["importance"]
            ends = np.clip([value - table["low"], table["high"] - value], 0, None)
        axes.errorbar(table["importance"], range(len(table)), xerr=ends, fmt="o", color=COLORS[0], capsize=3)
        axes.set_yticks(range(len(table)), table.iloc[:, 0].astype(str))
        axes.axvline(0, color=GREY, linewidth=1)
        axes.set_xlabel("importance: what is lost without it")
        return figure


def _color(number: int) -> str:
    return COLORS[number % len(COLORS)]


def _style(number: int) -> str:
    return STYLES[number % len(STYLES)]


def _shown(comparison: Comparison, name: str) -> str:
    return f"{name} (LEAKY)" if comparison.runs[name].info["leaky"] else name


def _square(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, WIDTH), layout="constrained")
    axes = figure.add_subplot(xlabel=x, ylabel=y, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    return figure, axes


def _draw_curves(axes: Axes, comparison: Comparison, curves: Mapping[str, Curve], steps: str) -> None:
    for number, (name, curve) in enumerate(curves.items()):
        color, style = _color(number), _style(number)
        if len(curves) <= MOST_BANDS:
            axes.fill_between(GRID, curve.low, curve.high, color=color, alpha=0.13, linewidth=0)
        shown = _shown(comparison, name)
        axes.plot(curve.x, curve.y, color=color, linestyle=style, linewidth=1.8, drawstyle=steps, label=shown)


def _legend_below(figure: Figure, axes: Axes) -> Figure:
    runs = len(axes.get_legend_handles_labels()[1])
    figure.legend(loc="outside lower center", ncols=2)
    figure.set_figheight(WIDTH + 0.22 * ((runs + 1) // 2))
    return figure


def _legend_above(axes: Axes) -> Figure:
    handles, names = axes.get_legend_handles_labels()
    axes.figure.legend(handles, names, loc="outside upper right", ncols=2)
    return axes.figure


def _panels(comparison: Comparison, height: float, x: str) -> dict[str, Axes]:
    """Return one panel a run, under each other on a common axis from 0 to 1."""
    runs = list(comparison.runs)
    figure = Figure(figsize=(WIDTH, height * len(runs) + 0.9), layout="constrained")
    grid = figure.subplots(len(runs), 1, sharex=True, squeeze=False)[:, 0]
    for name, axes in zip(runs, grid, strict=True):
        axes.set_title(_shown(comparison, name), fontsize=11, loc="left")
        axes.set_xlim(-0.02, 1.02)
    grid[-1].set_xlabel(x)
    return dict(zip(runs, grid, strict=True))
