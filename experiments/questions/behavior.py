"""Do running, pupil size and gaze help to predict responses to films?

    python -m experiments.questions.behavior [--data=STORE]

The recurrent baseline against itself without each signal, without all, and with a modulator: a gain
on every neuron that behaviour sets. On simulated mice also a control, mice whose neurons do not
know what the animal does: there, no signal may help.
"""

from __future__ import annotations

from experiments.questions.study import SEEDS, Study, main, verdict
from experiments.variants import with_model
from sensorium_jax import demo_store, modulators, pages
from sensorium_jax.compare import Difference
from sensorium_jax.model import SIGNALS

WORDS = {"running": "Running speed", "pupil_size": "Pupil size", "gaze": "Gaze"}


def answer(study: Study) -> None:
    """Train all variants and write the page."""
    full = study.config("gru_baseline")
    seeds = {"seeds": SEEDS.value}
    study.train("gru_baseline", full, **seeds)
    found = {}
    for signal in SIGNALS:
        study.train(f"without_{signal}", with_model(full, without=(signal,)), **seeds)
        found[WORDS[signal]] = study.compare(f"without_{signal}", "gru_baseline", **seeds)
    study.train("without_all", with_model(full, without=SIGNALS), **seeds)
    found["All three together"] = study.compare("without_all", "gru_baseline", **seeds)
    study.train("modulator", with_model(full, modulator=modulators.MLP()), **seeds)
    found["A modulator beside the channels"] = study.compare("gru_baseline", "modulator", **seeds)
    if study.simulated:
        control = {"store": demo_store(study.console, modulated=False), **seeds}
        study.train("control", full, **control)
        study.train("control_without_all", with_model(full, without=SIGNALS), **control)
        found["Control: all three, of neurons that know none"] = study.compare(
            "control_without_all", "control", **seeds
        )
    text = " ".join(verdict(d, what) for what, d in found.items())
    study.page(
        "behavior",
        "Does behaviour help?",
        text,
        pages.figure(_figure(found), "Gain in single-trial correlation on the oracle tier."),
        f"<p>Intervals are over clips, neurons and {SEEDS.value} seeds of training.</p>",
    )


def _figure(found: dict[str, Difference]):
    figure = pages.make_figure(8, 0.8 + 0.4 * len(found))
    axes = figure.subplots()
    for y, d in enumerate(reversed(found.values())):
        axes.plot([d.low, d.high], [y, y], color="#2f7ed8", lw=3, alpha=0.6)
        axes.plot(d.b - d.a, y, "o", color="#2f7ed8")
    axes.axvline(0, color=pages.INK, lw=0.8)
    axes.set_yticks(range(len(found)), list(reversed(found)))
    axes.set_xlabel("gain")
    return figure


if __name__ == "__main__":
    main(answer)
