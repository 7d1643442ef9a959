"""How much of a neuron's response can be predicted, and how far are models from that?

    python -m experiments.questions.upper_limit [--data=STORE]

The more reliable a neuron is from one repeat to the next, the more of it can be predicted. Scores
of a linear-nonlinear model, a static and a recurrent network stand by reliability (oracle
correlation, jackknife) beside what repeats leave as the upper limit: CC_norm for averages and, on
simulated mice, the score of the true rate.
"""

from __future__ import annotations

import numpy as np

from experiments.questions.study import Study, main
from sensorium_jax import pages
from sensorium_jax.report import Report

MODELS = {
    "linear_nonlinear": "linear-nonlinear",
    "static_baseline": "static network",
    "gru_baseline": "recurrent network",
}
GROUPS = 4  # of equally many neurons, by reliability


def answer(study: Study) -> None:
    """Train the models and write the page."""
    reports = {name: study.train(name, study.config(name)) for name in MODELS}
    best = max(reports, key=lambda name: reports[name].by_neuron("oracle"))
    report = reports[best]
    text = (
        f"The best of {len(MODELS)} models, the {MODELS[best]}, has a single-trial correlation of "
        f"{report.by_neuron('oracle'):.3f} on the oracle tier, and a CC_norm of "
        f"{report.by_neuron('oracle', field='cc_norm'):.2f}: that share of what repeats show to be "
        "predictable from the film, as a correlation of averages."
    )
    ceiling = report.by_neuron("oracle", field="single_trial_ceiling")
    if ceiling > 0:
        reached = all(
            r.by_neuron("oracle") < r.by_neuron("oracle", field="single_trial_ceiling")
            for r in reports.values()
        )
        text += (
            f" The true rate scores {ceiling:.3f}, so the model reaches "
            f"{report.by_neuron('oracle') / ceiling:.0%}; "
            + ("no model is above it, as must be." if reached else "a model is above it: a fault.")
        )
    header = ["reliability", "neurons", *MODELS.values(), *(["true rate"] if ceiling > 0 else [])]
    rows = _by_reliability(reports)
    study.page(
        "upper_limit",
        "What is the upper limit of prediction?",
        text,
        pages.figure(_figure(header[2:], rows), "Single-trial correlation by reliability."),
        pages.table(header, [[r[0], str(r[1]), *(f"{x:.3f}" for x in r[2:])] for r in rows]),
    )


def _by_reliability(reports: dict[str, Report]) -> list[list]:
    """Rows of (range of reliability, neurons, mean score of each model, of the true rate)."""
    scores = next(iter(reports.values())).select("oracle")
    reliability = np.concatenate([s.reliability for s in scores])
    values = [np.concatenate([s.values() for s in r.select("oracle")]) for r in reports.values()]
    if scores[0].ceilings is not None:
        values.append(np.concatenate([s.ceilings for s in scores]))
    order = np.argsort(np.where(np.isnan(reliability), np.inf, reliability))
    order = order[: int(np.isfinite(reliability).sum())]
    rows = []
    for group in np.array_split(order, GROUPS):
        low, high = reliability[group[0]], reliability[group[-1]]
        rows.append([f"{low:.2f} to {high:.2f}", len(group), *(v[group].mean() for v in values)])
    return rows


def _figure(names: list[str], rows: list[list]):
    figure = pages.make_figure(8, 3.2)
    axes = figure.subplots()
    for i, name in enumerate(names):
        style = "k--" if name == "true rate" else "o-"
        axes.plot(range(len(rows)), [row[2 + i] for row in rows], style, label=name)
        if name == "true rate":
            axes.lines[-1].set_color(pages.INK)
    axes.set_xticks(range(len(rows)), [row[0] for row in rows])
    axes.set(xlabel="reliability of the neurons", ylabel="single-trial correlation")
    axes.legend()
    return figure


if __name__ == "__main__":
    main(answer)
