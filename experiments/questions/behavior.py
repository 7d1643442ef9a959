"""Do running, pupil size and gaze help to predict responses to films?

    python -m experiments.questions.behavior [--data=STORE]

The recurrent baseline against itself without each signal, without all, and with a modulator: a gain
on every neuron that behaviour sets. On simulated mice also a control, mice whose neurons do not
know what the animal does: there, no signal may help.
"""

from __future__ import annotations

from experiments.questions.study import Study, main, verdict
from experiments.variants import with_model
from sensorium_jax import demo_store, modulators, pages
from sensorium_jax.compare import Difference
from sensorium_jax.model import SIGNALS

WORDS = {"running": "Running speed", "pupil_size": "Pupil size", "gaze": "Gaze"}


def answer(study: Study) -> None:
    """Train all variants and write the page."""
    full = study.config("gru_baseline")
    study.train("gru_baseline", full)
    found = {}
    for signal in SIGNALS:
        study.train(f"without_{signal}", with_model(full, without=(signal,)))
        found[WORDS[signal]] = study.compare(f"without_{signal}", "gru_baseline")
    study.train("without_all", with_model(full, without=SIGNALS))
    found["All three together"] = study.compare("without_all", "gru_baseline")
    study.train("modulator", with_model(full, modulator=modulators.MLP()))
    found["A modulator beside the channels"] = study.compare("gru_baseline", "modulator")
    if study.simulated:
        control = demo_store(study.console, modulated=False)
        study.train("control", full, store=control)
        study.train("control_without_all", with_model(full, without=SIGNALS), store=control)
        found["Control: all three, of neurons that know none"] = study.compare(
            "control_without_all", "control"
        )
    text = " ".join(verdict(d, what) for what, d in found.items())
    study.page(
        "behavior",
        "Does behaviour help?",
        text,
        pages.figure(_figure(found), "Gain in single-trial correlation on the oracle tier."),
        "<p>Intervals are over clips and neurons; another seed of training differs too.</p>",
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
