"""Progress and tables in the terminal, quiet when the output is no terminal."""

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
    """Where programs print: lines are not wrapped, numbers not coloured."""
    return Console(soft_wrap=True, highlight=False, quiet=quiet)


def show(table: Table, console: Console) -> None:
    """Print a table."""
    shape = RichTable(
        title=table.title or None,
        caption=table.caption or None,
        title_justify="left",
        caption_justify="left",
        collapse_padding=True,
        box=rich.box.HEAVY_HEAD if table.title else rich.box.SIMPLE_HEAD,
    )
    for i, name in enumerate(table.header):
        shape.add_column(name, justify="right" if i else "left", no_wrap=i > 0, overflow="fold")
    for row in table.rows:
        shape.add_row(*indent(row, "  "), style="dim" if row.level else None)
    console.print(shape)


@contextlib.contextmanager
def bars(console: Console | None = None, *, transient: bool = False) -> Iterator[OnProgress]:
    """A function that is told of progress and draws a bar for everything that it is told of."""
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
    """A function that is told whose bytes, what is done with them, how many, and of how many."""
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    with _progress(
        *columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console
    ) as progress:
        tasks = {}

        def on_bytes(whose: str, what: str, done: int, total: int | None) -> None:
            if whose not in tasks:
                tasks[whose] = progress.add_task(whose, total=None)
            progress.update(
                tasks[whose], description=f"{whose} {what}", completed=done, total=total
            )

        yield on_bytes


class TrainingBar:
    """One line of progress: loss, score, frames per second, time left."""

    def __init__(self, console: Console, *, total: int, completed: int, frames: int):
        """Steps of all members in all and done before, and the frames of one step."""
        self._frames = frames
        self._since, self._steps = None, 0  # the first step compiles: it does not count
        columns = (TextColumn(f"{{task.fields[{name}]}}") for name in ("loss", "score", "speed"))
        self._progress = _progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            *columns,
            TimeRemainingColumn(),
            console=console,
        )
        fields = {"loss": "", "score": "", "speed": ""}
        self._task = self._progress.add_task(
            "compiling", total=total, completed=completed, **fields
        )

    def __enter__(self) -> TrainingBar:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def advance(self, steps: int) -> None:
        """Count steps."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        else:
            self._steps += steps
            speed = self._frames * self._steps / (now - self._since)
            self._progress.update(self._task, speed=f"{speed:,.0f} frames/s")
        self._progress.update(self._task, advance=steps, description="training")

    def show(self, *, loss: float, score: float | None = None, paused_s: float = 0.0) -> None:
        """Show a loss and a score; seconds without training do not count in the speed."""
        self._progress.update(self._task, loss=f"loss {loss:.3f}")
        if score is not None:
            self._progress.update(self._task, score=f"oracle {score:.3f}")
        if self._since is not None:
            self._since += paused_s


def _progress(*columns, console: Console | None, transient: bool = False) -> Progress:
    console = console or make_console()
    silent = console.quiet or not console.is_terminal
    return Progress(*columns, console=console, disable=silent, transient=transient)
