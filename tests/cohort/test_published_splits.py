"""The published splits of C-NMC 2019: docs/data.md names the commands and what they write; the tests run them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from leukobench.cli import main
from leukobench.cohort.manifest import manifest_checksum, read_manifest
from leukobench.cohort.partition import PARTS, Folds, read_partition, read_split
from leukobench.core.files import sha256_of
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def section() -> str:
    text = (REPOSITORY / "docs" / "data.md").read_text(encoding="utf-8")
    return text.partition("\n## Published splits of C-NMC 2019\n")[2].partition("\n## ")[0]


@pytest.fixture(scope="module")
def published(section: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which the commands of the section ran, and what they printed."""
    folder = tmp_path_factory.mktemp("published")
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in re.findall(r"^ {4}leukobench (split .+)$", section, re.MULTILINE):
            result = CliRunner().invoke(main, shlex.split(command))
            assert result.exit_code == 0, result.output
            said.append(result.output)
    return folder, "\n".join(said)


def test_the_commands_write_the_files_of_the_table(section: str, published: tuple[Path, str]) -> None:
    folder, _ = published
    rows = re.findall(r"^\| `(\S+\.csv)` \| `([0-9a-f]{64})` \| (.+) \|$", section, re.MULTILINE)
    assert [name for name, _, _ in rows] == sorted(
        file.relative_to(folder).as_posix() for file in folder.rglob("*.csv")
    )
    for name, checksum, counts in rows:
        assert sha256_of(folder / name) == checksum
        parts = [read_partition(folder / name).part(part) for part in PARTS]
        assert counts == " | ".join(f"{len(part):,} ({part['subject_group'].nunique()})" for part in parts)
        assert f"`{read_partition(folder / name).manifest}`" in section
    assert f"`{manifest_checksum(read_manifest())[:16]}`" in section


def test_no_subject_group_and_no_image_is_on_both_sides(published: tuple[Path, str]) -> None:
    folder, _ = published
    checksum = read_manifest().set_index("path")["sha256"]
    files = sorted(folder.rglob("*.csv"))
    assert len(files) == 6
    for file in files:
        partition = read_partition(file)
        assert partition.shared_groups == []
        rows = partition.rows.assign(sha256=partition.rows["path"].map(checksum))
        assert (rows.groupby("sha256")["part"].nunique() == 1).all()
        assert (rows.groupby("subject")["part"].nunique() == 1).all()


def test_the_folds_test_each_image_of_the_training_phase_once(published: tuple[Path, str]) -> None:
    folds = read_split(published[0] / "cnmc_folds")
    assert isinstance(folds, Folds)
    tested = [path for _, partition in folds.by_fold() for path in partition.part("test")["path"]]
    shipped = read_manifest()
    assert sorted(tested) == sorted(shipped["path"][shipped["phase"] == "train"])


def test_the_protocol_names_the_split_that_its_command_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (REPOSITORY / "docs" / "protocol.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^ {4}leukobench (split .+)$", text, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, shlex.split(command)).exit_code == 0
    assert f"`{sha256_of(tmp_path / 'official.csv')}`" in text
    partition = read_partition(tmp_path / "official.csv")
    for part, count in (("train", "33 `all`, 16 `hem`"), ("validation", "5 `all`, 4 `hem`"), ("test", "13 `all`, 15")):
        of_class = partition.part(part).groupby("label")["subject_group"].nunique()
        assert count.startswith(f"{of_class['all']} `all`, {of_class['hem']}")
        assert count in text


def test_the_official_split_does_not_train_on_subject_55(published: tuple[Path, str]) -> None:
    folder, said = published
    partition = read_partition(folder / "cnmc_official.csv")
    train, test = partition.part("train"), partition.part("test")
    shipped = read_manifest()
    assert sorted(test["path"]) == sorted(shipped["path"][shipped["phase"] == "prelim"])
    assert "55" in set(test["subject"])
    (group,) = set(shipped["subject_group"][shipped["subject"] == "55"])
    assert not train["subject"].isin(group.split("=")).any()
    left_out = shipped[(shipped["phase"] == "train") & ~shipped["path"].isin(train["path"])]
    assert set(left_out["subject_group"]) <= set(test["subject_group"])
    assert f"left out    {len(left_out):6} images of 1 subject group that is also in the test part: {group}" in said
