"""Figures of a comparison, narrow enough for a phone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leukobench.cohort.manifest import NEGATIVE, POSITIVE
from leukobench.comparison.calibration import recalibration_curve
from leukobench.comparison.curves import (
    GRID,
    Curve,
    draw_group_counts,
    net_benefit,
    precision_recall,
    reliability,
    roc,
)
from leukobench.comparison.importance import importance_tables
from leukobench.comparison.intervals import SubjectGroups
from leukobench.comparison.referral import CERTAINTY, NOVELTY
from leukobench.comparison.results import ComparedRuns
from leukobench.comparison.weighted_metrics import Scored
from leukobench.core.plotting import (
    BLUE,
    COLORS,
    GREY,
    ORANGE,
    WIDTH,
    plot_bars,
    plot_training_curve,
    series_color,
    series_line_style,
    style,
)
from leukobench.results.metrics import THRESHOLD

CLASS_COLORS = {POSITIVE: ORANGE, NEGATIVE: BLUE}
AUROCS = {"auroc": "cells weighted equally", "subject_weighted_auroc": "subjects weighted equally"}
DECISION_THRESHOLDS = np.linspace(0.01, 0.99, 99)
MOST_BANDS = 4  # with more runs the bands would hide each other
TRAINING_PANELS = {"loss": "training loss", "val_loss": "validation loss", "val_auroc": "validation AUROC"}


@style()
def draw_figures(comparison: ComparedRuns, referral: pd.DataFrame, settling: pd.DataFrame) -> dict[str, Figure]:
    """Draw every figure of a comparison, by the name of its file.

    Args:
        comparison: The comparison.
        referral: Its table of `leukobench.comparison.referral`.
        settling: Its table of `leukobench.comparison.settling`.
    """
    scored = {name: comparison.scored(name) for name in comparison.runs}
    positive = comparison.classes.in_words(POSITIVE)
    counts = draw_group_counts(comparison.groups) if len(scored) <= MOST_BANDS else None
    figures = {
        "auroc": auroc_figure(comparison),
        "roc": roc_figure(comparison, {name: roc(each, counts) for name, each in scored.items()}),
        "precision_recall": precision_recall_figure(
            comparison, {name: precision_recall(each, counts) for name, each in scored.items()}
        ),
        "calibration": calibration_figure(scored, comparison.groups, positive),
        "decision": decision_figure(scored, positive),
        "scores": scores_figure(comparison),
        "subjects": subjects_figure(comparison),
        "referral": referral_figure(comparison, referral),
        "settling": settling_figure(comparison, settling),
    }
    histories = {name: run.history for name, run in comparison.runs.items() if run.history is not None}
    if histories:
        figures["training"] = training_curves_figure(histories)
    return figures | {name: importance_bars_figure(table) for name, table in importance_tables(comparison).items()}


def auroc_figure(comparison: ComparedRuns) -> Figure:
    """Draw both AUROCs of every run with their intervals, the best run on top."""
    names = comparison.ranked[::-1]
    figure = Figure(figsize=(WIDTH, 1.5 + 0.5 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    for (metric, shown), marker, color, shift in zip(AUROCS.items(), "os", COLORS, (0.12, -0.12), strict=False):
        found = [comparison.assessment(name).metrics[metric] for name in names]
        value = np.array([each.value for each in found])
        ends = np.nan_to_num(np.abs([value - [each.low for each in found], [each.high for each in found] - value]))
        axes.errorbar(value, np.arange(len(names)) + shift, xerr=ends, fmt=marker, color=color, capsize=3, label=shown)
    axes.axvline(0.5, color=GREY, linewidth=1)
    axes.set_yticks(range(len(names)), [_shown(comparison, name) for name in names])
    axes.set(xlabel="AUROC, 95% interval", ylim=(-0.6, len(names) - 0.4))
    figure.legend(loc="outside upper right")
    return figure


def roc_figure(comparison: ComparedRuns, curves: Mapping[str, Curve]) -> Figure:
    """Draw the ROC curve of every run on the shared test cells."""
    figure, axes = _square("1 - specificity", "sensitivity")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    _draw_curves(axes, comparison, curves, "default")
    return _legend_below(figure, axes)


def precision_recall_figure(comparison: ComparedRuns, curves: Mapping[str, Curve]) -> Figure:
    """Draw the precision-recall curve of every run; the grey line is the precision of random scores."""
    figure, axes = _square("sensitivity (recall)", "precision")
    axes.axhline((comparison.rows["label"] == POSITIVE).mean(), color=GREY, linewidth=1)
    _draw_curves(axes, comparison, curves, "steps-pre")
    return _legend_below(figure, axes)


def calibration_figure(scored: Mapping[str, Scored], groups: SubjectGroups, positive: str) -> Figure:
    """Draw the share of blasts over the probability: the fitted recalibration with its band, and bins as points."""
    figure, axes = _square(f"predicted probability of {positive}", f"observed share of {positive}")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    for number, (name, rows) in enumerate(scored.items()):
        found, color = reliability(rows), series_color(number)
        axes.scatter(found.predicted, found.observed, s=12 + 90 * found.rows / found.rows.max(), color=color, alpha=0.7)
        score = np.linspace(max(rows.score.min(), 0.005), min(rows.score.max(), 0.995), 60)
        fitted = recalibration_curve(rows, groups, score)
        if fitted is None:  # separated classes: there is no fit; the points alone are drawn
            axes.plot([], [], color=color, linestyle=series_line_style(number), label=name)
            continue
        curve, low, high = fitted
        if len(scored) <= MOST_BANDS and not np.isnan(low).any():
            axes.fill_between(score, low, high, color=color, alpha=0.13, linewidth=0)
        axes.plot(score, curve, color=color, linestyle=series_line_style(number), linewidth=1.8, label=name)
    return _legend_below(figure, axes)


def decision_figure(scored: Mapping[str, Scored], positive: str) -> Figure:
    """Draw the decision curve of every run: net benefit over the threshold; grey: all cells predicted to be blasts."""
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    axes = figure.add_subplot(xlabel="threshold", ylabel="net benefit", xlim=(0, 1))
    share = next(iter(scored.values())).positive.mean()
    at = DECISION_THRESHOLDS
    axes.plot(
        at, share - (1 - share) * at / (1 - at), color=GREY, linewidth=1, label=f"every cell predicted {positive}"
    )
    axes.axhline(0, color="black", linewidth=1, linestyle=":", label=f"no cell predicted {positive}")
    for number, (name, rows) in enumerate(scored.items()):
        color, line_style = series_color(number), series_line_style(number)
        axes.plot(at, net_benefit(rows, at), color=color, linestyle=line_style, linewidth=1.8, label=name)
    axes.set_ylim(-0.05, share * 1.08)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def scores_figure(comparison: ComparedRuns) -> Figure:
    """Draw how the scores of each class are distributed, one panel a run."""
    classes = comparison.classes
    figure, panels = _panels(comparison, 1.35, f"probability of {classes.in_words(POSITIVE)}")
    for name, axes in panels.items():
        for label, color in CLASS_COLORS.items():
            scores = comparison.rows[name][comparison.rows["label"] == label]
            hatch = "//" if label == NEGATIVE else None
            filled: dict[str, Any] = {"alpha": 0.45, "color": color, "edgecolor": color, "hatch": hatch}
            weights = np.full(len(scores), 100 / len(scores))
            bins = np.linspace(0, 1, 26).tolist()
            shown = f"{classes[label]} ({len(scores):,})"
            axes.hist(scores, bins=bins, weights=weights, label=shown, histtype="stepfilled", **filled)
        axes.set_ylabel("% of class")
        axes.axvline(THRESHOLD, color="black", linewidth=1, linestyle=":")
    return _legend_above(figure, next(iter(panels.values())))


def subjects_figure(comparison: ComparedRuns) -> Figure:
    """Draw one dot a subject at the mean score of its cells, one panel a run."""
    classes = comparison.classes
    positive = classes.in_words(POSITIVE)
    figure, panels = _panels(comparison, 1.2, f"mean probability of {positive}, over a subject's cells")
    for name, axes in panels.items():
        for row, (label, color) in enumerate(CLASS_COLORS.items()):
            scores = comparison.subjects[name][comparison.subjects["label"] == label].sort_values()
            # three fixed heights in turn, so that no dot hides its neighbour and equal data give equal figures
            height = row + 0.2 * (np.arange(len(scores)) % 3 - 1)
            axes.scatter(scores, height, color=color, alpha=0.75, s=34, marker="os"[row], linewidths=0, label=label)
        axes.set_yticks([0, 1], [classes.positive, classes.negative])
        axes.set_ylim(1.5, -0.5)
        axes.axvline(THRESHOLD, color="black", linewidth=1, linestyle=":")
    return figure


def referral_figure(comparison: ComparedRuns, table: pd.DataFrame) -> Figure:
    """Draw the error of the answered cells over the referred share: referred by certainty, and (thin) by novelty."""
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    axes = figure.add_subplot(xlabel="cells referred, %", ylabel="error of the others, %", xlim=(0, 50))
    for (name, order), rows in table.groupby(["run", "order"], sort=False):
        number = list(comparison.runs).index(name)
        look: dict[str, Any] = {"color": series_color(number), "linestyle": series_line_style(number)}
        look |= {CERTAINTY: {"linewidth": 1.8}, NOVELTY: {"linewidth": 0.9, "alpha": 0.7}}[order]
        shown = _shown(comparison, name) if order == CERTAINTY else f"{name}, by novelty"
        axes.plot(100 * rows["referred"], 100 * rows["subject_weighted_error"], **look, label=shown)
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def settling_figure(comparison: ComparedRuns, table: pd.DataFrame) -> Figure:
    """Draw the AUROC of the subject groups over the number of cells that each score is the mean of."""
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    axes = figure.add_subplot(xlabel="cells of each subject group, at most", ylabel="AUROC of subject groups")
    for number, name in enumerate(comparison.runs):
        rows = table[table["run"] == name]
        look: dict[str, Any] = {"color": series_color(number), "linestyle": series_line_style(number)}
        at = rows["cells"], rows["subject_auroc"]
        axes.plot(*at, **look, marker="o", markersize=4, linewidth=1.8, label=_shown(comparison, name))
    axes.set_xscale("log")
    sizes = sorted(table["cells"].unique())
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@style()
def training_curves_figure(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw loss and validation AUROC over the epochs, one line a run or fold."""
    shown = [column for column in TRAINING_PANELS if any(column in history for history in histories.values())]
    figure = Figure(figsize=(WIDTH, 2.0 * len(shown) + 0.6), layout="constrained")
    grid = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for axes, column in zip(grid, shown, strict=True):
        for number, (name, history) in enumerate(histories.items()):
            if column in history:
                line = {"color": series_color(number), "line_style": series_line_style(number)}
                plot_training_curve(axes, history, column, **line, label=name)
        axes.set_ylabel(TRAINING_PANELS[column])
    grid[-1].set_xlabel("epoch")
    return _legend_above(figure, grid[0])


@style()
def importance_bars_figure(table: pd.DataFrame, most: int = 15) -> Figure:
    """Draw the most important features, or families of features, with their intervals where there are any.

    Args:
        table: First column the name, then `importance` and, where known, `low` and `high`.
        most: How many to show.
    """
    table = table.sort_values("importance", ascending=False, kind="stable").head(most)
    figure = Figure(figsize=(WIDTH, 0.9 + 0.3 * len(table)), layout="constrained")
    axes = figure.add_subplot(xlabel="permutation importance: drop in AUROC")
    intervals = table[["low", "high"]].to_numpy(float) if {"low", "high"} <= set(table.columns) else None
    plot_bars(axes, table.iloc[:, 0].astype(str).tolist(), table["importance"].to_numpy(float), intervals)
    return figure


def _shown(comparison: ComparedRuns, name: str) -> str:
    return f"{name} (LEAKY)" if comparison.runs[name].info.leaky else name


def _square(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, WIDTH), layout="constrained")
    axes = figure.add_subplot(xlabel=x, ylabel=y, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    return figure, axes


def _draw_curves(axes: Axes, comparison: ComparedRuns, curves: Mapping[str, Curve], steps: str) -> None:
    for number, (name, curve) in enumerate(curves.items()):
        color, line_style = series_color(number), series_line_style(number)
        if len(curves) <= MOST_BANDS:
            axes.fill_between(GRID, curve.low, curve.high, color=color, alpha=0.13, linewidth=0)
        shown = _shown(comparison, name)
        axes.plot(curve.x, curve.y, color=color, linestyle=line_style, linewidth=1.8, drawstyle=steps, label=shown)


def _legend_below(figure: Figure, axes: Axes) -> Figure:
    runs = len(axes.get_legend_handles_labels()[1])
    figure.legend(loc="outside lower center", ncols=2)
    figure.set_figheight(WIDTH + 0.22 * ((runs + 1) // 2))
    return figure


def _legend_above(figure: Figure, axes: Axes) -> Figure:
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper right", ncols=2)
    return figure


def _panels(comparison: ComparedRuns, height: float, x: str) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with one panel a run, one below the other, on a common axis from 0 to 1."""
    runs = list(comparison.runs)
    figure = Figure(figsize=(WIDTH, height * len(runs) + 0.9), layout="constrained")
    grid = figure.subplots(len(runs), 1, sharex=True, squeeze=False)[:, 0]
    for name, axes in zip(runs, grid, strict=True):
        axes.set_title(_shown(comparison, name), fontsize=11, loc="left")
        axes.set_xlim(-0.02, 1.02)
    grid[-1].set_xlabel(x)
    return figure, dict(zip(runs, grid, strict=True))
