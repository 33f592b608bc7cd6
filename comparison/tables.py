"""The table of a comparison, as rows to show, CSV, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from leukobench.comparison.resampled_metrics import CALL_FIGURES, SCORE_FIGURES
from leukobench.comparison.results import CHOSEN, FIXED, LEVELS, Comparison, model_bytes, training_seconds

NOTHING = "-"
CONFUSION = ("true_positives", "false_negatives", "false_positives", "true_negatives")
_LATEX = str.maketrans({character: f"\\{character}" for character in "&%$#_{}"} | {"\\": r"\textbackslash{}"})


def long_table(comparison: Comparison) -> pd.DataFrame:
    """Return one row for every run, level, threshold and figure: its value, and its interval."""
    return pd.DataFrame(_long_rows(comparison))


def _long_rows(comparison: Comparison) -> Iterator[dict[str, object]]:
    for each in comparison.assessments:
        of_run = {"run": each.run, "recipe": comparison.runs[each.run].recipe, "level": each.level}
        for figure, estimate in each.figures.items():
            yield of_run | {"threshold": None, "threshold_from": "", "figure": figure, **vars(estimate)}
        for rule, calls in each.calls.items():
            at = of_run | {"threshold": calls.threshold, "threshold_from": rule}
            for figure, estimate in calls.figures.items():
                yield at | {"figure": figure, **vars(estimate)}
            for figure, count in zip(CONFUSION, calls.confusion, strict=True):
                yield at | {"figure": figure, "value": count}


def level_table(comparison: Comparison, level: str, names: Iterable[str]) -> list[tuple[str, list[list[str]]]]:
    """Return the figures of the named runs at a level as titled blocks of rows: a name, then one text a run."""
    found = [comparison.assessment(name, level) for name in names]
    blocks = [
        (
            "whatever the threshold",
            [[shown, *(str(e.figures[key]) for e in found)] for key, shown in SCORE_FIGURES.items()],
        )
    ]
    for rule in (FIXED, CHOSEN):
        if any(rule in each.calls for each in found):
            calls = [each.calls.get(rule) for each in found]
            rows = [["threshold", *(f"{call.threshold:.3f}" if call else NOTHING for call in calls)]] * (rule == CHOSEN)
            rows += [
                [shown, *(str(call.figures[key]) if call else NOTHING for call in calls)]
                for key, shown in CALL_FIGURES.items()
            ]
            blocks.append((f"threshold {rule}", rows))
    return blocks


def cost_table(comparison: Comparison, names: Iterable[str]) -> list[list[str]]:
    """Return what each of the named runs took: a name, then one text a run."""
    runs = [comparison.runs[name] for name in names]
    sizes = [model_bytes(run) for run in runs]
    parameters = [run.info["model_parameters"] for run in runs]
    return [
        ["training, s", *(f"{training_seconds(run):,.1f}" for run in runs)],
        ["prediction, s", *(f"{run.info['seconds']['predict']:,.1f}" for run in runs)],
        ["parameters", *(NOTHING if number is None else f"{number:,}" for number in parameters)],
        ["model on disk, MB", *(NOTHING if size is None else f"{size / 1e6:,.2f}" for size in sizes)],
    ]


def headline(comparison: Comparison) -> str:
    """Write the main figures in Markdown, one row a run."""
    table = comparison.table
    return markdown_table([list(table.columns), *table.to_numpy().tolist()])


def markdown(comparison: Comparison) -> str:
    """Write the whole table in Markdown."""
    header = ["figure", *comparison.runs]
    parts = []
    for title, rows in _blocks(comparison):
        parts.append(f"**{title}**\n\n{markdown_table([header, *rows])}")
    return "\n\n".join(parts)


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """Write rows, the header first, in Markdown, aligned so that they read well in a terminal too."""
    safe = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*safe, strict=True)]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in safe
    ]
    return "\n".join([text[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *text[1:]])


def latex(comparison: Comparison) -> str:
    r"""Write the whole table in LaTeX; it takes `\usepackage{booktabs}`."""
    columns = len(comparison.runs) + 1
    lines = [rf"\begin{{tabular}}{{l{'c' * (columns - 1)}}}", r"\toprule", _latex_row(["", *comparison.runs])]
    for title, rows in _blocks(comparison):
        lines += [r"\midrule", rf"\multicolumn{{{columns}}}{{l}}{{\emph{{{title.translate(_LATEX)}}}}} \\"]
        lines += [_latex_row(row) for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(cell.translate(_LATEX) for cell in cells) + r" \\"


def _blocks(comparison: Comparison) -> list[tuple[str, list[list[str]]]]:
    blocks = [
        (f"{level}, {title}", rows)
        for level in LEVELS
        for title, rows in level_table(comparison, level, comparison.runs)
    ]
    return [*blocks, ("cost", cost_table(comparison, comparison.runs))]
