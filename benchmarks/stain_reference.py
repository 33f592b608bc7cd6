"""The reference values of stain normalisation in `features/stain.py`: medians over real cells.

python benchmarks/stain_reference.py C-NMC_Leukemia
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from leukobench.cells.cell import read_cell
from leukobench.features.stain import optical_density, stain_vectors


def main(folder: Path) -> None:
    """Measure every image of a folder and print the medians."""
    rgb_statistics, lab_statistics, stains, strengths = [], [], [], []
    for path in sorted(folder.rglob("*.bmp")):
        cell = read_cell(path)
        rgb = cell.rgb[cell.mask].astype(float)
        lab = cv2.cvtColor((rgb[None] / 255).astype(np.float32), cv2.COLOR_RGB2Lab)[0]
        rgb_statistics.append([rgb.mean(axis=0), rgb.std(axis=0)])
        lab_statistics.append([lab.mean(axis=0), lab.std(axis=0)])
        vectors = stain_vectors(rgb)
        if vectors is not None:
            concentrations = np.linalg.lstsq(vectors.T, optical_density(rgb).T, rcond=None)[0]
            stains.append(vectors)
            strengths.append(np.percentile(concentrations, 99, axis=1))
    stain = np.median(stains, axis=0)
    print(f"{len(rgb_statistics)} cells, of which {len(stains)} have two stains")
    print("RGB_REFERENCE", np.median(rgb_statistics, axis=0).round(1).tolist())
    print("LAB_REFERENCE", np.median(lab_statistics, axis=0).astype(float).round(1).tolist())
    print("STAIN_REFERENCE", (stain / np.linalg.norm(stain, axis=1, keepdims=True)).round(3).tolist())
    print("CONCENTRATION_REFERENCE", np.median(strengths, axis=0).round(2).tolist())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
