"""Writing a submission: a row group a trial, against the starter kit's way.

    pip install -e '.[submission]' pandas && python benchmarks/submission.py [--trials 6]
        [--json FILE] [--plot FILE]

The starter kit collects every prediction as nested Python lists in a data frame and writes it at
once (``utility/submission.py``). Random trials of 8,000 neurons and 250 frames; each way in a
process of its own, whose peak memory above its start is printed; medians over rounds, in turn.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import record
from rich.console import Console
from rich.table import Table

from sensorium_jax.pages import page
from sensorium_jax.submission.files import COLUMNS
from sensorium_jax.submission.write import TrialWriter

FRAMES = 250
FIGURES = "seconds", "MB", "peak MiB"


def trials(count: int, neurons: int):
    """Trial number and prediction [N T]: smooth positive rates, as models predict."""
    rng = np.random.default_rng(0)
    for number in range(count):
        noise = rng.normal(size=(neurons, FRAMES + 9)).astype(np.float32)
        smooth = np.lib.stride_tricks.sliding_window_view(noise, 10, axis=1).mean(-1)
        yield number, np.log1p(np.exp(smooth)).astype(np.float32)


def ours(path: Path, count: int, neurons: int) -> None:
    """A row group a trial."""
    with TrialWriter(path) as writer:
        for number, prediction in trials(count, neurons):
            writer.write("mouse", number, prediction, np.arange(neurons))


def data_frame(path: Path, count: int, neurons: int) -> None:
    """All trials as lists of a data frame."""
    import pandas as pd

    ids = list(range(neurons))
    rows = [["mouse", i, p.tolist(), ids] for i, p in trials(count, neurons)]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame.to_parquet(path, compression="brotli", engine="pyarrow", index=False)


WAYS = {"a row group a trial": ours, "data frame": data_frame}


def main() -> None:
    """Measure both ways in turn and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--neurons", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    record.add_flags(parser)
    flags = parser.parse_args()
    if flags.way:
        _measure(WAYS[flags.way], flags.trials, flags.neurons)
        return
    found = {way: [] for way in WAYS}
    for _ in range(flags.rounds):
        for way in WAYS:
            size = "--trials", str(flags.trials), "--neurons", str(flags.neurons)
            command = [sys.executable, __file__, "--way", way, *size]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found[way].append(dict(zip(FIGURES, map(float, out.split()), strict=True)))
    table = Table(title=f"{flags.trials} trials of {flags.neurons} neurons and {FRAMES} frames")
    for name in ("", "s", "range", "times", "MB", "peak MiB"):
        table.add_column(name, justify="right" if name else "left")
    fastest = statistics.median(v["seconds"] for v in found["a row group a trial"])
    for way, values in found.items():
        seconds, megabytes, peak = (statistics.median(v[f] for v in values) for f in FIGURES)
        times = sorted(v["seconds"] for v in values)
        table.add_row(
            way,
            f"{seconds:.2f}",
            f"{times[0]:.2f}-{times[-1]:.2f}",
            f"{seconds / fastest:.0f}",
            f"{megabytes:.1f}",
            f"{peak:.0f}",
        )
    Console().print(table)
    size = {"trials": flags.trials, "neurons": flags.neurons, "frames": FRAMES}
    record.write(flags, {"size": size, "ways": found}, draw)


def draw(found: dict):
    """Every round's seconds, size and memory, and their medians."""
    figure = page.make_figure(8, 1.6)
    for axes, name in zip(figure.subplots(1, len(FIGURES), sharey=True), FIGURES, strict=True):
        for i, rounds in enumerate(found["ways"].values()):
            values = [one[name] for one in rounds]
            axes.barh(i, statistics.median(values), color="C0", alpha=0.4)
            axes.plot(values, [i] * len(values), "k.", markersize=4)
        axes.set_xlabel(name)
    figure.axes[0].set(yticks=range(len(found["ways"])), yticklabels=found["ways"])
    return figure


def _measure(way, count: int, neurons: int) -> None:
    import pandas  # noqa: F401 - loaded before the clock starts, for both

    for _ in trials(count, neurons):  # what making the trials takes is taken off
        pass
    began = time.perf_counter()
    for _ in trials(count, neurons):
        pass
    making = time.perf_counter() - began
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.parquet.brotli"
        began = time.perf_counter()
        way(path, count, neurons)
        seconds = time.perf_counter() - began - making
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(seconds, path.stat().st_size / 1e6, (after - before) / 1024)


if __name__ == "__main__":
    main()
