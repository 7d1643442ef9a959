"""Every byte of a store, a run and weights is where it was written: else one line says so."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small import edit_json, train_in

from sensorium_jax import load_run
from sensorium_jax.data import digests, tiers
from sensorium_jax.data.format import KINDS, open_store
from sensorium_jax.data.recordings import load_recordings
from sensorium_jax.data.verify import damaged_files, damaged_trials
from sensorium_jax.errors import UserError
from sensorium_jax.prepare import doctor
from sensorium_jax.runs.weights import load_weights
from sensorium_jax.runs.workdir import claim, own_tiers, read_record
from sensorium_jax.scores import results


@pytest.fixture
def copy(store, tmp_path):
    """A store that a test may damage."""
    return Path(shutil.copytree(store, tmp_path / "store"))


def read_all(folder):
    """Everything that training and evaluation read of a store."""
    recordings = load_recordings(folder)
    assert recordings.neurons.mask.any() and recordings.neuron_digests
    for kind in KINDS:
        recordings.statistics(kind)
    for session in recordings.sessions:
        session.load("stills")
        for row, frames in enumerate(session.trials.frames.tolist()):
            session.read(row, 0, frames)
            session.read_rate(row, 0, frames)


def exchange(a, b):
    beside = a.with_name("beside")
    a.rename(beside)
    b.rename(a)
    beside.rename(b)


def twins(folder):
    """Pairs of files of equal role that hold other numbers: of one array, and of two mice."""
    one, two = sorted(p.parent for p in folder.glob("*/meta.json"))
    for field in ("video", "response", "behavior", "pupil_center", "rate"):
        first, *_, last = sorted(p for p in (one / field / "c").rglob("*") if p.is_file())
        yield first, last
    yield one / "behavior/c/0/0/0", two / "behavior/c/0/0/0"
    yield one / "behavior/c/1/0/0", one / "pupil_center/c/1/0/0"
    for name in ("position_um/c/0/0", "pooled/video_std/c/0/0/0", "stills/c/0/0/0/0", "meta.json"):
        yield one / name, two / name
    yield one / "response/zarr.json", two / "response/zarr.json"
    yield one / digests.NAME, two / digests.NAME
    yield one, two


def test_what_lies_in_anothers_place_is_noticed(copy):
    """Sound files, each with its checksum: only their place is wrong."""
    read_all(copy)
    for a, b in twins(copy):
        exchange(a, b)
        with pytest.raises(UserError) as error:
            read_all(copy)
        assert "\n" not in str(error.value), (a, b)
        exchange(a, b)
    read_all(copy)


def test_every_file_of_a_session_is_watched(copy):
    """Also those that no training reads."""
    (session, *_) = open_store(copy).sessions
    files = sorted(p for p in session.folder.rglob("*") if p.is_file())
    chunks = [p for p in files if "c" in p.relative_to(session.folder).parts]
    others = [p for p in files if p not in chunks]
    harms = itertools.cycle([flip, cut, Path.unlink])
    for path, harm in zip([*others, *chunks[:: len(chunks) // 12]], harms, strict=False):
        content = path.read_bytes()
        harm(path)
        assert not is_sound(copy), path
        path.write_bytes(content)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def is_sound(folder):
    try:
        sessions = open_store(folder).sessions
    except UserError:
        return False
    return not any([*damaged_files(s), *damaged_trials(s)] for s in sessions)


def test_the_doctor_names_session_array_and_trial(copy):
    (session, *_) = open_store(copy).sessions
    sound = session.folder / "rate/c/4/0/0"
    for name, words in {
        "rate/c/3/0/0": f"rate of trial {session.trials.number[3]}",
        "framewise/behavior_std/c/0/0": "framewise/behavior_std",
    }.items():
        path = session.folder / name
        content = path.read_bytes()
        shutil.copy(sound, path)
        (finding,) = [f for f in doctor.examine(copy).findings if f.level == doctor.ERROR]
        assert words in str(finding) and session.name in str(finding)
        path.write_bytes(content)


def test_stores_without_digests_are_read(copy):
    """Those of version 0.1 have none."""
    for path in copy.glob("*/" + digests.NAME):
        path.unlink()
    edit_json(copy / "store.json", lambda x: {k: x[k] for k in ("version", "sessions")})
    read_all(copy)
    assert doctor.examine(copy).healthy


@pytest.mark.slow
def test_records_that_are_changed_are_noticed(whole, recordings, tmp_path):
    run = Path(shutil.copytree(whole[0], tmp_path / "run"))
    trained = load_run(run, data=recordings)
    results.write(run, trained.evaluate(trained.params, "oracle"))
    trained.export(tmp_path / "weights")
    readers = {
        "run.json": lambda: load_run(run, data=recordings),
        "report.json": lambda: results.read_report(run),
        "scores.npz": lambda: results.read_moments(run),
        "../weights/config.json": lambda: load_weights(tmp_path / "weights"),
        "../weights/weights.safetensors": lambda: load_weights(tmp_path / "weights"),
    }
    for name, read in readers.items():
        read()
        content = (run / name).read_bytes()
        for place in np.linspace(0, len(content) - 1, 60).astype(int).tolist():
            changed = bytearray(content)
            changed[place] ^= 1
            (run / name).write_bytes(bytes(changed))
            if name.endswith(".json") and same_json(content, bytes(changed)):
                continue
            with pytest.raises(UserError):
                read()
        (run / name).write_bytes(content)


def same_json(a, b):
    try:
        return json.loads(a) == json.loads(b)
    except ValueError:
        return False


@pytest.mark.slow
def test_the_tiers_of_a_run_are_those_it_was_trained_with(store, tmp_path):
    table = tmp_path / "tiers.csv"
    tiers.write_table(table, tiers.table_of(open_store(store)))
    recordings, run = load_recordings(store, tiers=table), tmp_path / "run"
    params, _ = train_in(recordings, run)
    copy = run / "tiers.csv"
    content = copy.read_text()
    for harm in (lambda: copy.write_text(content.replace("train", "oracle", 1)), copy.unlink):
        harm()
        for read in (lambda: load_run(run), lambda: own_tiers(run, read_record(run)[1])):
            with pytest.raises(UserError, match="tiers.csv as the run was trained with it"):
                read()
        with pytest.raises(UserError, match="tiers.csv as the run was trained with it"):
            claim(run, load_record(run), recordings)
    copy.write_text(content)
    np.testing.assert_array_equal(
        load_run(run).params.weights["readout"]["bias"], params.weights["readout"]["bias"]
    )


def load_record(run):
    return read_record(run)[0]
