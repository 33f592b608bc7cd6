"""Verify a download against its manifest: missing, changed, extra and unreadable files."""

from __future__ import annotations

import logging
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from joblib import delayed

from leukobench.cohort.layout import find_images, phase_and_fold
from leukobench.cohort.manifest import PHASES
from leukobench.core.errors import InputError
from leukobench.core.files import sha256_of
from leukobench.core.opening import of_surroundings
from leukobench.core.processes import in_processes
from leukobench.core.progress import ProgressBar
from leukobench.core.text import EXAMPLES, aligned, counted

LOG = logging.getLogger(__name__)

FAULTS = ("missing", "changed", "unreadable", "extra")
ELSEWHERE = "elsewhere"


@dataclass(frozen=True)
class Verification:
    """The result of verifying a folder against a manifest.

    Attributes:
        images: The folder.
        layout: Name of its layout.
        faults: `path` (as in the manifest; of extra files, relative to the folder), `part`, `fault` (one of `FAULTS`)
            and `detail`, sorted by fault and path.
        parts: By part (phase and fold): `expected`, `good` and the number of each fault.
    """

    images: Path
    layout: str
    faults: pd.DataFrame
    parts: pd.DataFrame

    @property
    def good(self) -> bool:
        """Whether every file is present and unchanged, and there are no extra files."""
        return self.faults.empty

    @property
    def absent(self) -> list[str]:
        """Parts without any file."""
        return list(self.parts.index[(self.parts["expected"] > 0) & (self.parts["missing"] == self.parts["expected"])])

    def report(self) -> pd.DataFrame:
        """Return the full list of faults: `path`, `fault` and `detail`."""
        return self.faults[["path", "fault", "detail"]]

    def lines(self) -> list[str]:
        """Return the report as lines of text, with a few examples of each fault."""
        rows = [[part, *map(int, counts)] for part, counts in zip(self.parts.index, self.parts.to_numpy(), strict=True)]
        total = ["total", *map(int, self.parts.sum())]
        lines = [f"{self.images}: layout: {self.layout}", ""]
        lines += aligned([["part", *self.parts.columns], *rows, *([total] * (len(rows) > 1))])
        lines += [""] * bool(self.absent)
        lines += [f"part {part}: not in the folder ({counted(self._expected(part), 'file')})" for part in self.absent]
        listed = self.faults[~(self.faults["part"].isin(self.absent) & (self.faults["fault"] == "missing"))]
        for fault in FAULTS:
            of_kind = listed[listed["fault"] == fault]
            if of_kind.empty:
                continue
            where = " in the parts that are in the folder" if fault == "missing" and self.absent else ""
            lines += ["", f"{fault}{where}: {counted(len(of_kind), 'file')}"]
            for path, detail in zip(of_kind["path"][:EXAMPLES], of_kind["detail"], strict=False):
                lines.append(f"  {path}" + f" ({detail})" * bool(detail))
            lines += [f"  and {len(of_kind) - EXAMPLES:,} more"] * (len(of_kind) > EXAMPLES)
        return lines

    def verdict(self) -> str:
        """Return the result in a line."""
        expected, good = int(self.parts["expected"].sum()), int(self.parts["good"].sum())
        counts = self.faults["fault"].value_counts()
        found = ", ".join(f"{counts[fault]:,} {fault}" for fault in FAULTS if fault in counts)
        return f"{good:,} of {counted(expected, 'file')} as in the manifest" + f"; {found}" * bool(found)

    def _expected(self, part: str) -> int:
        return int(self.parts.loc[part, "expected"])


def verify(images: Path, manifest: pd.DataFrame, *, phases: Sequence[str] = (), jobs: int = 1) -> Verification:
    """Verify a folder of images against a manifest.

    A file is changed if its size or its SHA-256 differs, and unreadable if it cannot be opened or read. Files without
    the suffix of an image are ignored.

    Args:
        images: The folder; in the manifest's layout, or in either layout of C-NMC 2019 (see `cohort.layout`).
        manifest: The expected files, as `leukobench.cohort.manifest` reads them.
        phases: Phases to verify; empty for all.
        jobs: Number of parallel processes.

    Raises:
        InputError: the manifest has none of the phases, or the folder contains none of its images.
    """
    expected = manifest[manifest["phase"].isin(phases)] if phases else manifest
    if expected.empty:
        there = ", ".join(sorted(set(manifest["phase"]) - {""})) or "none"
        raise InputError(
            f"the manifest contains no image of the phase {' or '.join(phases)}; choose one of its phases: {there}"
        )
    found = find_images(images, manifest["path"])
    part = pd.Series(_part_names(expected["phase"], expected["fold"]), index=expected["path"])
    here = expected[expected["path"].isin(found.files.keys())]
    calls = (
        delayed(_check)(found.files[path], size, sha256)
        for path, size, sha256 in zip(here["path"], here["size_bytes"], here["sha256"], strict=True)
    )
    checking = in_processes(calls, jobs, batch_size=32)
    results = ProgressBar(LOG, checking, total=len(here), desc="verifying", unit="file")
    faults = [
        (path, part[path], *result) for path, result in zip(here["path"], results, strict=True) if result is not None
    ]
    absent = expected["path"][~expected["path"].isin(found.files.keys())]
    faults += [(path, part[path], "missing", "") for path in absent]
    faults += _extra(images, found.extra, phases)
    table = pd.DataFrame(faults, columns=["path", "part", "fault", "detail"])
    table["fault"] = pd.Categorical(table["fault"], FAULTS)
    table = table.sort_values(["fault", "path"], ignore_index=True).astype({"fault": "str"})
    return Verification(images, found.layout, table, _summary(part, table))


def _check(file: Path, size: int, sha256: str) -> tuple[str, str] | None:
    """Return the fault of a file and its detail, or None."""
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            return "unreadable", "is a folder" if stat.S_ISDIR(status.st_mode) else "is not a regular file"
        if status.st_size != size:
            return "changed", f"{status.st_size:,} bytes instead of {size:,}"
        found = sha256_of(file)
    except OSError as error:
        if of_surroundings(error):
            raise
        return "unreadable", error.strerror or str(error)
    return None if found == sha256 else ("changed", f"SHA-256 {found[:16]}... instead of {sha256[:16]}...")


def _extra(images: Path, extra: dict[str, str], phases: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """Return the extra files as faults, without those of phases that are not verified."""
    faults = []
    for path, detail in extra.items():
        phase, fold = phase_and_fold((images.resolve() / path).as_posix())
        if not phases or not phase or phase in phases:
            faults.append((path, _part_name(phase, fold), "extra", detail))
    return faults


def _part_names(phases: pd.Series, folds: pd.Series) -> list[str]:
    return [_part_name(phase, fold) for phase, fold in zip(phases, folds, strict=True)]


def _part_name(phase: str, fold: str) -> str:
    return f"{phase or ELSEWHERE} fold {fold}" if fold else phase or ELSEWHERE


def _summary(part: pd.Series, faults: pd.DataFrame) -> pd.DataFrame:
    """Count expected and good files and each fault by part, training first."""
    counts = pd.crosstab(faults["part"], faults["fault"]).reindex(columns=list(FAULTS), fill_value=0)
    expected = part.value_counts().rename("expected")
    table = pd.concat([expected, counts], axis=1).fillna(0).astype(int)
    table.insert(1, "good", table["expected"] - table[["missing", "changed", "unreadable"]].sum(axis=1))
    order = {phase: number for number, phase in enumerate(PHASES)}
    return table.loc[sorted(table.index, key=lambda name: (order.get(name.split()[0], len(order)), name))]
