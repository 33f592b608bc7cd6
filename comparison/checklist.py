"""Items of three reporting guidelines that the run folders answer, and items that are left to the authors.

CLAIM, 2024 update: Tejani et al. 2024, Radiology: Artificial Intelligence 6(4):e240300 (44 items).
TRIPOD+AI: Collins et al. 2024, BMJ 385:e078378 (27 items).
REFORMS: Kapoor et al. 2024, Science Advances 10(18):eadk3452 (32 items).
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
from leukobench.results.run_info import COMBINED

LEFT_TO_AUTHORS = (
    "the question, its population, and why machine learning is to answer it (CLAIM 3-6, TRIPOD+AI 3-4, REFORMS 1a-1c)",
    "where, when and how the subjects were recruited and imaged, and who was eligible "
    "(CLAIM 7-8, 10, 13; TRIPOD+AI 5-6; REFORMS 2a, 3a-3c, 3f-3g)",
    "how the reference standard was defined, and by whom (CLAIM 14-18, TRIPOD+AI 8, REFORMS 3a)",
    "the justification of the sample size (CLAIM 21, TRIPOD+AI 10)",
    "why these models are compared, and that each input is legitimate (REFORMS 5b, 5f, 6c)",
    "age, sex and clinical state of the subjects, and fairness between groups (CLAIM 36, TRIPOD+AI 14, 20b)",
    "external testing on data from another institution (CLAIM 33, REFORMS 8a)",
    "ethics, registration, protocol, availability, funding and conflicts of interest "
    "(CLAIM 11, 34, 42-44; TRIPOD+AI 17-18)",
    "what the results mean for patients (CLAIM 41, TRIPOD+AI 25, 27)",
)


@dataclass(frozen=True)
class Answer:
    """The answer to an item, with its numbers in the three guidelines and its subject."""

    claim: str
    tripod: str
    reforms: str
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
    classes = " and ".join(comparison.classes.counts(comparison.rows["label"]))
    return [
        Answer(
            "9",
            "7",
            "4c",
            "Preprocessing",
            of_each_run(runs, lambda run: f"cells on background: {run.info.background}"),
        ),
        Answer(
            "12, 35",
            "11, 20a",
            "4a, 4b",
            "Excluded images",
            ", ".join(f"{name}: {counted(number, 'image')} could not be read" for name, number in unreadable.items())
            or "none",
        ),
        Answer("19, 32", "12a", "5c", "Partition", of_each_run(runs, lambda run: run.info.split)),
        Answer("20", "12a", "6b", "Level at which parts are disjoint", of_each_run(runs, _disjoint)),
        Answer("19, 35", "21", "3e", "Subjects and images of each part", of_each_run(runs, part_sizes)),
        Answer("", "13", "3d", "Class imbalance in the test part", classes),
        Answer("22", "12c", "5a", "Model", of_each_run(runs, lambda run: f"{run.info.family}, recipe {run.recipe}")),
        Answer("23", "18f", "2b, 2c", "Software", of_each_run(runs, software)),
        Answer(
            "25, 26",
            "12c",
            "5d, 5e, 6a",
            "Training and model selection",
            "recipe and parameters in each run.json; the test part was not used",
        ),
        Answer("27", "12c", "5a", "Ensembles", _combined(runs)),
        Answer(
            "28",
            "12e",
            "7a",
            "Measures of performance",
            "discrimination, calibration and classification, per cell and per subject, at the threshold 0.5"
            + " and at one chosen on validation" * chosen,
        ),
        Answer(
            "29",
            "12e",
            "7b, 7c",
            "Uncertainty and tests",
            "intervals by the variance over subject groups (Obuchowski 1997, small-sample corrections); permutation "
            f"test over subject groups, Holm correction over {counted(len(comparison.differences), 'pair')}",
        ),
        Answer(
            "31",
            "12c",
            "",
            "Explanation",
            "permutation importance of features" if "importance" in shown else "none in this report",
        ),
        Answer("37, 38", "23a", "", "Performance with intervals", "the tables above"),
        Answer("37", "23b", "", "Differences between subjects", "one point for each subject, above"),
        Answer(
            "39",
            "",
            "",
            "Failures",
            "the most confidently misclassified cells, above"
            if "wrong" in shown
            else "not shown: the folder of the images was not given",
        ),
        Answer("40", "26", "8b", "Limits of the data", "; ".join(limits(comparison))),
        Answer(
            "", "18f", "2d, 2e", "How to repeat it", "the command, seed and checksums in each run.json; its model card"
        ),
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


def _combined(runs: dict[str, RunFolder]) -> str:
    names = [name for name, run in runs.items() if run.info.family == COMBINED]
    return f"{', '.join(names)}: mean of the log odds of its members" if names else "none"


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
