"""The commands about features: `extract` and `features`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from leukobench.commands.options import FILE, FOLDER, Distances, Size, background_option, jobs_option, output


@click.command()
@click.argument("images", type=FOLDER)
@click.option("--manifest", type=FILE, required=True, help="Manifest of the images, from `manifest`.")
@output("Feature table (.csv or .parquet)")
@click.option("--set", "feature_set", default="patel", show_default=True, help="Feature set; see `features`.")
@click.option(
    "--channel",
    help="What texture and statistics are taken of: grey, red, green, blue, hue, saturation, value, lightness, a or b.",
)
@click.option("--levels", type=int, help="Grey levels of the co-occurrence matrices, 2 to 256.")
@click.option("--quantisation", help="fixed: the same grey levels for every cell. cell: from its darkest to lightest.")
@click.option(
    "--distances", type=Distances(), metavar="PX,PX,...", help="Steps between the pixels of a pair, such as 1,2,4."
)
@click.option(
    "--stain", help="Bring each cell's colours to a common reference first: none, standardised, reinhard or macenko."
)
@click.option(
    "--size", type=Size(), metavar="PX|native", help="Scale images to so many px first; native: measure them as is."
)
@background_option
@jobs_option
@click.option(
    "--backend",
    type=click.Choice(["loky", "dask", "ray"]),
    default="loky",
    show_default=True,
    help="Who measures. loky: --jobs processes of this machine. dask, ray: all workers of the cluster at --scheduler.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Of a Dask scheduler (tcp://host:8786) or a Ray head (host:6379). Its workers need the same leukobench, and "
    "must share the folder IMAGES with this machine under the same path.",
)
@click.option("--resume", is_flag=True, help="Go on where an interrupted run stopped, if there was one.")
@click.option("--strict", is_flag=True, help="Stop at the first image that cannot be measured.")
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
    """Measure every cell: one row an image, one column a feature.

    An image that cannot be measured costs its own row only; it is listed with the reason in <name>.failures.csv, and
    the command ends with exit code 1. Training leaves such images out and says so. Settings that you leave out are the
    feature set's own; features.json records them all.

    What is measured is kept in <out>.partial until the table is whole. After Ctrl-C or a crash, say the same
    with --resume: the table will be the one that an unbroken run writes, byte for byte.

    \b
    Example:  leukobench extract C-NMC_Leukemia --manifest manifest.csv -o features.csv --jobs 2
              leukobench extract C-NMC_Leukemia --manifest manifest.csv -o coarse.parquet \\
                  --levels 16 --distances 1,2,4 --size 128
              leukobench extract /shared/slides --manifest manifest.csv -o features.parquet \\
                  --backend dask --scheduler tcp://head:8786 --resume
    """
    from leukobench.features.catalog import settings_of
    from leukobench.features.extractor import extract as measure
    from leukobench.results.failures import failures_path

    if (backend == "loky") != (scheduler is None):
        raise click.UsageError("--backend dask and --backend ray need --scheduler, and only they do")
    try:
        done = measure(
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
    except KeyboardInterrupt as interruption:
        raise click.ClickException(str(interruption) or "interrupted") from None
    click.echo(f"{out}: {done.features} features of {done.images} cells")
    if done.failed:
        path, reason = next(iter(done.failed.items()))
        raise click.ClickException(
            f"{len(done.failed)} of {done.images + len(done.failed)} images could not be measured, "
            f"listed in {failures_path(out)}; the first: {path}: {reason}"
        )


@click.command()
@click.option("--set", "feature_set", default="full", show_default=True, help="clinton19, patel, full or leukobench.")
def features(feature_set: str) -> None:
    """List the features of a set: name, unit, formula, source, and the sets that it belongs to.

    \b
    clinton19   the 19 columns of Clinton et al. 2020, computed rightly: red channel, 4 grey levels, at 128 px
    patel       what Patel & Mishra 2015 list, the default of `extract`
    full        everything: texture and statistics of grey, textures at 1, 2 and 4 px
    leukobench  everything, texture and statistics of blue: what told cells of people never seen best
    \b
    Example:  leukobench features --set patel
    """
    from leukobench.features.catalog import features_of, settings_of

    for feature in features_of(feature_set):
        sets = ", ".join(feature.sets)
        click.echo(f"{feature.name:48} {feature.unit:20} {feature.formula}  [{feature.source}] ({sets})")
    own = settings_of(feature_set).as_facts().items()
    click.echo(f"settings of {feature_set}: " + ", ".join(f"{name} {value}" for name, value in own))
