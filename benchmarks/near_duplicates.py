"""Near-duplicate search: recall of distorted copies of real cells, false positives, known ties, time and memory.

    pip install '.[bench]'
    python benchmarks/near_duplicates.py C-NMC_Leukemia [--cells 1000] [--only recall ties speed]

The folder is by default the one that LEUKOBENCH_CNMC names. Byte-identical copies are left out.

Recall: each kind of distortion is applied once to every cell of a random sample, and the distorted images are written
to files. Every tool searches the same files, originals and distorted images together. Recall is the share of the cells
whose distorted image is found as a duplicate of the original. A pair of different labels comes from two subjects, so
every one that is found is a false positive.

Each tool has a row with its own threshold ("default") and one with the most lenient threshold at which it finds no pair
of different labels ("no false positive"). The second is chosen on the compared pairs themselves, so it is the best
case; it shows what the fingerprints of a tool can do, whatever its threshold. "Earlier" is the search of version 0.1:
thumbnails of 32 x 32 px in eight orientations, with a threshold of 0.90. A tool that is not installed, or that cannot
load its weights, is left out.

Known ties: the near-duplicates between two subject IDs in the table that comes with leukobench. leukobench itself has
found them, so its own recall of them is 100% by construction.

Time and memory of the search: in a process of its own. Cohorts larger than the images at hand are made of the textures
of all cells, rotated by random angles, half of them mirrored, in random order.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from skimage.color import hed2rgb, rgb2hed
from tqdm import tqdm

from leukobench.cells.cell import LOSSY_TOLERANCE, Cell, find_cell
from leukobench.cells.decoding import read_image
from leukobench.cells.fingerprints import OUTSIDE, read_fingerprints
from leukobench.cohort.identity import subject_groups
from leukobench.cohort.layout import find_images
from leukobench.cohort.manifest import read_manifest
from leukobench.cohort.near_duplicates import MIN_SIMILARITY, similar_pairs
from leukobench.cohort.ties import accepted, read_ties

SIZES = (12_528, 100_000)  # cells; 12,528 is C-NMC 2019 without the final test images
LIMIT = 120  # s, after which the timing of a search is stopped; the rest of the pairs takes as long a pair
FAR = 24  # bits: hashes that differ by more are no pair at any threshold
EARLIER = 0.90  # threshold of version 0.1

Distortion = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Scores:
    """The pairs of images that a tool finds similar.

    Attributes:
        first: Number of the first image of each pair.
        second: Number of the second image, larger than that of the first.
        score: Similarity of each pair; the larger, the more similar.
        default: Smallest score that is a duplicate by the tool's own threshold.
        graded: Whether the tool has a threshold that can be changed.
    """

    first: np.ndarray
    second: np.ndarray
    score: np.ndarray
    default: float
    graded: bool = True


@dataclass(frozen=True)
class Tool:
    """A search in two steps.

    Attributes:
        read: Image files, number of processes -> one fingerprint for each file.
        compare: Fingerprints, number of processes -> scores of pairs.
    """

    read: Callable[[list[Path], int], list[Any]]
    compare: Callable[[list[Any], int], Scores]


# distortions: image, mask and random generator -> image; the background stays pure black


def warped(rgb: np.ndarray, mask: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Apply an affine transform; the black background is not mixed into the cell's edge."""
    size = rgb.shape[1::-1]
    pixels = cv2.warpAffine(rgb.astype(np.float32) * mask[..., None], matrix, size)
    weight = cv2.warpAffine(mask.astype(np.float32), matrix, size)[..., None]
    return on_black(pixels / np.maximum(weight, 1e-3), weight[..., 0] > 0.5)


def on_black(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Round to 8 bits, at least 1 inside the cell and 0 outside it."""
    return np.where(mask[..., None] > 0, np.clip(np.rint(rgb), 1, 255), 0).astype(np.uint8)


def turned(rgb: np.ndarray, mask: np.ndarray, angle: float, scale: float, mirror: bool) -> np.ndarray:
    """Rotate and scale about the middle of the image, and mirror."""
    height, width = mask.shape
    image = warped(rgb, mask, cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, scale))
    return np.ascontiguousarray(image[:, ::-1]) if mirror else image


def rotation(rgb: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rotate by any angle, and mirror half of the images."""
    return turned(rgb, mask, rng.uniform(0, 360), 1, rng.random() < 0.5)


def shift(rgb: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move by up to 30 px along rows and columns."""
    return warped(rgb, mask, np.hstack([np.eye(2), rng.uniform(-30, 30, (2, 1))]))


def crop(rgb: np.ndarray, mask: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """Cut a share of the cell's extent away, by a straight cut in a random direction."""
    rows, columns = np.nonzero(mask)
    angle = rng.uniform(0, 2 * np.pi)
    along = rows * np.sin(angle) + columns * np.cos(angle)
    away = along > along.max() - share * np.ptp(along)
    image = rgb.copy()
    image[rows[away], columns[away]] = 0
    return image


def scale(rgb: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Scale by 0.8 to 1.25."""
    return turned(rgb, mask, 0, np.exp(rng.uniform(np.log(0.8), np.log(1.25))), mirror=False)


def brightness(rgb: np.ndarray, mask: np.ndarray, rng: np.random.Generator, most: float = 0.3) -> np.ndarray:
    """Change contrast by up to 30% and brightness by up to 30 grey levels."""
    changed = (rgb - 128.0) * rng.uniform(1 - most, 1 + most) + 128 + 100 * rng.uniform(-most, most)
    return on_black(changed, mask)


def blur(rgb: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur by a Gaussian filter of standard deviation 1 to 3 px, within the cell."""
    sigma = rng.uniform(1, 3)
    pixels = cv2.GaussianBlur(rgb.astype(np.float32) * mask[..., None], (0, 0), sigma)
    weight = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma)
    return on_black(pixels / np.maximum(weight, 1e-3)[..., None], mask)


def stain(rgb: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Scale hematoxylin, eosin and DAB, each by 0.75 to 1.25."""
    return on_black(hed2rgb(rgb2hed(rgb) * rng.uniform(0.75, 1.25, 3)) * 255, mask)


def combined(rgb: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rotate, mirror, scale by 0.9 to 1.1, and change contrast and brightness by half of `brightness`."""
    image = turned(rgb, mask, rng.uniform(0, 360), rng.uniform(0.9, 1.1), rng.random() < 0.5)
    return brightness(image, image.any(axis=2), rng, 0.15)


def unchanged(rgb: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the image."""
    return rgb


KINDS: dict[str, Distortion] = {
    "rotation": rotation,
    "shift": shift,
    "crop 5%": lambda rgb, mask, rng: crop(rgb, mask, rng, 0.05),
    "crop 10%": lambda rgb, mask, rng: crop(rgb, mask, rng, 0.10),
    "crop 20%": lambda rgb, mask, rng: crop(rgb, mask, rng, 0.20),
    "scale": scale,
    "brightness": brightness,
    "blur": blur,
    "stain": stain,
    "JPEG": unchanged,
    "combined": combined,
}
QUALITY = {"JPEG": (50, 95), "combined": (70, 95)}  # kinds that are written as JPEG, of random quality


def write_distorted(source: Path, target: Path, kind: str, seed: int) -> Path:
    """Distort an image and write it, as JPEG or PNG; return the file."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(seed)
    rgb = read_image(source).rgb
    cell = find_cell(rgb)
    mask = np.zeros(rgb.shape[:2], np.uint8)
    (top, left), (height, width) = cell.offset, cell.mask.shape
    mask[top : top + height, left : left + width] = cell.mask
    image = KINDS[kind](rgb, mask, rng)
    if kind in QUALITY:
        low, high = QUALITY[kind]
        target, options = target.with_suffix(".jpg"), [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(low, high + 1))]
    else:
        target, options = target.with_suffix(".png"), [cv2.IMWRITE_PNG_COMPRESSION, 1]
    cv2.imwrite(str(target), np.ascontiguousarray(image[..., ::-1]), options)
    return target


# tools


def textures_of(files: list[Path], jobs: int) -> list[np.ndarray | None]:
    """Read the textures of leukobench."""
    found = read_fingerprints({str(number): file for number, file in enumerate(files)}, near=True, jobs=jobs).textures
    return [found.get(str(number)) for number in range(len(files))]


def leukobench(textures: list[np.ndarray | None], jobs: int) -> Scores:
    """Search with leukobench; pairs of a similarity of at least 0.7."""
    numbers = np.array([number for number, texture in enumerate(textures) if texture is not None])
    found = similar_pairs(np.stack([textures[number] for number in numbers]), 0.7, jobs=jobs)
    return Scores(numbers[found.first], numbers[found.second], found.registration.similarity, MIN_SIMILARITY)


def earlier(thumbnails: list[np.ndarray], jobs: int) -> Scores:
    """Search as version 0.1 did; pairs of a similarity of at least 0.7."""
    drawn = np.stack(thumbnails)
    flat = drawn.reshape(len(drawn), -1)
    rotations = [np.rot90(drawn, number, axes=(1, 2)) for number in range(4)]
    best = np.full((len(drawn),) * 2, -1, np.float32)
    for view in rotations + [rotated[:, :, ::-1] for rotated in rotations]:
        np.maximum(best, flat @ view.reshape(len(drawn), -1).T, out=best)
    first, second = np.nonzero(np.triu(best >= 0.7, 1))
    return Scores(first, second, best[first, second], EARLIER)


def thumbnail(file: Path) -> np.ndarray:
    """Draw the thumbnail of version 0.1, of mean 0 inside the cell and Euclidean norm 1. [shape=(32, 32)]"""
    cv2.setNumThreads(1)
    image = read_image(file)
    cell: Cell = find_cell(image.rgb, tolerance=LOSSY_TOLERANCE if image.lossy else 0)
    margin = max(1, max(cell.mask.shape) // 16)
    inner = cv2.erode(np.pad(cell.mask, 1).astype(np.uint8), np.ones((margin, margin), np.uint8))[1:-1, 1:-1] > 0
    grey = cell.rgb.mean(axis=2, dtype=np.float32)
    contrast = np.where(inner, grey - grey[inner].mean(), np.float32(0))
    rows, columns = np.nonzero(cell.mask)
    large = 128
    ratio = 0.7 * large / np.sqrt(4 * len(rows) / np.pi)
    middle = (large - 1) / 2
    matrix = np.array([[ratio, 0, middle - ratio * columns.mean()], [0, ratio, middle - ratio * rows.mean()]])
    drawn = cv2.resize(cv2.warpAffine(contrast, matrix, (large, large)), (32, 32), interpolation=cv2.INTER_AREA)
    return drawn / np.linalg.norm(drawn)


def in_parallel(read: Callable[[Path], Any]) -> Callable[[list[Path], int], list[Any]]:
    """Return a function that reads every file."""
    return lambda files, jobs: Parallel(n_jobs=jobs, batch_size=8)(delayed(read)(file) for file in files)


def imagededup_hash(name: str) -> Tool:
    """Return the search with a hash of imagededup; all pairs of at most `FAR` bits.

    imagededup itself lists all pairs below a threshold, which is slow for a lenient one; the distances are the same.
    """
    from imagededup import methods

    method = getattr(methods, name)(verbose=False)

    def compare(hashes: list[str], jobs: int) -> Scores:
        bits = np.unpackbits(np.array([int(text, 16) for text in hashes], ">u8").view(np.uint8).reshape(-1, 8), axis=1)
        signs = bits.astype(np.float32) * 2 - 1
        distance = (64 - signs @ signs.T) / 2
        first, second = np.nonzero(np.triu(distance <= FAR, 1))
        return Scores(first, second, -distance[first, second], -10)  # find_duplicates: max_distance_threshold=10

    return Tool(in_parallel(method.encode_image), compare)


def imagededup_cnn() -> Tool:
    """Return the search with the network of imagededup; it downloads the weights."""
    from imagededup.methods import CNN

    method = CNN(verbose=False)

    def compare(features: list[np.ndarray], jobs: int) -> Scores:
        rows = np.vstack(features)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        similarity = rows @ rows.T
        first, second = np.nonzero(np.triu(similarity >= 0.8, 1))
        return Scores(first, second, similarity[first, second], 0.9)  # min_similarity_threshold=0.9

    return Tool(lambda files, jobs: [method.encode_image(str(file)) for file in tqdm(files, desc="CNN")], compare)


def cleanvision() -> Tool:
    """Return the search with cleanvision: sets of images of equal pixels, and of equal 64-bit hash."""
    from cleanvision import Imagelab

    def compare(files: list[Path], jobs: int) -> Scores:
        kinds = ("exact_duplicates", "near_duplicates")
        with contextlib.redirect_stdout(io.StringIO()):
            lab = Imagelab(filepaths=[str(file) for file in files])
            lab.find_issues({kind: {} for kind in kinds}, n_jobs=jobs, verbose=False)
        number = {str(file): row for row, file in enumerate(files)}
        sets = [sorted(number[file] for file in some) for kind in kinds for some in lab.info[kind]["sets"]]
        pairs = np.array(sorted({pair for some in sets for pair in combinations(some, 2)}), int).reshape(-1, 2)
        return Scores(pairs[:, 0], pairs[:, 1], np.ones(len(pairs)), 1, graded=False)

    return Tool(lambda files, jobs: files, compare)  # it reads and compares in one step


def installed_tools() -> dict[str, Tool]:
    """Return the tools that can run here; print why another cannot."""
    tools = {"leukobench": Tool(textures_of, leukobench), "earlier": Tool(in_parallel(thumbnail), earlier)}
    hashes = {f"imagededup {name}": partial(imagededup_hash, name) for name in ("PHash", "DHash")}
    for name, load in {**hashes, "imagededup CNN": imagededup_cnn, "cleanvision": cleanvision}.items():
        try:
            tools[name] = load()
        except Exception as error:  # not installed, or the weights cannot be downloaded
            print(f"{name} is left out: {type(error).__name__}: {str(error).splitlines()[0]}", flush=True)
    return tools


def settings(scores: Scores, label: np.ndarray) -> dict[str, np.ndarray]:
    """Return which pairs are duplicates by each setting."""
    of_two = label[scores.first] != label[scores.second]
    found = {"default": scores.score >= scores.default}
    if scores.graded:
        found["no false positive"] = scores.score > scores.score[of_two].max(initial=-np.inf)
    return found


def pairs_of_two_labels(label: np.ndarray) -> int:
    """Count all pairs of different labels."""
    sizes = np.unique(label, return_counts=True)[1]
    return int(len(label) ** 2 - (sizes**2).sum()) // 2


# the three parts


def measure_recall(cells: pd.DataFrame, tools: dict[str, Tool], number: int, jobs: int) -> None:
    """Print recall and false positives of every tool by kind of distortion."""
    cells = cells.sample(min(number, len(cells)), random_state=0).sort_index()
    label = np.tile(cells["label"].to_numpy(), 2)
    own = np.arange(len(cells))
    print(f"\n{len(cells):,} cells and one distorted image of each, for every kind of distortion")
    print(f"pairs of different labels for each kind: {pairs_of_two_labels(label):,}", flush=True)
    originals = {name: tool.read(list(cells["file"]), jobs) for name, tool in tools.items()}
    recalls: dict[tuple[str, str], str] = {}
    wrongs: dict[tuple[str, str], str] = {}
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            writing = Parallel(n_jobs=jobs, batch_size=8, return_as="generator")(
                delayed(write_distorted)(file, Path(folder) / str(seed), kind, seed)
                for seed, file in cells["file"].items()
            )
            files = list(tqdm(writing, total=len(cells), desc=kind, unit="image", disable=None))
            for name, tool in tools.items():
                scores = tool.compare([*originals[name], *tool.read(files, jobs)], jobs)
                for setting, found in settings(scores, label).items():
                    first, second = scores.first[found], scores.second[found]
                    recall = np.isin(own, first[second == first + len(cells)]).mean()
                    recalls[f"{name}, {setting}", kind] = f"{100 * recall:.1f}"
                    wrongs[f"{name}, {setting}", kind] = f"{(label[first] != label[second]).sum():,}"
        done = [f"{tool} {value}" for (tool, of), value in recalls.items() if of == kind]
        print(f"{kind}: {'; '.join(done)}", file=sys.stderr, flush=True)
    for what, values in (("recall, %", recalls), ("false positives", wrongs)):
        table = pd.Series(values).unstack(sort=False)[list(KINDS)]
        if what == "false positives":
            table = table[table.index.str.endswith("default")]
        print(f"\n{table.rename_axis(what).to_markdown(disable_numparse=True)}", flush=True)


def measure_ties(cells: pd.DataFrame, tools: dict[str, Tool], jobs: int) -> None:
    """Print how many known ties every tool finds among the undistorted images."""
    ties = read_ties()
    groups = subject_groups(cells["subject"], accepted(ties[ties["kind"] != "near-duplicate"])).to_numpy()
    place = {path: row for row, path in enumerate(cells["path"])}
    near = ties[(ties["kind"] == "near-duplicate") & ties["path"].isin(place) & ties["other"].isin(place)]
    known = {tuple(sorted((place[a], place[b]))) for a, b in near[["path", "other"]].to_numpy()}
    new = {(a, b) for a, b in known if groups[a] != groups[b]}
    label = cells["label"].to_numpy()
    print(
        f"\n{len(cells):,} distinct images; {len(known)} known ties, {len(new)} of them between subject IDs that share"
    )
    print(f"no identical image; {pairs_of_two_labels(label):,} pairs of different labels\n")
    rows = []
    for name, tool in tools.items():
        start = time.perf_counter()
        read = tool.read(list(cells["file"]), jobs)
        between = time.perf_counter()
        scores = tool.compare(read, jobs)
        seconds = (f"{between - start:.0f}", f"{time.perf_counter() - between:.0f}")
        for setting, found in settings(scores, label).items():
            first, second = scores.first[found], scores.second[found]
            pairs = set(zip(first.tolist(), second.tolist(), strict=True))
            counts = (len(known & pairs), len(new & pairs), int((label[first] != label[second]).sum()), len(pairs))
            rows.append([f"{name}, {setting}", *(f"{count:,}" for count in counts), *seconds])
    head = [
        "tool",
        "known ties",
        "without identical images",
        "pairs of different labels",
        "all pairs",
        "s, reading",
        "s, comparing",
    ]
    print(pd.DataFrame(rows, columns=head).to_markdown(index=False, disable_numparse=True), flush=True)


# a process of its own, because memory is that of its life
SEARCH = """
import resource, sys, time
import numpy as np
from leukobench.cohort import near_duplicates

class Enough(Exception):
    pass

class Watch(near_duplicates.ProgressBar):
    done = 0  # a bar that is not shown does not count

    def update(self, n):
        super().update(n)
        self.done += n
        if time.perf_counter() - started > float(sys.argv[3]) and self.done < self.total:
            raise Enough(self.done / self.total)

textures = np.load(sys.argv[1])
near_duplicates.similar_pairs(textures[:50])
near_duplicates.ProgressBar = Watch
started, used, share = time.perf_counter(), time.process_time(), 1.0
try:
    near_duplicates.similar_pairs(textures, jobs=int(sys.argv[2]))
except Enough as enough:
    share = enough.args[0]
seconds, used = time.perf_counter() - started, time.process_time() - used
print(seconds, used, share, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2)
"""


def more_textures(textures: np.ndarray, number: int) -> np.ndarray:
    """Make `number` textures: every texture in random rotations, half of them mirrored, in random order."""
    rng = np.random.default_rng(0)
    made = np.empty((number, *textures.shape[1:]), np.int8)
    middle = (textures.shape[1] - 1) / 2
    for row, source in enumerate(tqdm(rng.permutation(number) % len(textures), desc="rotating textures")):
        texture = textures[source] if rng.random() < 0.5 else np.ascontiguousarray(textures[source][:, ::-1])
        matrix = cv2.getRotationMatrix2D((middle, middle), rng.uniform(0, 360), 1)
        weight = cv2.warpAffine((texture != OUTSIDE).astype(np.float32), matrix, textures.shape[1:])
        values = cv2.warpAffine(np.where(texture == OUTSIDE, 0, texture).astype(np.float32), matrix, textures.shape[1:])
        made[row] = np.where(weight > 0.5, np.clip(np.rint(values / np.maximum(weight, 0.5)), -127, 127), OUTSIDE)
    return made


def measure_speed(cells: pd.DataFrame, jobs: int) -> None:
    """Print time and memory of the search by number of cells."""
    start = time.perf_counter()
    read = read_fingerprints(dict(zip(cells["path"], cells["file"], strict=True)), near=True, jobs=jobs)
    seconds = time.perf_counter() - start
    print(f"\ndecoding {len(cells):,} images, textures included: {seconds:.1f} s")
    textures = np.stack(list(read.textures.values()))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number in (len(textures), *SIZES):
            path = Path(folder) / "textures.npy"
            np.save(path, textures if number == len(textures) else more_textures(textures, number))
            command = [sys.executable, "-c", SEARCH, str(path), str(jobs), str(LIMIT)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            taken, used, share, memory = map(float, done.stdout.split())
            whole = (f"{taken / share:.0f}", f"{used / share:.0f}", f"{memory:.2f}")
            rows.append([f"{number:,}", f"{100 * share:.1f}%", f"{taken:.1f}", *whole])
    head = [
        "cells",
        "pairs compared",
        "seconds",
        "seconds for all pairs",
        "CPU seconds for all pairs",
        "peak memory, GB",
    ]
    print(f"\n{pd.DataFrame(rows, columns=head).to_markdown(index=False, disable_numparse=True)}", flush=True)


def main() -> None:
    """Run the parts and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="?", default=os.environ.get("LEUKOBENCH_CNMC"))
    parser.add_argument("--cells", type=int, default=1000, help="cells of the recall part, a random sample")
    parser.add_argument("--only", nargs="+", choices=["recall", "ties", "speed"], default=["recall", "ties", "speed"])
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.images is None:
        parser.error("name the folder of C-NMC 2019 images, or set LEUKOBENCH_CNMC")
    manifest = read_manifest()
    found = find_images(Path(arguments.images), manifest["path"]).files
    at_hand = manifest[manifest["path"].isin(list(found)) & (manifest["label"] != "")]
    cells = at_hand[~at_hand["sha256"].duplicated()].reset_index(drop=True)
    cells["file"] = cells["path"].map(found)
    load = os.getloadavg()[0]
    print(f"{len(at_hand):,} labelled images, {len(cells):,} distinct; Python {platform.python_version()}, ", end="")
    print(f"{platform.machine()}, {os.cpu_count()} cores, {arguments.jobs} processes, load before {load:.1f}")
    if "speed" in arguments.only:
        measure_speed(cells, arguments.jobs)
    tools = {} if arguments.only == ["speed"] else installed_tools()
    if "ties" in arguments.only:
        measure_ties(cells, tools, arguments.jobs)
    if "recall" in arguments.only:
        measure_recall(cells, tools, arguments.cells, arguments.jobs)


if __name__ == "__main__":
    main()
