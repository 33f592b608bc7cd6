"""`leukobench.toml`: values of options that are given every time.

    jobs = 2                     # of every command that has the option

    [train-cnn]                  # of this command only
    weights = "mobilenet.h5"
    set = ["patience=5", "epochs=40"]

A key is an option without its dashes. What is given on the command line wins.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from leukobench.core.errors import InputError
from leukobench.core.text import nearest

FILE_NAME = "leukobench.toml"


def read_defaults(file: Path, commands: Iterable[str]) -> dict[str, Any]:
    """Read a file of defaults: values by option, and tables of them by command.

    Raises:
        InputError: the file cannot be read, is not TOML, or has a table that is named after no command.
    """
    try:
        with open(file, "rb") as opened:
            values = tomllib.load(opened)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: is not TOML ({error}); mend or remove it") from None
    names = list(commands)
    for table in (name for name, value in values.items() if isinstance(value, Mapping) and name not in names):
        raise InputError(f"{file}: [{table}] is no command{nearest(table, names)}")
    return values


def defaults_of(
    name: str,
    command: click.Command,
    values: Mapping[str, Any],
    others: Callable[[], Iterable[click.Command]],
    file: Path,
) -> dict[str, Any]:
    """Return the defaults of a command: values by option.

    Args:
        name: Name of the command.
        command: The command.
        values: Contents of the file, from `read_defaults`.
        others: Gives all commands; called only for a value outside the tables that the command has no option for.
        file: The file, for errors.

    Raises:
        InputError: no command, or in its table not this command, has an option of that name.
    """
    options = parameter_names(command)
    defaults = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            continue
        if key in options:
            defaults[key] = value
        elif not any(key in parameter_names(other) for other in others()):
            raise InputError(f"{file}: no command has an option --{key}")
    for key, value in values.get(name, {}).items():
        if key not in options:
            raise InputError(f"{file}: [{name}] has {key}, which is no option of {name}{nearest(key, options)}")
        defaults[key] = value
    return defaults


def parameter_names(command: click.Command) -> dict[str, str]:
    """Return the names of the options of a command, without dashes, and the names of their parameters."""
    return {
        word.removeprefix("--"): parameter.name or ""
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for word in parameter.opts
        if word.startswith("--")
    }
