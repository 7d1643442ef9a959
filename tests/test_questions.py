"""The five questions: each program ends in a page, and goes on where it stopped."""

import dataclasses
import functools
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optuna
import pytest
import small
from test_results import run_of, scored

from sensorium_jax import models
from sensorium_jax.cli import ask as ask_command
from sensorium_jax.configs import load_config
from sensorium_jax.data.format import Session
from sensorium_jax.data.recordings import load_recordings
from sensorium_jax.errors import Diverged, Interrupted, UserError
from sensorium_jax.scores import metrics, report, results
from sensorium_jax.scores.compare import Difference
from sensorium_jax.simulate.neurons import make_population
from sensorium_jax.studies import behavior, dynamic_static, out_of_domain, search, study
from sensorium_jax.studies import upper_limit as limit

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
TINY = [
    "--size=demo",
    "--set=data.frames=20",
    "--set=epoch_steps=1",
    "--set=max_epochs=1",
    "--devices=1",
    "--seeds=1",
]
ONE_CHANNEL = "--set=model.core.channels=1"


def ask(question, *more, store, folder):
    """Run a question in this process: what its page's JSON says."""
    data = [f"--data={store}"] if store else []
    assert ask_command.main([question, *TINY, *data, f"--workdir={folder}", *more]) == 0
    page = (folder / f"{question}.html").read_text()
    assert "<svg" in page and "Simulated mice" in page and "nan" not in page.lower()
    return json.loads((folder / f"{question}.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where questions share their runs."""
    return tmp_path_factory.mktemp("questions")


# --- from beginning to end ----------------------------------------------------------------------


def test_a_question_is_a_program_and_is_not_trained_twice(store, folder, tmp_path, capsys):
    done = subprocess.run(
        [sys.executable, "-m", "sensorium_jax", "ask", "out_of_domain"]
        + [*TINY, f"--workdir={folder}", ONE_CHANNEL],
        cwd=ROOT,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path), "SENSORIUM_DATA": str(store)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Results go to" in done.stdout and (folder / "gru_baseline/report.html").exists()
    answer = ask("out_of_domain", ONE_CHANNEL, store=store, folder=folder)
    assert "Already trained" in capsys.readouterr().out
    assert answer["simulated"] and len(answer["truth"]) == 2
    (row, *_) = answer["numbers"].values()
    assert row["inside"] == "final_test_main" and row["ceiling"] > row["score"]


def test_limits_stand_beside_models(store, folder, capsys):
    answer = ask("upper_limit", ONE_CHANNEL, store=store, folder=folder)
    said = capsys.readouterr().out
    assert len(answer["truth"]) == 2 and "epoch   1/1" in said
    assert all(f"The truth {study.Check(**check)}" in said for check in answer["truth"])
    means = answer["numbers"]["groups"][-1]["means"]
    assert means[limit.LOW] < means[limit.HIGH] and limit.TRUE in means
    assert "conservative oracle" in answer["answer"]


def test_a_static_model_of_equal_size_is_trained(store, folder):
    answer = ask("dynamic_static", ONE_CHANNEL, store=store, folder=folder)
    assert (folder / "static_equal/report.html").exists()
    assert "seeds of training are not counted" in answer["answer"]


def pretend(monkeypatch, noise):
    """No training: predictions are the responses plus ``noise(experiment)``."""

    def complete(experiment, workdir, **options):
        workdir.mkdir(parents=True, exist_ok=True)
        made = scored(noise(experiment) + 0.01 * experiment.seed)
        results.write(workdir, made)
        return made

    monkeypatch.setattr(study, "complete", complete)


@pytest.mark.parametrize("loss, agrees", [(0.1, True), (-0.1, False)])
def test_what_the_past_adds_is_held_against_the_truth(loss, agrees, store, tmp_path, monkeypatch):
    pretend(monkeypatch, lambda e: 1 + loss * (e.model.core.recurrence is None))
    answer = ask("dynamic_static", ONE_CHANNEL, "--seeds=2", store=store, folder=tmp_path)
    assert [check["agrees"] for check in answer["truth"]] == [agrees]
    assert ("helps" if agrees else "hurts") in answer["answer"]
    weights = answer["numbers"]["weights"]
    assert abs(weights["static"] / weights["recurrent"] - 1) < 0.2
    said = "agrees" if agrees else "does NOT agree"
    assert f"<b>The truth</b> {said}" in (tmp_path / "dynamic_static.html").read_text()


def test_behaviour_is_held_against_the_truth(store, tmp_path, monkeypatch):
    pretend(monkeypatch, lambda e: 1 + 0.1 * len(e.model.without))
    answer = ask("behavior", "--seeds=1", store=store, folder=tmp_path)
    assert set(answer["numbers"]) == set(behavior.COMPARED)  # no control of mice that are given
    assert "seeds of training are not counted" in answer["answer"]
    assert len(answer["truth"]) == 4 and all(check["agrees"] for check in answer["truth"])

    monkeypatch.delenv("SENSORIUM_DATA", raising=False)
    for module in (study, behavior):
        monkeypatch.setattr(module, "default_store", lambda *_, **__: store)
    answer = ask("behavior", "--seeds=2", store=None, folder=tmp_path)
    assert "not counted" not in answer["answer"]
    *known, control = answer["truth"]
    assert all(c["agrees"] for c in known) and not control["agrees"]
    trained = [run for run in tmp_path.iterdir() if run.is_dir()]
    assert len(trained) == 16  # seven models of two seeds, and two of control mice


def test_variants_of_behaviour_are_models():
    """With a modulator instead of them, the film is the only channel."""
    batch, neurons = small.batch(), small.neurons()
    experiment = load_config(behavior.BASELINE, "demo")
    made = behavior.variants(experiment)
    seen = {
        name: jax.eval_shape(
            functools.partial(models.init, e.model), jax.random.key(0), batch, neurons
        ).weights
        for name, e in made.items()
    }
    modulated = {name for name, weights in seen.items() if "modulator" in weights}
    assert modulated == {"modulator", "modulator_instead"}

    def size(name):
        return sum(x.size for x in jax.tree.leaves(seen[name]["core"]))

    assert size("modulator_instead") < size("modulator") == size(behavior.BASELINE)
    assert {pair for both in behavior.COMPARED.values() for pair in both} == set(made)


def test_a_search_goes_on(store, tmp_path, monkeypatch):
    pretend(monkeypatch, lambda e: 1 + 0.1 * (e.model.core.recurrence is None))
    for trials in (2, 4):
        answer = ask("search", f"--trials={trials}", store=store, folder=tmp_path)
    assert "Best of 4 trials" in answer["answer"] and len(answer["truth"]) == 1
    assert len({run.name for run in (tmp_path / "search").iterdir()}) == 4  # all of other choices
    pretend(monkeypatch, lambda e: 1 / 0)
    ask("search", "--trials=4", store=store, folder=tmp_path)  # none is left


def test_a_trial_is_trained(store, tmp_path):
    answer = ask("search", "--trials=1", store=store, folder=tmp_path)
    assert (tmp_path / answer["numbers"]["best"]["run"] / "report.html").exists()


# --- a search that is broken off ----------------------------------------------------------------


class Trainer:
    """A study whose training is a list of what happens: scores, or what is raised."""

    console = study.make_console(quiet=True)

    def __init__(self, *happens):
        self.happens, self.runs = list(happens), []

    def config(self, name):
        return load_config(name, "demo")

    def train(self, name, experiment, *, on_score):
        self.runs.append(name)
        what = self.happens.pop(0)
        if isinstance(what, BaseException):
            on_score(1, 0.3)
            raise what
        for epoch, value in enumerate(what, 1):
            on_score(epoch, value)
        return scored(1.0)


def searched(trainer, trials, *, into, stop=None):
    """Trials of a process that begins or goes on."""
    into.sampler = optuna.samplers.TPESampler(seed=len(into.trials))
    search.enqueue_unfinished(into, optuna.trial.TrialState)

    def objective(trial):
        return search.run_trial(trainer, trial, stopped=optuna.TrialPruned)

    try:
        into.optimize(objective, n_trials=trials)
    except (Interrupted, UserError) as stopped:
        return stopped


def new_search(**options):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(direction="maximize", **options)


def states(of):
    return [trial.state.name for trial in of.trials]


@pytest.mark.parametrize("stop", [Interrupted("saved at step 3"), UserError("no space left")])
def test_a_trial_that_was_broken_off_goes_on_in_its_folder(stop):
    into, trainer = new_search(), Trainer([0.1], stop, [], [0.3])
    assert searched(trainer, 3, into=into) is stop
    assert searched(trainer, 2, into=into) is None
    assert states(into) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert trainer.runs[1] == trainer.runs[2] and len(set(trainer.runs)) == 3
    assert into.trials[2].params == into.trials[1].params
    assert into.trials[2].intermediate_values[1] == 0.3  # of before, which is not trained again
    searched(Trainer([0.1]), 1, into=into)
    choices = {search.run_name(trial) for trial in into.trials}
    assert len(into.trials) == 5 and len(choices) == 4  # it is taken up once


def test_a_trial_that_was_killed_goes_on():
    into = new_search()
    trial = into.ask()
    search.propose(Trainer(), trial)
    trainer = Trainer([0.2])
    searched(trainer, 1, into=into)
    assert states(into) == ["FAIL", "COMPLETE"] and trainer.runs == [search.run_name(trial)]


def test_a_trial_that_diverges_is_stopped():
    into, trainer = new_search(), Trainer(Diverged("whatever it says"), [0.2])
    assert searched(trainer, 2, into=into) is None
    assert states(into) == ["PRUNED", "COMPLETE"]
    searched(trainer, 0, into=into)
    assert len(into.trials) == 2  # and is not tried again


def test_a_trial_that_falls_behind_is_stopped():
    into = new_search(pruner=optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=0))
    searched(Trainer([0.4, 0.5], [0.4, 0.5], [0.1, 0.2]), 3, into=into)
    assert states(into) == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert into.trials[2].intermediate_values == {1: 0.1}


def test_what_a_search_proposes_can_be_built(monkeypatch):
    class Demo:
        def config(self, name):
            return load_config(name, "demo")

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


# --- what is said -------------------------------------------------------------------------------


def difference(low, high):
    return Difference("oracle", "all", 0.3, 0.3 + (low + high) / 2, low, high, 0.5)


@pytest.mark.parametrize("low, high, word", [(0.1, 0.3, "helps"), (-0.3, -0.1, "hurts")])
def test_verdicts_follow_the_interval(low, high, word):
    said = study.verdict(difference(low, high), "Gaze", seeds=2)
    assert said.startswith(f"Gaze: {word}") and "not counted" not in said
    unclear = study.verdict(difference(-0.1, 0.1), "Gaze", seeds=1)
    assert unclear.startswith("Gaze: no advantage found") and "not counted" in unclear


HELPS, HURTS, NOTHING = (difference(*ends) for ends in ((0.1, 0.3), (-0.3, -0.1), (-0.1, 0.1)))


def agree(checks):
    return [check.agrees for check in checks]


def test_truth_of_behaviour():
    words = list(behavior.WORDS.values())
    found = dict.fromkeys(words, NOTHING) | {behavior.ALL: HELPS, behavior.CONTROL: NOTHING}
    assert agree(behavior.checks(found, modulated=True)) == [True] * 5
    wrong = found | {behavior.ALL: NOTHING, words[0]: HURTS, behavior.CONTROL: HELPS}
    assert agree(behavior.checks(wrong, modulated=True)) == [False, False, True, True, False]
    assert agree(behavior.checks(found, modulated=False)) == [True, True, True, False, True]


def test_whether_neurons_know_the_animal_is_seen(store, monkeypatch):
    assert behavior.depends_on_behavior(load_recordings(store))
    monkeypatch.setattr(Session, "read_rate", lambda *_: np.ones((4, 2)))
    assert not behavior.depends_on_behavior(load_recordings(store))


def test_truth_of_the_past_and_of_the_winner():
    assert agree(dynamic_static.checks(HELPS) + dynamic_static.checks(NOTHING)) == [True, False]
    assert agree(search.checks("factorised") + search.checks("static")) == [True, False]


def test_truth_of_limits():
    known = report.Score("m", "oracle", "all", 1, 8, 0.3, 0.3, 0.5, 0.5, 0)
    above = dataclasses.replace(known, single_trial=0.6)
    reliability = np.array([0.1, np.nan, 0.3, 0.4, 0.2, 0.5, 0.7, 0.6])
    groups = limit.by_reliability(reliability, {"a": reliability, "b": -reliability})
    assert [g.neurons for g in groups] == [2, 2, 2, 1]
    noisy = np.array([0.5, 0.6, 90.0, 0.7])
    (of_four, *_) = limit.by_reliability(np.ones(16), {limit.SHARE: np.tile(noisy, 4)})
    assert of_four.means[limit.SHARE] == pytest.approx(0.65)  # one neuron does not carry a group
    assert groups[0].means["a"] == pytest.approx(0.15) and groups[3].low == 0.7
    good, bad = ({"a": report.Report((score,))} for score in (known, above))
    assert agree(limit.checks(good, groups)) == [True, True]
    assert agree(limit.checks(bad | {"b": good["a"]}, groups)) == [False, False]
    assert agree(limit.checks(good, [])) == [True, False]
    assert limit.by_reliability(np.full(3, np.nan), {}) == []


def test_truth_of_other_stimuli():
    row = out_of_domain.Row(
        tier="t", family="dots", score=0.3, low=0.1, high=0.4, raw=0.3, raw_low=0.1, ceiling=0.5,
        share=0.6, inside="final_test_main", inside_share=0.7,
    )  # fmt: skip
    assert agree(out_of_domain.checks([row])) == [True, True]
    assert agree(out_of_domain.checks([row, row._replace(score=0.6, raw_low=-0.1)])) == [
        False,
        True,
    ]
    assert agree(out_of_domain.checks([row, row._replace(raw=-0.1)])) == [True, False]
    said = out_of_domain.text_of([row, row._replace(family="noise", share=0.8)], "in CC_norm")
    assert "from 60% in CC_norm (dots of t) to 80% (noise of t)" in said
    assert "1 of 2 families" in said
    unknown = row._replace(share=np.nan, inside_share=np.nan, raw_low=-1)
    assert "nan" not in out_of_domain.text_of([unknown], "in CC_norm")
    assert "Not clearly better than chance: dots of t" in out_of_domain.text_of([unknown], "")


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


# --- seeds --------------------------------------------------------------------------------------


def run_by_chance(rng, responses, *, own):
    """Moments of each mouse's clips, of a model that does well on some clips and after some seeds.

    ``own`` [mice clips] is how well by clip, the same for all seeds of a model.
    """
    luck = 0.1 * rng.normal()
    for clips, good in zip(responses, own, strict=True):
        meter = metrics.SingleTrialCorrelation(clips.shape[2])
        for clip, (y, g) in enumerate(zip(clips, good, strict=True)):
            meter.add(str(clip), y, y + np.exp(luck + g) * rng.normal(size=y.shape))
        yield meter.clip_moments()


def test_models_that_do_not_differ_seldom_seem_to():
    """Three models of two seeds each, that differ by chance alone."""
    rng, clear, pairs = np.random.default_rng(0), 0, 0
    for _ in range(60):
        responses = rng.normal(size=(2, 6, 30, 5))
        own = 0.1 * rng.normal(size=(3, 2, 6))
        runs = [[list(run_by_chance(rng, responses, own=good)) for _ in range(2)] for good in own]
        scores = [
            [np.mean([metrics.correlate(m.sum(0)).mean() for m in run]) for run in model]
            for model in runs
        ]
        for a, b in itertools.combinations(runs, 2):
            low, high = study.interval_of(a, b, scores=scores)
            clear += low > 0 or high < 0
            pairs += 1
    assert clear <= 0.08 * pairs


def test_seeds_widen_a_comparison(tmp_path):
    """Two seeds of which one is better and one worse: nothing can be said."""
    asker = object.__new__(study.Study)
    asker.folder, asker.units = tmp_path, "raw"
    for name, noise in (("a", 1.0), ("b", 0.8), ("a-seed1", 1.0), ("b-seed1", 1.2)):
        run_of(tmp_path / name, noise)
    asker._reports = {"a": [scored(1.0)], "b": [scored(0.8)]}
    one = asker.compare("a", "b")
    asker._reports = {"a": [scored(1.0)] * 2, "b": [scored(0.8), scored(1.2)]}
    both = asker.compare("a", "b")
    assert one.low > 0 and both.low < 0 < both.high
    assert both.tier == "oracle" and both.a == pytest.approx(one.a)
    other = asker.compare("a", "b", tier="final_test_main")
    assert other.tier == "final_test_main" and other.a != both.a
