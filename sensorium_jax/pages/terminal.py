"""Progress bars and tables in the terminal; no bars if the output is not a terminal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import rich.box
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table as RichTable

from sensorium_jax.tables import Table, indent
from sensorium_jax.types import OnProgress


def make_console(*, quiet: bool = False) -> Console:
    """A console for programs: lines are not wrapped, numbers are not coloured."""
    return Console(soft_wrap=True, highlight=False, quiet=quiet)


def show(table: Table, console: Console) -> None:
    """Print a table."""
    rich_table = RichTable(
        title=table.title or None,
        caption=table.caption or None,
        title_justify="left",
        caption_justify="left",
        collapse_padding=True,
        box=rich.box.HEAVY_HEAD if table.title else rich.box.SIMPLE_HEAD,
    )
    for i, name in enumerate(table.header):
        justify = "right" if i else "left"
        rich_table.add_column(name, justify=justify, no_wrap=i > 0, overflow="fold")
    for row in table.rows:
        rich_table.add_row(*indent(row, "  "), style="dim" if row.level else None)
    console.print(rich_table)


@contextlib.contextmanager
def bars(console: Console | None = None, *, transient: bool = False) -> Iterator[OnProgress]:
    """A function (description, number done, total) that draws a bar for each description."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with _progress(
        *columns, TimeRemainingColumn(), console=console, transient=transient
    ) as progress:
        tasks = {}

        def on_progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield on_progress


@contextlib.contextmanager
def byte_bars(console: Console) -> Iterator[Callable[[str, str, int, int | None], None]]:
    """A function (name, activity, bytes done, total) that draws a bar for each name."""
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    with _progress(
        *columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console
    ) as progress:
        tasks = {}

        def on_bytes(name: str, activity: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=None)
            description = f"{name} {activity}"
            progress.update(tasks[name], description=description, completed=done, total=total)

        yield on_bytes


class TrainingBar:
    """One line of progress: loss, score, frames per second, time left."""

    def __init__(self, console: Console, *, total: int, completed: int, frames: int):
        """Start a bar.

        Args:
            console: where to draw.
            total: number of steps of all members.
            completed: number of these steps that were done before.
            frames: frames of one step of one member.
        """
        self._frames = frames
        self._start, self._steps = None, 0  # of the speed; the first step compiles and is left out
        columns = (TextColumn(f"{{task.fields[{name}]}}") for name in ("loss", "score", "speed"))
        self._progress = _progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            *columns,
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task(
            "compiling", total=total, completed=completed, loss="", score="", speed=""
        )

    def __enter__(self) -> TrainingBar:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def advance(self, steps: int) -> None:
        """Advance the bar by a number of steps."""
        now = time.monotonic()
        if self._start is None:
            self._start = now
        else:
            self._steps += steps
            speed = self._frames * self._steps / (now - self._start)
            self._progress.update(self._task, speed=f"{speed:,.0f} frames/s")
        self._progress.update(self._task, advance=steps, description="training")

    def show(self, *, loss: float, score: float | None = None, paused_s: float = 0.0) -> None:
        """Show a loss and a score; ``paused_s`` seconds do not count in the speed."""
        self._progress.update(self._task, loss=f"loss {loss:.3f}")
        if score is not None:
            self._progress.update(self._task, score=f"oracle {score:.3f}")
        if self._start is not None:
            self._start += paused_s


def _progress(*columns, console: Console | None, transient: bool = False) -> Progress:
    console = console or make_console()
    silent = console.quiet or not console.is_terminal
    return Progress(*columns, console=console, disable=silent, transient=transient)
