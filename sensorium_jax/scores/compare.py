"""Compare two runs on the same trials.

A run is a workdir that was scored. For every tier: the correlation of both runs, in single trials
or of averages over repeats, the difference B - A with its 95 % interval, and the share of neurons
that B predicts better. The interval is over clips and neurons, with the same resampled clips and
neurons for both runs, so that variation which both runs share cancels. It does not cover other mice
or other seeds of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.errors import UserError
from sensorium_jax.scores import intervals, results
from sensorium_jax.scores.correlation import RESPONSE_MOMENTS, correlate
from sensorium_jax.scores.report import TITLES
from sensorium_jax.scores.score import ALL, SINGLE_TRIAL
from sensorium_jax.tables import Row, Table


class Difference(NamedTuple):
    """Correlations of two runs on one tier, mean over neurons.

    Attributes:
        tier: tier name.
        session: session name, or "all".
        a: correlation of the first run.
        b: correlation of the second run.
        low: lower end of the 95 % interval of b - a over clips and neurons (``intervals``).
        high: upper end of that interval.
        better: share of neurons that the second run predicts better.

    Examples:
        >>> Difference("oracle", "all", a=0.25, b=0.27, low=0.01, high=0.03, better=0.8).clear
        True
        >>> Difference("oracle", "all", a=0.25, b=0.27, low=-0.01, high=0.05, better=0.6).clear
        False
    """

    tier: str
    session: str
    a: float
    b: float
    low: float
    high: float
    better: float

    @property
    def clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def compare(run_a: str | Path, run_b: str | Path, *, field: str = SINGLE_TRIAL) -> list[Difference]:
    """Differences by tier: over all sessions, then for each session.

    Args:
        run_a: workdir of the first run.
        run_b: workdir of the second run.
        field: "single_trial" or "to_average".

    Raises:
        UserError: a run without scores, or runs that were not scored on the same trials.
    """
    a, b = read_pair(run_a, run_b, field=field)
    differences = []
    for tier in dict.fromkeys(tier for tier, _ in a):
        sessions = [session for t, session in a if t == tier]
        mice = [(s, [s]) for s in sessions] if len(sessions) > 1 else []
        for label, names in ((ALL, sessions), *mice):
            pair = [[moments[tier, s] for s in names] for moments in (a, b)]
            draws = [intervals.bootstrap(clips) for clips in pair]
            low, high = intervals.interval(draws[1] - draws[0])
            differences.append(Difference(tier, label, low=low, high=high, **means(*pair)))
    return differences


def read_pair(
    run_a: str | Path, run_b: str | Path, *, field: str = SINGLE_TRIAL
) -> tuple[results.ClipMoments, results.ClipMoments]:
    """The clip moments of two runs.

    Raises:
        UserError: a run without scores, or runs that were not scored on the same trials.
    """
    runs = Path(run_a), Path(run_b)
    a, b = (results.read_moments(run, field) for run in runs)
    for key in a.keys() | b.keys():
        tier, session = key
        if key not in a or key not in b:
            run, missing = runs if key in a else runs[::-1]
            raise UserError(
                f"expected runs of the same recording: {tier} of {session} is in {run}, and not "
                f"in {missing}; compare runs on one store"
            )
        equal = a[key].shape == b[key].shape and all(
            np.allclose(a[key][:, i], b[key][:, i], rtol=1e-6, atol=1e-6)
            for i in (0, *RESPONSE_MOMENTS)
        )
        if not equal:
            raise UserError(
                f"expected both runs scored on the same trials, found other responses in {tier} of "
                f"{session}; compare runs on one store and with one table of tiers"
            )
    return a, b


def means(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> dict[str, float]:
    """``a``, ``b`` and ``better`` of a ``Difference``, from each session's clip moments [K 6 N].

    Examples:
        >>> perfect = np.array([[3, 0, 0, 2, 8, 4.0]]).T[None]  # [K 6 N], y = -1, 0, 1 and p = 2 y
        >>> constant = np.array([[3, 0, 0, 2, 0, 0.0]]).T[None]  # p = 0
        >>> {name: round(x, 6) for name, x in means([constant], [perfect]).items()}
        {'a': 0.0, 'b': 1.0, 'better': 1.0}
    """
    x, y = (np.concatenate([correlate(clips.sum(0)) for clips in run]) for run in (a, b))
    values = {"a": x.mean(), "b": y.mean(), "better": (y > x).mean()}
    return {name: float(value) for name, value in values.items()}


def comparison_table(
    differences: Sequence[Difference], *, title: str, field: str = SINGLE_TRIAL
) -> Table:
    """A table of differences: one row a tier, and below it one row a mouse if there are several.

    Examples:
        >>> difference = Difference("oracle", "all", 0.25, 0.27, low=0.01, high=0.03, better=0.8)
        >>> print(comparison_table([difference], title="A against B"))
        A against B
        tier / mouse       A       B     B - A     from       to  better
        oracle        0.2500  0.2700  +0.0200*  +0.0100  +0.0300     80%
        Correlation (single trial), mean over neurons. From, to: 95 % interval of B - A; * ...
    """
    caption = (
        f"Correlation ({TITLES[field]}), mean over neurons. From, to: 95 % interval of B - A; * "
        "where it leaves out 0.\nBetter: share of neurons that B predicts better."
    )
    header = "tier / mouse", "A", "B", "B - A", "from", "to", "better"
    return Table(header, tuple(map(_row, differences)), title, caption)


def _row(d: Difference) -> Row:
    name = d.tier if d.session == ALL else protocol.short_name(d.session)
    gain = f"{d.b - d.a:+.4f}{'*' if d.clear else ' '}"
    ends = f"{d.low:+.4f}", f"{d.high:+.4f}"
    cells = name, f"{d.a:.4f}", f"{d.b:.4f}", gain, *ends, f"{d.better:.0%}"
    return Row(cells, level=int(d.session != ALL))
