"""Items of two reporting guidelines that the run folders answer, and items that are left to the authors.

CLAIM: Mongan, Moy & Kahn 2020, Radiology: Artificial Intelligence 2(2):e200029 (42 items).
TRIPOD+AI: Collins et al. 2024, BMJ 385:e078378 (27 items).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from leukobench.cohort.manifest import LABELS
from leukobench.cohort.partition import PARTS
from leukobench.comparison.intervals import FEW_GROUPS
from leukobench.comparison.other_models import OTHER
from leukobench.comparison.results import CHOSEN, ComparedRuns
from leukobench.core.text import counted
from leukobench.results.run import RunFolder

LEFT_TO_AUTHORS = (
    "where, when and how the subjects were recruited, and who was eligible (CLAIM 5-8, TRIPOD+AI 5-6)",
    "how the reference standard was defined, and by whom (CLAIM 14-18, TRIPOD+AI 8)",
    "the justification of the sample size (CLAIM 19, TRIPOD+AI 10)",
    "age, sex and clinical state of the subjects, and fairness between groups (CLAIM 34, TRIPOD+AI 14, 20b)",
    "external testing on data from another institution (CLAIM 32)",
    "ethics, registration, protocol, funding and conflicts of interest (CLAIM 40-42, TRIPOD+AI 17-18)",
    "what the results mean for patients (CLAIM 39, TRIPOD+AI 25, 27)",
)


@dataclass(frozen=True)
class Answer:
    """The answer to an item, with its numbers in the two guidelines and its subject."""

    claim: str
    tripod: str
    item: str
    answer: str


def answers(comparison: ComparedRuns, shown: Sequence[str]) -> list[Answer]:
    """Answer the items that run folders can answer.

    Args:
        comparison: The comparison.
        shown: Optional sections that the report has (`wrong`, `importance`).
    """
    runs = comparison.runs
    chosen = any(CHOSEN in each.thresholded for each in comparison.assessments)
    unreadable = {name: len(run.info.excluded) for name, run in runs.items() if run.info.excluded}
    classes = " and ".join(
        f"{(comparison.rows['label'] == label).sum():,} {comparison.classes[label]}" for label in LABELS
    )
    return [
        Answer("9", "7", "Preprocessing", of_each_run(runs, lambda run: f"cells on background: {run.info.background}")),
        Answer(
            "13, 33",
            "11, 20a",
            "Excluded images",
            ", ".join(f"{name}: {counted(number, 'image')} could not be read" for name, number in unreadable.items())
            or "none",
        ),
        Answer("20", "12a", "Partition", of_each_run(runs, lambda run: run.info.split)),
        Answer("21", "12a", "Level at which parts are disjoint", of_each_run(runs, _disjoint)),
        Answer("20, 33", "21", "Subjects and images of each part", of_each_run(runs, part_sizes)),
        Answer("", "13", "Class imbalance in the test part", classes),
        Answer("22", "12c", "Model", of_each_run(runs, lambda run: f"{run.info.family}, recipe {run.recipe}")),
        Answer("23", "18f", "Software", of_each_run(runs, software)),
        Answer(
            "25, 26",
            "12c",
            "Training and model selection",
            "recipe and parameters in each run.json; the test part was not used",
        ),
        Answer(
            "28",
            "12e",
            "Measures of performance",
            "discrimination, calibration and classification, per cell and per subject, at the threshold 0.5"
            + " and at one chosen on validation" * chosen,
        ),
        Answer(
            "29",
            "12e",
            "Uncertainty and tests",
            "intervals by the variance over subject groups (Obuchowski 1997, small-sample corrections); permutation "
            f"test over subject groups, Holm correction over {counted(len(comparison.differences), 'pair')}",
        ),
        Answer(
            "31",
            "12c",
            "Explanation",
            "permutation importance of features" if "importance" in shown else "none in this report",
        ),
        Answer("35, 36", "23a", "Performance with intervals", "the tables above"),
        Answer("36", "23b", "Differences between subjects", "one point for each subject, above"),
        Answer(
            "37",
            "",
            "Failures",
            "the most confidently misclassified cells, above"
            if "wrong" in shown
            else "not shown: the folder of the images was not given",
        ),
        Answer("38", "26", "Limits of the data", "; ".join(limits(comparison))),
    ]


def limits(comparison: ComparedRuns) -> list[str]:
    """Return the limits of the test data: subjects of each class, images shared by subject IDs, cells of a subject."""
    rows, subjects = comparison.rows, comparison.subjects
    found = [
        f"{comparison.classes[label]}: {counted(int((rows['label'] == label).sum()), 'cell')} of "
        f"{counted(int((subjects['label'] == label).sum()), 'subject')} in "
        f"{counted(comparison.groups_of_class[label], 'independent group')}"
        + f" (fewer than {FEW_GROUPS}: too few for a reliable interval)"
        * (label in comparison.few_groups)
        for label in LABELS
    ]
    joined = sorted({group for group in subjects["subject_group"] if "=" in group})
    if joined:
        found.append(f"several subject IDs share images ({', '.join(joined)}); such IDs are one subject group")
    else:
        found.append("no subject IDs of the test part share images")
    cells = rows.groupby("subject").size()
    found.append(
        f"{cells.min():,} to {cells.max():,} cells a subject: in metrics of cells, subjects with many cells weigh more"
    )
    return found


def of_each_run(runs: dict[str, RunFolder], says: Callable[[RunFolder], str]) -> str:
    """Return a fact once where it is the same for all runs, else for each run by name."""
    facts = {name: says(run) for name, run in runs.items()}
    if len(set(facts.values())) == 1:
        return next(iter(facts.values()))
    return "; ".join(f"{name}: {fact}" for name, fact in facts.items())


def _disjoint(run: RunFolder) -> str:
    if run.info.family == OTHER:
        return "unknown: scores of another program"
    if not run.info.leaky:
        return "subject-level split: no subject group is in two parts"
    return (
        "LEAKY: subjects shared between parts, "
        f"{counted(run.info.shared_subject_groups, 'subject group')} in several parts"
    )


def part_sizes(run: RunFolder) -> str:
    """Return the numbers of images and subjects of each part of a run."""
    parts = []
    for part in PARTS:
        rows = run.part(part).drop_duplicates("path")  # an image may be a validation image of several folds
        if len(rows):
            parts.append(f"{part} {counted(len(rows), 'image')} of {counted(rows['subject'].nunique(), 'subject')}")
    folds = run.predictions["fold"].nunique()
    return ", ".join(parts) + (f", over {folds} folds" if folds > 1 else "")


def software(run: RunFolder) -> str:
    """Return the versions of leukobench and of the libraries that a run was made with."""
    versions = ", ".join(f"{name} {version}" for name, version in run.info.versions.items())
    return f"leukobench {run.info.leukobench}, {versions}"
