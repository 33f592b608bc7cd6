"""The commands of the family on tables, splits and run folders that are broken, and `predict` on whole ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

import leukobench
from leukobench.cli import main
from leukobench.core.files import sha256_of
from leukobench.results.feature_table import FORMAT, facts_path

FACTS = {
    "feature_set": "leukobench",
    "feature_set_version": "1.2",
    "settings": {"channel": "grey", "distances": [1, 2]},
    "background": "black",
    "columns": 347,
    "manifest": "0123456789abcdef",
    "leukobench": leukobench.__version__,
    "format": FORMAT,
}
QUICK = ("--neighbors", "5", "--metric", "euclidean", "--neighbor-weight", "uniform")


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def write_table(folder: Path, values: pd.DataFrame, name: str = "table.csv", **facts: object) -> Path:
    values.to_csv(folder / name, index=False)
    content = FACTS | facts | {"table_sha256": sha256_of(folder / name)}
    facts_path(folder / name).write_text(json.dumps(content))
    return folder / name


@pytest.fixture(scope="module")
def trained(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the table of the cohort, with facts, and the run of k-NN on it."""
    folder = tmp_path_factory.mktemp("trained")
    table = write_table(folder, pd.read_csv(cohort / "features.csv"))
    result = invoke("train-knn", table, "--split", cohort / "split.csv", *QUICK, "-o", folder / "run")
    assert result.exit_code == 0, result.output
    return folder


def refused(result: Result, code: int = 1) -> str:
    """Check that a command ended in one line, and return it."""
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)  # click's own way out; anything else would be a traceback
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    return line


def test_another_table_of_the_same_making_is_scored_as_the_run_scored_it(trained: Path, tmp_path: Path) -> None:
    values = pd.read_csv(trained / "table.csv")
    shuffled = values[["path", *reversed(values.columns[1:])]].iloc[::-2]  # other rows, and columns in another order
    table = write_table(tmp_path, shuffled, manifest="another")
    result = invoke("predict", trained / "run", table, "-o", tmp_path / "predictions.csv")
    assert result.exit_code == 0, result.output
    scored = pd.read_csv(tmp_path / "predictions.csv")
    assert list(scored.columns) == ["path", "score", "predicted", "novelty", "out_of_distribution"]
    assert scored["path"].tolist() == shuffled["path"].tolist()
    known = pd.read_csv(trained / "run" / "predictions.csv").set_index("path").loc[scored["path"]]
    assert scored["score"].to_numpy() == pytest.approx(known["score"].to_numpy(), abs=1e-9)
    assert scored["predicted"].tolist() == known["predicted"].tolist()


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (
            {"feature_set_version": "1.3"},
            "trained with feature_set_version 1.2; this table has feature_set_version 1.3",
        ),
        ({"background": "white"}, "trained with background black; this table has background white"),
        (
            {"settings": {"channel": "grey", "distances": [1]}},
            "trained with distances [1, 2]; this table has distances [1]",
        ),
        ({"settings": FACTS["settings"] | {"levels": 32}}, "trained with levels None; this table has levels 32"),
    ],
)
def test_a_table_measured_otherwise_is_refused(
    trained: Path, tmp_path: Path, facts: dict[str, object], says: str
) -> None:
    table = write_table(tmp_path, pd.read_csv(trained / "table.csv"), **facts)
    line = refused(invoke("predict", trained / "run", table, "-o", tmp_path / "predictions.csv"))
    assert says in line
    assert not (tmp_path / "predictions.csv").exists()


def test_a_table_with_other_columns_is_refused_by_name(trained: Path, tmp_path: Path) -> None:
    values = pd.read_csv(trained / "table.csv")
    fewer = write_table(tmp_path, values.drop(columns=["geometry_area"]), "fewer.csv", feature_set="other")
    line = refused(invoke("predict", trained / "run", fewer, "-o", tmp_path / "out.csv"))
    assert "was trained with 347 features of set leukobench 1.2; this table has 346 features of set other 1.2" in line
    assert "lacks geometry_area" in line
    more = write_table(tmp_path, values.assign(geometry_x=1.0, geometry_y=2.0), "more.csv")
    line = refused(invoke("predict", trained / "run", more, "-o", tmp_path / "out.csv"))
    assert "has 2 columns (first: geometry_x) besides" in line


def test_a_table_without_facts_is_refused(trained: Path, tmp_path: Path) -> None:
    shutil.copy(trained / "table.csv", tmp_path / "bare.csv")
    line = refused(invoke("predict", trained / "run", tmp_path / "bare.csv", "-o", tmp_path / "out.csv"))
    assert "has no bare.csv.json that says how it was measured" in line


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("versions", {"scikit-learn": "0.24.2"}, "was trained with scikit-learn 0.24.2"),
        ("leukobench", "99.0.0", "was trained with leukobench 99.0.0"),
        ("family", "cnn", "is a run of a network"),
    ],
)
def test_a_run_of_another_version_or_of_a_network_is_refused(
    trained: Path, tmp_path: Path, key: str, value: object, says: str
) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    info[key] = value
    (tmp_path / "run" / "run.json").write_text(json.dumps(info))
    assert says in refused(invoke("predict", tmp_path / "run", trained / "table.csv", "-o", tmp_path / "out.csv"))


def test_a_run_with_a_broken_model_is_refused(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    model = tmp_path / "run" / "model.skops"
    model.write_bytes(model.read_bytes()[:-100])
    command = ("predict", tmp_path / "run", trained / "table.csv", "-o", tmp_path / "out.csv")
    assert "was changed after the run was written" in refused(invoke(*command))
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    info["files"]["model.skops"] = sha256_of(model)
    (tmp_path / "run" / "run.json").write_text(json.dumps(info))
    assert "cannot be loaded as a model" in refused(invoke(*command))
    assert "is no run folder" in refused(invoke("predict", tmp_path, trained / "table.csv", "-o", tmp_path / "x"))


def broken(kind: str, values: pd.DataFrame, split: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Break a table or a partition."""
    first = values.columns[1]
    test = split["part"] == "test"
    if kind == "one class in training":
        split = split[test | (split["label"] == "all")]
    elif kind == "missing value":
        values.loc[3, first] = float("nan")
    elif kind == "text in a column":
        values[first] = values[first].astype(str)
        values.loc[3, first] = "large"
    elif kind == "infinite value":
        values.loc[3, first] = float("inf")
    elif kind == "huge value":
        values.loc[3, first] = 1e300
    elif kind == "path twice":
        values = pd.concat([values, values.iloc[:1]])
    elif kind == "no overlap":
        values["path"] = "elsewhere/" + values["path"]
    elif kind == "two rows":
        split = pd.concat([split[split["part"] == "train"].head(1), split[test].head(1)])
    elif kind == "nothing to test on":
        split = split[~test]
    elif kind == "nothing to train on":
        split = split[test]
    elif kind == "every column constant":
        values[values.columns[1:]] = 1.0
    else:
        values = values[["path"]]
    return values, split


@pytest.mark.parametrize("command", ["train-svm", "train-knn"])
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("one class in training", "split.csv: the training part has 0 subject groups of one class"),
        ("missing value", "table.csv: the column 'color_mean_red' contains values that are not finite numbers"),
        ("text in a column", "table.csv: the column 'color_mean_red' contains values that are not finite numbers"),
        ("infinite value", "table.csv: the column 'color_mean_red' contains values that are not finite numbers"),
        ("huge value", "table.csv: the column 'color_mean_red' has values of 1e+100 or more"),
        ("path twice", "is duplicated"),
        ("no overlap", "split.csv: names 40 of 40 images that"),
        ("two rows", "split.csv: the training part has 0 subject groups of one class"),
        ("nothing to test on", "split.csv: has no image with features in the test part"),
        ("nothing to train on", "split.csv: has no image with features in the train part"),
        ("every column constant", "every feature is constant over the training cells"),
        ("no column", "table.csv: is not a feature table"),
    ],
)
def test_bad_tables_and_splits_end_in_one_line(
    cohort: Path, tmp_path: Path, command: str, kind: str, says: str
) -> None:
    values, split = broken(kind, pd.read_csv(cohort / "features.csv"), pd.read_csv(cohort / "split.csv", dtype=str))
    table = write_table(tmp_path, values)
    split.to_csv(tmp_path / "split.csv", index=False)
    before = sorted(tmp_path.rglob("*"))
    line = refused(invoke(command, table, "--split", tmp_path / "split.csv", "-o", tmp_path / "run"))
    assert says in line
    assert sorted(tmp_path.rglob("*")) == before


def test_a_column_constant_in_training_is_left_out_and_said(cohort: Path, tmp_path: Path) -> None:
    values, split = pd.read_csv(cohort / "features.csv"), pd.read_csv(cohort / "split.csv")
    parts = split.set_index("path")["part"].reindex(values["path"])
    values.loc[(parts == "train").to_numpy(), "color_mean_red"] = 5.0  # it varies in the test part only
    table = write_table(tmp_path, values)
    result = invoke("train-knn", table, "--split", cohort / "split.csv", *QUICK, "-o", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "1 column left out, constant over the training cells: color_mean_red" in result.output
    drops = pd.read_csv(tmp_path / "run" / "importance.csv").set_index("feature")["drop"]
    assert drops["color_mean_red"] == 0


@pytest.mark.parametrize(
    ("command", "option", "value", "says"),
    [
        ("train-svm", "--kernel", "sigmoid", "kernel='sigmoid'; expected rbf, linear, poly"),
        ("train-svm", "--C", "1,-1", "C=-1; expected a number above 0"),
        ("train-svm", "--C", "1,1.0", "a value is duplicated"),
        ("train-svm", "--gamma", "nan", "gamma=nan; expected a number above 0, or scale"),
        ("train-svm", "--select", "anova:0", "select='anova:0'; expected none, anova:NUMBER"),
        ("train-svm", "--approximate-above", "many", "approximate_above='many'; expected a whole number"),
        ("train-svm", "--criterion", "auroc,average-precision", "takes one value"),
        ("train-knn", "--neighbors", "1.5", "n_neighbors=1.5; expected a whole number"),
        ("train-knn", "--calibration", "platt", "calibration='platt'; expected sigmoid, isotonic, none"),
    ],
)
def test_a_value_that_a_setting_does_not_take_is_refused_with_the_name_of_the_option(
    cohort: Path, tmp_path: Path, command: str, option: str, value: str, says: str
) -> None:
    files = (cohort / "features.csv", "--split", cohort / "split.csv", "-o", tmp_path / "r")
    line = refused(invoke(command, *files, option, value), code=2)
    assert says in line
    assert line.startswith(f"Error: Invalid value for '{option}': ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "option", "says"),
    [
        ("train-svm", ("--select", "anova:999"), "too few for the settings"),
        ("train-svm", ("--recipe", "clinton-svm"), "the recipe clinton-svm requires clinton19"),
        (
            "train-svm",
            ("--recipe", "leukobench-knn"),
            "no svm recipe 'leukobench-knn' (did you mean 'leukobench-svm'?); expected one of leukobench-svm, ",
        ),
        ("train-knn", ("--neighbors", "99"), "too few for the settings"),
    ],
)
def test_a_setting_or_recipe_that_does_not_fit_the_table_is_refused(
    cohort: Path, tmp_path: Path, command: str, option: tuple[str, str], says: str
) -> None:
    result = invoke(command, cohort / "features.csv", "--split", cohort / "split.csv", *option, "-o", tmp_path / "r")
    assert says in refused(result)
    assert not list(tmp_path.iterdir())


def test_a_test_part_of_one_class_is_reported_without_what_it_leaves_undefined(cohort: Path, tmp_path: Path) -> None:
    split = pd.read_csv(cohort / "split.csv", dtype=str, keep_default_na=False)
    split[(split["part"] != "test") | (split["label"] == "all")].to_csv(tmp_path / "split.csv", index=False)
    files = (cohort / "features.csv", "--split", tmp_path / "split.csv", "-o", tmp_path / "run")
    result = invoke("train-knn", *files, *QUICK, "--no-importance")
    assert result.exit_code == 0, result.output
    assert "test AUROC undefined, accuracy " in result.output
    assert ", specificity undefined on" in result.output
