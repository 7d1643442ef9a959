"""What a recording is to this package, and the one pass over its trials that gathers all else.

A recording is anything with the members of ``Recording``: a session folder or zip of the release
(``raw.py``), an NWB file (``nwb.py``), a session of a store (``stored.py``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from sensorium_jax.data.format import Trial
from sensorium_jax.errors import UserError
from sensorium_jax.prepare import labels

READERS = 2  # threads; tensorstore compresses in others
TRIALS_AHEAD = 4  # in memory at once, at most: some 40 MB each for a mouse of the release
OnTrial = Callable[[str, int, int], None]  # session, trials done, trials in all


class RawTrial(NamedTuple):
    """A trial as recorded, cut to its valid frames."""

    trial: Trial
    labelled: bool  # False where the responses are withheld: zeros in the release
    sha256: str = ""  # of the files it was read from


class Recording(Protocol):
    """One session, before or after conversion."""

    name: str
    source: Path
    simulated: bool
    tiers: np.ndarray  # [n] strings, one for each file number; see ``protocol.TIERS``
    numbers: np.ndarray  # [trials] file numbers that have a trial, ascending
    unit_ids: np.ndarray  # [N]
    position_um: np.ndarray  # [N 3]
    frames: int  # of the longest trial, padding included

    def read(self, number: int) -> RawTrial:
        """One trial; ``UserError`` if it is damaged or odd."""

    def read_rate(self, number: int, frames: int) -> np.ndarray:
        """The true rate of a simulated mouse: [T N]."""

    def released(self) -> dict[str, np.ndarray]:
        """Statistics that came with it: "<field>_{mean,std}" -> [T ...]; {} if none did."""

    def types(self) -> dict[str, str]:
        """Type of the numbers of every field of ``Trial``, as they lie on the disk."""


class SeenTrial(NamedTuple):
    """A trial, and what its film shows."""

    number: int
    trial: Trial
    labelled: bool
    sha256: str
    family: str
    stills: np.ndarray  # uint8 [16 H W]


def trials(recording: Recording, numbers: Iterable[int]) -> Iterator[SeenTrial]:
    """Trials in order, a few read ahead by threads; raises the ``UserError`` of an odd one."""
    for outcome in outcomes(recording, numbers):
        if isinstance(outcome, UserError):
            raise outcome
        yield outcome


def outcomes(recording: Recording, numbers: Iterable[int]) -> Iterator[SeenTrial | UserError]:
    """As ``trials``, but an odd trial yields its error, and the next ones follow."""

    def see(number: int) -> SeenTrial | UserError:
        try:
            trial, labelled, sha256 = recording.read(number)
        except UserError as error:
            return error
        family = labels.family(trial.video, tier=str(recording.tiers[number]))
        return SeenTrial(number, trial, labelled, sha256, family, labels.stills(trial.video))

    pending: deque = deque()
    with ThreadPoolExecutor(READERS) as readers:
        try:
            for number in numbers:
                pending.append(readers.submit(see, int(number)))
                if len(pending) == TRIALS_AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:  # an error or a Ctrl-C does not wait for what was to be read
            for future in pending:
                future.cancel()
