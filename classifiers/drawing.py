"""The figure of one explanation: the cell, and what pushed it which way."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from leukobench.classifiers.explain import Explanation
from leukobench.classifiers.plots import COLORS
from leukobench.cohort.manifest import NEGATIVE, POSITIVE

MOST_FEATURES = 12
TOWARDS_NEGATIVE, TOWARDS_POSITIVE = COLORS[:2]


def explanation_figure(found: Explanation, picture: np.ndarray) -> Figure:
    """Draw a cell beside the features that pushed it most, with the sums of families.

    Args:
        found: The explanation.
        picture: The cell. [shape=(height, width, 3), uint8]
    """
    many = len(found.by_feature)
    bars = min(many, MOST_FEATURES + 1)
    figure = Figure(figsize=(12.5, 2.2 + 0.42 * max(bars, 8)), layout="constrained")
    figure.suptitle(
        f"{found.path.name}: what moved the probability of all from {found.reference_score:.3f}, the mean of "
        f"{found.references} reference cells, to {found.score:.3f}"
    )
    figure.supxlabel("contribution to the probability of all (standard error over reference cells)", fontsize="medium")
    left, right = figure.subfigures(1, 2, width_ratios=(3, 5))
    cell, families = left.subplots(2, 1, height_ratios=(3, 2))
    cell.imshow(picture)
    cell.set_axis_off()
    cell.set_title(f"called {found.predicted}: probability of all {found.score:.3f}", fontsize="medium")
    _bars(families, found.by_family, [_family_label(row) for _, row in found.by_family.iterrows()])
    families.set_title("families, all their features together", fontsize="medium")
    _bars(right.subplots(), *_most_pushing(found.by_feature))
    which = f"the {MOST_FEATURES} features of {many} that pushed most" if many > MOST_FEATURES else "features"
    right.suptitle(f"{which}: value, and place among the reference cells", fontsize="medium")
    colors = {POSITIVE: TOWARDS_POSITIVE, NEGATIVE: TOWARDS_NEGATIVE}
    handles = [Patch(color=color, label=f"towards {label}") for label, color in colors.items()]
    left.legend(handles=handles, loc="outside lower center", ncols=2, fontsize="small")
    return figure


def _most_pushing(by_feature: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the contributions to draw with their labels: the largest, and all others together as one."""
    shown, rest = by_feature[:MOST_FEATURES], by_feature[MOST_FEATURES:]
    labels = [_label(row) for _, row in shown.iterrows()]
    if rest.empty:
        return shown, labels
    together = pd.DataFrame({"contribution": [rest["contribution"].sum()], "standard_error": np.nan})
    return pd.concat([shown, together]), [*labels, f"all others together ({len(rest)})"]


def _bars(axes: Axes, table: pd.DataFrame, labels: list[str]) -> None:
    """Draw contributions as bars with their errors and numbers."""
    place, value = np.arange(len(table)), table["contribution"].to_numpy()
    error = np.nan_to_num(table["standard_error"].to_numpy())
    axes.barh(place, value, color=np.where(value > 0, TOWARDS_POSITIVE, TOWARDS_NEGATIVE), height=0.7)
    axes.errorbar(value, place, xerr=error, fmt="none", ecolor="black", elinewidth=1)
    far = value + np.sign(value) * error
    for at, end, number in zip(place, far, value, strict=True):
        side = "left" if end >= 0 else "right"
        axes.annotate(
            f"{number:+.3f}",
            (end, at),
            (4 if end >= 0 else -4, 0),
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize="small",
        )
    axes.axvline(0, color="#666666", linewidth=1)
    axes.set_yticks(place, labels, fontsize="small")
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.margins(x=0.3)
    axes.grid(axis="x", color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)


def _family_label(row: pd.Series) -> str:
    return f"{row['family']}\n{row['features']} feature{'s' * (row['features'] != 1)}"


def _label(row: pd.Series) -> str:
    unit = "" if row["unit"] == "1" else f" {row['unit']}"
    place = f"above {row['percentile_all']:.0f}% of blasts, {row['percentile_hem']:.0f}% of normal cells"
    return f"{row['feature']}\n{_number(row['value'])}{unit}, {place}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
