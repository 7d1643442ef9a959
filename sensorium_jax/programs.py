"""What command-line programs share: exit codes, errors of one line, and a bar for every session."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

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
