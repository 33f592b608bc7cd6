"""How unlike the training cells a cell is: a distance in the space of features, and a threshold for it.

The features are standardised and described by a normal distribution whose covariance has principal axes and one
variance for all other directions (probabilistic principal component analysis). The novelty of a cell x is its
Mahalanobis distance, divided by the threshold above which a cell counts as out-of-distribution:

    distance(x)^2 = (sum over axes i of z_i^2 / variance_i + |rest|^2 / variance_rest) / number of features
    novelty(x) = distance(x) / threshold

Here z_i are the coordinates of the standardised features along the axes, and `rest` is what the axes do not reach. The
threshold comes from cells of unseen subjects: subject groups of the training part are left out in turn, and of their
cells, with subject groups weighted equally, the share `FALSE_ALARMS` lies above it.

For SVM and k-NN the features are those of the feature table; for networks the pooled outputs of the convolutional part,
of the image in its own orientation. Nothing but the training part is used.

Sources: Lee, K., et al. (2018). A simple unified framework for detecting out-of-distribution samples and adversarial
attacks. NeurIPS. Tipping, M. E., & Bishop, C. M. (1999). Probabilistic principal component analysis. J. R. Stat. Soc. B
61(3). The variances are shrunk as Ledoit, O., & Wolf, M. (2004), J. Multivar. Anal. 88(2) do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from leukobench.core.errors import InputError
from leukobench.core.files import read_csv_columns, write_csv
from leukobench.results.run import RunFolder, reported_rows

FALSE_ALARMS = 0.05  # share of the cells of unseen subjects, subject groups weighted equally, that are flagged
OUT_OF_DISTRIBUTION = 1.0  # a larger novelty is flagged
TABLE = "novelty.csv"
COLUMNS = ("path", "fold", "novelty")
FORMAT = 1
_FOLDS = 5
_MOST_AXES = 512  # the files stay small, also for networks with thousands of features


@dataclass(frozen=True)
class NoveltyModel:
    """The distribution of training cells, and the threshold; see the formula above.

    Attributes:
        center: Mean of each feature. [shape=(features,)]
        scale: Standard deviation of each; infinite for a constant one, which is left out. [shape=(features,)]
        axes: Principal axes. [shape=(features, axes)]
        variance: Variance along each axis. [shape=(axes,)]
        rest: Variance along every other direction.
        threshold: Distance above which a cell is out-of-distribution.
    """

    center: np.ndarray
    scale: np.ndarray
    axes: np.ndarray
    variance: np.ndarray
    rest: float
    threshold: float = 1.0

    def novelty(self, features: np.ndarray) -> np.ndarray:
        """Return the novelty of cells; above 1 they are out-of-distribution. [shape=(n,)]

        Args:
            features: Their features, those that the model was fitted on. [shape=(n, features)]
        """
        z = (np.asarray(features, float) - self.center) / self.scale
        along = z @ self.axes
        rest = np.maximum((z**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        squared = (along**2 / self.variance).sum(axis=1) + rest / self.rest
        return np.sqrt(squared / z.shape[1]) / self.threshold


@dataclass(frozen=True)
class Novelty:
    """The novelty of one model of a run, as it is stored.

    Attributes:
        model: The distribution of its training cells.
        facts: What `run.json` says of it: `threshold`, `false_alarms` (the rate that it was chosen at) and the share of
            flagged cells of each subject group, of the groups left out in training (`left_out`) and of the test part
            (`test`).
        cells: Novelty of the reported rows, in `COLUMNS`.
    """

    model: NoveltyModel
    facts: dict[str, Any]
    cells: pd.DataFrame


def fit_novelty(features: np.ndarray, group: np.ndarray) -> tuple[NoveltyModel, np.ndarray]:
    """Fit the distribution of training cells, and choose the threshold on subject groups that are left out.

    Args:
        features: Training cells. [shape=(n, features)]
        group: Subject group of each; at least two. [shape=(n,)]

    Returns:
        The model; and the novelty of each cell by a model that was fitted without its subject group. [shape=(n,)]

    Example:
        >>> rng = np.random.default_rng(0)
        >>> features, group = rng.normal(size=(400, 5)), np.repeat(np.arange(20), 20)
        >>> model, left_out = fit_novelty(features, group)
        >>> float((left_out > 1).mean())
        0.05
        >>> bool(model.novelty(features[:1] + 10)[0] > 1)
        True
    """
    from sklearn.model_selection import GroupKFold

    features, (groups, number) = np.asarray(features, float), np.unique(group, return_inverse=True)
    distance = np.empty(len(features))
    for fitted, left_out in GroupKFold(min(_FOLDS, len(groups))).split(features, groups=number):
        distance[left_out] = _fit_distribution(features[fitted]).novelty(features[left_out])
    share = 1 / np.bincount(number)[number] / len(groups)
    order = np.argsort(distance, kind="stable")
    at = np.searchsorted(np.cumsum(share[order]), 1 - FALSE_ALARMS - 1e-9)
    threshold = float(distance[order][at])
    model = _fit_distribution(features)
    return NoveltyModel(model.center, model.scale, model.axes, model.variance, model.rest, threshold), (
        distance / threshold
    )


def novelty_of(
    features: np.ndarray, rows: pd.DataFrame, training: np.ndarray, fold: int | None = None
) -> Novelty | None:
    """Fit the novelty of a model on its training rows; None where they are of one subject group.

    Args:
        features: Features of each row. [shape=(n, features)]
        rows: Rows of a partition.
        training: Which of them the model was trained on. [shape=(n,), bool]
        fold: Number of the fold; None without cross-validation, and for the final model.
    """
    group, part = rows["subject_group"].to_numpy(), rows["part"].to_numpy()
    if len(np.unique(group[training])) < 2:
        return None
    model, left_out = fit_novelty(features[training], group[training])
    reported = reported_rows(rows, fold)
    found = np.round(model.novelty(features), 6)
    tested = (part == "test") & ~training
    facts = {
        "threshold": model.threshold,
        "false_alarms": FALSE_ALARMS,
        "left_out": _flagged_by_group(left_out, group[training]),
        "test": _flagged_by_group(found[tested], group[tested]),
    }
    number = pd.array([fold] * len(rows), dtype="Int64")
    cells = pd.DataFrame({"path": rows["path"].to_numpy(), "fold": number, "novelty": found})[reported]
    return Novelty(model, facts, cells)


def novelty_name(fold: int | None = None) -> str:
    """Return the name of the file of a model's novelty: `novelty.npz`, `novelty_fold_0.npz`."""
    return "novelty.npz" if fold is None else f"novelty_fold_{fold}.npz"


def save_novelty(folder: Path, by_fold: Mapping[int | None, Novelty | None]) -> None:
    """Write the novelty of a run's models into its folder, and that of its cells, `novelty.csv`."""
    found = {fold: each for fold, each in by_fold.items() if each}
    for fold, each in found.items():
        np.savez(folder / novelty_name(fold), format=FORMAT, **asdict(each.model))
    cells = [each.cells for fold, each in found.items() if fold is not None or len(by_fold) == 1]
    if cells:
        write_csv(pd.concat(cells, ignore_index=True), folder / TABLE)


def load_novelty(run: RunFolder, fold: int | None = None) -> NoveltyModel | None:
    """Load the novelty of a model of a run; None where the run has none, as of leukobench 0.4.0 and earlier.

    Raises:
        InputError: the file is damaged, or of another version.
    """
    file = run.folder / novelty_name(fold)
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as stored:
            content = dict(stored)
        if int(content.pop("format")) != FORMAT:
            raise ValueError("of another version")
        return NoveltyModel(**content | {name: float(content[name]) for name in ("rest", "threshold")})
    except (OSError, ValueError, TypeError, KeyError, BadZipFile) as error:
        raise InputError(f"{file}: cannot be read ({' '.join(str(error).split())}); train again") from None


def read_novelty(run: RunFolder) -> pd.DataFrame | None:
    """Read the novelty of a run's cells: `path`, `fold`, `novelty`; None where the run has none.

    Raises:
        InputError: the table is malformed.
    """
    file = run.folder / TABLE
    if not file.is_file():
        return None
    table = read_csv_columns(file, COLUMNS, "table of novelty")
    numbers = {name: pd.to_numeric(table[name].replace("", None), errors="coerce") for name in ("fold", "novelty")}
    if numbers["novelty"].isna().any():
        raise InputError(f"{file}: has a novelty that is not a number; train again")
    return table.assign(novelty=numbers["novelty"], fold=numbers["fold"].astype("Int64"))


def with_novelty(scores: pd.DataFrame, novelty: np.ndarray | None) -> pd.DataFrame:
    """Return a table of scores with the columns `novelty` and `out_of_distribution`, where novelty is known."""
    if novelty is None:
        return scores
    rounded = np.round(novelty, 6)
    return scores.assign(novelty=rounded, out_of_distribution=rounded > OUT_OF_DISTRIBUTION)


def _fit_distribution(features: np.ndarray) -> NoveltyModel:
    from sklearn.covariance import ledoit_wolf_shrinkage
    from sklearn.decomposition import PCA

    center, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale <= 1e-12 * np.abs(center)] = np.inf
    z = (features - center) / scale
    cells, columns = z.shape
    axes = min(_MOST_AXES, cells - 1, columns)
    solver = "covariance_eigh" if columns <= 2 * _MOST_AXES else "randomized"
    components = PCA(axes, svd_solver=solver, random_state=0).fit(z)
    along = z @ components.components_.T
    variance = along.var(axis=0)
    total = z.var(axis=0).sum()
    rest = max(total - variance.sum(), 0) / max(columns - axes, 1)
    shrinkage, mean = ledoit_wolf_shrinkage(along, assume_centered=True), total / columns
    return NoveltyModel(
        center,
        scale,
        components.components_.T,
        np.maximum((1 - shrinkage) * variance + shrinkage * mean, 1e-6),
        max((1 - shrinkage) * rest + shrinkage * mean, 1e-6),
    )


def _flagged_by_group(novelty: np.ndarray, group: np.ndarray) -> dict[str, float]:
    flagged = pd.Series(novelty > OUT_OF_DISTRIBUTION).groupby(group).mean()
    return {str(name): round(float(share), 4) for name, share in flagged.items()}
