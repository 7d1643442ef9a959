"""Whether a long training keeps its memory: the process's own, epoch after epoch.

    python benchmarks/steady.py --epochs 40 [--json FILE] [--plot FILE]

Trains a small model on two simulated mice, each epoch of 100 steps, scored and saved at its end.
Resident memory is read after every epoch; the first quarter of them, in which programs are
compiled and caches filled, is left out of the growth that is printed:

    growth = slope of resident memory over epochs (least squares)
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import record

from sensorium_jax import complete, simulate
from sensorium_jax.configs import load_config
from sensorium_jax.experiment import override
from sensorium_jax.pages.terminal import make_console
from sensorium_jax.prepare.convert import convert

STEPS = 100  # of an epoch
SETTINGS = "model.core.channels=1", "model.core.kernel=(11,3)", "data.frames=20", "data.trials=2"


def main() -> None:
    """Train, and print how memory grew."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=40, help="of 100 steps (default 40)")
    record.add_flags(parser)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        resident = train(Path(folder), flags.epochs)
    settled = resident[len(resident) // 4 :]
    growth = float(np.polyfit(np.arange(len(settled)), settled, 1)[0])
    print(
        f"resident: {resident[0]:.0f} MiB after the first epoch, {resident[-1]:.0f} after the last"
    )
    print(f"growth: {growth:+.2f} MiB an epoch of {STEPS} steps and a scoring")
    record.write(flags, {"resident_mib": resident, "growth_mib_per_epoch": growth}, draw)


def train(folder: Path, epochs: int) -> list[float]:
    """MiB of resident memory after every epoch of a training."""
    mice = {"letters": ("A", "B"), "neurons": (50, 60)}
    simulate.write_recording(folder / "raw", **mice, train=20, clips=2, repeats=3)
    convert(folder / "raw", folder / "store")
    experiment = load_config("gru_baseline", "demo")
    for setting in SETTINGS:
        experiment = override(experiment, setting)
    plateau = dataclasses.replace(experiment.plateau, patience=epochs)
    experiment = dataclasses.replace(
        experiment, epoch_steps=STEPS, max_epochs=epochs, plateau=plateau
    )
    resident: list[float] = []
    complete(
        experiment,
        folder / "run",
        store=folder / "store",
        devices=1,
        console=make_console(),
        on_score=lambda epoch, score: resident.append(resident_mib()),
    )
    return resident


def resident_mib() -> float:
    """Resident memory of this process, by Linux."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def draw(found: dict):
    """Resident memory over epochs."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
    axes.plot(np.arange(1, len(found["resident_mib"]) + 1), found["resident_mib"])
    axes.set(xlabel="epoch of 100 steps", ylabel="resident memory (MiB)", ylim=(0, None))
    return figure


if __name__ == "__main__":
    main()
