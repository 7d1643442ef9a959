"""Machines fail: damaged files are noticed, the newest sound state is used, or one line tells."""

import functools
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest
import small
from rich.console import Console
from small import metrics_of, train_in

from sensorium_jax import complete, load_run
from sensorium_jax.cli import main as command
from sensorium_jax.cli.programs import exit_code
from sensorium_jax.data import tiers
from sensorium_jax.data.recordings import load_recordings
from sensorium_jax.errors import UserError
from sensorium_jax.runs.checkpoint import SEAL, Checkpoints, damage
from sensorium_jax.training.metric_log import MetricLog

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
QUICK = ["--size=demo", "--set", "max_epochs=1", "--set", "epoch_steps=1", "--devices=1"]
QUICK += ["--set", "data.frames=60", "--set", "data.trials=1", "--config=static_baseline"]


@pytest.fixture
def run(whole, tmp_path):
    """A finished run that a test may damage."""
    return Path(shutil.copytree(whole[0], tmp_path / "run"))


@pytest.fixture
def damaged_store(store, tmp_path):
    """A store that a test may damage."""
    return Path(shutil.copytree(store, tmp_path / "store"))


def flip(path):
    """Another bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))


def rot(path):
    """Another bit in every part of a file: every chunk of a shard is damaged."""
    data = bytearray(path.read_bytes())
    for place in range(0, len(data), max(len(data) // 40, 1)):
        data[place] ^= 4
    path.write_bytes(bytes(data))


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def steps(workdir, kind):
    """Folders of the checkpoints of a kind, the last one first."""
    folders = [p for p in (workdir / "checkpoints" / kind).iterdir() if p.name.isdigit()]
    return sorted(folders, key=lambda p: -int(p.name))


def largest(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


# --- checkpoints --------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", [flip, cut, Path.unlink], ids=["flipped", "cut off", "missing"])
def test_a_damaged_checkpoint_is_replaced_by_the_one_before(harm, run, whole, recordings):
    """Training goes on from the one before, and ends as if nothing had been."""
    last, before = steps(run, "last")
    harm(largest(last))
    with pytest.warns(UserWarning, match=f"{last.name} is damaged: .*; the one before it is used"):
        params, shown = train_in(recordings, run)
    assert f"Resuming at step {before.name} of 6" in shown
    jax.tree.map(np.testing.assert_array_equal, params, whole[1])
    assert metrics_of(run) == metrics_of(whole[0])
    assert damage(steps(run, "last")[0]) is None


def test_every_file_of_a_checkpoint_is_watched(run):
    (last, *_) = steps(run, "last")
    assert damage(last) is None
    files = [p for p in sorted(last.rglob("*")) if p.is_file() and p.stat().st_size]
    assert len(files) > 3
    for path in files:
        content = path.read_bytes()
        for harm in (flip, Path.unlink) if path.name != SEAL else (cut,):
            harm(path)
            assert path.name in damage(last)
            path.write_bytes(content)
    assert damage(last) is None


def test_when_all_are_damaged_one_line_says_what_to_do(run, recordings):
    for kind in ("last", "best"):
        for folder in steps(run, kind):
            flip(largest(folder))
    words = "expected a sound checkpoint in .*, all are damaged .*; remove that folder"
    for body in (lambda: train_in(recordings, run), lambda: load_run(run, data=recordings)):
        with warnings.catch_warnings(action="ignore"), pytest.raises(UserError, match=words):
            body()
    shutil.rmtree(run / "checkpoints")  # the advice works
    params, _ = train_in(recordings, run)
    assert Checkpoints(run).last_step == 6 and jax.tree.leaves(params)


def test_checkpoints_without_digests_are_read(run, whole, recordings):
    """Those of version 0.1 have none."""
    for seal in run.rglob(SEAL):
        seal.unlink()
    params = load_run(run, data=recordings).params
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(params), whole[1])


# --- metrics ------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [b"\0" * 40, b'{"step": 6, "los', b"[1]", b"\xff", b'{"loss": 1}'])
def test_damaged_lines_of_the_metrics_are_removed(line, tmp_path):
    log = MetricLog(tmp_path)
    for step in (1, 2, 3):
        log.write(step, {"loss": 0.5})
        with (tmp_path / "metrics.jsonl").open("ab") as file:
            file.write(line + b"\n")
    log.forget_after(2)
    assert metrics_of(tmp_path) == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.5}]


def test_a_run_killed_before_its_first_checkpoint_writes_its_steps_once(
    recordings, whole, tmp_path, monkeypatch
):
    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save_last", die)
        with pytest.raises(KeyboardInterrupt):
            train_in(recordings, tmp_path / "run")
    assert metrics_of(tmp_path / "run")
    train_in(recordings, tmp_path / "run")
    assert metrics_of(tmp_path / "run") == metrics_of(whole[0])


# --- stores -------------------------------------------------------------------------------------


def chunk_of_train(folder, field="video"):
    """The chunk file of a train trial of the first mouse, and the words that name it."""
    session = load_recordings(folder).sessions[0]
    row = int(np.flatnonzero(session.trials.tier == "train")[0])
    (path,) = [p for p in (session.folder / field / "c" / str(row)).rglob("*") if p.is_file()]
    return path, f"expected {field} of trial {session.trials.number[row]} in .*{session.name}"


@pytest.mark.parametrize("harm, reason", [(rot, ""), (Path.unlink, "its file is missing")])
@pytest.mark.parametrize("field", ["video", "response"])
def test_training_names_a_damaged_trial(field, harm, reason, damaged_store, tmp_path):
    path, words = chunk_of_train(damaged_store, field)
    harm(path)
    experiment = small.experiment(epoch_steps=9)
    with pytest.raises(UserError, match=f"{words}.*damaged .*{reason}.*remove that folder"):
        train_in(load_recordings(damaged_store), tmp_path / "run", experiment)


def test_training_goes_on_without_damaged_trials(damaged_store, tmp_path):
    """Also where it stopped at one; it names them, records them, and scores without them."""
    path, words = chunk_of_train(damaged_store, "video")
    session, *_ = load_recordings(damaged_store).sessions
    row = int(np.flatnonzero(session.trials.tier == "oracle")[-1])
    experiment, run = small.experiment(), tmp_path / "run"
    complete_ = functools.partial(complete, experiment, run, store=damaged_store, devices=1)

    def damage_after_an_epoch(epoch, score):
        rot(path)
        rot(session.folder / f"response/c/{row}/0/0")

    with pytest.raises(UserError, match="go.* on without that trial with --skip-damaged"):
        complete_(on_score=damage_after_an_epoch)
    console = Console(width=100, record=True, file=open(os.devnull, "w"))
    report = complete_(skip_damaged=True, console=console)
    number = int(path.relative_to(session.folder / "video/c").parts[0])
    left_out = sorted([int(session.trials.number[i]) for i in (number, row)])
    shown = console.export_text()
    assert shown.count("Left out: ") == 2 and "Resuming at step 3 of 6" in shown
    assert json.loads((run / "run.json").read_text())["left_out"] == {session.name: left_out}
    assert "damaged trials left out" in (run / "report.html").read_text()
    again = load_run(run)
    assert again.recordings.left_out == {session.name: left_out}
    expected = report.by_neuron("oracle")
    assert again.evaluate(again.params, "oracle").by_neuron("oracle") == pytest.approx(expected)


def test_a_moved_store_is_named(run, store, tmp_path):
    moved = Path(shutil.copytree(store, tmp_path / "moved"))
    lost = tmp_path / "lost"
    small.edit_json(run / "run.json", lambda record: record | {"data": str(lost)})
    with pytest.raises(UserError, match=f"no store at {lost}; name the folder .*--data"):
        load_run(run)
    trained = load_run(run, data=moved)
    assert trained.recordings.store.path == moved
    report = complete(small.experiment(), run, store=moved)
    assert np.isfinite(report.by_neuron("oracle")) and (run / "report.html").exists()


def test_paths_may_go_up(store, tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    shutil.copytree(store, tmp_path / "store")
    recordings = load_recordings(Path("../store"))
    assert recordings.sessions[0].read(0, 0, 60).response.any()
    train_in(recordings, Path("../run"), small.experiment(max_epochs=1, epoch_steps=1))
    assert load_run("../run").recordings.session_names == recordings.session_names


# --- trials that cannot be scored ---------------------------------------------------------------


def test_a_missing_oracle_tier_is_told_before_the_first_step(store, tmp_path):
    rows = tiers.table_of(load_recordings(store).store)
    table = tmp_path / "tiers.csv"
    rows = [row._replace(tier="none") if row.tier == "oracle" else row for row in rows]
    tiers.write_table(table, rows)
    with pytest.raises(UserError, match="oracle"):
        complete(small.experiment(), tmp_path / "run", store=store, tiers=table)
    assert not (tmp_path / "run").exists()


def shorten(folder, tier, count):
    """The first ``count`` trials of a tier end before the first scored frame, in every mouse."""

    def edit(meta):
        rows = [i for i, name in enumerate(meta["trials"]["tier"]) if name == tier]
        for row in rows[:count]:
            meta["trials"]["frames"][row] = 40
        return meta

    for file in folder.glob("*/meta.json"):
        small.edit_session(file.parent, edit)


def test_trials_too_short_to_be_scored_are_left_out_and_counted(damaged_store, run, whole):
    shorten(damaged_store, "oracle", 1)
    trained = load_run(run, data=damaged_store)
    report = trained.evaluate(trained.params, "oracle")
    assert report.too_short == 2 and np.isfinite(report.by_neuron("oracle"))
    assert "2 trials too short to be scored were left out" in str(report)


def test_a_tier_of_nothing_but_short_trials_is_told_before_the_first_step(damaged_store, tmp_path):
    shorten(damaged_store, "oracle", 99)
    with pytest.raises(UserError, match="oracle"):
        complete(small.experiment(), tmp_path / "run", store=damaged_store)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("field", ["video", "behavior", "pupil_center"])
def test_a_frame_without_a_number_never_enters_a_stream(field, run, recordings):
    """It is refused with its number, and the frames after it are predicted as ever."""
    rng = np.random.default_rng(0)
    film = {
        "video": rng.uniform(0, 255, (12, 36, 64)).astype(np.float32),
        "behavior": rng.uniform(0, 50, (12, 2)),
        "pupil_center": rng.normal(150, 5, (12, 2)),
    }
    trained, mouse = load_run(run, data=recordings), recordings.session_names[0]

    def predict(stream, start, stop, **changes):
        return stream.predict(**{k: v[start:stop] for k, v in (film | changes).items()})

    expected = [predict(stream, i, i + 1) for stream in [trained.stream(mouse)] for i in range(12)]
    damaged = film[field].copy()
    damaged[5] = np.nan
    stream = trained.stream(mouse)
    for i in range(12):
        if i == 5:
            with pytest.raises(UserError, match=f"{field}.*frame 5"):
                predict(stream, 5, 6, **{field: damaged})
        np.testing.assert_allclose(predict(stream, i, i + 1), expected[i], rtol=1e-5, atol=1e-6)
    with pytest.raises(UserError, match=f"{field}.*frame 5"):
        trained.predict(session=mouse, **film | {field: damaged})


# --- programs -----------------------------------------------------------------------------------


def test_a_second_training_in_a_workdir_is_refused(store, tmp_path, capsys):
    program = (
        "import sys; from pathlib import Path; from sensorium_jax.files import lock\n"
        "from sensorium_jax.training.loop import LOCK\n"
        "with lock(Path(sys.argv[1]) / LOCK): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "run"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    flags = ["train", *QUICK, f"--data={store}", f"--workdir={tmp_path / 'run'}"]
    assert command.main(flags) == 2
    error = capsys.readouterr().err
    assert f"in use by process {holder.pid} on " in error and error.count("\n") == 1
    holder.kill()
    holder.wait()
    assert command.main(flags) == 0  # a kill leaves no lock behind
    assert (tmp_path / "run/report.html").exists()


@pytest.mark.parametrize("words", [["train", *QUICK], ["evaluate", "RUN", "--tier=oracle"]])
def test_a_missing_device_is_one_line(words, run, store, tmp_path):
    if any(device.platform == "gpu" for device in jax.devices()):
        pytest.skip("this machine has a GPU")
    flags = [str(run) if word == "RUN" else word for word in words]
    if words[0] == "train":
        flags += [f"--data={store}", f"--workdir={tmp_path / 'new'}"]
    done = subprocess.run(
        [sys.executable, "-m", "sensorium_jax", *flags],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cuda"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "expected a device for JAX (JAX_PLATFORMS=cuda), found none" in done.stderr


@pytest.mark.parametrize("stream", ["1", "2"])
def test_closed_outputs_are_no_error(stream, tmp_path):
    flags = f"stimuli --out {tmp_path / 'stimuli'} --help {stream}>&-"
    done = subprocess.run(f"{sys.executable} -m sensorium_jax {flags}", shell=True, cwd=ROOT)
    assert done.returncode == 0


def test_outputs_that_end_early_are_no_error(capsys):
    def body():
        raise BrokenPipeError

    out = sys.stdout
    try:
        assert exit_code(body) == 0
    finally:
        sys.stdout = out


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "cache").write_text("a file")
    done = subprocess.run(
        [sys.executable, "-m", "sensorium_jax", "train", *QUICK],
        cwd=tmp_path,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "set XDG_CACHE_HOME" in done.stderr
