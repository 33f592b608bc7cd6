"""The options --background and --segment, and the command that a run records."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from leukobench.commands.options import background_option
from leukobench.results.run_info import background_options, command_line
from leukobench.workflows.study_plan import Study, _background


@click.command()
@background_option
def show(background: str) -> None:
    click.echo(background)


@pytest.mark.parametrize(
    ("arguments", "background"),
    [
        ([], "black"),
        (["--background", "smear"], "smear-cell"),
        (["--background", "smear", "--segment", "nucleus"], "smear-nucleus"),
    ],
)
def test_what_is_segmented_is_part_of_the_background(arguments: list[str], background: str) -> None:
    assert CliRunner().invoke(show, arguments).output.strip() == background
    written = list(command_line("", (), background_options(background))[2:])
    assert CliRunner().invoke(show, written).output.strip() == background  # a recorded command repeats the run


def test_segment_needs_a_smear() -> None:
    result = CliRunner().invoke(show, ["--segment", "nucleus"])
    assert result.exit_code == 2
    assert "--segment needs --background smear" in result.output


def test_the_benchmark_names_the_segment(tmp_path: Path) -> None:
    study = Study.__new__(Study)
    object.__setattr__(study, "background", "smear-nucleus")
    assert _background(study) == ("--background", "smear", "--segment", "nucleus")
