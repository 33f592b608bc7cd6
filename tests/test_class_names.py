"""The names of the user's class folders stand in what people read; tables keep the labels `all` and `hem`."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from leukobench.classifiers.training import train_classifier
from leukobench.cli import main
from leukobench.cohort.class_names import CNMC, ClassNames
from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import manifest_checksum, read_manifest, write_manifest
from leukobench.cohort.partition import read_partition, read_split, write_split
from leukobench.cohort.splitting import SplitOptions, split_by_subject
from leukobench.cohort.synthetic import generate_cohort
from leukobench.core.errors import InputError
from leukobench.features.extractor import extract
from leukobench.results.run import read_run_folder

OWN = ["--positive", "Leukemia", "--negative", "normal"]
OF_CNMC = re.compile(r"\b(all|hem)\b")


def invoke(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten subjects in folders named Leukemia and normal, with manifest, partition and two runs."""
    folder = tmp_path_factory.mktemp("own")
    generate_cohort(folder / "generated", subjects=10, cells_per_subject=4, seed=3)
    for number, image in enumerate(sorted((folder / "generated").rglob("*.bmp"))):
        _, subject, *_, label = image.stem.split("_")
        name = {"all": "Leukemia", "hem": "normal"}[label]
        place = folder / "images" / name / f"patient{subject} cell{number}.bmp"
        place.parent.mkdir(parents=True, exist_ok=True)
        image.rename(place)
    printed = invoke(
        "manifest", folder / "images", *OWN, "--subject-regex", r"patient(\w+)", "-o", folder / "manifest.csv"
    ).output
    assert "40 images (20 Leukemia, 20 normal) of 10 subjects" in printed
    partition = split_by_subject(read_manifest(folder / "manifest.csv"), 0.4, SplitOptions(validation_size=0.2, seed=1))
    write_split(partition, folder / "split.csv")
    extract(folder / "images", folder / "manifest.csv", folder / "features.csv", feature_set="patel")
    for family, settings in {"svm": {"C": 1, "gamma": 0.01}, "knn": {"n_neighbors": 5}}.items():
        train_classifier(
            folder / "features.csv", folder / "split.csv", folder / family, recipe=f"leukobench-{family}",
            settings=settings, importance=False,
        )  # fmt: skip
    return folder


def words(page: Path) -> str:
    """The text that a page shows: without its styles, scripts, markup and embedded pictures."""
    text = re.sub(r"(?s)<(style|script)\b.*?</\1>", " ", page.read_text(encoding="utf-8"))
    alternative = " ".join(re.findall(r'alt="([^"]*)"', text))
    return " ".join(html.unescape(re.sub(r"(?s)<[^>]+>", " ", text) + alternative).split())


def test_the_tables_keep_the_labels_and_have_the_names_beside_them(study: Path) -> None:
    manifest = read_manifest(study / "manifest.csv")
    assert list(manifest.columns)[-1] == "class_name"
    assert set(zip(manifest["label"], manifest["class_name"], strict=True)) == {("all", "Leukemia"), ("hem", "normal")}
    assert read_partition(study / "split.csv").classes == ClassNames("Leukemia", "normal")
    for run in ("svm", "knn"):
        assert read_run_folder(study / run).info.classes == ClassNames("Leukemia", "normal")
        assert json.loads((study / run / "run.json").read_text())["classes"] == {
            "positive": "Leukemia",
            "negative": "normal",
        }


def test_folders_named_as_in_cnmc_give_the_tables_of_before(cohort: Path) -> None:
    manifest = index_folder(cohort / "images", positive="ALL")
    assert "class_name" not in manifest
    assert manifest_checksum(manifest) == manifest_checksum(read_manifest(cohort / "manifest.csv"))
    assert "class_name" not in (cohort / "split.csv").read_text()
    assert read_partition(cohort / "split.csv").classes is CNMC or read_partition(cohort / "split.csv").classes == CNMC


def test_a_report_shows_the_names_only(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    invoke("compare", study / "svm", study / "knn", "--images", study / "images", "-o", out)
    shown = words(out / "report.html")
    assert "leukemic blasts ( Leukemia , the positive class) and normal cells ( normal )" in shown
    assert re.search(r"\b(Leukemia|normal) , scored 0\.\d+ subject", shown)
    assert "The score is the probability of Leukemia ." in shown
    assert not re.search(r"\bhem\b|probability of all\b|class all\b|\d all\b|\ball , scored", shown)
    for figure in ("scores", "subjects", "calibration", "decision"):
        drawn = " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", (out / f"{figure}.svg").read_text()))
        assert "Leukemia" in drawn
        assert not OF_CNMC.search(drawn)
    subjects = pd.read_csv(out / "subjects.csv")
    assert set(zip(subjects["label"], subjects["class_name"], strict=True)) == {("all", "Leukemia"), ("hem", "normal")}
    methods = (out / "methods.txt").read_text()
    assert "of the class Leukemia from" in methods and "of the class normal from" in methods


def test_predictions_and_their_contact_sheet_show_the_names(study: Path, tmp_path: Path) -> None:
    out, sheet = tmp_path / "predictions.csv", tmp_path / "sheet.html"
    printed = invoke("predict", study / "svm", study / "images", "-o", out, "--html", sheet).output
    table = pd.read_csv(out)
    named = table["predicted"].map({"all": "Leukemia", "hem": "normal"})
    assert table["predicted_class"].tolist() == named.tolist()
    counts = named.value_counts()
    assert all(f"{count} {name}" in printed for name, count in counts.items())
    shown = words(sheet)
    assert shown.count("predicted Leukemia, score") == counts["Leukemia"]
    assert "probability of Leukemia, by the recipe" in shown
    assert not OF_CNMC.search(shown)


def test_an_explanation_and_a_model_card_show_the_names(study: Path, tmp_path: Path) -> None:
    image = next((study / "images" / "normal").iterdir())
    printed = invoke("explain", study / "svm", image, "-o", tmp_path / "seen").output
    assert "(probability of Leukemia 0." in printed
    assert "towards Leukemia: " in printed and "towards normal: " in printed
    table = pd.read_csv(tmp_path / "seen" / "explanations.csv")
    assert table["predicted_class"].tolist() == table["predicted"].map({"all": "Leukemia", "hem": "normal"}).tolist()
    card = (study / "svm" / "README.md").read_text()
    assert "The positive class, Leukemia, is leukemic blasts; the other, normal, normal cells." in card
    assert "| part | cells | Leukemia | normal | subjects | subject groups |" in card


def test_split_and_audit_print_the_names(study: Path, tmp_path: Path) -> None:
    printed = invoke("split", study / "manifest.csv", "--method", "subject", "-o", tmp_path / "split.csv").output
    assert " Leukemia, " in printed and not OF_CNMC.search(printed)
    printed = invoke("audit", study / "manifest.csv").output
    assert "Leukemia" in printed and not re.search(r"\bhem\b", printed)


def test_folds_keep_the_names(study: Path, tmp_path: Path) -> None:
    invoke("split", study / "manifest.csv", "--method", "kfold", "--folds", "3", "-o", tmp_path / "folds")
    assert read_split(tmp_path / "folds").classes == ClassNames("Leukemia", "normal")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda names: names.where(names != "normal", "Leukemia"), "class_name that stands for two labels"),
        (lambda names: names.where(np.arange(len(names)) > 0, "blast"), "a label with two names"),
        (lambda names: names.where(np.arange(len(names)) > 0, ""), "a label without the name of its class"),
        (lambda names: names.replace("normal", "nor\x1bmal"), "control character"),
    ],
    ids=["one-name-two-labels", "two-names", "no-name", "control-character"],
)
@pytest.mark.parametrize("kind", ["manifest", "split"])
def test_wrong_names_are_refused(study: Path, tmp_path: Path, kind: str, change, reason: str) -> None:
    table = pd.read_csv(study / f"{kind}.csv", dtype=str, keep_default_na=False)
    table.assign(class_name=change(table["class_name"])).to_csv(tmp_path / "changed.csv", index=False)
    with pytest.raises(InputError, match=f"changed.csv: '.*' has .*{reason}"):
        (read_manifest if kind == "manifest" else read_partition)(tmp_path / "changed.csv")


def test_a_manifest_with_names_is_written_as_it_was_read(study: Path, tmp_path: Path) -> None:
    write_manifest(read_manifest(study / "manifest.csv"), tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (study / "manifest.csv").read_bytes()
