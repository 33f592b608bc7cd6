"""The commands about features: `extract` and `features`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from leukobench.commands.options import (
    FILE,
    FOLDER,
    Distances,
    Size,
    background_option,
    cluster_options,
    jobs_option,
    output,
)
from leukobench.commands.printing import end_with_failures, json_option, show


@click.command()
@click.argument("images", type=FOLDER)
@click.option("--manifest", type=FILE, required=True, help="Manifest of the images, from `manifest`.")
@output("Feature table (.csv or .parquet)")
@click.option("--set", "feature_set", default="leukobench", show_default=True, help="Feature set; see `features`.")
@click.option(
    "--channel",
    help="Intensity for texture and statistical features: grey, red, green, blue, hue, saturation, value, lightness, "
    "a or b.",
)
@click.option("--levels", type=int, help="Number of grey levels of the co-occurrence matrices, 2 to 256.")
@click.option(
    "--quantisation",
    help="Intensity range that is divided into equal grey levels. fixed: 0 to 255 for every cell. cell: the cell's "
    "smallest to its largest value.",
)
@click.option(
    "--distances", type=Distances(), metavar="PX,PX,...", help="Distances of co-occurring pixels, such as 1,2,4."
)
@click.option("--stain", help="Stain normalisation of each cell: none, standardised, reinhard or macenko.")
@click.option(
    "--size",
    type=Size(),
    metavar="PX|native",
    help="Scale each image before measuring, so that its longer side has this length in px. native: no scaling.",
)
@background_option
@jobs_option
@cluster_options
@click.option("--resume", is_flag=True, help="Continue an interrupted extraction, if there is one.")
@click.option("--strict", is_flag=True, help="Stop at the first image that cannot be measured.")
@json_option
def extract(
    images: Path,
    manifest: Path,
    out: Path,
    feature_set: str,
    background: str,
    jobs: int,
    backend: str,
    scheduler: str | None,
    resume: bool,
    strict: bool,
    **changes: Any,
) -> None:
    """Measure the features of every cell: one row per image, one column per feature.

    An image that cannot be measured gets no row. It is listed with the reason in <out>.failures.csv, and the command
    ends with exit code 1. Training leaves such images out and reports them. Settings that are not given are those of
    the feature set; features.csv.json records all of them.

    Measurements are kept in <out>.partial until the table is complete. After Ctrl-C or a crash, rerun the command with
    --resume: the table is the same as that of an uninterrupted run, byte for byte.

    \b
    Example:  leukobench extract C-NMC_Leukemia --manifest manifest.csv -o features.csv --jobs 2
              leukobench extract C-NMC_Leukemia --manifest manifest.csv -o coarse.parquet \\
                  --levels 16 --distances 1,2,4 --size 128
              leukobench extract /shared/slides --manifest manifest.csv -o features.parquet \\
                  --backend dask --scheduler tcp://head:8786 --resume
    """
    from leukobench.core.text import counted
    from leukobench.features.catalog import settings_of
    from leukobench.features.extractor import extract as extract_table

    done = extract_table(
        images,
        manifest,
        out,
        feature_set=feature_set,
        settings=settings_of(feature_set, **changes),
        background=background,
        jobs=jobs,
        backend=backend,
        scheduler=scheduler,
        resume=resume,
        strict=strict,
    )
    show(
        {"table": out, "features": done.features, "cells": done.images, "failed": done.failed},
        [f"{out}: {counted(done.features, 'feature')} of {counted(done.images, 'cell')}"],
    )
    end_with_failures(done.failed, done.images, "measured", out)


@click.command()
@click.option("--set", "feature_set", default="full", show_default=True, help="clinton19, patel, full or leukobench.")
@json_option
def features(feature_set: str) -> None:
    """List the features of a set: name, code, unit, formula, source, and the feature sets that contain it.

    The code is that of the Image Biomarker Standardisation Initiative (IBSI), where it defines the feature in the same
    way; else there is a dash. At a distance of 1 px, the co-occurrence features are those of its aggregation "2D,
    averaged" (BTW3) over one slice.

    \b
    clinton19   19 features of Clinton et al. 2020 with corrected formulas; red channel, 4 grey levels, at 128 px.
                Their energy is scikit-image's, sqrt(sum p^2): the square root of the angular second moment
    patel       27 features of Patel & Mishra 2015
    full        all features (for energy, its square); texture and statistics of grey, texture at 1, 2 and 4 px
    leukobench  the default of `extract`: as full; texture and statistics of blue, the channel with the best results on
                unseen subjects
    \b
    Example:  leukobench features --set patel
    """
    from leukobench.core.text import wrapped
    from leukobench.features.catalog import features_of, settings_of

    listed = features_of(feature_set)
    rows = [
        (each.name, each.ibsi or "-", each.unit, each.formula, each.source, ", ".join(each.sets)) for each in listed
    ]
    own = settings_of(feature_set).as_facts()
    names = ("name", "ibsi", "unit", "formula", "source", "sets")
    facts = {
        "set": feature_set,
        "settings": own,
        "features": [{name: getattr(each, name) for name in names} for each in listed],
    }
    of_set = f"settings of {feature_set}: " + ", ".join(f"{name} {value}" for name, value in own.items())
    show(facts, [*wrapped([("name", "IBSI", "unit", "formula", "source", "sets"), *rows]), of_set])
