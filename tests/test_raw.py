"""Raw recordings become stores, exactly; odd ones one clear line, and nothing half-written."""

import errno
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sensorium_jax import protocol, simulate
from sensorium_jax.data import format as store_format
from sensorium_jax.data import raw as raw_data
from sensorium_jax.errors import UserError

RAW_NAMES = {
    "video": "videos",
    "behavior": "behavior",
    "pupil_center": "pupil_center",
    "response": "responses",
}


def one_mouse(folder, **options):
    """The smallest session there is."""
    plan = simulate.SessionPlan(
        "A", neurons=3, train=2, clips=1, repeats=2, ood_clips=1, ood_repeats=1
    )
    return simulate.write_session(folder, plan, **options)


@pytest.fixture(scope="module")
def mouse(tmp_path_factory):
    return one_mouse(tmp_path_factory.mktemp("mouse"))


@pytest.fixture
def copy(mouse, tmp_path):
    """A session folder that a test may damage."""
    return Path(shutil.copytree(mouse, tmp_path / "raw" / mouse.name))


def converted(folder, out):
    raw_data.convert(folder, out)
    return store_format.open_store(out).sessions[0]


def recorded(folder, field, number):
    """Valid frames of a field as released: [T ...]."""
    x = np.moveaxis(np.load(folder / "data" / RAW_NAMES[field] / f"{number}.npy"), -1, 0)
    return x[~np.isnan(x).reshape(len(x), -1).any(1)]


def test_every_number_survives(raw, store):
    for session in store_format.open_store(store).sessions:
        for row, number in enumerate(session.trials.number):
            frames = session.trials.frames[row]
            trial = session.read(row, 0, frames)
            for field in RAW_NAMES:
                x = recorded(raw / session.name, field, number)
                np.testing.assert_array_equal(getattr(trial, field), x)
                assert len(x) == frames
            truth = np.load(raw / session.name / "truth/rate" / f"{number}.npy").T[:frames]
            np.testing.assert_array_equal(session.read_rate(row, 0, frames), truth)


def test_table_follows_the_recording(raw, store):
    session = store_format.open_store(store).sessions[0]
    tiers = np.load(raw / session.name / "meta/trials/tiers.npy")
    assert session.trial_files == len(tiers) > len(session.trials.number)  # there are gaps
    np.testing.assert_array_equal(tiers[session.trials.number], session.trials.tier)
    assert set(session.trials.tier) == set(protocol.TIERS)
    assert session.trials.labelled.all()
    assert len(set(session.trials.frames)) > 1  # tails of different lengths
    families = set(session.trials.family[session.trials.tier == "final_test_bonus"])
    assert families == set(protocol.OOD_ASSIGNMENT["A"][1])


def test_neurons_and_statistics(raw, store):
    session = store_format.open_store(store).sessions[1]
    folder = raw / session.name
    for name, file in (("unit_ids", "unit_ids"), ("position_um", "cell_motor_coordinates")):
        np.testing.assert_array_equal(
            session.load(name), np.load(folder / f"meta/neurons/{file}.npy")
        )
    for field, name in RAW_NAMES.items():
        for moment in ("mean", "std"):
            released = np.load(folder / f"meta/statistics/{name}/all/{moment}.npy")
            np.testing.assert_array_equal(
                session.load(f"released/{field}_{moment}"), np.moveaxis(released, -1, 0)
            )
        train = session.trials.number[session.trials.tier == "train"]
        x = np.concatenate([recorded(folder, field, i) for i in train]).astype(np.float64)
        np.testing.assert_allclose(session.load(f"pooled/{field}_mean")[0], x.mean(0), rtol=1e-5)
        np.testing.assert_allclose(session.load(f"pooled/{field}_std")[0], x.std(0), rtol=1e-4)


def test_video_is_stored_as_bytes_where_it_can_be(copy, tmp_path):
    session = converted(copy, tmp_path / "bytes")
    assert session.read(0, 0, 5).video.dtype == np.uint8
    path = copy / "data/videos" / f"{session.trials.number[1]}.npy"
    video = np.load(path)
    video[0, 0, 0] = 3.5
    np.save(path, video)
    session = converted(copy, tmp_path / "floats")
    trial = session.read(1, 0, 5)
    assert trial.video.dtype == np.float32 and trial.video[0, 0, 0] == 3.5


def test_double_precision_recording(tmp_path):
    folder = one_mouse(tmp_path / "raw", dtype="float64")
    session = converted(folder, tmp_path / "store")
    trial = session.read(0, 0, 10)
    x = recorded(folder, "response", session.trials.number[0])[:10]
    assert x.dtype == np.float64 and trial.response.dtype == np.float32
    np.testing.assert_array_equal(trial.response, x.astype(np.float32))


def test_withheld_responses_are_marked(tmp_path):
    folder = one_mouse(tmp_path / "raw", withhold=True)
    trials = converted(folder, tmp_path / "store").trials
    hidden = np.isin(trials.tier, protocol.TEST_TIERS)
    np.testing.assert_array_equal(trials.labelled, ~hidden)
    lengths = [len(recorded(folder, "video", i)) for i in trials.number]
    np.testing.assert_array_equal(trials.frames, lengths)


def test_clips_are_found_by_their_content(copy, tmp_path):
    truth = converted(copy, tmp_path / "told").trials
    shutil.rmtree(copy / "truth")  # as in a real recording
    session = converted(copy, tmp_path / "found")
    assert not session.simulated
    shown_twice = session.trials.tier != "train"

    def same_clip(ids):
        return ids[shown_twice][:, None] == ids[shown_twice]

    np.testing.assert_array_equal(same_clip(session.trials.clip), same_clip(truth.clip))
    bonus = np.char.endswith(session.trials.tier, "bonus")
    assert set(session.trials.family[bonus]) == {"unknown"}


def test_stopped_conversion_goes_on(raw, tmp_path):
    def stop(session, done, total):
        seen.append(session)
        if len(set(seen)) == 2 and done == 3:
            raise KeyboardInterrupt

    seen = []
    with pytest.raises(KeyboardInterrupt):
        raw_data.convert(raw, tmp_path, on_trial=stop)
    with pytest.raises(UserError, match="half-written.*sensorium_2023.py again"):
        store_format.open_store(tmp_path)
    (tmp_path / f".{sorted(raw.glob('dynamic*'))[1].name}.partial").mkdir()  # as a kill leaves
    seen = []
    names = raw_data.convert(raw, tmp_path, on_trial=lambda session, *_: seen.append(session))
    assert set(seen) == {names[1]}  # the first was kept
    assert len(store_format.open_store(tmp_path).sessions) == 2
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), ValueError("No space left")]
)
def test_full_disk(error, mouse, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(store_format.SessionWriter, "write", fail)
    with pytest.raises(UserError, match="no space left in .*same command again"):
        raw_data.convert(mouse, tmp_path)
    assert not list(tmp_path.iterdir())


def first_file(folder, field):
    return sorted((folder / "data" / field).glob("*.npy"))[0]


def truncate(folder):
    path = first_file(folder, "behavior")
    path.write_bytes(path.read_bytes()[:100])


def transpose(folder):
    path = first_file(folder, "videos")
    np.save(path, np.load(path).T)


def drop_neuron(folder):
    path = first_file(folder, "responses")
    np.save(path, np.load(path)[1:])


def rename_tier(folder):
    path = folder / "meta/trials/tiers.npy"
    np.save(path, np.char.replace(np.load(path), "oracle", "orakel"))


def forget_train(folder):
    path = folder / "meta/trials/tiers.npy"
    np.save(path, np.char.replace(np.load(path), "train", "oracle"))


def pickle_positions(folder):
    np.save(folder / "meta/neurons/cell_motor_coordinates.npy", np.array([{}]), allow_pickle=True)


@pytest.mark.parametrize(
    "damage, words",
    [
        (truncate, "damaged"),
        (transpose, r"expected an array of shape \(36, 64, 324\) in .*npy, found \(324, 64, 36\)"),
        (drop_neuron, r"expected an array of shape \(3, 324\) in .*found \(2, 324\)"),
        (lambda f: first_file(f, "pupil_center").unlink(), "which is missing"),
        (rename_tier, "found orakel"),
        (forget_train, "expected trials of the tier 'train'"),
        (pickle_positions, "cell_motor_coordinates.npy, which is damaged"),
    ],
)
def test_odd_recordings_leave_nothing(damage, words, copy, tmp_path):
    damage(copy)
    with pytest.raises(UserError, match=words):
        raw_data.convert(copy, tmp_path / "store")
    assert not list((tmp_path / "store").iterdir())


def load_program():
    path = Path(__file__).parents[1] / "data_prep/sensorium_2023.py"
    spec = importlib.util.spec_from_file_location("sensorium_2023", path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program


def test_program_converts_chosen_sessions(raw, tmp_path, capsys):
    name = sorted(p.name for p in raw.iterdir())[1]
    flags = ["--raw", str(raw), "--out", str(tmp_path), "--sessions", name[:12]]
    assert load_program().main(flags) == 0
    assert "1 sessions in" in capsys.readouterr().out
    assert [s.name for s in store_format.open_store(tmp_path).sessions] == [name]


@pytest.mark.parametrize(
    "name, sessions, words",
    [
        ("nowhere", None, "found nothing"),
        (".", None, "expected session folders"),
        (None, "dynamic9", "no session 'dynamic9'"),
    ],
)
def test_program_refuses_what_is_no_recording(name, sessions, words, raw, tmp_path, capsys):
    flags = ["--raw", str(tmp_path / name if name else raw), "--out", str(tmp_path / "store")]
    assert load_program().main(flags + (["--sessions", sessions] if sessions else [])) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and words in error
    assert not (tmp_path / "store").exists()


def change_version(folder):
    path = folder / store_format.STORE_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))


@pytest.mark.parametrize(
    "damage, words",
    [
        (change_version, "expected version 1 .*found 99"),
        (lambda f: (f / "store.json").write_text("{"), "damaged"),
        (lambda f: (f / "store.json").unlink(), "half-written"),
        (lambda f: shutil.rmtree(next(f.glob("dynamic*"))), "lacks dynamic"),
        (shutil.rmtree, "no store at"),
    ],
)
def test_stores_that_are_none(damage, words, mouse, tmp_path):
    raw_data.convert(mouse, tmp_path / "store")
    damage(tmp_path / "store")
    with pytest.raises(UserError, match=words):
        store_format.open_store(tmp_path / "store")


def test_a_folder_that_is_no_store(tmp_path):
    with pytest.raises(UserError, match="expected a store .*data_prep"):
        store_format.open_store(tmp_path)
