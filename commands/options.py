"""Arguments and options that several commands share, and the types of their values."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click

from leukobench.core.errors import InputError
from leukobench.core.opening import UNFINISHED

OUT = "leukobench.out"  # key of the output in a context's `meta`, for the message of an interrupted command
RESUME_HINT = "to resume it, rerun the command with --resume"
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class NewPath(click.Path):
    """A path that must not exist: nothing is overwritten but a folder that a killed process left unfinished."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.exists() and not (path / UNFINISHED).exists():
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


@contextmanager
def options_named(said: Mapping[str, str]) -> Iterator[None]:
    """Name the options of the command where the library names its arguments in an error.

    Args:
        said: What the library says, and how to say it on the command line.

    Raises:
        InputError: the same error in the words of the command line.
    """
    try:
        yield
    except InputError as error:
        message = str(error)
        for argument, option in said.items():
            message = message.replace(argument, option)
        raise type(error)(message) from None


def output(kind: str, required: bool = True) -> Any:
    """The option -o, for a file or folder that does not exist yet."""
    return click.option(
        "-o",
        "--out",
        type=NewPath(),
        required=required,
        callback=_noted,
        help=f"{kind} to write; must not exist yet.",
    )


def _noted(context: click.Context, parameter: click.Parameter, out: Path | None) -> Path | None:
    context.meta[OUT] = out
    return out


def _processes(context: click.Context, parameter: click.Parameter, jobs: int) -> int:
    return min(jobs, MOST_PROCESSES)


MOST_PROCESSES = 4 * (os.cpu_count() or 1)  # more would only use up memory, and the results are the same
jobs_option = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    callback=_processes,
    help="Number of parallel processes; at most four for each CPU core.",
)


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options --backend and --scheduler of a command that can use a cluster."""

    @wraps(command)
    def with_cluster(*arguments: Any, backend: str, scheduler: str | None, **options: Any) -> Any:
        if (backend == "loky") != (scheduler is None):
            raise click.UsageError("--backend dask and --backend ray need --scheduler; --backend loky takes none")
        return command(*arguments, backend=backend, scheduler=scheduler, **options)

    address = click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Address of a Dask scheduler (tcp://host:8786) or a Ray head (host:6379). Its workers need the same "
        "version of leukobench and, to read images, their folder under the same path as this machine.",
    )
    return click.option(
        "--backend",
        type=click.Choice(["loky", "dask", "ray"]),
        default="loky",
        show_default=True,
        help="Execution backend. loky: --jobs processes on this machine. dask, ray: all workers of the cluster at "
        "--scheduler, for features and for the search of SVM and k-NN.",
    )(address(with_cluster))


seed_option = click.option(
    "--seed", type=int, default=0, show_default=True, help="Random seed; the same seed gives the same result."
)
split_option = click.option(
    "--split",
    "partition",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="Partition from `split`, or its folder of folds for cross-validation.",
)
resume_option = click.option(
    "--resume", is_flag=True, help="Continue an interrupted run of the same command, if there is one."
)


def background_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options --background and --segment, which the command receives as one argument `background`."""

    @wraps(command)
    def with_background(*arguments: Any, background: str, segment: str | None, **options: Any) -> Any:
        if segment and background != "smear":
            raise click.UsageError("--segment needs --background smear")
        if background == "smear":
            background = f"smear-{segment or 'cell'}"
        with options_named({"(smear-cell for a photograph of a smear)": "(--background smear for one of a smear)"}):
            return command(*arguments, background=background, **options)

    of_smears = click.option(
        "--segment",
        type=click.Choice(["cell", "nucleus"]),
        help="What to take of a smear's white cell; needs --background smear. cell: nucleus and cytoplasm, without the "
        "red cells that touch (the default). nucleus: the nucleus only.",
    )
    return click.option(
        "--background",
        type=click.Choice(["black", "white", "smear"]),
        default="black",
        show_default=True,
        help="What surrounds the cell. black, white: the cell was cut out. smear: a crop of a smear, in which the "
        "white cell is found by its stain. Use the same for `extract` and `train-cnn`.",
    )(of_smears(with_background))
