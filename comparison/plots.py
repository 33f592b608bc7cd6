"""Figures of a comparison, in a palette that the colour-blind can read."""

from __future__ import annotations

from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from comparison.results import Comparison
from study.manifest import POSITIVE

# Okabe & Ito's palette without its yellow, which is too pale on white; line styles tell runs apart in grey
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
STYLES = ("-", "--", "-.", ":")


def roc_figure(comparison: Comparison) -> Figure:
    """Draw the ROC curve of every run on the shared test rows."""
    figure = Figure(figsize=(5.6, 5.6), layout="constrained")
    axes = figure.add_subplot()
    truth = comparison.rows["label"] == POSITIVE
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, label="chance")
    for number, (_, row) in enumerate(comparison.table.iterrows()):
        false_positive, true_positive, _ = roc_curve(truth, comparison.rows[row["run"]])
        axes.plot(
            false_positive,
            true_positive,
            color=COLORS[number % len(COLORS)],
            linestyle=STYLES[number % len(STYLES)],
            linewidth=2,
            label=f"{row['run']}: {row['AUROC']:.3f} ({row['AUROC low']:.3f}-{row['AUROC high']:.3f})",
        )
    split = "LEAKY split by image" if comparison.leaky else "subjects not seen in training"
    axes.set(
        xlabel="1 - specificity",
        ylabel="sensitivity",
        xlim=(-0.01, 1.01),
        ylim=(-0.01, 1.01),
        aspect="equal",
        title=f"{len(comparison.rows)} cells of {split}",
    )
    axes.grid(color="#e5e5e5", linewidth=0.8)
    axes.legend(loc="lower right", title="AUROC (95% interval)", frameon=True)
    return figure
