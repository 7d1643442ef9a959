"""Scores of a run as a table and as JSON."""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from sensorium_jax import pages, uncertainty
from sensorium_jax.errors import UserError
from sensorium_jax.metrics import Defined, Example, correlate

ALL = "all"  # the family of a row that holds a whole tier
CEILING = "single_trial_ceiling"
SINGLE_TRIAL, TO_AVERAGE = DRAWN = "single_trial", "to_average"  # scores with an interval
FURTHER = (
    TO_AVERAGE,
    "to_average_by_clip",
    "cc_norm",
    "feve",
    "oracle",
    "oracle_conservative",
    "per_trial",
    "log_likelihood",
    "bits",
)
# Columns of a page's tables, beside intervals.
SHOWN = {
    SINGLE_TRIAL: "single trial",
    CEILING: "ceiling",
    TO_AVERAGE: "to average",
    "cc_norm": "median CC norm",
    "feve": "FEVE",
    "oracle": "oracle, jackknife",
    "oracle_conservative": "conservative",
    "bits": "bits",
}
_HEADER = ["neurons", "trials"] + [
    column
    for field, name in SHOWN.items()
    for column in ([name, "95 % interval"] if field in DRAWN else [name])
]


class Partial(NamedTuple):
    """A score that some neurons have: the mean over these (None if none has), and their number."""

    mean: float | None = None
    neurons: int = 0

    @classmethod
    def of(cls, score: Defined) -> Partial:
        """Of one session's neurons."""
        return cls(score.mean(), int(score.defined.sum()))


@dataclasses.dataclass(frozen=True)
class Score:
    """Scores of one session on one tier, or on one stimulus family of it.

    Attributes:
        session: session name.
        tier: tier name.
        family: stimulus family, or "all".
        trials: number of trials scored.
        neurons: number of neurons.
        single_trial: mean over neurons of the single-trial correlation.
        to_average: mean over neurons of the correlation to average.
        single_trial_ceiling: what the true rate of a simulated mouse scores; None on recordings.
        to_average_ceiling: likewise.
        constant: neurons whose prediction or response is constant; each counts as 0.
        defined: scores that not every neuron has, by name: those of ``metrics``' ``Repeats`` and
            ``PoissonSums``, and "per_trial".
        clips: for "single_trial" and "to_average", [K 6 N] moments of each clip, from which
            intervals are drawn (``uncertainty``).
        example: best, median and worst neuron on one clip.
        by_neuron: [N] of every neuron, NaN where undefined: "oracle" (jackknife),
            "oracle_conservative", "cc_norm" and, of simulated neurons, "single_trial_ceiling".
    """

    session: str
    tier: str
    family: str
    trials: int
    neurons: int
    single_trial: float
    to_average: float
    single_trial_ceiling: float | None
    to_average_ceiling: float | None
    constant: int
    defined: dict[str, Partial] = dataclasses.field(default_factory=dict)
    clips: dict[str, np.ndarray] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )
    example: Example | None = dataclasses.field(default=None, repr=False, compare=False)
    by_neuron: dict[str, np.ndarray] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )

    def values(self) -> np.ndarray:
        """The single-trial correlation of every neuron: [N]."""
        return correlate(self.clips[SINGLE_TRIAL].sum(0))

    def mean(self, field: str) -> Partial:
        """A score by name, and how many neurons it is the mean of."""
        if hasattr(self, field):
            return Partial(getattr(self, field), self.neurons)
        return self.defined.get(field, Partial())

    def to_json(self) -> dict:
        """Plain values."""
        whole = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name not in ("defined", "clips", "example", "by_neuron")
        }
        for name, (mean, neurons) in self.defined.items():
            whole |= {name: mean, f"{name}_neurons": neurons}
        return whole


@dataclasses.dataclass(frozen=True)
class Report:
    """Scores of one model on one or more tiers.

    ``by_neuron`` means weigh every neuron of every session alike, as the starter kit does;
    ``by_mouse`` means weigh every session alike, as the competition's winners do.
    """

    scores: tuple[Score, ...]
    withheld: tuple[str, ...] = ()  # "tier" or "tier: session" whose responses are not public
    _intervals: dict = dataclasses.field(default_factory=dict, repr=False, compare=False)  # drawn

    def __add__(self, other: Report) -> Report:
        return Report(self.scores + other.scores, self.withheld + other.withheld)

    def select(self, tier: str, *, family: str = ALL) -> tuple[Score, ...]:
        """The scores of all sessions on a tier, or on one family of it."""
        return tuple(s for s in self.scores if s.tier == tier and s.family == family)

    def by_neuron(self, tier: str, *, family: str = ALL, field: str = "single_trial") -> float:
        """Mean of a field over the neurons of all sessions that have one; NaN if none has."""
        return _over_neurons(self.select(tier, family=family), field)

    def median(self, tier: str, *, family: str = ALL, field: str = "cc_norm") -> float:
        """Median of a field of ``Score.by_neuron`` over the neurons of all sessions that have one.

        NaN if none has. Of a ratio such as CC norm, whose mean a few noisy neurons can carry
        anywhere.
        """
        return _median(self.select(tier, family=family), field)

    def by_mouse(self, tier: str, *, family: str = ALL, field: str = "single_trial") -> float:
        """Mean of a field over the sessions that have it; NaN if none has."""
        means = [s.mean(field).mean for s in self.select(tier, family=family)]
        means = [m for m in means if m is not None]
        return _average(means, [1] * len(means))

    def interval(
        self,
        tier: str,
        *,
        family: str = ALL,
        session: str | None = None,
        field: str = SINGLE_TRIAL,
    ) -> tuple[float, float]:
        """The 95 % interval over clips and neurons (``uncertainty``) of ``by_neuron``.

        ``field`` is "single_trial" or "to_average". With ``session`` that of one mouse.

        Raises:
            UserError: nothing was scored there, or no interval is known of this score.
        """
        if field not in DRAWN:
            raise UserError(f"expected an interval of {' or '.join(DRAWN)}, got {field!r}")
        key = tier, family, session, field
        if key not in self._intervals:
            chosen = [s for s in self.select(tier, family=family) if session in (None, s.session)]
            if not chosen:
                raise UserError(
                    f"expected scores of {tier!r} ({family}, {session or 'all mice'}), found none; "
                    f"there are {', '.join(dict.fromkeys(t for t, _ in self.rows())) or 'none'}"
                )
            draws = uncertainty.bootstrap([s.clips[field] for s in chosen])
            self._intervals[key] = uncertainty.interval(draws)
        return self._intervals[key]

    def rows(self) -> list[tuple[str, str]]:
        """(tier, family) in order of evaluation."""
        return list(dict.fromkeys((s.tier, s.family) for s in self.scores))

    def table(self, *, title: str | None = None) -> Table:
        """A table for the terminal: one row a tier or family, means over neurons."""
        table = Table(
            title=title, title_justify="left", caption_justify="left", collapse_padding=True
        )
        table.caption = self._caption()
        table.add_column("tier / stimuli", no_wrap=True)
        for name in (
            "mice",
            "trials",
            "single\ntrial",
            "ceiling",
            "share",
            "to\naverage",
            "ceiling",
        ):
            table.add_column(name, justify="right", no_wrap=True)
        for tier, family in self.rows():
            of = {
                f: self.by_neuron(tier, family=family, field=f)
                for f in (
                    "single_trial",
                    "single_trial_ceiling",
                    "to_average",
                    "to_average_ceiling",
                )
            }
            sessions = self.select(tier, family=family)
            share = of["single_trial"] / of["single_trial_ceiling"]
            table.add_row(
                tier if family == ALL else f"  {family}",
                str(len(sessions)),
                str(sum(s.trials for s in sessions)),
                _number(of["single_trial"]),
                _number(of["single_trial_ceiling"]),
                "" if math.isnan(share) else f"{share:.0%}",
                _number(of["to_average"]),
                _number(of["to_average_ceiling"]),
                style=None if family == ALL else "dim",
            )
        return table

    def _caption(self) -> str:
        lines = ["Correlations, mean over neurons."]
        if self.simulated:
            lines.append("Ceiling: the simulated neurons' own true rate.")
        whole = [s for s in self.scores if s.family == ALL]
        constant = sum(s.constant for s in whole)
        if constant:
            lines.append(f"{constant} constant predictions or responses counted as 0.")
        if self.withheld:
            lines.append(f"Responses withheld, not scored: {', '.join(self.withheld)}.")
        return "\n".join(lines)

    @property
    def simulated(self) -> bool:
        """Whether the mice are simulated: their true rate is known."""
        return any(s.single_trial_ceiling is not None for s in self.scores)

    def to_html(self) -> str:
        """A page of its own, with tables and figures."""
        return pages.render("Scores", "<h1>Scores</h1>", *self.sections())

    def sections(self) -> list[str]:
        """The fragments of that page: scores and intervals, mice, distributions."""
        from sensorium_jax import figures  # which imports this file

        if not self.scores:
            return [f"<p>Nothing was scored. {html.escape(self._caption())}</p>"]
        return [
            "<h2>Scores</h2>",
            pages.figure(figures.scores(self), figures.scores_caption(self)),
            self._repr_html_(),
            "<h2>By mouse</h2>",
            pages.table(*self._by_mouse()),
            "<h2>Neurons</h2>",
            pages.figure(figures.histograms(self), "Single-trial correlation of every neuron."),
        ]

    def _repr_html_(self) -> str:
        rows = []
        for tier, family in self.rows():
            chosen = self.select(tier, family=family)
            name = tier if family == ALL else f"\u2003{family}"
            intervals = [self.interval(tier, family=family, field=f) for f in DRAWN]
            rows.append([name, str(len(chosen)), *_cells(chosen, intervals)])
        table = pages.table(["tier / stimuli", "mice", *_HEADER], rows)
        text = [*self._caption().split("\n"), self._undefined()]
        return f"{table}<p>{html.escape(' '.join(text))}</p>"

    def _undefined(self) -> str:
        """How many neurons have no such score, by name."""
        whole = [s for s in self.scores if s.family == ALL]
        without = {
            name: sum(s.neurons - s.mean(field).neurons for s in whole if field in s.defined)
            for field, name in SHOWN.items()
        }
        found = ", ".join(f"{name} {n}" for name, n in without.items() if n)
        return (
            f"Not defined, and left out of means, neurons of all tiers: {found}." if found else ""
        )

    def _by_mouse(self) -> tuple[list[str], list[list[str]]]:
        rows = []
        for s in self.scores:
            name = s.tier if s.family == ALL else f"\u2003{s.family}"
            of = {"family": s.family, "session": s.session}
            intervals = [self.interval(s.tier, **of, field=f) for f in DRAWN]
            mouse = s.session.partition("-Video-")[0].removeprefix("dynamic")
            rows.append([name, mouse, *_cells([s], intervals)])
        return ["tier / stimuli", "mouse", *_HEADER], rows

    def to_json(self) -> dict:
        """Plain values: every score, and the means over neurons and over mice."""
        return {
            "scores": [s.to_json() for s in self.scores],
            "means": [
                {
                    "tier": tier,
                    "family": family,
                    "single_trial_by_neuron": self.by_neuron(tier, family=family),
                    **{f"{f}_interval": self.interval(tier, family=family, field=f) for f in DRAWN},
                    "single_trial_by_mouse": self.by_mouse(tier, family=family),
                    "cc_norm_median": _or_none(self.median(tier, family=family)),
                    **{
                        f"{field}_{weights}": _or_none(mean(tier, family=family, field=field))
                        for field in FURTHER
                        for weights, mean in (
                            ("by_neuron", self.by_neuron),
                            ("by_mouse", self.by_mouse),
                        )
                    },
                }
                for tier, family in self.rows()
            ],
            "withheld": list(self.withheld),
        }

    def __str__(self) -> str:
        console = Console(width=110)
        with console.capture() as capture:
            console.print(self.table())
        return capture.get()


def _average(values: Sequence[float], weights: Sequence[int]) -> float:
    return float(np.average(values, weights=weights)) if values else math.nan


def _over_neurons(scores: Sequence[Score], field: str) -> float:
    parts = [s.mean(field) for s in scores]
    parts = [p for p in parts if p.mean is not None]
    return _average([p.mean for p in parts], [p.neurons for p in parts])


def _median(scores: Sequence[Score], field: str) -> float:
    values = [s.by_neuron[field] for s in scores if field in s.by_neuron]
    known = np.concatenate([v[np.isfinite(v)] for v in values]) if values else np.empty(0)
    return float(np.median(known)) if len(known) else math.nan


def _cells(scores: Sequence[Score], intervals: Sequence[tuple[float, float]]) -> list[str]:
    """What ``_HEADER`` names, of the scores of some mice; ``intervals`` are of ``DRAWN``."""
    cells = [str(sum(getattr(s, name) for s in scores)) for name in ("neurons", "trials")]
    drawn = dict(zip(DRAWN, intervals, strict=True))
    for field in SHOWN:
        average = _median if field == "cc_norm" else _over_neurons
        cells.append(_number(average(scores, field)))
        if field in drawn:
            cells.append(" to ".join(map(_number, drawn[field])))
    return cells


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
