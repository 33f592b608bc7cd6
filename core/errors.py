"""The errors that a user is meant to read."""


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


class UnfinishedError(InputError):
    """What an interrupted call has computed lies beside its output, and the call was not told to resume it."""
