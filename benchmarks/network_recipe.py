"""Model selection of the network recipe `leukobench`: layers, field of view, augmentation, weights and views.

    LEUKOBENCH_CNMC=C-NMC_Leukemia python -m benchmarks.network_recipe --weights imagenet --work selection

The candidates are linear probes. MobileNet is frozen with its ImageNet weights; the feature maps of a layer are
averaged over the image or over the cell alone; ridge regression on the standardised averages separates the classes.
Every candidate is evaluated as in `benchmarks/default_recipe.py`, by repeated nested cross-validation over subject
groups; the penalty is selected within the training part of each outer fold. The last line is the nested
cross-validation estimate of the selection among the candidates.

The averages are saved in the folder --work and reused.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from benchmarks.default_recipe import OUTER_FOLDS, outer_folds, selected_inside, summary
from leukobench.cnn.architectures import ARCHITECTURES
from leukobench.cnn.augmentation import Augment
from leukobench.cnn.backend import keras
from leukobench.cnn.data import load_images
from leukobench.cnn.epochs import Batches
from leukobench.cnn.normalization import fuse_batch_normalization
from leukobench.cnn.pooling import POOLINGS
from leukobench.cnn.recipes import Augmentation
from leukobench.cnn.scaling import SCALINGS
from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import POSITIVE
from leukobench.results.weights import cell_weights

SIDE = 224
PENALTIES = (1.0, 10.0, 100.0, 1000.0, 10_000.0)
INNER_FOLDS = 3
COPIES = 1  # augmented copies of each training cell, in addition to the original
ROTATED = Augmentation(rotation=180, flip=True)


@dataclass(frozen=True)
class Probe:
    """A candidate.

    Attributes:
        layers: Numbers of the blocks of MobileNet whose averages are concatenated.
        frame: Side of the square field of view, px.
        augmentation: Of the training cells, or None.
        all_orientations: Whether the training cells are used in all eight orientations (4 rotations x 2 flips).
        subject_weights: Whether the subject groups of a class are weighted equally, else its cells.
        views: Whether the score of a cell is the mean over its eight orientations (test-time augmentation).
        over: Region of the average, a name in `leukobench.cnn.pooling`.
    """

    layers: tuple[int, ...] = (8,)
    frame: int = 320
    augmentation: Augmentation | None = None
    all_orientations: bool = False
    subject_weights: bool = True
    views: bool = False
    over: str = "average"

    def __str__(self) -> str:
        """Return the first columns of a line of the table."""
        by = self.augmentation
        augmented = "8 orientations" if self.all_orientations else "none"
        if by is not None:
            augmented = f"random rotation and flip, stain {by.stain:g}" if by.stain else "random rotation and flip"
        weighted = "subjects" if self.subject_weights else "classes"
        layers = " + ".join(map(str, self.layers)) + (", of the cell" if self.over == "cell-average" else "")
        return f"| {layers} | {self.frame} | {augmented} | {weighted} weighted equally | {8 if self.views else 1}"


CANDIDATES = (
    *(Probe((layer,)) for layer in range(1, 14)),
    *(Probe((layer,), frame=450) for layer in (3, 5, 8, 11, 13)),
    Probe((5, 8)),
    Probe((8,), subject_weights=False),
    *(Probe((8,), augmentation=replace(ROTATED, stain=stain)) for stain in (0.0, 0.1, 0.25)),
    Probe((8,), views=True),
    Probe((8,), augmentation=ROTATED, views=True),
    Probe((5, 8), augmentation=ROTATED, views=True),
    *(
        Probe(layers, all_orientations=True, views=True)
        for layers in ((5,), (8,), (3, 5), (5, 8), (3, 5, 8), (5, 8, 11))
    ),
    *(
        Probe(layers, all_orientations=True, views=True, over="cell-average")
        for layers in ((5,), (8,), (5, 8), (5, 8, 11))
    ),
)


class Averages:
    """Averages of the feature maps of every block and cell, saved in a folder."""

    def __init__(self, folder: Path, weights: str, work: Path) -> None:
        self.cohort = index_folder(folder).query("label != ''").reset_index(drop=True)
        self._folder, self._weights, self._work = folder, weights, work
        work.mkdir(parents=True, exist_ok=True)

    def of(self, probe: Probe, augmented: int = 0, orientation: int = 0) -> np.ndarray:
        """Return the inputs of a probe, of the original, augmented or reoriented cells. [shape=(n, m)]"""
        by = Probe((), probe.frame, probe.augmentation if augmented else None, over=probe.over)
        identity = json.dumps([asdict(by), augmented, orientation, self.cohort["sha256"].tolist()])
        path = self._work / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.npz"
        if not path.exists():
            np.savez(path, *self._computed(by, augmented, orientation))
        with np.load(path) as kept:
            return np.concatenate([kept[f"arr_{layer - 1}"] for layer in probe.layers], axis=1)

    def _computed(self, probe: Probe, augmented: int, orientation: int) -> list[np.ndarray]:
        images = load_images(self._folder, self.cohort, frame=probe.frame, side=SIDE, jobs=os.cpu_count() or 1)
        base = ARCHITECTURES["mobilenet"](SIDE, self._weights)
        fuse_batch_normalization(base)
        blocks = [base.get_layer(f"conv_pw_{number}_relu").output for number in range(1, 14)]
        pixels = keras.Input((SIDE, SIDE, 3))
        changed = Augment(probe.augmentation, augmented, always=True)(pixels) if probe.augmentation else pixels
        maps = keras.Model(base.input, blocks)(SCALINGS["symmetric"](changed))
        model = keras.Model(pixels, [_averaged(probe.over, of.shape)([changed, of]) for of in maps])
        rows = self.cohort["path"].map(images.row).to_numpy()
        batches = Batches(
            images.pixels, rows, 32, orientations=np.full(len(rows), orientation) if orientation else None
        )
        found = [model.predict_on_batch(batches[number][0]) for number in tqdm(range(len(batches)), disable=None)]
        return [np.concatenate(of)[: len(rows)] for of in zip(*found, strict=True)]


def _averaged(over: str, shape: tuple[int, ...]) -> keras.Model:
    """Return a model that averages maps of a shape; it is separate, because names of pooling layers must be unique."""
    images, maps = keras.Input((SIDE, SIDE, 3)), keras.Input(shape[1:])
    return keras.Model([images, maps], POOLINGS[over](images, maps))


def evaluate(averages: Averages, probe: Probe, repeat: int) -> tuple[np.ndarray, list[float]]:
    """Return the score of each cell by probes trained without its group, and the inner score of each fold."""
    label, group = (averages.cohort[column].to_numpy() for column in ("label", "subject_group"))
    copies = [averages.of(probe, number) for number in range(1, COPIES + 1)] if probe.augmentation else []
    copies += [averages.of(probe, orientation=number) for number in range(1, 8)] if probe.all_orientations else []
    inputs = [averages.of(probe), *copies]
    seen = [averages.of(probe, orientation=number) for number in range(8 if probe.views else 1)]
    score, best = np.empty(len(label)), []
    for train, held_out in outer_folds(label, group, repeat):
        inner = StratifiedGroupKFold(INNER_FOLDS, shuffle=True, random_state=repeat)
        inner_folds = [(train[a], train[b]) for a, b in inner.split(train, label[train], group[train])]
        tried = [_inner_score(inputs, seen, averages.cohort, inner_folds, probe, penalty) for penalty in PENALTIES]
        best.append(max(tried))
        model = _fitted(inputs, averages.cohort, train, probe, PENALTIES[int(np.argmax(tried))])
        score[held_out] = np.mean([model.predict(view[held_out]) for view in seen], axis=0)
    return score, best


def _inner_score(
    inputs: list[np.ndarray],
    seen: list[np.ndarray],
    cohort: pd.DataFrame,
    folds: list[tuple[np.ndarray, np.ndarray]],
    probe: Probe,
    penalty: float,
) -> float:
    """Return the mean AUROC over the inner folds."""
    positive, found = (cohort["label"] == POSITIVE).to_numpy(), []
    for train, held_out in folds:
        model = _fitted(inputs, cohort, train, probe, penalty)
        score = np.mean([model.predict(view[held_out]) for view in seen], axis=0)
        found.append(roc_auc_score(positive[held_out], score))
    return float(np.mean(found))


def _fitted(inputs: list[np.ndarray], cohort: pd.DataFrame, rows: np.ndarray, probe: Probe, penalty: float) -> Pipeline:
    positive = (cohort["label"] == POSITIVE).to_numpy()[rows]
    weight = "class-subject" if probe.subject_weights else "class"
    weights = cell_weights(weight, positive, cohort["subject_group"].to_numpy()[rows])
    features = np.concatenate([of[rows] for of in inputs])
    model = make_pipeline(StandardScaler(), Ridge(alpha=penalty))
    count = len(inputs)
    return model.fit(features, np.tile(2.0 * positive - 1, count), ridge__sample_weight=np.tile(weights / count, count))


def main() -> None:
    """Evaluate every candidate and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", required=True, help='a file, or "imagenet"')
    parser.add_argument("--work", type=Path, required=True, help="folder of the averages")
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    averages = Averages(Path(os.environ["LEUKOBENCH_CNMC"]), arguments.weights, arguments.work)
    cohort = averages.cohort
    print(f"{len(cohort)} cells, {cohort['subject_group'].nunique()} subject groups; {arguments.repeats} times "
          f"{OUTER_FOLDS} outer folds over subject groups\n")  # fmt: skip
    print("| blocks | frame, px | augmentation | weights | views | AUROC | folds: mean | lowest | subjects: median "
          "| 10th percentile | lowest |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    kept = []
    for probe in CANDIDATES:
        kept.append([evaluate(averages, probe, repeat) for repeat in range(arguments.repeats)])
        line = summary([score for score, _ in kept[-1]], cohort)
        print(f"{probe} | " + " | ".join(f"{x:.3f}" for x in line) + " |", flush=True)
    line = summary(selected_inside(kept, cohort), cohort)
    print("| selected in each outer fold | | | | | " + " | ".join(f"{x:.3f}" for x in line) + " |")


if __name__ == "__main__":
    main()
