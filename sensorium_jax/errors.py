"""Errors that are meant for a person: one line, no traceback, exit code 2."""

import errno


class UserError(Exception):
    """Bad input. The message is one line: what was expected, what was found where, what to do.

    Command-line programs print it without a traceback and exit with code 2.
    """


def is_full_disk(error: BaseException) -> bool:
    """Whether there was no space left to write to.

    tensorstore reports that as a ValueError, and NumPy by how few bytes were written.
    """
    text = str(error)
    short = isinstance(error, OSError) and "requested and" in text and "written" in text
    return getattr(error, "errno", None) == errno.ENOSPC or "No space left" in text or short


def one_line(error: Exception) -> str:
    """What a program prints of an error that its user can mend; any other is raised again."""
    if isinstance(error, UserError):
        return str(error)
    if is_full_disk(error):
        return "no space left on the disk; free some, then run the same command again to go on"
    raise error
