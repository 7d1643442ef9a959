"""What does a film's past add to its present frame, at an equal number of weights?

    sensorium-jax ask dynamic_static [--data=STORE]

The recurrent baseline against the same network without its recurrence, whose layers are widened
until it has as many weights.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable

import jax

from sensorium_jax import models
from sensorium_jax.data import pipeline
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.experiment import Experiment
from sensorium_jax.experiment.variants import with_core
from sensorium_jax.pages import figures, page
from sensorium_jax.pages.studies import gains
from sensorium_jax.scores.compare import Difference
from sensorium_jax.scores.score import ALL
from sensorium_jax.studies.study import Check, Study, verdict

LARGEST = 64  # channels tried


def answer(study: Study) -> None:
    """Train both and write the page."""
    dynamic = study.config("gru_baseline")
    weights = _counter(study.recordings)
    wanted = weights(dynamic)

    def widened(channels: int) -> Experiment:
        return with_core(dynamic, recurrence=None, channels=channels)

    more = bisect.bisect(range(1, LARGEST), wanted, key=lambda c: weights(widened(c))) + 1
    channels = min(max(1, more - 1), more, key=lambda c: abs(weights(widened(c)) - wanted))
    static = widened(channels)
    seeds = {"seeds": study.seeds}
    study.train("static_equal", static, **seeds)
    report = study.train("gru_baseline", dynamic, **seeds)
    found = {
        tier: study.compare("static_equal", "gru_baseline", tier=tier)
        for tier, family in report.rows()
        if family == ALL
    }
    whole = found["oracle"]
    text = (
        f"A static network of {channels} channels a layer ({weights(static):,} weights) scores "
        f"{whole.a:.3f} on the oracle tier, the recurrent one ({wanted:,} weights) {whole.b:.3f}. "
        + verdict(whole, "The past of the film", **seeds)
    )
    study.page(
        "dynamic_static",
        "Dynamic against static",
        text,
        page.figure(gains(found), "Gain of the recurrent network by tier, with its 95 % interval."),
        page.figure(
            figures.scores(report), f"The recurrent network. {figures.scores_caption(report)}"
        ),
        numbers={
            **whole._asdict(),
            "tiers": {tier: d._asdict() for tier, d in found.items()},
            "weights": {"static": weights(static), "recurrent": wanted},
            "static_channels": channels,
        },
        checks=checks(whole) if study.simulated else (),
    )


def checks(whole: Difference) -> list[Check]:
    """What must come out."""
    return [Check("simulated neurons filter over time: the past helps", whole.low > 0)]


def _counter(recordings: Recordings) -> Callable[[Experiment], int]:
    """A function from an experiment to its number of weights on these mice."""

    def weights(e: Experiment) -> int:
        batch = pipeline.example_batch(recordings, frames=e.data.frames)
        params = jax.eval_shape(
            lambda key: models.init(e.model, key, batch, recordings.neurons), jax.random.key(0)
        )
        return sum(x.size for x in jax.tree.leaves(params.weights))

    return weights
