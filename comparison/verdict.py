"""The findings of a comparison as sentences: the verdict, and the cautions that go with it."""

from __future__ import annotations

import math

from leukobench.comparison.intervals import LEVEL, Estimate
from leukobench.comparison.literature import OURS
from leukobench.comparison.other_models import OTHER
from leukobench.comparison.results import ComparedRuns, Difference
from leukobench.comparison.selection import grid_edges, validation_gaps
from leukobench.core.text import counted
from leukobench.results.run_info import COMBINED

MOST_PAIRS = 3  # up to so many pairs have a sentence each; of more pairs, those with the best run
FAMILIES = {"svm": "handcrafted features", "knn": "handcrafted features", "cnn": "networks"}


def cautions(comparison: ComparedRuns) -> list[str]:
    """Return what a reader must know before using the results."""
    found = []
    if comparison.leaky:
        names = "all runs" if len(comparison.leaky) == len(comparison.runs) else " and ".join(comparison.leaky)
        found.append(
            f"LEAKY ({names}): subjects shared between parts. Test subjects were also in training, so these metrics "
            "are optimistically biased. They do not estimate the performance on unseen subjects and must not be "
            "compared with those of a subject-level split."
        )
    every = [recipe for run in comparison.runs.values() for recipe in run.info.recipes]
    recipes = dict.fromkeys(recipe for recipe in every if recipe.startswith(OURS))
    if recipes:
        found.append(
            f"{', '.join(recipes)}: selected by cross-validation on subjects of the training phase of C-NMC 2019. "
            "If they are among these test subjects, the metrics are optimistic. Those on the preliminary test are not "
            "affected."
        )
    others = [name for name, run in comparison.runs.items() if run.info.family == OTHER]
    if others:
        found.append(
            f"{', '.join(others)}: scores of another program. leukobench cannot check that no test subject was in its "
            "training, nor how its settings were chosen."
        )
    if comparison.few_groups:
        counts = " and ".join(
            f"{count} of class {comparison.classes[name]}" for name, count in comparison.few_groups.items()
        )
        alone = min(comparison.few_groups.values()) < 2
        says = "there are no intervals" if alone else "the intervals are wide, and may still be too narrow"
        found.append(f"The test part has few subject groups ({counts}): {says}.")
    if any(comparison.dropped.values()):
        left_out = ", ".join(f"{number} of {name}" for name, number in comparison.dropped.items() if number)
        found.append(
            f"Only the {counted(len(comparison.rows), 'cell')} that all runs were tested on are used. Test rows left "
            f"out: {left_out}."
        )
    return [*found, *validation_gaps(comparison), *grid_edges(comparison)]


def verdicts(comparison: ComparedRuns) -> list[str]:
    """Return a sentence on the best run, one on the two families, and one on each pair, or on each with the best."""
    unseen = [name for name in comparison.ranked if name not in comparison.leaky]
    best = (unseen or comparison.ranked)[0]
    auroc = comparison.assessment(best).metrics["auroc"]
    subjects = counted(len(comparison.subjects), "subject")
    equal = comparison.assessment(best).metrics["subject_weighted_auroc"]
    first = (
        f"{best} has an AUROC of {auroc} on {counted(len(comparison.rows), 'cell')} of {subjects}; "
        f"{equal} if all subjects have the same weight."
    )
    if 0 < len(unseen) < len(comparison.runs):
        first = f"Highest AUROC of the {counted(len(unseen), 'run')} tested on unseen subjects: {first}"
    elif len(comparison.runs) > 1:
        first = f"Highest AUROC of {len(comparison.runs)} runs: {first}"
    pairs = comparison.differences
    if len(pairs) > MOST_PAIRS:
        pairs = [pair for pair in pairs if best in (pair.better, pair.other)]
    return [first, *_families(comparison), *(sentence(comparison, pair) for pair in pairs)]


def sentence(comparison: ComparedRuns, pair: Difference) -> str:
    """Return whether the runs of a pair differ, by how much, and how certain that is."""
    subjects = counted(len(comparison.groups), "subject group")
    if not pair.comparable:
        leaky = pair.better if pair.leaky[0] else pair.other
        return f"{pair.better} and {pair.other} are not comparable: {leaky} had the test subjects in training."
    corrected = "corrected p" if len(comparison.differences) > 1 else "p"
    cells, equal = (
        f"{_with_interval(gap.estimate)}, {corrected} {p_value(gap.p)}" for gap in (pair.auroc, pair.subject_weighted)
    )
    gap = f"{cells}; with subjects weighted equally by {equal}"
    if pair.significant:
        return f"{pair.better} is better than {pair.other} by {gap}{_few(comparison)}."
    could = pair.auroc.could
    equivalent = (
        f"they are equivalent within {could.margin:g}"
        if pair.equivalent
        else f"equivalence within {could.margin:g} is not shown"
    )
    power = ""
    if not math.isnan(could.difference):
        power = f" These subjects would show a true difference of {could.difference:.3f} with 80% power; {equivalent}."
    return (
        f"No significant difference between {pair.better} and {pair.other} on {subjects}: they differ by {gap}.{power}"
    )


def result(pair: Difference) -> str:
    """Return in a few words whether the runs of a pair differ; `sentence` says by how much."""
    if not pair.comparable:
        return "not comparable"
    if pair.significant:
        return f"{pair.better} is better"
    could = pair.auroc.could
    equivalent = (
        f"equivalent within {could.margin:g}" if pair.equivalent else f"equivalence within {could.margin:g} not shown"
    )
    return f"no significant difference; {equivalent}"


def _with_interval(difference: Estimate) -> str:
    if math.isnan(difference.low):
        return f"{difference.value:.3f} AUROC (no interval)"
    return f"{difference.value:.3f} AUROC ({LEVEL:.0%} interval {difference.low:.3f} to {difference.high:.3f})"


def p_value(p: float) -> str:
    """Return a p-value with its relation: `= 0.031`, `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _few(comparison: ComparedRuns) -> str:
    subjects = counted(len(comparison.groups), "subject group")
    return f"; suggestive only, because {subjects} are too few for a conclusion" if comparison.few_groups else ""


def _families(comparison: ComparedRuns) -> list[str]:
    """Compare the best run of each family, where there are runs of both and all have the same kind of split."""
    if comparison.leaky and len(comparison.leaky) < len(comparison.runs):
        return []
    best: dict[str, str] = {}
    for name in comparison.ranked:
        family = comparison.runs[name].info.family
        if family != COMBINED:
            best.setdefault(FAMILIES.get(family, "other models"), name)
    if len(comparison.runs) < 3 or len(best) < 2:  # the sentence of the only pair says the same
        return []
    first, second = list(best)[:2]
    pair = next(each for each in comparison.differences if {each.better, each.other} == {best[first], best[second]})
    result = f"{first} are better{_few(comparison)}" if pair.significant else "no significant difference"
    return [
        f"By family, {first} ({best[first]}) and {second} ({best[second]}): {result}. The best run of each family was "
        "chosen by these same test metrics, so both are optimistically biased."
    ]
