"""The plan of a whole study: its steps, each a command of its own. `leukobench.workflows.benchmark` does them."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from leukobench.classifiers.training import train_classifier
from leukobench.cohort.audit import audit
from leukobench.cohort.audit_page import write_audit
from leukobench.cohort.audit_report import lines as audit_lines
from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import PHASES, labelled, read_manifest
from leukobench.cohort.partition import write_split
from leukobench.cohort.split_levels import SplitLevel
from leukobench.cohort.splitting import split
from leukobench.cohort.ties import read_ties, ties_path
from leukobench.cohort.verification import verify
from leukobench.comparison.runs import compare
from leukobench.comparison.verdict import cautions, verdicts
from leukobench.core.files import write_csv
from leukobench.core.text import counted, printable
from leukobench.core.workers import BACKENDS
from leukobench.features.extractor import extract
from leukobench.results.run_info import background_options
from leukobench.workflows.combination import combine
from leukobench.workflows.leakage import leakage

FOLDS = 5  # or as many as the class with fewer subject groups has
VALIDATION = 0.1  # share of the subject groups
NETWORK = "leukobench"
_OPTIONS = {  # of `manifest`
    "positive": "--positive",
    "negative": "--negative",
    "subject_regex": "--subject-regex",
    "subjects": "--subjects",
    "ignored": "--ignore",
}


@dataclass(frozen=True)
class Step:
    """One step of a study.

    Attributes:
        name: Its name.
        command: The arguments of the `leukobench` command that does the same.
        output: The file or folder that it writes, complete or not at all; a step is complete if it exists.
        run: Does the step, and returns what it found, one sentence each.
        optional: Whether the study goes on without it, if it cannot be done or if there is no time left.
        derived: Whether it is done again if its command has changed, as that of the comparison does with a further run.
        shown: What to open in the output, relative to it.
        may_fail: Whether the command ends with an error code for what it found, and the study goes on.
    """

    name: str
    command: tuple[str, ...]
    output: Path
    run: Callable[[], list[str]]
    optional: bool = False
    derived: bool = False
    shown: str = ""
    may_fail: bool = False

    @property
    def shell(self) -> str:
        """The command as one line that a shell understands."""
        return printable(shlex.join(("leukobench", *self.command)))


@dataclass(frozen=True)
class Study:
    """What a study is made from, and how.

    Attributes:
        images: Folder of the images.
        folder: Folder to write, or that of an interrupted study with the same settings.
        sources: Settings of `index_folder` that say label and subject: `positive`, `subject_regex` and so on.
        background: What surrounds the cells.
        quick: Whether to leave out the network, and all split levels but the image level.
        hours: No optional step is begun after so many hours; None: no limit.
        weights: Weights of the network, a file or `imagenet` (downloaded).
        seed: Random seed.
        jobs: Number of parallel processes on this machine.
        backend: Execution backend of the features and of the trainings of SVM and k-NN: `loky` (this machine), `dask`
            or `ray`.
        scheduler: Address of the cluster, for `dask` and `ray`.
    """

    images: Path
    folder: Path
    sources: Mapping[str, Any] = field(default_factory=dict)
    background: str = "black"
    quick: bool = False
    hours: float | None = None
    weights: str = "imagenet"
    seed: int = 0
    jobs: int = 1
    backend: str = BACKENDS[0]
    scheduler: str | None = None

    @property
    def workers(self) -> dict[str, Any]:
        """Where features are measured, and SVM and k-NN are trained."""
        return {"jobs": self.jobs, "backend": self.backend, "scheduler": self.scheduler}

    def path(self, name: str) -> Path:
        """Return the path of a file or folder of the study."""
        return self.folder / name


def index_step(study: Study) -> Step:
    """Return the first step; the others depend on the manifest that it writes."""
    out = study.path("manifest.csv")
    options = [
        word
        for name, value in study.sources.items()
        for each in (value if isinstance(value, list | tuple) else [value])
        if each is not None
        for word in (_OPTIONS[name], str(each))
    ]
    command = ("manifest", str(study.images), *options, *_background(study), *_jobs(study), "-o", str(out))

    def run() -> list[str]:
        table = index_folder(
            study.images, **study.sources, background=study.background, out=out, resume=True, jobs=study.jobs
        )
        return _cohort(table)

    return Step("manifest", command, out, run)


@dataclass(frozen=True)
class CohortFacts:
    """What the plan depends on in the manifest.

    Attributes:
        images: Number of images.
        phases: Phases of C-NMC 2019 that have a file in the manifest.
        folds: Number of folds: as many as there are subject groups of each class, at most `FOLDS`.
    """

    images: int
    phases: tuple[str, ...]
    folds: int


def cohort_facts(study: Study) -> CohortFacts:
    """Read the manifest that the first step wrote."""
    manifest, official = read_manifest(study.path("manifest.csv")), _official()
    known = set(official["phase"][official["sha256"].isin(manifest["sha256"])])
    groups = labelled(manifest).groupby("label")["subject_group"].nunique()
    phases = tuple(phase for phase in PHASES if phase in known)
    return CohortFacts(len(manifest), phases, folds=max(2, min(FOLDS, int(groups.min()))))


def steps(study: Study, facts: CohortFacts) -> list[Step]:
    """Return all steps in their order. A further one is a further line."""
    runs = {name: study.path("runs") / name for name in ("svm", "knn", "network", "combined")}
    return [
        index_step(study),
        *verify_steps(study, facts.phases),
        audit_step(study),
        split_step(study, facts.folds),
        extract_step(study),
        classifier_step(study, "svm", runs["svm"]),
        classifier_step(study, "knn", runs["knn"]),
        *([] if study.quick else [network_step(study, runs["network"])]),
        *([] if study.quick else [combine_step(study, [runs["svm"], runs["network"]], runs["combined"])]),
        compare_step(study, list(runs.values())),
        leakage_step(study, facts.folds),
    ]


def verify_steps(study: Study, phases: Sequence[str]) -> list[Step]:
    """Return the step that verifies the files of these phases of C-NMC 2019; none for a folder without a file of it."""
    if not phases:
        return []
    out = study.path("verification.csv")
    options = [word for phase in phases for word in ("--phase", phase)]

    def run() -> list[str]:
        found = verify(study.images, _official(), phases=phases, jobs=study.jobs)
        write_csv(found.report(), out)
        return [f"C-NMC 2019, {' and '.join(phases)}: {found.verdict()}"]

    command = ("verify", str(study.images), *options, *_jobs(study), "-o", str(out))
    return [Step("verification", command, out, run, may_fail=True)]


@functools.cache
def _official() -> pd.DataFrame:
    """Return the manifest of C-NMC 2019: the plan needs it, and the step that verifies."""
    return read_manifest()


def audit_step(study: Study) -> Step:
    """Return the step that looks for duplicates and shows the ties between subject IDs."""
    manifest, out = study.path("manifest.csv"), study.path("audit")
    command = (
        "audit",
        str(manifest),
        "--images",
        str(study.images),
        *_background(study),
        *_jobs(study),
        "-o",
        str(out),
    )

    def run() -> list[str]:
        cohort = read_manifest(manifest)
        how: dict[str, Any] = {"background": study.background, "jobs": study.jobs}
        found = audit(cohort, ties=read_ties(ties_path(manifest)), images=study.images, **how)
        write_audit(found, out, manifest=cohort, images=study.images, **how)
        return audit_lines(found)[:1]

    return Step("audit", command, out, run, shown="audit.html")


def split_step(study: Study, folds: int) -> Step:
    """Return the step that makes the folds."""
    manifest, out = study.path("manifest.csv"), study.path("folds")
    options = ("--folds", str(folds), "--validation-size", str(VALIDATION), "--seed", str(study.seed))
    command = ("split", str(manifest), "--method", "kfold", *options, "-o", str(out))

    def run() -> list[str]:
        made = split(read_manifest(manifest), "kfold", folds=folds, validation_size=VALIDATION, seed=study.seed)
        write_split(made, out)
        return [f"{folds} folds over subject groups, with seed {study.seed}"]

    return Step("folds", command, out, run)


def extract_step(study: Study) -> Step:
    """Return the step that measures the features."""
    manifest, out = study.path("manifest.csv"), study.path("features.csv")
    command = ("extract", str(study.images), "--manifest", str(manifest), *_background(study), *_workers(study))

    def run() -> list[str]:
        done = extract(study.images, manifest, out, background=study.background, resume=True, **study.workers)
        failed = [f"{counted(len(done.failed), 'image')} could not be measured"] if done.failed else []
        return [f"{counted(done.features, 'feature')} of {counted(done.images, 'cell')}", *failed]

    return Step("features", (*command, "-o", str(out)), out, run)


def classifier_step(study: Study, family: str, out: Path) -> Step:
    """Return the step that trains SVM or k-NN."""
    features, folds = study.path("features.csv"), study.path("folds")
    options = ("--split", str(folds), "--seed", str(study.seed), *_workers(study), "-o", str(out))

    def run() -> list[str]:
        trained = train_classifier(
            features, folds, out, recipe=f"leukobench-{family}", seed=study.seed, **study.workers
        )
        return [_trained(trained)]

    return Step(family, (f"train-{family}", str(features), *options), out, run)


def network_step(study: Study, out: Path) -> Step:
    """Return the step that trains the network."""
    manifest, folds = study.path("manifest.csv"), study.path("folds")
    options = ("--manifest", str(manifest), "--split", str(folds), "--recipe", NETWORK, "--weights", study.weights)
    command = ("train-cnn", str(study.images), *options, *_background(study), "--seed", str(study.seed), *_jobs(study))

    def run() -> list[str]:
        from leukobench.cnn.training import train_network  # here: a quick study needs no TensorFlow

        trained = train_network(
            study.images,
            manifest,
            folds,
            out,
            recipe=NETWORK,
            weights=study.weights,
            background=study.background,
            seed=study.seed,
            jobs=study.jobs,
            resume=True,
        )
        return [_trained(trained)]

    return Step("network", (*command, "-o", str(out)), out, run, optional=True)


def combine_step(study: Study, runs: Sequence[Path], out: Path) -> Step:
    """Return the step that combines the SVM and the network."""

    def run() -> list[str]:
        return [_trained(combine(runs, out))]

    return Step("combination", ("combine", *map(str, runs), "-o", str(out)), out, run, optional=True)


def compare_step(study: Study, runs: Sequence[Path]) -> Step:
    """Return the step that compares the runs that there are by then."""
    here = [run for run in runs if run.exists()]
    out = study.path("report")
    command = ("compare", *map(str, here or runs), "--images", str(study.images), "-o", str(out))

    def run() -> list[str]:
        comparison = compare([run for run in runs if run.exists()])
        comparison.report(out, images=study.images)
        return [*verdicts(comparison), *cautions(comparison)]

    return Step("comparison", command, out, run, derived=True, shown="report.html")


def leakage_step(study: Study, folds: int) -> Step:
    """Return the step that measures the optimistic bias of lenient splits with the SVM."""
    features, manifest, out = study.path("features.csv"), study.path("manifest.csv"), study.path("leakage")
    levels = [SplitLevel.IMAGE] if study.quick else None
    options = (*(("--level", SplitLevel.IMAGE.value) if study.quick else ()), "--folds", str(folds))
    command = ("leakage", str(features), str(manifest), *options, "--seed", str(study.seed), *_workers(study))

    def run() -> list[str]:
        how: dict[str, Any] = {"levels": levels, "folds": folds, "seed": study.seed, **study.workers}
        return leakage(features, manifest, out, **how, resume=True).statements

    return Step("leakage", (*command, "-o", str(out)), out, run, optional=True)


def _background(study: Study) -> tuple[str, ...]:
    words = tuple(word for option in background_options(study.background).items() for word in option)
    return words if study.background != "black" else ()


def _jobs(study: Study) -> tuple[str, ...]:
    return ("--jobs", str(study.jobs)) if study.jobs > 1 else ()


def _workers(study: Study) -> tuple[str, ...]:
    cluster = ("--backend", study.backend, "--scheduler", str(study.scheduler)) if study.scheduler else ()
    return (*_jobs(study), *cluster)


def _cohort(manifest: Any) -> list[str]:
    known = labelled(manifest)
    return [
        f"{counted(len(manifest), 'image')} of {counted(known['subject'].nunique(), 'subject')} in "
        f"{counted(known['subject_group'].nunique(), 'subject group')}"
    ]


def _trained(run: Any) -> str:
    return f"test AUROC {run.metrics['test']['auroc']:.3f} on the cells of unseen subjects, all folds together"
