"""Make the ties and the subject groups of the shipped manifest from the images at hand.

    python benchmarks/shipped_ties.py C-NMC_Leukemia

Identical images are found by the checksums in the manifest, near-duplicates in the images. The tie of `UNRECORDED`
comes from an earlier search, which had the images of the preliminary test; the file names of its pair were not
recorded. With all images at hand, this search finds the pair again, and that row is no longer needed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from leukobench.cohort.audit import audit
from leukobench.cohort.identity import subject_groups
from leukobench.cohort.manifest import read_manifest, shipped_manifest_path, write_manifest
from leukobench.cohort.ties import accepted, add_ties, ties_path, write_ties

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
    found = audit(manifest, images=options.images, near=True, jobs=options.jobs)
    near, ties = found.pixels.near_duplicates, add_ties(found.ties, UNRECORDED)
    manifest["subject_group"] = subject_groups(manifest["subject"], accepted(ties))
    write_ties(ties, ties_path(shipped_manifest_path()))
    write_manifest(manifest, shipped_manifest_path())
    print(f"{found.pixels.decoded:,} of {len(manifest):,} images decoded; {near.compared:,} distinct cells compared")
    print(f"pairs of different labels: {near.between_labels[0]:,} of {near.between_labels[1]:,}")
    print(ties.value_counts("kind").to_string())
    joined = sorted({group for group in manifest["subject_group"] if "=" in group})
    print(f"{manifest['subject_group'].nunique() - 1} subject groups; joined: {', '.join(joined)}")


if __name__ == "__main__":
    main()
