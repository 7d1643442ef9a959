"""Scores of one model: means, medians, intervals, tables and JSON."""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Sequence

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.errors import UserError, hint
from sensorium_jax.files import plain
from sensorium_jax.scores import intervals
from sensorium_jax.scores.score import (
    ALL,
    AVERAGE_CEILING,
    CEILING,
    DEFINED_SCORES,
    INTERVAL_SCORES,
    SINGLE_TRIAL,
    TO_AVERAGE,
    Score,
)
from sensorium_jax.tables import Row, Table

TITLES = {  # column titles of the full tables, without those of intervals
    SINGLE_TRIAL: "single trial",
    CEILING: "ceiling",
    TO_AVERAGE: "to average",
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

    Attributes:
        scores: of every session, tier and stimulus family.
        withheld: "tier" or "tier: session" whose responses are not public.
        too_short: number of trials that end before the first scored frame, and were left out.

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
    _intervals: dict = dataclasses.field(
        init=False, default_factory=dict, repr=False, compare=False
    )

    def __add__(self, other: Report) -> Report:
        return Report(
            self.scores + other.scores,
            self.withheld + other.withheld,
            self.too_short + other.too_short,
        )

    def select(self, tier: str, *, family: str = ALL) -> tuple[Score, ...]:
        """The scores of all sessions on a tier, or on one family of it; () if there are none.

        Examples:
            >>> Report(()).select("oracle")
            ()
        """
        return tuple(s for s in self.scores if s.tier == tier and s.family == family)

    def by_neuron(self, tier: str, *, family: str = ALL, field: str = SINGLE_TRIAL) -> float:
        """Mean of a score over all neurons for which it is defined; NaN if there is none.

        Raises:
            UserError: no such score, tier or family in this report.

        Examples:
            >>> score = Score("A", "oracle", "all", 60, 2, 0.2, 0.4, None, None, constant=0)
            >>> Report((score,)).by_neuron("train")
            Traceback (most recent call last):
                ...
            sensorium_jax.errors.UserError: expected scores of 'train' (all), found none; ...
        """
        return _neuron_mean(self._scores(tier, family), field)

    def by_mouse(self, tier: str, *, family: str = ALL, field: str = SINGLE_TRIAL) -> float:
        """Mean over sessions of a score's mean over neurons; NaN if it is defined in no session.

        Raises:
            UserError: no such score, tier or family in this report.
        """
        means = [s.mean(field).mean for s in self._scores(tier, family)]
        means = [m for m in means if m is not None]
        return _average(means, [1] * len(means))

    def median(self, tier: str, *, family: str = ALL, field: str = "cc_norm") -> float:
        """Median of a field of ``Score.by_neuron`` over all neurons; NaN if it is never defined.

        For ratios such as CC norm, whose mean is dominated by a few noisy neurons.

        Raises:
            UserError: no such score, tier or family in this report.
        """
        return _median(self._scores(tier, family), field)

    def interval(
        self,
        tier: str,
        *,
        family: str = ALL,
        session: str | None = None,
        field: str = SINGLE_TRIAL,
    ) -> tuple[float, float]:
        """The 95 % interval of ``by_neuron`` over clips and neurons (``intervals``).

        Args:
            tier: tier name.
            family: stimulus family, or "all".
            session: of this session alone; None: of all sessions.
            field: "single_trial" or "to_average".

        Raises:
            UserError: no such tier, family or session in this report, or a score without interval.
        """
        if field not in INTERVAL_SCORES:
            raise UserError(
                f"expected an interval of {' or '.join(INTERVAL_SCORES)}, got {field!r}"
            )
        key = tier, family, session, field
        if key not in self._intervals:
            scores = self._scores(tier, family)
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
            The ceiling is the score of a simulated mouse's true rate, the share is score / ceiling:

            >>> score = Score("A", "oracle", "all", 60, 2, 0.3, 0.4, 0.6, 0.8, constant=0)
            >>> print(Report((score,)).table())
            tier / stimuli  mice  trials  single trial  ceiling  share  to average  ceiling
            oracle             1      60         0.300    0.600    50%       0.400    0.800
            Correlations, mean over neurons.
            Ceiling: the simulated neurons' own true rate.
        """
        header = (
            "tier / stimuli",
            "mice",
            "trials",
            "single\ntrial",
            "ceiling",
            "share",
            "to\naverage",
            "ceiling",
        )
        rows = tuple(self._row(tier, family) for tier, family in self.rows())
        return Table(header, rows, title, self.caption())

    def _row(self, tier: str, family: str) -> Row:
        single, ceiling, average, average_ceiling = (
            self.by_neuron(tier, family=family, field=field)
            for field in (SINGLE_TRIAL, CEILING, TO_AVERAGE, AVERAGE_CEILING)
        )
        share, scores = single / ceiling, self.select(tier, family=family)
        cells = (
            str(len(scores)),
            str(sum(s.trials for s in scores)),
            _format(single),
            _format(ceiling),
            "" if math.isnan(share) else f"{share:.0%}",
            _format(average),
            _format(average_ceiling),
        )
        return _table_row(tier, family, cells)

    def tier_table(self) -> Table:
        """One row a tier or family: every score, with intervals."""
        rows = []
        for tier, family in self.rows():
            scores = self.select(tier, family=family)
            spans = [self.interval(tier, family=family, field=f) for f in INTERVAL_SCORES]
            rows.append(_table_row(tier, family, (str(len(scores)), *_cells(scores, spans))))
        caption = " ".join([*self.caption().split("\n"), self._undefined_counts()]).strip()
        return Table(("tier / stimuli", "mice", *_full_header()), tuple(rows), caption=caption)

    def mouse_table(self) -> Table:
        """One row a mouse, tier and family: every score, with intervals."""
        rows = []
        for s in self.scores:
            selection = {"family": s.family, "session": s.session}
            spans = [self.interval(s.tier, **selection, field=f) for f in INTERVAL_SCORES]
            cells = protocol.short_name(s.session), *_cells([s], spans)
            rows.append(_table_row(s.tier, s.family, cells))
        return Table(("tier / stimuli", "mouse", *_full_header()), tuple(rows))

    def caption(self) -> str:
        """Remarks on the scores and on missing ones, one a line."""
        lines = ["Correlations, mean over neurons."]
        if self.simulated:
            lines.append("Ceiling: the simulated neurons' own true rate.")
        constant = sum(s.constant for s in self.scores if s.family == ALL)
        if constant:
            lines.append(f"{constant} constant predictions or responses counted as 0.")
        if self.too_short:
            lines.append(f"{self.too_short} trials too short to be scored were left out.")
        if self.withheld:
            lines.append(f"Responses withheld, not scored: {', '.join(self.withheld)}.")
        return "\n".join(lines)

    def _undefined_counts(self) -> str:
        """A remark on the number of neurons for which each score is not defined."""
        scores = [s for s in self.scores if s.family == ALL]
        missing = {
            title: sum(s.neurons - s.mean(field).neurons for s in scores if field in s.defined)
            for field, title in TITLES.items()
        }
        counts = ", ".join(f"{title} {n}" for title, n in missing.items() if n)
        remark = "Not defined, and left out of means, neurons of all tiers:"
        return f"{remark} {counts}." if counts else ""

    def to_json(self) -> dict:
        """Plain values: every score, and the means over neurons and over mice with intervals."""
        values = {
            "scores": [s.to_json() for s in self.scores],
            "means": [self._means(tier, family) for tier, family in self.rows()],
            "withheld": self.withheld,
            "too_short": self.too_short,
        }
        return plain(values)

    def _means(self, tier: str, family: str) -> dict:
        means: dict[str, str | float | tuple[float, float]] = {"tier": tier, "family": family}
        for field in (SINGLE_TRIAL, TO_AVERAGE, *DEFINED_SCORES):
            for weights, mean in (("by_neuron", self.by_neuron), ("by_mouse", self.by_mouse)):
                means[f"{field}_{weights}"] = mean(tier, family=family, field=field)
        for field in INTERVAL_SCORES:
            means[f"{field}_interval"] = self.interval(tier, family=family, field=field)
        means["cc_norm_median"] = self.median(tier, family=family)
        return means

    def to_html(self) -> str:
        """An HTML page of the tables; ``pages.sections.report_page`` has the figures too."""
        body = f"<h1>Scores</h1>{self._repr_html_()}{self.mouse_table()._repr_html_()}"
        return f'<!doctype html><meta charset="utf-8"><title>Scores</title>{body}'

    def _repr_html_(self) -> str:
        if not self.scores:
            return f"<p>Nothing was scored. {html.escape(self.caption())}</p>"
        return self.tier_table()._repr_html_()

    def __str__(self) -> str:
        return str(self.table())

    def _scores(self, tier: str, family: str) -> tuple[Score, ...]:
        """``select``; raises ``UserError`` if nothing is selected."""
        scores = self.select(tier, family=family)
        if not scores:
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


def _full_header() -> list[str]:
    header = ["neurons", "trials"]
    for field, title in TITLES.items():
        header += [title, "95 % interval"] if field in INTERVAL_SCORES else [title]
    return header


def _cells(scores: Sequence[Score], spans: Sequence[tuple[float, float]]) -> list[str]:
    """Cells below ``_full_header``, of several sessions' scores and the ends of their intervals."""
    cells = [str(sum(getattr(s, name) for s in scores)) for name in ("neurons", "trials")]
    ends = dict(zip(INTERVAL_SCORES, spans, strict=True))
    for field in TITLES:
        average = _median if field == "cc_norm" else _neuron_mean
        cells.append(_format(average(scores, field)))
        if field in ends:
            cells.append(" to ".join(map(_format, ends[field])))
    return cells


def _format(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
