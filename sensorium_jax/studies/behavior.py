"""Do running, pupil size and gaze improve predictions, and where should a model use them?

    sensorium-jax ask behavior [--data=STORE]

In the recurrent baseline, running and pupil size are input channels in addition to the film, and
gaze shifts the receptive fields. It is compared with the same model without each signal and without
all, and with models that have a modulator (a gain on every neuron, set by running and pupil size)
instead of the channels or in addition. The embedded simulated mice have a control: mice whose
neurons are not modulated by behaviour, for which no signal may help.
"""

from __future__ import annotations

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.experiment import Experiment
from sensorium_jax.experiment.variants import with_core, with_model
from sensorium_jax.models import SIGNALS, modulators
from sensorium_jax.pages import page
from sensorium_jax.pages.studies import gains
from sensorium_jax.scores.compare import Difference
from sensorium_jax.studies.study import Check, Study, verdict
from sensorium_jax.training.complete import default_store

BASELINE = "gru_baseline"
WORDS = {"running": "Running speed", "pupil_size": "Pupil size", "gaze": "Gaze"}
ALL, CONTROL = "All three together", "Control: all three, of neurons that know none"
COMPARED = {
    **{WORDS[signal]: (f"without_{signal}", BASELINE) for signal in SIGNALS},
    ALL: ("without_all", BASELINE),
    "A modulator instead of the channels": (BASELINE, "modulator_instead"),
    "A modulator beside the channels": (BASELINE, "modulator"),
}


def answer(study: Study) -> None:
    """Train all variants and write the page."""
    full = study.config(BASELINE)
    for name, experiment in variants(full).items():
        study.train(name, experiment, seeds=study.seeds)
    compared = dict(COMPARED)
    if study.embedded:  # one seed: the variance over seeds is estimated from the other models
        control = default_store(study.console, modulated=False)
        study.train("control", full, store=control)
        study.train("control_without_all", with_model(full, without=SIGNALS), store=control)
        compared[CONTROL] = "control_without_all", "control"
    differences = {name: study.compare(*pair) for name, pair in compared.items()}
    text = "\n".join(verdict(d, name, seeds=study.seeds) for name, d in differences.items())
    study.page(
        "behavior",
        "Does behaviour help?",
        text,
        page.figure(gains(differences), "Gain on the oracle tier, with its 95 % interval."),
        f"<p>Intervals are over clips, neurons and {study.seeds} seeds of training.</p>"
        if study.seeds > 1
        else "",
        numbers={name: d._asdict() for name, d in differences.items()},
        checks=checks(differences, modulated=depends_on_behavior(study.recordings))
        if study.simulated
        else (),
    )


def variants(full: Experiment) -> dict[str, Experiment]:
    """The models that are compared, by name: variants of the ``full`` model."""
    modulator = {"modulator": modulators.MLP()}
    return {
        BASELINE: full,
        **{f"without_{signal}": with_model(full, without=(signal,)) for signal in SIGNALS},
        "without_all": with_model(full, without=SIGNALS),
        "modulator_instead": with_model(with_core(full, behavior=False), **modulator),
        "modulator": with_model(full, **modulator),
    }


def checks(differences: dict[str, Difference], *, modulated: bool) -> list[Check]:
    """The expected results for neurons that are ``modulated`` by behaviour, or are not.

    Signals are correlated (the pupil dilates when the animal runs): the gain of each over the
    others can be too small to be detected.
    """
    if modulated:
        helps = differences[ALL].low > 0
        results = [Check("neurons that know of all three: together they help", helps)]
        results += [
            Check(
                f"neurons that know of it: {name.lower()} does not hurt",
                differences[name].high >= 0,
            )
            for name in WORDS.values()
        ]
    else:
        results = [
            Check(f"neurons that know of none: no advantage of {name.lower()}", d.low <= 0)
            for name, d in differences.items()
            if name in (*WORDS.values(), ALL)
        ]
    if CONTROL in differences:
        no_advantage = differences[CONTROL].low <= 0
        results.append(Check("control mice know of none: no advantage", no_advantage))
    return results


def depends_on_behavior(recordings: Recordings) -> bool:
    """Whether true rates differ between the repeats of a clip, which only behaviour can cause."""
    session = recordings.sessions[0]
    rows = np.flatnonzero(session.trials.tier == protocol.ORACLE)
    clip = session.trials.clip[rows]
    repeats = rows[clip == clip[0]]
    first, *others = (session.read_rate(row, 0, protocol.CLIP_FRAMES) for row in repeats)
    return not all(np.allclose(first, other) for other in others)
