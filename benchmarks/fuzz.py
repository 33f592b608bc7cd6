"""A fuzzer for what reads files of other people: the image decoders, the tables, and the files of a run folder.

    python -m pip install atheris                     # the extra `fuzz`; Linux
    python -m benchmarks.fuzz image -max_total_time=600
    python -m benchmarks.fuzz features -max_total_time=600

The first argument is a target of `TARGETS`; the others go to libFuzzer. It begins with the small files in
`tests/corpus/TARGET`, and inputs that reach other lines are kept for the time of the run. An input must be used, or
refused with an InputError of one line. Anything else ends the fuzzer, which then writes the input to a file `crash-*`:
add it to the corpus with the correction, since the tests read every file of it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FunctionType

from leukobench.cells.cell import read_cell
from leukobench.cohort.manifest import read_manifest
from leukobench.cohort.partition import read_split
from leukobench.cohort.ties import read_ties
from leukobench.core.errors import InputError
from leukobench.results.feature_table import read_feature_table
from leukobench.results.run import read_run_folder

CORPUS = Path(__file__).resolve().parent.parent / "tests" / "corpus"
TARGETS: Mapping[str, tuple[str, Callable[[Path], object]]] = {  # name of the file, and what reads it
    "image": ("cell.bmp", read_cell),
    "manifest": ("manifest.csv", read_manifest),
    "ties": ("ties.csv", read_ties),
    "split": ("split.csv", read_split),
    "features": ("features.csv", read_feature_table),
    "parquet": ("features.parquet", read_feature_table),
    "run": ("run.json", lambda path: read_run_folder(path.parent)),
}


def used_or_refused(target: str, content: bytes, folder: Path) -> bool:
    """Read some bytes as a file; return whether they are used.

    Args:
        target: A key of `TARGETS`.
        content: The bytes.
        folder: Folder for the file.

    Raises:
        AssertionError: the error has more than one line.
        Exception: anything but an InputError is a finding.
    """
    name, read = TARGETS[target]
    (folder / name).write_bytes(content)
    try:
        read(folder / name)
    except InputError as error:
        assert "\n" not in str(error)
        return False
    return True


def _functions(prefixes: tuple[str, ...]) -> list[FunctionType]:
    """Return the functions and methods of the loaded modules whose names begin with one of the prefixes."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(prefixes)]
    owners = [*modules, *(value for module in modules for value in vars(module).values() if isinstance(value, type))]
    found = {value for owner in owners for value in vars(owner).values() if isinstance(value, FunctionType)}
    return [function for function in found if function.__module__ and function.__module__.startswith(prefixes)]


def main() -> None:
    """Fuzz a target until libFuzzer's limits are reached, or something is found."""
    import atheris

    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"{__doc__}\ntargets: {', '.join(TARGETS)}")
    target = sys.argv[1]
    with tempfile.TemporaryDirectory() as name:
        folder, found = Path(name, "run"), Path(name, "found")
        found.mkdir()
        shutil.copytree(CORPUS / "run-folder", folder)
        for function in _functions(("leukobench.", "PIL.")):
            atheris.instrument_func(function)
        # the first folder receives what is found
        atheris.Setup(
            [sys.argv[0], str(found), str(CORPUS / target), *sys.argv[2:]],
            lambda content: used_or_refused(target, content, folder) and None,
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
