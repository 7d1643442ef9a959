"""What command-line programs share: exit codes, errors of one line, bars, large pages of memory."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sensorium_jax.errors import one_line


def exit_code(body: Callable[[], int]) -> int:
    """What ``body`` returns; 2 and one line for an error that its user can mend; 130 for Ctrl-C."""
    try:
        return body()
    except KeyboardInterrupt:
        print("Stopped. Run the same command again to go on.", file=sys.stderr)
        return 130
    except Exception as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2


def use_huge_pages() -> None:
    """Start this program again with memory in large pages, where Linux gives them to who asks.

    On a CPU the memory of every step is new to the process, and the kernel hands it out page by
    page: 4 KiB at a time that takes up to a third of a step. Asked through glibc's own tunable
    (2.35 and later), which only counts when a process starts.
    """
    variable, huge = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    name, version = platform.libc_ver()
    new_enough = name == "glibc" and tuple(map(int, version.split(".")[:2])) >= (2, 35)
    if new_enough and variable not in os.environ and setting.exists():
        if "[madvise]" in setting.read_text():
            os.environ[variable] = huge
            sys.stdout.flush()
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


@contextlib.contextmanager
def session_bars(*, transient: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A function that is told of a session, its trials done, and its trials in all."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeRemainingColumn(), transient=transient) as progress:
        tasks = {}

        def on_trial(session: str, done: int, total: int) -> None:
            if session not in tasks:
                tasks[session] = progress.add_task(session, total=total)
            progress.update(tasks[session], completed=done)

        yield on_trial
