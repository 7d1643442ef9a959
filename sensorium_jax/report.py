"""Scores of a run as a table and as JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable

import numpy as np
from rich.console import Console
from rich.table import Table

ALL = "all"  # the family of a row that holds a whole tier


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
        single_trial_std: standard deviation over neurons of the single-trial correlation.
        feve: share of the explainable variance explained, mean over the neurons of which at least
            15 % of the variance is explainable; None if there is none.
        feve_neurons: the number of these.
        cc_norm: normalised correlation (Schoppe et al. 2016), mean over the neurons that have one.
        cc_norm_neurons: the number of these.
        oracle: correlation of each repeat with the mean of the others, mean over neurons: how
            reliable responses are. None without repeats.
        oracle_conservative: the same with the mean of all repeats, a high estimate.
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
    single_trial_std: float = math.nan
    feve: float | None = None
    feve_neurons: int = 0
    cc_norm: float | None = None
    cc_norm_neurons: int = 0
    oracle: float | None = None
    oracle_conservative: float | None = None


@dataclasses.dataclass(frozen=True)
class Report:
    """Scores of one model on one or more tiers.

    ``by_neuron`` means weigh every neuron of every session alike, as the starter kit does;
    ``by_mouse`` means weigh every session alike, as the competition's winners do.
    """

    scores: tuple[Score, ...]
    withheld: tuple[str, ...] = ()  # "tier" or "tier: session" whose responses are not public

    def __add__(self, other: Report) -> Report:
        return Report(self.scores + other.scores, self.withheld + other.withheld)

    def select(self, tier: str, *, family: str = ALL) -> tuple[Score, ...]:
        """The scores of all sessions on a tier, or on one family of it."""
        return tuple(s for s in self.scores if s.tier == tier and s.family == family)

    def by_neuron(self, tier: str, *, family: str = ALL, field: str = "single_trial") -> float:
        """Mean of a field over the neurons of all sessions that have one; NaN if none has."""
        count = f"{field}_neurons" if field in ("feve", "cc_norm") else "neurons"
        scores = [s for s in self.select(tier, family=family) if getattr(s, count)]
        return _mean(scores, field, weight=lambda s: getattr(s, count))

    def by_mouse(self, tier: str, *, family: str = ALL, field: str = "single_trial") -> float:
        """Mean of a field over sessions; NaN if there is none."""
        return _mean(self.select(tier, family=family), field, weight=lambda s: 1)

    def interval(self, tier: str, *, family: str = ALL) -> tuple[float, float]:
        """The 95 % confidence interval of ``by_neuron``, over the neurons of these sessions."""
        sessions = self.select(tier, family=family)
        variance = sum(s.neurons * s.single_trial_std**2 for s in sessions)
        half = 1.96 * math.sqrt(variance) / sum(s.neurons for s in sessions)
        mean = self.by_neuron(tier, family=family)
        return mean - half, mean + half

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
        if any(s.single_trial_ceiling is not None for s in self.scores):
            lines[0] += " Ceiling: the simulated neurons' own true rate."
        whole = [s for s in self.scores if s.family == ALL]
        constant = sum(s.constant for s in whole)
        if constant:
            lines.append(f"{constant} constant predictions or responses counted as 0.")
        if self.withheld:
            lines.append(f"Responses withheld, not scored: {', '.join(self.withheld)}.")
        return "\n".join(lines)

    def to_json(self) -> dict:
        """Plain values: every score, and the means over neurons and over mice."""
        return {
            "scores": [dataclasses.asdict(s) for s in self.scores],
            "means": [
                {
                    "tier": tier,
                    "family": family,
                    "single_trial_by_neuron": self.by_neuron(tier, family=family),
                    "single_trial_by_mouse": self.by_mouse(tier, family=family),
                    **{
                        f"{field}_by_neuron": _or_none(
                            self.by_neuron(tier, family=family, field=field)
                        )
                        for field in ("to_average", "cc_norm", "feve", "oracle")
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


def _mean(scores: Iterable[Score], field: str, *, weight: Callable[[Score], int]) -> float:
    pairs = [(getattr(s, field), weight(s)) for s in scores]
    if not pairs or any(value is None for value, _ in pairs):
        return math.nan
    values, weights = zip(*pairs, strict=True)
    return float(np.average(values, weights=weights))


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
