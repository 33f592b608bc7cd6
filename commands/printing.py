"""How commands print what they made: a run, a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


def print_run(run: Any) -> None:
    """Print where a run lies and its figures on the last part."""
    figures = run.metrics["test"]
    rows = run.part("test")
    people = "LEAKY split by image" if run.info.leaky else "people not seen in training"
    click.echo(
        f"{run.folder}: test AUROC {figures['auroc']:.3f}, accuracy {figures['accuracy']:.3f}, "
        f"sensitivity {figures['sensitivity']:.3f}, specificity {figures['specificity']:.3f} "
        f"on {len(rows)} cells of {rows['subject_group'].nunique()} subject groups ({people})"
    )
    if run.info.note:
        click.echo(f"note: {run.info.note}")
    if run.info.excluded:
        click.echo(f"left out {len(run.info.excluded)} images that could not be read; see run.json")


def print_comparison(comparison: Any, report: Path) -> None:
    from leukobench.comparison.tables import headline
    from leukobench.comparison.verdict import cautions, verdicts

    click.echo(f"\n{headline(comparison)}\n")
    for line in (*verdicts(comparison), *cautions(comparison)):
        click.echo(f"- {line}")
    click.echo(f"\nReport: {report}\nTables and figures: {report.parent}")
