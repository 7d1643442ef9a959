"""Batches of trials: random crops for training, whole trials for evaluation.

The host moves bytes only: batches hold stored dtypes, and normalisation happens on the device.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import grain
import numpy as np

from sensorium_jax import _moved, protocol
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import UserError
from sensorium_jax.types import Batch

READ_THREADS = 4
PREFETCHED_BATCHES = 4


@dataclasses.dataclass(frozen=True)
class RandomCrop(grain.transforms.RandomMap):
    """From a row of a session's table to a crop of that trial, of which no more is read."""

    recordings: Recordings
    session: int
    frames: int

    def random_map(self, row: int, rng: np.random.Generator) -> Batch:
        """A trial of a batch: [T ...], every start equally likely."""
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
    """Endless shuffled batches of random crops of every session: ``Batch`` of [S B T ...].

    Deterministic in the seed; ``get_state`` and ``set_state`` resume at a batch. Of several
    readers each has its part of every batch, and reads no more; the parts together are the batch
    of one reader alone.

    Args:
        recordings: the sessions.
        frames: length T of a crop.
        trials: B, crops of every session in a batch.
        seed: of order and crops.
        tier: where the trials come from.
        part: which part of every batch, from 0.
        parts: how many equal parts there are.

    Raises:
        UserError: a batch that cannot be parted so, fewer trials than a batch needs, or trials
            shorter than the crop.
    """
    if frames < 1 or trials < 1:
        raise UserError(f"expected at least 1 frame and 1 trial, got {frames} and {trials}")
    if trials % parts:
        raise UserError(f"expected trials that {parts} processes divide evenly, got {trials}")
    sessions = []
    for i, session in enumerate(recordings.sessions):
        rows = recordings.rows(i, tier)
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
        crops = grain.MapDataset.source(rows.tolist()).seed(seed + i).shuffle().repeat()
        crops = crops.random_map(RandomCrop(recordings, i, frames))
        if parts > 1:
            crops = crops.slice(slice(part, None, parts))
        sessions.append(crops.batch(trials // parts, drop_remainder=True))
    return iter(
        grain.experimental.ZipMapDataset(sessions)
        .map(_stack)
        .to_iter_dataset(
            grain.ReadOptions(num_threads=READ_THREADS, prefetch_buffer_size=PREFETCHED_BATCHES)
        )
    )


def example_batch(recordings: Recordings, *, frames: int) -> Batch:
    """A batch of zeros of one trial a session, for its shapes."""
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
    """Whole trials of every session, padded at their end."""

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
    """All trials of a tier, cut to the frames that are scored.

    Every batch of every tier has the same shape, so that prediction compiles once.

    Args:
        recordings: the sessions.
        tier: which trials.
        trials: B, trials of every session in a batch; the last one is padded.
        rate: read the true rate as well (simulated mice).
        sessions: S of them, by position; None takes all.
        by_clip: the repeats of each clip come one after the other; else trials come by file number.

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
        true = np.stack([[r for _, r in row] for row in items]) if rate else None
        return EvalBatch(batch, index, true)

    with ThreadPoolExecutor(1) as reader:  # reads the next batch while this one is used
        ahead = None
        for first in range(0, max(map(len, rows)), trials):
            now, ahead = ahead, reader.submit(read, first)
            if now is not None:
                yield now.result()
        if ahead is not None:
            yield ahead.result()


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


def __getattr__(name: str):  # names of before version 0.2
    return _moved.look_up(__name__, name)
