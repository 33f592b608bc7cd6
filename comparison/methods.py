"""A paragraph for the Methods section of a paper, from what the run folders record."""

from __future__ import annotations

from leukobench.cohort.manifest import LABELS
from leukobench.comparison.checklist import of_each_run, part_sizes, software
from leukobench.comparison.intervals import LEVEL
from leukobench.comparison.other_models import OTHER
from leukobench.comparison.results import CHOSEN, ComparedRuns
from leukobench.core.text import counted
from leukobench.results.run import RunFolder
from leukobench.results.run_info import COMBINED

_FAMILIES = {
    "svm": "a support vector machine on handcrafted features",
    "knn": "a k-nearest-neighbours classifier on handcrafted features",
    "cnn": "a convolutional network on the images",
    COMBINED: "the mean of the log odds of other models",
    OTHER: "scores of another program",
}


def methods_paragraph(comparison: ComparedRuns) -> str:
    """Return a paragraph that says what was compared, on which data, how, and with which software.

    It says only what the run folders record: where the subjects come from, and how the cells were labelled, is left to
    the authors.
    """
    runs = comparison.runs
    rows, of_class = comparison.rows, comparison.groups_of_class
    classes = " and ".join(
        f"{counted(int((rows['label'] == label).sum()), 'cell')} of the class {comparison.classes[label]} from "
        f"{counted(of_class[label], 'subject group')}"
        for label in LABELS
    )
    models = "; ".join(f"{name}: {_model(run)}" for name, run in runs.items())
    within = ", comparing cells of the same fold only" if comparison.within_folds else ""
    chosen = any(CHOSEN in each.thresholded for each in comparison.assessments)
    sentences = [
        f"Models were trained and compared with leukobench {of_each_run(runs, lambda run: run.info.leukobench)}.",
        f"The models are {models}.",
        f"Partition: {of_each_run(runs, lambda run: run.info.split)}; {of_each_run(runs, part_sizes)}.",
        _level(comparison),
        f"All models were tested on the same {counted(len(rows), 'cell')}: {classes}.",
        of_each_run(runs, _calibrated) + ".",
        f"Discrimination is given as the area under the ROC curve (AUROC) of cells{within}, once with all cells and "
        "once with all subject groups of a class weighted equally. Classes were predicted at a threshold of 0.5"
        f"{' and at one chosen on the validation part' * chosen}.",
        f"{LEVEL:.0%} confidence intervals were computed from the variance over subject groups (Obuchowski 1997, with "
        "small-sample corrections), because the cells of a subject are not independent.",
    ]
    if comparison.differences:
        sentences.append(
            "Pairs of models were compared by a permutation test over subject groups, with Holm's correction over "
            f"{counted(len(comparison.differences), 'pair')}, and called equivalent if the 90% intervals of both "
            f"differences lay within {comparison.margin:g}."
        )
    sentences.append(f"Software: {of_each_run(runs, software)}.")
    return " ".join(sentences)


def _model(run: RunFolder) -> str:
    info = run.info
    changed = f", changed: {', '.join(info.changed)}" if info.changed else ""
    recipe = "" if info.family == OTHER else f" (recipe {info.recipe}{changed}; seed {info.seed})"
    return _FAMILIES[info.family] + recipe


def _level(comparison: ComparedRuns) -> str:
    if not comparison.leaky:
        return "No subject group (subject IDs joined where they share an image) is in both training and test."
    return f"Training and test share subjects for {', '.join(comparison.leaky)}, so these results are optimistic."


def _calibrated(run: RunFolder) -> str:
    if run.info.calibration and all(run.info.calibration.values()):
        return "Probabilities were calibrated on the validation part"
    return "Probabilities were not calibrated on a validation part"
