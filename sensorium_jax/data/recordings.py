"""The sessions of a store with their neurons and statistics, padded and stacked for models."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.format import KINDS, Session, Store, Trial, TrialTable, open_store
from sensorium_jax.data.tiers import apply_table
from sensorium_jax.errors import UserError, hint
from sensorium_jax.types import Moments, Neurons, Statistics

ROUNDING = 1e-6  # a std below this share of the mean is that of a constant, summed in float32


class Recordings:
    """The sessions of a store with their neurons and statistics, padded and stacked for models.

    The neuron axis is padded to the largest session, rounded up to a ``multiple``.

    Attributes:
        store: the store.
        tiers: the tier table in place of the store's tiers; None: the store's.
        sessions: S sessions, in the order of every array's first axis.
        session_names: their names.
        simulated: whether all mice are simulated, so that their true rates are known.
        left_out: file numbers of trials that are in no tier, such as damaged ones, by session.
    """

    def __init__(
        self,
        store: Store,
        *,
        tiers: Path | None = None,
        multiple: int = 1,
        left_out: Mapping[str, Sequence[int]] | None = None,
    ):
        self.store, self.tiers, self.left_out = store, tiers, dict(left_out or {})
        self._multiple = multiple
        self.sessions: tuple[Session, ...] = store.sessions
        self.session_names = tuple(s.name for s in self.sessions)
        self.simulated = all(s.simulated for s in self.sessions)
        self._statistics: dict[str, Statistics] = {}  # by kind
        self._width = -(-max(s.neurons for s in self.sessions) // multiple) * multiple  # N

    def only(self, names: Sequence[str]) -> Recordings:
        """The recordings of these mice alone, in the order of the store.

        Raises:
            UserError: there is no mouse of that name.
        """
        for name in names:
            if name not in self.session_names:
                raise UserError(
                    f"no mouse {name!r} in {self.store.path}; {hint(name, self.session_names)}"
                )
        if set(names) == set(self.session_names):
            return self
        sessions = tuple(s for s in self.sessions if s.name in names)
        left_out = {name: self.left_out[name] for name in names if name in self.left_out}
        store = self.store._replace(sessions=sessions)
        return Recordings(store, tiers=self.tiers, left_out=left_out)

    def without(self, trials: Mapping[str, Sequence[int]]) -> Recordings:
        """The recordings with further trials left out, by session name and file number."""
        sessions, left_out = [], {}
        for session in self.sessions:
            chosen = {*self.left_out.get(session.name, ()), *trials.get(session.name, ())}
            if chosen:
                left_out[session.name] = sorted(chosen)
                skipped = np.isin(session.trials.number, left_out[session.name])
                names = np.where(skipped, protocol.MISSING, session.trials.tier)
                session = session.with_tiers(names)
            sessions.append(session)
        store = self.store._replace(sessions=tuple(sessions))
        options = {"tiers": self.tiers, "multiple": self._multiple}
        return Recordings(store, **options, left_out=left_out)

    def trials(self, session: int) -> TrialTable:
        """The trial table of a session, by its position in ``session_names``."""
        return self.sessions[session].trials

    @functools.cached_property
    def neuron_digests(self) -> dict[str, str]:
        """Digest of each session's unit ids in order, by name: identifies the neurons."""
        ids = (s.load("unit_ids").astype("<i8").tobytes() for s in self.sessions)
        digests = (hashlib.sha256(x).hexdigest()[:16] for x in ids)
        return dict(zip(self.session_names, digests, strict=True))

    @functools.cached_property
    def neurons(self) -> Neurons:
        """Neurons of all sessions: arrays [S N ...], padded."""
        mask = np.arange(self._width) < np.array([[s.neurons] for s in self.sessions])
        position, mean = [], []
        for session in self.sessions:
            moments = response_moments(session, "pooled")
            position.append(self._pad(session.load("position_um"), axis=0))
            mean.append(self._pad((moments.mean / moments.std)[0], axis=0))
        return Neurons(np.stack(position), np.stack(mean), mask)

    def statistics(self, kind: str) -> Statistics:
        """Mean and std by which inputs and responses are normalised: [S f ...].

            std = max(std, 0.01 <std>),    <> the mean over neurons and frames

        is the rule of the official loader (``NeuroNormalizer``) for responses. Inputs are divided
        by their std as it is; where that is zero, up to rounding, or NaN, the pooled one takes its
        place, and 1 where this is zero too. It is applied here, so that code on the device only
        divides.

        Args:
            kind: "released", for each frame of a clip, as they came with the recording;
                "framewise", for each frame, computed from the train tier (also used in place of
                "released" if none came with the recording); or "pooled" over frames (f = 1).

        Raises:
            UserError: there is no such kind.
        """
        if kind not in KINDS:
            raise UserError(f"expected statistics of kind {' or '.join(KINDS)}, got {kind!r}")
        if kind not in self._statistics:
            self._statistics[kind] = self._stack_statistics(kind)
        return self._statistics[kind]

    def _stack_statistics(self, kind: str) -> Statistics:
        frames = 1
        if kind != "pooled":
            frames = min(protocol.CLIP_FRAMES, max(s.frames for s in self.sessions))
        fields = {}
        for name in ("video", "behavior", "pupil_center"):
            fields[name] = [input_moments(s, kind, name) for s in self.sessions]
        fields["response"] = [
            Moments(self._pad(m.mean, axis=1), self._pad(m.std, axis=1, value=1))
            for m in (response_moments(s, kind) for s in self.sessions)
        ]
        return Statistics(
            **{
                name: Moments(
                    *(
                        np.stack([_fit_length(x, frames) for x in moment])
                        for moment in zip(*moments, strict=True)
                    )
                )
                for name, moments in fields.items()
            },
            trials=np.array([s.recorded_trials for s in self.sessions], np.float32),
        )

    def rows(self, session: int, tier: str) -> np.ndarray:
        """Rows of a session's trial table that belong to a tier, sorted by file number.

        Raises:
            UserError: there is no such tier.
        """
        if tier not in protocol.TIERS:
            raise UserError(f"no split {tier!r}; {hint(tier, protocol.TIERS)}")
        table = self.trials(session)
        rows = np.flatnonzero(table.tier == tier)
        return rows[np.argsort(table.number[rows])]

    def pad_trial(self, trial: Trial, frames: int) -> Trial:
        """Pad a trial with zeros, to ``frames`` and to the padded number of neurons."""
        padding = [(0, frames - len(trial.video))]
        video, behavior, pupil, response = (
            np.pad(x, padding + [(0, 0)] * (x.ndim - 1)) if padding[0][1] else x for x in trial
        )
        return Trial(video, behavior, pupil, self._pad(response, axis=1))

    def _pad(self, x: np.ndarray, *, axis: int, value: float = 0) -> np.ndarray:
        padding = [(0, 0)] * x.ndim
        padding[axis] = (0, self._width - x.shape[axis])
        return np.pad(x, padding, constant_values=value)


def load_recordings(
    path: str | Path, *, tiers: str | Path | None = None, multiple: int = 1
) -> Recordings:
    """Open a store for training and evaluation.

    Args:
        path: the store.
        tiers: a tier table in place of the store's tiers (``data.tiers``).
        multiple: pad the number of neurons to a multiple of this, so that devices can share them.

    Raises:
        UserError: there is no complete store at the path, or the table does not fit its trials.

    Examples:
        >>> load_recordings("nowhere")
        Traceback (most recent call last):
            ...
        sensorium_jax.errors.UserError: no store at nowhere; name the folder it was moved ...
    """
    store = open_store(Path(path))
    if tiers is None:
        return Recordings(store, multiple=multiple)
    return Recordings(apply_table(store, Path(tiers)), tiers=Path(tiers), multiple=multiple)


def input_moments(session: Session, kind: str, field: str) -> Moments:
    """Mean and std [f ...] of an input; where they are not finite, the pooled ones."""
    kind = _kind(session, kind)
    pooled_mean, pooled_std = (session.load(f"pooled/{field}_{m}") for m in ("mean", "std"))
    mean, std = (session.load(f"{kind}/{field}_{m}") for m in ("mean", "std"))
    mean = np.where(np.isfinite(mean), mean, pooled_mean)
    pooled_std = np.where(_varies(pooled_mean, pooled_std), pooled_std, np.float32(1))
    return Moments(mean, np.where(_varies(mean, std), std, pooled_std))


def _varies(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Whether a std is more than the rounding error of a constant."""
    return np.isfinite(std) & (std > ROUNDING * np.abs(mean))


def response_moments(session: Session, kind: str) -> Moments:
    """Mean and std [f N] of responses, the std floored as the official loader does."""
    kind = _kind(session, kind)
    mean, std = (session.load(f"{kind}/response_{m}") for m in ("mean", "std"))
    floor = protocol.STD_FLOOR * np.nanmean(std)
    std = np.where(std > floor, std, floor if floor > 0 else 1)  # NaN becomes the floor as well
    return Moments(np.nan_to_num(mean), std.astype(np.float32))


def _kind(session: Session, kind: str) -> str:
    return "framewise" if kind == "released" and not session.has_released else kind


def _fit_length(x: np.ndarray, frames: int) -> np.ndarray:
    """[f ...] cut to ``frames``, or extended to them by its last frame."""
    return x[np.minimum(np.arange(frames), len(x) - 1)]
