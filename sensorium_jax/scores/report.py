"""Scores of one model: means, medians, intervals, tables and JSON."""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.errors import UserError, hint
from sensorium_jax.files import plain
from sensorium_jax.scores import intervals
from sensorium_jax.scores.score import (
    ALL,
    ALL_NEURONS,
    AVERAGE_CEILING,
    AVERAGE_FLOOR,
    CEILING,
    DEFINED_SCORES,
    FLOOR,
    INTERVAL_SCORES,
    SINGLE_TRIAL,
    TO_AVERAGE,
    Score,
)
from sensorium_jax.scores.units import OFFICIAL, RAW, UNITS, check_units, warnings_of
from sensorium_jax.tables import Row, Table

SMALLEST_RANGE = 0.02  # of ceiling - floor, below which the share is not defined
TITLES = {  # column titles of the full tables, without those of intervals
    SINGLE_TRIAL: "single trial",
    FLOOR: "floor",
    CEILING: "ceiling",
    TO_AVERAGE: "to average",
    AVERAGE_FLOOR: "its floor",
    "cc_norm": "median CC norm",
    "feve": "FEVE",
    "oracle": "oracle, jackknife",
    "oracle_conservative": "conservative",
    "bits": "bits",
}


@dataclasses.dataclass(frozen=True)
class Report:
    """Scores of one model on one or more tiers.

    ``by_neuron`` means weigh every neuron of every session alike, as the starter kit does;
    ``by_mouse`` means weigh every session alike, as the competition's winners do. ``a + b`` holds
    the scores of both reports.

    Scores have units (``scores.units``). Methods take ``units=``; without, they give the report's
    own or, for scores that exist in raw units only, the raw ones.

    Attributes:
        scores: of every session, tier, stimulus family and unit.
        withheld: "tier" or "tier: session" whose responses are not public.
        too_short: number of trials that end before the first scored frame, and were left out.
        units: "official" or "raw": what is shown first, and alone if raw.
        std_trials: fewest train trials that make a mouse's released std, the official unit; None
            if not known.

    Examples:
        Mouse A has one neuron, mouse B three:

        >>> a = Score("A", "oracle", "all", 60, 1, 0.2, 0.4, None, None, constant=0)
        >>> b = Score("B", "oracle", "all", 60, 3, 0.6, 0.8, None, None, constant=0)
        >>> report = Report((a,)) + Report((b,), withheld=("final_test_main",))
        >>> round(report.by_neuron("oracle"), 6), round(report.by_mouse("oracle"), 6)
        (0.5, 0.4)
        >>> round(report.by_neuron("oracle", field="to_average"), 6)
        0.7
        >>> report.rows(), report.withheld
        ([('oracle', 'all')], ('final_test_main',))
    """

    scores: tuple[Score, ...]
    withheld: tuple[str, ...] = ()
    too_short: int = 0
    units: str = RAW
    std_trials: int | None = None
    _intervals: dict = dataclasses.field(
        init=False, default_factory=dict, repr=False, compare=False
    )

    def __add__(self, other: Report) -> Report:
        return dataclasses.replace(
            self,
            scores=self.scores + other.scores,
            withheld=self.withheld + other.withheld,
            too_short=self.too_short + other.too_short,
        )

    def in_units(self, units: str) -> Report:
        """The same scores, of which those in ``units`` are shown first.

        Raises:
            UserError: there are no such units.
        """
        other = dataclasses.replace(self, units=check_units(units))
        other._intervals.update(self._intervals)  # drawn already: of the same scores
        return other

    def select(
        self, tier: str, *, family: str = ALL, units: str | None = None
    ) -> tuple[Score, ...]:
        """The scores of all sessions on a tier, or on one family of it; () if there are none.

        Raises:
            UserError: there are no such units.

        Examples:
            >>> Report(()).select("oracle")
            ()
        """
        units = check_units(units or self.units)
        key = tier, family, units
        return tuple(s for s in self.scores if (s.tier, s.family, s.units) == key)

    def by_neuron(
        self,
        tier: str,
        *,
        family: str = ALL,
        field: str = SINGLE_TRIAL,
        units: str | None = None,
    ) -> float:
        """Mean of a score over all neurons for which it is defined; NaN if there is none.

        Raises:
            UserError: no such score, tier, family or units in this report.

        Examples:
            >>> score = Score("A", "oracle", "all", 60, 2, 0.2, 0.4, None, None, constant=0)
            >>> Report((score,)).by_neuron("train")
            Traceback (most recent call last):
                ...
            sensorium_jax.errors.UserError: expected scores of 'train' (all), found none; ...
        """
        return _neuron_mean(self._scores(tier, family, self._units_of(field, units)), field)

    def by_mouse(
        self,
        tier: str,
        *,
        family: str = ALL,
        field: str = SINGLE_TRIAL,
        units: str | None = None,
    ) -> float:
        """Mean over sessions of a score's mean over neurons; NaN if it is defined in no session.

        Raises:
            UserError: no such score, tier, family or units in this report.
        """
        scores = self._scores(tier, family, self._units_of(field, units))
        means = [m for s in scores if (m := s.mean(field).mean) is not None]
        return _average(means, [1] * len(means))

    def median(self, tier: str, *, family: str = ALL, field: str = "cc_norm") -> float:
        """Median of a field of ``Score.by_neuron`` over all neurons; NaN if it is never defined.

        For ratios such as CC norm, whose mean is dominated by a few noisy neurons. In raw units.

        Raises:
            UserError: no such score, tier or family in this report.
        """
        return _median(self._scores(tier, family, RAW), field)

    def share(self, tier: str, *, family: str = ALL, units: str | None = None) -> float:
        """How much of what can be predicted is predicted: (score - floor) / (ceiling - floor).

        Of single-trial correlations, mean over neurons. NaN for recordings, whose ceiling is not
        known, and where the ceiling is less than ``SMALLEST_RANGE`` above the floor.

        Raises:
            UserError: no such tier, family or units in this report.

        Examples:
            >>> score = Score("A", "oracle", "all", 60, 2, 0.3, 0.4, 0.6, 0.8, constant=0)
            >>> Report((score,)).share("oracle")
            0.5
        """
        score, ceiling, floor = (
            self.by_neuron(tier, family=family, field=field, units=units)
            for field in (SINGLE_TRIAL, CEILING, FLOOR)
        )
        span = ceiling - floor
        return (score - floor) / span if span >= SMALLEST_RANGE else math.nan  # also if span is NaN

    def interval(
        self,
        tier: str,
        *,
        family: str = ALL,
        session: str | None = None,
        field: str = SINGLE_TRIAL,
        units: str | None = None,
    ) -> tuple[float, float]:
        """The 95 % interval of ``by_neuron`` over clips and neurons (``intervals``).

        Args:
            tier: tier name.
            family: stimulus family, or "all".
            session: of this session alone; None: of all sessions.
            field: "single_trial" or "to_average".
            units: "official" or "raw"; None: the report's.

        Raises:
            UserError: no such tier, family, session or units in this report, or a score without
                interval.
        """
        if field not in INTERVAL_SCORES:
            raise UserError(
                f"expected an interval of {' or '.join(INTERVAL_SCORES)}, got {field!r}"
            )
        units = check_units(units or self.units)
        key = tier, family, session, field, units
        if key not in self._intervals:
            scores = self._scores(tier, family, units)
            if session is not None:
                scores = tuple(s for s in scores if s.session == session)
            if not scores:
                raise UserError(f"expected scores of {session} on {tier} ({family}), found none")
            draws = intervals.bootstrap([s.clips[field] for s in scores])
            self._intervals[key] = intervals.interval(draws)
        return self._intervals[key]

    def rows(self) -> list[tuple[str, str]]:
        """(tier, family) in order of evaluation."""
        return list(dict.fromkeys((s.tier, s.family) for s in self.scores))

    @property
    def simulated(self) -> bool:
        """Whether the mice are simulated, so that their true rate is known."""
        return any(s.single_trial_ceiling is not None for s in self.scores)

    def table(self, *, title: str = "") -> Table:
        """One row a tier or family: means over neurons, narrow enough for a terminal.

        Examples:
            The ceiling is the score of a simulated mouse's true rate:

            >>> score = Score("A", "oracle", "all", 60, 2, 0.3, 0.4, 0.6, 0.8, constant=0)
            >>> print(Report((score,)).table())
            tier / stimuli  mice  trials  single trial  ceiling  share  to average  ceiling
            oracle             1      60         0.300    0.600    50%       0.400    0.800
            Correlations in raw units, mean over neurons.
            Ceiling: the simulated neurons' own true rate. Share: score / ceiling.
        """
        columns = self._columns()
        header = "tier / stimuli", "mice", "trials", *(name for name, _ in columns)
        rows = []
        for tier, family in self.rows():
            scores = self.select(tier, family=family)
            counts = str(len(scores)), str(sum(s.trials for s in scores))
            values = (cell(tier, family) for _, cell in columns)
            rows.append(_table_row(tier, family, (*counts, *values)))
        return Table(tuple(header), tuple(rows), title, self.caption())

    def _columns(self) -> list[tuple[str, Callable[[str, str], str]]]:
        """Titles of ``table``, and functions from tier and family to the text of a cell."""

        def mean(field: str, units: str | None = None) -> Callable[[str, str], str]:
            options = {"field": field, "units": units}
            return lambda tier, family: _format(self.by_neuron(tier, family=family, **options))

        def share(tier: str, family: str) -> str:
            value = self.share(tier, family=family)
            return "" if math.isnan(value) else f"{value:.0%}"

        ceiling = [("ceiling", mean(CEILING)), ("share", share)] if self.simulated else []
        single, average = ("single\ntrial", mean(SINGLE_TRIAL)), ("to\naverage", mean(TO_AVERAGE))
        if self.units == OFFICIAL:
            raw = "raw\nsingle", mean(SINGLE_TRIAL, RAW)
            rest = ceiling or [average]  # more columns than these do not fit into a terminal
            return [single, ("floor", mean(FLOOR)), *rest, raw]
        average_ceiling = [("ceiling", mean(AVERAGE_CEILING))] if self.simulated else []
        return [single, *ceiling, average, *average_ceiling]

    @property
    def unit_views(self) -> tuple[Report, ...]:
        """This report in the units of a page, one after the other: official never stands alone."""
        return (self, self.in_units(RAW)) if self.units == OFFICIAL else (self,)

    def tier_table(self) -> Table:
        """One row a tier or family: every score in the report's units, with intervals."""
        rows = []
        for tier, family in self.rows():
            scores = self.select(tier, family=family)
            spans = [self.interval(tier, family=family, field=f) for f in INTERVAL_SCORES]
            cells = str(len(scores)), *_cells(self.units, scores, spans)
            rows.append(_table_row(tier, family, cells))
        lines = self.caption().split("\n")
        if self.units == RAW:
            lines.append(self._undefined_counts())
        header = "tier / stimuli", "mice", *_full_header(self.units)
        return Table(header, tuple(rows), caption=" ".join(lines).strip())

    def mouse_table(self) -> Table:
        """One row a mouse, tier and family: every score in the report's units, with intervals."""
        rows = []
        for s in self.scores:
            if s.units != self.units:
                continue
            selection = {"family": s.family, "session": s.session}
            spans = [self.interval(s.tier, **selection, field=f) for f in INTERVAL_SCORES]
            cells = protocol.short_name(s.session), *_cells(self.units, [s], spans)
            rows.append(_table_row(s.tier, s.family, cells))
        return Table(("tier / stimuli", "mouse", *_full_header(self.units)), tuple(rows))

    def caption(self) -> str:
        """Remarks on the scores and on missing ones, one a line."""
        official = self.units == OFFICIAL
        lines = [f"Correlations in {self.units} units, mean over neurons."]
        if official:
            lines.append("Floor: what each neuron's mean rate scores (docs/floor.md).")
        if self.simulated:
            share = "(score - floor) / (ceiling - floor)" if official else "score / ceiling"
            lines.append(f"Ceiling: the simulated neurons' own true rate. Share: {share}.")
        lines += warnings_of(self.units, self.std_trials)
        constant = sum(s.constant for s in self.scores if s.family == ALL and s.units == self.units)
        if constant:
            lines.append(f"{constant} constant predictions or responses counted as 0.")
        if self.too_short:
            lines.append(f"{self.too_short} trials too short to be scored were left out.")
        if self.withheld:
            lines.append(f"Responses withheld, not scored: {', '.join(self.withheld)}.")
        return "\n".join(lines)

    def _undefined_counts(self) -> str:
        """A remark on the number of neurons for which each score is not defined."""
        scores = [s for s in self.scores if s.family == ALL and s.units == RAW]
        missing = {
            title: sum(s.neurons - s.mean(field).neurons for s in scores if field in s.defined)
            for field, title in TITLES.items()
        }
        counts = ", ".join(f"{title} {n}" for title, n in missing.items() if n)
        remark = "Not defined, and left out of means, neurons of all tiers:"
        return f"{remark} {counts}." if counts else ""

    def to_json(self) -> dict:
        """Plain values: every score, and the means over neurons and over mice with intervals.

        The means in the units that are shown first come first.
        """
        units = [u for u in UNITS if any(s.units == u for s in self.scores)]
        units.sort(key=lambda u: u != self.units)
        values = {
            "units": self.units,
            "std_trials": self.std_trials,
            "scores": [s.to_json() for s in self.scores],
            "means": [
                self._means(tier, family, units=u) for u in units for tier, family in self.rows()
            ],
            "withheld": self.withheld,
            "too_short": self.too_short,
        }
        return plain(values)

    def _means(self, tier: str, family: str, *, units: str) -> dict:
        selection = {"family": family, "units": units}
        means: dict[str, Any] = {"tier": tier, **selection}
        for field in (*ALL_NEURONS, *(DEFINED_SCORES if units == RAW else ())):
            for weights, mean in (("by_neuron", self.by_neuron), ("by_mouse", self.by_mouse)):
                means[f"{field}_{weights}"] = mean(tier, **selection, field=field)
        for field in INTERVAL_SCORES:
            means[f"{field}_interval"] = self.interval(tier, **selection, field=field)
        means["share"] = self.share(tier, **selection)
        if units == RAW:
            means["cc_norm_median"] = self.median(tier, family=family)
        return means

    def to_html(self) -> str:
        """An HTML page of the tables; ``pages.sections.report_page`` has the figures too."""
        mice = "".join(report.mouse_table()._repr_html_() for report in self.unit_views)
        body = f"<h1>Scores</h1>{self._repr_html_()}{mice}"
        return f'<!doctype html><meta charset="utf-8"><title>Scores</title>{body}'

    def _repr_html_(self) -> str:
        if not self.scores:
            return f"<p>Nothing was scored. {html.escape(self.caption())}</p>"
        return "".join(report.tier_table()._repr_html_() for report in self.unit_views)

    def __str__(self) -> str:
        return str(self.table())

    def _units_of(self, field: str, units: str | None) -> str:
        """The units to give a score in; ``UserError`` where it does not exist in them."""
        if field not in DEFINED_SCORES:
            return check_units(units or self.units)
        if check_units(units or RAW) != RAW:
            raise UserError(
                f"expected units 'raw' for {field}, which exists in no other, got {units!r}"
            )
        return RAW

    def _scores(self, tier: str, family: str, units: str) -> tuple[Score, ...]:
        """``select``; raises ``UserError`` if nothing is selected."""
        scores = self.select(tier, family=family, units=units)
        if not scores:
            if any((s.tier, s.family) == (tier, family) for s in self.scores):
                raise UserError(f"expected scores of {tier!r} in {units} units, found other units")
            tiers = list(dict.fromkeys(t for t, _ in self.rows()))
            advice = hint(tier, tiers) if tier not in tiers else f"{tier} has no such stimuli"
            raise UserError(
                f"expected scores of {tier!r} ({family}), found none; {advice}"
                if tiers
                else f"expected scores of {tier!r}, found none: nothing was scored"
            )
        return scores


def _table_row(tier: str, family: str, cells: Sequence[str]) -> Row:
    """A row of a tier, or of a family below its tier."""
    return Row((tier, *cells)) if family == ALL else Row((family, *cells), level=1)


def _average(values: Sequence[float], weights: Sequence[int]) -> float:
    return float(np.average(values, weights=weights)) if values else math.nan


def _neuron_mean(scores: Sequence[Score], field: str) -> float:
    """Mean of a score over the neurons of all sessions; NaN if it is defined for none."""
    means = [s.mean(field) for s in scores]
    means = [m for m in means if m.mean is not None]
    return _average([m.mean for m in means], [m.neurons for m in means])


def _median(scores: Sequence[Score], field: str) -> float:
    """Median of a score over the neurons of all sessions; NaN if it is defined for none."""
    names = {name for s in scores for name in s.by_neuron}
    if names and field not in names:
        raise UserError(f"no score of every neuron {field!r}; {hint(field, sorted(names))}")
    values = [s.by_neuron[field] for s in scores if field in s.by_neuron]
    finite = np.concatenate([v[np.isfinite(v)] for v in values]) if values else np.empty(0)
    return float(np.median(finite)) if len(finite) else math.nan


def _fields(units: str) -> list[str]:
    """The columns of the full tables in one unit: in raw units the floor is 0."""
    if units == OFFICIAL:
        return [field for field in TITLES if field in ALL_NEURONS]
    return [field for field in TITLES if field not in (FLOOR, AVERAGE_FLOOR)]


def _full_header(units: str) -> list[str]:
    header = ["neurons", "trials"]
    for field in _fields(units):
        title = TITLES[field]
        header += [title, "95 % interval"] if field in INTERVAL_SCORES else [title]
    return header


def _cells(units: str, scores: Sequence[Score], spans: Sequence[tuple[float, float]]) -> list[str]:
    """Cells below ``_full_header``, of several sessions' scores and the ends of their intervals."""
    cells = [str(sum(getattr(s, name) for s in scores)) for name in ("neurons", "trials")]
    ends = dict(zip(INTERVAL_SCORES, spans, strict=True))
    for field in _fields(units):
        average = _median if field == "cc_norm" else _neuron_mean
        cells.append(_format(average(scores, field)))
        if field in ends:
            cells.append(" to ".join(map(_format, ends[field])))
    return cells


def _format(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
