"""What a comparison says, in plain sentences: the verdict first, and what must be known before it is believed."""

from __future__ import annotations

from leukobench.comparison.bootstrap import LEVEL
from leukobench.comparison.results import Comparison, Difference
from leukobench.core.text import counted

MOST_PAIRS = 3  # as many pairs are all told in sentences; of more, those of the best run
FAMILIES = {"svm": "handcrafted features", "knn": "handcrafted features", "cnn": "networks"}


def cautions(comparison: Comparison) -> list[str]:
    """Return what a reader must know before trusting the figures."""
    told = []
    if comparison.leaky:
        who = "all runs" if len(comparison.leaky) == len(comparison.runs) else " and ".join(comparison.leaky)
        told.append(
            f"LEAKY ({who}): the same subjects stand in training and test. These figures say how well people already "
            "seen are recognised; they say nothing about people never seen, and cannot be held against a "
            "subject-disjoint split."
        )
    if comparison.few_groups:
        counts = " and ".join(f"{count} of class {name}" for name, count in comparison.few_groups.items())
        told.append(f"The test part has few subject groups ({counts}): the intervals are not to be trusted.")
    if any(comparison.dropped.values()):
        left_out = ", ".join(f"{number} of {name}" for name, number in comparison.dropped.items() if number)
        told.append(
            f"Only the {counted(len(comparison.rows), 'cell')} that every run was tested on count; test rows left "
            f"out: {left_out}."
        )
    return told


def verdicts(comparison: Comparison) -> list[str]:
    """Return a sentence on the best run, one on the two families, and one on each pair, or on each with the best."""
    honest = [name for name in comparison.ranked if name not in comparison.leaky]
    best = (honest or comparison.ranked)[0]
    auroc = comparison.assessment(best).figures["auroc"]
    people = counted(len(comparison.subjects), "subject")
    told = [f"{best} has an AUROC of {auroc} on {counted(len(comparison.rows), 'cell')} of {people}."]
    if 0 < len(honest) < len(comparison.runs):
        told[0] = f"Highest of the {counted(len(honest), 'run')} tested on people never seen: {told[0]}"
    elif len(comparison.runs) > 1:
        told[0] = f"Highest of {len(comparison.runs)} runs: {told[0]}"
    pairs = comparison.differences
    if len(pairs) > MOST_PAIRS:
        pairs = [pair for pair in pairs if best in (pair.better, pair.other)]
    return told + _families(comparison) + [sentence(comparison, pair) for pair in pairs]


def sentence(comparison: Comparison, pair: Difference) -> str:
    """Say whether one run of a pair is better, by how much, and how sure that is."""
    gap = f"{pair.auroc.value:.3f} AUROC ({LEVEL:.0%} interval {pair.auroc.low:.3f} to {pair.auroc.high:.3f})"
    people = counted(len(comparison.subjects), "subject")
    if pair.leaky[0] != pair.leaky[1]:
        leaky = pair.better if pair.leaky[0] else pair.other
        return f"{pair.better} and {pair.other} are not comparable: {leaky} has seen the test subjects in training."
    if not pair.clear:
        apart = f"{pair.better} and {pair.other} cannot be told apart on {people}: they differ by {gap}"
        if pair.auroc.low > 0:
            apart += (
                f", which does not stand up to {counted(len(comparison.differences), 'comparison')} (Holm's correction)"
            )
        return f"{apart}."
    if comparison.few_groups:
        return f"{pair.better} scored higher than {pair.other} by {gap}, but on {people} that is a hint, not a finding."
    return f"{pair.better} is better than {pair.other} by {gap}."


def _families(comparison: Comparison) -> list[str]:
    """Say which family is better, by the best run of each, where runs of both are compared on one footing."""
    if comparison.leaky and len(comparison.leaky) < len(comparison.runs):
        return []
    best: dict[str, str] = {}
    for name in comparison.ranked:
        best.setdefault(FAMILIES.get(comparison.runs[name].info["family"], "other models"), name)
    if len(comparison.runs) < 3 or len(best) < 2:  # of two runs the pair's own sentence says it
        return []
    first, second = list(best)[:2]
    pair = next(each for each in comparison.differences if {each.better, each.other} == {best[first], best[second]})
    says = "cannot be told apart" if not pair.clear else f"{first} are ahead"
    return [
        f"By family, {first} ({best[first]}) against {second} ({best[second]}): {says}; the best run of each is "
        "compared, chosen by these same test figures, which flatters both."
    ]
