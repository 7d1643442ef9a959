"""The published trial tables of the ten mice of the release: ``release.csv``.

One row for each of the 7,145 trial files, by file number: tier, stimulus family, clip (trials of
the same film have the same id, within and across mice) and valid frames. Derived from the public
trial metadata of anaflom/sensorium (CC0-1.0). Neuron counts and array lengths: the same source, and
lRomul/sensorium.
"""

from __future__ import annotations

import csv
import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.format import TrialTable

# Neurons, and length of the time axis of every array, NaN tails included.
_SIZES = {
    "A": (7440, 324),
    "B": (7928, 324),
    "C": (8285, 325),
    "D": (7671, 403),
    "E": (7495, 315),
    "F": (7863, 324),
    "G": (7908, 325),
    "H": (8202, 326),
    "I": (7939, 315),
    "J": (8122, 414),
}

# File numbers of trials that were recorded past the end of their stimulus, by mouse: never stored.
# They determine the array length of their mice.
CORRUPT = {"D": 668, "J": 156}


class Mouse(NamedTuple):
    """One mouse of the release."""

    letter: str  # A to J, see ``protocol.SESSIONS``
    session: str  # name of its folder
    neurons: int
    frames: int  # length of the time axis of every array, NaN tails included
    trial_files: int  # entries of tiers.npy, gaps included
    trials: TrialTable


@functools.cache
def mice() -> dict[str, Mouse]:
    """The ten mice, by letter.

    Examples:
        >>> "".join(mice()), mice()["A"].neurons
        ('ABCDEFGHIJ', 7440)
        >>> trials = mice()["A"].trials
        >>> len(set(trials.clip[trials.tier == "oracle"]))
        6
    """
    with (Path(__file__).parent / "release.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {letter: _mouse(letter, [r for r in rows if r["mouse"] == letter]) for letter in _SIZES}


def find_mouse(session: str) -> Mouse | None:
    """The mouse of the release with this session name, by the part before "-Video-"; else None.

    Examples:
        >>> find_mouse("dynamic29515-10-12-Video-simulated").letter
        'F'
        >>> print(find_mouse("another"))
        None
    """
    prefix = session.partition("-Video-")[0]
    return next((m for m in mice().values() if m.session.startswith(f"{prefix}-Video-")), None)


def _mouse(letter: str, rows: list[dict[str, str]]) -> Mouse:
    tier = np.array([row["tier"] for row in rows])
    neurons, frames = _SIZES[letter]
    withheld = np.isin(tier, protocol.TEST_TIERS) & (letter in protocol.NEW_MICE)
    number = np.array([int(row["number"]) for row in rows])
    trials = TrialTable(
        number=number,
        tier=tier,
        family=np.array([row["family"] for row in rows]),
        clip=np.array([row["clip"] for row in rows]),
        frames=np.array([int(row["frames"]) for row in rows]),
        labelled=~withheld,
    )
    return Mouse(
        letter=letter,
        session=protocol.SESSIONS[letter],
        neurons=neurons,
        frames=frames,
        trial_files=int(number.max()) + 1,  # equals the published lengths of all ten
        trials=trials,
    )
