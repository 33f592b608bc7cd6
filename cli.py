"""The command line: which commands there are, and how their errors end."""

from __future__ import annotations

import io
import logging
import os
import platform
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, NoReturn

import click

import leukobench
from leukobench.commands.defaults import FILE_NAME, defaults_of, parameter_names, read_defaults
from leukobench.commands.options import FILE, OUT, RESUME_HINT
from leukobench.commands.printing import QUIET
from leukobench.core.errors import MEMORY, InputError, UnfinishedError
from leukobench.core.text import printable

COMMANDS = {  # in the order in which a study needs them; a command's module is loaded when it is called
    "demo": "demo:demo",
    "benchmark": "benchmark:benchmark",
    "manifest": "cohort:manifest",
    "verify": "cohort:verify",
    "audit": "cohort:audit",
    "segment": "segmentation:segment",
    "split": "cohort:split_command",
    "croissant": "cohort:croissant",
    "extract": "features:extract",
    "train-svm": "classifiers:train_svm",
    "train-knn": "classifiers:train_knn",
    "train-cnn": "networks:train_cnn",
    "combine": "combination:combine",
    "compare": "comparison:compare",
    "leakage": "comparison:leakage",
    "predict": "models:predict",
    "explain": "models:explain",
    "export": "export:export",
    "recipes": "recipes:recipes",
    "features": "features:features",
    "cache": "cache:cache",
}
LIBRARIES = (
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "scikit-image",
    "opencv-python-headless",
    "keras",
    "tensorflow",
)
_NO_EXCEPTION = re.compile("without (exception set|setting an exception)")  # by a library that got no memory


class Commands(click.Group):
    """The commands of leukobench. Bad input ends in one line and exit code 1, never in a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _load(cmd_name) if cmd_name in COMMANDS else None

    def main(self, *args: Any, **kwargs: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # a name need not be in the encoding of the terminal
        if threading.current_thread() is threading.main_thread():  # Python allows it in no other thread
            signal.signal(signal.SIGTERM, _interrupt)
        try:
            return super().main(*args, **kwargs)
        except OSError as error:  # a full disk, or no permission; without a name: of the output or the working folder
            name = "" if error.filename is None else f"{error.filename}: "
            click.echo(f"Error: {name}{error.strerror or error}", err=True)
            _give_up_output()
            sys.exit(1)
        except (MemoryError, SystemError) as error:
            if isinstance(error, SystemError) and not _NO_EXCEPTION.search(str(error)):
                raise
            click.echo(f"Error: {MEMORY} (--jobs, --batch-size, --size)", err=True)
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UnfinishedError as error:
            raise click.ClickException(f"{error}; {RESUME_HINT}") from None
        except InputError as error:
            raise click.ClickException(str(error)) from None
        except KeyboardInterrupt as interruption:
            raise click.ClickException(_interrupted(str(interruption), ctx.meta.get(OUT))) from None


def _interrupt(*_: object) -> NoReturn:
    """Answer SIGTERM like Ctrl-C: what was computed is kept, and workers are ended."""
    raise KeyboardInterrupt


def _interrupted(message: str, out: Path | None) -> str:
    """Say what is kept of an interrupted command, and how to continue it."""
    from leukobench.core.files import unfinished_path  # here: pandas takes time to load

    message = message or (f"{out}: interrupted" if out else "interrupted")
    if out is None or not unfinished_path(out).exists():
        return message
    kept = unfinished_path(out)
    return f"{message if str(kept) in message else f'{message}; {kept} holds what is complete'}; {RESUME_HINT}"


def _give_up_output() -> None:
    """Send what is still to be printed nowhere if it cannot be printed, so that Python does not try at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _version(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    """Print the versions that a bug report needs, without loading a library."""
    if not asked:
        return
    click.echo(f"leukobench, version {leukobench.__version__}")
    click.echo(f"Python {platform.python_version()}, {platform.platform()}")
    for library in LIBRARIES:
        try:
            click.echo(f"{library} {metadata.version(library)}")
        except metadata.PackageNotFoundError:
            click.echo(f"{library}: not installed")
    context.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the versions of leukobench and of its libraries and exit.",
)
@click.option("-v", "--verbose", is_flag=True, help="Say on stderr what is done, and how long it takes.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but results and errors: no steps, no progress bars.")
@click.option(
    "--config",
    type=FILE,
    help=f"Defaults of options (TOML): jobs = 2 for all commands, and tables such as [train-cnn] for one. By default "
    f"{FILE_NAME} in the current folder, if there is one.",
)
@click.pass_context
def main(context: click.Context, config: Path | None, verbose: bool, quiet: bool) -> None:
    """Classify leukemic blasts and normal cells with handcrafted features and with deep networks, and compare both.

    SVM and k-NN on handcrafted features, and networks on the images, use the same split of the same images and are
    tested on unseen subjects. The classes are those of C-NMC 2019: `all` (blast of acute lymphoblastic leukemia, the
    positive class) and `hem` (normal cell). Research software, not a medical device.

    \b
    To begin:   leukobench demo -o demo
    Your data:  manifest -> split -> extract -> train-svm, train-knn -> (combine ->) compare
                                  \\-> train-cnn ---------------------/
    """
    if verbose and quiet:
        raise click.UsageError("-v and -q exclude each other")
    context.meta[QUIET] = quiet
    name, file = context.invoked_subcommand, config or Path(FILE_NAME)
    if name is not None and (verbose or quiet):
        context.with_resource(_logged(name, logging.INFO if verbose else logging.ERROR))
    if name is None or not (config or file.is_file()):
        return
    command = _load(name)
    found = defaults_of(name, command, read_defaults(file, COMMANDS), _all_commands, file)
    parameters = parameter_names(command)
    context.default_map = {name: {parameters[option]: value for option, value in found.items()}}
    if found and not quiet:
        given = ", ".join(f"--{option} {value}" for option, value in found.items())
        click.echo(printable(f"{file}: defaults for {name}: {given}"), err=True)


@contextmanager
def _logged(command: str, level: int) -> Iterator[None]:
    """Write what the library logs to stderr, from a level on, and at the end how long the command took."""
    from leukobench.core.progress import LIBRARY, logged_to_stderr  # here: help needs no progress bars

    begun = time.monotonic()
    with logged_to_stderr(level):
        yield
        LIBRARY.getChild("cli").info("%s: ended after %.1f s", command, time.monotonic() - begun)


def _load(command: str) -> click.Command:
    module, name = COMMANDS[command].split(":")
    return getattr(import_module(f"leukobench.commands.{module}"), name)


def _all_commands() -> Iterator[click.Command]:
    return map(_load, COMMANDS)


if __name__ == "__main__":
    main(prog_name="leukobench")
