"""Figures of a classifier: permutation importance, the hyperparameter search, and the explanation of one cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from leukobench.classifiers.explain import ClassifierExplanation
from leukobench.classifiers.importance import Importance
from leukobench.cohort.manifest import NEGATIVE, POSITIVE
from leukobench.core.plotting import (
    BLUE,
    ORANGE,
    plot_bars,
    series_color,
    series_line_style,
    style,
)
from leukobench.core.text import printable

MOST_BARS = 25
MOST_LINES = 8
MOST_FEATURES = 12  # of an explanation
CLASS_COLORS = {POSITIVE: ORANGE, NEGATIVE: BLUE}


@style()
def importance_figure(importance: Importance) -> Figure:
    """Plot the drop in AUROC by family and by feature, with intervals; of many features the most important ones."""
    shown = importance.by_feature.head(MOST_BARS)
    bars = max(len(shown), len(importance.by_family))
    figure = Figure(figsize=(11, 1.6 + 0.24 * bars), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 3))
    _importance_bars(left, importance.by_family, "family", bars)
    left.set_title("families, all features of each together")
    _importance_bars(right, shown, "feature", bars)
    more = len(importance.by_feature) - len(shown)
    right.set_title(
        f"the {len(shown)} most important of {len(importance.by_feature)} features" if more else "single features"
    )
    facts = importance.facts
    part = "" if facts["cells"] == facts["test_cells"] else f" (of {facts['test_cells']:,}, sampled by group)"
    figure.suptitle(
        f"Permutation importance on {facts['cells']:,} test cells{part} of {facts['subject_groups']} subject groups, "
        f"AUROC {facts['auroc']:.3f}"
    )
    figure.supxlabel("drop in AUROC (95% interval over subject groups)", fontsize="medium")
    return figure


@style()
def search_figure(tried: pd.DataFrame) -> Figure | None:
    """Plot a search: C by gamma as a surface, any other search as lines over the first numeric setting.

    Args:
        tried: The table of a search.

    Returns:
        The figure; None for fewer than two combinations.
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


@style()
def explanation_figure(found: ClassifierExplanation, picture: np.ndarray) -> Figure:
    """Plot a cell beside its largest contributions, by feature and by family.

    Args:
        found: The explanation.
        picture: The cell. [shape=(height, width, 3), uint8]
    """
    many, classes = len(found.by_feature), found.classes
    positive = classes.in_words(POSITIVE)
    bars = min(many, MOST_FEATURES + 1)
    figure = Figure(figsize=(12.5, 2.2 + 0.42 * max(bars, 8)), layout="constrained")
    figure.suptitle(
        f"{printable(found.path.name)}: contributions to the difference between its probability of {positive}, "
        f"{found.score:.3f}, and {found.reference_score:.3f}, the mean of {found.references} reference cells"
    )
    figure.supxlabel(
        f"contribution to the probability of {positive}, with its standard error over reference cells",
        fontsize="medium",
    )
    left, right = np.asarray(figure.subfigures(1, 2, width_ratios=(3, 5)), object)
    cell, families = left.subplots(2, 1, height_ratios=(3, 2))
    cell.imshow(picture)
    cell.set_axis_off()
    title = f"predicted {classes[found.predicted]}: probability of {classes.positive} {found.score:.3f}"
    cell.set_title(title, fontsize="medium")
    _contribution_bars(families, found.by_family, [_family_label(row) for _, row in found.by_family.iterrows()])
    families.set_title("families, all features of each together", fontsize="medium")
    _contribution_bars(right.subplots(), *_largest(found.by_feature))
    which = f"the {MOST_FEATURES} largest contributions of {many} features" if many > MOST_FEATURES else "features"
    right.suptitle(f"{which}: value, and percentile among the reference cells", fontsize="medium")
    handles = [Patch(color=color, label=f"towards {classes[label]}") for label, color in CLASS_COLORS.items()]
    left.legend(handles=handles, loc="outside lower center", ncols=2, fontsize="small")
    return figure


def _importance_bars(axes: Axes, table: pd.DataFrame, name: str, places: int) -> None:
    intervals = table[["low", "high"]].to_numpy(float)
    plot_bars(axes, table[name].tolist(), table["drop"].to_numpy(), intervals, places=places)


def _surface(axes: Axes, tried: pd.DataFrame, mean: str, figure: Figure) -> None:
    surface = tried.pivot(index="gamma", columns="C", values=mean)
    image = axes.imshow(surface.to_numpy(), origin="lower", cmap="cividis", aspect="auto")
    figure.colorbar(image, label=_title(mean))
    axes.set_xticks(range(len(surface.columns)), [f"{value}" for value in surface.columns])
    axes.set_yticks(range(len(surface.index)), [f"{value}" for value in surface.index])
    axes.set(xlabel="C", ylabel="gamma")
    axes.grid(visible=False)
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
            rows[x] if numeric else rows[x].astype(str),  # gamma may be a number or "scale"
            rows[mean],
            color=series_color(number),
            linestyle=series_line_style(number) if numeric else "",
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
    if others:
        hidden = tried["line"].nunique() - len(best)
        title = f"the best {len(best)}; {hidden} more in search.csv" if hidden else None
        figure.legend(loc="outside lower center", ncols=1 + (len(best) > 4), fontsize="small", title=title)


def _title(mean: str) -> str:
    name = mean.removesuffix("_mean").replace("_", " ")
    return f"mean {'AUROC' if name == 'auroc' else name}, held-out subjects"


def _largest(by_feature: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the contributions to plot with their labels: the largest ones, and the sum of all others."""
    shown, rest = by_feature[:MOST_FEATURES], by_feature[MOST_FEATURES:]
    labels = [_label(row) for _, row in shown.iterrows()]
    if rest.empty:
        return shown, labels
    together = pd.DataFrame({"contribution": [rest["contribution"].sum()], "standard_error": np.nan})
    return pd.concat([shown, together]), [*labels, f"all others together ({len(rest)})"]


def _contribution_bars(axes: Axes, table: pd.DataFrame, labels: list[str]) -> None:
    """Plot contributions as bars, with their standard errors and their values."""
    value = table["contribution"].to_numpy(float)
    error = table["standard_error"].to_numpy(float)
    colors = [CLASS_COLORS[POSITIVE if number > 0 else NEGATIVE] for number in value]
    plot_bars(axes, labels, value, np.column_stack([value - error, value + error]), colors=colors)
    axes.tick_params("y", labelsize="small")
    axes.margins(x=0.3)
    ends = value + np.sign(value) * np.nan_to_num(error)
    for place, (end, number) in enumerate(zip(ends, value, strict=True)):
        right = end >= 0
        shown: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": "small"}
        axes.annotate(f"{number:+.3f}", (end, place), (4 if right else -4, 0), ha="left" if right else "right", **shown)


def _family_label(row: pd.Series) -> str:
    return f"{row['family']}\n{row['features']} feature{'s' * (row['features'] != 1)}"


def _label(row: pd.Series) -> str:
    unit = "" if row["unit"] == "1" else f" {row['unit']}"
    place = f"above {row['percentile_all']:.0f}% of blasts, {row['percentile_hem']:.0f}% of normal cells"
    return f"{row['feature']}\n{_number(row['value'])}{unit}, {place}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
