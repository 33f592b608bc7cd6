"""leukobench.toml: values of options that are given every time."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from leukobench.cli import main
from leukobench.features.catalog import features_of


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _features(text: str, *arguments: str) -> Result:
    Path("leukobench.toml").write_text(text)
    return CliRunner().invoke(main, ["features", *arguments])


def _listed(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()[-1].partition(" of ")[2].partition(":")[0]


def test_a_table_of_a_command_gives_its_options_and_says_so() -> None:
    result = _features('[features]\nset = "patel"\n[extract]\njobs = 2')
    assert _listed(result) == "patel"
    assert result.stderr == "leukobench.toml: defaults for features: --set patel\n"
    assert all(each.name in result.stdout for each in features_of("patel"))


def test_a_value_outside_the_tables_is_for_every_command_that_has_the_option() -> None:
    assert _listed(_features('jobs = 2\nset = "patel"')) == "patel"


def test_the_table_wins_over_the_values_outside_and_the_command_line_over_both() -> None:
    text = 'set = "full"\n[features]\nset = "patel"'
    assert _listed(_features(text)) == "patel"
    assert _listed(_features(text, "--set", "clinton19")) == "clinton19"


def test_another_file_can_be_named() -> None:
    Path("own.toml").write_text('[features]\nset = "patel"')
    assert _listed(CliRunner().invoke(main, ["--config", "own.toml", "features"])) == "patel"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("set = ", "leukobench.toml: is not TOML (Invalid value (at end of document)); mend or remove it"),
        ("[feature]", "leukobench.toml: [feature] is no command (did you mean 'features'?)"),
        (
            "[features]\nst = 1",
            "leukobench.toml: [features] has st, which is no option of features (did you mean 'set'?)",
        ),
        ("jbs = 1", "leukobench.toml: no command has an option --jbs"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    result = _features(text)
    assert (result.exit_code, result.stderr) == (1, f"Error: {message}\n")


def test_a_wrong_value_is_a_usage_error() -> None:
    Path("leukobench.toml").write_text('[split]\nseed = "x"')
    result = CliRunner().invoke(main, ["split", "-o", "split.csv"])
    assert result.exit_code == 2
    assert "Invalid value for '--seed': 'x' is not a valid integer" in result.stderr
