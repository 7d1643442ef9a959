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

TITLES = {  # columns of the full tables, beside intervals
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
    ``by_mouse`` means weigh every session alike, as the competition's winners do.

    Attributes:
        scores: of every session, tier and stimulus family.
        withheld: "tier" or "tier: session" whose responses are not public.
    """

    scores: tuple[Score, ...]
    withheld: tuple[str, ...] = ()
    _intervals: dict = dataclasses.field(
        init=False, default_factory=dict, repr=False, compare=False
    )

    def __add__(self, other: Report) -> Report:
        return Report(self.scores + other.scores, self.withheld + other.withheld)

    def select(self, tier: str, *, family: str = ALL) -> tuple[Score, ...]:
        """The scores of all sessions on a tier, or on one family of it; () if there are none."""
        return tuple(s for s in self.scores if s.tier == tier and s.family == family)

    def by_neuron(self, tier: str, *, family: str = ALL, field: str = SINGLE_TRIAL) -> float:
        """Mean of a score over the neurons of all sessions that have one; NaN if none has.

        Raises:
            UserError: no such score, tier or family in this report.
        """
        return _over_neurons(self._scores(tier, family), field)

    def by_mouse(self, tier: str, *, family: str = ALL, field: str = SINGLE_TRIAL) -> float:
        """Mean of a score over the sessions that have it; NaN if none has.

        Raises:
            UserError: no such score, tier or family in this report.
        """
        means = [s.mean(field).mean for s in self._scores(tier, family)]
        means = [m for m in means if m is not None]
        return _average(means, [1] * len(means))

    def median(self, tier: str, *, family: str = ALL, field: str = "cc_norm") -> float:
        """Median of a field of ``Score.by_neuron`` over the neurons of all sessions that have one.

        NaN if none has. Of a ratio such as CC norm, whose mean a few noisy neurons can carry
        anywhere.

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
        """The 95 % interval over clips and neurons (``intervals``) of ``by_neuron``.

        ``field`` is "single_trial" or "to_average". With ``session`` that of one mouse.

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
        """Whether the mice are simulated: their true rate is known."""
        return any(s.single_trial_ceiling is not None for s in self.scores)

    def table(self, *, title: str = "") -> Table:
        """One row a tier or family, means over neurons: what fits a terminal."""
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
            _number(single),
            _number(ceiling),
            "" if math.isnan(share) else f"{share:.0%}",
            _number(average),
            _number(average_ceiling),
        )
        return _labelled(tier, family, cells)

    def tier_table(self) -> Table:
        """One row a tier or family: every score, with intervals."""
        rows = []
        for tier, family in self.rows():
            scores = self.select(tier, family=family)
            spans = [self.interval(tier, family=family, field=f) for f in INTERVAL_SCORES]
            rows.append(_labelled(tier, family, (str(len(scores)), *_cells(scores, spans))))
        caption = " ".join([*self.caption().split("\n"), self._undefined()]).strip()
        return Table(("tier / stimuli", "mice", *_full_header()), tuple(rows), caption=caption)

    def mouse_table(self) -> Table:
        """One row a mouse, tier and family: every score, with intervals."""
        rows = []
        for s in self.scores:
            place = {"family": s.family, "session": s.session}
            spans = [self.interval(s.tier, **place, field=f) for f in INTERVAL_SCORES]
            cells = protocol.short_name(s.session), *_cells([s], spans)
            rows.append(_labelled(s.tier, s.family, cells))
        return Table(("tier / stimuli", "mouse", *_full_header()), tuple(rows))

    def caption(self) -> str:
        """What the scores are, and what is missing; one remark a line."""
        lines = ["Correlations, mean over neurons."]
        if self.simulated:
            lines.append("Ceiling: the simulated neurons' own true rate.")
        constant = sum(s.constant for s in self.scores if s.family == ALL)
        if constant:
            lines.append(f"{constant} constant predictions or responses counted as 0.")
        if self.withheld:
            lines.append(f"Responses withheld, not scored: {', '.join(self.withheld)}.")
        return "\n".join(lines)

    def _undefined(self) -> str:
        """How many neurons have no such score, by name."""
        scores = [s for s in self.scores if s.family == ALL]
        missing = {
            title: sum(s.neurons - s.mean(field).neurons for s in scores if field in s.defined)
            for field, title in TITLES.items()
        }
        counts = ", ".join(f"{title} {n}" for title, n in missing.items() if n)
        remark = "Not defined, and left out of means, neurons of all tiers:"
        return f"{remark} {counts}." if counts else ""

    def to_json(self) -> dict:
        """Plain values: every score, and the means over neurons and over mice."""
        values = {
            "scores": [s.to_json() for s in self.scores],
            "means": [self._means(tier, family) for tier, family in self.rows()],
            "withheld": self.withheld,
        }
        return plain(values)

    def _means(self, tier: str, family: str) -> dict:
        means = {"tier": tier, "family": family}
        for field in (SINGLE_TRIAL, TO_AVERAGE, *DEFINED_SCORES):
            for weights, mean in (("by_neuron", self.by_neuron), ("by_mouse", self.by_mouse)):
                means[f"{field}_{weights}"] = mean(tier, family=family, field=field)
        for field in INTERVAL_SCORES:
            means[f"{field}_interval"] = self.interval(tier, family=family, field=field)
        means["cc_norm_median"] = self.median(tier, family=family)
        return means

    def to_html(self) -> str:
        """A page of the tables alone; ``pages.report_page`` has the figures too."""
        body = f"<h1>Scores</h1>{self._repr_html_()}{self.mouse_table()._repr_html_()}"
        return f'<!doctype html><meta charset="utf-8"><title>Scores</title>{body}'

    def _repr_html_(self) -> str:
        if not self.scores:
            return f"<p>Nothing was scored. {html.escape(self.caption())}</p>"
        return self.tier_table()._repr_html_()

    def __str__(self) -> str:
        return str(self.table())

    def _scores(self, tier: str, family: str) -> tuple[Score, ...]:
        """``select`` that refuses what was not scored."""
        scores = self.select(tier, family=family)
        if not scores:
            tiers = list(dict.fromkeys(t for t, _ in self.rows()))
            there = hint(tier, tiers) if tier not in tiers else f"{tier} has no such stimuli"
            raise UserError(
                f"expected scores of {tier!r} ({family}), found none; {there}"
                if tiers
                else f"expected scores of {tier!r}, found none: nothing was scored"
            )
        return scores


def _labelled(tier: str, family: str, cells: Sequence[str]) -> Row:
    return Row((tier, *cells)) if family == ALL else Row((family, *cells), level=1)


def _average(values: Sequence[float], weights: Sequence[int]) -> float:
    return float(np.average(values, weights=weights)) if values else math.nan


def _over_neurons(scores: Sequence[Score], field: str) -> float:
    parts = [s.mean(field) for s in scores]
    parts = [p for p in parts if p.mean is not None]
    return _average([p.mean for p in parts], [p.neurons for p in parts])


def _median(scores: Sequence[Score], field: str) -> float:
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
    """What ``_full_header`` names, of the scores of some mice; ``spans`` of INTERVAL_SCORES."""
    cells = [str(sum(getattr(s, name) for s in scores)) for name in ("neurons", "trials")]
    span_of = dict(zip(INTERVAL_SCORES, spans, strict=True))
    for field in TITLES:
        average = _median if field == "cc_norm" else _over_neurons
        cells.append(_number(average(scores, field)))
        if field in span_of:
            cells.append(" to ".join(map(_number, span_of[field])))
    return cells


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
