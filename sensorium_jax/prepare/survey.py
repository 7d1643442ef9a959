"""Trial table, stills, statistics and checksums, collected in one pass over a recording."""

from __future__ import annotations

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.format import Trial, TrialTable
from sensorium_jax.prepare import labels
from sensorium_jax.prepare.recording import ClassifiedTrial, Recording


class Survey:
    """Trial table, stills, statistics and checksums of the trials of a recording."""

    def __init__(self, recording: Recording, clips: labels.Clips):
        self._recording, self._clips = recording, clips
        self._rows: list[tuple] = []  # of the trial table
        self._stills: list[np.ndarray] = []
        self.moments = {field: RunningMoments() for field in Trial._fields}
        self.sha256: list[str] = []

    def add(self, item: ClassifiedTrial) -> None:
        """Add the next trial."""
        tier = str(self._recording.tiers[item.number])
        clip = self._clips.identify(item.stills)
        row = (item.number, tier, item.family, clip, len(item.trial.video), item.labelled)
        self._rows.append(row)
        self._stills.append(item.stills)
        self.sha256.append(item.sha256)
        if tier == protocol.TRAIN:
            for field, x in item.trial._asdict().items():
                self.moments[field].add(x)

    def table(self) -> TrialTable:
        """The table of the trials added, in the order in which they were added.

        Responses are withheld where all trials of a test tier are zeros; a single silent trial is
        not withheld, and neither is any of the train and oracle tiers.
        """
        table = TrialTable(*(np.array(column) for column in zip(*self._rows, strict=True)))
        labelled = np.ones(len(table.tier), bool)
        for tier in protocol.TEST_TIERS:
            rows = table.tier == tier
            labelled[rows] = table.labelled[rows].any()
        return table._replace(labelled=labelled)

    def stills(self) -> np.ndarray:
        """The stills of all trials: uint8 [trials 16 H W]."""
        return np.stack(self._stills)

    def statistics(self) -> dict[str, np.ndarray]:
        """Mean and std over the train tier: "pooled/..." [1 ...], "framewise/..." [T ...].

        At least one trial of the train tier must have been added.
        """
        arrays = {}
        for field, moments in self.moments.items():
            for kind, pair in (("pooled", moments.pooled()), ("framewise", moments.framewise())):
                arrays[f"{kind}/{field}_mean"], arrays[f"{kind}/{field}_std"] = pair
        return arrays


class RunningMoments:
    """Mean and std of [T ...] arrays of different lengths, for each frame and over all frames.

    Examples:
        >>> moments = RunningMoments()
        >>> moments.add(np.array([[1.0], [5.0]]))
        >>> moments.add(np.array([[3.0]]))  # a shorter trial
        >>> moments.framewise()[0].ravel().tolist(), moments.pooled()[0].ravel().tolist()
        ([2.0, 5.0], [3.0])
    """

    def __init__(self):
        self._n = np.zeros(0)  # [T], number of trials that have each frame
        self._sum = self._square = np.zeros(0)

    def add(self, x: np.ndarray) -> None:
        """Add one trial [T ...]."""
        if len(x) > len(self._n):
            padding = [(0, len(x) - len(self._n))] + [(0, 0)] * (x.ndim - 1)
            self._n = np.pad(self._n, padding[0])
            if self._sum.ndim != x.ndim:
                self._sum = self._square = np.zeros((0, *x.shape[1:]))
            self._sum, self._square = np.pad(self._sum, padding), np.pad(self._square, padding)
        t = len(x)
        self._n[:t] += 1
        self._sum[:t] += x
        x = x.astype(np.float64)
        self._square[:t] += np.square(x, out=x)

    def framewise(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and std over trials, for each frame: float32 [T ...] each."""
        n = self._n.reshape(-1, *[1] * (self._sum.ndim - 1))
        return _mean_and_std(n, self._sum, self._square)

    def pooled(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and std over trials and frames: float32 [1 ...] each."""
        return _mean_and_std(self._n.sum(), self._sum.sum(0)[None], self._square.sum(0)[None])


def _mean_and_std(n, total: np.ndarray, square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = total / n
    std = np.sqrt(np.maximum(square / n - mean**2, 0))
    return mean.astype(np.float32), std.astype(np.float32)
