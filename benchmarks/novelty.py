"""How many cells of other kinds a run flags as out-of-distribution, and how many of its own.

    python -m benchmarks.novelty FEATURES MANIFEST [--network RUN] [--smear FOLDER]

FEATURES and MANIFEST are the feature table and the manifest of real images. Ten times a random half of the subject
groups of each class is held out. The distribution is fitted on the others, as training does, and these are flagged:

- cells of the held-out subjects (5% are meant to be, with subjects weighted equally),
- generated cells (`leukobench.generate_cohort`), measured as the table was,
- with --smear, a folder of crops of smears with masks (`NAME.png`, `NAME_mask.png`): white cells cut out along their
  masks and laid on black, enlarged to the size of the images.

With --network, the network of a stored run flags its own test cells, the generated cells and the smears.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from leukobench.cohort.manifest import read_manifest
from leukobench.cohort.synthetic import generate_cohort
from leukobench.core.errors import InputError
from leukobench.features.dataframe import measure_like
from leukobench.results.feature_table import read_feature_table
from leukobench.results.novelty import fit_novelty, read_novelty
from leukobench.results.run import read_run_folder
from leukobench.workflows.prediction import predict_images

REPEATS = 10
SIDE = 450  # px, as the images of C-NMC 2019


def cut_out_cells(smear: Path, out: Path) -> None:
    """Write the white cells of smear crops on black, along their masks."""
    out.mkdir()
    for mask in sorted(smear.glob("*_mask.png")):
        name = mask.name.replace("_mask", "")
        rgb, inside = np.array(Image.open(smear / name).convert("RGB")), np.array(Image.open(mask).convert("L")) > 0
        Image.fromarray(np.where(inside[..., None], rgb, 0).astype(np.uint8)).resize((SIDE, SIDE)).save(out / name)


def held_out_shares(features: np.ndarray, group: np.ndarray, positive: np.ndarray, others: dict) -> pd.DataFrame:
    """Return the share of flagged cells, of the held-out subjects and of each other kind, one row a repeat."""
    rows = []
    of_group = pd.Series(positive).groupby(group).mean()
    for repeat in range(REPEATS):
        rng = np.random.default_rng(repeat)
        held = np.concatenate(
            [
                rng.choice(names, len(names) // 2, replace=False)
                for _, names in of_group.groupby(of_group > 0.5).groups.items()
            ]
        )
        testing = np.isin(group, held)
        model, _ = fit_novelty(features[~testing], group[~testing])
        flagged = pd.Series(model.novelty(features[testing]) > 1)
        by_subject = flagged.groupby(group[testing]).mean()
        found = {"unseen subjects (mean)": by_subject.mean(), "unseen subjects (largest share)": by_subject.max()}
        rows.append(found | {name: (model.novelty(other) > 1).mean() for name, other in others.items()})
    return pd.DataFrame(rows)


def print_shares(title: str, shares: pd.DataFrame) -> None:
    """Print a table of means, smallest and largest values."""
    print(f"\n{title}\n\n| cells | flagged, mean | smallest | largest |\n|---|---|---|---|")
    for name in shares:
        print(f"| {name} | {shares[name].mean():.1%} | {shares[name].min():.1%} | {shares[name].max():.1%} |")


def network_shares(folder: Path, others: dict[str, Path]) -> pd.DataFrame:
    """Return the share of cells that the networks of a run flag, in one row."""
    run = read_run_folder(folder)
    novelty = read_novelty(run)
    if novelty is None:
        raise InputError(f"{folder}: stores no novelty; train again")
    tested = run.part("test").merge(novelty, on=["path", "fold"])
    by_subject = (tested["novelty"] > 1).groupby(tested["subject_group"]).mean()
    found = {"unseen subjects (mean)": by_subject.mean(), "unseen subjects (largest share)": by_subject.max()}
    for name, images in others.items():
        found[name] = predict_images(run, images).scored["out_of_distribution"].mean()
    return pd.DataFrame([found])


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--network", type=Path)
    parser.add_argument("--smear", type=Path)
    arguments = parser.parse_args()
    table = read_feature_table(arguments.features)
    rows = read_manifest(arguments.manifest).set_index("path").loc[table.values.index]
    if table.facts is None:
        raise InputError(f"{arguments.features}: does not say how it was measured")
    with tempfile.TemporaryDirectory() as temporary:
        images = {"generated cells": Path(temporary) / "generated"}
        generate_cohort(images["generated cells"], subjects=20, cells_per_subject=10, seed=0)
        if arguments.smear:
            images["white cells of smears"] = Path(temporary) / "smear"
            cut_out_cells(arguments.smear, images["white cells of smears"])
        others = {name: measure_like(table.facts, folder).to_numpy() for name, folder in images.items()}
        sizes = ", ".join(f"{len(each)} {name}" for name, each in others.items())
        print(f"{len(rows):,} cells of {rows['subject_group'].nunique()} subject groups, {sizes}")
        group, positive = rows["subject_group"].to_numpy(), (rows["label"] == "all").to_numpy()
        shares = held_out_shares(table.values.to_numpy(), group, positive, others)
        print_shares(
            f"{table.values.shape[1]} features of the set {table.facts.feature_set}, {REPEATS} repeats", shares
        )
        if arguments.network:
            print_shares(f"networks of {arguments.network.name}", network_shares(arguments.network, images))


if __name__ == "__main__":
    main()
