"""The commands about a cohort: `manifest`, `verify`, `audit` and `split`."""

from __future__ import annotations

from pathlib import Path

import click

from leukobench.commands.options import FILE, FOLDER, jobs_option, output, seed_option


@click.command()
@click.argument("images", type=FOLDER)
@output("Manifest (CSV)")
@click.option("--positive", default="all", show_default=True, help="Name of the folders that hold blasts.")
@click.option("--negative", default="hem", show_default=True, help="Name of the folders that hold normal cells.")
@click.option("--subject-regex", help="Pattern found in a file's path; its first group is the subject's ID.")
@click.option("--subjects", type=FILE, help="Table (CSV) of subjects: path or file name, and subject.")
@jobs_option
def manifest(
    images: Path,
    out: Path,
    positive: str,
    negative: str,
    subject_regex: str | None,
    subjects: Path | None,
    jobs: int,
) -> None:
    """Index the folder IMAGES: path, label, subject, checksum.

    The official files of C-NMC 2019 tell label and subject by their names, in the layout of the Cancer Imaging Archive
    or of Kaggle. In a folder of your own, put each class in a folder named all or hem (or as --positive and --negative
    say) and tell how to find the subject: by a pattern in the path, or by a table. Subjects that share an identical
    image are joined in one subject group, which no split divides. An interrupted scan goes on where it was.

    \b
    Example:  leukobench manifest C-NMC_Leukemia -o manifest.csv --jobs 2
              leukobench manifest slides -o manifest.csv --subject-regex 'patient(\\d+)'
    """
    from leukobench.cohort.indexing import scan_folder
    from leukobench.cohort.manifest import labelled, write_manifest

    table = scan_folder(
        images,
        positive=positive,
        negative=negative,
        subject_regex=subject_regex,
        subjects_csv=subjects,
        journal=out.with_name(f".{out.name}.journal"),
        jobs=jobs,
    )
    write_manifest(table, out)
    known = labelled(table)
    counts = ", ".join(f"{count} {label}" for label, count in known["label"].value_counts().items())
    click.echo(
        f"{out}: {len(table)} images ({counts or 'none labelled'}) of {known['subject'].nunique()} subjects "
        f"in {known['subject_group'].nunique()} subject groups"
    )


@click.command()
@click.argument("images", type=FOLDER)
@click.option("--manifest", type=FILE, help="What should be there; by default the shipped manifest of C-NMC 2019.")
@click.option(
    "--phase",
    "phases",
    type=click.Choice(["train", "prelim", "final"]),
    multiple=True,
    help="Look at this phase only; may be given twice. Without it every phase must be there.",
)
@output("Full list of faults (CSV)", required=False)
@jobs_option
def verify(images: Path, manifest: Path | None, phases: tuple[str, ...], out: Path | None, jobs: int) -> None:
    """Hold a download in the folder IMAGES against a manifest.

    Finds missing, changed (by size, then SHA-256), unreadable and extra images. Kaggle's layout of C-NMC 2019 and that
    of the Cancer Imaging Archive are recognised; IMAGES may also be a folder above the dataset or one of its parts.
    Ends with exit code 1 where anything is wrong.

    \b
    Example:  leukobench verify C-NMC_Leukemia --phase train --jobs 2 -o faults.csv
    """
    from leukobench.cohort.manifest import read_manifest, shipped_manifest_path
    from leukobench.cohort.verification import verify as hold
    from leukobench.core.files import write_csv

    found = hold(images, read_manifest(manifest or shipped_manifest_path()), phases=phases, jobs=jobs)
    click.echo("\n".join(found.lines()) + "\n")
    if out:
        write_csv(found.report(), out)
        click.echo(f"{out}: full list of faults")
    if not found.good:
        raise click.ClickException(f"{images}: {found.verdict()}")
    click.echo(found.verdict())


@click.command()
@click.argument("manifest", type=FILE, required=False)
@click.option("--images", type=FOLDER, help="Folder of the images: decode them, and compare their pixels too.")
@click.option("--split", "partition", type=FILE, help="Partition, from `split`: count what it leaks.")
@click.option("--near", is_flag=True, help="Look for near-duplicates; needs --images. About a minute for 10,000.")
@output("Everything that was found (JSON)", required=False)
@jobs_option
def audit(
    manifest: Path | None, images: Path | None, partition: Path | None, near: bool, out: Path | None, jobs: int
) -> None:
    """Say what is wrong with a dataset before anyone trains on it.

    Finds byte-identical images in the MANIFEST (by default the shipped one of C-NMC 2019), the subject IDs that they
    tie together, and which of them cross phases, folds, subjects and labels. Findings are information: the exit code
    is 0, but 1 where --split is given and a picture or a person stands on two sides of it. --images takes the files as
    they are: run verify first.

    \b
    Example:  leukobench audit manifest.csv --split split.csv
              leukobench audit manifest.csv --images C-NMC_Leukemia --near --jobs 2 -o audit.json
    """
    from leukobench.cohort.audit_report import lines
    from leukobench.cohort.manifest import read_manifest, shipped_manifest_path
    from leukobench.cohort.partition import read_partition
    from leukobench.core.files import write_json
    from leukobench.workflows.auditing import audit as examine

    if near and images is None:
        raise click.UsageError("--near compares images; give their folder with --images")
    manifest = manifest or shipped_manifest_path()
    found = examine(
        read_manifest(manifest),
        images=images,
        partition=read_partition(partition) if partition else None,
        near=near,
        jobs=jobs,
    )
    click.echo(f"{manifest}: " + "\n".join(lines(found)))
    if out:
        write_json(found.as_json(), out)
        click.echo(f"\n{out}: everything that was found")
    if found.leaks is not None and found.leaks.any:
        raise click.ClickException(f"{partition}: leaks; the same picture or person stands on two sides")


@click.command()
@click.argument("manifest", type=FILE)
@output("Partition (CSV; a folder of them for kfold)")
@click.option(
    "--method",
    type=click.Choice(["subject", "official", "kfold", "image"]),
    default="subject",
    show_default=True,
    help="subject: no person on two sides. official: test on C-NMC's preliminary phase, or on --test-fold. "
    "kfold: cross-validation over people. image: single images, as the reproduced studies did; LEAKY, to measure "
    "what that is worth.",
)
@click.option(
    "--test-size",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of each class to test on; for subject and image.",
)
@click.option(
    "--validation-size",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.1,
    show_default=True,
    help="Share of each class to validate on, carved from training.",
)
@click.option("--folds", type=click.IntRange(min=2), default=5, show_default=True, help="For kfold.")
@click.option("--test-fold", type=click.Choice(["0", "1", "2"]), help="For official: the fold to leave out.")
@click.option("--balance", is_flag=True, help="Cut each part down to as many images of one class as of the other.")
@click.option("--per-subject", type=click.IntRange(min=1), help="Take at most so many images of each subject.")
@seed_option
def split(
    manifest: Path,
    out: Path,
    method: str,
    test_size: float,
    validation_size: float,
    folds: int,
    test_fold: str | None,
    balance: bool,
    per_subject: int | None,
    seed: int,
) -> None:
    """Divide a MANIFEST into training, validation and test.

    Whole subject groups are dealt out, class by class, so that sizes are met as nearly as the groups allow; only the
    method image cuts them. The same arguments give the same file on every machine.

    \b
    Example:  leukobench split manifest.csv --method subject --test-size 0.2 --seed 1 -o split.csv
              leukobench split manifest.csv --method kfold --folds 5 --seed 1 -o folds
    """
    import leukobench.cohort.partition as partitions
    from leukobench.cohort.manifest import read_manifest

    choice = partitions.Choice(validation_size, balance, per_subject, seed)
    cohort = read_manifest(manifest)
    if method == "kfold":
        made = partitions.split_in_folds(cohort, folds, choice)
        partitions.write_folds(made, manifest, out)
    else:
        made = [
            partitions.split_officially(cohort, test_fold, choice)
            if method == "official"
            else partitions.split_by_image(cohort, test_size, choice)
            if method == "image"
            else partitions.split_by_subject(cohort, test_size, choice)
        ]
        partitions.write_partition(made[0], manifest, out)
    for fold, partition in enumerate(made):
        if method == "kfold":
            click.echo(f"fold {fold}")
        for line in partitions.summary(partition, cohort):
            click.echo(line)
