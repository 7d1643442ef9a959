"""The one exception that is meant for a person."""


class UserError(Exception):
    """Bad input. The message is one line: what was expected, what was found where, what to do.

    Command-line programs print it without a traceback and exit with code 2.
    """
