"""A partition that tests the recipes on subjects which their selection did not see.

    python benchmarks/later_subjects.py manifest.csv later.csv
    leukobench train-svm features.csv --split later.csv --seed 1 -o runs-later/svm

The recipes were selected on an earlier pool. The twelve subjects that were added later are the test part, all other
subjects training and validation. No tie joins one of the twelve with another subject; the script refuses a manifest in
which one does.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from leukobench.cohort.manifest import labelled, manifest_checksum, read_manifest
from leukobench.cohort.partition import Partition, write_split
from leukobench.cohort.splitting import draw_validation

LATER = ("13", "18", "24", "25", "68", "74", "H1", "H8", "H9", "H40", "H46", "H48")
SEED, VALIDATION_SIZE = 1, 0.1


def partition(manifest: pd.DataFrame) -> Partition:
    """Return the partition that tests the later subjects."""
    rows = labelled(manifest)
    test = rows["subject"].isin(LATER)
    tied = set(rows["subject_group"][test]) & set(rows["subject_group"][~test])
    if tied:
        sys.exit(f"later subjects are tied to others, in the groups {', '.join(sorted(tied))}")
    held = draw_validation(rows["subject_group"], rows["label"], test, VALIDATION_SIZE, str(SEED))
    part = np.select([test, held], ["test", "validation"], "train")
    method = f"later-subjects validation={VALIDATION_SIZE} seed={SEED}"
    return Partition(rows.assign(part=part), method, manifest_checksum(manifest)[:16])


def main() -> None:
    """Write the partition and print its parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path, help="partition to write; must not exist yet")
    arguments = parser.parse_args()
    made = partition(read_manifest(arguments.manifest))
    write_split(made, arguments.out)
    for name, rows in made.rows.groupby("part"):
        of_class = rows["label"].value_counts()
        groups = rows.groupby("label")["subject_group"].nunique()
        print(f"{name}: {len(rows)} images; {of_class.to_dict()}; subject groups {groups.to_dict()}")


if __name__ == "__main__":
    main()
