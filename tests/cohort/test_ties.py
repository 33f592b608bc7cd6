from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from leukobench.cli import main
from leukobench.cohort.audit import audit
from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import read_manifest
from leukobench.cohort.synthetic import generate_cohort
from leukobench.cohort.ties import COLUMNS, find_ties, read_rejected, read_ties, reject, ties_path, write_ties
from leukobench.core.errors import InputError
from tests.conftest import REPOSITORY


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """Six subjects; subject 2 has a cell of subject 1 turned by 7 degrees, subject 3 a copy of another one."""
    images = tmp_path / "images"
    generate_cohort(images, subjects=6, cells_per_subject=2, seed=5)
    turn(images / "training_data/fold_0/all/UID_1_1_1_all.bmp", images / "training_data/fold_0/all/UID_2_90_1_all.bmp")
    shutil.copy(
        images / "training_data/fold_0/all/UID_1_2_1_all.bmp", images / "training_data/fold_0/all/UID_3_90_1_all.bmp"
    )
    return images


def turn(source: Path, target: Path, degrees: float = 7) -> None:
    """Write an image rotated."""
    pixels = cv2.imread(str(source))
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    cv2.imwrite(str(target), cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_NEAREST))


def groups(manifest: pd.DataFrame) -> set[str]:
    return {group for group in manifest["subject_group"] if "=" in group}


def leukobench(*arguments: object) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_shipped_ties_give_the_groups_of_the_shipped_manifest_and_name_its_images() -> None:
    ties, manifest = read_ties(), read_manifest()
    assert tuple(ties.columns) == COLUMNS
    by_path = manifest.set_index("path")
    recorded = ties[ties["path"] != ""]
    for column, subject in (("path", "subject"), ("other", "other_subject")):
        assert (by_path.loc[recorded[column], "subject"].to_numpy() == recorded[subject].to_numpy()).all()
    labels = [by_path.loc[recorded[column], "label"].to_numpy() for column in ("path", "other")]
    assert (labels[0] == labels[1]).all()
    identical = recorded["kind"] == "identical"
    checksums = [by_path.loc[recorded[column], "sha256"].to_numpy() for column in ("path", "other")]
    assert ((checksums[0] == checksums[1]) == identical).all()
    assert identical.sum() == 99
    # its pair of files was not recorded: images of 55 are in the preliminary test
    assert ties[ties["path"] == ""][["subject", "other_subject"]].to_numpy().tolist() == [["51", "55"]]


@pytest.fixture(scope="module")
def real(cnmc: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, Path]:
    """The manifest of the real images, and the folder where its ties lie beside it."""
    folder = tmp_path_factory.mktemp("real")
    return index_folder(cnmc, out=folder / "manifest.csv", jobs=2), folder


def test_real_images_are_found_as_the_shipped_manifest_lists_them(real: tuple[pd.DataFrame, Path]) -> None:
    found = real[0].set_index("path")
    shipped = read_manifest(REPOSITORY / "data_manifest.csv").set_index("path").loc[found.index]
    for column in ("label", "subject", "fold", "phase", "sha256", "size_bytes", "original_name"):
        assert (found[column] == shipped[column]).all(), column


def test_real_cells_have_the_shipped_ties(real: tuple[pd.DataFrame, Path]) -> None:
    assert (
        read_ties(real[1] / "manifest.ties.csv")
        .drop(columns="similarity")
        .equals(read_ties().drop(columns="similarity"))
    )


def test_a_folder_is_searched_for_near_duplicates_by_default(planted: Path, tmp_path: Path) -> None:
    printed = leukobench("manifest", planted, "-o", tmp_path / "manifest.csv")
    assert "2 pairs of images that join two subject IDs (1 identical, 1 near-duplicate)" in printed
    assert groups(read_manifest(tmp_path / "manifest.csv")) == {"1=2=3"}
    ties = read_ties(ties_path(tmp_path / "manifest.csv"))
    assert [Path(path).name for path in ties["other"]] == ["UID_2_90_1_all.bmp", "UID_3_90_1_all.bmp"]
    assert ties["similarity"].min() > 0.92
    leukobench("manifest", planted, "--no-near", "-o", tmp_path / "fast.csv")
    assert groups(read_manifest(tmp_path / "fast.csv")) == {"1=3"}


def test_a_rejected_pair_does_not_join_its_subjects(planted: Path, tmp_path: Path) -> None:
    manifest, ties = tmp_path / "manifest.csv", tmp_path / "manifest.ties.csv"
    leukobench("manifest", planted, "-o", manifest)
    decided = read_ties(ties)
    decided.loc[decided["kind"] == "near-duplicate", "accepted"] = "no"
    write_ties(decided, tmp_path / "decided.csv")
    printed = leukobench("manifest", planted, "--reject", tmp_path / "decided.csv", "-o", tmp_path / "again.csv")
    assert "1 of them rejected" in printed
    assert groups(read_manifest(tmp_path / "again.csv")) == {"1=3"}
    # the decision stays with the manifest: an audit that finds the pair again does not join the subjects
    printed = leukobench("audit", tmp_path / "again.csv", "--images", planted, "--near", "-o", tmp_path / "audit.json")
    assert "joined by ties: 1=3\n" in printed
    assert "are tied, but in different groups of the manifest: none" in printed
    # and without the table beside it, the audit takes the pair again
    ties_path(tmp_path / "again.csv").unlink()
    printed = leukobench("audit", tmp_path / "again.csv", "--images", planted, "--near")
    assert "are tied, but in different groups of the manifest: 1=2=3\n" in printed
    printed = leukobench("audit", manifest, "--images", planted, "--near", "--reject", tmp_path / "decided.csv")
    assert "not tied, but in one group of the manifest: 1=2=3\n" in printed


def test_pairs_to_reject_are_any_table_of_two_paths(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("other,path\nb.bmp,a.bmp\n")
    rejected = read_rejected(tmp_path / "pairs.csv")
    ties = pd.DataFrame([["b.bmp", "a.bmp", "near-duplicate", 0.95, "1", "2", "yes"]], columns=COLUMNS)
    assert reject(ties, rejected)["accepted"].tolist() == ["no"]
    (tmp_path / "none.csv").write_text("path,other\n")
    assert reject(ties, read_rejected(tmp_path / "none.csv"))["accepted"].tolist() == ["yes"]
    assert reject(ties.head(0), rejected).empty  # a cohort without ties


def test_a_tie_between_a_blast_and_a_normal_cell_is_refused_and_shown(planted: Path, tmp_path: Path) -> None:
    wrong = planted / "training_data/fold_0/hem/UID_H9_1_1_hem.bmp"
    turn(planted / "training_data/fold_0/all/UID_1_1_1_all.bmp", wrong, degrees=-100)
    result = CliRunner().invoke(main, ["manifest", str(planted), "-o", str(tmp_path / "manifest.csv")])
    assert result.exit_code == 1
    message = result.output.strip().splitlines()[-1]
    assert "UID_1_1_1_all.bmp (all, subject 1)" in message
    assert "UID_H9_1_1_hem.bmp (hem, subject H9) show one cell (near-duplicate, similarity 0.9" in message
    assert "which cannot have two labels (2 such pairs)" in message  # subject 2 has the cell, too
    assert not (tmp_path / "manifest.csv").exists()
    # what was read is kept, and the pairs can be rejected
    (tmp_path / "rejected.csv").write_text(
        "path,other\n"
        "training_data/fold_0/all/UID_1_1_1_all.bmp,training_data/fold_0/hem/UID_H9_1_1_hem.bmp\n"
        "training_data/fold_0/hem/UID_H9_1_1_hem.bmp,training_data/fold_0/all/UID_2_90_1_all.bmp\n"
    )
    leukobench("manifest", planted, "--reject", tmp_path / "rejected.csv", "--resume", "-o", tmp_path / "manifest.csv")
    assert groups(read_manifest(tmp_path / "manifest.csv")) == {"1=2=3"}


def test_an_image_that_cannot_be_decoded_is_named_and_not_compared(planted: Path, tmp_path: Path) -> None:
    damaged = planted / "training_data/fold_0/all/UID_2_90_1_all.bmp"
    damaged.write_bytes(damaged.read_bytes()[:999])
    printed = leukobench("manifest", planted, "-o", tmp_path / "manifest.csv")
    assert "not compared: 1 image (first: " in printed
    assert "UID_2_90_1_all.bmp: cannot be read" in printed
    assert groups(read_manifest(tmp_path / "manifest.csv")) == {"1=3"}


def test_cells_on_white_are_compared_if_the_background_is_named(planted: Path, tmp_path: Path) -> None:
    for file in planted.rglob("*.bmp"):
        pixels = cv2.imread(str(file))
        pixels[(pixels == 0).all(axis=2)] = 255
        cv2.imwrite(str(file), pixels)
    printed = leukobench("manifest", planted, "-o", tmp_path / "black.csv")
    assert "not compared: 14 images (first: " in printed
    assert "is not cut out on black, the cell covers its corners; choose another background" in printed
    assert groups(read_manifest(tmp_path / "black.csv")) == {"1=3"}
    leukobench("manifest", planted, "--background", "white", "-o", tmp_path / "white.csv")
    assert groups(read_manifest(tmp_path / "white.csv")) == {"1=2=3"}


def test_a_resumed_index_has_the_same_ties_as_an_unbroken_one(planted: Path, tmp_path: Path) -> None:
    fold = planted / "training_data/fold_0"
    turn(fold / "all/UID_1_1_1_all.bmp", fold / "hem/UID_H9_1_1_hem.bmp", degrees=-100)
    with pytest.raises(InputError, match="cannot have two labels"):
        index_folder(planted, out=tmp_path / "resumed.csv")
    journal = tmp_path / "resumed.csv.partial"
    journal.write_bytes(journal.read_bytes()[: journal.stat().st_size // 2])  # in the middle of a line
    (fold / "hem/UID_H9_1_1_hem.bmp").unlink()
    resumed = index_folder(planted, out=tmp_path / "resumed.csv", resume=True)
    assert resumed.equals(index_folder(planted, out=tmp_path / "whole.csv"))
    assert read_ties(tmp_path / "resumed.ties.csv").equals(read_ties(tmp_path / "whole.ties.csv"))


def test_a_link_to_nowhere_is_named(planted: Path) -> None:
    (planted / "training_data/fold_0/all/UID_5_1_1_all.bmp").symlink_to(planted / "nowhere.bmp")
    unreadable = index_folder(planted).attrs["unreadable"]
    assert list(unreadable) == ["training_data/fold_0/all/UID_5_1_1_all.bmp"]
    assert "No such file or directory" in unreadable["training_data/fold_0/all/UID_5_1_1_all.bmp"]


def test_of_three_copies_each_is_tied_to_the_first_that_has_another_subject() -> None:
    rows = pd.DataFrame({"path": list("abcde"), "subject": ["1", "1", "2", "", "3"], "sha256": list("xxxxy")})
    ties = find_ties(rows)
    assert ties[["path", "other", "subject", "other_subject"]].to_numpy().tolist() == [["a", "c", "1", "2"]]
    pixels = pd.Series(["p", "p", "p", "p", "p"])
    assert find_ties(rows, pixels)["kind"].tolist() == ["identical", "same pixels"]


def test_a_copy_of_unknown_subject_hides_no_tie() -> None:
    rows = pd.DataFrame({"path": list("abc"), "subject": ["", "1", "2"], "sha256": list("xxy")})
    ties = find_ties(rows, pd.Series(["p", "p", "p"]))
    assert ties[["path", "other", "kind"]].to_numpy().tolist() == [["b", "c", "same pixels"]]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("kind", "similar", "has a kind other than identical, same pixels, near-duplicate"),
        ("accepted", "", "has an accepted other than yes or no"),
        ("similarity", "much", "has a similarity that is not a number"),
        ("other_subject", "1", "does not name two different subjects"),
        ("other_subject", "", "does not name two different subjects"),
    ],
)
def test_a_malformed_row_of_the_table_is_named(tmp_path: Path, column: str, value: str, reason: str) -> None:
    good = ["a.bmp", "b.bmp", "near-duplicate", "0.95", "1", "2", "yes"]
    table = pd.DataFrame([good, good], columns=COLUMNS)
    table.loc[1, column] = value
    table.to_csv(tmp_path / "ties.csv", index=False)
    with pytest.raises(InputError, match=rf"ties\.csv: row 3 \('a\.bmp'\) {reason}; fix it"):
        read_ties(tmp_path / "ties.csv")


def test_a_missing_or_empty_table_is_an_error_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read as a table of ties"):
        read_ties(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InputError, match=r"empty\.csv: is empty; expected a table of ties"):
        read_ties(tmp_path / "empty.csv")


def test_ties_through_the_whole_manifest_join_what_a_part_of_it_does_not_show() -> None:
    """51 and 78 share images with 75 only, so a manifest without 75 needs the ties beside it."""
    manifest = read_manifest()
    without = manifest[manifest["subject"] != "75"]
    assert "51=55=78" in audit(without, ties=read_ties()).groups.joined
    assert np.all([("55" not in group) for group in audit(without).groups.joined])
