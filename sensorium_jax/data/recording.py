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

from sensorium_jax import protocol
from sensorium_jax.data import labels
from sensorium_jax.data.format import Trial, TrialTable
from sensorium_jax.errors import UserError

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


class Survey:
    """All that a pass over a recording's trials gathers, but for the trials themselves."""

    def __init__(self, recording: Recording, clips: labels.Clips):
        self._recording, self._clips = recording, clips
        self._columns: list[tuple] = []
        self._stills: list[np.ndarray] = []
        self.moments = {field: Moments() for field in Trial._fields}
        self.sha256: list[str] = []

    def add(self, seen: SeenTrial) -> None:
        """Take in the next trial."""
        tier = str(self._recording.tiers[seen.number])
        clip = self._clips.identify(seen.stills)
        row = (seen.number, tier, seen.family, clip, len(seen.trial.video), seen.labelled)
        self._columns.append(row)
        self._stills.append(seen.stills)
        self.sha256.append(seen.sha256)
        if tier == protocol.TRAIN:
            for field, x in seen.trial._asdict().items():
                self.moments[field].add(x)

    def table(self) -> TrialTable:
        """The trials taken in, in their order."""
        return TrialTable(*(np.array(column) for column in zip(*self._columns, strict=True)))

    def stills(self) -> np.ndarray:
        """[trials 16 H W] uint8."""
        return np.stack(self._stills)

    def statistics(self) -> dict[str, np.ndarray]:
        """Mean and std over the train tier: "pooled/..." [1 ...], "framewise/..." [T ...].

        There must have been a trial of that tier.
        """
        found = {}
        for field, moments in self.moments.items():
            for kind, pair in (("pooled", moments.pooled()), ("framewise", moments.framewise())):
                found[f"{kind}/{field}_mean"], found[f"{kind}/{field}_std"] = pair
        return found


class Moments:
    """Mean and std of [T ...] arrays of different lengths, frame by frame and over frames."""

    def __init__(self):
        self._n = np.zeros(0)
        self._sum = self._square = np.zeros(0)

    def add(self, x: np.ndarray) -> None:
        """Take in one trial [T ...]."""
        if len(x) > len(self._n):
            room = [(0, len(x) - len(self._n))] + [(0, 0)] * (x.ndim - 1)
            self._n = np.pad(self._n, room[0])
            if self._sum.ndim != x.ndim:
                self._sum = self._square = np.zeros((0, *x.shape[1:]))
            self._sum, self._square = np.pad(self._sum, room), np.pad(self._square, room)
        t = len(x)
        self._n[:t] += 1
        self._sum[:t] += x
        x = x.astype(np.float64)
        self._square[:t] += np.square(x, out=x)

    def framewise(self) -> tuple[np.ndarray, np.ndarray]:
        """Over trials, [T ...] each, float32."""
        n = self._n.reshape(-1, *[1] * (self._sum.ndim - 1))
        return _mean_and_std(n, self._sum, self._square)

    def pooled(self) -> tuple[np.ndarray, np.ndarray]:
        """Over trials and frames, [1 ...] each, float32."""
        return _mean_and_std(self._n.sum(), self._sum.sum(0)[None], self._square.sum(0)[None])


def _mean_and_std(n, total: np.ndarray, square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = total / n
    std = np.sqrt(np.maximum(square / n - mean**2, 0))
    return mean.astype(np.float32), std.astype(np.float32)
