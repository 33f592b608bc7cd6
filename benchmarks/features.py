"""Speed of feature extraction on real images, compared with other tools.

    pip install '.[bench]'
    python benchmarks/features.py C-NMC_Leukemia --images 200
    git worktree add ../before v0.3.0
    python benchmarks/features.py C-NMC_Leukemia --images 200 --before ../before

Every time is the median over the images, in milliseconds of CPU time per cell, of one process: other programs on the
machine change it less than the time of day. Of each image it is the shortest of three. Each tool measures the same
cells on the same machine in the same run, cell by cell, after one cell that is not counted. In comparisons that start
from a cell in memory, the other tool gets the crop and the mask that leukobench has found. Nyxus gets all cells in one
call, which is its best case; its time is the mean. With `--before`, the only comparison is with another checkout of
leukobench, whose steps are timed in turn with those of this one.

The share of the floor of a step is the least time that its formulas need, divided by the time that it takes; `floor.py`
defines what is counted, and measures in the same run how many bytes, operations and updates of histograms this machine
does in a second. A fresh process has the compiled code in its cache.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pandas as pd
from floor import Counts, Rates, counts_of
from plain import plain_features

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import leukobench.cells.cell
import leukobench.features.catalog
import leukobench.features.prepared
from leukobench.cells.cell import Cell, read_cell
from leukobench.cohort.manifest import COLUMNS, write_manifest
from leukobench.features import color, geometry, statistics, texture
from leukobench.features.catalog import DEFAULT_SET, SETS, compute, features_of, settings_of
from leukobench.features.prepared import PreparedCell
from leukobench.features.settings import MeasurementSettings

LEVELS = 64
REPEATS = 3  # the shortest counts
BY_CELL = MeasurementSettings(levels=LEVELS, quantisation="cell")  # as Nyxus and cp_measure quantise
# the 25 of the IBSI, as ours
NYXUS_TEXTURE = """GLCM_JMAX GLCM_JAVE GLCM_JVAR GLCM_JE GLCM_DIFAVE GLCM_DIFVAR GLCM_DIFENTRO GLCM_SUMAVERAGE
GLCM_SUMVARIANCE GLCM_SUMENTROPY GLCM_ASM GLCM_CONTRAST GLCM_DIS GLCM_ID GLCM_IDN GLCM_IDM GLCM_IDMN GLCM_IV
GLCM_CORRELATION GLCM_ACOR GLCM_CLUTEND GLCM_CLUSHADE GLCM_CLUPROM GLCM_INFOMEAS1 GLCM_INFOMEAS2"""
NYXUS_SHAPE = """AREA_PIXELS_COUNT PERIMETER CIRCULARITY COMPACTNESS ECCENTRICITY EXTENT ASPECT_RATIO SOLIDITY
DIAMETER_EQUAL_AREA STAT_FERET_DIAM_MIN STAT_FERET_DIAM_MAX HU_M1 HU_M2 HU_M3 HU_M4 HU_M5 HU_M6 HU_M7"""
NYXUS_INTENSITY = """MEAN VARIANCE_BIASED STANDARD_DEVIATION_BIASED SKEWNESS EXCESS_KURTOSIS ENTROPY P10 P25 MEDIAN
P75 P90"""

# a separate process, because a forked process inherits the peak memory of its parent; start-up is not counted
EXTRACT = """
import sys, time
from pathlib import Path
from leukobench.features.extractor import extract

def peak(process):
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024

if __name__ == "__main__":
    images, manifest, out = map(Path, sys.argv[1:4])
    start = time.perf_counter()
    extract(images, manifest, out, jobs=int(sys.argv[4]))
    seconds = time.perf_counter() - start
    tasks = Path("/proc/self/task").iterdir()
    children = [child for task in tasks for child in (task / "children").read_text().split()]
    workers = [child for child in children if "popen_loky" in Path(f"/proc/{child}/cmdline").read_text()]
    print(seconds, peak("self"), max(map(peak, workers), default=0))
"""

# the CPU time of a process until its first cell is measured, with the interpreter's start; in ms
START = """
import sys, time
import leukobench.features.batch
from leukobench.cells.cell import read_cell
from leukobench.features.catalog import compute
imported = time.process_time()
compute(read_cell(sys.argv[1]), sys.argv[2])
print(1e3 * imported, 1e3 * time.process_time())
"""


@dataclass(frozen=True)
class Package:
    """The modules of one checkout of leukobench that are timed."""

    cell: ModuleType
    catalog: ModuleType
    prepared: ModuleType

    @classmethod
    def load(cls, folder: Path) -> Package:
        """Load the modules of a checkout beside those that are loaded already."""
        loaded = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "leukobench"}
        spec = importlib.util.spec_from_file_location(
            "leukobench", folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec and spec.loader
        package = sys.modules["leukobench"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(package)
        modules = [
            importlib.import_module(f"leukobench.{name}")
            for name in ("cells.cell", "features.catalog", "features.prepared")
        ]
        for name in [name for name in sys.modules if name.split(".")[0] == "leukobench"]:
            del sys.modules[name]
        sys.modules.update(loaded)
        return cls(*modules)

    def measure_file(self, feature_set: str, path: Path) -> None:
        """Read an image and compute a feature set."""
        self.catalog.compute(self.cell.read_cell(path), feature_set)


def milliseconds(work: Callable[[Any], Any], items: Iterable[Any]) -> list[float]:
    """Return the CPU time of a function on each item, after one item that is not counted."""
    return side_by_side([(work, items)])[0]


def side_by_side(works: list[tuple[Callable[[Any], Any], Iterable[Any]]]) -> list[list[float]]:
    """Return the CPU time of each function on each of its items; the functions take turns."""
    lists = [list(items) for _, items in works]
    times = [[np.inf] * len(items) for items in lists]
    for (work, _), items in zip(works, lists, strict=True):
        work(items[0])
    for place in range(len(lists[0])):
        for _ in range(REPEATS):
            for (work, _), items, best in zip(works, lists, times, strict=True):
                start = time.process_time()
                work(items[place])
                best[place] = min(best[place], 1e3 * (time.process_time() - start))
    return times


def ours(measures: list[Callable[[PreparedCell], dict[str, float]]], cell: Cell) -> None:
    """Compute some features of a cell in memory."""
    prepared = PreparedCell(cell, BY_CELL)
    for measure in measures:
        measure(prepared)


def grey_and_mask(cell: Cell) -> tuple[np.ndarray, np.ndarray]:
    """Return the input of the other tools."""
    return cv2.cvtColor(cell.rgb, cv2.COLOR_RGB2GRAY), cell.mask.astype(np.uint8)


def quantised(cell: Cell) -> np.ndarray:
    """Return the input of mahotas: grey levels of the cell's own range, 1 to `LEVELS`; background 0."""
    return np.where(cell.mask, PreparedCell(cell, BY_CELL).levels + 1, 0).astype(np.uint8)


def nyxus_milliseconds(features: str, cells: list[Cell]) -> float:
    """Return the mean CPU time of Nyxus over the cells, all in one call, padded to one size."""
    import nyxus

    side = max(max(cell.mask.shape) for cell in cells)
    greys, masks = np.zeros((2, len(cells), side, side), np.uint32)
    for number, cell in enumerate(cells):
        height, width = cell.mask.shape
        greys[number, :height, :width], masks[number, :height, :width] = grey_and_mask(cell)
    for number in (1, len(cells)):  # the first call is not counted
        tool = nyxus.Nyxus(features.split(), n_feature_calc_threads=1, coarse_gray_depth=LEVELS)
        start = time.process_time()
        names = [str(k) for k in range(number)]
        tool.featurize(greys[:number], masks[:number], names, names)
    return 1e3 * (time.process_time() - start) / len(cells)


def row(what: str, own: float, other: float | None = None) -> None:
    """Print a line of the table."""
    ratio = "" if other is None else f"{other:12.2f} {other / own:10.1f}x"
    print(f"{what:72} {own:9.3f}{ratio}")


def compare_with_plain(paths: list[Path]) -> None:
    """Print the times of the feature sets, reading included, and that of `plain.py`."""
    print(f"\n{'file -> features, reading included':72} {'ours':>9} {'plain':>12} {'ratio':>11}")
    own = np.median(milliseconds(lambda path: compute(read_cell(path), "patel"), paths))
    row("patel (27 features)", own, np.median(milliseconds(plain_features, paths[:50])))
    for name in SETS:
        if name != "patel":
            work = partial(lambda path, name: compute(read_cell(path), name), name=name)
            row(f"{name} ({len(features_of(name))} features)", np.median(milliseconds(work, paths)))


def steps(
    feature_set: str, cells: list[Cell], package: Package
) -> Iterable[tuple[str, Callable[[Any], None], list[Any]]]:
    """Yield name, function and inputs of each step of a feature set; inputs keep no intermediate results."""
    measures: dict[str, dict[Any, None]] = {}
    for feature in package.catalog.features_of(feature_set):
        measures.setdefault(feature.family, {})[feature.measure] = None
    settings = package.catalog.settings_of(feature_set)
    scaled = [package.prepared.PreparedCell(cell, settings).cell for cell in cells]
    if settings.size is not None:
        yield f"{feature_set}: scaling", partial(package.prepared.PreparedCell, settings=settings), cells
        settings = replace(settings, size=None)
    for family, of_family in measures.items():

        def work(cell: Cell, of_family: Iterable[Any] = tuple(of_family)) -> None:
            prepared = package.prepared.PreparedCell(cell, settings)
            for measure in of_family:
                measure(prepared)

        yield f"{feature_set}: {family}", work, scaled


def time_each_step(paths: list[Path], cells: list[Cell], package: Package) -> None:
    """Print the time of each step, and its share of all steps of the set."""
    print(f"\n{'step':72} {'ours':>9} {'share':>12}")
    reading = np.median(milliseconds(package.cell.read_cell, paths))
    for name in SETS:
        taken = {f"{name}: read an image and find its cell": reading}
        taken |= {step: np.median(milliseconds(work, items)) for step, work, items in steps(name, cells, package)}
        for step, own in taken.items():
            print(f"{step:72} {own:9.3f} {own / sum(taken.values()):12.0%}")


def share_of_the_floor(paths: list[Path], cells: list[Cell], feature_set: str) -> None:
    """Print for each measure of a set its time, its floor, and the share of it that it reaches."""
    rates = Rates.measured()
    print(f"\nthis machine: {rates.bytes / 1e9:.0f} GB/s, {rates.operations / 1e9:.1f} billion operations/s, ", end="")
    print(f"{rates.updates / 1e9:.2f} billion updates/s")
    print(f"{'step':72} {'ours':>9} {'floor':>12} {'share':>10}  bound by")

    totals = np.zeros(2)

    def line(what: str, taken: list[float], counts: list[Counts]) -> None:
        own, (floor, bound) = np.median(taken), rates.floor(counts[int(np.argsort(taken)[len(taken) // 2])])
        totals[:] += own, floor
        print(f"{f'{feature_set}: {what}':72} {own:9.3f} {floor:12.3f} {floor / own:10.0%}  {bound}")

    line("read an image and find its cell", milliseconds(read_cell, paths), [Counts(p.stat().st_size) for p in paths])
    settings = settings_of(feature_set)
    prepared = [PreparedCell(cell, settings) for cell in cells]
    measures: dict[Any, dict[Any, None]] = {}
    for feature in features_of(feature_set):
        measures.setdefault(getattr(feature.measure, "func", feature.measure), {})[feature.measure] = None
    for function, of_function in measures.items():

        def work(cell: Cell, of_function: Iterable[Any] = tuple(of_function)) -> None:
            fresh = PreparedCell(cell, settings)
            for measure in of_function:
                measure(fresh)

        line(function.__name__, milliseconds(work, cells), [counts_of(function, cell) for cell in prepared])
    print(f"{f'{feature_set}: all':72} {totals[0]:9.3f} {totals[1]:12.3f} {totals[1] / totals[0]:10.0%}")


def print_start_up(image: Path) -> None:
    """Print the CPU time of a fresh process until its first cell is measured."""
    print(f"\n{'CPU time of a fresh process, milliseconds':72} {'imported':>9} {'first cell':>12}")
    for name in ("patel", "full"):
        imported, measured = start_up(Path(__file__).resolve().parent.parent, name, image)
        print(f"{name:72} {imported:9.0f} {measured:12.0f}")


def compare_with_before(paths: list[Path], folder: Path, now: Package) -> None:
    """Print the times of another checkout of leukobench and of this one, and how many times as fast this one is."""
    before = Package.load(folder.resolve())
    both = (before, now)
    print(f"\n{'CPU time, milliseconds':72} {'before':>9} {'now':>12} {'ratio':>11}")

    def compared(what: str, works: list[tuple[Callable[[Any], Any], Iterable[Any]]]) -> None:
        old, new = (np.median(times) for times in side_by_side(works))
        print(f"{what:72} {old:9.3f}{new:12.3f} {old / new:10.2f}x", flush=True)

    compared("read an image and find its cell", [(package.cell.read_cell, paths) for package in both])
    for name in SETS:
        compared(f"{name}, from the file on", [(partial(package.measure_file, name), paths) for package in both])
    for name in SETS:
        listed = [list(steps(name, [package.cell.read_cell(path) for path in paths], package)) for package in both]
        for (step, *old), (_, *new) in zip(*listed, strict=True):
            compared(step, [(work, items) for work, items in (old, new)])
    for name in SETS:
        differences = [
            abs(new[feature] - old) / max(abs(old), 1e-9)
            for path in paths
            for new in [now.catalog.compute(now.cell.read_cell(path), name)]
            for feature, old in before.catalog.compute(before.cell.read_cell(path), name).items()
            if feature in new
        ]
        print(f"{name}: largest relative difference of {len(differences):,} values {max(differences):29.1e}")
    for name in ("patel", "full"):
        folders = (folder.resolve(), Path(__file__).resolve().parent.parent)
        (old_import, old), (new_import, new) = (start_up(checkout, name, paths[0]) for checkout in folders)
        for what, *times in (("worker imported", old_import, new_import), ("first cell measured", old, new)):
            print(f"{f'{name}: fresh process, {what}':72} {times[0]:9.0f}{times[1]:12.0f} {times[0] / times[1]:10.2f}x")


def start_up(folder: Path, feature_set: str, image: Path) -> np.ndarray:
    """Return the CPU time of a fresh process until a worker is imported, and until its first cell is measured, ms.

    The compiled code is in its cache. The shortest of five processes counts.
    """
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "leukobench").symlink_to(folder, target_is_directory=True)
        command = [sys.executable, "-c", START, str(image.absolute()), feature_set]
        environment = os.environ | {"PYTHONPATH": name, "NUMBA_CACHE_DIR": str(Path(name) / "cache")}
        runs = [subprocess.run(command, check=True, capture_output=True, text=True, env=environment) for _ in range(6)]
    return np.min([list(map(float, run.stdout.split())) for run in runs[1:]], axis=0)


def compare_with_other_tools(cells: list[Cell]) -> None:
    """Print the times of features that another tool computes too, from a cell in memory."""
    import mahotas
    import nyxus
    from cp_measure.bulk import get_core_measurements

    print(f"\n{'cell in memory -> features that both compute':72} {'ours':>9} {'theirs':>12} {'ratio':>11}")

    def own(*measures: Callable[[PreparedCell], dict[str, float]]) -> float:
        return np.median(milliseconds(partial(ours, list(measures)), cells))

    co_occurrence = own(texture.co_occurrence)
    shape = own(geometry.size_and_hull, geometry.hu_moments)
    intensity = own(statistics.intensity_distribution, partial(color.channel_distribution, channel="grey"))
    levels = [quantised(cell) for cell in cells]
    row(
        f"mahotas {mahotas.__version__}: haralick, {LEVELS} levels, 13 features (ours 25), mean and range",
        co_occurrence,
        np.median(milliseconds(partial(mahotas.features.haralick, ignore_zeros=True, return_mean_ptp=True), levels)),
    )
    pairs = [grey_and_mask(cell) for cell in cells]
    theirs = get_core_measurements()
    floats = [(mask, grey / 255) for grey, mask in pairs]

    def cp(name: str, **options: Any) -> float:
        return np.median(milliseconds(lambda pair: theirs[name](*pair, **options), floats))

    row(
        f"cp_measure: texture, {LEVELS} levels, 13 features (ours 25), 4 directions",
        co_occurrence,
        cp("texture", scale=1, gray_levels=LEVELS),
    )
    row("cp_measure: sizeshape and feret (hull, ellipse, Feret, Hu)", shape, cp("sizeshape") + cp("feret"))
    row("cp_measure: intensity without edges", intensity, cp("intensity", edge_measurements=False))
    version = nyxus.__version__
    row(f"Nyxus {version}: the same 25 of co-occurrence", co_occurrence, nyxus_milliseconds(NYXUS_TEXTURE, cells))
    row(f"Nyxus {version}: area, hull, ellipse, Feret, Hu", shape, nyxus_milliseconds(NYXUS_SHAPE, cells))
    row(f"Nyxus {version}: moments, percentiles, entropy", intensity, nyxus_milliseconds(NYXUS_INTENSITY, cells))


def linked_cohort(images: list[Path], number: int, folder: Path) -> Path:
    """Make a folder of `number` hard links to images, and its manifest; return the manifest."""
    names = [f"all/{row // 1000}/{row}.bmp" for row in range(number)]
    for row, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(images[row % len(images)], folder / name)
    columns = {
        "label": "all",
        "subject": "1",
        "subject_group": "1",
        "phase": "train",
        "fold": "0",
        "size_bytes": 608_454,
    }
    digests = [
        hashlib.sha256(name.encode()).hexdigest() for name in names
    ]  # generated, because the links share a few files
    manifest = pd.DataFrame({"path": names, "sha256": digests, "original_name": ""}).assign(**columns)
    write_manifest(manifest[list(COLUMNS)], folder / "manifest.csv")
    return folder / "manifest.csv"


def extract_in_process(folder: Path, manifest: Path, out: Path, jobs: int) -> tuple[float, float, float]:
    """Extract the default set in a separate process; return its time, its peak memory and that of its workers, MB."""
    command = [sys.executable, "-c", EXTRACT, str(folder), str(manifest), str(out), str(jobs)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    seconds, parent, worker = map(float, done.stdout.split())
    return seconds, parent, worker


def batches(images: list[Path], number: int) -> None:
    """Print the speed of batch extraction by number of processes, and its memory by number of images."""
    what = f"batch extraction of {DEFAULT_SET}"
    print(f"\n{what:40} {'seconds':>9} {'images/s':>9} {'parent, MB':>11} {'worker, MB':>11}")
    with tempfile.TemporaryDirectory(dir=images[0].parent) as name:  # hard links stay on one file system
        seconds = {}
        for count, jobs in ((1_000, 2), (number // 10, 1), (number // 10, 2), (number, 2)):
            folder = Path(name) / f"{count}"
            manifest = folder / "manifest.csv"
            if not manifest.exists():
                linked_cohort(images, count, folder)
            taken, parent, worker = extract_in_process(folder, manifest, folder / f"by_{jobs}.csv", jobs)
            seconds[count, jobs] = taken
            what = f"{count:,} images, {jobs} process{'es' * (jobs > 1)}"
            print(f"{what:40} {taken:9.1f} {count / taken:9.0f} {parent:11.0f} {worker:11.0f}", flush=True)
        print(f"two processes: {seconds[number // 10, 1] / seconds[number // 10, 2]:.2f} times as fast as one")


def main() -> None:
    """Run all benchmarks and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="C-NMC 2019 images, at any depth")
    parser.add_argument("--images", type=int, default=200, help="number of images, evenly spaced")
    parser.add_argument("--batch", type=int, default=0, help="size of the largest batch, such as 100000; 0: none")
    parser.add_argument(
        "--before", type=Path, help="another checkout of leukobench to compare with; nothing else is run"
    )
    arguments = parser.parse_args()
    found = sorted(arguments.folder.rglob("*.bmp"))
    paths = found[:: max(1, len(found) // arguments.images)][: arguments.images]
    cv2.setNumThreads(1)
    cells = [read_cell(path) for path in paths]
    print(f"{len(paths)} of {len(found)} images; {platform.machine()}, {os.cpu_count()} cores, Python", end=" ")
    print(platform.python_version(), f"NumPy {np.__version__}, OpenCV {cv2.__version__}")
    print(f"load {os.getloadavg()[0]:.1f}; median milliseconds of CPU time per cell, one process, one thread")
    package = Package(leukobench.cells.cell, leukobench.features.catalog, leukobench.features.prepared)
    if arguments.before:
        compare_with_before(paths, arguments.before, package)
        return
    compare_with_plain(paths)
    time_each_step(paths, cells, package)
    share_of_the_floor(paths, cells, DEFAULT_SET)
    print_start_up(paths[0])
    if arguments.batch:
        batches(found, arguments.batch)
    if all(map(importlib.util.find_spec, ("mahotas", "nyxus", "cp_measure"))):
        compare_with_other_tools(cells)
    else:
        print("\nThe other tools are not installed: pip install '.[bench]'")


if __name__ == "__main__":
    main()
