"""What the selection of a model leaves to doubt: validation far above test, a chosen value at the end of its grid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from leukobench.comparison.results import ComparedRuns
from leukobench.core.text import counted
from leukobench.results.run import RunFolder

GAP = 0.15  # AUROC of validation minus test, far beyond what two draws of subjects usually differ by
FEWEST_VALUES = 3  # of a grid: of two values each is at an end


def validation_gaps(comparison: ComparedRuns) -> list[str]:
    """Return a sentence for each run whose AUROC on validation is at least `GAP` above that on test."""
    found = []
    for name, run in comparison.runs.items():
        validation = run.metrics.get("validation", {}).get("auroc")
        test = comparison.assessment(name).metrics["auroc"].value
        if validation is not None and validation - test >= GAP:
            found.append(
                f"{name} has an AUROC of {validation:.3f} on validation and {test:.3f} on test. The validation "
                "subjects do not stand for the test subjects, or the model was adapted to them: its threshold, "
                "calibration and best epoch may not suit unseen subjects. Look at the subjects of each part, and "
                "repeat with other splits (cross-validation)."
            )
    return found


def grid_edges(comparison: ComparedRuns) -> list[str]:
    """Return a sentence for each run of which most models chose the smallest or the largest value of a grid."""
    found = []
    for name, run in comparison.runs.items():
        if edges := _edges(run):
            found.append(
                f"{name} chose {' and '.join(edges)}: a value beyond the grid may be better. Widen the grid if "
                "there are enough training subjects to choose from it."
            )
    return found


def _edges(run: RunFolder) -> list[str]:
    grid, models = (run.info.parameters.get(key) for key in ("grid", "chosen"))
    if not isinstance(grid, Mapping) or not isinstance(models, Mapping):
        return []
    chosen = [each for each in models.values() if isinstance(each, Mapping)]
    found = []
    for setting, values in grid.items():
        numbers = [value for value in values if _is_number(value)] if isinstance(values, list | tuple) else []
        if len(numbers) < FEWEST_VALUES:
            continue
        taken = Counter(each[setting] for each in chosen if _is_number(each.get(setting)))
        for end, what in ((min(numbers), "smallest"), (max(numbers), "largest")):
            if 2 * taken[end] > len(chosen):
                of = f" in {taken[end]} of {counted(len(chosen), 'model')}" if len(chosen) > 1 else ""
                found.append(f"{setting} = {end:g}, the {what} of its grid{of}")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
