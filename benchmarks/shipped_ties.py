"""Make the ties and the subject groups of the shipped manifest from the images at hand.

    python benchmarks/shipped_ties.py C-NMC_Leukemia

Identical images are found by the checksums in the manifest, near-duplicates in the images. The tie of `UNRECORDED`
comes from an earlier search, which had the images of the preliminary test; the file names of its pair were not
recorded. With all images at hand, this search finds the pair again, and that row is no longer needed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from leukobench.cells.fingerprints import read_fingerprints
from leukobench.cohort.identity import subject_groups
from leukobench.cohort.layout import find_images
from leukobench.cohort.manifest import read_manifest, shipped_manifest_path, write_manifest
from leukobench.cohort.near_duplicates import near_duplicates
from leukobench.cohort.ties import accepted, find_ties, sorted_ties, ties_path, write_ties

UNRECORDED = pd.DataFrame(
    [{"path": "", "other": "", "kind": "near-duplicate", "subject": "51", "other_subject": "55", "accepted": "yes"}]
)


def main() -> None:
    """Write the shipped files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    manifest = read_manifest()
    found = find_images(options.images, manifest["path"]).files
    files = {path: found[path] for path in manifest["path"] if path in found}
    read = read_fingerprints(
        {path: files[path] for path in manifest["path"] if path in files}, near=True, jobs=options.jobs
    )
    content = manifest["path"].map(read.pixels)
    content = content.where(content.notna(), manifest["sha256"])
    rows = manifest[manifest["path"].isin(list(read.textures)) & ~content.duplicated()]
    textures = np.stack([read.textures[path] for path in rows["path"]])
    near = near_duplicates(textures, rows["path"], rows["subject"], rows["label"], jobs=options.jobs)
    ties = find_ties(manifest, content, near.pairs)
    ties = sorted_ties(pd.concat([ties, UNRECORDED], ignore_index=True))
    manifest["subject_group"] = subject_groups(manifest["subject"], accepted(ties))
    write_ties(ties, ties_path(shipped_manifest_path()))
    write_manifest(manifest, shipped_manifest_path())
    print(f"{len(files):,} of {len(manifest):,} images at hand; {near.compared:,} distinct cells compared")
    print(f"pairs of different labels: {near.between_labels[0]:,} of {near.between_labels[1]:,}")
    print(ties.value_counts("kind").to_string())
    joined = sorted({group for group in manifest["subject_group"] if "=" in group})
    print(f"{manifest['subject_group'].nunique() - 1} subject groups; joined: {', '.join(joined)}")


if __name__ == "__main__":
    main()
