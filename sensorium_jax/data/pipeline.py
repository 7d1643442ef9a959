"""Batches of trials: random crops for training, whole trials for evaluation.

The host moves bytes only: batches hold stored dtypes, and normalisation happens on the device.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import grain
import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.format import KINDS, Session, Store, Trial, TrialTable, open_store
from sensorium_jax.data.tiers import apply_table
from sensorium_jax.errors import UserError
from sensorium_jax.types import Batch, Moments, Neurons, Statistics

READ_THREADS = 4
PREFETCHED_BATCHES = 4


class Recordings:
    """The sessions of a store, with what models need to know of them, padded and stacked.

    Neurons are padded to the largest session, rounded up to a ``multiple``.
    """

    def __init__(self, store: Store, *, tiers: Path | None = None, multiple: int = 1):
        self.store, self.tiers = store, tiers  # the table that its tiers come from, if not its own
        self.sessions: tuple[Session, ...] = store.sessions
        self.session_names = tuple(s.name for s in self.sessions)
        self.simulated = all(s.simulated for s in self.sessions)
        self._most = -(-max(s.neurons for s in self.sessions) // multiple) * multiple

    def trials(self, session: int) -> TrialTable:
        """The trial table of a session, by its position in ``session_names``."""
        return self.sessions[session].trials

    @functools.cached_property
    def units(self) -> dict[str, str]:
        """By session name, a digest of its unit ids in order: which neurons these are."""
        ids = (s.load("unit_ids").astype("<i8").tobytes() for s in self.sessions)
        digests = (hashlib.sha256(x).hexdigest()[:16] for x in ids)
        return dict(zip(self.session_names, digests, strict=True))

    @functools.cached_property
    def neurons(self) -> Neurons:
        """Neurons of all sessions, padded to the largest."""
        mask = np.arange(self._most) < np.array([[s.neurons] for s in self.sessions])
        position, mean = [], []
        for session in self.sessions:
            moments = _response_moments(session, "pooled")
            position.append(self._pad(session.load("position_um"), axis=0))
            mean.append(self._pad((moments.mean / moments.std)[0], axis=0))
        return Neurons(np.stack(position), np.stack(mean), mask)

    @functools.lru_cache  # noqa: B019 - lives as long as the process, like the recordings
    def statistics(self, kind: str) -> Statistics:
        """What inputs and responses are normalised by.

        Args:
            kind: "released", frame by frame, as they came with the recording; "framewise", the
                same, computed from the train tier, which also stands in where none came; or
                "pooled" over frames.

        The response's std is never below a hundredth of its mean over neurons (and frames), the
        rule of the official loader (``NeuroNormalizer``); the same guard keeps the inputs' std
        from zero. It is applied here, once, so that device code just divides.
        """
        if kind not in KINDS:
            raise UserError(f"expected statistics of kind {' or '.join(KINDS)}, got {kind!r}")
        frames = 1
        if kind != "pooled":
            frames = min(protocol.CLIP_FRAMES, max(s.frames for s in self.sessions))
        fields = {}
        for name in ("video", "behavior", "pupil_center"):
            fields[name] = [_moments(s, kind, name) for s in self.sessions]
        fields["response"] = [
            Moments(self._pad(m.mean, axis=1), self._pad(m.std, axis=1, value=1))
            for m in (_response_moments(s, kind) for s in self.sessions)
        ]
        return Statistics(
            **{
                name: Moments(
                    *(
                        np.stack([_fit(x, frames) for x in moment])
                        for moment in zip(*moments, strict=True)
                    )
                )
                for name, moments in fields.items()
            },
            trials=np.array([s.trial_files for s in self.sessions], np.float32),
        )

    def rows(self, session: int, tier: str) -> np.ndarray:
        """Rows of a session's table that belong to a tier, by file number.

        Raises:
            UserError: there is no such tier.
        """
        if tier not in protocol.TIERS:
            near = difflib.get_close_matches(tier, protocol.TIERS, n=2, cutoff=0.3)
            raise UserError(
                f"no split {tier!r}; "
                + (f"nearest: {', '.join(near)}" if near else f"one of {', '.join(protocol.TIERS)}")
            )
        table = self.trials(session)
        rows = np.flatnonzero(table.tier == tier)
        return rows[np.argsort(table.number[rows])]

    def pad_trial(self, trial: Trial, frames: int) -> Trial:
        """Pad a trial with zeros to ``frames`` and to the largest session's neurons."""
        room = [(0, frames - len(trial.video))]
        video, behavior, pupil, response = (
            np.pad(x, room + [(0, 0)] * (x.ndim - 1)) if room[0][1] else x for x in trial
        )
        return Trial(video, behavior, pupil, self._pad(response, axis=1))

    def _pad(self, x: np.ndarray, *, axis: int, value: float = 0) -> np.ndarray:
        room = [(0, 0)] * x.ndim
        room[axis] = (0, self._most - x.shape[axis])
        return np.pad(x, room, constant_values=value)


def load_recordings(
    path: str | Path, *, tiers: str | Path | None = None, multiple: int = 1
) -> Recordings:
    """Open a store for training and evaluation, by its own tiers or those of a table.

    Args:
        path: the store.
        tiers: the table.
        multiple: the number of neurons is padded to one of this, so that devices can share them.

    Raises:
        UserError: it is none, or half-written; or the table is not one of its trials.
    """
    store = open_store(Path(path))
    if tiers is None:
        return Recordings(store, multiple=multiple)
    return Recordings(apply_table(store, Path(tiers)), tiers=Path(tiers), multiple=multiple)


def _moments(session: Session, kind: str, field: str) -> Moments:
    """Mean and std [f ...] of an input; frames without a number take the pooled ones."""
    kind = _kind(session, kind)
    pooled_mean, pooled_std = (session.load(f"pooled/{field}_{m}") for m in ("mean", "std"))
    floor = protocol.STD_FLOOR * pooled_std.mean()
    mean, std = (session.load(f"{kind}/{field}_{m}") for m in ("mean", "std"))
    mean = np.where(np.isfinite(mean), mean, pooled_mean)
    std = np.where(np.isfinite(std) & (std > 0), std, pooled_std)
    return Moments(mean, np.maximum(std, floor if floor > 0 else 1))


def _response_moments(session: Session, kind: str) -> Moments:
    """Mean and std [f N] of responses, the std floored as the official loader does."""
    kind = _kind(session, kind)
    mean, std = (session.load(f"{kind}/response_{m}") for m in ("mean", "std"))
    floor = protocol.STD_FLOOR * np.nanmean(std)
    std = np.where(std > floor, std, floor if floor > 0 else 1)  # NaN takes the floor as well
    return Moments(np.nan_to_num(mean), std.astype(np.float32))


def _kind(session: Session, kind: str) -> str:
    return "framewise" if kind == "released" and not session.has_released else kind


def _fit(x: np.ndarray, frames: int) -> np.ndarray:
    """Cut [f ...] to ``frames``, or repeat its last frame up to there."""
    return x[np.minimum(np.arange(frames), len(x) - 1)]


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
