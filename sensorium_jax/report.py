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
from sensorium_jax.metrics import Defined, Example, correlate

ALL = "all"  # the family of a row that holds a whole tier
FURTHER = ("to_average", "cc_norm", "feve", "oracle", "per_trial", "log_likelihood", "bits")


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
        clips: [K 6 N] moments of each clip, from which intervals are drawn (``uncertainty``).
        example: best, median and worst neuron on one clip.
        reliability: [N] oracle correlation (jackknife) of every neuron, NaN where undefined.
        ceilings: [N] single-trial correlation of the true rate of simulated neurons.
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
    clips: np.ndarray | None = dataclasses.field(default=None, repr=False, compare=False)
    example: Example | None = dataclasses.field(default=None, repr=False, compare=False)
    reliability: np.ndarray | None = dataclasses.field(default=None, repr=False, compare=False)
    ceilings: np.ndarray | None = dataclasses.field(default=None, repr=False, compare=False)

    def values(self) -> np.ndarray:
        """The single-trial correlation of every neuron: [N]."""
        return correlate(self.clips.sum(0))

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
            if f.name not in ("defined", "clips", "example", "reliability", "ceilings")
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
        parts = [s.mean(field) for s in self.select(tier, family=family)]
        parts = [p for p in parts if p.mean is not None]
        return _average([p.mean for p in parts], [p.neurons for p in parts])

    def by_mouse(self, tier: str, *, family: str = ALL, field: str = "single_trial") -> float:
        """Mean of a field over the sessions that have it; NaN if none has."""
        means = [s.mean(field).mean for s in self.select(tier, family=family)]
        means = [m for m in means if m is not None]
        return _average(means, [1] * len(means))

    def interval(self, tier: str, *, family: str = ALL) -> tuple[float, float]:
        """The 95 % interval of ``by_neuron`` over clips and neurons (``uncertainty``)."""
        key = tier, family
        if key not in self._intervals:
            clips = [s.clips for s in self.select(tier, family=family)]
            self._intervals[key] = uncertainty.interval(uncertainty.bootstrap(clips))
        return self._intervals[key]

    def rows(self) -> list[tuple[str, str]]:
        """(tier, family) in order of evaluation."""
        return list(dict.fromkeys((s.tier, s.family) for s in self.scores))

    def table(self, *, title: str | None = None) -> Table:
        """A table for the terminal: one row a tier or family, means over neurons."""
        table = Table(title=title, title_justify="left", caption_justify="left")
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
            lines[0] += " Ceiling: the simulated neurons' own true rate."
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

        mark = " Marks: the true rate's score." if self.simulated else ""
        return [
            "<h2>Scores</h2>",
            pages.figure(
                figures.scores(self),
                "Single-trial correlation, mean over neurons, with its 95 % interval over clips "
                f"and neurons. Grey: each mouse.{mark}",
            ),
            self._repr_html_(),
            "<h2>By mouse</h2>",
            pages.table(*self._by_mouse()),
            "<h2>Neurons</h2>",
            pages.figure(figures.histograms(self), "Single-trial correlation of every neuron."),
        ]

    def _repr_html_(self) -> str:
        header = ["tier / stimuli", "mice", "trials", "single trial", "95 % interval", "ceiling"]
        header += ["to average", "CC norm", "FEVE", "oracle", "bits"]
        rows = []
        for tier, family in self.rows():
            sessions = self.select(tier, family=family)

            def mean(field: str, tier=tier, family=family) -> str:
                return _number(self.by_neuron(tier, family=family, field=field))

            interval = " to ".join(map(_number, self.interval(tier, family=family)))
            counts = str(len(sessions)), str(sum(s.trials for s in sessions))
            name = tier if family == ALL else f"\u2003{family}"
            fields = "single_trial_ceiling", "to_average", "cc_norm", "feve", "oracle", "bits"
            rows.append([name, *counts, mean("single_trial"), interval, *map(mean, fields)])
        caption = self._caption().replace("\n", " ")
        return f"{pages.table(header, rows)}<p>{html.escape(caption)}</p>"

    def _by_mouse(self) -> tuple[list[str], list[list[str]]]:
        tiers = [tier for tier, family in self.rows() if family == ALL]
        whole = [s for s in self.scores if s.family == ALL]
        values = {(s.session, s.tier): s.single_trial for s in whole}
        names = dict.fromkeys(s.session for s in self.scores)
        rows = [
            [
                name.partition("-Video-")[0],
                str(max(s.neurons for s in whole if s.session == name)),
                *(_number(values.get((name, tier), math.nan)) for tier in tiers),
            ]
            for name in names
        ]
        return ["mouse", "neurons", *tiers], rows

    def to_json(self) -> dict:
        """Plain values: every score, and the means over neurons and over mice."""
        return {
            "scores": [s.to_json() for s in self.scores],
            "means": [
                {
                    "tier": tier,
                    "family": family,
                    "single_trial_by_neuron": self.by_neuron(tier, family=family),
                    "single_trial_interval": self.interval(tier, family=family),
                    "single_trial_by_mouse": self.by_mouse(tier, family=family),
                    **{
                        f"{field}_by_neuron": _or_none(
                            self.by_neuron(tier, family=family, field=field)
                        )
                        for field in FURTHER
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


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
