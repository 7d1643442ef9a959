"""``evaluate(params, split) -> Report``: the benchmark's scores, trial by trial."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import UserError, hint
from sensorium_jax.scores.correlation import SingleTrialCorrelation
from sensorium_jax.scores.report import Report
from sensorium_jax.scores.score import ALL
from sensorium_jax.scores.tally import PREDICTION, Constant, PredictedTrial, Tally
from sensorium_jax.scores.units import RAW, check_units, default_units, std_trials
from sensorium_jax.types import OnProgress


class Predictions(Protocol):
    """Predictions of a whole tier, trial by trial."""

    def __call__(
        self,
        params: Any,
        split: str,
        *,
        window: str = "starter",
        sessions: Sequence[int] | None = None,
        by_clip: bool = False,
    ) -> Iterator[PredictedTrial]:
        """Yield the scored frames of every trial of a tier.

        Args:
            params: the model's weights; a tuple of them for an ensemble.
            split: the tier.
            window: "starter" scores frames 50 to 299, "winners" 50 to 298 (``protocol.WINDOWS``).
            sessions: positions of the mice in ``session_names``; None: all.
            by_clip: yield the repeats of each clip one after the other; else trials by file number.

        Raises:
            UserError: there is no such tier or window.
            Diverged: a prediction is not finite.
        """
        ...


class Evaluate(Protocol):
    """Scores of a model on one tier, as a ``Report``."""

    def __call__(
        self,
        params: Any,
        split: str,
        *,
        window: str = "starter",
        units: str | None = None,
        on_trials: Callable[[int], None] = lambda n: None,
    ) -> Report:
        """Score the mice whose responses are public; for simulated mice also their true rate.

        The report holds scores in both units; ``units`` says which of them it shows first.

        Args:
            params: the model's weights; a tuple of them for an ensemble.
            split: the tier.
            window: "starter" or "winners", as for ``Predictions``.
            units: "official" or "raw" (``scores.units``); None: as ``default_units`` says.
            on_trials: called with the number of trials scored since the last call.

        Raises:
            UserError: there is no such tier, window or units, the tier has no trials, or all of
                its responses are withheld.
            Diverged: a prediction is not finite.
        """
        ...


def make_evaluate(predictions: Predictions, recordings: Recordings) -> Evaluate:
    """Build ``evaluate(params, split) -> Report`` from a function that predicts a tier."""

    def evaluate(
        params: Any,
        split: str,
        *,
        window: str = "starter",
        units: str | None = None,
        on_trials: Callable[[int], None] = lambda n: None,
    ) -> Report:
        units = check_units(units or default_units(recordings))
        cut = frames_cut(window)
        public, withheld, short = public_rows(recordings, split, cut=cut)
        common = {s: _common_frames(recordings, s, rows, cut) for s, rows in public.items()}
        families = {str(f) for s, rows in public.items() for f in recordings.trials(s).family[rows]}
        tallies: dict[tuple[int, str], Tally] = {}
        for trial in predictions(params, split, window=window, sessions=list(public), by_clip=True):
            on_trials(1)
            table, s = recordings.trials(trial.session), trial.session
            if not table.labelled[trial.row] or not len(trial.response):
                continue
            clip = str(table.clip[trial.row])
            groups = [ALL]
            if families != {protocol.NATURAL}:  # else the row of the whole tier is enough
                groups.append(str(table.family[trial.row]))
            for family in groups:
                if (s, family) not in tallies:
                    tallies[s, family] = Tally(trial)
                tallies[s, family].add(clip, trial, common=common[s][clip])
        names = recordings.session_names
        pairs = (
            tallies[s, family].scores(session=names[s], tier=split, family=family)
            for family in (ALL, *sorted(families))
            for s in range(len(names))
            if (s, family) in tallies
        )
        return Report(
            tuple(itertools.chain.from_iterable(pairs)),
            tuple(f"{split}: {names[s]}" for s in withheld),
            short,
            units=units,
            std_trials=std_trials(recordings),
        )

    return evaluate


def make_score(predictions: Predictions, recordings: Recordings) -> Callable[..., float]:
    """Build ``score(params, split, units=) -> float``: the single-trial correlation alone.

    It equals ``evaluate(params, split).by_neuron(split, units=units)`` at a small part of the
    host's work: training asks for it after every epoch.
    """

    def score(params: Any, split: str, *, units: str) -> float:
        public, _, _ = public_rows(recordings, split)
        sums: dict[int, tuple[SingleTrialCorrelation, Constant]] = {}
        for trial in predictions(params, split, sessions=list(public), by_clip=True):
            s, n = trial.session, trial.response.shape[1]
            if recordings.trials(s).labelled[trial.row] and len(trial.response):
                single, constant = sums.setdefault(s, (SingleTrialCorrelation(n), Constant(n)))
                response, rates = trial.in_units(units)
                clip = str(recordings.trials(s).clip[trial.row])
                single.add(clip, response, rates[PREDICTION])
                constant.add(trial.prediction)
        values = [
            np.where(constant.mask() & (units == RAW), 0, single.correlation().value)
            for single, constant in sums.values()
        ]
        return float(np.mean(np.concatenate(values)))

    return score


def evaluate_tiers(
    evaluate: Evaluate,
    params: Any,
    recordings: Recordings,
    *,
    tiers: Sequence[str] = protocol.EVALUATION_TIERS,
    window: str = "starter",
    units: str | None = None,
    on_progress: OnProgress = lambda what, done, total: None,
) -> Report:
    """Score every tier that has public responses; ``Report.withheld`` names the other tiers.

    Args:
        evaluate: scores one tier.
        params: the model's weights; a tuple of them for an ensemble.
        recordings: the sessions.
        tiers: the tiers to score.
        window: "starter" or "winners", as for ``Predictions``.
        units: "official" or "raw", as for ``Evaluate``.
        on_progress: called with a text that names the tier, the number of trials scored, and the
            number of trials of the tier.
    """
    units = check_units(units or default_units(recordings))
    report = Report((), units=units, std_trials=std_trials(recordings))
    for tier in tiers:
        rows = {s: recordings.rows(s, tier) for s in range(len(recordings.session_names))}
        public = sum(int(recordings.trials(s).labelled[r].sum()) for s, r in rows.items())
        if not public:
            if any(map(len, rows.values())):
                report = dataclasses.replace(report, withheld=(*report.withheld, tier))
            continue
        done = itertools.count(1)

        def on_trials(n: int, tier=tier, public=public, done=done) -> None:
            for _ in range(n):
                on_progress(f"scoring {tier}", next(done), public)

        report += evaluate(params, tier, window=window, units=units, on_trials=on_trials)
    return report


def frames_cut(window: str) -> int:
    """Number of frames at the end of every trial that a window of scored frames leaves out.

    Raises:
        UserError: there is no such window.

    Examples:
        >>> frames_cut("starter"), frames_cut("winners")
        (0, 1)
        >>> frames_cut("winner")
        Traceback (most recent call last):
            ...
        sensorium_jax.errors.UserError: no window 'winner'; did you mean winners?
    """
    if window not in protocol.WINDOWS:
        raise UserError(f"no window {window!r}; {hint(window, protocol.WINDOWS)}")
    return protocol.WINDOWS[window]


def public_rows(
    recordings: Recordings, tier: str, *, cut: int = 0
) -> tuple[dict[int, np.ndarray], tuple[int, ...], int]:
    """The trials of a tier that are scored.

    Args:
        recordings: the sessions.
        tier: the tier.
        cut: frames that are not scored at the end of every trial.

    Returns:
        Rows by session, sessions with withheld responses, and the number of trials that are too
        short to be scored.

    Raises:
        UserError: the tier has no trials, all its responses are withheld, or all its trials are too
            short.
    """
    rows = {s: recordings.rows(s, tier) for s in range(len(recordings.session_names))}
    if not any(map(len, rows.values())):
        raise UserError(
            f"expected trials of {tier} in {recordings.store.path}, found none; score another tier"
        )
    labelled = {s: r[recordings.trials(s).labelled[r]] for s, r in rows.items()}
    if not any(map(len, labelled.values())):
        raise UserError(
            f"responses of {tier} are withheld: make a submission (sensorium-jax submit write RUN "
            f"--out FOLDER), or score {protocol.ORACLE}"
        )
    shortest = protocol.SKIP_FRAMES + cut + 1
    scored = {s: r[recordings.trials(s).frames[r] >= shortest] for s, r in labelled.items()}
    short = sum(map(len, labelled.values())) - sum(map(len, scored.values()))
    if not any(map(len, scored.values())):
        raise UserError(
            f"expected trials of {tier} of {shortest} frames or more in {recordings.store.path}, "
            "found shorter ones only: nothing of them is scored; score another tier"
        )
    public = {s: r for s, r in scored.items() if len(r)}
    return public, tuple(s for s in rows if len(labelled[s]) < len(rows[s])), short


def _common_frames(
    recordings: Recordings, session: int, rows: np.ndarray, cut: int
) -> dict[str, int]:
    """Scored frames that all repeats of a clip have, by clip; flashed images vary by a few."""
    table = recordings.trials(session)
    frames = np.minimum(table.frames[rows], protocol.CLIP_FRAMES)
    frames = frames - protocol.SKIP_FRAMES - cut
    shortest: dict[str, int] = {}
    for clip, n in zip(table.clip[rows], frames, strict=True):
        shortest[str(clip)] = min(int(n), shortest.get(str(clip), int(n)))
    return shortest
