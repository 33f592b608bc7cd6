"""Figures of a run: permutation importance, and the surface that was searched."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leukobench.classifiers.importance import Importance

MOST_BARS = 25
MOST_LINES = 8
BLUE = "#0072B2"  # Okabe & Ito's palette, which the colour-blind can read
COLORS = (BLUE, "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#999999")
STYLES = ("-", "--", "-.", ":")


def importance_figure(importance: Importance) -> Figure:
    """Draw the drop in AUROC by family and by feature, with intervals; the features that matter most."""
    shown = importance.by_feature.head(MOST_BARS)
    bars = max(len(shown), len(importance.by_family))
    figure = Figure(figsize=(11, 1.6 + 0.24 * bars), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 3))
    _bars(left, importance.by_family, importance.by_family["family"].tolist(), bars)
    left.set_title("families, all their features together")
    _bars(right, shown, shown["feature"].tolist(), bars)
    more = len(importance.by_feature) - len(shown)
    right.set_title(
        f"the {len(shown)} that matter most of {len(importance.by_feature)} features"
        if more
        else "features, each alone"
    )
    facts = importance.facts
    part = "" if facts["cells"] == facts["test_cells"] else f" (of {facts['test_cells']:,}, taken evenly of the groups)"
    figure.suptitle(
        f"Permutation importance on {facts['cells']:,} test cells{part} of {facts['subject_groups']} subject groups, "
        f"AUROC {facts['auroc']:.3f}"
    )
    figure.supxlabel("drop in AUROC (95% interval over subject groups)", fontsize="medium")
    return figure


def search_figure(tried: pd.DataFrame) -> Figure | None:
    """Draw what was searched: C by gamma as a surface, anything else as lines over the first setting with numbers.

    Args:
        tried: The table of a search.

    Returns:
        The figure; None where fewer than two combinations were tried.
    """
    if len(tried) < 2:
        return None
    mean = next(column for column in tried if column.endswith("_mean"))
    scores = [column for column in tried if column.startswith(mean.removesuffix("_mean") + "_")]
    settings = tried.drop(columns=scores)
    varied = [column for column in settings if settings[column].nunique(dropna=False) > 1]
    numeric = [column for column in varied if pd.api.types.is_numeric_dtype(settings[column])]
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    axes = figure.add_subplot()
    if varied == numeric == ["C", "gamma"]:
        _surface(axes, tried, mean, figure)
    else:
        _lines(axes, tried, numeric[0] if numeric else varied[0], varied, mean, figure)
    folds = len(scores) - 2  # less mean and minimum
    axes.set_title(f"{len(tried)} combinations over {folds} folds of subject groups")
    return figure


def _bars(axes: Axes, table: pd.DataFrame, names: list[str], places: int) -> None:
    place = np.arange(len(table))
    axes.barh(place, table["drop"], color=BLUE, height=0.7)
    for at, low, high in zip(place, table["low"], table["high"], strict=True):
        axes.plot([low, high], [at, at], color="black", linewidth=1)
    axes.axvline(0, color="#666666", linewidth=1)
    axes.set_yticks(place, names)
    axes.set_ylim(places - 0.4, -0.6)
    axes.grid(axis="x", color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)


def _surface(axes: Axes, tried: pd.DataFrame, mean: str, figure: Figure) -> None:
    surface = tried.pivot(index="gamma", columns="C", values=mean)
    image = axes.imshow(surface.to_numpy(), origin="lower", cmap="cividis", aspect="auto")
    figure.colorbar(image, label=_title(mean))
    axes.set_xticks(range(len(surface.columns)), [f"{value}" for value in surface.columns])
    axes.set_yticks(range(len(surface.index)), [f"{value}" for value in surface.index])
    axes.set(xlabel="C", ylabel="gamma")
    best = np.unravel_index(np.argmax(surface.to_numpy()), surface.shape)
    middle = (surface.to_numpy().min() + surface.to_numpy().max()) / 2
    for (row, column), value in np.ndenumerate(surface.to_numpy()):
        axes.text(
            column,
            row,
            f"{value:.3f}",
            ha="center",
            va="center",
            color="black" if value > middle else "white",
            weight="bold" if (row, column) == best else "normal",
        )


def _lines(axes: Axes, tried: pd.DataFrame, x: str, varied: list[str], mean: str, figure: Figure) -> None:
    numeric = pd.api.types.is_numeric_dtype(tried[x])
    others = [column for column in varied if column != x]
    lines = [", ".join(f"{name} {row[name]}" for name in others if pd.notna(row[name])) for _, row in tried.iterrows()]
    tried = tried.assign(line=lines)
    best = tried.groupby("line")[mean].max().sort_values(ascending=False, kind="stable").index[:MOST_LINES]
    for number, line in enumerate(best):
        rows = tried[tried["line"] == line]
        axes.plot(
            rows[x] if numeric else rows[x].astype(str),  # gamma may be numbers and "scale"
            rows[mean],
            color=COLORS[number],
            linestyle=STYLES[number % len(STYLES)] if numeric else "",
            marker="o",
            markersize=4,
            label=line or None,
        )
    if numeric:
        axes.set_xscale("log")
        ticks = sorted(tried[x].dropna().unique())
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    axes.set(xlabel=x, ylabel=_title(mean))
    axes.grid(color="#e5e5e5", linewidth=0.8)
    if others:
        hidden = tried["line"].nunique() - len(best)
        title = f"the best {len(best)}; {hidden} more in search.csv" if hidden else None
        figure.legend(loc="outside lower center", ncols=1 + (len(best) > 4), fontsize="small", title=title)


def _title(mean: str) -> str:
    name = mean.removesuffix("_mean").replace("_", " ")
    return f"mean {'AUROC' if name == 'auroc' else name}, people left out"
