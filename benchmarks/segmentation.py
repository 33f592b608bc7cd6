"""Overlap of the segmentation of smears with hand-drawn masks.

    LEUKOBENCH_SMEAR=FOLDER python -m benchmarks.segmentation

The folder holds `index.csv` (image, mask, dataset, cell) and its images; a mask has 255 in the nucleus, 128 in the
cytoplasm and 0 elsewhere. The parameters were chosen on the crops whose number leaves 1 when divided by 4. The table
shows the crops that leave 3. A failure is an error, or an IoU of the cell below 0.5.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from leukobench.cells.white_cell import segment_white_cell
from leukobench.core.errors import InputError


def overlap(found: np.ndarray, drawn: np.ndarray) -> float:
    """Return the intersection over union of two masks."""
    return float((found & drawn).sum() / (found | drawn).sum())


def measure(folder: Path, remainder: int = 3) -> pd.DataFrame:
    """Return dataset, kind of cell and the IoU of cell and nucleus for the crops of one half."""
    index = pd.read_csv(folder / "index.csv")
    index = index[index["image"].str.extract(r"_(\d+)\.")[0].astype(int) % 4 == remainder].copy()
    values = []
    for row in index.itertuples():
        mask = np.array(Image.open(folder / str(row.mask)).convert("L"))
        try:
            cell, nucleus, _ = segment_white_cell(np.array(Image.open(folder / str(row.image)).convert("RGB")))
            values.append((overlap(cell > 0, mask > 0), overlap(nucleus > 0, mask == 255)))
        except InputError:
            values.append((0.0, 0.0))
    index[["cell_iou", "nucleus_iou"]] = values
    return index


def main() -> None:
    """Print the table."""
    if not (folder := os.environ.get("LEUKOBENCH_SMEAR")):
        sys.exit("LEUKOBENCH_SMEAR is unset: name a folder of smear crops with masks")
    found = measure(Path(folder))
    groups = [(f"dataset {name}, all", part) for name, part in found.groupby("dataset")]
    groups += [(f"dataset {name}, {kind}", part) for (name, kind), part in found.groupby(["dataset", "cell"])]
    print("| crops | n | cell IoU, median | 10th percentile | nucleus IoU, median | 10th percentile | failures |")
    print("|---|---|---|---|---|---|---|")
    for name, part in groups:
        numbers = [f"{part[what].quantile(share):.3f}" for what in ("cell_iou", "nucleus_iou") for share in (0.5, 0.1)]
        print(f"| {name} | {len(part)} | {' | '.join(numbers)} | {(part['cell_iou'] < 0.5).sum()} |")


if __name__ == "__main__":
    main()
