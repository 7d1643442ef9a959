"""Batches: true pieces of trials, the same for the same seed, resumable, padded, masked."""

import gc
import itertools
import pickle
import shutil
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sensorium_jax import parallel, protocol
from sensorium_jax.data import format as store_format
from sensorium_jax.data import pipeline
from sensorium_jax.data import recordings as recordings_module
from sensorium_jax.data.recordings import load_recordings
from sensorium_jax.errors import UserError
from sensorium_jax.prepare.convert import Options, convert
from sensorium_jax.runs.predictions import place_recordings
from sensorium_jax.types import Moments

FRAMES, TRIALS = 12, 4


@pytest.fixture(scope="module")
def recordings(store):
    return load_recordings(store)


def iterator(recordings, *, seed=0, frames=FRAMES, trials=TRIALS):
    return pipeline.train_iterator(recordings, frames=frames, trials=trials, seed=seed)


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_batch_is_every_mouse_stacked(recordings):
    batch = next(iterator(recordings))
    assert batch.video.shape == (2, TRIALS, FRAMES, 36, 64) and batch.video.dtype == np.uint8
    assert batch.behavior.shape == batch.pupil_center.shape == (2, TRIALS, FRAMES, 2)
    assert batch.response.shape == (2, TRIALS, FRAMES, 7)
    assert batch.first_frame.shape == (2, TRIALS)
    assert batch.frame_mask.all() and batch.frame_mask.shape == (2, TRIALS, FRAMES)
    assert not batch.response[0, ..., 5:].any()  # padding of the smaller mouse
    np.testing.assert_array_equal(recordings.neurons.mask.sum(1), (5, 7))


def test_crops_are_pieces_of_train_trials(recordings):
    batches = iterator(recordings)
    starts = []
    for _ in range(5):
        batch = next(batches)
        for s, session in enumerate(recordings.sessions):
            rows = recordings.rows(s, protocol.TRAIN)
            for b in range(TRIALS):
                start = int(batch.first_frame[s, b])
                starts.append(start)
                crops = [session.read(row, start, start + FRAMES) for row in rows]
                crop = tuple(x[s, b] for x in batch[:3])
                hits = [crop for c in crops if equal(c[:3], crop)]
                assert len(hits) == 1
    assert len(set(starts)) > 20 and max(starts) > 150


def test_every_trial_comes_once_a_round(recordings):
    batches = iterator(recordings, frames=300, trials=9)
    seen = next(batches).behavior[:, :, 0, 0]
    again = next(batches).behavior[:, :, 0, 0]
    for s, session in enumerate(recordings.sessions):
        rows = recordings.rows(s, protocol.TRAIN)
        every = sorted(float(session.read(row, 0, 1).behavior[0, 0]) for row in rows)
        assert sorted(seen[s].tolist()) == sorted(again[s].tolist()) == every
    assert not np.array_equal(seen, again)  # shuffled anew


def test_seed_decides_all(recordings):
    a, b, c = (iterator(recordings, seed=seed) for seed in (0, 0, 1))
    first = next(a)
    assert equal(first, next(b))
    assert not equal(first, next(c))
    assert not equal(first, next(a))


def test_position_can_be_kept_and_resumed(recordings):
    batches = iterator(recordings)
    next(batches)
    position = batches.get_state()
    expected = [next(batches) for _ in range(3)]
    fresh = iterator(recordings)
    fresh.set_state(position)
    assert all(equal(next(fresh), x) for x in expected)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"trials": 10}, "at least 10 trials of train .*found 9; lower data.trials"),
        ({"frames": 301}, "at least 301 frames .*found one of 300; lower data.frames"),
        ({"frames": 0}, "at least 1 frame"),
        ({"trials": 0}, "at least 1 frame and 1 trial"),
    ],
)
def test_batches_that_cannot_be_made(options, words, recordings):
    with pytest.raises(UserError, match=words):
        iterator(recordings, **options)


def test_evaluation_reads_whole_trials_in_order(recordings):
    items = list(pipeline.eval_batches(recordings, "live_test_bonus", trials=3, rate=True))
    for s, session in enumerate(recordings.sessions):
        index = np.concatenate([item.index[s] for item in items])
        rows = recordings.rows(s, "live_test_bonus")
        np.testing.assert_array_equal(index[index >= 0], rows)
        assert (np.diff(session.trials.number[rows]) > 0).all()
        for item in items:
            for b, row in enumerate(item.index[s]):
                valid = min(300, session.trials.frames[row]) if row >= 0 else 0
                assert item.batch.frame_mask[s, b].sum() == valid
                trial = session.read(max(row, 0), 0, valid)
                n = session.neurons
                np.testing.assert_array_equal(item.batch.video[s, b, :valid], trial.video)
                np.testing.assert_array_equal(item.batch.response[s, b, :valid, :n], trial.response)
                truth = session.read_rate(max(row, 0), 0, valid)
                np.testing.assert_array_equal(item.rate[s, b, :valid, :n], truth)
    shapes = {item.batch.video.shape for item in items}
    assert shapes == {(2, 3, 300, 36, 64)}


def test_unknown_split_names_the_nearest(recordings):
    with pytest.raises(UserError, match="no split 'live_main'; did you mean live_test_main"):
        list(pipeline.eval_batches(recordings, "live_main", trials=1))


@pytest.mark.parametrize("kind, frames", [("pooled", 1), ("released", 300), ("framewise", 300)])
def test_statistics_are_padded_and_never_zero(kind, frames, recordings):
    statistics = recordings.statistics(kind)
    assert statistics.video.mean.shape == (2, frames, 36, 64)
    assert statistics.response.std.shape == (2, frames, 7)
    assert (statistics.response.std[0, :, 5:] == 1).all()
    for moments in statistics[:4]:
        assert np.isfinite(moments.mean).all() and (moments.std > 0).all()
    files = [len(s.trials.number) for s in recordings.sessions]  # not the gaps between them
    assert files != [s.trial_files for s in recordings.sessions]
    np.testing.assert_array_equal(statistics.trials, files)


class Still:
    """A session whose second neuron never fires and whose third has no statistics late on."""

    has_released = True

    def load(self, name):
        std = np.array([[2.0, 0.0, 4.0], [2.0, 0.0, np.nan]], np.float32)
        return {"released/response_mean": std, "released/response_std": std}[name]


def test_floor_of_the_response_std():
    moments = recordings_module.response_moments(Still(), "released")
    floor = 0.01 * np.mean([2, 0, 4, 2, 0])
    np.testing.assert_allclose(moments.std, [[2, floor, 4], [2, floor, floor]], rtol=1e-6)
    assert isinstance(moments, Moments)


@pytest.mark.parametrize("name", ["video", "behavior", "pupil_center"])
def test_only_a_zero_std_of_inputs_is_replaced(name):
    """The reference divides by a std as small as it is: a pixel of std 0.25 beside one of 58."""
    std = np.array([[58.0, 0.25, 0.0, np.nan, 3e-5]], np.float32)
    arrays = {
        f"released/{name}_mean": np.full((1, 5), 100, np.float32),
        f"released/{name}_std": std,
        f"pooled/{name}_mean": np.full((1, 5), 100, np.float32),
        f"pooled/{name}_std": np.array([[60.0, 0.3, 0.0, 7.0, 0.0]], np.float32),
    }
    session = SimpleNamespace(load=arrays.__getitem__, has_released=True)
    moments = recordings_module.input_moments(session, "released", name)
    np.testing.assert_array_equal(moments.std, np.float32([[58, 0.25, 1, 7, 1]]))


def test_trials_left_out_count_as_files(recordings, monkeypatch):
    session = recordings.sessions[0]
    monkeypatch.setattr(session, "provenance", session.provenance | {"left_out": [4, 9]})
    assert session.recorded_trials == len(session.trials.number) + 2


def test_unknown_statistics(recordings):
    with pytest.raises(
        UserError, match="expected statistics of kind released or framewise or pooled"
    ):
        recordings.statistics("rolling")


def test_sessions_travel_to_other_processes(store):
    session = store_format.open_store(store).sessions[0]
    before = session.read(1, 5, 9)
    assert equal(pickle.loads(pickle.dumps(session)).read(1, 5, 9), before)


def test_conversion_and_simulation_never_load_jax():
    """The pipeline's own imports are held by test_imports; grain loads jax by itself."""
    code = (
        "import sys, sensorium_jax.data.doctor, sensorium_jax.demo, sensorium_jax.simulate;"
        "sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    "command",
    [
        "sensorium-jax prepare raw --raw RAW --out STORE",
        "sensorium-jax prepare nwb --nwb FILE.nwb --out STORE",
        "sensorium-jax train (which simulates these mice)",
    ],
)
def test_a_damaged_store_names_the_command_that_made_it(command, raw, tmp_path):
    """Whatever is damaged, as long as a session or the store's list remembers it."""
    numbers = itertools.count()
    convert(raw, tmp_path / "store", options=Options(command=command))
    session = load_recordings(tmp_path / "store").session_names[0]

    def damaged(name, content):
        store = Path(shutil.copytree(tmp_path / "store", tmp_path / f"damaged{next(numbers)}"))
        file = store / name
        file.unlink() if content is None else file.write_text(content)
        return store

    for name in ("store.json", f"{session}/meta.json"):
        for content in (None, "", "{", "[]", "null", "{}"):
            with pytest.raises(UserError) as error:
                load_recordings(damaged(name, content))
            assert command in str(error.value) and "\n" not in str(error.value)
    (tmp_path / "empty/.mouse.partial").mkdir(parents=True)
    with pytest.raises(UserError, match="run the command that made it again"):
        load_recordings(tmp_path / "empty")


def test_recordings_do_not_outlive_their_last_user(store):
    """Statistics of ten mice are 254 MB: nothing keeps them but their recordings."""
    recordings = load_recordings(store)
    kept, mesh = weakref.ref(recordings), parallel.make_mesh(1)
    assert recordings.statistics("pooled") is recordings.statistics("pooled")
    placed = place_recordings(recordings, "pooled", mesh)
    assert place_recordings(recordings, "pooled", parallel.make_mesh(1)) is placed
    assert place_recordings(load_recordings(store), "pooled", mesh) is not placed
    del recordings
    gc.collect()
    assert kept() is None


def test_some_of_the_mice(store):
    recordings = load_recordings(store)
    a, b = recordings.session_names
    assert recordings.only([b, a]) is recordings
    assert recordings.only([b]).session_names == (b,)
    with pytest.raises(UserError, match="no mouse 'c'"):
        recordings.only(["c"])


def test_sessions_are_groups_of_zarr(store, recordings):
    """Other programs open a session as a group, and its arrays by name."""
    zarr = pytest.importorskip("zarr")
    session = recordings.sessions[0]
    group = zarr.open_group(session.folder, mode="r")
    np.testing.assert_array_equal(group["unit_ids"][:], session.load("unit_ids"))
    assert {"video", "response", "pooled", "framewise", "released"} <= set(group.keys())
    np.testing.assert_array_equal(group["pooled"]["video_std"][:], session.load("pooled/video_std"))
    np.testing.assert_array_equal(group["video"][0, :5], session.read(0, 0, 5).video)


def test_any_batch_of_training_can_be_made_again(recordings):
    """By its number alone, as naming the trials of a step needs it."""
    options = {"trials": 2, "seed": 3}
    batches = pipeline.train_iterator(recordings, frames=10, **options)
    for index in range(6):
        expected = next(batches)
        found = pipeline.train_batch(recordings, index, frames=10, **options)
        for a, b in zip(expected, found, strict=True):
            np.testing.assert_array_equal(a, b)
        rows = pipeline.train_rows(recordings, index, **options)
        for s, row in np.ndindex(rows.shape):
            start = int(found.first_frame[s, row])
            trial = recordings.sessions[s].read(int(rows[s, row]), start, start + 10)
            np.testing.assert_array_equal(found.video[s, row], trial.video)
