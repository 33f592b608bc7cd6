from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from leukobench.cli import main
from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import read_manifest, write_manifest
from leukobench.cohort.partition import Partition, read_partition, write_split
from leukobench.cohort.split_levels import (
    REFERENCE,
    SplitLevel,
    coinciding_levels,
    level_units,
    paired_partitions,
)
from leukobench.cohort.synthetic import generate_cohort
from leukobench.cohort.ties import read_ties
from leukobench.core.errors import InputError, UnfinishedError
from leukobench.features.extractor import extract
from leukobench.results.run import read_run_folder
from leukobench.workflows.leakage import _classical, _network, _train_all, _write_partitions, leakage
from leukobench.workflows.leakage_report import METRICS, level_biases, statements

WRITTEN = {"leakage.csv", "leakage.json", "leakage.md", "leakage.png", "leakage.svg", "partitions", "runs"}
SEEDS = range(6)


def make_cohort(folder: Path, tied: bool) -> Path:
    """Write images, manifest, ties and features of 16 generated subjects.

    With ties, of both classes, the second subject has a copy of an image of the first, and the third a rotated copy.
    """
    generate_cohort(folder / "images", subjects=16, cells_per_subject=6, seed=2)
    for label, first, second, third in (("all", "1", "2", "3"), ("hem", "H1", "H2", "H3")) if tied else ():
        image = next((folder / "images").rglob(f"UID_{first}_1_1_{label}.bmp"))
        shutil.copy(image, image.with_name(f"UID_{second}_7_1_{label}.bmp"))
        rotated = np.ascontiguousarray(np.rot90(cv2.imread(str(image))))
        cv2.imwrite(str(image.with_name(f"UID_{third}_7_1_{label}.bmp")), rotated)
    index_folder(folder / "images", out=folder / "manifest.csv")
    extract(folder / "images", folder / "manifest.csv", folder / "features.csv")
    return folder


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort with subject IDs that are tied by identical images, and others by near-duplicates."""
    return make_cohort(tmp_path_factory.mktemp("tied"), tied=True)


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort in which every subject ID is a subject."""
    return make_cohort(tmp_path_factory.mktemp("untied"), tied=False)


def units_of(folder: Path) -> dict[SplitLevel, pd.Series]:
    return level_units(read_manifest(folder / "manifest.csv"), read_ties(folder / "manifest.ties.csv"))


def partitions_of(folder: Path, seed: int) -> dict[SplitLevel, Partition]:
    return paired_partitions(read_manifest(folder / "manifest.csv"), units_of(folder), 0.3, seed)


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["leakage", *map(str, arguments)])


def test_the_levels_keep_together_ever_more_images(tied: Path) -> None:
    units = units_of(tied)
    assert list(units) == list(SplitLevel)
    assert {level: unit.nunique() for level, unit in units.items()} == {
        "image": 100,
        "subject-id": 16,
        "identical-images": 14,
        "subject-group": 12,
    }
    assert {"1=2", "H1=H2"} <= set(units[SplitLevel.IDENTICAL_IMAGES])
    assert {"1=2=3", "H1=H2=H3"} <= set(units[SplitLevel.SUBJECT_GROUP])
    assert coinciding_levels(units) == {}


@pytest.mark.parametrize("seed", SEEDS)
def test_each_level_shares_no_unit_of_its_own_between_training_and_test(tied: Path, seed: int) -> None:
    units = units_of(tied)
    for level, partition in partitions_of(tied, seed).items():
        part, unit = partition.rows["part"], units[level][partition.rows.index]
        assert not set(unit[part == "train"]) & set(unit[part == "test"])


@pytest.mark.parametrize("seed", SEEDS)
def test_all_levels_have_the_same_test_images_and_as_many_training_images_of_each_class(tied: Path, seed: int) -> None:
    made = partitions_of(tied, seed)
    reference = made[REFERENCE]
    sizes = reference.rows.groupby(["part", "label"]).size()
    assert set(sizes.index) == {("train", "all"), ("train", "hem"), ("test", "all"), ("test", "hem")}
    for partition in made.values():
        assert partition.part("test").equals(reference.part("test"))
        assert partition.rows.groupby(["part", "label"]).size().equals(sizes)


@pytest.mark.parametrize("seed", SEEDS)
def test_half_of_each_drawn_subject_is_tested_and_unseen_subjects_are_all_in_training(tied: Path, seed: int) -> None:
    manifest, made = read_manifest(tied / "manifest.csv"), partitions_of(tied, seed)
    test, train = made[REFERENCE].part("test"), made[REFERENCE].part("train")
    images = manifest["subject"].value_counts()
    tested = test["subject"].value_counts()
    assert (tested == np.ceil(images[tested.index] / 2)).all()
    assert set(train["path"]) == set(manifest["path"][~manifest["subject_group"].isin(test["subject_group"])])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_level_trains_on_all_images_of_test_subjects_that_it_allows(tied: Path, seed: int) -> None:
    manifest, made = read_manifest(tied / "manifest.csv"), partitions_of(tied, seed)
    test = made[REFERENCE].part("test")
    known = manifest["subject_group"].isin(test["subject_group"]) & ~manifest["path"].isin(test["path"])
    for level, unit in units_of(tied).items():
        train = made[level].part("train")
        seen = train["path"][train["subject_group"].isin(test["subject_group"])]
        assert set(seen) == set(manifest["path"][known & ~unit.isin(unit[test.index])])


def test_each_level_but_the_reference_shares_what_the_next_stricter_one_keeps_together(tied: Path) -> None:
    units, levels = units_of(tied), list(SplitLevel)
    for level, stricter in itertools.pairwise(levels):
        shared = 0
        for seed in SEEDS:
            part = partitions_of(tied, seed)[level].rows["part"]
            unit = units[stricter][part.index]
            shared += len(set(unit[part == "train"]) & set(unit[part == "test"]))
        assert shared > 0


def test_a_partition_is_marked_as_leaky_exactly_if_it_shares_subjects(tied: Path, tmp_path: Path) -> None:
    marked = set()
    for seed in SEEDS:
        for level, made in partitions_of(tied, seed).items():
            path = tmp_path / f"{seed}_{level}.csv"
            write_split(made, path)
            partition = read_partition(path)
            assert partition.leaky == bool(partition.shared_groups)
            leaky = "-LEAKY" * partition.leaky
            assert partition.method == f"{level}{leaky} test=0.3 seed={seed} paired"
            marked.add((level, partition.leaky))
    assert {level for level, leaky in marked if not leaky} == {"subject-id", "identical-images", "subject-group"}
    assert {level for level, leaky in marked if leaky} == {"image", "subject-id", "identical-images"}


def test_the_partitions_of_a_seed_do_not_depend_on_the_order_of_the_manifest(tied: Path) -> None:
    manifest, ties = read_manifest(tied / "manifest.csv"), read_ties(tied / "manifest.ties.csv")
    turned = manifest[::-1].reset_index(drop=True)
    one = paired_partitions(manifest, level_units(manifest, ties), 0.3, 1)
    other = paired_partitions(turned, level_units(turned, ties), 0.3, 1)
    for level in SplitLevel:
        parts = [made[level].rows.set_index("path")["part"].sort_index() for made in (one, other)]
        assert parts[0].equals(parts[1])


def test_ties_that_contradict_the_subject_groups_of_the_manifest_are_refused(tied: Path) -> None:
    manifest = read_manifest(tied / "manifest.csv")
    manifest["subject_group"] = manifest["subject"]
    with pytest.raises(InputError, match="subject IDs 1=2 are tied by identical images, but are in several"):
        level_units(manifest, read_ties(tied / "manifest.ties.csv"))


def test_the_command_measures_every_level_and_keeps_everything(tied: Path, tmp_path: Path) -> None:
    out = tmp_path / "leakage"
    result = run_command(tied / "features.csv", tied / "manifest.csv", "--seeds", 3, "--test-size", 0.3, "-o", out)
    assert result.exit_code == 0, result.output
    assert "at the level image (LEAKY: subjects shared between parts)" in result.output
    assert {path.name for path in out.iterdir()} == WRITTEN
    assert sorted(tmp_path.iterdir()) == [out]
    table = pd.read_csv(out / "leakage.csv")
    assert table["level"].tolist() == list(reversed(SplitLevel)) * 3
    for column in ("train_images", "train_all", "test_images", "test_all", "test_subjects"):
        assert (table.groupby("seed")[column].nunique() == 1).all()
    of_level = table.pivot(index="seed", columns="level", values="seen_subjects")[list(SplitLevel)]
    assert (of_level["subject-group"] == 0).all()
    assert (of_level["image"] == table.groupby("seed")["test_subjects"].first()).all()
    assert (np.diff(of_level) <= 0).all()
    assert ((table["seen_images"] > 0) == (table["seen_subjects"] > 0)).all()
    for _, row in table.iterrows():
        run = read_run_folder(out / "runs" / row["run"])
        assert run.info.leaky == row["leaky"] == (row["seen_subjects"] > 0)
        assert run.metrics["test"]["auroc"] == pytest.approx(row["auroc"])
        partition = read_partition(out / "partitions" / f"{row['run'].removeprefix('svm_')}.csv")
        assert len(run.predictions) == len(partition.rows) == row["train_images"] + row["test_images"]
    found = pd.DataFrame(json.loads((out / "leakage.json").read_text())["biases"])
    assert set(found["metric"]) == set(METRICS)
    assert found["level"].unique().tolist() == ["image", "subject-id", "identical-images"]
    auroc = table.pivot(index="seed", columns="level", values="auroc")
    for _, each in found[found["metric"] == "auroc"].iterrows():
        assert each["bias"] == pytest.approx((auroc[each["level"]] - auroc["subject-group"]).mean())


def test_levels_with_equal_partitions_share_one_file_and_so_one_run(tied: Path, tmp_path: Path) -> None:
    made = {seed: partitions_of(tied, seed) for seed in SEEDS}
    paths = _write_partitions(made, tmp_path)
    assert set(paths) == set(itertools.product(SEEDS, SplitLevel))
    assert set(paths.values()) == set(tmp_path.iterdir())
    shared = 0
    for seed, of_seed in made.items():
        for one, other in itertools.combinations(SplitLevel, 2):
            equal = set(of_seed[one].part("train")["path"]) == set(of_seed[other].part("train")["path"])
            assert (paths[seed, one] == paths[seed, other]) == equal
            shared += equal
    assert shared > 0


def test_without_ties_the_levels_of_ids_coincide_and_are_trained_once(untied: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run_command(
        untied / "features.csv", untied / "manifest.csv", "--family", "knn", "--seeds", 2, "--test-size", 0.3, "-o", out
    )
    assert result.exit_code == 0, result.output
    for level in ("subject-id", "identical-images"):
        assert f"the level {level} keeps the same images together as subject-group" in result.output
    assert pd.read_csv(out / "leakage.csv")["level"].tolist() == ["subject-group", "image"] * 2
    assert len(list((out / "runs").iterdir())) == 4


def test_only_the_chosen_levels_and_the_reference_are_trained(tied: Path, tmp_path: Path) -> None:
    options = ("--family", "knn", "--seeds", 2, "--test-size", 0.3, "--level", "identical-images", "--level", "image")
    result = run_command(tied / "features.csv", tied / "manifest.csv", *options, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    levels = pd.read_csv(tmp_path / "out" / "leakage.csv")["level"]
    assert levels.tolist() == ["subject-group", "identical-images", "image"] * 2


@pytest.mark.parametrize(
    ("levels", "says"),
    [
        (["subject-group"], "the only split level is the reference"),
        (["patient"], "no split level 'patient'; choose from image, subject-id, identical-images, subject-group"),
        (["subject-id", "identical-images"], "subject-id and identical-images keep the same images together as"),
    ],
)
def test_levels_without_a_comparison_are_refused(untied: Path, tmp_path: Path, levels: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        leakage(untied / "features.csv", untied / "manifest.csv", tmp_path / "out", levels=levels)
    assert list(tmp_path.iterdir()) == []


def test_a_network_is_trained_on_the_images_that_the_classifier_is_trained_on(tied: Path, tmp_path: Path) -> None:
    paths = _write_partitions({0: partitions_of(tied, 0)}, tmp_path / "partitions")
    options = {"recipe": "small-lightxception", "weights": None, "epochs": 1, "jobs": 1, "background": "black"}
    models = [
        _classical(tied / "features.csv", "knn", 1),
        _network(tied / "images", tied / "manifest.csv", options),
    ]
    one = {key: path for key, path in paths.items() if key == (0, REFERENCE)}
    table = pd.DataFrame(_train_all(models, one, tmp_path / "runs"))
    assert table["model"].tolist() == ["knn", "small-lightxception"]
    assert table["train_images"].nunique() == 1
    network = read_run_folder(tmp_path / "runs" / "small-lightxception_seed_0_subject-group")
    assert network.info.family == "cnn"
    assert set(network.predictions["part"]) == {"train", "test"}


def test_an_interrupted_measurement_resumes(tied: Path, tmp_path: Path) -> None:
    arguments = {"family": "knn", "test_size": 0.3, "seeds": 2}
    files = tied / "features.csv", tied / "manifest.csv"
    whole = leakage(*files, tmp_path / "whole", **arguments)
    shutil.copytree(tmp_path / "whole", tmp_path / "interrupted.partial")
    for name in ("leakage.csv", "leakage.json"):
        (tmp_path / "interrupted.partial" / name).unlink()
    run = json.loads((tmp_path / "whole" / "leakage.json").read_text())["run"]
    (tmp_path / "interrupted.partial" / "arguments.json").write_text(json.dumps(run))
    shutil.rmtree(tmp_path / "interrupted.partial" / "runs" / "knn_seed_1_subject-group")
    kept = (tmp_path / "interrupted.partial" / "runs" / "knn_seed_0_image" / "run.json").stat().st_mtime_ns
    for other in ({"seeds": 3}, {"levels": ["image"]}):
        with pytest.raises(InputError, match="was written with other arguments"):
            leakage(*files, tmp_path / "interrupted", **arguments | other, resume=True)
    with pytest.raises(UnfinishedError, match="contains the unfinished results of an interrupted call"):
        leakage(*files, tmp_path / "interrupted", **arguments)
    done = leakage(*files, tmp_path / "interrupted", **arguments, resume=True)
    assert (tmp_path / "interrupted" / "runs" / "knn_seed_0_image" / "run.json").stat().st_mtime_ns == kept
    assert done.table.equals(whole.table)
    for name in ("leakage.md", "leakage.png", "leakage.svg"):
        assert (tmp_path / "interrupted" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "interrupted.partial").exists()


def test_biases_and_sentences_of_a_table_counted_by_hand() -> None:
    seen = {"image": (5, 40), "subject-id": (1, 10), "subject-group": (0, 0)}
    gaps = {"image": (0.09, 0.10, 0.11), "subject-id": (-0.02, 0.00, 0.02), "subject-group": (0.0, 0.0, 0.0)}
    rows = [
        {"model": "svm", "seed": seed, "level": level, "leaky": level != "subject-group", "train_subjects": 20}
        | {"train_images": 80, "test_images": 10, "test_subjects": 5, "seen_subjects": subjects, "seen_images": images}
        | dict.fromkeys(METRICS, 0.8 + gaps[level][seed])
        for seed in range(3)
        for level, (subjects, images) in seen.items()
    ]
    table = pd.DataFrame(rows)
    biases = level_biases(table)
    found = {each.level: each for each in biases if each.metric == "auroc"}
    assert list(found) == ["image", "subject-id"]
    assert (found["image"].value, found["image"].reference, found["image"].bias) == pytest.approx((0.9, 0.8, 0.1))
    # 4.303 (Student's t of 2) * sqrt((1/3 + 5/20) * 0.0001): of five test subjects and twenty training subjects
    assert found["image"].high - 0.1 == pytest.approx(0.03286, abs=1e-4)
    assert 0.1 - found["image"].low == pytest.approx(0.03286, abs=1e-4)
    said = statements(table, biases, {SplitLevel.IDENTICAL_IMAGES: SplitLevel.SUBJECT_GROUP})
    assert said[0] == (
        "svm, AUROC of cells: 0.900 at the level image (LEAKY: subjects shared between parts), 0.800 at the level "
        "subject-group (unseen subjects); optimistic bias of 0.100 (95% interval 0.067 to 0.133 over 3 seeds)."
    )
    assert "no significant difference (+0.000) (95% interval -0.066 to 0.066 over 3 seeds)" in said[1]
    assert said[-3] == (
        "All levels have the same test images, 10 of 5 subjects, and 80 training images, with the same number of each "
        "class."
    )
    assert said[-2] == (
        "Test subjects that were also in training: 5 with 40 training images at the level image; 1 with 10 training "
        "images at the level subject-id; 0 with 0 training images at the level subject-group."
    )
    assert said[-1].startswith("In this cohort, the level identical-images keeps the same images together as")


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--seeds", 1), 2, "range"),
        (("--level", "patient"), 2, "'patient' is not one of"),
        (("--recipe", "small-lightxception"), 2, "needs both --images and --recipe"),
        (("--epochs", 3), 2, "are for a network"),
        (("--test-size", 0.9), 1, "subject group"),
        (("--images", "IMAGES", "--recipe", "nothing"), 1, "no network recipe 'nothing'"),
    ],
)
def test_bad_input_ends_in_one_line_and_leaves_nothing(
    untied: Path, tmp_path: Path, options: tuple[object, ...], code: int, says: str
) -> None:
    options = tuple(untied / "images" if option == "IMAGES" else option for option in options)
    result = run_command(untied / "features.csv", untied / "manifest.csv", *options, "-o", tmp_path / "out")
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    assert says in next(line for line in result.output.splitlines() if line.startswith("Error: "))
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_without_its_ties_is_refused(untied: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_bytes((untied / "manifest.csv").read_bytes())
    result = run_command(untied / "features.csv", tmp_path / "manifest.csv", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "manifest.ties.csv: is missing" in result.output


def test_features_of_another_manifest_are_refused(untied: Path, tmp_path: Path) -> None:
    write_manifest(read_manifest(untied / "manifest.csv").iloc[1:], tmp_path / "manifest.csv")
    result = run_command(untied / "features.csv", tmp_path / "manifest.csv", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "was extracted with another manifest" in result.output
