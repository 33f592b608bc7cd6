"""What a measurement of leakage says: inflations with their intervals, sentences, table and figure.

Splits of one cohort share most of their training images, so that the seeds are no independent observations: the
interval is that of the corrected resampled t-test. It says what another draw of people from this cohort would give; it
cannot say what another cohort would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from leukobench.comparison.bootstrap import LEVEL
from leukobench.comparison.paired_tests import corrected_resampled_interval
from leukobench.comparison.tables import markdown_table
from leukobench.core.files import write_csv, write_json
from leukobench.core.plotting import GREY, ORANGE, WIDTH, save_figure, style

SPLITS = ("image", "subject")
FIGURES = {  # columns of the table, and what they are called
    "auroc": "AUROC of cells",
    "accuracy": "accuracy of cells",
    "balanced_accuracy": "balanced accuracy of cells",
    "weighted_f1": "weighted F1 of cells",
    "subject_auroc": "AUROC of subjects",
}


@dataclass(frozen=True)
class Inflation:
    """By how much a split by image flatters a model in one figure: the means over the seeds, and their difference."""

    model: str
    figure: str
    by_image: float
    by_subject: float
    inflation: float
    low: float
    high: float


def inflations(table: pd.DataFrame) -> list[Inflation]:
    """Compare the two splits seed by seed, for every model and figure.

    Args:
        table: `model`, `seed`, `split`, `train_images`, `test_images`, and the columns of `FIGURES`.
    """
    found = []
    for model, rows in table.groupby("model", sort=False):
        ratio = rows["test_images"].mean() / rows["train_images"].mean()
        for figure in FIGURES:
            of_split = rows.pivot(index="seed", columns="split", values=figure)
            gap = (of_split["image"] - of_split["subject"]).to_numpy()
            low, high = corrected_resampled_interval(gap, ratio)
            by_image, by_subject = (float(of_split[split].mean()) for split in SPLITS)
            found.append(Inflation(str(model), figure, by_image, by_subject, float(gap.mean()), low, high))
    return found


def statements(table: pd.DataFrame, found: Sequence[Inflation]) -> list[str]:
    """Say in plain sentences what the split by image adds, and how fair the comparison is."""
    said = []
    seeds = table["seed"].nunique()
    for each in found:
        if "auroc" not in each.figure:
            continue
        interval = f"{LEVEL:.0%} interval {each.low:.3f} to {each.high:.3f} over {seeds} seeds"
        compared = f"{each.by_image:.3f} by image against {each.by_subject:.3f} on people never seen"
        verdict = (
            f"the split by image adds {each.inflation:.3f}"
            if each.low > 0
            else f"an inflation cannot be told from none ({each.inflation:+.3f})"
        )
        said.append(f"{each.model}, {FIGURES[each.figure]}: {compared}; {verdict} ({interval}).")
    by_image, by_subject = (table[table["split"] == split] for split in SPLITS)
    said.append(
        f"Both splits train on {_range(by_subject['train_images'])} images and test on "
        f"{_range(by_subject['test_images'])}, as many of each class. Tested and trained on at once were "
        f"{_range(by_image['seen_subjects'])} of {_range(by_image['test_subjects'])} people by image, and "
        f"{_range(by_subject['seen_subjects'])} of {_range(by_subject['test_subjects'])} by subject."
    )
    return said


def _range(values: pd.Series) -> str:
    return f"{values.min():,}" if values.min() == values.max() else f"{values.min():,} to {values.max():,}"


def write_leakage(
    folder: Path, asked: dict[str, Any], table: pd.DataFrame, found: Sequence[Inflation], said: Sequence[str]
) -> None:
    """Write `leakage.csv`, `.json`, `.md`, `.png` and `.svg` into a folder."""
    write_csv(table, folder / "leakage.csv")
    write_json(
        {"statements": list(said), "inflations": [asdict(each) for each in found], "run": asked},
        folder / "leakage.json",
    )
    header = ["model", "figure", "by image (LEAKY)", "by subject", "inflation", f"{LEVEL:.0%} interval"]
    lines = [
        [
            each.model,
            FIGURES[each.figure],
            *(f"{value:.3f}" for value in (each.by_image, each.by_subject)),
            f"{each.inflation:+.3f}",
            f"{each.low:.3f} to {each.high:.3f}",
        ]
        for each in found
    ]
    text = "\n\n".join([*said, markdown_table([header, *lines])])
    (folder / "leakage.md").write_text(text + "\n", encoding="utf-8")
    save_figure(_figure(table), folder / "leakage")


def _figure(table: pd.DataFrame) -> Figure:
    """Draw the AUROC of cells of each seed under both splits, joined by a line, one panel a model."""
    models = list(dict.fromkeys(table["model"]))
    with style():
        figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
        for axes, model in zip(figure.subplots(1, len(models), sharey=True, squeeze=False)[0], models, strict=True):
            of_split = table[table["model"] == model].pivot(index="seed", columns="split", values="auroc")
            pairs = of_split[["subject", "image"]].to_numpy()
            axes.plot([0, 1], pairs.T, color=GREY, linewidth=1, marker="o", markersize=4)
            axes.plot([0, 1], pairs.mean(axis=0), color=ORANGE, linewidth=2.5, marker="s", label="mean")
            axes.set_xticks([0, 1], ["by subject", "by image\n(LEAKY)"])
            axes.set_xlim(-0.3, 1.3)
            axes.set_title(model, fontsize=11)
        figure.axes[0].set_ylabel("AUROC of cells, one line a seed")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper right")
        return figure
