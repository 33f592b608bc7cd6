"""Where in a network, and on what pictures, blasts look unlike normal cells: the hunt for the recipe `leukobench`.

    LEUKOBENCH_CNMC=C-NMC_Leukemia python -m benchmarks.network_recipe --weights imagenet --work hunt

Linear probes: MobileNet with its ImageNet weights stays as it is, the feature maps of a layer are averaged over the
image or over the cell alone, and ridge regression on the standardised averages tells the classes apart. Every candidate
is judged as in `benchmarks/default_recipe.py`: nested cross-validation over subject groups, repeated; the penalty is
chosen inside the training part of each outer fold. The last line is the honest price of having chosen among the
candidates.

The averages are kept in the folder given by --work.
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

from benchmarks.default_recipe import OUTER_FOLDS, chosen_inside, figures, outer_folds
from leukobench.cnn.architectures import ARCHITECTURES
from leukobench.cnn.augmentation import Augment
from leukobench.cnn.backend import keras
from leukobench.cnn.data import load_images
from leukobench.cnn.epochs import Batches, balanced_weights
from leukobench.cnn.normalization import fuse_batch_normalization
from leukobench.cnn.pooling import POOLINGS
from leukobench.cnn.recipes import Augmentation
from leukobench.cnn.scaling import SCALINGS
from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import POSITIVE

SIDE = 224
PENALTIES = (1.0, 10.0, 100.0, 1000.0, 10_000.0)
INNER_FOLDS = 3
COPIES = 1  # augmented copies of the training cells, beside the cells as they are
TURNED = Augmentation(rotation=180, flip=True)


@dataclass(frozen=True)
class Probe:
    """A candidate.

    Attributes:
        layers: Numbers of the blocks of MobileNet whose maps are averaged, side by side.
        frame: Side of the square that is looked at, px.
        augmentation: Of the training cells, or None.
        turns: Whether the training cells are looked at in their eight turns.
        people: Whether all subject groups of a class weigh the same, else all its cells.
        views: Whether a cell's score is the mean over its eight turns.
        over: What the maps are averaged over, a name in `leukobench.cnn.pooling`.
    """

    layers: tuple[int, ...] = (8,)
    frame: int = 320
    augmentation: Augmentation | None = None
    turns: bool = False
    people: bool = True
    views: bool = False
    over: str = "average"

    def __str__(self) -> str:
        """Return what a line of the table begins with."""
        by = self.augmentation
        augmented = "eight turns" if self.turns else "none"
        if by is not None:
            augmented = f"turned, stain {by.stain:g}" if by.stain else "turned"
        weighed = "people" if self.people else "classes"
        layers = " + ".join(map(str, self.layers)) + (", of the cell" if self.over == "cell-average" else "")
        return f"| {layers} | {self.frame} | {augmented} | {weighed} alike | {8 if self.views else 1}"


CANDIDATES = (
    *(Probe((layer,)) for layer in range(1, 14)),
    *(Probe((layer,), frame=450) for layer in (3, 5, 8, 11, 13)),
    Probe((5, 8)),
    Probe((8,), people=False),
    *(Probe((8,), augmentation=replace(TURNED, stain=stain)) for stain in (0.0, 0.1, 0.25)),
    Probe((8,), views=True),
    Probe((8,), augmentation=TURNED, views=True),
    Probe((5, 8), augmentation=TURNED, views=True),
    *(Probe(layers, turns=True, views=True) for layers in ((5,), (8,), (3, 5), (5, 8), (3, 5, 8), (5, 8, 11))),
    *(Probe(layers, turns=True, views=True, over="cell-average") for layers in ((5,), (8,), (5, 8), (5, 8, 11))),
)


class Averages:
    """Averages of the feature maps of every block, of every cell, kept in a folder."""

    def __init__(self, folder: Path, weights: str, work: Path) -> None:
        self.cohort = index_folder(folder).query("label != ''").reset_index(drop=True)
        self._folder, self._weights, self._work = folder, weights, work
        work.mkdir(parents=True, exist_ok=True)

    def of(self, probe: Probe, augmented: int = 0, turn: int = 0) -> np.ndarray:
        """Return the averages that a probe looks at, of the cells as they are, augmented, or turned. [shape=(n, m)]"""
        by = Probe((), probe.frame, probe.augmentation if augmented else None, over=probe.over)
        identity = json.dumps([asdict(by), augmented, turn, self.cohort["sha256"].tolist()])
        path = self._work / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.npz"
        if not path.exists():
            np.savez(path, *self._computed(by, augmented, turn))
        with np.load(path) as kept:
            return np.concatenate([kept[f"arr_{layer - 1}"] for layer in probe.layers], axis=1)

    def _computed(self, probe: Probe, augmented: int, turn: int) -> list[np.ndarray]:
        images = load_images(self._folder, self.cohort, frame=probe.frame, side=SIDE, jobs=os.cpu_count() or 1)
        base = ARCHITECTURES["mobilenet"](SIDE, self._weights)
        fuse_batch_normalization(base)
        blocks = [base.get_layer(f"conv_pw_{number}_relu").output for number in range(1, 14)]
        pixels = keras.Input((SIDE, SIDE, 3))
        changed = Augment(probe.augmentation, augmented, always=True)(pixels) if augmented else pixels
        maps = keras.Model(base.input, blocks)(SCALINGS["symmetric"](changed))
        model = keras.Model(pixels, [_averaged(probe.over, of.shape)([changed, of]) for of in maps])
        rows = self.cohort["path"].map(images.row).to_numpy()
        dealt = Batches(images.pixels, rows, 32, orientations=np.full(len(rows), turn) if turn else None)
        found = [model.predict_on_batch(dealt[number][0]) for number in tqdm(range(len(dealt)), disable=None)]
        return [np.concatenate(of)[: len(rows)] for of in zip(*found, strict=True)]


def _averaged(over: str, shape: tuple[int, ...]) -> keras.Model:
    """Return a model that averages maps of a shape; by itself, because layers that pool have a name."""
    images, maps = keras.Input((SIDE, SIDE, 3)), keras.Input(shape[1:])
    return keras.Model([images, maps], POOLINGS[over](images, maps))


def judge(averages: Averages, probe: Probe, repeat: int) -> tuple[np.ndarray, list[float]]:
    """Return the score of each cell by a probe that has not seen its group, and each fold's inner score."""
    label, group = (averages.cohort[column].to_numpy() for column in ("label", "subject_group"))
    copies = [averages.of(probe, number) for number in range(1, COPIES + 1)] if probe.augmentation else []
    copies += [averages.of(probe, turn=turn) for turn in range(1, 8)] if probe.turns else []
    taught = [averages.of(probe), *copies]
    seen = [averages.of(probe, turn=turn) for turn in range(8 if probe.views else 1)]
    score, chosen = np.empty(len(label)), []
    for train, held_out in outer_folds(label, group, repeat):
        inner = StratifiedGroupKFold(INNER_FOLDS, shuffle=True, random_state=repeat)
        inner_folds = [(train[a], train[b]) for a, b in inner.split(train, label[train], group[train])]
        tried = [_inner_score(taught, seen, averages.cohort, inner_folds, probe, penalty) for penalty in PENALTIES]
        chosen.append(max(tried))
        model = _fitted(taught, averages.cohort, train, probe, PENALTIES[int(np.argmax(tried))])
        score[held_out] = np.mean([model.predict(view[held_out]) for view in seen], axis=0)
    return score, chosen


def _inner_score(
    taught: list[np.ndarray],
    seen: list[np.ndarray],
    cohort: pd.DataFrame,
    folds: list[tuple[np.ndarray, np.ndarray]],
    probe: Probe,
    penalty: float,
) -> float:
    """Return the mean AUROC over the inner folds."""
    positive, found = (cohort["label"] == POSITIVE).to_numpy(), []
    for train, held_out in folds:
        model = _fitted(taught, cohort, train, probe, penalty)
        score = np.mean([model.predict(view[held_out]) for view in seen], axis=0)
        found.append(roc_auc_score(positive[held_out], score))
    return float(np.mean(found))


def _fitted(taught: list[np.ndarray], cohort: pd.DataFrame, rows: np.ndarray, probe: Probe, penalty: float) -> Pipeline:
    positive = (cohort["label"] == POSITIVE).to_numpy()[rows]
    weights = balanced_weights(positive, cohort["subject_group"].to_numpy()[rows] if probe.people else None)
    features = np.concatenate([of[rows] for of in taught])
    model = make_pipeline(StandardScaler(), Ridge(alpha=penalty))
    count = len(taught)
    return model.fit(features, np.tile(2.0 * positive - 1, count), ridge__sample_weight=np.tile(weights / count, count))


def main() -> None:
    """Try every candidate and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", required=True, help='a file, or "imagenet"')
    parser.add_argument("--work", type=Path, required=True, help="folder for the averages")
    parser.add_argument("--repeats", type=int, default=2)
    asked = parser.parse_args()
    averages = Averages(Path(os.environ["LEUKOBENCH_CNMC"]), asked.weights, asked.work)
    cohort = averages.cohort
    print(f"{len(cohort)} cells, {cohort['subject_group'].nunique()} subject groups; {asked.repeats} times "
          f"{OUTER_FOLDS} outer folds over subject groups\n")  # fmt: skip
    print("| blocks | frame, px | augmentation | weights | views | AUROC | folds: mean | worst | people: median "
          "| 10th percentile | worst |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    kept = []
    for probe in CANDIDATES:
        kept.append([judge(averages, probe, repeat) for repeat in range(asked.repeats)])
        line = figures([score for score, _ in kept[-1]], cohort)
        print(f"{probe} | " + " | ".join(f"{x:.3f}" for x in line) + " |", flush=True)
    line = figures(chosen_inside(kept, cohort), cohort)
    print("| chosen in each outer fold | | | | | " + " | ".join(f"{x:.3f}" for x in line) + " |")


if __name__ == "__main__":
    main()
