"""Errors that are meant for a person: one line, no traceback; and the exit codes of programs."""

import difflib
import errno
from collections.abc import Iterable

DONE, BUG, USER_ERROR, STOPPED = 0, 1, 2, 130  # exit codes; 130 as a shell reports Ctrl-C


class UserError(Exception):
    """Bad input. The message is one line: what was expected, what was found where, what to do.

    Command-line programs print it without a traceback and exit with code 2.
    """


class Diverged(UserError):
    """Training or prediction gave a number that is not finite."""


class Interrupted(Exception):
    """Training was asked to stop, and saved its state first; the same command resumes."""


def hint(name: str, names: Iterable[str]) -> str:
    """What to add to "no such name": the nearest of the names that exist, or all of them."""
    names = list(names)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.4)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}"


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
