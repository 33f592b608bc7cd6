"""The command line: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import study
from study.errors import StudyError

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class NewPath(click.Path):
    """A path that must not exist yet: nothing is overwritten."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(super().convert(value, param, ctx))
        if path.exists():
            self.fail(f"{path} already exists; remove it or choose another name", param, ctx)
        return path


class Commands(click.Group):
    """Commands whose bad input ends in one line and exit code 1, never in a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StudyError as error:
            raise click.ClickException(str(error)) from None
        except OSError as error:
            if error.filename is None:
                raise
            raise click.ClickException(f"{error.filename}: {error.strerror}") from None


def output(kind: str, required: bool = True) -> Any:
    """The option -o, for a file or folder that does not exist yet."""
    return click.option("-o", "--out", type=NewPath(), required=required, help=f"{kind} to write; must not exist yet.")


jobs_option = click.option(
    "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that work side by side."
)
seed_option = click.option("--seed", type=int, default=0, show_default=True, help="Equal seeds give equal results.")
split_option = click.option(
    "--split",
    "partition",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="Partition from `split`, or a folder of them for cross-validation.",
)
background_option = click.option(
    "--background",
    type=click.Choice(["black", "white", "smear"]),
    default="black",
    show_default=True,
    help="What lies around the cell. black, white: it was cut out. smear: a plain crop, in which the nucleated cell is "
    "found by its stain. Say the same to `extract` and `train-cnn`.",
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(study.__version__, prog_name="leukobench")
def main() -> None:
    """Tell leukemic blasts from normal cells in two ways, and compare them honestly.

    Handcrafted features with SVM and k-NN, and deep networks, on the same split of the same images: of people never
    seen in training. Research software, not a medical device.

    \b
    To begin:   leukobench demo -o demo
    Your data:  manifest -> split -> extract -> train-svm, train-knn -> compare
                                  \\-> train-cnn ---------------------/
    """


@main.command()
@output("Folder")
@click.option("--subjects", type=click.IntRange(min=2), default=16, show_default=True, help="People to generate.")
@click.option("--cells", type=click.IntRange(min=1), default=15, show_default=True, help="Cells of each.")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs of the network, instead of its recipe's.")
@seed_option
@jobs_option
def demo(out: Path, subjects: int, cells: int, epochs: int | None, seed: int, jobs: int) -> None:
    """Run the whole path on a generated cohort, in minutes.

    Cells with known properties are drawn and written as C-NMC-like BMP files, then indexed, split by subject, measured,
    learned by SVM, k-NN and a small network, and compared. Its figures show that the software works; they say nothing
    about leukemia.

    \b
    Example:  leukobench demo -o demo --jobs 2
    """
    from comparison.results import markdown
    from workflows.demo import run_demo

    done = run_demo(
        out, subjects=subjects, cells_per_subject=cells, epochs=epochs, seed=seed, jobs=jobs, say=click.echo
    )
    _print_comparison(markdown(done.comparison.table), done.comparison, done.report)


@main.command()
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
    from study.indexing import scan_folder
    from study.manifest import labelled, write_manifest

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


@main.command()
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
    from study.files import write_csv
    from study.manifest import read_manifest, shipped_manifest_path
    from study.verification import verify as hold

    found = hold(images, read_manifest(manifest or shipped_manifest_path()), phases=phases, jobs=jobs)
    click.echo("\n".join(found.lines()) + "\n")
    if out:
        write_csv(found.report(), out)
        click.echo(f"{out}: full list of faults")
    if not found.good:
        raise click.ClickException(f"{images}: {found.verdict()}")
    click.echo(found.verdict())


@main.command()
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
    from study.audit import audit as examine
    from study.audit_report import lines
    from study.files import write_json
    from study.manifest import read_manifest, shipped_manifest_path
    from study.partition import read_partition

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


@main.command()
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
    import study.partition as partitions
    from study.manifest import read_manifest

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


@main.command()
@click.argument("images", type=FOLDER)
@click.option("--manifest", type=FILE, required=True, help="Manifest of the images, from `manifest`.")
@output("Feature table (.csv or .parquet)")
@click.option("--set", "feature_set", default="patel", show_default=True, help="Feature set; see `features`.")
@background_option
@jobs_option
def extract(images: Path, manifest: Path, out: Path, feature_set: str, background: str, jobs: int) -> None:
    """Measure every cell: one row an image, one column a feature.

    An image that cannot be measured costs its own row only; it is listed with the reason in <name>.failures.csv, and
    the command ends with exit code 1. Training leaves such images out and says so.

    \b
    Example:  leukobench extract C-NMC_Leukemia --manifest manifest.csv -o features.csv --jobs 2
    """
    from features.extractor import extract as measure
    from study.feature_table import failures_path

    done = measure(images, manifest, out, feature_set=feature_set, background=background, jobs=jobs)
    click.echo(f"{out}: {done.features} features of {done.images} cells")
    if done.failed:
        raise click.ClickException(
            f"{len(done.failed)} of {done.images + len(done.failed)} images could not be measured, "
            f"listed in {failures_path(out)}; the first: {next(iter(done.failed.values()))}"
        )


@main.command("train-svm")
@click.argument("features", type=FILE)
@split_option
@output("Run folder")
@click.option("--recipe", default="leukobench-svm", show_default=True, help="See `recipes`.")
@seed_option
@jobs_option
def train_svm(features: Path, partition: Path, out: Path, recipe: str, seed: int, jobs: int) -> None:
    """Train a support vector machine on the table FEATURES.

    Settings are chosen by cross-validation over subject groups inside the training part.

    \b
    Example:  leukobench train-svm features.csv --split split.csv -o runs/svm
    """
    _train_classifier("svm", features, partition, out, recipe, seed, jobs)


@main.command("train-knn")
@click.argument("features", type=FILE)
@split_option
@output("Run folder")
@click.option("--recipe", default="leukobench-knn", show_default=True, help="See `recipes`.")
@seed_option
@jobs_option
def train_knn(features: Path, partition: Path, out: Path, recipe: str, seed: int, jobs: int) -> None:
    """Train k nearest neighbours on the table FEATURES.

    Settings are chosen by cross-validation over subject groups inside the training part.

    \b
    Example:  leukobench train-knn features.csv --split split.csv -o runs/knn
    """
    _train_classifier("knn", features, partition, out, recipe, seed, jobs)


@main.command("train-cnn")
@click.argument("images", type=FOLDER)
@click.option("--manifest", type=FILE, required=True, help="Manifest that was split.")
@split_option
@click.option("--recipe", required=True, help="See `recipes`.")
@background_option
@click.option(
    "--weights",
    metavar="PATH|imagenet|none",
    help="Where a recipe's pretrained weights come from: a file, a download, or none (trained from scratch, under a "
    "name that says so). By default what the recipe says.",
)
@output("Run folder")
@click.option("--epochs", type=click.IntRange(min=1), help="Instead of the recipe's.")
@click.option("--batch", type=click.IntRange(min=1), help="Images a step, instead of the recipe's.")
@click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    help="Any other value of the recipe, as `recipes NAME` shows it: optimizer.learning_rate=1e-5, "
    "class_weights=balanced, patience=5. May be given several times; all are recorded in run.json.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    show_default=True,
    help="auto: GPUs where there are any. gpu: an error where there is none.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "mixed"]),
    default="auto",
    show_default=True,
    help="auto: 16 and 32 bits mixed on a GPU that gains from it.",
)
@click.option("--resume", is_flag=True, help="Go on with a training that was cut short, with the same arguments.")
@seed_option
@jobs_option
def train_cnn(images: Path, manifest: Path, partition: Path, out: Path, **options: Any) -> None:
    """Train a network on the folder IMAGES.

    Where the split has a validation part, the weights of the epoch with the best validation AUROC are kept, or as the
    recipe says. Images are read and resized once and kept in $LEUKOBENCH_CACHE, by default leukobench in your cache
    folder; so is what a frozen base puts out. While it trains, the folder NAME.training beside the run folder NAME
    holds the history so far and a checkpoint; --resume goes on from there and, on a CPU, ends in the same result as an
    unbroken run. Set KERAS_BACKEND=jax to compute with JAX, which shares each batch among all GPUs of the machine
    (TensorFlow takes one).

    \b
    Example:  leukobench train-cnn C-NMC_Leukemia --manifest manifest.csv --split split.csv \\
                  --recipe dhuri-mobilenet --weights imagenet -o runs/mobilenet
              leukobench train-cnn C-NMC_Leukemia --manifest manifest.csv --split split.csv \\
                  --recipe leukobench-efficientnetb1 --set optimizer.learning_rate=1e-5 -o runs/b1 --resume
    """
    from cnn.training import train

    _print_run(train(images, manifest, partition, out, **options))


@main.command()
@click.argument("run", type=FOLDER)
@click.argument("images", type=FILE, nargs=-1, required=True)
@output("Folder")
@click.option("--fold", help="Of a run of a cross-validation: the fold whose network is taken.")
def explain(run: Path, images: tuple[Path, ...], out: Path, fold: str | None) -> None:
    """Show what the network of a RUN sees in IMAGES.

    For each image: Grad-CAM of the class it is called, on the cell and beyond, with the share of the heat that falls on
    the background (a network that looks there has learned the wrong thing), and the feature maps of every layer as
    tiles. For the network: its summary and a diagram.

    \b
    Example:  leukobench explain runs/mobilenet UID_H1_1_1_hem.bmp UID_1_1_1_all.bmp -o seen
    """
    from cnn.explain import explain as look_inside

    for found in look_inside(run, images, out, fold=fold):
        click.echo(found.line())
    click.echo(f"{out}: heat maps, feature maps, summary.csv and diagram.png")


@main.command()
@click.argument("runs", type=FOLDER, nargs=-1, required=True)
@output("Report folder")
def compare(runs: tuple[Path, ...], out: Path) -> None:
    """Compare RUNS tested on the same images: table, ROC, report.

    Intervals come from resampling subject groups, because the cells of one person are no independent observations.

    \b
    Example:  leukobench compare runs/svm runs/knn runs/mobilenet -o report
    """
    from comparison.report import REPORT, write_report
    from comparison.results import markdown

    comparison = write_report(runs, out)
    _print_comparison(markdown(comparison.table), comparison, out / REPORT)


@main.command()
@click.argument("name", required=False)
def recipes(name: str | None) -> None:
    """List the recipes and what their sources reported, or print NAME in full.

    What a source left open, and what was chosen for it, is under left_open. `train-cnn --set` changes any value.

    \b
    Example:  leukobench recipes dhuri-mobilenet
    """
    import json

    from classifiers.recipes import RECIPES as CLASSICAL
    from cnn.published import RECIPES as NETWORKS

    known = CLASSICAL | NETWORKS
    if name is None:
        for recipe in known.values():
            family = getattr(recipe, "family", "cnn")
            click.echo(f"{recipe.name:26} {family:4} {recipe.description}")
            if getattr(recipe, "reported", ""):
                click.echo(f"{'':32}reported: {recipe.reported}")
    elif name in known:
        click.echo(json.dumps(known[name].as_json(), indent=2))
    else:
        raise click.BadParameter(f"no recipe {name!r}; there is {', '.join(known)}", param_hint="NAME")


@main.command()
@click.option("--set", "feature_set", default="patel", show_default=True, help="Feature set.")
def features(feature_set: str) -> None:
    """List the features of a set: name, unit, formula, source.

    \b
    Example:  leukobench features --set patel
    """
    from features.catalog import features_of

    for feature in features_of(feature_set):
        click.echo(f"{feature.name:30} {feature.unit:12} {feature.formula}  [{feature.source}]")


def _train_classifier(
    family: str, features: Path, partition: Path, out: Path, recipe: str, seed: int, jobs: int
) -> None:
    from classifiers.training import train

    _print_run(train(features, partition, out, family=family, recipe=recipe, seed=seed, jobs=jobs))


def _print_run(run: Any) -> None:
    """Print where a run lies and its figures on the last part."""
    figures = run.metrics["test"]
    rows = run.part("test")
    people = "LEAKY split by image" if run.info["leaky"] else "people not seen in training"
    click.echo(
        f"{run.folder}: test AUROC {figures['auroc']:.3f}, accuracy {figures['accuracy']:.3f}, "
        f"sensitivity {figures['sensitivity']:.3f}, specificity {figures['specificity']:.3f} "
        f"on {len(rows)} cells of {rows['subject_group'].nunique()} subject groups ({people})"
    )
    if run.info.get("note"):
        click.echo(f"note: {run.info['note']}")
    if run.info["excluded"]:
        click.echo(f"left out {len(run.info['excluded'])} images that could not be read; see run.json")


def _print_comparison(table: str, comparison: Any, report: Path) -> None:
    click.echo(f"\n{table}\n")
    for line in (*comparison.cautions, *comparison.verdicts):
        click.echo(f"- {line}")
    click.echo(f"\nReport: {report}\nTables and figures: {report.parent}")


if __name__ == "__main__":
    main(prog_name="leukobench")
