"""--json: every command that prints a result prints the same facts as one JSON object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

import leukobench.cli
from leukobench.cli import main
from leukobench.cohort.manifest import read_manifest
from leukobench.features.catalog import features_of
from leukobench.results.run import read_run_folder


def told(*arguments: object, exit_code: int = 0) -> Any:
    """Return what a command prints with --json."""
    result = CliRunner().invoke(main, [*map(str, arguments), "--json"])
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def runs(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two trainings on a split of the cohort print."""
    folder = tmp_path_factory.mktemp("runs")
    svm = told("train-svm", cohort / "features.csv", "--split", cohort / "split.csv", "--C", "1", "--gamma",
               "0.01", "--no-importance", "-o", folder / "svm")  # fmt: skip
    knn = told("train-knn", cohort / "features.csv", "--split", cohort / "split.csv", "--neighbors", "5",
               "--no-importance", "-o", folder / "knn")  # fmt: skip
    return {"svm": svm, "knn": knn}


def test_manifest_counts_images_subjects_and_ties(cohort: Path, tmp_path: Path) -> None:
    facts = told("manifest", cohort / "images", "--no-near", "-o", tmp_path / "m.csv")
    expected = read_manifest(cohort / "manifest.csv")
    assert facts["images"] == len(expected) == 40
    assert facts["labels"] == expected["label"].value_counts().to_dict()
    assert (facts["subjects"], facts["subject_groups"], facts["pairs"]) == (10, 10, 0)
    assert facts["left_out"] == {}


def test_split_counts_each_part_of_each_fold(cohort: Path, tmp_path: Path) -> None:
    facts = told("split", cohort / "manifest.csv", "--method", "kfold", "--folds", "3", "-o", tmp_path / "folds")
    parts = pd.DataFrame(facts["parts"])
    assert parts["fold"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert parts[parts["part"] == "test"]["images"].sum() == 40
    assert not parts["leaky"].any()


def test_extract_names_the_images_that_it_could_not_measure(cohort: Path, tmp_path: Path) -> None:
    manifest = read_manifest(cohort / "manifest.csv")[:3]
    for path in manifest["path"]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes((cohort / "images" / path).read_bytes())
    broken = manifest["path"].iloc[1]
    (tmp_path / broken).write_bytes(b"no image")
    manifest.to_csv(tmp_path / "m.csv", index=False)
    facts = told("extract", tmp_path, "--manifest", tmp_path / "m.csv", "--set", "patel", "-o", tmp_path / "f.csv",
                 exit_code=1)  # fmt: skip
    assert (facts["features"], facts["cells"], list(facts["failed"])) == (27, 2, [broken])


def test_trainings_tell_the_metrics_of_the_run_folder(runs: dict[str, Any]) -> None:
    for family, facts in runs.items():
        run = read_run_folder(facts["run"])
        assert (facts["family"], facts["recipe"]) == (family, f"leukobench-{family}")
        assert facts["metrics"]["test"]["auroc"] == run.metrics["test"]["auroc"]
        assert facts["test_cells"] == len(run.part("test"))
        assert facts["chosen"] == run.info.parameters["chosen"]["final"]


def test_compare_tells_the_table_the_tests_and_the_findings(runs: dict[str, Any], tmp_path: Path) -> None:
    facts = told("compare", runs["svm"]["run"], runs["knn"]["run"], "-o", tmp_path / "report")
    assert {row["run"] for row in facts["runs"]} == {"svm", "knn"}
    assert len(facts["tests"]) >= 1
    assert facts["findings"]
    assert Path(facts["report"]).is_file()


def test_predict_counts_the_classes(runs: dict[str, Any], cohort: Path, tmp_path: Path) -> None:
    facts = told("predict", runs["knn"]["run"], cohort / "images", "-o", tmp_path / "p.csv")
    written = pd.read_csv(tmp_path / "p.csv")
    assert facts["cells"] == len(written) == 40
    assert facts["predicted"] == written["predicted"].value_counts().to_dict()
    assert facts["out_of_distribution"] == written["out_of_distribution"].sum()


def test_verify_lists_the_faults(cohort: Path) -> None:
    facts = told("verify", cohort / "images", "--manifest", cohort / "manifest.csv")
    assert facts["good"] is True
    assert facts["faults"] == []


def test_audit_recipes_features_and_cache(cohort: Path) -> None:
    assert told("audit", cohort / "manifest.csv")["images"] == 40
    families = {row["name"]: row["family"] for row in told("recipes")["recipes"]}
    assert (families["leukobench-svm"], families["leukobench-gpu"]) == ("svm", "cnn")
    facts = told("features", "--set", "patel")
    assert [each["name"] for each in facts["features"]] == [each.name for each in features_of("patel")]
    assert set(told("cache")) == {"folder", "parts"}


def test_every_command_but_those_that_only_write_files_has_the_option() -> None:
    without = {
        name
        for name, command in zip(leukobench.cli.COMMANDS, leukobench.cli._all_commands(), strict=True)
        if not any("--json" in parameter.opts for parameter in command.params)
    }
    assert without == {"demo", "benchmark", "croissant", "explain"}
