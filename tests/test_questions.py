"""The five questions: each program ends in a page, and goes on where it stopped."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optuna
import pytest
import small

from experiments.questions import search, study
from sensorium_jax import model as models
from sensorium_jax.compare import Difference
from sensorium_jax.simulate.neurons import make_population

ROOT = Path(__file__).parents[1]
TINY = [
    "--size=demo",
    "--set=data.frames=20",
    "--set=epoch_steps=1",
    "--set=max_epochs=1",
    "--devices=1",
]


def ask(question, *flags, store, cwd):
    done = subprocess.run(
        [sys.executable, "-m", f"experiments.questions.{question}", *TINY, *flags],
        cwd=ROOT,
        env=os.environ | {"XDG_CACHE_HOME": str(cwd / "cache"), "SENSORIUM_DATA": str(store)},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_question_ends_in_a_page_and_is_not_trained_twice(store, tmp_path):
    flags = f"--workdir={tmp_path / 'q'}", "--set=model.core.channels=1"
    code, out, err = ask("out_of_domain", *flags, store=store, cwd=tmp_path)
    assert code == 0, err
    page = (tmp_path / "q/out_of_domain.html").read_text()
    assert "On natural films the model reaches" in page and "<svg" in page
    assert (tmp_path / "q/gru_baseline/report.html").exists()
    code, out, err = ask("out_of_domain", *flags, store=store, cwd=tmp_path)
    assert code == 0 and "Already trained" in out, err


def test_a_search_goes_on(store, tmp_path):
    flags = {"store": store, "cwd": tmp_path}
    place = f"--workdir={tmp_path}"
    code, out, err = ask("search", place, "--trials=1", **flags)
    assert code == 0, err
    code, out, err = ask("search", place, "--trials=2", **flags)
    assert code == 0 and out.count("Results go to") == 1, err
    page = (tmp_path / "search.html").read_text()
    assert "Best of 2 trials" in page
    code, _, err = ask("search", place, "--trials=2", "--set=nothing=1", **flags)
    assert code == 0  # nothing is left to train, so nothing is set


def test_what_a_search_proposes_can_be_built(monkeypatch):
    class Demo:
        def config(self, name):
            return study.runs.load_config(name, "demo")

    for core, more in (
        ("recurrent", {"channels": 4}),
        ("static", {"channels": 12}),
        ("factorised", {"width": 0.5}),
    ):
        choices = {"core": core, "readout_hidden": 8, "rate_factor": 2.0, "decay_factor": 0.5}
        e = search.propose(Demo(), optuna.trial.FixedTrial(choices | more))
        name = {"recurrent": "gru", "static": "static", "factorised": "factorized"}[core]
        base = Demo().config(f"{name}_baseline")
        assert e.optimizer.learning_rate == 2 * base.optimizer.learning_rate
        assert e.model.readout.hidden == 8 and e.model.core != base.model.core
        assert (e.model.core.recurrence is None) == (core != "recurrent")


@pytest.mark.parametrize("low, high, word", [(0.1, 0.3, "helps"), (-0.3, -0.1, "hurts")])
def test_verdicts_follow_the_interval(low, high, word):
    d = Difference("oracle", "all", 0.3, 0.3 + (low + high) / 2, low, high, 0.5)
    assert study.verdict(d, "Gaze").startswith(f"Gaze {word}")
    unclear = d._replace(low=-0.1, high=0.1)
    assert study.verdict(unclear, "Gaze").startswith("No advantage of Gaze was found")


# --- what they vary -----------------------------------------------------------------------------


@pytest.mark.parametrize("signal", models.SIGNALS)
def test_a_model_without_a_signal_does_not_see_it(signal):
    model = small.experiment().model
    model = dataclasses.replace(model, core=dataclasses.replace(model.core, stride=(2, 1)))
    batch, neurons, statistics = small.batch(), small.neurons(), small.statistics()
    params = models.init(model, jax.random.key(0), batch, neurons)
    # Untrained shifters and planes may be blind; these are not.
    params = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(jax.random.key(1), x.shape), params)
    at = models.SIGNALS.index(signal)
    if signal == "gaze":
        changed = batch._replace(pupil_center=batch.pupil_center + 3.0)
    else:
        changed = batch._replace(behavior=batch.behavior + 3.0 * np.eye(2, dtype=np.float32)[at])

    def rates(model):
        return [models.apply(model, params, b, neurons, statistics)[0] for b in (batch, changed)]

    a, b = rates(model)
    assert not np.array_equal(a, b)
    a, b = rates(dataclasses.replace(model, without=(signal,)))
    np.testing.assert_array_equal(a, b)


def test_unknown_signals():
    model = small.experiment().model
    with pytest.raises(ValueError, match="pupil_size, running, gaze, got .'licking'"):
        dataclasses.replace(model, without=("licking",))


def test_control_neurons_know_nothing_of_the_animal():
    plan = {"neurons": 4, "seed": 3}
    known, control = (make_population(**plan, modulated=m) for m in (True, False))
    assert known.running_gain.any() and known.gaze_px
    assert not (control.running_gain.any() or control.pupil_gain.any() or control.gaze_px)


def test_seeds_widen_a_comparison(tmp_path, monkeypatch):
    """Two seeds of which one is better and one worse: nothing can be said."""
    from test_results import run_of

    asker = object.__new__(study.Study)
    asker.folder = tmp_path
    for name, noise in (("a", 1.0), ("b", 0.8), ("a-seed1", 1.0), ("b-seed1", 1.2)):
        run_of(tmp_path / name, noise)
    one, both = (asker.compare("a", "b", seeds=seeds) for seeds in (1, 2))
    assert one.low > 0 and both.low < 0 < both.high
    assert both.tier == "oracle" and both.a == pytest.approx(one.a)
