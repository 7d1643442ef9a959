"""Do models trained on natural films predict responses to other stimuli?

    sensorium-jax ask out_of_domain [--data=STORE]

The recurrent baseline, trained on natural films alone, on each family of the bonus tiers. Families
differ in how much of a response can be predicted, and in the mice that saw them: scores are set
against what can be, by CC_norm (median over neurons) or, on simulated mice, by the score of the
true rate, and stand beside the same mice's on natural films that neither trained nor chose the
weights.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from sensorium_jax import protocol
from sensorium_jax.errors import UserError
from sensorium_jax.pages import figures, page
from sensorium_jax.scores.report import Report
from sensorium_jax.scores.score import ALL
from sensorium_jax.studies.study import Check, Study

INSIDE = "final_test_main", "live_test_main", protocol.ORACLE  # the first with public responses


class Row(NamedTuple):
    """One family of a tier."""

    tier: str
    family: str
    score: float
    low: float
    high: float
    ceiling: float  # of simulated mice; else NaN
    share: float  # of what can be predicted, where that is known
    inside: str  # tier of natural films of the same mice
    inside_share: float

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.family} of {self.tier}"


def answer(study: Study) -> None:
    """Train the model and write the page."""
    report = study.train("gru_baseline", study.config("gru_baseline"))
    rows = rows_of(report)
    if not rows:
        raise UserError(
            "expected a bonus tier with public responses, found "
            f"{', '.join(dict.fromkeys(tier for tier, _ in report.rows()))}; "
            "name a --data store with old mice"
        )
    what = "of the true rate's score" if report.simulated else "in CC_norm (median over neurons)"
    header = ["family", "single trial", "95 % interval", f"share {what}", "natural, same mice"]
    table = [
        [
            row.name,
            f"{row.score:.3f}",
            f"{row.low:.3f} to {row.high:.3f}",
            _percent(row.share),
            f"{_percent(row.inside_share)} ({row.inside})".strip(),
        ]
        for row in rows
    ]
    study.page(
        "out_of_domain",
        "From natural films to other stimuli",
        text_of(rows, what),
        page.figure(figures.scores(report), figures.scores_caption(report)),
        page.table(header, table),
        numbers={row.name: row._asdict() for row in rows},
        checks=checks(rows) if study.simulated else (),
    )


def rows_of(report: Report) -> list[Row]:
    """The families of the bonus tiers."""
    rows = []
    for tier, family in report.rows():
        if tier not in protocol.BONUS_TIERS or family == ALL:
            continue
        mice = {score.session for score in report.select(tier, family=family)}
        same = Report(tuple(score for score in report.scores if score.session in mice))
        public = [t for t in INSIDE if {s.session for s in same.select(t)} == mice]
        inside = public[0] if public else ""
        rows.append(
            Row(
                tier,
                family,
                report.by_neuron(tier, family=family),
                *report.interval(tier, family=family),
                report.by_neuron(tier, family=family, field="single_trial_ceiling"),
                _share(report, tier, family),
                inside,
                _share(same, inside, ALL) if inside else math.nan,
            )
        )
    return rows


def text_of(rows: list[Row], what: str) -> str:
    """The answer."""
    uncertain = [row for row in rows if row.low <= 0]
    chance = (
        "It predicts every family better than chance."
        if not uncertain
        else f"Not clearly better than chance: {', '.join(row.name for row in uncertain)}."
    )
    finite = [row for row in rows if math.isfinite(row.share)]
    if not finite:
        return chance + " How much could be predicted, the repeats do not say."
    hardest = min(finite, key=lambda row: row.share)
    easiest = max(finite, key=lambda row: row.share)
    text = (
        f"Out of its domain the model reaches from {hardest.share:.0%} {what} ({hardest.name}) "
        f"to {easiest.share:.0%} ({easiest.name})"
    )
    both = [row for row in finite if math.isfinite(row.inside_share)]
    if both:
        shares = [row.inside_share for row in both]
        lower = sum(row.share < row.inside_share for row in both)
        text += (
            f"; on new natural films, of the same mice, {_range(shares)}. {lower} of {len(both)} "
            "families lie below these"
        )
    return f"{text}. {chance}"


def checks(rows: list[Row]) -> list[Check]:
    """What must come out."""
    return [
        Check(
            "the true rate is the best prediction: no family is above its score",
            all(row.score < row.ceiling for row in rows),
        ),
        # By the score, not its interval: of a mouse's two clips that says little.
        Check(
            "simulated neurons see all stimuli by one rule: a score above 0 on every family",
            all(row.score > 0 for row in rows),
        ),
    ]


def _share(report: Report, tier: str, family: str) -> float:
    """How much of what can be predicted is; NaN where that is not known."""
    ceiling = report.by_neuron(tier, family=family, field="single_trial_ceiling")
    if math.isnan(ceiling):
        return report.median(tier, family=family, field="cc_norm")
    return report.by_neuron(tier, family=family) / ceiling


def _range(shares: list[float]) -> str:
    low, high = f"{min(shares):.0%}", f"{max(shares):.0%}"
    return low if low == high else f"{low} to {high}"


def _percent(share: float) -> str:
    return "" if math.isnan(share) else f"{share:.0%}"
