"""Do running, pupil size and gaze help to predict responses to films, and where should they enter?

    sensorium-jax ask behavior [--data=STORE]

In the recurrent baseline, running and pupil size are channels beside the film and gaze shifts the
receptive fields. It stands against itself without each signal and without all, and with a
modulator, a gain on every neuron that running and pupil size set, instead of the channels or beside
them. The embedded simulated mice have a control, mice whose neurons do not know what the animal
does: there, no signal may help.
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
    if study.embedded:  # one seed: how much another would change is known from the others
        control = default_store(study.console, modulated=False)
        study.train("control", full, store=control)
        study.train("control_without_all", with_model(full, without=SIGNALS), store=control)
        compared[CONTROL] = "control_without_all", "control"
    found = {what: study.compare(*pair) for what, pair in compared.items()}
    text = "\n".join(verdict(d, what, seeds=study.seeds) for what, d in found.items())
    study.page(
        "behavior",
        "Does behaviour help?",
        text,
        page.figure(gains(found), "Gain on the oracle tier, with its 95 % interval."),
        f"<p>Intervals are over clips, neurons and {study.seeds} seeds of training.</p>"
        if study.seeds > 1
        else "",
        numbers={what: d._asdict() for what, d in found.items()},
        checks=checks(found, modulated=depends_on_behavior(study.recordings))
        if study.simulated
        else (),
    )


def variants(full: Experiment) -> dict[str, Experiment]:
    """The models that are compared, by name."""
    modulator = {"modulator": modulators.MLP()}
    return {
        BASELINE: full,
        **{f"without_{signal}": with_model(full, without=(signal,)) for signal in SIGNALS},
        "without_all": with_model(full, without=SIGNALS),
        "modulator_instead": with_model(with_core(full, behavior=False), **modulator),
        "modulator": with_model(full, **modulator),
    }


def checks(found: dict[str, Difference], *, modulated: bool) -> list[Check]:
    """What must come out for neurons that know what the animal does, or do not.

    One signal stands in for another (the pupil widens when the animal runs): what each adds to
    the others may be too little to be seen.
    """
    if modulated:
        made = [Check("neurons that know of all three: together they help", found[ALL].low > 0)]
        made += [
            Check(f"neurons that know of it: {word.lower()} does not hurt", found[word].high >= 0)
            for word in WORDS.values()
        ]
    else:
        made = [
            Check(f"neurons that know of none: no advantage of {word.lower()}", d.low <= 0)
            for word, d in found.items()
            if word in (*WORDS.values(), ALL)
        ]
    if CONTROL in found:
        made.append(Check("control mice know of none: no advantage", found[CONTROL].low <= 0))
    return made


def depends_on_behavior(recordings: Recordings) -> bool:
    """Whether true rates differ between the repeats of a clip, as behaviour makes them do."""
    session = recordings.sessions[0]
    rows = np.flatnonzero(session.trials.tier == protocol.ORACLE)
    clip = session.trials.clip[rows]
    repeats = rows[clip == clip[0]]
    first, *others = (session.read_rate(row, 0, protocol.CLIP_FRAMES) for row in repeats)
    return not all(np.allclose(first, other) for other in others)
