"""Compare two runs on the same trials.

A run is a workdir that was scored. For every tier: the correlation of both runs, in single trials
or of averages over repeats, the difference B - A with its 95 % interval, and the share of neurons
that B predicts better. The interval is over clips and neurons, with the same resampled clips and
neurons for both runs, so that variation which both runs share cancels. It does not cover other mice
or other seeds of training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.errors import UserError
from sensorium_jax.scores import intervals, results
from sensorium_jax.scores.correlation import RESPONSE_MOMENTS, correlate
from sensorium_jax.scores.report import TITLES
from sensorium_jax.scores.score import ALL, AVERAGE_FLOOR, FLOOR, SINGLE_TRIAL
from sensorium_jax.scores.units import OFFICIAL, RAW, check_units, warnings_of
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
        floor: what each neuron's mean rate scores; 0 in raw units, NaN in reports before 0.2.

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
    floor: float = 0.0

    @property
    def clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def compare(
    run_a: str | Path, run_b: str | Path, *, field: str = SINGLE_TRIAL, units: str | None = None
) -> list[Difference]:
    """Differences by tier: over all sessions, then for each session.

    Args:
        run_a: workdir of the first run.
        run_b: workdir of the second run.
        field: "single_trial" or "to_average".
        units: "official" or "raw"; None: those that the report of the first run shows first.

    Raises:
        UserError: a run without scores in these units, or runs that were not scored on the same
            trials.
    """
    report = results.read_report(Path(run_a))
    units = check_units(units or results.units_of(report))
    a, b = read_pair(run_a, run_b, field=field, units=units)
    differences = []
    for tier in dict.fromkeys(tier for tier, _ in a):
        sessions = [session for t, session in a if t == tier]
        mice = [(s, [s]) for s in sessions] if len(sessions) > 1 else []
        for label, names in ((ALL, sessions), *mice):
            pair = [[moments[tier, s] for s in names] for moments in (a, b)]
            draws = [intervals.bootstrap(clips) for clips in pair]
            low, high = intervals.interval(draws[1] - draws[0])
            floor = _floor(report, tier, label, field) if units == OFFICIAL else 0.0
            values = means(*pair) | {"low": low, "high": high, "floor": floor}
            differences.append(Difference(tier, label, **values))
    return differences


def _floor(report: dict[str, Any], tier: str, session: str, field: str) -> float:
    """The floor of a score in official units: of all sessions, or of one."""
    key = FLOOR if field == SINGLE_TRIAL else AVERAGE_FLOOR
    rows = [row for row in report["scores"] if row["session"] == session]
    if session == ALL:
        rows, key = report["means"], f"{key}_by_neuron"
    for row in rows:
        if (row.get("units"), row["tier"], row["family"]) == (OFFICIAL, tier, ALL):
            return float(row[key])
    return math.nan


def read_pair(
    run_a: str | Path, run_b: str | Path, *, field: str = SINGLE_TRIAL, units: str | None = None
) -> tuple[results.ClipMoments, results.ClipMoments]:
    """The clip moments of two runs, in units as for ``compare``.

    Raises:
        UserError: a run without scores, or runs that were not scored on the same trials.
    """
    runs = Path(run_a), Path(run_b)
    units = units or results.units_of(results.read_report(runs[0]))
    a, b = (results.read_moments(run, field, units=units) for run in runs)
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
    differences: Sequence[Difference],
    *,
    title: str,
    field: str = SINGLE_TRIAL,
    units: str = RAW,
    std_trials: int | None = None,
) -> Table:
    """A table of differences: one row a tier, and below it one row a mouse if there are several.

    Examples:
        >>> difference = Difference("oracle", "all", 0.25, 0.27, low=0.01, high=0.03, better=0.8)
        >>> print(comparison_table([difference], title="A against B"))
        A against B
        tier / mouse       A       B     B - A     from       to  better
        oracle        0.2500  0.2700  +0.0200*  +0.0100  +0.0300     80%
        Correlation (single trial, raw units), mean over neurons. From, to: 95 % interval ...
        Better: ...
    """
    caption = (
        f"Correlation ({TITLES[field]}, {units} units), mean over neurons. From, to: 95 % interval "
        "of B - A;\n* where it leaves out 0. Better: share of neurons that B predicts better."
    )
    header = ["tier / mouse", "A", "B", "B - A", "from", "to", "better"]
    if units == OFFICIAL:
        header.append("floor")
        floor = "Floor: what each neuron's mean rate scores (docs/floor.md)."
        caption = "\n".join([caption, floor, *warnings_of(units, std_trials)])
    rows = tuple(_row(d, len(header)) for d in differences)
    return Table(tuple(header), rows, title, caption)


def _row(d: Difference, columns: int) -> Row:
    name = d.tier if d.session == ALL else protocol.short_name(d.session)
    gain = f"{d.b - d.a:+.4f}{'*' if d.clear else ' '}"
    ends = f"{d.low:+.4f}", f"{d.high:+.4f}"
    floor = "" if math.isnan(d.floor) else f"{d.floor:.4f}"
    cells = name, f"{d.a:.4f}", f"{d.b:.4f}", gain, *ends, f"{d.better:.0%}", floor
    return Row(cells[:columns], level=int(d.session != ALL))
