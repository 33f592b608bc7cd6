"""The threshold of each fold of a run, chosen on the validation part of that fold."""

from __future__ import annotations

from leukobench.cohort.manifest import LABELS
from leukobench.core.errors import InputError
from leukobench.results.metrics import best_threshold, threshold_at_sensitivity
from leukobench.results.run import RunFolder

YOUDEN = "youden"


def fold_thresholds(run: RunFolder, rule: str | float = YOUDEN) -> dict[int | None, float]:
    """Choose the threshold of each fold on the validation rows of that fold, never on test rows.

    Args:
        run: The run.
        rule: `youden`, the threshold with the highest balanced accuracy (`best_threshold`); or a sensitivity, for the
            highest threshold that reaches it (`threshold_at_sensitivity`).

    Returns:
        The threshold by number of the fold (None without cross-validation), for all folds with test rows. Empty if one
        of them has no validation rows of both classes: a run is reported with one rule or not at all.

    Raises:
        InputError: an unknown rule, or a sensitivity outside (0, 1].
    """
    if isinstance(rule, str) and rule != YOUDEN:
        raise InputError(f"rule={rule!r}: is not a rule for a threshold; give {YOUDEN!r} or a sensitivity in (0, 1]")
    thresholds: dict[int | None, float] = {}
    folds: list[int | None] = [*run.folds] or [None]
    for fold in folds:
        rows = run.part("validation", fold)
        label, score = rows["label"].to_numpy(), rows["score"].to_numpy()
        if set(label) != set(LABELS):
            return {}
        if isinstance(rule, str):
            thresholds[fold] = best_threshold(label, score)
        else:
            thresholds[fold] = threshold_at_sensitivity(label, score, rule)
    return thresholds
