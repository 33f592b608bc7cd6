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


class Distances(click.ParamType):
    """Whole numbers with commas between them: 1,2,4."""

    name = "distances"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        try:
            return tuple(int(distance) for distance in value.split(","))
        except ValueError:
            self.fail(f"{value!r}; expected whole numbers with commas between them, such as 1,2,4", param, ctx)


class Size(click.ParamType):
    """A number of px, or `native`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        return value if value == "native" else click.INT.convert(value, param, ctx)


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
    from workflows.demo import run_demo

    done = run_demo(
        out, subjects=subjects, cells_per_subject=cells, epochs=epochs, seed=seed, jobs=jobs, say=click.echo
    )
    _print_comparison(done.comparison, done.report)


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
    from features.catalog import settings_of
    from features.extractor import extract as measure
    from study.failures import failures_path

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


def classifier_options(family: str) -> Any:
    """The options of a classical training command: the recipe, and every value of it that can be set."""
    settings = {
        "svm": (
            ("--kernel", "kernel", "rbf,linear,poly", "Kernel."),
            ("--C", "C", "NUMBERS", "Cost of a training cell on the wrong side."),
            ("--gamma", "gamma", "NUMBERS|scale", "Of the kernels rbf and poly."),
            ("--degree", "degree", "NUMBERS", "Of the kernel poly."),
            (
                "--weight",
                "weight",
                "none,class,subject,class-subject",
                "What counts the same in sum: cells, classes, subjects.",
            ),
            ("--approximate-above", "approximate_above", "CELLS", "Take an approximate kernel above so many cells."),
        ),
        "knn": (
            ("--neighbors", "n_neighbors", "NUMBERS", "How many neighbours vote."),
            ("--metric", "metric", "euclidean,manhattan,cosine", "Distance between cells."),
            ("--neighbor-weight", "neighbor_weight", "uniform,distance", "Whether nearer neighbours count more."),
        ),
    }
    shared = (
        ("--scaling", "scaling", "standard,minmax", "Columns to mean 0 and deviation 1, or to [0, 1]."),
        ("--select", "select", "none,anova:N,mutual-information:N", "Keep the N columns that tell most by themselves."),
        ("--projection", "projection", "none,whiten,pca:N,nca:N", "Whiten within classes, or project on N components."),
        ("--calibration", "calibration", "sigmoid,isotonic,none", "How probabilities are made of decision values."),
        ("--criterion", "criterion", "auroc|average-precision|balanced-accuracy", "What the search goes by."),
    )
    plain = (
        click.argument("features", type=FILE),
        split_option,
        output("Run folder"),
        click.option("--recipe", default=f"leukobench-{family}", show_default=True, help="See `recipes`."),
        *(
            click.option(option, name, metavar=values, help=text)
            for option, name, values, text in (*settings[family], *shared)
        ),
        click.option(
            "--importance/--no-importance",
            default=True,
            show_default=True,
            help="Permutation importance by feature and family, on the test part.",
        ),
        seed_option,
        jobs_option,
    )

    def decorate(command: Any) -> Any:
        for option in reversed(plain):
            command = option(command)
        return command

    return decorate


@main.command("train-svm")
@classifier_options("svm")
def train_svm(**arguments: Any) -> None:
    """Train a support vector machine on the table FEATURES.

    Settings are chosen by cross-validation over subject groups inside the training part. Every setting of the recipe
    can be replaced here; of several values with commas between them the search chooses. The run folder holds the
    search, and which features matter on people never seen, as tables and figures.

    \b
    Example:  leukobench train-svm features.csv --split split.csv -o runs/svm --jobs 2
              leukobench train-svm features.csv --split split.csv --weight class,subject \\
                  --select none,anova:16 -o runs/svm-16
              leukobench train-svm clinton19.csv --split image.csv --recipe clinton-svm -o runs/clinton
    """
    _train_classifier("svm", **arguments)


@main.command("train-knn")
@classifier_options("knn")
def train_knn(**arguments: Any) -> None:
    """Train k nearest neighbours on the table FEATURES.

    Settings are chosen by cross-validation over subject groups inside the training part. Every setting of the recipe
    can be replaced here; of several values with commas between them the search chooses. The run folder holds the
    search, and which features matter on people never seen, as tables and figures.

    \b
    Example:  leukobench train-knn features.csv --split split.csv -o runs/knn --jobs 2
              leukobench train-knn features.csv --split split.csv --projection none,pca:10,nca:5 -o runs/knn-nca
    """
    _train_classifier("knn", **arguments)


@main.command()
@click.argument("run", type=FOLDER)
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@output("Predictions (CSV)")
@click.option("--manifest", type=FILE, help="Networks: score the images of this manifest only, not the whole folder.")
@click.option("--fold", help="Networks of a cross-validation: take that of this fold, not the mean of all.")
@click.option("--batch", type=click.IntRange(min=1), help="Networks: images a step; by default as in training.")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "gpu"]), help="Networks: as for `train-cnn`; by default auto."
)
@jobs_option
def predict(run: Path, source: Path, out: Path, **options: Any) -> None:
    """Score new cells by the model of the folder RUN; labels are not needed.

    Of train-svm or train-knn, SOURCE is a feature table. It must have been extracted as the training table was: the
    same features, set, version, settings and background. Of a cross-validation, the model fitted on every image is
    taken.

    Of train-cnn, SOURCE is a folder of images. They are cut, resized and cleared of their background as for training.
    Of a cross-validation, the mean of the scores of all folds' networks is taken, or of one with --fold: on an image of
    the training cohort that is no test, because all networks but one have learned from it. An image that cannot be read
    costs its own row only; it is listed with the reason in <name>.failures.csv, and the command ends with exit code 1.

    \b
    Example:  leukobench predict runs/svm new.csv -o predictions.csv
              leukobench predict runs/mobilenet C-NMC_Leukemia/testing_data -o final.csv --jobs 2
              leukobench predict runs/folds C-NMC_Leukemia --manifest new.csv --fold 0 -o fold_0.csv
    """
    from study.failures import failures_path
    from workflows.prediction import predict as score

    done = score(run, source, out, **options)
    counts = ", ".join(f"{count} {label}" for label, count in done.scored["predicted"].value_counts().items())
    click.echo(f"{out}: {len(done.scored)} cells scored ({counts})")
    if done.failed:
        path, reason = next(iter(done.failed.items()))
        raise click.ClickException(
            f"{len(done.failed)} of {len(done.scored) + len(done.failed)} images could not be read, "
            f"listed in {failures_path(out)}; the first: {path}: {reason}"
        )


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
    help="auto: 16 and 32 bits mixed on a GPU that gains from it. mixed: on a CPU with bfloat16 instructions too.",
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
@click.option("--fold", help="Of a run of a cross-validation: the fold whose model is taken. Networks need it there.")
@click.option("--brief", is_flag=True, help="Leave out what is written of each image by itself: for many images.")
def explain(run: Path, images: tuple[Path, ...], out: Path, fold: str | None, brief: bool) -> None:
    """Show why the model of a RUN calls the cells in IMAGES what it does.

    Of a network, for each image: Grad-CAM of the class it is called, on the cell and beyond, with the share of the heat
    that falls on the background (a network that looks there has learned the wrong thing), and the feature maps of every
    layer as tiles. For the network: its summary and a diagram. One cell proves little: take the share over a hundred.

    Of train-svm and train-knn, for each image: which features pushed this cell which way, as a figure and tables. The
    image is measured as the training table was. From each of some training cells that the run folder keeps, the
    features are moved to this cell's in small steps; what the probability of all gains while a feature moves is its
    contribution. Contributions add up to this cell's probability less the mean of the others. Features that are
    correlated share the credit or push against each other, so read the families first. With hundreds of features an
    image takes seconds.

    \b
    Example:  leukobench explain runs/mobilenet UID_H1_1_1_hem.bmp UID_1_1_1_all.bmp -o seen
              leukobench explain runs/svm UID_H1_1_1_hem.bmp -o why
              leukobench explain runs/knn-5-folds UID_H1_1_1_hem.bmp --fold 2 -o why-fold-2
              leukobench explain runs/mobilenet fold_2/hem/*.bmp --brief -o seen-of-many
    """
    from workflows.explanation import explain as look_inside

    done = look_inside(run, images, out, fold=fold, brief=brief)
    for line in done.lines:
        click.echo(line)
    click.echo(f"{out}: {done.holds}")


@main.command()
@click.argument("runs", type=FOLDER, nargs=-1, required=True)
@output("Report folder")
@click.option("--images", type=FOLDER, help="Folder of the images: show the cells most confidently wrong.")
@click.option(
    "--common", is_flag=True, help="Compare on the test images that all runs share, and leave out the others."
)
@click.option(
    "--allow-leaky", is_flag=True, help="Put runs split by image beside subject-disjoint ones, marked as LEAKY."
)
def compare(runs: tuple[Path, ...], out: Path, images: Path | None, common: bool, allow_leaky: bool) -> None:
    """Compare RUNS tested on the same images: which is better, by how much, and how sure.

    Reads run folders only: no model is loaded. Figures are per cell and per subject; intervals and tests come from
    resampling subject groups, because the cells of one person are no independent observations. The report is one HTML
    file; its table lies beside it as CSV, Markdown and LaTeX, its figures as PNG and SVG.

    \b
    Example:  leukobench compare runs/svm runs/knn runs/mobilenet --images C-NMC_Leukemia -o report
    """
    from comparison.report import REPORT, write_report

    comparison = write_report(runs, out, images=images, common=common, allow_leaky=allow_leaky)
    _print_comparison(comparison, out / REPORT)


@main.command()
@click.argument("features", type=FILE)
@click.argument("manifest", type=FILE)
@output("Folder")
@click.option("--family", type=click.Choice(["svm", "knn"]), default="svm", show_default=True, help="Classical model.")
@click.option("--images", type=FOLDER, help="Folder of the images: measure a network too; needs --recipe.")
@click.option("--recipe", help="Recipe of the network, see `recipes`.")
@click.option("--weights", metavar="PATH|imagenet|none", help="Weights of the network, as for `train-cnn`.")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs of the network, instead of its recipe's.")
@click.option("--seeds", type=click.IntRange(min=2), default=5, show_default=True, help="Splits of each kind.")
@click.option(
    "--test-size",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of each class to test on.",
)
@seed_option
@jobs_option
def leakage(
    features: Path,
    manifest: Path,
    out: Path,
    family: str,
    images: Path | None,
    recipe: str | None,
    weights: str | None,
    epochs: int | None,
    seeds: int,
    test_size: float,
    seed: int,
    jobs: int,
) -> None:
    """Measure what a split by image is worth: by how much it flatters a model.

    The same model is trained under a split by image and under one by subject, with as many images of each class in
    training and in test, over several seeds. FEATURES is the table extracted by MANIFEST. An interrupted measurement
    goes on where it was.

    \b
    Example:  leukobench leakage features.csv manifest.csv --seeds 5 -o leakage
              leukobench leakage features.csv manifest.csv --images C-NMC_Leukemia --recipe dhuri-mobilenet -o leakage
    """
    from workflows.leakage import measure_leakage

    if (images is None) != (recipe is None):
        raise click.UsageError("a network takes both --images and --recipe")
    if images is None and (weights or epochs):
        raise click.UsageError("--weights and --epochs are for a network: give --images and --recipe too")
    done = measure_leakage(
        features,
        manifest,
        out,
        family=family,
        images=images,
        recipe=recipe,
        weights=weights,
        epochs=epochs,
        test_size=test_size,
        seeds=seeds,
        seed=seed,
        jobs=jobs,
    )
    for line in done.statements:
        click.echo(f"- {line}")
    click.echo(f"\n{done.folder}: table, figure, partitions and runs")


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
    from features.catalog import features_of, settings_of

    for feature in features_of(feature_set):
        sets = ", ".join(feature.sets)
        click.echo(f"{feature.name:48} {feature.unit:20} {feature.formula}  [{feature.source}] ({sets})")
    own = settings_of(feature_set).as_facts().items()
    click.echo(f"settings of {feature_set}: " + ", ".join(f"{name} {value}" for name, value in own))


def _train_classifier(
    family: str,
    features: Path,
    partition: Path,
    out: Path,
    recipe: str,
    importance: bool,
    seed: int,
    jobs: int,
    **changes: str | None,
) -> None:
    from classifiers.training import train

    run = train(
        features,
        partition,
        out,
        family=family,
        recipe=recipe,
        changes={name: text for name, text in changes.items() if text is not None},
        importance=importance,
        seed=seed,
        jobs=jobs,
    )
    _print_run(run)
    parameters = run.info["parameters"]
    chosen = ", ".join(f"{name} {value}" for name, value in parameters["chosen"]["all"].items())
    click.echo(f"chosen over subject groups: {chosen}")
    if vectors := parameters["support_vectors"]["all"]:
        click.echo(f"support vectors: {sum(vectors.values())} ({vectors['all']} all, {vectors['hem']} hem)")
    if run.info["importance"]:
        click.echo(f"what matters on the test part: {run.folder / 'importance.png'}")


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


def _print_comparison(comparison: Any, report: Path) -> None:
    from comparison.tables import headline
    from comparison.verdict import cautions, verdicts

    click.echo(f"\n{headline(comparison)}\n")
    for line in (*verdicts(comparison), *cautions(comparison)):
        click.echo(f"- {line}")
    click.echo(f"\nReport: {report}\nTables and figures: {report.parent}")


if __name__ == "__main__":
    main(prog_name="leukobench")
