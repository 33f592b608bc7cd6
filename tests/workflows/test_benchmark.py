from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from leukobench import cli
from leukobench.cnn.training import train_network
from leukobench.cohort.manifest import read_manifest
from leukobench.core.errors import InputError
from leukobench.core.files import unfinished_path
from leukobench.workflows import benchmark as workflow
from leukobench.workflows import study_plan
from leukobench.workflows.benchmark import benchmark
from leukobench.workflows.study_plan import Step, Study, cohort_facts
from tests.conftest import REPOSITORY

NAMES = ["manifest", "audit", "folds", "features", "svm", "knn", "comparison", "leakage"]


def steps(study: Study) -> list[Step]:
    return study_plan.steps(study, cohort_facts(study))


@pytest.fixture(scope="module")
def study(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A quick study of the generated cohort: the process is killed while it trains the SVM, then it goes on."""
    study = Study(cohort / "images", tmp_path_factory.mktemp("benchmark") / "study", quick=True)
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from leukobench.workflows import benchmark, study_plan\n"
        "study_plan.train_classifier = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
        "benchmark.benchmark(study_plan.Study(Path(sys.argv[1]), Path(sys.argv[2]), quick=True))\n"
    )
    arguments = [sys.executable, "-c", code, str(study.images), str(study.folder)]
    killed = subprocess.run(arguments, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    assert killed.returncode == -9
    return study


def test_a_killed_study_goes_on_and_repeats_no_complete_step(study: Study) -> None:
    before = {name: study.path(name).stat().st_mtime_ns for name in ("manifest.csv", "features.csv", "folds")}
    said: list[str] = []
    page = benchmark(study, said.append)
    assert {name: study.path(name).stat().st_mtime_ns for name in before} == before
    assert [line for line in said if line.endswith(": complete")] == [
        "1 manifest: complete",
        "2/8 audit: complete",
        "3/8 folds: complete",
        "4/8 features: complete",
    ]
    assert [step.name for step in steps(study)] == NAMES
    assert set(json.loads(study.path("steps.json").read_text())["steps"]) == set(NAMES)
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r'href="([^"#:]+)"', text):
        assert (study.folder / link).exists(), link
    assert "Highest AUROC of 2 runs" in text
    again: list[str] = []
    benchmark(study, again.append)
    assert len(again) == len(NAMES)
    assert all(line.endswith(": complete") for line in again)


def test_journals_of_a_process_that_was_killed_right_after_a_step_are_removed(study: Study) -> None:
    benchmark(study)
    left = [study.path("manifest.csv.partial"), study.path("runs") / "svm.partial" / "state.npz"]
    for file in left:
        file.parent.mkdir(exist_ok=True)
        file.write_text("journal", encoding="utf-8")
    benchmark(study)
    assert not left[0].exists()
    assert not left[1].parent.exists()


def test_every_command_is_kept_and_does_the_same(study: Study, tmp_path: Path) -> None:
    benchmark(study)
    lines = study.path("commands.sh").read_text(encoding="utf-8").splitlines()[2:]
    assert len(lines) == len(NAMES)
    for line, output in zip(lines, ("manifest.csv", None, "folds", "features.csv", None, "runs/knn"), strict=False):
        if output is None:
            continue
        words = shlex.split(line)
        assert words[-1] == str(study.path(output))
        made, kept = tmp_path / Path(output).name, study.path(output)
        result = CliRunner().invoke(cli.main, [*words[1:-1], str(made)])
        assert result.exit_code == 0, result.output
        if kept.is_dir():
            made, kept = (next(iter(sorted(each.glob("*.csv")))) for each in (made, kept))
        assert made.read_bytes() == kept.read_bytes()


def test_a_study_with_other_settings_is_refused(study: Study) -> None:
    benchmark(study)
    other = Study(study.images, study.folder, quick=True, seed=5)
    with pytest.raises(InputError, match=r"has a study with other settings .*--seed 0.*--seed 5"):
        benchmark(other)
    more: list[str] = []
    benchmark(Study(study.images, study.folder, quick=True, jobs=2), more.append)
    on_cluster = replace(study, backend="dask", scheduler="tcp://head:8786")  # which nothing asks: all is complete
    benchmark(on_cluster, more.append)
    using = [step.name for step in steps(on_cluster) if "--backend dask --scheduler tcp://head:8786" in step.shell]
    assert using == ["features", "svm", "knn", "leakage"]
    with pytest.raises(InputError, match="the backend dask needs the address of a scheduler"):
        benchmark(replace(study, backend="dask"))
    assert all(line.endswith(": complete") for line in more)


def test_a_network_is_left_out_without_time_or_weights_and_joins_the_report_later(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_network: str
) -> None:
    monkeypatch.setattr(study_plan, "NETWORK", quick_network)
    monkeypatch.setattr(study_plan, "leakage_step", study_plan.split_step)  # a quick step in its place
    study, said = Study(cohort / "images", tmp_path / "study", weights=str(tmp_path / "missing.h5")), []
    page = benchmark(replace(study, hours=1e-9), said.append)
    assert "7/10 network: not begun, the time is over; the same command does it later" in said
    assert "network (not complete)" in page.read_text(encoding="utf-8")
    benchmark(study, said.append)
    assert any("network: left out: " in line and "missing.h5" in line for line in said)
    assert "Highest AUROC of 2 runs" in page.read_text(encoding="utf-8")
    step = study_plan.network_step(study, study.path("runs") / "network")

    def train() -> list[str]:
        how = {"recipe": quick_network, "weights": "none", "epochs": 1}
        train_network(study.images, study.path("manifest.csv"), study.path("folds"), step.output, **how)
        return []

    monkeypatch.setattr(study_plan, "network_step", lambda *_: replace(step, run=train))
    benchmark(study, said.append)
    assert "Highest AUROC of 4 runs" in page.read_text(encoding="utf-8")


def test_the_command_takes_a_folder_of_ones_own(study: Study) -> None:
    result = CliRunner().invoke(cli.main, ["benchmark", str(study.images), "--quick", "-o", str(study.folder)])
    assert result.exit_code == 0, result.output
    assert result.output.rstrip().endswith(f"Open {study.folder / 'index.html'}")


@pytest.fixture
def as_if_official(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study of the images of the cohort, which pass for C-NMC 2019; one of them is changed, and one is missing."""
    benchmark(study)
    images = tmp_path / "images"
    shutil.copytree(study.images, images)
    changed, missing = sorted(images.rglob("*.bmp"))[:2]
    changed.write_bytes(changed.read_bytes()[:-1] + b"x")
    missing.unlink()
    official = read_manifest(study.path("manifest.csv"))
    monkeypatch.setattr(study_plan, "_official", lambda: official)
    other = Study(images, tmp_path / "study", quick=True)
    other.folder.mkdir()
    shutil.copy(study.path("manifest.csv"), other.path("manifest.csv"))
    return other


def test_files_of_cnmc_are_verified_and_the_study_goes_on(as_if_official: Study) -> None:
    (step,) = study_plan.verify_steps(as_if_official, cohort_facts(as_if_official).phases)
    assert step.command == ("verify", str(as_if_official.images), "--phase", "train", "-o", str(step.output))
    assert step.run() == [
        "C-NMC 2019, train: 38 of 40 files as in the manifest; 1 missing, 1 changed",
    ]
    assert sorted(pd.read_csv(step.output)["fault"]) == ["changed", "missing"]
    assert [each.name for each in steps(as_if_official)] == ["manifest", "verification", *NAMES[1:]]
    workflow._write_page(as_if_official, steps(as_if_official), {})
    lines = as_if_official.path("commands.sh").read_text(encoding="utf-8").splitlines()
    assert lines[3] == f"{step.shell} || true"  # verify ends with 1 where a file is missing
    workflow._refuse_other_study(as_if_official, steps(as_if_official))  # and the line is that of this study


def test_other_images_are_not_verified(study: Study) -> None:
    benchmark(study)
    assert cohort_facts(study).phases == ()
    assert study_plan.verify_steps(study, ()) == []


def test_the_manifest_is_read_once_for_all_plans(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark(study)
    read: list[object] = []
    monkeypatch.setattr(study_plan, "read_manifest", lambda *path: (read.append(path), read_manifest(*path))[1])
    study_plan._official()
    read.clear()
    benchmark(study)
    assert read == [(study.path("manifest.csv"),)]


def test_each_step_begins_with_the_time_that_is_left(cohort: Path, tmp_path: Path, steps_of_no_work: None) -> None:
    said: list[str] = []
    study = Study(cohort / "images", tmp_path / "study", quick=True)
    benchmark(study, said.append)
    begun = [line for line in said if ": leukobench " in line]
    assert begun[0].startswith("1 manifest: ")  # nothing to estimate from
    assert all(re.match(r"\d/8 \w+ \((about|less than) .* left\): leukobench ", line) for line in begun[1:]), begun
    shutil.rmtree(study.path("leakage"))
    said.clear()
    benchmark(study, said.append)
    (leakage,) = (line for line in said if ": leukobench " in line)
    assert leakage.startswith("8/8 leakage: ")  # all others are reused


@pytest.fixture
def steps_of_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps after the manifest that make an empty folder."""
    planned = study_plan.steps

    def quick(study: Study, facts: study_plan.CohortFacts) -> list[Step]:
        return [
            replace(step, run=lambda step=step: step.output.mkdir() or []) if step.name != "manifest" else step
            for step in planned(study, facts)
        ]

    monkeypatch.setattr(workflow, "steps", quick)


def test_a_step_that_goes_on_from_a_journal_is_no_basis_of_an_estimate(tmp_path: Path) -> None:
    study = Study(tmp_path / "images", tmp_path / "study")
    out = study.path("runs") / "svm"
    step = Step("svm", ("train-svm",), out, run=lambda: out.mkdir() or [])
    unfinished_path(out).mkdir(parents=True)
    assert workflow._do(study, step, {}, "1/2", print) is None
    shutil.rmtree(out)
    unfinished_path(out).rmdir()
    assert workflow._do(study, step, {}, "1/2", print) is not None
    assert workflow._do(study, step, {}, "1/2", print) is None  # complete: not zero seconds
