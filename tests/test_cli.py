from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from leukobench import __version__, cli
from leukobench.cells.cell import BACKGROUNDS
from leukobench.cohort.manifest import read_manifest
from leukobench.core.workers import BACKENDS
from leukobench.features.settings import CHANNELS, QUANTISATIONS, STAINS
from tests.conftest import REPOSITORY

COMMANDS = sorted(cli.COMMANDS)
FACTS = (  # that a Croissant record needs
    *("--name", "Cells", "--license", "CC0-1.0", "--url", "https://example.org/cells"),
    *("--creator", "Ada Lovelace", "--date-published", "2024-02-29"),
)


def leukobench(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


def command_named(name: str) -> click.Command:
    return cli.main.get_command(click.Context(cli.main), name)


def test_every_command_of_the_plan_is_there() -> None:
    assert COMMANDS == [
        "audit",
        "benchmark",
        "cache",
        "combine",
        "compare",
        "croissant",
        "demo",
        "explain",
        "export",
        "extract",
        "features",
        "leakage",
        "manifest",
        "predict",
        "recipes",
        "segment",
        "split",
        "train-cnn",
        "train-knn",
        "train-svm",
        "verify",
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_text_shows_an_example(command: str) -> None:
    result = leukobench(command, "--help")
    assert result.exit_code == 0
    assert f"Example:  leukobench {command}" in result.output


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys; sys.argv = ['leukobench', '--help']\n"
        "from leukobench.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'pandas', 'sklearn', 'skimage', 'cv2', 'keras', 'tensorflow', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_extracting_and_comparing_load_no_network_library() -> None:
    code = (
        "import sys, cli, features.extractor, classifiers.training, comparison.report\n"
        "print(sorted({'keras', 'tensorflow', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", ["extract", "train-cnn"])
def test_the_backgrounds_offered_are_those_that_can_be_read(command: str) -> None:
    options = {option.name: option for option in command_named(command).params}
    segments = [f"smear-{segment}" for segment in options["segment"].type.choices]
    offered = [name for name in options["background"].type.choices if name != "smear"] + segments
    assert (*offered, "smear") == BACKGROUNDS  # "smear" itself is the segmentation of earlier versions
    assert options["background"].default == BACKGROUNDS[0]


def test_the_script_runs_by_its_file_name_too() -> None:
    done = subprocess.run(
        [sys.executable, "cli.py", "--version"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("leukobench, version ")


def test_the_seven_commands_in_a_row(cohort: Path, tmp_path: Path, quick_network: str) -> None:
    images = cohort / "images"
    manifest, partition, table = (tmp_path / name for name in ("manifest.csv", "split.csv", "features.csv"))
    svm, knn, cnn = (tmp_path / "runs" / name for name in ("svm", "knn", "cnn"))
    network = ("--recipe", quick_network)
    commands = (
        ("manifest", images, "-o", manifest),
        ("split", manifest, "--test-size", 0.4, "--validation-size", 0.2, "--seed", 1, "-o", partition),
        ("extract", images, "--manifest", manifest, "-o", table, "--jobs", 2),
        ("train-svm", table, "--split", partition, "-o", svm),
        ("train-knn", table, "--split", partition, "-o", knn),
        ("train-cnn", images, "--manifest", manifest, "--split", partition, *network, "--epochs", 1, "-o", cnn),
        ("compare", svm, knn, cnn, "-o", tmp_path / "report"),
    )
    for command in commands:
        result = leukobench(*command)
        assert result.exit_code == 0, result.output
    assert "| svm " in result.output
    assert (tmp_path / "report" / "report.html").is_file()


def test_listings_name_what_can_be_chosen() -> None:
    assert "dhuri-mobilenet" in leukobench("recipes").output
    assert json.loads(leukobench("recipes", "clinton-lightxception").output)["input_side"] == 450
    assert json.loads(leukobench("recipes", "leukobench-svm").output)["grid"]["C"]
    assert "8ZQL  1  " in leukobench("features", "--set", "patel").output
    assert "geometry_area" in leukobench("features").output
    assert leukobench("recipes", "nothing").exit_code == 2
    assert "did you mean 'mir-resnet50'?" in leukobench("recipes", "resnet50").stderr
    assert len({line.index(" svm ") for line in leukobench("recipes").output.splitlines() if " svm " in line}) == 1
    assert leukobench("features", "--set", "nothing").exit_code == 1


def test_a_recipe_shows_its_counts_as_built_beside_the_published_ones() -> None:
    counts = json.loads(leukobench("recipes", "clinton-lightxception").output)["counts"]
    assert counts["parameters"] == {"built": 1_248_060, "published": 1_248_060, "comparison": "equal"}
    assert counts["trainable"] == {"built": 1_248_060 - counts["base_not_trainable"]["built"]}
    assert counts["layers"]["built"] > 20
    assert "counts" not in json.loads(leukobench("recipes", "leukobench-svm").output)


def test_the_version_names_the_libraries() -> None:
    lines = leukobench("--version").output.splitlines()
    assert lines[0] == f"leukobench, version {__version__}"
    assert f"numpy {np.__version__}" in lines


def test_the_cache_is_shown_and_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEUKOBENCH_CACHE", str(tmp_path))
    assert leukobench("cache").output == f"{tmp_path}: empty (0 files)\n"
    (tmp_path / "images" / "a").mkdir(parents=True)
    (tmp_path / "images" / "a" / "pixels.npy").write_bytes(bytes(2_500_000))
    (tmp_path / "diary.txt").touch()
    assert leukobench("cache").output == f"{tmp_path}: images 2.5 MB (1 file)\n"
    assert CliRunner().invoke(cli.main, ["cache", "--clear"], input="n\n").exit_code == 1
    assert (tmp_path / "images").exists()
    assert leukobench("cache", "--yes").exit_code == 2
    assert leukobench("cache", "--clear", "--yes").output.endswith("emptied\n")
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]


def broken_inputs(cohort: Path, folder: Path) -> dict[str, tuple[tuple[object, ...], int, str]]:
    """Commands with bad input: arguments, exit code, what the line must say."""
    out, network = folder / "out", ("--recipe", "small-lightxception")
    images, manifest, partition, table = (
        cohort / name for name in ("images", "manifest.csv", "split.csv", "features.csv")
    )
    (folder / "empty").mkdir()
    shutil.copytree(images, folder / "truncated")
    broken = next((folder / "truncated").rglob("*.bmp"))
    broken.write_bytes(broken.read_bytes()[:999])
    pd.read_csv(manifest).drop(columns="label").to_csv(folder / "no-label.csv", index=False)
    strangers = pd.read_csv(partition, dtype=str)
    strangers["path"] = "elsewhere/" + strangers["path"]
    strangers.to_csv(folder / "strangers.csv", index=False)
    (folder / "exists").mkdir()
    (folder / "holiday").mkdir()
    (folder / "photos").mkdir()
    shutil.copy(next(images.rglob("*.bmp")), folder / "photos" / "a.png")
    (folder / "holiday" / "beach.jpg").touch()
    (folder / "binary.csv").write_bytes(bytes(range(128, 256)) * 4)
    return {
        "missing folder": (("manifest", folder / "nowhere", "-o", out), 2, "nowhere"),
        "folder without images": (("manifest", folder / "empty", "-o", out), 1, "contains no image"),
        "output exists": (("manifest", images, "-o", folder / "exists"), 2, "already exists"),
        "run folder exists": (("train-svm", table, "--split", partition, "-o", folder / "exists"), 2, "already exists"),
        "manifest lacks a column": (("split", folder / "no-label.csv", "-o", out), 1, "lacks the column label"),
        "manifest is no text": (("split", folder / "binary.csv", "-o", out), 1, "cannot be read as a manifest"),
        "split of other files": (
            ("train-svm", table, "--split", folder / "strangers.csv", "-o", out),
            1,
            "names 40 of 40 images",
        ),
        "network on a split of other files": (
            ("train-cnn", images, "--manifest", manifest, "--split", folder / "strangers.csv", *network, "-o", out),
            1,
            "names 40 of 40 images",
        ),
        "unknown recipe": (("train-svm", table, "--split", partition, "--recipe", "x", "-o", out), 1, "no svm recipe"),
        "test size of one": (("split", manifest, "--test-size", 1, "-o", out), 2, "range"),
        "no run folder": (("compare", folder / "empty", "-o", out), 1, "is no run folder"),
        "no jobs": (("manifest", images, "-o", out, "--jobs", 0), 2, "range"),
        "table of another kind": (
            ("extract", images, "--manifest", manifest, "-o", out),
            1,
            "ends in .csv or .parquet",
        ),
        "verify another folder": (("verify", folder / "holiday"), 1, "none of the 15,114 of the manifest"),
        "verify an empty folder": (("verify", folder / "empty"), 1, "contains no image"),
        "verify a phase of the future": (("verify", images, "--phase", "fourth"), 2, "fourth"),
        "report of faults exists": (("verify", images, "-o", folder / "exists"), 2, "already exists"),
        "near without images": (("audit", manifest, "--near"), 2, "name their folder with --images"),
        "audit of another split": (
            ("audit", manifest, "--split", folder / "strangers.csv"),
            1,
            "40 of 40 images that are not in the manifest",
        ),
        "audit of a partition": (("audit", partition), 1, "is a partition; lacks the columns"),
        "manifest instead of features": (
            ("train-svm", manifest, "--split", partition, "-o", out),
            1,
            "is a manifest; `extract` makes the feature table",
        ),
        "features instead of a manifest": (("split", table, "-o", out), 1, "is a feature table; lacks the columns"),
        "images of another folder": (
            ("extract", folder / "holiday", "--manifest", manifest, "-o", folder / "holiday.csv"),
            1,
            "does not match the manifest: none of its 40 images is there",
        ),
        "more folds than subjects": (
            ("split", manifest, "--method", "kfold", "--folds", 7, "-o", out),
            1,
            "choose at most 5 folds (--folds 5)",
        ),
        "nothing to ignore": (("manifest", images, "--ignore", "masks", "-o", out), 1, "has no folder 'masks'"),
        "nothing is known of the images": (
            ("manifest", folder / "photos", "-o", out),
            1,
            "1 of 1 images have no label (first: a.png) and 1 of 1 images have no subject (first: a.png); put",
        ),
        "short name of a setting": (
            ("train-cnn", images, "--manifest", manifest, "--split", partition, *network, "--set", "lr=1", "-o", out),
            1,
            "did you mean 'optimizer.learning_rate'?",
        ),
        "record of unknown origin": (
            ("croissant", manifest, "-o", cohort / "croissant.json", "--name", "Cells"),
            1,
            "needs license, url, creators, date_published of the dataset",
        ),
        "record away from its tables": (
            ("croissant", manifest, "-o", out, *FACTS),
            1,
            "lies outside its folder",
        ),
        "official split of the training phase": (
            ("split", "--phase", "train", "--method", "official", "-o", out),
            1,
            "restricted to the phase train, contains no images of the preliminary phase",
        ),
        "split of a phase that is missing": (
            ("split", manifest, "--phase", "prelim", "-o", out),
            1,
            "contains no labelled image of the phase prelim",
        ),
    }


@pytest.mark.parametrize(
    "kind",
    [
        "missing folder",
        "folder without images",
        "output exists",
        "run folder exists",
        "manifest lacks a column",
        "manifest is no text",
        "split of other files",
        "network on a split of other files",
        "unknown recipe",
        "test size of one",
        "no run folder",
        "no jobs",
        "table of another kind",
        "verify another folder",
        "verify an empty folder",
        "verify a phase of the future",
        "report of faults exists",
        "near without images",
        "audit of another split",
        "audit of a partition",
        "record of unknown origin",
        "record away from its tables",
        "official split of the training phase",
        "split of a phase that is missing",
    ],
)
def test_bad_input_ends_in_one_line_and_leaves_nothing(cohort: Path, tmp_path: Path, kind: str) -> None:
    arguments, code, says = broken_inputs(cohort, tmp_path)[kind]
    before = sorted(tmp_path.rglob("*"))
    result = leukobench(*arguments)
    assert result.exit_code == code
    assert isinstance(result.exception, SystemExit)  # click's own way out; anything else would be a traceback
    error = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(error) == 1
    assert says in error[0]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_truncated_image_costs_its_row_and_the_exit_code(cohort: Path, tmp_path: Path) -> None:
    shutil.copytree(cohort / "images", tmp_path / "images")
    broken = sorted((tmp_path / "images").rglob("*.bmp"))[0]
    broken.write_bytes(broken.read_bytes()[:999])
    result = leukobench(
        "extract", tmp_path / "images", "--manifest", cohort / "manifest.csv", "-o", tmp_path / "features.csv"
    )
    assert result.exit_code == 1
    assert "1 of 40 images could not be measured" in result.output
    assert broken.name in result.output
    assert len(pd.read_csv(tmp_path / "features.csv")) == 39
    failures = pd.read_csv(tmp_path / "features.csv.failures.csv")
    assert failures["path"].tolist() == [broken.relative_to(tmp_path / "images").as_posix()]


def test_extract_takes_every_setting_and_records_it(cohort: Path, tmp_path: Path) -> None:
    arguments = ("extract", cohort / "images", "--manifest", cohort / "manifest.csv", "-o")
    settings = {
        "channel": "red",
        "levels": 16,
        "quantisation": "cell",
        "distances": [1, 2, 4],
        "stain": "reinhard",
        "size": 128,
    }
    options = (
        "--channel",
        "red",
        "--levels",
        16,
        "--quantisation",
        "cell",
        "--distances",
        "1,2,4",
        "--stain",
        "reinhard",
        "--size",
        128,
    )
    result = leukobench(*arguments, tmp_path / "a.csv", *options)
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "a.csv.json").read_text())["settings"] == settings
    result = leukobench(*arguments, tmp_path / "b.csv", "--size", "native")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "b.csv.json").read_text())["settings"]["size"] is None


def test_the_settings_offered_are_those_that_there_are() -> None:
    shown = " ".join(leukobench("extract", "--help").output.split())
    assert ", ".join(CHANNELS[:-1]) + f" or {CHANNELS[-1]}." in shown
    assert all(f"{quantisation}:" in shown for quantisation in QUANTISATIONS)
    assert ", ".join(STAINS[:-1]) + f" or {STAINS[-1]}." in shown
    backend = next(option for option in command_named("extract").params if option.name == "backend")
    assert tuple(backend.type.choices) == BACKENDS
    assert backend.default == BACKENDS[0]


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        (("--backend", "dask"), 2, "need --scheduler"),
        (("--backend", "ray"), 2, "need --scheduler"),
        (("--scheduler", "tcp://127.0.0.1:9"), 2, "need --scheduler; --backend loky takes none"),
        (("--distances", "1;2"), 2, "expected whole numbers with commas between them"),
        (("--size", "large"), 2, "'large' is not a valid integer"),
        (("--channel", "infrared"), 1, "no channel 'infrared'; there is grey, red"),
        (("--distances", "1,1"), 1, "each once"),
    ],
)
def test_extract_refuses_options_that_make_no_sense(
    cohort: Path, tmp_path: Path, options: tuple[str, ...], code: int, reason: str
) -> None:
    images, manifest = cohort / "images", cohort / "manifest.csv"
    result = leukobench("extract", images, "--manifest", manifest, "-o", tmp_path / "a.csv", *options)
    assert (result.exit_code, list(tmp_path.iterdir())) == (code, [])
    assert reason in result.output


def test_extract_can_be_strict_and_then_go_on(cohort: Path, tmp_path: Path) -> None:
    shutil.copytree(cohort / "images", tmp_path / "images")
    broken = tmp_path / "images" / read_manifest(cohort / "manifest.csv")["path"][10]
    broken.unlink()
    arguments = ("extract", tmp_path / "images", "--manifest", cohort / "manifest.csv", "-o", tmp_path / "a.csv")
    strict = leukobench(*arguments, "--strict")
    assert strict.exit_code == 1
    assert strict.output.splitlines()[-1].startswith(f"Error: {broken}: ")
    assert "10 of 40 images are kept in" in strict.output
    unasked = leukobench(*arguments)
    assert unasked.exit_code == 1
    assert "a.csv.partial: holds the measurements of an interrupted extraction; resume it" in unasked.output
    assert "rerun the command with --resume" in unasked.output
    resumed = leukobench(*arguments, "--resume")
    assert resumed.exit_code == 1  # the table lacks one image
    assert "1 of 40 images could not be measured" in resumed.output
    assert len(pd.read_csv(tmp_path / "a.csv")) == 39


def test_verify_is_silent_about_a_whole_cohort_and_ends_with_1_on_a_changed_one(cohort: Path, tmp_path: Path) -> None:
    manifest = cohort / "manifest.csv"
    result = leukobench("verify", cohort / "images", "--manifest", manifest, "--jobs", 2)
    assert result.exit_code == 0
    assert "40 of 40 files as in the manifest" in result.output
    shutil.copytree(cohort / "images", tmp_path / "images")
    removed = sorted((tmp_path / "images").rglob("*.bmp"))[0]
    removed.unlink()
    result = leukobench("verify", tmp_path / "images", "--manifest", manifest, "-o", tmp_path / "faults.csv")
    assert result.exit_code == 1
    assert "Error: " in result.output
    assert "39 of 40 files as in the manifest; 1 missing" in result.output
    faults = pd.read_csv(tmp_path / "faults.csv")
    assert list(faults.columns) == ["path", "fault", "detail"]
    assert faults["path"].tolist() == [removed.relative_to(tmp_path / "images").as_posix()]


def test_verify_holds_against_the_shipped_manifest_and_lists_few_of_many_missing(tmp_path: Path) -> None:
    part = tmp_path / "C-NMC_training_data" / "fold_0" / "fold_0" / "all"
    part.mkdir(parents=True)
    (part / "UID_1_10_1_all.bmp").write_bytes(b"short")
    result = leukobench("verify", tmp_path, "-o", tmp_path / "faults.csv")
    assert result.exit_code == 1
    assert "layout: Cancer Imaging Archive" in result.output
    assert "part final: not in the folder (2,586 files)" in result.output
    assert "5 bytes instead of " in result.output
    assert len(result.output.splitlines()) < 40
    assert len(pd.read_csv(tmp_path / "faults.csv")) == 15_114
    of_training = leukobench("verify", tmp_path, "--phase", "train")
    assert "final" not in of_training.output
    assert "of 10,661 files" in of_training.output


def test_audit_needs_no_argument_and_a_report_is_no_failure(tmp_path: Path) -> None:
    result = leukobench("audit", "-o", tmp_path / "audit.json")
    assert result.exit_code == 0
    assert "106 pairs (104 in train, 2 in final)" in result.output
    assert "94 in two folds, 99 in two subject IDs, 0 in two labels" in result.output
    assert "subject groups: 101 subject IDs in 86 groups (94 groups by identical images alone)" in result.output
    assert "1=15=16=17=20=21, 43=44, 51=55=75=78" in result.output
    assert json.loads((tmp_path / "audit.json").read_text())["identical"]["pairs"] == 106


def test_audit_of_a_leaky_split_ends_with_1(cohort: Path, tmp_path: Path) -> None:
    manifest = cohort / "manifest.csv"
    honest = leukobench("audit", manifest, "--split", cohort / "split.csv")
    assert honest.exit_code == 0
    assert "no leakage found" in honest.output
    leukobench("split", manifest, "--method", "image", "-o", tmp_path / "image.csv")
    leaky = leukobench("audit", manifest, "--split", tmp_path / "image.csv", "-o", tmp_path / "audit.json")
    assert leaky.exit_code == 1
    assert "image.csv: leaks" in leaky.output
    leaks = json.loads((tmp_path / "audit.json").read_text())["leaks"]
    assert leaks["any"]
    assert leaks["groups"]["train/test"]


def test_croissant_says_what_to_publish_together(cohort: Path, tmp_path: Path) -> None:
    for name in ("manifest.csv", "split.csv"):
        shutil.copy(cohort / name, tmp_path)
    arguments = (tmp_path / "manifest.csv", "--split", tmp_path / "split.csv", "-o", tmp_path / "croissant.json")
    result = leukobench("croissant", *arguments, *FACTS, "--creator", "Charles Babbage")
    assert result.exit_code == 0, result.output
    assert "record sets images, labels, parts, splits" in result.output
    assert "publish it together with manifest.csv, split.csv" in result.output
    record = json.loads((tmp_path / "croissant.json").read_text(encoding="utf-8"))
    assert [creator["name"] for creator in record["creator"]] == ["Ada Lovelace", "Charles Babbage"]
    assert (record["name"], record["license"], record["datePublished"]) == ("Cells", "CC0-1.0", "2024-02-29")
