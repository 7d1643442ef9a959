"""Batches of trials: random crops for training, whole trials for evaluation.

The host only moves bytes: batches hold stored dtypes, and normalisation is done on the device.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import grain
import numpy as np

from sensorium_jax import _moved, protocol
from sensorium_jax.data.format import Session
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import UserError
from sensorium_jax.types import Batch

READ_THREADS = 4
PREFETCHED_BATCHES = 4


@dataclasses.dataclass(frozen=True)
class RandomCrop(grain.transforms.RandomMap):
    """A random crop of the trial at a row of a session's table; only the crop is read."""

    recordings: Recordings
    session: int
    frames: int

    def random_map(self, row: int, rng: np.random.Generator) -> Batch:
        """One trial of a batch: arrays [T ...]; the crop's first frame is uniformly distributed."""
        session = self.recordings.sessions[self.session]
        start = int(rng.integers(0, session.trials.frames[row] - self.frames + 1))
        trial = session.read(int(row), start, start + self.frames)
        trial = self.recordings.pad_trial(trial, self.frames)
        return Batch(*trial, first_frame=np.int32(start), frame_mask=np.ones(self.frames, bool))


def train_iterator(
    recordings: Recordings,
    *,
    frames: int,
    trials: int,
    seed: int,
    tier: str = protocol.TRAIN,
    part: int = 0,
    parts: int = 1,
) -> grain.DatasetIterator:
    """Endless shuffled batches of random crops of every session: ``Batch`` of arrays [S B T ...].

    Deterministic given the seed; ``get_state`` and ``set_state`` resume at a batch. Each of several
    processes reads only its part of every batch; the parts together are the batch that a single
    process reads.

    Args:
        recordings: the S sessions.
        frames: T, frames of a crop.
        trials: B, crops of every session in a batch.
        seed: of the order of trials and of the crops.
        tier: the tier whose trials are read.
        part: index of the part of every batch to read, from 0.
        parts: number of equal parts.

    Raises:
        UserError: the parts do not divide a batch, a session has fewer trials than a batch, or
            trials are shorter than the crop.
    """
    if frames < 1 or trials < 1:
        raise UserError(f"expected at least 1 frame and 1 trial, got {frames} and {trials}")
    if trials % parts:
        raise UserError(f"expected trials that {parts} processes divide evenly, got {trials}")
    rows = [recordings.rows(i, tier) for i in range(len(recordings.sessions))]
    for session, train_rows in zip(recordings.sessions, rows, strict=True):
        _check_rows(session, train_rows, tier=tier, frames=frames, trials=trials)
    options = {"frames": frames, "trials": trials, "seed": seed, "part": part, "parts": parts}
    return iter(
        _batches(recordings, rows, **options)
        .map(_stack)
        .to_iter_dataset(
            grain.ReadOptions(num_threads=READ_THREADS, prefetch_buffer_size=PREFETCHED_BATCHES)
        )
    )


def train_batch(
    recordings: Recordings,
    index: int,
    *,
    frames: int,
    trials: int,
    seed: int,
    tier: str = protocol.TRAIN,
) -> Batch:
    """Batch ``index`` of ``train_iterator``, whole: arrays [S B T ...]."""
    rows = [recordings.rows(i, tier) for i in range(len(recordings.sessions))]
    options = {"frames": frames, "trials": trials, "seed": seed}
    return _stack(_batches(recordings, rows, **options, part=0, parts=1)[index])


def train_rows(
    recordings: Recordings, index: int, *, trials: int, seed: int, tier: str = protocol.TRAIN
) -> np.ndarray:
    """The rows [S B] of batch ``index`` of ``train_iterator`` in the sessions' tables of trials."""
    rows = (recordings.rows(i, tier) for i in range(len(recordings.sessions)))
    batches = (_shuffled(r, seed=seed + i).batch(trials) for i, r in enumerate(rows))
    return np.stack([np.asarray(batch[index]) for batch in batches])


def _check_rows(session: Session, rows: np.ndarray, *, tier: str, frames: int, trials: int) -> None:
    """Raise ``UserError`` for a session with too few or too short trials to train on."""
    if len(rows) < trials:
        raise UserError(
            f"expected at least {trials} trials of {tier} in {session.name}, found "
            f"{len(rows)}; lower data.trials"
        )
    shortest = session.trials.frames[rows].min()
    if shortest < frames:
        raise UserError(
            f"expected trials of at least {frames} frames in {session.name}, found one of "
            f"{shortest}; lower data.frames"
        )


def _shuffled(rows: np.ndarray, *, seed: int) -> grain.MapDataset:
    """The rows of a session's trials, in another order each time around, without end."""
    return grain.MapDataset.source(rows.tolist()).seed(seed).shuffle().repeat()


def _batches(
    recordings: Recordings,
    rows: Sequence[np.ndarray],
    *,
    frames: int,
    trials: int,
    seed: int,
    part: int,
    parts: int,
) -> grain.MapDataset:
    """Batches of every session, as tuples over sessions."""
    sessions = []
    for i, session_rows in enumerate(rows):
        crops = _shuffled(session_rows, seed=seed + i)
        crops = crops.random_map(RandomCrop(recordings, i, frames))
        if parts > 1:
            crops = crops.slice(slice(part, None, parts))
        sessions.append(crops.batch(trials // parts, drop_remainder=True))
    return grain.experimental.ZipMapDataset(sessions)


def example_batch(recordings: Recordings, *, frames: int) -> Batch:
    """A batch of zeros, one trial a session, to initialise a model: arrays [S 1 T ...].

    Examples:
        Any object with sessions of so many neurons will do:

        >>> from types import SimpleNamespace
        >>> recordings = SimpleNamespace(sessions=[SimpleNamespace(neurons=n) for n in (5, 8)])
        >>> batch = example_batch(recordings, frames=50)
        >>> batch.video.shape, batch.response.shape
        ((2, 1, 50, 36, 64), (2, 1, 50, 8))
    """
    s, n = len(recordings.sessions), max(session.neurons for session in recordings.sessions)
    return Batch(
        np.zeros((s, 1, frames, protocol.HEIGHT, protocol.WIDTH), np.uint8),
        np.zeros((s, 1, frames, 2), np.float32),
        np.zeros((s, 1, frames, 2), np.float32),
        np.zeros((s, 1, frames, n), np.float32),
        np.zeros((s, 1), np.int32),
        np.zeros((s, 1, frames), bool),
    )


class EvalBatch(NamedTuple):
    """Whole trials of every session, padded at their ends."""

    batch: Batch
    index: np.ndarray  # [S B] row of each session's trial table; -1 where there is no trial
    rate: np.ndarray | None  # [S B T N] the true rate of simulated mice


def eval_batches(
    recordings: Recordings,
    tier: str,
    *,
    trials: int,
    rate: bool = False,
    sessions: Sequence[int] | None = None,
    by_clip: bool = False,
) -> Iterator[EvalBatch]:
    """All trials of a tier, cut to the first 300 frames of a clip: arrays [S B T ...].

    Batches of all tiers have the same shape, so that prediction compiles once.

    Args:
        recordings: the sessions.
        tier: the tier whose trials are read.
        trials: B, trials of every session in a batch; the last batch is padded.
        rate: read the true rate as well (simulated mice).
        sessions: positions of the S sessions to read; None: all.
        by_clip: yield the repeats of each clip one after the other; else trials by file number.

    Raises:
        UserError: there is no such tier.
    """
    sessions = range(len(recordings.sessions)) if sessions is None else sessions
    rows = [recordings.rows(s, tier) for s in sessions]
    if by_clip:
        clips = [recordings.trials(s).clip[r] for s, r in zip(sessions, rows, strict=True)]
        rows = [r[np.argsort(clip, kind="stable")] for r, clip in zip(rows, clips, strict=True)]
    longest = max(int(s.trials.frames.max()) for s in recordings.sessions)
    frames = min(protocol.CLIP_FRAMES, longest)

    def read(first: int) -> EvalBatch:
        index = np.full((len(rows), trials), -1)
        for i, r in enumerate(rows):
            index[i, : len(r[first : first + trials])] = r[first : first + trials]
        items = [
            [_whole_trial(recordings, s, row, frames=frames, rate=rate) for row in index[i]]
            for i, s in enumerate(sessions)
        ]
        batch = _stack([_stack([trial for trial, _ in row]) for row in items])
        true = np.stack([[r for _, r in row if r is not None] for row in items]) if rate else None
        return EvalBatch(batch, index, true)

    with ThreadPoolExecutor(1) as reader:  # reads the next batch while the caller uses this one
        upcoming = None
        for first in range(0, max(map(len, rows)), trials):
            current, upcoming = upcoming, reader.submit(read, first)
            if current is not None:
                yield current.result()
        if upcoming is not None:
            yield upcoming.result()


def _whole_trial(
    recordings: Recordings, session: int, row: int, *, frames: int, rate: bool
) -> tuple[Batch, np.ndarray | None]:
    """A trial from its first frame, padded to ``frames``, and its true rate [T N]."""
    source = recordings.sessions[session]
    valid = min(frames, int(source.trials.frames[row])) if row >= 0 else 0
    trial = source.read(max(row, 0), 0, valid)
    padded = recordings.pad_trial(trial, frames)
    batch = Batch(*padded, first_frame=np.int32(0), frame_mask=np.arange(frames) < valid)
    if not rate:
        return batch, None
    true = source.read_rate(max(row, 0), 0, valid)
    return batch, recordings.pad_trial(trial._replace(response=true), frames).response


def _stack(items) -> Batch:
    """Stack batches along a new first axis."""
    return Batch(*(np.stack(x) for x in zip(*items, strict=True)))


def __getattr__(name: str):  # names from before version 0.2
    return _moved.look_up(__name__, name)
