"""How much of a neuron's response can be predicted, and how close are models to this limit?

    sensorium-jax ask upper_limit [--data=STORE]

The more reliable a neuron's responses are over repeats, the more of them can be predicted. Scores
of a linear-nonlinear model, a static and a recurrent network are shown by reliability (jackknife
oracle correlation), with estimates of the upper limit: the oracles (a low and a high estimate, for
models of the film only), CC_norm for averages and, on simulated mice, the score of the true rate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.pages import page
from sensorium_jax.pages.studies import scores_by_group
from sensorium_jax.scores.report import Report
from sensorium_jax.scores.score import CEILING, Score
from sensorium_jax.scores.units import RAW
from sensorium_jax.studies.study import Check, Study

MODELS = {
    "linear_nonlinear": "linear-nonlinear",
    "static_baseline": "static network",
    "gru_baseline": "recurrent network",
}
GROUPS = 4  # of equally many neurons, by reliability
# Labels of the upper limits.
TRUE, LOW, HIGH, SHARE = "true rate", "oracle, jackknife", "oracle, conservative", "CC_norm, median"


class Group(NamedTuple):
    """Neurons of similar reliability."""

    low: float  # lowest reliability
    high: float  # highest reliability
    neurons: int  # number of neurons
    means: dict[str, float]  # mean scores of models and limits, and the median CC_norm, by label


def answer(study: Study) -> None:
    """Train the models and write the page."""
    reports = {label: study.train(name, study.config(name)) for name, label in MODELS.items()}
    best = max(reports, key=lambda label: reports[label].by_neuron("oracle"))
    values = {label: _oracle_values(r, lambda s: s.values()) for label, r in reports.items()}
    limits = {TRUE: CEILING} if reports[best].simulated else {}
    limits |= {LOW: "oracle", HIGH: "oracle_conservative", SHARE: "cc_norm"}
    for label, field in limits.items():
        units = reports[best].units if field == CEILING else RAW
        limit = reports[best].in_units(units)
        values[label] = _oracle_values(limit, lambda s, field=field: s.by_neuron[field])
    reliability = values[LOW]
    groups = by_reliability(reliability, values)
    undefined = int(np.isnan(reliability).sum())
    table = [
        [f"{g.low:.2f} to {g.high:.2f}", str(g.neurons), *map(_number, g.means.values())]
        for g in groups
    ]
    study.page(
        "upper_limit",
        "What is the upper limit of prediction?",
        text_of(reports[best], best),
        _figure(groups) if groups else "",
        page.table(["reliability", "neurons", *values], table),
        f"<p>{undefined} of {len(reliability)} neurons have no reliability (a constant response, "
        f"or no repeats) and stand in no group. CC_norm is that of the {best}; where repeats are "
        "few and neurons noisy, or where the model knows of behaviour, it may exceed 1.</p>",
        numbers={
            "scores": {label: r.by_neuron("oracle") for label, r in reports.items()},
            TRUE: reports[best].by_neuron("oracle", field="single_trial_ceiling"),
            "groups": [g._asdict() for g in groups],
            "neurons without reliability": undefined,
        },
        checks=checks(reports, groups) if study.simulated else (),
    )


def text_of(report: Report, best: str) -> str:
    """The answer in words, from the report of the best model."""

    def mean(field: str) -> float:
        return report.by_neuron("oracle", field=field)

    text = (
        f"The best of {len(MODELS)} models, the {best}, has a single-trial correlation of "
        f"{mean('single_trial'):.3f} ({report.units} units) on the oracle tier."
    )
    if mean("oracle") > 0:
        text += (
            " Of a model of the film alone, repeats show a limit between "
            f"{mean('oracle'):.3f} (jackknife oracle) and {mean('oracle_conservative'):.3f} "
            "(conservative oracle)."
        )
    if (cc_norm := report.median("oracle", field="cc_norm")) > 0:
        text += (
            f" Its CC_norm is {cc_norm:.2f} in the median neuron: that share of "
            "what repeats show to be predictable from the film, as a correlation of averages."
        )
    if report.simulated:
        ceiling = mean("single_trial_ceiling")
        text += (
            f" The true rate scores {ceiling:.3f}, so the model reaches "
            f"{report.share('oracle'):.0%} of what can be predicted."
        )
    return text


def checks(reports: dict[str, Report], groups: list[Group]) -> list[Check]:
    """The expected results for simulated mice."""
    return [
        Check(
            "the true rate is the best prediction: no model is above its score",
            all(
                r.by_neuron("oracle") < r.by_neuron("oracle", field="single_trial_ceiling")
                for r in reports.values()
            ),
        ),
        Check(
            "noise hides what models know: the most reliable neurons are predicted better than the "
            "least reliable, by every model",
            bool(groups)
            and all(groups[0].means[label] < groups[-1].means[label] for label in reports),
        ),
    ]


def by_reliability(reliability: np.ndarray, values: dict[str, np.ndarray]) -> list[Group]:
    """Groups of the neurons whose reliability [N] is defined, the least reliable first.

    Examples:
        >>> reliability = np.array([0.1, np.nan, 0.5, 0.3, 0.7])
        >>> groups = by_reliability(reliability, {"score": 2 * reliability})
        >>> [(group.low, group.neurons, group.means["score"]) for group in groups]
        [(0.1, 1, 0.2), (0.3, 1, 0.6), (0.5, 1, 1.0), (0.7, 1, 1.4)]
    """
    order = np.argsort(reliability)[: int(np.isfinite(reliability).sum())]  # NaN comes last
    groups = []
    for members in np.array_split(order, GROUPS):
        if not members.size:
            continue
        means = {
            label: _average(value[members], np.median if label == SHARE else np.mean)
            for label, value in values.items()
        }
        ends = float(reliability[members[0]]), float(reliability[members[-1]])
        groups.append(Group(*ends, len(members), means))
    return groups


def _figure(groups: list[Group]) -> str:
    """Scores of models and limits by reliability, as HTML."""
    series = {name: [g.means[name] for g in groups] for name in groups[0].means if name != SHARE}
    limits = {name: series.pop(name) for name in (TRUE, LOW, HIGH) if name in series}
    ends = [f"{g.low:.2f} to {g.high:.2f}" for g in groups]
    figure = scores_by_group(ends, series, limits, xlabel="reliability of the neurons")
    return page.figure(figure, "Single-trial correlation by reliability.")


def _oracle_values(report: Report, neuron_values: Callable[[Score], np.ndarray]) -> np.ndarray:
    """Values of all neurons of all mice on the oracle tier: [N]."""
    return np.concatenate([neuron_values(score) for score in report.select(protocol.ORACLE)])


def _average(values: np.ndarray, average: Callable) -> float:
    defined = values[np.isfinite(values)]
    return float(average(defined)) if defined.size else np.nan


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"
