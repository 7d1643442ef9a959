"""Do models trained on natural films predict responses to other stimuli?

    sensorium-jax ask out_of_domain [--data=STORE]

The recurrent baseline, trained on natural films only, is scored on each family of the bonus tiers.
Families differ in how much of a response can be predicted, and in the mice that saw them. Scores
are therefore normalised: by CC_norm (median over neurons) or, for simulated mice, by the score of
the true rate; and compared with the same mice's scores on natural films that were used neither for
training nor for choosing the weights.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

from sensorium_jax import protocol
from sensorium_jax.errors import UserError
from sensorium_jax.pages import figures, page
from sensorium_jax.scores.report import Report
from sensorium_jax.scores.score import ALL
from sensorium_jax.scores.units import RAW
from sensorium_jax.studies.study import Check, Study

# Tiers of natural films: the first in which all mice have public responses is used.
INSIDE = "final_test_main", "live_test_main", protocol.ORACLE


class Row(NamedTuple):
    """The score on one family of a tier."""

    tier: str
    family: str
    score: float  # single-trial correlation, mean over neurons
    low: float  # ends of its 95 % interval
    high: float
    raw: float  # the score in raw units, in which chance is 0
    raw_low: float  # lower end of its 95 % interval
    ceiling: float  # score of the true rate; NaN on recordings
    share: float  # normalised score; NaN where it is not defined
    inside: str  # tier of natural films of the same mice; "" if there is none
    inside_share: float  # normalised score on that tier

    @property
    def name(self) -> str:
        """Name of the family and its tier, for texts."""
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
    unit = "of what can be predicted" if report.simulated else "in CC_norm (median over neurons)"
    header = ["family", "single trial", "95 % interval", f"share {unit}", "natural, same mice"]
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
        text_of(rows, unit),
        page.figure(figures.scores(report), figures.scores_caption(report)),
        page.table(header, table),
        numbers={row.name: row._asdict() for row in rows},
        checks=checks(rows) if study.simulated else (),
    )


def rows_of(report: Report) -> list[Row]:
    """The scores on all families of the bonus tiers."""
    rows = []
    for tier, family in report.rows():
        if tier not in protocol.BONUS_TIERS or family == ALL:
            continue
        mice = {score.session for score in report.select(tier, family=family)}
        scores = tuple(score for score in report.scores if score.session in mice)
        mice_report = dataclasses.replace(report, scores=scores)
        public = [t for t in INSIDE if {s.session for s in mice_report.select(t)} == mice]
        inside = public[0] if public else ""
        rows.append(
            Row(
                tier,
                family,
                report.by_neuron(tier, family=family),
                *report.interval(tier, family=family),
                report.by_neuron(tier, family=family, units=RAW),
                report.interval(tier, family=family, units=RAW)[0],
                report.by_neuron(tier, family=family, field="single_trial_ceiling"),
                _share(report, tier, family),
                inside,
                _share(mice_report, inside, ALL) if inside else math.nan,
            )
        )
    return rows


def text_of(rows: list[Row], unit: str) -> str:
    """The answer in words; ``unit`` is what the normalised scores are shares of."""
    uncertain = [row for row in rows if row.raw_low <= 0]
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
        f"Out of its domain the model reaches from {hardest.share:.0%} {unit} ({hardest.name}) "
        f"to {easiest.share:.0%} ({easiest.name})"
    )
    comparable = [row for row in finite if math.isfinite(row.inside_share)]
    if comparable:
        shares = [row.inside_share for row in comparable]
        lower = sum(row.share < row.inside_share for row in comparable)
        text += (
            f"; on new natural films, of the same mice, {_range(shares)}. {lower} of "
            f"{len(comparable)} families lie below these"
        )
    return f"{text}. {chance}"


def checks(rows: list[Row]) -> list[Check]:
    """The expected results for simulated mice."""
    return [
        Check(
            "the true rate is the best prediction: no family is above its score",
            all(row.score < row.ceiling for row in rows),
        ),
        # The score, not its interval, which is too wide for the two clips of a mouse.
        Check(
            "simulated neurons see all stimuli by one rule: a score above 0 on every family",
            all(row.raw > 0 for row in rows),
        ),
    ]


def _share(report: Report, tier: str, family: str) -> float:
    """The normalised score: ``Report.share``, or on recordings the median CC_norm."""
    if not report.simulated:
        return report.median(tier, family=family, field="cc_norm")
    return report.share(tier, family=family)


def _range(shares: list[float]) -> str:
    low, high = f"{min(shares):.0%}", f"{max(shares):.0%}"
    return low if low == high else f"{low} to {high}"


def _percent(share: float) -> str:
    return "" if math.isnan(share) else f"{share:.0%}"
