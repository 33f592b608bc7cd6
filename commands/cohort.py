"""The commands about a cohort: `manifest`, `verify`, `audit`, `split` and `croissant`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from leukobench.commands.options import (
    FILE,
    FOLDER,
    background_option,
    jobs_option,
    options_named,
    output,
    resume_option,
    seed_option,
)
from leukobench.commands.printing import json_option, show

# what the library says of its arguments, and how to say it on the command line
MANIFEST_OPTIONS = {
    "(positive, negative)": "(--positive, --negative)",
    "(subject_regex)": "(--subject-regex)",
    "(subjects)": "(--subjects)",
    "(ignored)": "(--ignore)",
}
SPLIT_OPTIONS = {"(folds=": "(--folds ", "(validation_size=0)": "(--validation-size 0)"}


@click.command()
@click.argument("images", type=FOLDER)
@output("Manifest (CSV)")
@click.option("--positive", default="all", show_default=True, help="Name of the folder of blasts.")
@click.option("--negative", default="hem", show_default=True, help="Name of the folder of normal cells.")
@click.option(
    "--subject-regex",
    help="Regular expression to search in a file's path; its first capturing group is the subject's ID.",
)
@click.option("--subjects", type=FILE, help="Table (CSV) with the columns path (or file name) and subject.")
@click.option(
    "--near/--no-near",
    default=True,
    show_default=True,
    help="Decode the images and search for near-duplicates, too: about 50 s for 12,500 images on 2 CPU cores.",
)
@background_option
@click.option(
    "--reject",
    "rejected",
    type=FILE,
    help="Table (CSV) of pairs of images that show two different cells, with the columns path and other; they do not "
    "join subject IDs. If it has the column accepted, as a table of ties, only its rows with accepted = no are used.",
)
@click.option(
    "--ignore",
    "ignored",
    metavar="FOLDER",
    multiple=True,
    help="Folder in IMAGES to leave out, such as masks or day1/masks; may be given several times. A name without / "
    "counts at any depth.",
)
@resume_option
@jobs_option
@json_option
def manifest(images: Path, out: Path, **options: Any) -> None:
    """Index the folder IMAGES: path, label, subject and checksum of each image.

    The official files of C-NMC 2019 carry label and subject in their names, in the layout of the Cancer Imaging Archive
    or of Kaggle. For your own images, put the blasts in a folder named `all` and the normal cells in a folder named
    `hem` (or choose other names with --positive and --negative). Say how to find the subject with --subject-regex or
    --subjects.

    Two subject IDs are tied if they share an image: a copy of a file, the same pixels in another file, or two
    photographs of one cell (near-duplicates). Tied IDs form one subject group, which subject-level splits keep
    together. The pairs are listed in a table of ties beside the manifest, manifest.ties.csv. Look at them with `audit
    manifest.csv --images IMAGES -o audit`.

    \b
    Example:  leukobench manifest C-NMC_Leukemia -o manifest.csv --jobs 2
              leukobench manifest slides -o manifest.csv --subject-regex 'patient(\\d+)'
    """
    from leukobench.cohort.class_names import ClassNames
    from leukobench.cohort.indexing import index_folder
    from leukobench.cohort.manifest import labelled
    from leukobench.cohort.ties import read_ties, summary, ties_path
    from leukobench.core.text import counted

    with options_named(MANIFEST_OPTIONS):
        table = index_folder(images, out=out, **options)
    known = labelled(table)
    labels, classes = known["label"].value_counts().to_dict(), ClassNames.of_table(table)
    subjects, groups = known["subject"].nunique(), known["subject_group"].nunique()
    ties = read_ties(ties_path(out))
    counts = ", ".join(f"{count} {classes[label]}" for label, count in labels.items())
    lines = [
        f"{out}: {counted(len(table), 'image')} ({counts or 'none labelled'}) of "
        f"{counted(subjects, 'subject')} in {counted(groups, 'subject group')}",
        f"{ties_path(out)}: {summary(ties)}",
    ]
    for name, key in (("left out", "unreadable"), ("not compared", "failures")):
        if found := list(table.attrs[key].values()):
            lines.append(f"{name}: {counted(len(found), 'image')} (first: {found[0]})")
    facts = {
        "manifest": out,
        "images": len(table),
        "labels": labels,
        "subjects": subjects,
        "subject_groups": groups,
        "ties": ties_path(out),
        "pairs": len(ties),
        "left_out": table.attrs["unreadable"],
        "not_compared": table.attrs["failures"],
    }
    show(facts, lines)


@click.command()
@click.argument("images", type=FOLDER)
@click.option("--manifest", type=FILE, help="The expected files; by default the shipped manifest of C-NMC 2019.")
@click.option(
    "--phase",
    "phases",
    type=click.Choice(["train", "prelim", "final"]),
    multiple=True,
    help="Verify this phase only; may be given several times. By default all phases are expected.",
)
@output("Full list of faults (CSV)", required=False)
@jobs_option
@json_option
def verify(images: Path, manifest: Path | None, phases: tuple[str, ...], out: Path | None, jobs: int) -> None:
    """Verify a download in the folder IMAGES against a manifest.

    Finds missing, changed (by size, then SHA-256), unreadable and extra images. The layouts of Kaggle and of the Cancer
    Imaging Archive are recognised; IMAGES may also be a folder above the dataset or one of its parts. The exit code is
    1 if anything is wrong.

    \b
    Example:  leukobench verify C-NMC_Leukemia --phase train --jobs 2 -o faults.csv
    """
    from leukobench.cohort import verification
    from leukobench.cohort.manifest import read_manifest
    from leukobench.core.files import write_csv

    found = verification.verify(images, read_manifest(manifest), phases=phases, jobs=jobs)
    lines = ["\n".join(found.lines()) + "\n"]
    if out:
        write_csv(found.report(), out)
        lines.append(f"{out}: full list of faults")
    if found.good:
        lines.append(found.verdict())
    facts = {
        "images": images,
        "good": found.good,
        "verdict": found.verdict(),
        "parts": found.parts.rename_axis("part").reset_index().to_dict("records"),
        "faults": found.report().to_dict("records"),
    }
    show(facts, lines)
    if not found.good:
        raise click.ClickException(f"{images}: {found.verdict()}")


@click.command()
@click.argument("manifest", type=FILE, required=False)
@click.option(
    "--images",
    type=FOLDER,
    help="Folder of the images: decode them and compare their pixels as well. They are not checked against the "
    "manifest: run `verify IMAGES --manifest MANIFEST` first.",
)
@click.option(
    "--split",
    "partition",
    type=FILE,
    help="Partition from `split`: count the images and subjects that are in more than one part.",
)
@click.option(
    "--near",
    is_flag=True,
    help="Search for near-duplicates again, as `manifest` has done; needs --images. About 50 s for 12,500 images on 2 "
    "CPU cores.",
)
@background_option
@click.option(
    "--reject",
    "rejected",
    type=FILE,
    help="Table (CSV) of pairs of images that show two different cells, as for `manifest` and as the page saves it.",
)
@output("Folder of all findings (page, JSON, ties) or, if its name ends in .json, file of the findings", required=False)
@jobs_option
@json_option
def audit(
    manifest: Path | None,
    images: Path | None,
    partition: Path | None,
    near: bool,
    background: str,
    rejected: Path | None,
    out: Path | None,
    jobs: int,
) -> None:
    """Find duplicates and shared subjects in a dataset before training on it.

    Finds byte-identical images in the MANIFEST (by default the shipped one of C-NMC 2019), the subject IDs that share
    an image, and the duplicates that are in more than one phase, fold, subject or class. The ties beside the manifest
    (manifest.ties.csv) count as well. The exit code is 1 only if --split is given and an image or a subject group is in
    more than one part.

    With --images and -o, the page audit.html shows each pair of images that ties two subject IDs, side by side. Reject
    the pairs that show two different cells, and save the table. `manifest --reject TABLE` then makes a manifest with
    the corrected subject groups.

    \b
    Example:  leukobench audit manifest.csv --split split.csv
              leukobench audit manifest.csv --images C-NMC_Leukemia --jobs 2 -o audit
    """
    from leukobench.cohort import audit as auditing
    from leukobench.cohort.audit_page import write_audit
    from leukobench.cohort.audit_report import lines
    from leukobench.cohort.manifest import read_manifest, shipped_manifest_path
    from leukobench.cohort.partition import read_partition
    from leukobench.cohort.ties import read_rejected, read_ties, ties_path

    if near and images is None:
        raise click.UsageError("--near compares images; name their folder with --images")
    manifest = manifest or shipped_manifest_path()
    beside, cohort = ties_path(manifest), read_manifest(manifest)
    found = auditing.audit(
        cohort,
        ties=read_ties(beside) if beside.exists() else None,
        images=images,
        near=near,
        background=background,
        rejected=read_rejected(rejected) if rejected else None,
        partition=read_partition(partition) if partition else None,
        jobs=jobs,
    )
    said = [f"{manifest}: " + "\n".join(lines(found))]
    if out:
        write_audit(found, out, manifest=cohort, images=images, background=background, jobs=jobs)
        said.append(f"\n{out}: {'all findings' if out.suffix == '.json' else 'open audit.html'}")
    show({"manifest": manifest} | found.as_json(), said)
    if found.leaks is not None and found.leaks.any:
        raise click.ClickException(f"{partition}: leaks: an image or a subject is in two parts")


@click.command("split")
@click.argument("manifest", type=FILE, required=False)
@output("Partition (CSV; a folder of them for kfold, and a folder of such folders with --repeats)")
@click.option(
    "--phase",
    "phases",
    type=click.Choice(["train", "prelim"]),
    multiple=True,
    help="Divide this phase only; may be given several times. By default all labelled images are divided.",
)
@click.option(
    "--method",
    type=click.Choice(["subject", "official", "kfold", "image"]),
    default="subject",
    show_default=True,
    help="subject: no subject in two parts. official: test on C-NMC's preliminary phase, or on --test-fold. kfold: "
    "cross-validation over subjects. image: image-level split as in the reproduced studies; marked as LEAKY, to "
    "measure its optimistic bias.",
)
@click.option(
    "--test-size",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of each class's subject groups for testing (of its images for image); for subject and image.",
)
@click.option(
    "--validation-size",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.1,
    show_default=True,
    help="Share of each class's subject groups for validation (of its images for image), taken from training; for "
    "every method. At least 3 groups of each class, or a third of those not tested if these are fewer than 9. "
    "0: no validation.",
)
@click.option("--folds", type=click.IntRange(min=2), default=5, show_default=True, help="Number of folds, for kfold.")
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of cross-validations, with the seeds SEED, SEED + 1 and so on; for kfold.",
)
@click.option("--test-fold", type=click.Choice(["0", "1", "2"]), help="Official fold to test on, for official.")
@click.option(
    "--balance", is_flag=True, help="Leave out images of the larger class, so that each part has equally many of both."
)
@click.option("--per-subject", type=click.IntRange(min=1), help="Use at most this many images of each subject.")
@seed_option
@json_option
def split_command(manifest: Path | None, out: Path, **options: Any) -> None:
    """Divide a MANIFEST (by default the shipped one of C-NMC 2019) into training, validation and test.

    Whole subject groups are assigned to the parts, class by class. Each part takes its share of the groups and, as
    nearly as the groups allow, of the images. Each group of a class has the same probability of being tested, whatever
    its size. The method official leaves out of training the images of groups that are also in its test part, and says
    so. Only the method image divides groups. The same arguments give the same file on every machine.

    With --repeats 5, split writes five cross-validations: repeat_0/fold_0.csv and so on. A training takes one of them.
    To train on all:

    \b
        for r in 0 1 2 3 4; do
            leukobench train-svm features.csv --split folds/repeat_$r -o runs/svm/repeat_$r
        done

    \b
    Example:  leukobench split manifest.csv --method subject --test-size 0.2 --seed 1 -o split.csv
              leukobench split manifest.csv --method kfold --folds 5 --seed 1 -o folds
              leukobench split manifest.csv --method kfold --repeats 5 --seed 1 -o folds
              leukobench split --phase train --method kfold --folds 5 --seed 1 -o cnmc_folds
    """
    from leukobench.cohort.manifest import read_manifest
    from leukobench.cohort.partition import PARTS, Repeats, summary, write_split
    from leukobench.cohort.splitting import split

    cohort = read_manifest(manifest)
    with options_named(SPLIT_OPTIONS):
        made = split(cohort, **options)
    write_split(made, out)
    lines, parts = [], []
    for repeat, folds in made.repeats.items() if isinstance(made, Repeats) else [(None, made)]:
        for fold, partition in folds.by_fold():
            if fold is not None:
                lines.append(f"fold {fold}" if repeat is None else f"repeat {repeat} fold {fold}")
            lines += summary(partition, cohort)
            for part in PARTS:
                rows = partition.part(part)
                counts = {"images": len(rows), "subject_groups": rows["subject_group"].nunique()}
                counts["labels"] = rows["label"].value_counts().to_dict()
                parts.append({"repeat": repeat, "fold": fold, "part": part, "leaky": partition.leaky, **counts})
    show({"split": out, "parts": parts}, lines)


@click.command()
@click.argument("manifest", type=FILE, required=False)
@click.option(
    "--split",
    type=click.Path(exists=True, path_type=Path),
    help="Partition from `split`, or its folder of folds, to describe as well.",
)
@output("Record (JSON)")
@click.option("--name", help="Name of the dataset.")
@click.option("--license", help="Licence of the dataset, best as a URL.")
@click.option("--url", help="Web page of the dataset.")
@click.option("--creator", "creators", multiple=True, help="Person who made the dataset; may be given several times.")
@click.option("--date-published", help="When the dataset was published: 2019 or 2019-05-31.")
@click.option("--citation", help="How to cite the dataset, best as BibTeX; recommended.")
@click.option("--version", help="Version of the dataset, such as 1.0.0; recommended.")
def croissant(manifest: Path | None, out: Path, **options: Any) -> None:
    """Describe a cohort in a Croissant record, a metadata format that dataset catalogues read.

    The record (JSON-LD, Croissant 1.1 of MLCommons) names the MANIFEST (by default the shipped one of C-NMC 2019), the
    ties beside it and the split with their checksums, and explains every column. Manifest, ties and split must lie in
    the folder of the record or below; the shipped manifest is copied there. The record does not contain the images.

    If all images are official ones of C-NMC 2019, name, licence, URL, creators, date and citation are filled in. For
    other images, --name, --license, --url, --creator and --date-published are required.

    \b
    Example:  leukobench croissant --split cnmc/folds -o cnmc/croissant.json
              leukobench croissant slides/manifest.csv -o slides/croissant.json --name 'Slides of our clinic' \\
                  --license https://creativecommons.org/licenses/by/4.0/ --url https://example.org/slides \\
                  --creator 'Ada Lovelace' --date-published 2026
    """
    from leukobench.cohort.croissant import croissant

    record = croissant(manifest, out, **options)
    sets = [each["@id"] for each in record["recordSet"]]
    files = [each["contentUrl"] for each in record["distribution"] if "contentUrl" in each]
    click.echo(f"{out}: Croissant record of {record['name']!r}, with the record sets {', '.join(sets)}")
    click.echo(f"publish it together with {', '.join(files)}")
