"""Errors that are meant for a person: one line, no traceback; and the exit codes of programs."""

import contextlib
import difflib
import errno
import math
import os
import re
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping

DONE, BUG, USER_ERROR, STOPPED = 0, 1, 2, 130  # exit codes; 130 as a shell reports Ctrl-C
# Ctrl-C, a scheduler's end, a closed terminal, and Slurm's warning before its time limit.
STOP_SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1


@contextlib.contextmanager
def hold_signals() -> Iterator[None]:
    """Within it a first one of ``STOP_SIGNALS`` waits until the end; a second one interrupts."""
    arrived: list[int] = []

    def hold(number: int, frame: object) -> None:
        arrived.append(number)
        if len(arrived) > 1:
            raise KeyboardInterrupt

    handlers = {}
    if threading.current_thread() is threading.main_thread():
        heeded = [s for s in STOP_SIGNALS if callable(signal.getsignal(s))]
        handlers = {s: signal.signal(s, hold) for s in heeded}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if arrived:
        signal.raise_signal(arrived[0])


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


def check_ranges(node: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Check numeric fields of a dataclass, each within its range, both ends included.

    Of a field that is a tuple every entry is checked; None, words and flags are not.

    Raises:
        ValueError: a number outside of its range, or one that is not finite.

    Examples:
        >>> import types
        >>> check_ranges(types.SimpleNamespace(stride=(2, 0)), {"stride": (1, 9)})
        Traceback (most recent call last):
        ValueError: expected stride from 1 to 9, got (2, 0)
    """
    for name, (low, high) in ranges.items():
        value = getattr(node, name)
        if not all(low <= number <= high for number in _numbers(value)):  # NaN is in no range
            end = "up" if high == math.inf else f"to {high:g}" if high > 1e6 else f"to {high}"
            raise ValueError(f"expected {name} from {low} {end}, got {value!r}")
        if not all(map(math.isfinite, _numbers(value))):
            raise ValueError(f"expected a finite {name}, got {value!r}")


def _numbers(value: object) -> list[float]:
    """The numbers in a field, tuples of tuples flattened."""
    if isinstance(value, tuple | list):
        return [number for entry in value for number in _numbers(entry)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def is_full_disk(error: BaseException) -> bool:
    """Whether there was no space left to write to, on the disk or in a quota.

    tensorstore reports that as a ValueError, and NumPy by how few bytes were written.
    """
    text = str(error)
    short = isinstance(error, OSError) and "requested and" in text and "written" in text
    return system_error(error) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in text or short


def system_error(error: BaseException) -> int | None:
    """The operating system's number for an error, also where tensorstore wraps it in text."""
    if isinstance(error, OSError):
        return error.errno
    if "Disk quota exceeded" in str(error):
        return errno.EDQUOT
    number = re.search(r"OS error (\d+)", str(error)) if isinstance(error, ValueError) else None
    return int(number[1]) if number else None


_REMEDIES = {
    errno.EACCES: "change its permissions, or name another place",
    errno.EPERM: "change its permissions, or name another place",
    errno.EROFS: "the file system is read-only: name another place",
    errno.ENOTDIR: "a file is where a folder belongs: name another place",
    errno.EEXIST: "a file is where a folder belongs: name another place",
    errno.EISDIR: "a folder is where a file belongs: name another place",
    errno.ENAMETOOLONG: "name a shorter path",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EIO: "the disk or its connection failed: check it, then run the same command again",
}


def one_line(error: Exception) -> str:
    """What a program prints of an error that its user can mend; any other is raised again."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError):
        return "no memory left; close other programs, or lower data.trials and evaluation_trials"
    if is_full_disk(error):
        return "no space left on the disk; free some, then run the same command again to resume"
    number = system_error(error)
    if number is None:
        raise error
    place = getattr(error, "filename", None) or str(error).partition("\n")[0][:200]
    remedy = _REMEDIES.get(number, "check that path, then run the same command again")
    return f"the system refused {place}: {os.strerror(number)}; {remedy}"
