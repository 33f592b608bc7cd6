"""What the publication of a recipe reported, beside the metrics of the run, and whether the two are comparable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leukobench.comparison.results import FIXED, ComparedRuns
from leukobench.results.run import RunFolder

OURS = "leukobench"  # the source of recipes of our own
SPLIT_KEYS = ("reported", "split", "notes", "left_open")  # keys of a recipe that may name the split of its source
BY_IMAGE = ("by image", "method image", "image-level")  # words for an image-level split


@dataclass(frozen=True)
class LiteratureEntry:
    """A run beside the publication of its recipe.

    Attributes:
        run: Name of the run.
        source: The publication.
        reported: What it reported, as the recipe quotes it.
        their_split: How it split its images; "" where the recipe says so in `reported`, or not at all.
        changed: Values of the recipe that were changed for this run; "" for none.
        ours: The metrics of the run.
        split: The split of the run.
        verdict: Whether the two are comparable, and why not.
    """

    run: str
    source: str
    reported: str
    their_split: str
    changed: str
    ours: str
    split: str
    verdict: str


def compare_with_literature(comparison: ComparedRuns) -> list[LiteratureEntry]:
    """Return an entry for each run whose recipe is a published one and says what was reported."""
    entries = []
    for name, run in comparison.runs.items():
        facts = _recipe_facts(run)
        source, reported = _text(facts.get("source")), _text(facts.get("reported"))
        if not reported or source.startswith(OURS):
            continue
        cells = comparison.assessment(name)
        at_half = cells.thresholded[FIXED].metrics
        ours = (
            f"accuracy {at_half['accuracy'].value:.1%}, sensitivity {at_half['sensitivity'].value:.1%}, "
            f"precision {at_half['precision'].value:.1%}, AUROC {cells.metrics['auroc'].value:.3f}"
        )
        entries.append(
            LiteratureEntry(
                run=name,
                source=source,
                reported=reported,
                their_split=_text(facts.get("split")),
                changed=_text(run.info.changed),
                ours=ours,
                split=run.info.split,
                verdict=_comparable(run, " ".join(_text(facts.get(key)) for key in SPLIT_KEYS)),
            )
        )
    return entries


def _comparable(run: RunFolder, said: str) -> str:
    if not any(words in said for words in BY_IMAGE):
        return "Not comparable: the recipe does not say how the published test images were split from the others."
    if not run.info.leaky:
        return (
            "Not comparable: the published value comes from an image-level split, with test subjects in training; this "
            "run was tested on unseen subjects."
        )
    return (
        "Comparable in kind only: both have subjects shared between parts (LEAKY), but other images. Neither estimates "
        "the performance on unseen subjects."
    )


def _recipe_facts(run: RunFolder) -> dict[str, Any]:
    """Return what run.json says of the recipe; it is among the parameters."""
    parameters = run.info.parameters
    recipe = parameters.get("recipe")
    return recipe if isinstance(recipe, dict) else dict(parameters)


def _text(value: Any) -> str:
    """Return a value of a recipe as one line: text, or named numbers."""
    if isinstance(value, dict):
        return ", ".join(
            f"{key.replace('_', ' ')} {_text(item)}" for key, item in value.items() if item not in ("", None)
        )
    if isinstance(value, list | tuple):
        return "; ".join(_text(item) for item in value)
    return "" if value is None else str(value)
