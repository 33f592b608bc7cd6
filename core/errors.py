"""The one error that a user is meant to read."""


class InputError(Exception):
    """Input that cannot be used.

    The message is a single line: which file, what is wrong with it, what to do. The commands print it and exit
    with code 1; code that calls the packages directly may catch it.
    """
