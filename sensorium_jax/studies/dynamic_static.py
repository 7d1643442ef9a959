"""How much do past frames of a film improve predictions, at an equal number of weights?

    sensorium-jax ask dynamic_static [--data=STORE]

The recurrent baseline is compared with the same network without recurrence, whose layers are wider
so that it has as many weights.
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

LARGEST = 64  # largest number of channels that is considered


def answer(study: Study) -> None:
    """Train both and write the page."""
    dynamic = study.config("gru_baseline")
    weights = _weight_counter(study.recordings)
    target = weights(dynamic)

    def static_variant(channels: int) -> Experiment:
        return with_core(dynamic, recurrence=None, channels=channels)

    def excess(channels: int) -> int:
        return weights(static_variant(channels)) - target

    larger = bisect.bisect(range(1, LARGEST), 0, key=excess) + 1
    channels = min(max(1, larger - 1), larger, key=lambda c: abs(excess(c)))
    static = static_variant(channels)
    study.train("static_equal", static, seeds=study.seeds)
    report = study.train("gru_baseline", dynamic, seeds=study.seeds)
    differences = {
        tier: study.compare("static_equal", "gru_baseline", tier=tier)
        for tier, family in report.rows()
        if family == ALL
    }
    oracle = differences["oracle"]
    text = (
        f"A static network of {channels} channels a layer ({weights(static):,} weights) scores "
        f"{oracle.a:.3f} on the oracle tier, the recurrent one ({target:,} weights) {oracle.b:.3f}."
        f" {verdict(oracle, 'The past of the film', seeds=study.seeds)}"
    )
    caption = "Gain of the recurrent network by tier, with its 95 % interval."
    study.page(
        "dynamic_static",
        "Dynamic against static",
        text,
        page.figure(gains(differences), caption),
        page.figure(
            figures.scores(report), f"The recurrent network. {figures.scores_caption(report)}"
        ),
        numbers={
            **oracle._asdict(),
            "tiers": {tier: d._asdict() for tier, d in differences.items()},
            "weights": {"static": weights(static), "recurrent": target},
            "static_channels": channels,
        },
        checks=checks(oracle) if study.simulated else (),
    )


def checks(oracle: Difference) -> list[Check]:
    """The expected result for simulated mice, from the difference on the oracle tier."""
    return [Check("simulated neurons filter over time: the past helps", oracle.low > 0)]


def _weight_counter(recordings: Recordings) -> Callable[[Experiment], int]:
    """A function from an experiment to its number of weights on these mice."""

    def weights(e: Experiment) -> int:
        batch = pipeline.example_batch(recordings, frames=e.data.frames)
        params = jax.eval_shape(
            lambda key: models.init(e.model, key, batch, recordings.neurons), jax.random.key(0)
        )
        return sum(x.size for x in jax.tree.leaves(params.weights))

    return weights
