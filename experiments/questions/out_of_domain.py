"""Do models trained on natural films predict responses to other stimuli?

    python -m experiments.questions.out_of_domain [--data=STORE]

The recurrent baseline, trained on natural films alone, on each family of the bonus tiers. Families
differ in how much of a response can be predicted, so scores are set against what can be: CC_norm
and, on simulated mice, the score of the true rate.
"""

from __future__ import annotations

import math

from experiments.questions.study import Study, main
from sensorium_jax import figures, pages, protocol
from sensorium_jax.errors import UserError
from sensorium_jax.report import ALL, Report

BONUS = "live_test_bonus", "final_test_bonus"


def answer(study: Study) -> None:
    """Train the model and write the page."""
    report = study.train("gru_baseline", study.config("gru_baseline"))
    rows = [(tier, family) for tier, family in report.rows() if tier not in BONUS or family != ALL]
    if all(tier not in BONUS for tier, _ in rows):
        raise UserError(
            f"expected a bonus tier with public responses, found {', '.join(t for t, _ in rows)}; "
            "name a --data store with old mice"
        )
    shares = {row: _share(report, *row) for row in rows}
    inside = shares[protocol.ORACLE, ALL]
    outside = {f"{family} ({tier})": s for (tier, family), s in shares.items() if tier in BONUS}
    hardest = min(outside, key=outside.get)
    easiest = max(outside, key=outside.get)
    what = "of the true rate's score" if report.simulated else "in CC_norm"
    text = (
        f"On natural films the model reaches {inside:.0%} {what}. Out of its domain it reaches "
        f"from {outside[hardest]:.0%} ({hardest}) to {outside[easiest]:.0%} ({easiest}): "
        + (
            "it predicts every family better than chance."
            if all(report.interval(tier, family=family)[0] > 0 for tier, family in rows)
            else "of some families it predicts nothing."
        )
    )
    table = [
        [
            tier if family == ALL else f"{family} ({tier})",
            f"{report.by_neuron(tier, family=family):.3f}",
            " to ".join(f"{x:.3f}" for x in report.interval(tier, family=family)),
            f"{share:.0%}",
        ]
        for (tier, family), share in shares.items()
    ]
    study.page(
        "out_of_domain",
        "From natural films to other stimuli",
        text,
        pages.figure(figures.scores(report), "Single-trial correlation by tier and family."),
        pages.table(["tier or family", "single trial", "95 % interval", f"share {what}"], table),
    )


def _share(report: Report, tier: str, family: str) -> float:
    """How much of what can be predicted is."""
    ceiling = report.by_neuron(tier, family=family, field="single_trial_ceiling")
    if math.isnan(ceiling):
        return report.by_neuron(tier, family=family, field="cc_norm")
    return report.by_neuron(tier, family=family) / ceiling


if __name__ == "__main__":
    main(answer)
