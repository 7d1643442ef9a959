"""Compare two runs on the same trials.

A run is a workdir that was scored. For every tier: the correlation of both, in
single trials or of averages over repeats, B minus A with its 95 % interval, and the share of
neurons that B predicts better. The interval is over clips and neurons, drawn alike for both runs,
so that what is hard for both does not blur their difference. It says nothing of other mice, or of
training again with another seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.errors import UserError
from sensorium_jax.scores import intervals, results
from sensorium_jax.scores.correlation import OF_RESPONSE, correlate
from sensorium_jax.scores.report import TITLES
from sensorium_jax.scores.score import ALL, SINGLE_TRIAL
from sensorium_jax.tables import Row, Table


class Difference(NamedTuple):
    """Two runs on one tier, of one session or of all: correlations, mean over neurons.

    ``low`` and ``high`` are the 95 % interval of b - a over clips and neurons (``intervals``);
    ``better`` is the share of neurons that b predicts better.
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
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def compare(run_a: str | Path, run_b: str | Path, *, field: str = SINGLE_TRIAL) -> list[Difference]:
    """Differences by tier, of all sessions and of each.

    ``field`` is "single_trial" or "to_average".

    Raises:
        UserError: a run without scores, or runs that were not scored on the same trials.
    """
    a, b = read_pair(run_a, run_b, field=field)
    found = []
    for tier in dict.fromkeys(tier for tier, _ in a):
        sessions = [session for t, session in a if t == tier]
        mice = [(s, [s]) for s in sessions] if len(sessions) > 1 else []
        for label, names in ((ALL, sessions), *mice):
            pair = [[moments[tier, s] for s in names] for moments in (a, b)]
            draws = [intervals.bootstrap(clips) for clips in pair]
            low, high = intervals.interval(draws[1] - draws[0])
            found.append(Difference(tier, label, low=low, high=high, **means(*pair)))
    return found


def read_pair(
    run_a: str | Path, run_b: str | Path, *, field: str = SINGLE_TRIAL
) -> tuple[results.ClipMoments, results.ClipMoments]:
    """The moments of two runs.

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
        same = a[key].shape == b[key].shape and all(
            np.allclose(a[key][:, i], b[key][:, i], rtol=1e-6, atol=1e-6) for i in (0, *OF_RESPONSE)
        )
        if not same:
            raise UserError(
                f"expected both runs scored on the same trials, found other responses in {tier} of "
                f"{session}; compare runs on one store and with one table of tiers"
            )
    return a, b


def means(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> dict[str, float]:
    """What ``Difference`` calls a, b and better, from moments [K 6 N] of each session's clips."""
    x, y = (np.concatenate([correlate(clips.sum(0)) for clips in run]) for run in (a, b))
    shares = {"a": x.mean(), "b": y.mean(), "better": (y > x).mean()}
    return {name: float(value) for name, value in shares.items()}


def comparison_table(
    differences: Sequence[Difference], *, title: str, field: str = SINGLE_TRIAL
) -> Table:
    """One row a tier, and a mouse where there are several."""
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
