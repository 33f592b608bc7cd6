"""The model card of a run: what it is for, whose cells it was trained and tested on, how well it does, and its limits.

After Mitchell, M., et al. (2019). Model cards for model reporting. FAccT. It says only what the run folder records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from leukobench.cohort.manifest import LABELS
from leukobench.cohort.partition import PARTS
from leukobench.core.text import counted, markdown_cell, printable
from leukobench.results.run_info import RunInfo
from leukobench.results.subject_scores import subject_scores

CARD = "README.md"  # of a run folder; nothing reads it
MOST_SUBJECTS = 200  # in the table of subjects
_SHOWN = {  # name in the metrics -> in the card
    "auroc": "AUROC of cells",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}


def model_card(info: RunInfo, predictions: pd.DataFrame, metrics: Mapping[str, Mapping[str, float | None]]) -> str:
    """Return the model card in Markdown.

    Args:
        info: The content of `run.json`.
        predictions: The predictions of the run.
        metrics: Its metrics, by part.
    """
    folds = predictions["fold"].nunique()
    test = predictions[predictions["part"] == "test"]
    people = subject_scores(test["subject"], test["score"].to_numpy())
    right = (test["predicted"] == test["label"]).groupby(test["subject"]).mean()
    classes = info.classes
    label = test.groupby("subject")["label"].first()
    of_people = [
        (each.subject, classes[label[each.subject]], each.cells, f"{each.score:.2f}", f"{right[each.subject]:.0%}")
        for each in people.head(MOST_SUBJECTS).itertuples()
    ]
    sections = [
        f"# Model card: {info.recipe}",
        f"A model of the family {info.family}, made by leukobench {info.leukobench}. The positive class, "
        f"{printable(classes.positive)}, is leukemic blasts; the other, {printable(classes.negative)}, normal cells.",
        "## Intended use",
        "Research on the classification of single white cells in microscope images. It is not a medical device, and "
        "not for diagnosis. It is for images like those it was trained on (what surrounds the cells: "
        f"{info.background}): other stains, microscopes or clinics were not tested. `leukobench predict` flags cells "
        "that are unlike the training cells.",
        "## Data",
        f"Split: {info.split}."
        + f" Cross-validation over {folds} folds: a fold is trained on what it neither validates nor tests."
        * (folds > 1),
        _table(("part", "cells", *map(classes.__getitem__, LABELS), "subjects", "subject groups"), _sizes(predictions)),
        _leakage(info),
        f"{counted(len(info.excluded), 'image')} could not be read and had no part in it." if info.excluded else "",
        "## Results",
        "Cells at the threshold 0.5, without intervals; `leukobench compare` computes these over subject groups.",
        _table(("part", *_SHOWN.values()), _metrics(metrics)),
        "Test subjects: the mean score of a subject's cells, and the share that is predicted correctly"
        + f" (the first {MOST_SUBJECTS} of {len(people):,})" * (len(people) > MOST_SUBJECTS)
        + ":",
        _table(("subject", "class", "cells", "mean score", "correct"), of_people),
        "## Limits",
        "The results hold for subjects like these. The cells of a subject resemble each other, so the number of "
        "subjects counts, not that of cells.",
        f"Note: {info.note}." if info.note else "",
        "## How to repeat it",
        "`run.json` has the command, every setting, the seed, the versions and the checksums of data and model.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _sizes(predictions: pd.DataFrame) -> Iterable[Sequence[object]]:
    for part in PARTS:
        rows = predictions[predictions["part"] == part].drop_duplicates("path")  # validation rows may be in two folds
        if len(rows):
            classes = [int((rows["label"] == label).sum()) for label in LABELS]
            yield part, len(rows), *classes, rows["subject"].nunique(), rows["subject_group"].nunique()


def _metrics(metrics: Mapping[str, Mapping[str, float | None]]) -> Iterable[Sequence[object]]:
    for part in PARTS:
        if part in metrics:
            values = [metrics[part].get(name) for name in _SHOWN]
            yield part, *("undefined" if value is None else f"{value:.3f}" for value in values)


def _leakage(info: RunInfo) -> str:
    if not info.leaky:
        return "No subject group is in two parts: the test subjects are unseen."
    return "**LEAKY: subjects are shared between parts. The results do not apply to unseen subjects.**"


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else markdown_cell(printable(str(value)))
