"""Training: resumes exactly, stops when asked, refuses to go on with nonsense; runs reopen."""

import dataclasses
import errno
import signal
import sys
import types

import jax
import numpy as np
import pytest
import small
from small import metrics_of, train_in

from sensorium_jax import load_run, parallel, simulate
from sensorium_jax.data.recordings import load_recordings
from sensorium_jax.errors import STOP_SIGNALS, UserError
from sensorium_jax.experiment import optim, override
from sensorium_jax.prepare.convert import convert
from sensorium_jax.runs.checkpoint import KEPT, Checkpoints
from sensorium_jax.runs.workdir import claim
from sensorium_jax.training import metric_log
from sensorium_jax.training.loop import Interrupted

pytestmark = pytest.mark.slow


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def signal_once(monkeypatch, number, *, step):
    """Send a signal to this process when ``step`` is logged; first steps are."""
    write = metric_log.MetricLog.write

    def and_signal(self, at, values):
        write(self, at, values)
        if at == step:
            monkeypatch.setattr(metric_log.MetricLog, "write", write)
            signal.raise_signal(number)

    monkeypatch.setattr(metric_log.MetricLog, "write", and_signal)


def test_a_run_learns_and_leaves_its_story(whole):
    workdir, _, shown = whole
    records = metrics_of(workdir)
    scores = [r for r in records if "oracle" in r]
    assert [r["step"] for r in scores] == [3, 6]
    assert all({"loss", "poisson", "penalty", "grad_norm"} <= r.keys() for r in records[:1])
    assert max(r["oracle"] for r in scores) == scores[-1]["best"]
    assert "epoch   2/2" in shown and "best so far" in shown


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_stopped_and_resumed_equals_never_stopped(number, whole, recordings, tmp_path, monkeypatch):
    signal_once(monkeypatch, number, step=1)
    earlier = signal.signal(number, signal.SIG_DFL)  # nohup and shells may ignore it
    try:
        with pytest.raises(Interrupted, match="saved at step 1 of 6"):
            train_in(recordings, tmp_path / "run")
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, earlier)
    params, shown = train_in(recordings, tmp_path / "run")
    assert "Resuming at step 1 of 6" in shown
    assert_same(params, whole[1])
    assert metrics_of(tmp_path / "run") == metrics_of(whole[0])


def test_a_finished_run_is_not_trained_again(whole, recordings):
    before = metrics_of(whole[0])
    params, shown = train_in(recordings, whole[0])
    assert "Already trained (step 6 of 6)" in shown
    assert_same(params, whole[1])
    assert metrics_of(whole[0]) == before


def test_killed_run_forgets_what_it_will_do_again(recordings, tmp_path, whole, monkeypatch):
    signal_once(monkeypatch, signal.SIGINT, step=3)
    with pytest.raises(Interrupted):
        train_in(recordings, tmp_path / "run")
    with (tmp_path / "run/metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "loss": 1}\n{"step": 6, "lo')  # written after the last save
    train_in(recordings, tmp_path / "run")
    assert metrics_of(tmp_path / "run") == metrics_of(whole[0])


def test_plateau_brings_the_best_weights_back(recordings, tmp_path):
    # A tolerance that nothing after the first epoch can beat.
    plateau = optim.Plateau(patience=1, rounds=2, tolerance=3.0)
    plan = small.experiment(plateau=plateau, epoch_steps=1, max_epochs=9)
    params, shown = train_in(recordings, tmp_path / "run", plan)
    scores = [r for r in metrics_of(tmp_path / "run") if "oracle" in r]
    assert [r["step"] for r in scores] == [1, 2, 3]  # better, decay, stop
    assert [r["lr_scale"] for r in scores] == [1.0, 0.3, 0.3]
    assert "learning rate lowered" in shown
    first, _ = train_in(recordings, tmp_path / "one", dataclasses.replace(plan, max_epochs=1))
    assert_same(params, first)


def test_a_resumed_run_that_decays_compiles_once(recordings, tmp_path, monkeypatch):
    """Restored states lie on the devices as those that a step returns."""
    programs = []

    def keep(make):
        return lambda *args, **plan: programs.append(make(*args, **plan)) or programs[-1]

    for name in ("make_train_step", "make_predict_step"):
        monkeypatch.setattr(parallel, name, keep(getattr(parallel, name)))
    signal_once(monkeypatch, signal.SIGINT, step=1)
    plateau = optim.Plateau(patience=2, rounds=2, tolerance=3.0)
    plan = small.experiment(plateau=plateau, epoch_steps=1, max_epochs=9)
    with pytest.raises(Interrupted):
        train_in(recordings, tmp_path / "run", plan, devices=2)
    programs.clear()
    train_in(recordings, tmp_path / "run", plan, devices=2)
    rates = [r["lr_scale"] for r in metrics_of(tmp_path / "run") if "oracle" in r]
    assert rates[1:3] == [1.0, 0.3] and len(rates) == 5  # two steps on, decay, two more
    # The step is compiled before its first call, and then takes arrays of that placement only.
    assert [program._cache_size() for program in programs] == [1, 0]


def test_divergence_is_an_error_of_one_line(recordings, tmp_path):
    plan = override(small.experiment(), "optimizer.learning_rate=1e30")
    with pytest.raises(UserError, match="finite numbers, got .* at step .*learning_rate"):
        train_in(recordings, tmp_path / "run", plan)


def test_full_disk(recordings, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("orbax.checkpoint.CheckpointManager.save", fail)
    with pytest.raises(UserError, match="no space left for a checkpoint .*same command"):
        train_in(recordings, tmp_path / "run")


# --- load_run -----------------------------------------------------------------------------------


def test_a_run_reopens(whole, recordings):
    again = load_run(whole[0])
    assert again.experiment == small.experiment()
    assert_same(jax.device_get(again.params), whole[1])
    best = max(r["oracle"] for r in metrics_of(whole[0]) if "oracle" in r)
    assert again.evaluate(again.params, "oracle").by_neuron("oracle") == pytest.approx(best)


def test_a_run_reopens_on_another_number_of_devices(whole):
    one, two = (load_run(whole[0], devices=n) for n in (1, 2))
    scores = [r.evaluate(r.params, "oracle").by_neuron("oracle") for r in (one, two)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_all_tiers_are_scored(whole, capsys):
    report = load_run(whole[0]).evaluate_all()
    tiers = list(dict.fromkeys(s.tier for s in report.scores))
    assert tiers == [
        "oracle",
        "live_test_main",
        "final_test_main",
        "live_test_bonus",
        "final_test_bonus",
    ]


def test_predict_gives_expected_responses(whole, recordings):
    again = load_run(whole[0])
    name = recordings.session_names[1]
    trial = recordings.sessions[1].read(0, 0, 40)
    rate = again.predict(trial.video, trial.behavior, trial.pupil_center, session=name)
    assert rate.shape == (40, 7) and (rate > 0).all()
    means = recordings.sessions[1].load("pooled/response_mean")[0]
    assert 0.2 < np.median(rate.mean(0) / means) < 5  # in the recording's own unit
    with pytest.raises(UserError, match="one of the run's mice, got x"):
        again.predict(trial.video, trial.behavior, trial.pupil_center, session="x")
    with pytest.raises(UserError, match=r"expected video of shape \(40, 36, 64\)"):
        again.predict(trial.video[:, 1:], trial.behavior, trial.pupil_center, session=name)


def test_long_films_are_predicted_in_pieces(whole, recordings, monkeypatch):
    again = load_run(whole[0])
    name = recordings.session_names[0]
    film = recordings.sessions[0].read(0, 0, 40)[:3]
    expected = again.predict(*film, session=name)
    monkeypatch.setattr("sensorium_jax.runs.run.PIECE_FRAMES", 9)
    np.testing.assert_allclose(again.predict(*film, session=name), expected, rtol=1e-5)
    stream = again.stream(name)
    frames = [stream.predict(*(x[t : t + 1] for x in film)) for t in range(3)]
    np.testing.assert_allclose(np.concatenate(frames), expected[:3], rtol=1e-5)
    with pytest.raises(UserError, match=r"expected behavior of shape \(1, 2\), got \(2, 2\)"):
        stream.predict(film[0][:1], film[1][:2], film[2][:1])
    with pytest.raises(UserError, match="one of the run's mice, got x"):
        again.stream("x")


def test_a_workdir_belongs_to_one_experiment(whole, recordings, tmp_path):
    other = override(small.experiment(), "model.core.channels=2")
    with pytest.raises(UserError, match="another experiment: .*channels: 1, here 2; .*--workdir"):
        claim(whole[0], other, recordings)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="found other files; name another --workdir"):
        claim(tmp_path, other, recordings)


@pytest.mark.parametrize(
    "letters, words",
    [
        ("A", "expected the sessions of the run, .*, in .*, found dynamic"),
        ("AB", "expected the neurons of the run in .*, found others, or .* in dynamic.*, dynamic"),
    ],
)
def test_a_workdir_belongs_to_its_neurons(letters, words, whole, tmp_path):
    """Readouts of other mice, or of other neurons of the same mice, would be others'."""
    raw, store = tmp_path / "raw", tmp_path / "store"
    simulate.write_recording(raw, letters=letters, neurons=4, train=4, clips=1, repeats=2)
    convert(raw, store)
    with pytest.raises(UserError, match=words + ".*; name another --workdir"):
        claim(whole[0], small.experiment(), load_recordings(store))
    with pytest.raises(UserError, match=words + ".*; name the run's own store as data="):
        load_run(whole[0], data=store)


def test_what_is_no_run(tmp_path, whole, recordings):
    with pytest.raises(UserError, match="run.json, which is missing; name the --workdir of a run"):
        load_run(tmp_path)
    claim(tmp_path / "new", small.experiment(), recordings)
    with pytest.raises(UserError, match="expected a checkpoint in .*train first"):
        load_run(tmp_path / "new")

    def forget(record):
        record["experiment"]["model"]["core"]["type"] = "cores.equivariant.Forgotten"
        return record

    small.edit_json(tmp_path / "new/run.json", forget)
    with pytest.raises(UserError, match="expected an experiment of sensorium_jax"):
        load_run(tmp_path / "new")


def test_checkpoints_keep_two_of_each(whole):
    for kind in ("last", "best"):
        steps = [p for p in (whole[0] / "checkpoints" / kind).iterdir() if p.name.isdigit()]
        assert 1 <= len(steps) <= KEPT
    assert Checkpoints(whole[0]).last_step == 6


def test_tensorboard_gets_the_same_numbers(tmp_path, monkeypatch):
    class Writer:
        def __init__(self, folder):
            self.folder = folder

        def add_scalar(self, *values):
            written.append(values)

    written = []
    fake = types.ModuleType("tensorboardX")
    fake.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "tensorboardX", fake)
    metric_log.MetricLog(tmp_path).write(7, {"loss": 0.5})
    assert written == [("loss", 0.5, 7)]
    assert metrics_of(tmp_path) == [{"step": 7, "loss": 0.5}]
