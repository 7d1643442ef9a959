"""How a training step is fitted into memory, and what is said before it runs."""

import dataclasses

import pytest
import small
from small import train_in

from sensorium_jax import load_run
from sensorium_jax.cli.main import main
from sensorium_jax.configs import load_config
from sensorium_jax.errors import UserError
from sensorium_jax.experiment import Training, override
from sensorium_jax.runs.workdir import claim
from sensorium_jax.training import plan, programs
from sensorium_jax.training.forecast import forecast
from sensorium_jax.training.plan import Plan, plans


def replace(**changes):
    return dataclasses.replace(small.experiment(), **changes)


@pytest.mark.parametrize(
    ("size", "settings", "expected"),
    [
        ("demo", [], [(3, "none"), (1, "none"), (1, "core"), (1, "all")]),
        ("published", [], [(1, "none"), (1, "core"), (1, "all")]),
        ("demo", ["rematerialise=core"], [(3, "core"), (1, "core")]),
        ("demo", ["mice_at_once=2"], [(1, "none"), (1, "core"), (1, "all")]),  # it divides three
        ("published", ["mice_at_once=3", "rematerialise=all"], [(3, "all")]),
    ],
)
def test_plans_go_from_the_fastest_to_the_leanest(size, settings, expected):
    experiment = load_config("gru_baseline", size)
    for setting in settings:
        experiment = override(experiment, f"training.{setting}")
    found = list(plans(experiment, mice=3, devices=1))
    assert found == [Plan(*pair) for pair in expected]


@pytest.mark.parametrize("value", ["mice_at_once=0", "rematerialise=some", "mice_at_once=many"])
def test_settings_that_cannot_be(value):
    with pytest.raises(UserError, match=f"training.{value.partition('=')[0]}"):
        override(small.experiment(), f"training.{value}")


@pytest.mark.slow
def test_training_takes_the_first_plan_that_fits(recordings, whole, tmp_path, monkeypatch):
    """The same model, to rounding; and a run may be resumed by another plan."""
    tried = []
    monkeypatch.setattr(plan, "fits", lambda program: tried.append(program) or len(tried) > 1)
    leanest = Training(mice_at_once=1, rematerialise="all")
    monkeypatch.setattr(plan, "LEVELS", ("none", "all"))
    params, _ = train_in(recordings, tmp_path / "run", replace(training=Training(1)))
    assert len(tried) == 2
    a, b = (x.weights["readout"]["bias"] for x in (params, whole[1]))
    assert abs(a - b).max() < 1e-3
    claim(tmp_path / "run", replace(training=leanest), recordings)
    assert load_run(tmp_path / "run").experiment == replace(training=Training(1))


@pytest.mark.slow
def test_training_that_cannot_fit_is_refused_before_its_first_step(
    recordings, tmp_path, monkeypatch
):
    monkeypatch.setattr(plan, "free_bytes", lambda: 2**20)
    words = "expected at most 0.0 GiB for a training step, 80 % of the free memory, found .*fits"
    with pytest.raises(UserError, match=words):
        train_in(recordings, tmp_path / "run", replace(training=Training(1, "none")))
    assert not (tmp_path / "run/checkpoints/last/3").exists()


@pytest.mark.slow
def test_forecasts_are_what_training_compiles(recordings, tmp_path, monkeypatch):
    compiled = []
    chosen = programs.first_that_fits

    def watch(*args):
        compiled.append(chosen(*args))
        return compiled[-1]

    monkeypatch.setattr(programs, "first_that_fits", watch)
    experiment = small.experiment(max_epochs=1, epoch_steps=1)
    train_in(recordings, tmp_path / "run", experiment)
    frames = max(int(s.trials.frames.max()) for s in recordings.sessions)
    found = forecast(experiment, [5, 7], devices=1, frames=frames, steps=1)
    ((taken, program),) = compiled
    assert found.chosen == taken and found.plans == {taken: plan.needed_bytes(program)}
    assert found.step_s > 0
    run_bytes = sum(p.stat().st_size for p in (tmp_path / "run/checkpoints").rglob("*/d/*"))
    assert 0 < found.parts["weights"] < found.disk and run_bytes > 0


@pytest.mark.slow
def test_the_program_says_what_fits(store, capsys, monkeypatch):
    words = ["plan", "--config=static_baseline", "--size=demo", f"--data={store}", "--devices=1"]
    for setting in ("model.core.channels=1", "model.core.layers=1", "data.frames=8"):
        words += ["--set", setting]
    words += ["--set", "data.trials=1", "--set", "training.rematerialise=none"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "2 mice, 7 neurons at most" in shown and "Training will take 2 mice at once." in shown
    monkeypatch.setattr(plan, "free_bytes", lambda: 2**10)
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.out.count("does not fit") == 2
    assert "fits (here 1 trials of 8 frames)" in shown.err and shown.err.count("\n") == 1
