"""How commands print what they made: lines for people or, with --json, one JSON object for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leukobench.core.text import counted

if TYPE_CHECKING:
    from leukobench.results.run import RunFolder

QUIET = "leukobench.quiet"  # key in a context's `meta`: whether nothing but results and errors is asked for
_JSON = "leukobench.json"  # key in a context's `meta`: whether JSON is asked for


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option --json of a command whose result `show` prints."""
    return click.option(
        "--json", is_flag=True, expose_value=False, callback=_noted, help="Print the result as one JSON object."
    )(command)


def _noted(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    context.meta[_JSON] = asked


def say(text: str) -> None:
    """Print what a command is doing, unless only results and errors are asked for."""
    if not click.get_current_context().meta.get(QUIET):
        click.echo(text)


def show(facts: Mapping[str, Any], lines: Iterable[str]) -> None:
    """Print the result of a command: the lines or, with --json, the facts.

    Args:
        facts: What the lines say, by name. Undefined numbers (NaN) are printed as null, paths as text.
        lines: The same for people.
    """
    if click.get_current_context().meta.get(_JSON):
        click.echo(json.dumps(_plain(facts), indent=2))
    else:
        for line in lines:
            click.echo(line)


def _plain(value: Any) -> Any:
    """Return a value in types that JSON has."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "item"):  # a NumPy scalar
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float) else str(value)


def end_with_failures(failed: Mapping[str, str], good: int, what: str, out: Path) -> None:
    """End a command with exit code 1 if images failed.

    Args:
        failed: Reason of each image that failed, by path.
        good: Number of the other images.
        what: What could not be done with them: `measured`.
        out: Table of the others; the list of failures lies beside it.

    Raises:
        click.ClickException: an image failed.
    """
    from leukobench.results.failures import failures_path  # here: pandas takes time to load

    if failed:
        path, reason = next(iter(failed.items()))
        raise click.ClickException(
            f"{len(failed)} of {good + len(failed)} images could not be {what}, "
            f"listed in {failures_path(out)}; the first: {path}: {reason}"
        )


def show_run(run: RunFolder, more: Mapping[str, Any] | None = None, lines: Iterable[str] = ()) -> None:
    """Print the folder of a run and its metrics on the test part; then more facts of it."""
    rows = run.part("test")
    facts = {
        "run": run.folder,
        "family": run.info.family,
        "recipe": run.info.recipe,
        "leaky": run.info.leaky,
        "test_cells": len(rows),
        "test_subject_groups": rows["subject_group"].nunique(),
        "metrics": run.metrics,
        "note": run.info.note,
        "excluded": run.info.excluded,
    }
    show(facts | dict(more or {}), [*_lines_of_run(run), *lines])


def _lines_of_run(run: RunFolder) -> Iterable[str]:
    metrics = run.metrics["test"]
    rows = run.part("test")
    subjects = "LEAKY: subjects shared between parts" if run.info.leaky else "unseen subjects"
    shown = {name: "undefined" if value is None else f"{value:.3f}" for name, value in metrics.items()}  # of one class
    yield (
        f"{run.folder}: test AUROC {shown['auroc']}, accuracy {shown['accuracy']}, "
        f"sensitivity {shown['sensitivity']}, specificity {shown['specificity']} "
        f"on {counted(len(rows), 'cell')} of {counted(rows['subject_group'].nunique(), 'subject group')} ({subjects})"
    )
    if run.info.note:
        yield f"note: {run.info.note}"
    if run.info.excluded:
        yield f"left out {counted(len(run.info.excluded), 'image')} that could not be read; see run.json"


def show_comparison(comparison: Any, report: Path) -> None:
    """Print the table and the findings of a comparison, and where its report is."""
    from leukobench.comparison.tables import headline
    from leukobench.comparison.verdict import cautions, verdicts

    findings, warnings = list(verdicts(comparison)), list(cautions(comparison))
    facts = {
        "report": report,
        "runs": comparison.table.reset_index().to_dict("records"),
        "tests": comparison.tests.reset_index().to_dict("records"),
        "findings": findings,
        "cautions": warnings,
    }
    lines = [f"\n{headline(comparison)}\n", *(f"- {line}" for line in (*findings, *warnings))]
    show(facts, [*lines, f"\nReport: {report}\nTables and figures: {report.parent}"])
