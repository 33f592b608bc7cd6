"""The tables of a comparison, as data frames, as rows to show, and as Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from leukobench.cohort.manifest import POSITIVE
from leukobench.comparison.intervals import Estimate
from leukobench.comparison.results import (
    CHOSEN,
    FIXED,
    LEVELS,
    ComparedRuns,
    model_bytes,
    row_thresholds,
    training_seconds,
)
from leukobench.comparison.verdict import cautions
from leukobench.comparison.weighted_metrics import SCORE_METRICS, THRESHOLDED_METRICS
from leukobench.core.text import markdown_cell
from leukobench.results.metrics import predicted_class
from leukobench.results.subject_scores import mean_intervals

NOTHING = "-"
CONFUSION = ("true_positives", "false_negatives", "false_positives", "true_negatives")
PAIR_COLUMNS = [
    *("run", "other_run", "comparable", "auroc_difference", "low", "high", "p", "significant"),
    *("detectable", "equivalent", "margin"),
    *("subject_weighted_difference", "subject_weighted_low", "subject_weighted_high", "subject_weighted_p"),
    *("subject_weighted_detectable", "subject_weighted_equivalent"),
]
CELL_LEVEL_COLUMNS = ["run", "other_run", "delong_p", "only_run_correct", "only_other_correct", "mcnemar_p"]
HEADLINE = ("balanced_accuracy", "sensitivity", "specificity", "weighted_f1")  # of cells, at the threshold 0.5


def runs_table(comparison: ComparedRuns) -> pd.DataFrame:
    """Return the main metrics as numbers, one row a run; see `leukobench.comparison.runs.Comparison.table`."""
    rows = []
    for name, run in comparison.runs.items():
        cells, subjects = (comparison.assessment(name, level) for level in LEVELS)
        at_half = cells.thresholded[FIXED].metrics
        rows.append(
            {
                "run": name,
                "recipe": run.recipe,
                "split": "LEAKY" if run.info.leaky else run.info.split.split()[0],
                **_columns("auroc", "auroc_", cells.metrics["auroc"]),
                **_columns(
                    "subject_weighted_auroc", "subject_weighted_auroc_", cells.metrics["subject_weighted_auroc"]
                ),
                **_columns("subject_auroc", "subject_auroc_", subjects.metrics["auroc"]),
                **{metric: at_half[metric].value for metric in HEADLINE},
                "training_seconds": training_seconds(run),
            }
        )
    return pd.DataFrame(rows)


def pairs_table(comparison: ComparedRuns) -> pd.DataFrame:
    """Return the tests as numbers, one row a pair of runs; see `leukobench.comparison.runs.Comparison.tests`."""
    rows = [
        {
            "run": pair.better,
            "other_run": pair.other,
            "comparable": pair.comparable,
            **_columns("auroc_difference", "", pair.auroc.estimate),
            "p": pair.auroc.p,
            "significant": pair.significant and pair.comparable,
            "detectable": pair.auroc.could.difference,
            "equivalent": pair.auroc.could.equivalent,
            "margin": comparison.margin,
            **_columns("subject_weighted_difference", "subject_weighted_", pair.subject_weighted.estimate),
            "subject_weighted_p": pair.subject_weighted.p,
            "subject_weighted_detectable": pair.subject_weighted.could.difference,
            "subject_weighted_equivalent": pair.subject_weighted.could.equivalent,
        }
        for pair in comparison.differences
    ]
    return pd.DataFrame(rows, columns=PAIR_COLUMNS)


def cell_level_table(comparison: ComparedRuns) -> pd.DataFrame:
    """Return the tests that assume independent cells; see `leukobench.comparison.runs.Comparison.cell_level_tests`."""
    rows = [
        (pair.better, pair.other, pair.cell_level.delong_p, *pair.cell_level.only, pair.cell_level.mcnemar_p)
        for pair in comparison.differences
    ]
    return pd.DataFrame(rows, columns=CELL_LEVEL_COLUMNS)


def subjects_table(comparison: ComparedRuns) -> pd.DataFrame:
    """Return one row for each run and subject: its class, cells, mean score, and the share of cells predicted
    correctly.

    Of repeats the first is used. Of a blast subject the share is its sensitivity, of a normal subject its specificity.
    With names of the user's for the classes, the column `class_name` is there. `low` and `high` are the interval of the
    mean score over the subject's cells, see `results.subject_scores`.
    """
    rows, found = comparison.rows, []
    number = comparison.subjects.index.get_indexer(rows["subject"])
    for name in comparison.runs:
        table = comparison.subjects[["subject_group", "label"]].assign(
            cells=rows.groupby("subject").size(), mean_score=comparison.subjects[name]
        )
        table["low"], table["high"] = mean_intervals(rows[name].to_numpy(), number)
        for rule, thresholded in comparison.assessment(name).thresholded.items():
            correct = (rows[name] >= row_thresholds(thresholded.thresholds, rows)) == (rows["label"] == POSITIVE)
            at = "half" if rule == FIXED else "chosen"
            table[f"correct_at_{at}"] = correct.groupby(rows["subject"]).mean()
            of_subject = row_thresholds(thresholded.thresholds, comparison.subjects)
            table[f"predicted_at_{at}"] = predicted_class(comparison.subjects[name] - of_subject, 0)
        found.append(table.reset_index().assign(run=name))
    columns = [column for column in found[0].columns if column != "run"]
    return comparison.classes.add_beside(pd.concat(found)[["run", *columns]], "label")


def _columns(name: str, prefix: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{prefix}low": estimate.low, f"{prefix}high": estimate.high}


def long_table(comparison: ComparedRuns) -> pd.DataFrame:
    """Return one row for every run, level, threshold and metric: its value and its interval."""
    return pd.DataFrame(_long_rows(comparison))


def _long_rows(comparison: ComparedRuns) -> Iterator[dict[str, object]]:
    for each in comparison.assessments:
        of_run = {"run": each.run, "recipe": comparison.runs[each.run].recipe, "level": each.level}
        for metric, estimate in each.metrics.items():
            yield of_run | {"threshold": None, "threshold_from": "", "metric": metric, **vars(estimate)}
        for rule, thresholded in each.thresholded.items():
            at = of_run | {"threshold": thresholded.shown, "threshold_from": rule}
            for metric, estimate in thresholded.metrics.items():
                yield at | {"metric": metric, **vars(estimate)}
            for metric, count in zip(CONFUSION, thresholded.confusion, strict=True):
                yield at | {"metric": metric, "value": count}


MAIN = {  # of the main table of the report, with the threshold of each
    "auroc": None,
    "subject_weighted_auroc": None,
    "balanced_accuracy": FIXED,
    "sensitivity": FIXED,
    "specificity": FIXED,
    "brier": None,
}
ONE_PERSON = "one person, no interval"


def main_table(comparison: ComparedRuns, names: Iterable[str]) -> list[tuple[str, list[tuple[str, bool]]]]:
    """Return the main metrics of cells of the named runs as rows: a name, then text and whether it is best of all runs.

    Sensitivity and specificity are at the threshold 0.5, where the better value depends on the other: none is best.
    """
    names, rows = list(names), []
    for key, rule in MAIN.items():
        shown = (SCORE_METRICS | THRESHOLDED_METRICS)[key] + f" at {rule}" * (rule is not None)
        of_run = {}
        for name in comparison.runs:
            each = comparison.assessment(name)
            of_run[name] = (each.metrics if rule is None else each.thresholded[rule].metrics)[key]
        values = [round(each.value, 3) for each in of_run.values()]
        best = min(values) if key == "brier" else max(values)
        ranked = len(set(values)) > 1 and key not in ("sensitivity", "specificity")
        texts = {name: metric_text(comparison, key, of_run[name]) for name in names}
        cells = [(texts[name], ranked and round(of_run[name].value, 3) == best) for name in names]
        rows.append((shown, cells))
    return rows


def metric_text(comparison: ComparedRuns, metric: str, estimate: Estimate) -> str:
    """Return a metric with its interval, or why it has none."""
    positive, negative = (count == 1 for count in comparison.groups_of_class.values())
    concerned = {
        **dict.fromkeys(("sensitivity", "subject_sensitivity"), positive),
        **dict.fromkeys(("specificity", "subject_specificity"), negative),
    }.get(metric, positive or negative)
    without = np.isnan(estimate.low) or estimate.low == estimate.high
    if concerned and without and not np.isnan(estimate.value):
        return f"{estimate.value:.3f} ({ONE_PERSON})"
    return str(estimate)


def level_table(comparison: ComparedRuns, level: str, names: Iterable[str]) -> list[tuple[str, list[list[str]]]]:
    """Return the metrics of the named runs at a level as titled blocks of rows: a name, then one text a run."""
    found = [comparison.assessment(name, level) for name in names]
    rows = [
        [shown, *(metric_text(comparison, key, each.metrics[key]) for each in found)]
        for key, shown in SCORE_METRICS.items()
        if key in found[0].metrics
    ]
    blocks = [("independent of a threshold", rows)]
    for rule in (FIXED, CHOSEN):
        at = [each.thresholded.get(rule) for each in found]
        if not any(at):
            continue
        rows = [["threshold", *(each.shown if each else NOTHING for each in at)]] * (rule == CHOSEN)
        rows += [
            [shown, *(metric_text(comparison, key, each.metrics[key]) if each else NOTHING for each in at)]
            for key, shown in THRESHOLDED_METRICS.items()
            if key in found[0].thresholded[FIXED].metrics
        ]
        blocks.append((f"threshold {rule}", rows))
    return blocks


def cost_table(comparison: ComparedRuns, names: Iterable[str]) -> list[list[str]]:
    """Return the times and sizes of the named runs as rows: a name, then one text a run."""
    runs = [comparison.runs[name] for name in names]
    sizes = [model_bytes(run) for run in runs]
    parameters = [run.info.model_parameters for run in runs]
    return [
        ["training, s", *(_seconds(training_seconds(run)) for run in runs)],
        ["prediction, s", *(_seconds(run.info.seconds["predict"]) for run in runs)],
        ["parameters", *(NOTHING if number is None else f"{number:,}" for number in parameters)],
        ["model on disk, MB", *(NOTHING if size is None else f"{size / 1e6:,.2f}" for size in sizes)],
    ]


def _seconds(seconds: float) -> str:
    return NOTHING if np.isnan(seconds) else f"{seconds:,.1f}"


def headline(comparison: ComparedRuns) -> str:
    """Return the main metrics in Markdown, one row a run."""
    table = runs_table(comparison)
    shown = table[["run", "recipe", "split"]].copy()
    for column, metric in (("AUROC of cells", "auroc"), ("AUROC, subjects weighted equally", "subject_weighted_auroc")):
        shown[column] = [str(comparison.assessment(run).metrics[metric]) for run in table["run"]]
    for metric in HEADLINE:
        shown[THRESHOLDED_METRICS[metric]] = table[metric].map("{:.3f}".format)
    shown["training, s"] = table["training_seconds"].map(_seconds)
    return markdown_table(shown)


def markdown(comparison: ComparedRuns) -> str:
    """Return the whole table in Markdown, one table a block, and the cautions as notes."""
    header = ["metric", *comparison.runs]
    blocks = [(title, markdown_table(pd.DataFrame(rows, columns=header))) for title, rows in _blocks(comparison)]
    found = [f"**{title}**\n\n{table}" for title, table in blocks]
    if notes := cautions(comparison):
        found.append("Notes:\n\n" + "\n".join(f"- {note}" for note in notes))
    return "\n\n".join(found)


def markdown_table(table: pd.DataFrame) -> str:
    """Return a table of texts in Markdown, with every text as it is."""
    escaped = table.map(markdown_cell).rename(columns=markdown_cell)
    return escaped.to_markdown(index=False, disable_numparse=True)


def latex(comparison: ComparedRuns) -> str:
    r"""Return the whole table in LaTeX, with the cautions as notes; it takes `\usepackage{booktabs}`."""
    rows = [(title, *row) for title, rows in _blocks(comparison) for row in rows]
    index = pd.MultiIndex.from_tuples([row[:2] for row in rows])
    table = pd.DataFrame([row[2:] for row in rows], index=index, columns=list(comparison.runs))
    text = table.to_latex(escape=True, multirow=False, column_format="ll" + "c" * len(comparison.runs))
    return text + "".join(f"\\par\\footnotesize Note: {_latex_text(note)}\n" for note in cautions(comparison))


def _latex_text(text: str) -> str:
    """Return a text with the characters escaped that LaTeX reads as commands."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(letter, f"\\{letter}" if letter in "&%$#_{}" else letter) for letter in text)


def _blocks(comparison: ComparedRuns) -> list[tuple[str, list[list[str]]]]:
    blocks = [
        (f"{level}, {title}", rows)
        for level in LEVELS
        for title, rows in level_table(comparison, level, comparison.runs)
    ]
    return [*blocks, ("cost", cost_table(comparison, comparison.runs))]
