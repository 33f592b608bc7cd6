"""Croissant records, read with mlcroissant, the reference implementation of the format."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import mlcroissant
import pandas as pd
import pytest

from leukobench.cohort.croissant import CNMC, croissant
from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import read_manifest, shipped_manifest_path, write_manifest
from leukobench.cohort.partition import read_split, write_split
from leukobench.cohort.splitting import split
from leukobench.cohort.ties import read_ties, ties_path, write_ties
from leukobench.core.errors import InputError
from leukobench.core.files import sha256_of

# a warning of rdflib about itself, which mlcroissant uses
pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")

FACTS: dict[str, Any] = {
    "name": "Generated cells",
    "license": "https://creativecommons.org/publicdomain/zero/1.0/",
    "url": "https://example.org/cells",
    "creators": ["Ada Lovelace", "Charles Babbage"],
    "date_published": "2024-02-29",
    "citation": "Lovelace A., Babbage C., Generated cells (2024)",
    "version": "1.0.0",
}


@pytest.fixture
def folder(cohort: Path, tmp_path: Path) -> Path:
    """A folder with the generated cohort's manifest, a table with one tie, a partition and folds."""
    shutil.copytree(cohort / "images", tmp_path / "images")
    first, *_, last = sorted((tmp_path / "images").rglob("*all.bmp"))
    shutil.copy(first, last)  # two subjects with one image
    cells = index_folder(tmp_path / "images", out=tmp_path / "manifest.csv")
    write_split(split(cells, "subject", test_size=0.4, validation_size=0.2, seed=1), tmp_path / "split.csv")
    write_split(split(cells, "kfold", folds=3, validation_size=0.2, seed=1), tmp_path / "folds")
    return tmp_path


def read(record: Path, record_set: str) -> pd.DataFrame:
    """Read a record set with mlcroissant: bytes as text, missing values as "", columns without the name of the set."""
    return as_table(mlcroissant.Dataset(record).records(record_set))


def as_table(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    def text(value: Any) -> str:
        return "" if value is None else value.decode() if isinstance(value, bytes) else str(value)

    return pd.DataFrame([{field.partition("/")[2]: text(value) for field, value in row.items()} for row in records])


def checked(record: Path, caplog: pytest.LogCaptureFixture) -> mlcroissant.Dataset:
    """Return the dataset of a record that has neither errors nor warnings."""
    caplog.clear()
    dataset = mlcroissant.Dataset(record)  # raises ValidationError
    assert dataset.metadata.ctx.issues.report() == ""
    assert [message.getMessage() for message in caplog.records] == []
    assert dataset.metadata.ctx.is_v1_1()
    return dataset


@pytest.mark.parametrize("which", ["split.csv", "folds"])
def test_the_record_of_a_cohort_is_valid_and_gives_back_its_tables(
    folder: Path, which: str, caplog: pytest.LogCaptureFixture
) -> None:
    record = folder / "croissant.json"
    croissant(folder / "manifest.csv", record, split=folder / which, **FACTS)
    metadata = checked(record, caplog).metadata
    assert (metadata.name, metadata.url, metadata.cite_as) == (FACTS["name"], FACTS["url"], FACTS["citation"])
    assert (metadata.license, metadata.version) == ([FACTS["license"]], FACTS["version"])
    assert [creator.name for creator in metadata.creators] == FACTS["creators"]
    assert metadata.date_published.date().isoformat() == FACTS["date_published"]
    images, manifest = read(record, "images"), read_manifest(folder / "manifest.csv")
    assert images.equals(manifest[list(images)].astype(str))
    assert list(images) == list(manifest)[:-1]  # all but the original name
    ties = read_ties(folder / "manifest.ties.csv")
    assert len(ties) == 1
    assert read(record, "ties").equals(ties.astype(str))
    for fold, partition in read_split(folder / which).by_fold():
        parts = read(record, "splits" if fold is None else f"splits_fold_{fold}")
        assert parts.equals(partition.rows[["path", "part"]].astype(str))


@pytest.mark.parametrize("phases", [(), ("train",)])
def test_the_record_of_the_shipped_manifest_is_valid_and_complete(
    tmp_path: Path, phases: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    shipped = read_manifest()
    write_split(split(shipped, "kfold" if phases else "official", phases=phases), tmp_path / "cnmc" / "split")
    record = tmp_path / "cnmc" / "croissant.json"
    croissant(None, record, split=tmp_path / "cnmc" / "split")
    shutil.move(tmp_path / "cnmc", tmp_path / "published")  # everything that the record names is in its folder
    record = tmp_path / "published" / "croissant.json"
    metadata = checked(record, caplog).metadata
    assert metadata.license == ["https://creativecommons.org/licenses/by/3.0/"]
    assert "10.7937/tcia.2019.dc64i46r" in metadata.cite_as
    assert "10.7937/tcia.2019.dc64i46r" in metadata.url
    assert metadata.date_published.year == 2019
    assert any("subject_group" in bias for bias in metadata.data_biases)
    assert any("not a medical device" in limitation for limitation in metadata.data_limitations)
    images = read(record, "images")
    assert images.equals(shipped[list(images)].astype(str))
    assert len(read(record, "ties")) == len(read_ties())
    parts = read(record, "splits_fold_4" if phases else "splits")
    assert set(parts["part"]) == {"train", "validation", "test"}


def test_sizes_and_checksums_are_those_of_the_files(folder: Path) -> None:
    record = croissant(folder / "manifest.csv", folder / "croissant.json", split=folder / "folds", **FACTS)
    files = {each["@id"]: each for each in record["distribution"] if each["@type"] == "cr:FileObject"}
    names = ["manifest.csv", "manifest.ties.csv", *(f"folds/fold_{fold}.csv" for fold in range(3))]
    assert [file["contentUrl"] for file in files.values()] == names
    for file in files.values():
        assert file["sha256"] == sha256_of(folder / file["contentUrl"])
        assert file["contentSize"] == f"{(folder / file['contentUrl']).stat().st_size} B"
    assert json.loads((folder / "croissant.json").read_text(encoding="utf-8")) == record


def test_a_changed_table_is_noticed_by_its_checksum(folder: Path) -> None:
    croissant(folder / "manifest.csv", folder / "croissant.json", **FACTS)
    with open(folder / "manifest.csv", "a", encoding="utf-8") as file:
        file.write("\n")
    with pytest.raises(Exception, match=r"Download\(manifest-file\)"):
        read(folder / "croissant.json", "images")


def test_the_set_of_image_files_is_the_image_folder(folder: Path) -> None:
    croissant(folder / "manifest.csv", folder / "croissant.json", **FACTS)
    dataset = mlcroissant.Dataset(folder / "croissant.json")
    (images,) = dataset.metadata.file_sets
    found = {file.as_posix() for pattern in images.includes for file in (folder / "images").glob(pattern)}
    assert found == {(folder / "images" / path).as_posix() for path in read_manifest(folder / "manifest.csv")["path"]}
    assert images.encoding_formats == ["image/bmp"]


def test_the_same_files_give_the_same_record_in_every_folder(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    croissant(folder / "manifest.csv", folder / "croissant.json", split=folder / "folds", **FACTS)
    other = tmp_path_factory.mktemp("other") / "moved"
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("croissant.json"))
    croissant(other / "manifest.csv", other / "croissant.json", split=other / "folds", **FACTS)
    assert (other / "croissant.json").read_bytes() == (folder / "croissant.json").read_bytes()


def test_a_manifest_without_ties_has_a_record_without_ties(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    ties_path(folder / "manifest.csv").unlink()
    croissant(folder / "manifest.csv", folder / "croissant.json", **FACTS)
    dataset = checked(folder / "croissant.json", caplog)
    assert [each.uuid for each in dataset.metadata.record_sets] == ["images", "labels"]
    assert len(read(folder / "croissant.json", "images")) == 40


def test_tables_without_ties_or_labels_can_be_read(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_ties(read_ties(folder / "manifest.ties.csv")[:0], folder / "manifest.ties.csv")
    unlabelled = read_manifest(folder / "manifest.csv").assign(label="", subject="", subject_group="")
    write_manifest(unlabelled, folder / "manifest.csv")
    croissant(folder / "manifest.csv", folder / "croissant.json", **FACTS)
    checked(folder / "croissant.json", caplog)
    assert (read(folder / "croissant.json", "images")["label"] == "").all()
    assert read(folder / "croissant.json", "ties").empty


def test_labels_and_parts_are_enumerations(folder: Path) -> None:
    croissant(folder / "manifest.csv", folder / "croissant.json", split=folder / "split.csv", **FACTS)
    labels, parts = (read(folder / "croissant.json", name) for name in ("labels", "parts"))
    assert labels["name"].tolist() == ["all", "hem"]
    assert dict(parts[["name", "url"]].to_numpy()) == {
        "train": "cr:TrainingSplit",
        "validation": "cr:ValidationSplit",
        "test": "cr:TestSplit",
    }
    kinds = {each.uuid: each.data_types for each in mlcroissant.Dataset(folder / "croissant.json").metadata.record_sets}
    assert {str(kind) for kind in kinds["parts"]} == {
        "https://schema.org/Enumeration",
        "http://mlcommons.org/croissant/Split",
    }


def test_an_image_level_split_is_said_to_share_subjects(folder: Path) -> None:
    cells = read_manifest(folder / "manifest.csv")
    write_split(split(cells, "image"), folder / "image.csv")
    leaky = croissant(folder / "manifest.csv", folder / "a.json", split=folder / "image.csv", **FACTS)
    clean = croissant(folder / "manifest.csv", folder / "b.json", split=folder / "split.csv", **FACTS)
    assert any("share subjects" in text for text in leaky["rai:dataLimitations"])
    assert not any("share subjects" in text for text in clean["rai:dataLimitations"])


def test_facts_of_cnmc_are_known_for_a_part_of_its_images_and_can_be_replaced(tmp_path: Path) -> None:
    shipped = read_manifest()
    write_manifest(shipped[shipped["phase"] == "prelim"], tmp_path / "manifest.csv")
    record = croissant(
        tmp_path / "manifest.csv", tmp_path / "croissant.json", name="Preliminary phase", version="2.0.0"
    )
    assert (record["name"], record["version"], record["license"]) == ("Preliminary phase", "2.0.0", CNMC.license)


def without(fact: str) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: {"manifest": folder / "manifest.csv"} | {key: FACTS[key] for key in FACTS if key != fact}


def other_manifest(folder: Path) -> dict[str, Any]:
    cells = read_manifest(folder / "manifest.csv")
    write_manifest(cells[1:], folder / "smaller.csv")
    return {"manifest": folder / "smaller.csv", "split": folder / "split.csv"} | FACTS


def broken_ties(folder: Path) -> dict[str, Any]:
    text = (folder / "manifest.ties.csv").read_text(encoding="utf-8")
    (folder / "manifest.ties.csv").write_text(text.replace("yes", "perhaps"), encoding="utf-8")
    return {"manifest": folder / "manifest.csv"} | FACTS


def another_shipped_manifest(folder: Path) -> dict[str, Any]:
    shutil.copy(folder / "manifest.csv", folder / shipped_manifest_path().name)
    return {"manifest": None}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (without("license"), r"needs license of the dataset.* give it"),
        (without("creators"), "needs creators of the dataset"),
        (lambda folder: {"manifest": folder / "manifest.csv"}, "needs name, license, url, creators, date_published of"),
        (lambda folder: without("x")(folder) | {"date_published": "today"}, "date_published='today'; expected a date"),
        (lambda folder: without("x")(folder) | {"date_published": "2023-02-29"}, "expected a date"),
        (lambda folder: without("x")(folder) | {"split": folder / "images"}, "contains no fold_0.csv"),
        (lambda folder: without("x")(folder) | {"out": folder / "folds" / "a.json"}, "lies outside its folder"),
        (lambda folder: without("x")(folder) | {"out": folder / "split.csv"}, "already exists"),
        (other_manifest, "was not made from .*smaller.csv"),
        (broken_ties, "accepted other than yes or no"),
        (another_shipped_manifest, "data_manifest.csv: already exists"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(
    folder: Path, arguments: Callable[[Path], dict[str, Any]], says: str
) -> None:
    given = {"out": folder / "croissant.json"} | arguments(folder)
    before = sorted(folder.rglob("*"))
    with pytest.raises(InputError, match=says) as caught:
        croissant(given.pop("manifest"), given.pop("out"), **given)
    assert "\n" not in str(caught.value)
    assert sorted(folder.rglob("*")) == before


def test_a_record_that_is_validated_does_not_change_the_next_one(folder: Path) -> None:
    first = croissant(folder / "manifest.csv", folder / "a.json", **FACTS)
    expected = copy.deepcopy(first)
    mlcroissant.Dataset(first)  # adds to the context of what it is given
    assert croissant(folder / "manifest.csv", folder / "b.json", **FACTS) == expected
