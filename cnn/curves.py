"""Figures of a training: loss and figures of merit over the epochs."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

# of Okabe & Ito's palette, for those who do not see all colours; the line style tells the same in grey
_CURVES = (
    ("loss", "training", "#0072B2", "-"),
    ("val_loss", "validation", "#D55E00", "--"),
    ("accuracy", "training", "#0072B2", "-"),
    ("val_accuracy", "validation", "#D55E00", "--"),
    ("val_auroc", "validation", "#D55E00", "--"),
)
_PANELS = (("loss", "loss"), ("accuracy", "accuracy"), ("auroc", "AUROC"))


def training_figure(history: pd.DataFrame, title: str) -> Figure:
    """Draw a history, one panel a figure of merit; the folds of a cross-validation over one another.

    Args:
        history: One row an epoch, as in a run folder's `history.csv`.
        title: Above the panels.
    """
    panels = [panel for panel in _PANELS if any(column.endswith(panel[0]) for column in history.columns)]
    figure = Figure(figsize=(4.2 * len(panels), 3.6), layout="constrained")
    folds = [rows for _, rows in history.groupby("fold")] if "fold" in history else [history]
    for axes, (ending, name) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for column, part, color, style in _CURVES:
            if not column.endswith(ending) or column not in history:
                continue
            for number, rows in enumerate(folds):
                label = part if number == 0 else None
                # one epoch is a point, which a line alone would not show
                axes.plot(rows["epoch"], rows[column], style, color=color, label=label, marker=".", linewidth=1.5)
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(color="#e5e5e5", linewidth=0.8)
        axes.legend()
    figure.suptitle(title)
    return figure
