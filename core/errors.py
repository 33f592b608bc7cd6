"""Errors with a message for the user."""

from leukobench.core.text import printable

MEMORY = "memory ran out; use fewer parallel processes, smaller batches or smaller images"


class InputError(Exception):
    """Input that cannot be used.

    The message is a single line: which file or argument, what is wrong, what to do. The commands print it and exit
    with code 1; a program that uses the package can catch it.

    Example:
        >>> import leukobench as lb
        >>> try:
        ...     lb.load_run("no-such-run")
        ... except lb.InputError as error:
        ...     print(error)
        no-such-run: no such run folder; name one that a training wrote
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))  # a name in a file of somebody else may have line breaks


class UnfinishedError(InputError):
    """An interrupted call left unfinished results next to its output, and this call was not asked to resume it."""
