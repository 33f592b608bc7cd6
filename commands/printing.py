"""How commands print what they made: a run, a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leukobench.core.text import counted

if TYPE_CHECKING:
    from leukobench.results.run import RunFolder


def print_run(run: RunFolder) -> None:
    """Print the folder of a run and its metrics on the test part."""
    metrics = run.metrics["test"]
    rows = run.part("test")
    subjects = "LEAKY: subjects shared between parts" if run.info.leaky else "unseen subjects"
    shown = {name: "undefined" if value is None else f"{value:.3f}" for name, value in metrics.items()}  # of one class
    click.echo(
        f"{run.folder}: test AUROC {shown['auroc']}, accuracy {shown['accuracy']}, "
        f"sensitivity {shown['sensitivity']}, specificity {shown['specificity']} "
        f"on {counted(len(rows), 'cell')} of {counted(rows['subject_group'].nunique(), 'subject group')} ({subjects})"
    )
    if run.info.note:
        click.echo(f"note: {run.info.note}")
    if run.info.excluded:
        click.echo(f"left out {counted(len(run.info.excluded), 'image')} that could not be read; see run.json")


def print_comparison(comparison: Any, report: Path) -> None:
    from leukobench.comparison.tables import headline
    from leukobench.comparison.verdict import cautions, verdicts

    click.echo(f"\n{headline(comparison)}\n")
    for line in (*verdicts(comparison), *cautions(comparison)):
        click.echo(f"- {line}")
    click.echo(f"\nReport: {report}\nTables and figures: {report.parent}")
