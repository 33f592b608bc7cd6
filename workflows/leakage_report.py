"""Report the optimistic bias of lenient split levels: sentences, table and figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leukobench.cohort.split_levels import REFERENCE, UNITS, SplitLevel
from leukobench.comparison.intervals import FEW_GROUPS, LEVEL, Estimate
from leukobench.comparison.tables import markdown_table
from leukobench.comparison.verdict import p_value
from leukobench.core.files import write_csv, write_json
from leukobench.core.plotting import BLUE, ORANGE, WIDTH, save_figure, style
from leukobench.core.text import counted
from leukobench.workflows.level_bias import METRICS, LevelBias

TICKS = {  # names in the figure
    SplitLevel.IMAGE: "single images",
    SplitLevel.SUBJECT_ID: "subject IDs",
    SplitLevel.IDENTICAL_IMAGES: "IDs joined by\nidentical images",
    SplitLevel.SUBJECT_GROUP: "IDs joined by all ties\n(reference)",
}


def statements(
    table: pd.DataFrame, found: Sequence[LevelBias], same: Mapping[SplitLevel, SplitLevel] | None = None
) -> list[str]:
    """Return the bias of each AUROC as a sentence, and sentences on the folds.

    Args:
        table: One row a model, seed and level.
        found: The biases.
        same: Levels that keep the same images together as a stricter one in this cohort, with that level.
    """
    sentences = [_sentence(each, table[table["model"] == each.model]) for each in found]
    first = table[table["model"] == table["model"].iloc[0]]
    sentences.append(
        f"Every cell is tested once at each level{_repeats(first)}. All models are trained on "
        f"{_range(first['train_images'])} images, with the same number of each class."
    )
    seen = [
        f"{_range(rows['seen_subjects'])} with {_range(rows['seen_images'])} training images per fold at the level "
        f"{level}"
        for level in SplitLevel
        if len(rows := first[first["level"] == level])
    ]
    subjects, blasts = int(first["test_subjects"].iloc[0]), int(first["test_subjects_all"].iloc[0])
    sentences.append(f"Of {counted(subjects, 'subject')}, in training while tested: {'; '.join(seen)}.")
    if min(blasts, subjects - blasts) < FEW_GROUPS:
        sentences.append(
            f"There are few subjects ({blasts} with blasts and {subjects - blasts} with normal cells): the "
            "intervals may be too narrow."
        )
    levels = sum(each.model == found[0].model and each.metric == found[0].metric for each in found)
    if levels > 1:
        sentences.append(f"The p-values are corrected over {levels} levels by Holm's method.")
    sentences += [
        f"In this cohort, the level {level} keeps the same images together as {stricter}: both have the same results."
        for level, stricter in (same or {}).items()
    ]
    return sentences


def _sentence(each: LevelBias, table: pd.DataFrame) -> str:
    leaky = " (LEAKY: subjects shared between parts)" * _leaky(table, each.level)
    bias = each.bias
    verdict = f"no significant difference, {bias.value:+.3f}"
    if each.p < 0.05:
        verdict = f"optimistic bias {bias.value:.3f}" if bias.value > 0 else f"significantly lower by {-bias.value:.3f}"
    return (
        f"{each.model}, {METRICS[each.metric]}: {each.value.value:.3f} at the level {each.level}{leaky} against "
        f"{each.reference.value:.3f} at the level {REFERENCE} (unseen subjects), on the same "
        f"{counted(int(table['test_images'].iloc[0]), 'cell')}: {verdict} ({LEVEL:.0%} interval {bias.low:.3f} to "
        f"{bias.high:.3f}; p {p_value(each.p)})."
    )


def _repeats(table: pd.DataFrame) -> str:
    repeats = table["seed"].nunique()
    return f", in each of {repeats} repeats, over which the AUROCs are averaged" * (repeats > 1)


def _range(values: pd.Series) -> str:
    return f"{values.min():,}" if values.min() == values.max() else f"{values.min():,} to {values.max():,}"


def _leaky(table: pd.DataFrame, level: SplitLevel) -> bool:
    return bool(table["leaky"][table["level"] == level].any())


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
            "level": each.level + " (LEAKY)" * _leaky(table[table["model"] == each.model], each.level),
            "kept together": UNITS[each.level],
            f"value ({LEVEL:.0%} interval)": str(each.value),
            f"at {REFERENCE}": str(each.reference),
            f"optimistic bias ({LEVEL:.0%} interval)": f"{each.bias.value:+.3f} ({each.bias.low:+.3f} to "
            f"{each.bias.high:+.3f})",
            "p": p_value(each.p).removeprefix("= "),
        }
        for each in found
    )
    text = "\n\n".join([*sentences, markdown_table(shown)])
    (folder / "leakage.md").write_text(text + "\n", encoding="utf-8")
    save_figure(_figure(found), folder / "leakage")


def _figure(found: Sequence[LevelBias]) -> Figure:
    """Draw the AUROC of cells of each level, and below it the difference to the reference; one column a model."""
    models = list(dict.fromkeys(each.model for each in found))
    with style():
        figure = Figure(figsize=(WIDTH * (1 + len(models)) / 2, 5.4), layout="constrained")
        panels = figure.subplots(2, len(models), sharex="row", sharey="row", squeeze=False)
        for number, model in enumerate(models):
            biases = [each for each in found if each.model == model and each.metric == "auroc"]
            _plot_values(panels[0, number], biases)
            _plot_biases(panels[1, number], biases)
            if len(models) > 1:
                panels[0, number].set_title(model, fontsize=11)
        figure.supylabel("kept together, from lenient to strict", fontsize=11)
        return figure


def _plot_values(axes: Axes, biases: Sequence[LevelBias]) -> None:
    reference = biases[0].reference
    axes.axvline(reference.value, color=BLUE, linestyle="--", linewidth=1.2)
    _plot_estimates(axes, [*(each.value for each in biases), reference], "{:.3f}")
    _name_levels(axes, [*(each.level for each in biases), REFERENCE])
    axes.set_xlabel(f"AUROC of cells, {LEVEL:.0%} interval")


def _plot_biases(axes: Axes, biases: Sequence[LevelBias]) -> None:
    axes.axvline(0, color=BLUE, linestyle="--", linewidth=1.2)
    _plot_estimates(axes, [each.bias for each in biases], "{:+.3f}", [f", p {p_value(each.p)}" for each in biases])
    _name_levels(axes, [each.level for each in biases])
    axes.set_xlabel(f"difference to the reference, {LEVEL:.0%} interval")


def _plot_estimates(axes: Axes, estimates: Sequence[Estimate], shown: str, after: Sequence[str] | None = None) -> None:
    """Plot values with their intervals, one a row, from the top."""
    for row, each in enumerate(estimates):
        axes.hlines(row, each.low, each.high, color=ORANGE, linewidth=3)
        axes.plot(each.value, row, color=ORANGE, marker="s", markersize=8)
        text = axes.annotate(
            shown.format(each.value) + (after[row] if after else ""),
            (each.value, row),
            (0, 9),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5})


def _name_levels(axes: Axes, levels: Sequence[SplitLevel]) -> None:
    axes.set_ylim(len(levels) - 0.5, -0.7)
    axes.set_yticks(range(len(levels)), [TICKS[level] for level in levels])
