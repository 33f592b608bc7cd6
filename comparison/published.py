"""Beside the papers: what the source of a recipe reported, and whether that can be held against our figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leukobench.comparison.results import FIXED, Comparison
from leukobench.results.run import Run

OURS = "leukobench"  # the source of recipes that are no one else's
SAID = ("reported", "split", "notes", "left_open")  # where a recipe says how its source split the images
BY_IMAGE = ("by image", "method image")  # and in which words


@dataclass(frozen=True)
class Published:
    """A run beside the publication that its recipe comes from.

    Attributes:
        run: Name of the run.
        source: The publication.
        reported: What it reported, in its recipe's words.
        their_split: How it split its images; "" where the recipe says so among the figures, or not at all.
        changed: Values of the recipe that this run changed; "" for none.
        ours: Our figures on the same line.
        split: How our run was split.
        verdict: Whether the two may be compared, and why not.
    """

    run: str
    source: str
    reported: str
    their_split: str
    changed: str
    ours: str
    split: str
    verdict: str


def beside_papers(comparison: Comparison) -> list[Published]:
    """Return a line for each run whose recipe is a published one and says what was reported."""
    lines = []
    for name, run in comparison.runs.items():
        facts = _recipe_facts(run)
        source, reported = _text(facts.get("source")), _text(facts.get("reported"))
        if not reported or source.startswith(OURS):
            continue
        cells = comparison.assessment(name)
        calls = cells.calls[FIXED].figures
        ours = (
            f"accuracy {calls['accuracy'].value:.1%}, sensitivity {calls['sensitivity'].value:.1%}, "
            f"precision {calls['precision'].value:.1%}, AUROC {cells.figures['auroc'].value:.3f}"
        )
        lines.append(
            Published(
                run=name,
                source=source,
                reported=reported,
                their_split=_text(facts.get("split")),
                changed=_text(run.info.get("changed")),
                ours=ours,
                split=run.info["split"],
                verdict=_comparable(run, " ".join(_text(facts.get(key)) for key in SAID)),
            )
        )
    return lines


def _comparable(run: Run, said: str) -> str:
    if not any(words in said for words in BY_IMAGE):
        return "Not comparable: the recipe does not say how the published test images were split from the others."
    if not run.info["leaky"]:
        return (
            "Not comparable: the published figure comes from a split by image, where the people of the test part stand "
            "in training too; ours is of people never seen."
        )
    return (
        "Alike in kind only: both are split by image, LEAKY, but on other images and another draw. Neither says "
        "anything about people never seen."
    )


def _recipe_facts(run: Run) -> dict[str, Any]:
    """Return what run.json says of the recipe, which lies among the parameters."""
    parameters = run.info["parameters"]
    recipe = parameters.get("recipe")
    return recipe if isinstance(recipe, dict) else parameters


def _text(value: Any) -> str:
    """Write what a recipe holds as one line: text, or named figures."""
    if isinstance(value, dict):
        return ", ".join(
            f"{key.replace('_', ' ')} {_text(item)}" for key, item in value.items() if item not in ("", None)
        )
    if isinstance(value, list):
        return "; ".join(_text(item) for item in value)
    return "" if value is None else str(value)
