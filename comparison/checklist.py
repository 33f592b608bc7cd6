"""What the report can answer of two reporting guidelines, and what it leaves to the authors.

CLAIM: Mongan, Moy & Kahn 2020, Radiology: Artificial Intelligence 2(2):e200029 (42 items).
TRIPOD+AI: Collins et al. 2024, BMJ 385:e078378 (27 items).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from leukobench.cohort.manifest import LABELS
from leukobench.cohort.partition import PARTS
from leukobench.comparison.bootstrap import FEW_GROUPS, RESAMPLES
from leukobench.comparison.results import CHOSEN, Comparison
from leukobench.core.text import counted
from leukobench.results.run import Run

LEFT_TO_AUTHORS = (
    "where, when and how the subjects were recruited, and who was eligible (CLAIM 5-8, TRIPOD+AI 5-6)",
    "how the reference label was made, and by whom (CLAIM 14-18, TRIPOD+AI 8)",
    "why the sample is as large as it is (CLAIM 19, TRIPOD+AI 10)",
    "age, sex and clinical state of the subjects, and fairness between groups of them (CLAIM 34, TRIPOD+AI 14, 20b)",
    "a test on data of another hospital (CLAIM 32)",
    "ethics, registration, protocol, funding and conflicts of interest (CLAIM 40-42, TRIPOD+AI 17-18)",
    "what the figures mean for patients (CLAIM 39, TRIPOD+AI 25, 27)",
)


@dataclass(frozen=True)
class Answer:
    """What is known of an item: its numbers in the two guidelines, its subject, and the answer."""

    claim: str
    tripod: str
    item: str
    answer: str


def answers(comparison: Comparison, shown: Sequence[str]) -> list[Answer]:
    """Answer the items that run folders can answer.

    Args:
        comparison: The comparison.
        shown: Names of the optional figures that the report holds (`wrong`, `importance`).
    """
    runs = comparison.runs
    chosen = any(CHOSEN in each.calls for each in comparison.assessments)
    excluded = {name: len(run.info["excluded"]) for name, run in runs.items() if run.info.get("excluded")}
    classes = " and ".join(f"{(comparison.rows['label'] == label).sum():,} {label}" for label in LABELS)
    return [
        Answer("9", "7", "Preprocessing", _each(runs, lambda run: f"cells read on {run.info['background']}")),
        Answer(
            "13, 33",
            "11, 20a",
            "Images left out",
            ", ".join(f"{name}: {counted(number, 'image')} not readable" for name, number in excluded.items())
            or "none",
        ),
        Answer("20", "12a", "Partition", _each(runs, lambda run: run.info["split"])),
        Answer("21", "12a", "Level at which parts are disjoint", _each(runs, _disjoint)),
        Answer("20, 33", "21", "Subjects and images of each part", _each(runs, _sizes)),
        Answer("", "13", "Class imbalance in the test part", classes),
        Answer("22", "12c", "Model", _each(runs, lambda run: f"{run.info['family']}, recipe {run.recipe}")),
        Answer("23", "18f", "Software", _each(runs, _software)),
        Answer(
            "25, 26",
            "12c",
            "Training, and choice of the model",
            "recipe and parameters in each run.json; test part unused",
        ),
        Answer(
            "28",
            "12e",
            "Measures of performance",
            "discrimination, calibration and calls, per cell and per subject, at 0.5"
            + " and at a threshold chosen on validation" * chosen,
        ),
        Answer(
            "29",
            "12e",
            "Uncertainty and tests",
            f"bootstrap over subject groups, {RESAMPLES:,} resamples, BCa; "
            f"Holm over {counted(len(comparison.differences), 'pair')}",
        ),
        Answer(
            "31", "12c", "Explanation", "importance of features" if "importance" in shown else "none in this report"
        ),
        Answer("35, 36", "23a", "Performance with intervals", "the tables above"),
        Answer("36", "23b", "Differences between subjects", "one dot a subject, above"),
        Answer(
            "37",
            "",
            "Failures",
            "the cells most confidently wrong, above" if "wrong" in shown else "not shown: compare again with --images",
        ),
        Answer("38", "26", "Limits of the data", "; ".join(limits(comparison))),
    ]


def limits(comparison: Comparison) -> list[str]:
    """Say what the test data cannot carry: subjects of each class, shared pictures, one collection."""
    rows, people = comparison.rows, comparison.subjects
    told = [
        f"{label}: {counted(int((rows['label'] == label).sum()), 'cell')} of "
        f"{counted(int((people['label'] == label).sum()), 'subject')} in "
        f"{counted(comparison.groups_of_class[label], 'independent group')}"
        + f" (fewer than {FEW_GROUPS}: too few for an interval)"
        * (label in comparison.few_groups)
        for label in LABELS
    ]
    joined = sorted({group for group in people["subject_group"] if "=" in group})
    if joined:
        told.append(
            f"identical images stand under several subject IDs ({', '.join(joined)}); such IDs count as one group"
        )
    else:
        told.append("no subject IDs of the test part are tied by identical images")
    cells = rows.groupby("subject").size()
    told.append(
        f"{cells.min():,} to {cells.max():,} cells a subject: subjects with many weigh more in figures of cells"
    )
    return told


def _each(runs: dict[str, Run], says: Callable[[Run], str]) -> str:
    """Say a fact once where it is the same of all runs, else of each by name."""
    facts = {name: says(run) for name, run in runs.items()}
    if len(set(facts.values())) == 1:
        return next(iter(facts.values()))
    return "; ".join(f"{name}: {fact}" for name, fact in facts.items())


def _disjoint(run: Run) -> str:
    if not run.info["leaky"]:
        return "subject group: no person, and no identical picture, in two parts"
    return f"image only, LEAKY: {counted(run.info['shared_subject_groups'], 'subject group')} in several parts"


def _sizes(run: Run) -> str:
    parts = []
    for part in PARTS:
        rows = run.part(part)
        if len(rows):
            parts.append(f"{part} {counted(len(rows), 'image')} of {counted(rows['subject'].nunique(), 'subject')}")
    folds = run.predictions["fold"].nunique()
    return ", ".join(parts) + (f", over {folds} folds" if folds > 1 else "")


def _software(run: Run) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in run.info["versions"].items())
    return f"leukobench {run.info['leukobench']}, {versions}"
