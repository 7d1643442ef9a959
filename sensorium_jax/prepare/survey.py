"""One pass over a recording's trials: their table, stills, statistics and checksums."""

from __future__ import annotations

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.format import Trial, TrialTable
from sensorium_jax.prepare import labels
from sensorium_jax.prepare.recording import Recording, SeenTrial


class Survey:
    """All that a pass over a recording's trials gathers, but for the trials themselves."""

    def __init__(self, recording: Recording, clips: labels.Clips):
        self._recording, self._clips = recording, clips
        self._columns: list[tuple] = []
        self._stills: list[np.ndarray] = []
        self.moments = {field: RunningMoments() for field in Trial._fields}
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


class RunningMoments:
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
