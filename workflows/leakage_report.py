"""Report the optimistic bias of an image-level split: table, intervals, sentences and figure.

The splits of one cohort share most of their training images, so the random seeds are not independent. The interval is
that of the corrected resampled t-test. It applies to other splits of this cohort, not to other cohorts.
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
METRICS = {  # columns of the table, and their names in text
    "auroc": "AUROC of cells",
    "accuracy": "accuracy of cells",
    "balanced_accuracy": "balanced accuracy of cells",
    "weighted_f1": "weighted F1 of cells",
    "subject_auroc": "AUROC of subjects",
}


@dataclass(frozen=True)
class SplitBias:
    """The optimistic bias of an image-level split for a model and a metric.

    Attributes:
        model: Name of the model.
        metric: Column of the table.
        image_level: Mean over the seeds with the image-level split.
        subject_level: Mean over the seeds with the subject-level split.
        bias: Mean difference, image-level minus subject-level.
        low: Lower end of the 95% interval of the bias.
        high: Upper end.
    """

    model: str
    metric: str
    image_level: float
    subject_level: float
    bias: float
    low: float
    high: float


def split_biases(table: pd.DataFrame) -> list[SplitBias]:
    """Compare the two splits seed by seed, for every model and metric.

    Args:
        table: `model`, `seed`, `split`, `train_images`, `test_images`, and the columns of `METRICS`.
    """
    found = []
    for model, rows in table.groupby("model", sort=False):
        ratio = rows["test_images"].mean() / rows["train_images"].mean()
        for metric in METRICS:
            of_split = rows.pivot(index="seed", columns="split", values=metric)
            gap = (of_split["image"] - of_split["subject"]).to_numpy()
            low, high = corrected_resampled_interval(gap, ratio)
            image_level, subject_level = (float(of_split[split].mean()) for split in SPLITS)
            found.append(SplitBias(str(model), metric, image_level, subject_level, float(gap.mean()), low, high))
    return found


def statements(table: pd.DataFrame, found: Sequence[SplitBias]) -> list[str]:
    """Return the bias of each AUROC as a sentence, and a sentence on the sizes of the two splits."""
    sentences = []
    seeds = table["seed"].nunique()
    for each in found:
        if "auroc" not in each.metric:
            continue
        interval = f"{LEVEL:.0%} interval {each.low:.3f} to {each.high:.3f} over {seeds} seeds"
        compared = (
            f"{each.image_level:.3f} with the image-level split (LEAKY: subjects shared between parts), "
            f"{each.subject_level:.3f} on unseen subjects"
        )
        verdict = (
            f"optimistic bias of the image-level split {each.bias:.3f}"
            if each.low > 0
            else f"no significant optimistic bias ({each.bias:+.3f})"
        )
        sentences.append(f"{each.model}, {METRICS[each.metric]}: {compared}; {verdict} ({interval}).")
    image_level, subject_level = (table[table["split"] == split] for split in SPLITS)
    seen, of = (f"{_range(image_level[name])}" for name in ("seen_subjects", "test_subjects"))
    subject_seen, of_subject = (f"{_range(subject_level[name])}" for name in ("seen_subjects", "test_subjects"))
    sentences.append(
        f"Both splits have {_range(subject_level['train_images'])} training images and "
        f"{_range(subject_level['test_images'])} test images, with the same number of each class. Test subjects that "
        f"were also in training: {seen} of {of} with the image-level split, {subject_seen} of {of_subject} with the "
        "subject-level split."
    )
    return sentences


def _range(values: pd.Series) -> str:
    return f"{values.min():,}" if values.min() == values.max() else f"{values.min():,} to {values.max():,}"


def write_leakage(
    folder: Path, arguments: dict[str, Any], table: pd.DataFrame, found: Sequence[SplitBias], sentences: Sequence[str]
) -> None:
    """Write `leakage.csv`, `.json`, `.md`, `.png` and `.svg` into a folder."""
    write_csv(table, folder / "leakage.csv")
    write_json(
        {"statements": list(sentences), "biases": [asdict(each) for each in found], "run": arguments},
        folder / "leakage.json",
    )
    shown = pd.DataFrame(
        {
            "model": each.model,
            "metric": METRICS[each.metric],
            "image-level split (LEAKY)": f"{each.image_level:.3f}",
            "subject-level split": f"{each.subject_level:.3f}",
            "optimistic bias": f"{each.bias:+.3f}",
            f"{LEVEL:.0%} interval": f"{each.low:.3f} to {each.high:.3f}",
        }
        for each in found
    )
    text = "\n\n".join([*sentences, markdown_table(shown)])
    (folder / "leakage.md").write_text(text + "\n", encoding="utf-8")
    save_figure(_figure(table), folder / "leakage")


def _figure(table: pd.DataFrame) -> Figure:
    """Draw the AUROC of cells with both splits, joined by a line for each seed, one panel a model."""
    models = list(dict.fromkeys(table["model"]))
    with style():
        figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
        for axes, model in zip(figure.subplots(1, len(models), sharey=True, squeeze=False)[0], models, strict=True):
            of_split = table[table["model"] == model].pivot(index="seed", columns="split", values="auroc")
            pairs = of_split[["subject", "image"]].to_numpy()
            axes.plot([0, 1], pairs.T, color=GREY, linewidth=1, marker="o", markersize=4)
            axes.plot([0, 1], pairs.mean(axis=0), color=ORANGE, linewidth=2.5, marker="s", label="mean")
            axes.set_xticks([0, 1], ["subject-level", "image-level\n(LEAKY)"])
            axes.set_xlim(-0.3, 1.3)
            axes.set_title(model, fontsize=11)
        figure.axes[0].set_ylabel("AUROC of cells, one line for each seed")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper right")
        return figure
