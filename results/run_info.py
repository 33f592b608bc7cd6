"""`run.json`: recipe, data, environment, and the command that repeats the run."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import leukobench
from leukobench.cohort.class_names import CNMC, ClassNames
from leukobench.cohort.partition import Split
from leukobench.core.errors import InputError
from leukobench.core.files import read_json
from leukobench.results.calibration import Calibration

FORMAT = 3  # version of the format of run folders; leukobench 0.1 wrote none, 0.2 and 0.3 wrote 2
_Fits = Callable[[Any], bool]  # whether a value is of the right type
COMBINED = "combined"  # the family of a combination of runs
RECIPES = " + "  # between the recipes of a combination
FINAL = "final"  # name of the final model, or of the only one, in values by fold


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """The content of `run.json`.

    Attributes:
        family: `svm`, `knn`, `cnn`, or `combined` for the mean of several runs.
        recipe: Name of the recipe.
        parameters: Every value of the recipe as run, and the selected hyperparameters.
        background: What surrounds the cells, see `leukobench.cells.cell.find_cell`.
        seed: Random seed.
        split: Method of the partition.
        leaky: Whether subjects are shared between training and test.
        shared_subject_groups: Number of subject groups that are in more than one part.
        classes: Names of the positive and the negative class.
        checksums: Of manifest, partitions, and feature table or weights, by name.
        seconds: Durations: `fit`, `predict` and others, in s.
        command: Arguments of the command line that repeats the run, the program's name first.
        changed: Values of the recipe that were changed for this run, as `name=value`.
        excluded: Reason of each image that was left out, by path.
        calibration: Calibration of each model on the validation part, by fold (see `by_fold`); None for a model that
            was not calibrated there.
        novelty: Threshold of out-of-distribution cells of each model, by fold, and the share of flagged cells of each
            subject group, see `leukobench.results.novelty.Novelty`; None for a model without.
        importance: Settings and results of the permutation importance; None if it was not computed.
        note: Caution for readers of the metrics; "" for none.
        model_parameters: Number of parameters of a network; None for other models.
        device: Device of the computation.
        precision: Floating-point precision of a network; None for other models.
        leukobench: Version.
        versions: Versions of Python and of the libraries used, by name.
        files: SHA-256 of each other file of the run folder, by name.
        format: Version of the run folder's format.
    """

    family: str
    recipe: str
    parameters: Mapping[str, Any]
    background: str
    seed: int
    split: str
    leaky: bool
    shared_subject_groups: int
    checksums: Mapping[str, str | None]
    seconds: Mapping[str, float]
    command: Sequence[str]
    classes: ClassNames = CNMC
    changed: Sequence[str] = ()
    excluded: Mapping[str, str] = field(default_factory=dict)
    calibration: Mapping[str, Calibration | None] = field(default_factory=dict)
    novelty: Mapping[str, Any] = field(default_factory=dict)
    importance: Mapping[str, Any] | None = None
    note: str = ""
    model_parameters: int | None = None
    device: str = "cpu"
    precision: str | None = None
    leukobench: str = leukobench.__version__
    versions: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def recipes(self) -> list[str]:
        """Names of the recipes: several of a combination."""
        return self.recipe.split(RECIPES)

    def calibration_of(self, fold: int | None) -> Calibration | None:
        """Return the calibration of the model of a fold; of None, that of the final or only model."""
        return self.calibration.get(fold_name(fold))

    def to_json(self) -> dict[str, Any]:
        """Return the content of `run.json`; the command as one line that a shell understands."""
        content = asdict(self) | {"changed": list(self.changed), "command": shlex.join(self.command)}
        return {name: content[name] for name in ("format", "leukobench", *content)}

    @classmethod
    def from_json(cls, content: object, path: Path) -> RunInfo:
        """Check and return the content of the file `path`.

        Raises:
            InputError: the file is of another format, lacks a key, or a value is of another type.
        """
        if not isinstance(content, dict):
            raise InputError(f"{path}: is not the run.json of a run folder; train again")
        if content.get("format") != FORMAT:
            version = content.get("leukobench", "another version")
            raise InputError(
                f"{path.parent}: was written by leukobench {version}, whose run folders this version "
                f"({leukobench.__version__}) does not read; train again"
            )
        missing = [each.name for each in fields(cls) if each.name not in content and _required(each)]
        if missing:
            raise InputError(f"{path}: lacks {', '.join(missing)}; train again")
        for name, (fits, what) in _KINDS.items():
            if name in content and not fits(content[name]):
                raise InputError(f"{path}: {name} is not {what}; train again")
        known = {each.name: content[each.name] for each in fields(cls) if each.name in content}
        try:
            command = tuple(shlex.split(content["command"]))
        except ValueError as error:
            raise InputError(f"{path}: command cannot be read ({error}); train again") from None
        calibration = {
            name: None if values is None else Calibration.from_json(values, f"{path}: calibration of {name}")
            for name, values in content.get("calibration", {}).items()
        }
        converted = {
            "command": command,
            "changed": tuple(content.get("changed", ())),
            "calibration": calibration,
            "classes": ClassNames(**content.get("classes", {})),
        }
        return cls(**known | converted)


def _text(value: object) -> bool:
    return isinstance(value, str)


def _count(value: object) -> bool:
    return type(value) is int  # True is an int, too


def _seconds(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e12


def _or_none(fits: _Fits) -> _Fits:
    return lambda value: value is None or fits(value)


def _table(fits: _Fits = lambda value: True, *keys: str) -> _Fits:
    """A table whose values fit, with these keys among its own."""
    return lambda value: isinstance(value, dict) and set(keys) <= set(value) and all(map(fits, value.values()))


_KINDS: Mapping[str, tuple[_Fits, str]] = {
    **dict.fromkeys(
        ("family", "recipe", "background", "split", "note", "command", "device", "leukobench"), (_text, "text")
    ),
    **dict.fromkeys(("seed", "shared_subject_groups"), (_count, "a whole number")),
    **dict.fromkeys(("parameters", "calibration", "novelty"), (_table(), "a table of names and values")),
    **dict.fromkeys(("excluded", "versions", "files"), (_table(_text), "a table of names and values in text")),
    "checksums": (_table(_or_none(_text), "manifest"), "a table of checksums, one of them of the manifest"),
    "seconds": (_table(_seconds, "predict"), "a table of durations in numbers, one of them of predict"),
    "changed": (lambda value: isinstance(value, list) and all(map(_text, value)), "a list of texts"),
    "classes": (
        lambda value: _table(_text, "positive", "negative")(value) and len(value) == 2,
        "the names of the positive and the negative class",
    ),
    "leaky": (lambda value: isinstance(value, bool), "true or false"),
    "importance": (_or_none(_table()), "a table of names and values"),
    "model_parameters": (_or_none(_count), "a whole number"),
    "precision": (_or_none(_text), "text"),
}


def split_facts(split: Split) -> dict[str, Any]:
    """Return the attributes of a `RunInfo` that describe a split: method, leakage, checksums."""
    return {
        "split": split.method,
        "leaky": split.leaky,
        "classes": split.classes,
        "shared_subject_groups": len(split.shared_groups),
        "checksums": {"manifest": split.manifest, **split.checksums},
    }


def library_versions(libraries: Sequence[str]) -> dict[str, str]:
    """Return the versions of Python and of installed libraries, by name."""
    versions = {name: importlib.metadata.version(name) for name in libraries}
    return {"python": platform.python_version(), **versions}


def command_line(
    command: str, arguments: Sequence[str | os.PathLike[str]], options: Mapping[str, Any]
) -> tuple[str, ...]:
    """Build a command line from Python values.

    Args:
        command: Name of the command.
        arguments: Its arguments, in order.
        options: Value of each option by its name on the command line. None and False are left out, True is a flag
            without a value, a tuple or list is written with commas.

    >>> command_line("train-svm", ["features.csv"], {"--split": "split.csv", "--C": (1.0, 3.0), "--resume": False})
    ('leukobench', 'train-svm', 'features.csv', '--split', 'split.csv', '--C', '1.0,3.0')
    """
    words = ["leukobench", command, *(os.fspath(argument) for argument in arguments)]
    for name, value in options.items():
        if value is None or value is False:
            continue
        words.append(name)
        if value is not True:
            words.append(",".join(map(str, value)) if isinstance(value, tuple | list) else str(value))
    return tuple(words)


def background_options(background: str) -> dict[str, str]:
    """Return the options of a command line that say what surrounds the cells, for `command_line`.

    >>> background_options("white"), background_options("smear-nucleus")
    ({'--background': 'white'}, {'--background': 'smear', '--segment': 'nucleus'})
    """
    name, _, segment = background.partition("-")
    return {"--background": name} | ({"--segment": segment} if segment else {})


def by_fold(values: Mapping[int | None, Any]) -> dict[str, Any]:
    """Name values by fold for a JSON file: "0", "1" and so on, and `final` for the final model."""
    return {fold_name(fold): value for fold, value in values.items()}


def fold_name(fold: int | None) -> str:
    """Return the name of a fold in values by fold."""
    return FINAL if fold is None else str(fold)


def read_run_info(folder: str | os.PathLike[str]) -> RunInfo:
    """Read `run.json` only, without checking the other files of the run folder.

    Raises:
        InputError: not a run folder, one of another format, or a malformed `run.json`.
    """
    path = Path(folder) / "run.json"
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such run folder; name one that a training wrote")
    if not path.exists():
        raise InputError(f"{folder}: is no run folder, or an incomplete one: run.json is missing")
    return RunInfo.from_json(read_json(path, "train again"), path)


def _required(each: Any) -> bool:
    return each.default is MISSING and each.default_factory is MISSING
