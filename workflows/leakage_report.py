"""Report the optimistic bias of lenient split levels: table, intervals, sentences and figure.

All levels of a seed are tested on the same images, so their differences are paired. The seeds are not independent,
because their partitions share most subjects. The interval is that of the corrected resampled t-test. Its correction is
the number of test subjects divided by that of training subjects, because the cells of one subject are not independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leukobench.cohort.split_levels import REFERENCE, UNITS, SplitLevel
from leukobench.comparison.intervals import LEVEL
from leukobench.comparison.paired_tests import corrected_resampled_interval
from leukobench.comparison.tables import markdown_table
from leukobench.core.files import write_csv, write_json
from leukobench.core.plotting import BLUE, GREY, ORANGE, WIDTH, save_figure, style

METRICS = {  # columns of the table, and their names in text
    "auroc": "AUROC of cells",
    "accuracy": "accuracy of cells",
    "balanced_accuracy": "balanced accuracy of cells",
    "weighted_f1": "weighted F1 of cells",
    "subject_auroc": "AUROC of subjects",
}
TICKS = {  # names in the figure
    SplitLevel.IMAGE: "single images",
    SplitLevel.SUBJECT_ID: "subject IDs",
    SplitLevel.IDENTICAL_IMAGES: "IDs joined by\nidentical images",
    SplitLevel.SUBJECT_GROUP: "IDs joined by all ties\n(reference)",
}

_ABOVE: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 9}


@dataclass(frozen=True)
class LevelBias:
    """The optimistic bias of a split level, for a model and a metric.

    Attributes:
        model: Name of the model.
        metric: Column of the table.
        level: The split level.
        leaky: Whether some of its partitions share subjects between training and test.
        value: Mean over the seeds at this level.
        reference: Mean over the seeds at the strictest level.
        bias: Mean difference, this level minus the reference.
        low: Lower end of the 95% interval of the bias.
        high: Upper end.
    """

    model: str
    metric: str
    level: SplitLevel
    leaky: bool
    value: float
    reference: float
    bias: float
    low: float
    high: float


def level_biases(table: pd.DataFrame) -> list[LevelBias]:
    """Compare each level with the reference seed by seed, for every model and metric.

    Args:
        table: `model`, `seed`, `level`, `leaky`, `train_subjects`, `test_subjects`, and the columns of `METRICS`.
    """
    found = []
    for model, rows in table.groupby("model", sort=False):
        reference = rows[rows["level"] == REFERENCE]
        ratio = reference["test_subjects"].mean() / reference["train_subjects"].mean()
        leaky = rows.groupby("level")["leaky"].any()
        for metric in METRICS:
            of_level = rows.pivot(index="seed", columns="level", values=metric)
            for level in _compared(rows):
                gap = (of_level[level] - of_level[REFERENCE]).to_numpy()
                low, high = corrected_resampled_interval(gap, ratio)
                means = float(of_level[level].mean()), float(of_level[REFERENCE].mean())
                bias = float(gap.mean())
                found.append(LevelBias(str(model), metric, level, bool(leaky[level]), *means, bias, low, high))
    return found


def statements(
    table: pd.DataFrame, found: Sequence[LevelBias], same: Mapping[SplitLevel, SplitLevel] | None = None
) -> list[str]:
    """Return the bias of each AUROC as a sentence, and sentences on the partitions.

    Args:
        table: One row a model, seed and level.
        found: The biases.
        same: Levels that keep the same images together as a stricter one in this cohort, with that level.
    """
    seeds = table["seed"].nunique()
    sentences = [_sentence(each, seeds) for each in found if "auroc" in each.metric]
    first = table[table["model"] == table["model"].iloc[0]]
    sentences.append(
        f"All levels have the same test images, {_range(first['test_images'])} of {_range(first['test_subjects'])} "
        f"subjects, and {_range(first['train_images'])} training images, with the same number of each class."
    )
    seen = [
        f"{_range(rows['seen_subjects'])} with {_range(rows['seen_images'])} training images at the level {level}"
        for level in (*_compared(table), REFERENCE)
        if len(rows := first[first["level"] == level])
    ]
    sentences.append(f"Test subjects that were also in training: {'; '.join(seen)}.")
    sentences += [
        f"In this cohort, the level {level} keeps the same images together as {stricter}: both have the same results."
        for level, stricter in (same or {}).items()
    ]
    return sentences


def _sentence(each: LevelBias, seeds: int) -> str:
    leaky = " (LEAKY: subjects shared between parts)" * each.leaky
    compared = (
        f"{each.value:.3f} at the level {each.level}{leaky}, {each.reference:.3f} at the level {REFERENCE} "
        "(unseen subjects)"
    )
    verdict = f"no significant difference ({each.bias:+.3f})"
    if each.low > 0:
        verdict = f"optimistic bias of {each.bias:.3f}"
    elif each.high < 0:
        verdict = f"significantly lower by {-each.bias:.3f}"
    interval = f"{LEVEL:.0%} interval {each.low:.3f} to {each.high:.3f} over {seeds} seeds"
    return f"{each.model}, {METRICS[each.metric]}: {compared}; {verdict} ({interval})."


def _compared(table: pd.DataFrame) -> list[SplitLevel]:
    """Return the levels of a table without the reference, from the most lenient to the strictest."""
    return [level for level in SplitLevel if level != REFERENCE and (table["level"] == level).any()]


def _range(values: pd.Series) -> str:
    return f"{values.min():,}" if values.min() == values.max() else f"{values.min():,} to {values.max():,}"


def write_leakage(
    folder: Path, arguments: dict[str, Any], table: pd.DataFrame, found: Sequence[LevelBias], sentences: Sequence[str]
) -> None:
    """Write `leakage.csv`, `.json`, `.md`, `.png` and `.svg` into a folder."""
    write_csv(table, folder / "leakage.csv", replace=True)  # an interrupted call may have written it
    write_json(
        {"statements": list(sentences), "biases": [asdict(each) for each in found], "run": arguments},
        folder / "leakage.json",
        replace=True,
    )
    shown = pd.DataFrame(
        {
            "model": each.model,
            "metric": METRICS[each.metric],
            "level": each.level + " (LEAKY)" * each.leaky,
            "kept together": UNITS[each.level],
            "mean": f"{each.value:.3f}",
            f"mean at {REFERENCE}": f"{each.reference:.3f}",
            "optimistic bias": f"{each.bias:+.3f}",
            f"{LEVEL:.0%} interval": f"{each.low:+.3f} to {each.high:+.3f}",
        }
        for each in found
    )
    text = "\n\n".join([*sentences, markdown_table(shown)])
    (folder / "leakage.md").write_text(text + "\n", encoding="utf-8")
    save_figure(_figure(table, found), folder / "leakage")


def _figure(table: pd.DataFrame, found: Sequence[LevelBias]) -> Figure:
    """Draw the AUROC of cells at each level, the most lenient on top: seeds, mean and interval; one panel a model."""
    models = list(dict.fromkeys(table["model"]))
    with style():
        figure = Figure(figsize=(WIDTH * (1 + len(models)) / 2, 4.4), layout="constrained")
        panels = figure.subplots(1, len(models), sharex=True, sharey=True, squeeze=False)[0]
        for axes, model in zip(panels, models, strict=True):
            of_model = [each for each in found if each.model == model and each.metric == "auroc"]
            _plot_levels(axes, table[table["model"] == model], of_model)
            if len(models) > 1:
                axes.set_title(model, fontsize=11)
        figure.axes[0].set_ylabel("kept together, from lenient to strict")
        figure.supxlabel("AUROC of cells", fontsize=11)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", fontsize=9)
        return figure


def _plot_levels(axes: Axes, table: pd.DataFrame, biases: Sequence[LevelBias]) -> None:
    """Plot one model: a line for each seed, and the mean of each level with the interval of its difference.

    The interval is drawn around the mean of the level: it crosses the line of the reference where there is no
    significant difference.
    """
    levels = [*(each.level for each in biases), REFERENCE]
    of_level = table.pivot(index="seed", columns="level", values="auroc")[list(levels)]
    mean, place = of_level.mean(), range(len(levels))
    axes.plot(
        of_level.to_numpy().T,
        place,
        color=GREY,
        linewidth=0.7,
        marker="o",
        markersize=3,
        alpha=0.7,
        label=["one seed, the same test images at all levels", *[None] * (len(of_level) - 1)],
    )
    axes.axvline(
        mean[REFERENCE], color=BLUE, linestyle="--", linewidth=1.2, label="mean of the reference: unseen subjects"
    )
    low, high = [each.reference + each.low for each in biases], [each.reference + each.high for each in biases]
    axes.hlines(place[:-1], low, high, color=ORANGE, linewidth=3, label=f"{LEVEL:.0%} interval of the difference to it")
    axes.plot(mean, place, color=ORANGE, linestyle="", marker="s", markersize=8, label="mean")
    for number, level in enumerate(levels):
        difference = f" ({mean[level] - mean[REFERENCE]:+.3f})" * (level != REFERENCE)
        text = axes.annotate(f"{mean[level]:.3f}{difference}", (mean[level], number), (0, 9), **_ABOVE)
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5})
    axes.set_ylim(len(levels) - 0.5, -0.5)
    axes.set_yticks(place, [TICKS[level] for level in levels])
