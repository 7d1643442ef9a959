"""Raw recordings become stores, exactly; odd ones one clear line, and nothing half-written."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from small import edit_json

from sensorium_jax import protocol, simulate
from sensorium_jax.cli import prepare
from sensorium_jax.data import format as store_format
from sensorium_jax.data.recordings import load_recordings
from sensorium_jax.errors import UserError
from sensorium_jax.prepare import release
from sensorium_jax.prepare.convert import Options, convert
from sensorium_jax.prepare.gaps import interpolate
from sensorium_jax.prepare.raw import RawSession
from sensorium_jax.prepare.survey import RunningMoments

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
    """A session folder that a test may damage, by ``replace`` and ``unlink`` only: hard links."""
    return Path(shutil.copytree(mouse, tmp_path / "raw" / mouse.name, copy_function=os.link))


def replace(path, content):
    """Put an array or bytes in the place of a file."""
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)


def zipped(folder, path, *, top=True):
    """A zip of a session folder, with or without the folder itself, and macOS's leavings."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        for file in sorted(folder.rglob("*.npy")):
            out.write(file, file.relative_to(folder.parent if top else folder))
        out.writestr(f"__MACOSX/{folder.name}/meta/trials/._tiers.npy", b"x")
    return path


def converted(folder, out):
    convert(folder, out)
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
    replace(path, video)
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


def test_labels_of_the_films_are_the_simulators(raw, store):
    for session in store_format.open_store(store).sessions:
        truth = json.loads((raw / session.name / "truth/trials.json").read_text())
        order = [truth["number"].index(number) for number in session.trials.number]
        clip, family = np.array(truth["clip"])[order], np.array(truth["family"])[order]
        np.testing.assert_array_equal(session.trials.family, family)
        ids = session.trials.clip
        np.testing.assert_array_equal(ids[:, None] == ids, clip[:, None] == clip)


def test_mice_that_saw_the_same_clips_share_their_ids(mouse, tmp_path):
    twin = shutil.copytree(mouse, tmp_path / "raw" / "dynamic2-1-1-Video-simulated")
    convert(mouse, tmp_path / "store")
    convert(twin, tmp_path / "store")
    one, other = store_format.open_store(tmp_path / "store").sessions
    np.testing.assert_array_equal(one.trials.clip, other.trials.clip)
    np.testing.assert_array_equal(one.load("stills"), other.load("stills"))


def test_zips_are_read_like_folders(mouse, tmp_path):
    for top in (True, False):
        raw = tmp_path / f"raw{top}"
        raw.mkdir()
        zipped(mouse, raw / f"{mouse.name}.zip", top=top)
        convert(raw, tmp_path / f"store{top}")
        (session,) = store_format.open_store(tmp_path / f"store{top}").sessions
        assert session.name == mouse.name
        for row, number in enumerate(session.trials.number):
            trial = session.read(row, 0, session.trials.frames[row])
            for field in RAW_NAMES:
                x = recorded(mouse, field, number)
                np.testing.assert_array_equal(getattr(trial, field), x)


def test_other_libraries_read_the_store(mouse, tmp_path):
    zarr = pytest.importorskip("zarr", reason="zarr-python is not installed")
    session = converted(mouse, tmp_path)
    trial = session.read(1, 0, 30)
    for field in RAW_NAMES:
        x = zarr.open_array(tmp_path / session.name / field, mode="r")
        np.testing.assert_array_equal(x[1, :30], getattr(trial, field))
    position = zarr.open_array(tmp_path / session.name / "position_um", mode="r")
    np.testing.assert_array_equal(position[:], session.load("position_um"))


def test_half_precision_is_near_and_says_how_near(mouse, tmp_path):
    convert(mouse, tmp_path, options=Options(response="float16"))
    session = store_format.open_store(tmp_path).sessions[0]
    assert session.dtype("response") == "float16"
    errors, values = [], []
    for row, number in enumerate(session.trials.number):
        x = recorded(mouse, "response", number)
        y = session.read(row, 0, len(x)).response
        assert y.dtype == np.float16
        errors.append(x - y.astype(np.float32))
        values.append(x)
    error, value = np.concatenate(errors), np.concatenate(values)
    said = session.provenance["float16_error"]
    np.testing.assert_allclose(said["largest"], np.abs(error).max(), rtol=1e-5)
    relative = np.sqrt(np.square(error).mean() / np.square(value).mean())
    np.testing.assert_allclose(said["relative_rms"], relative, rtol=1e-3)
    assert 0 < relative < 1e-3


def test_provenance(mouse, tmp_path):
    convert(mouse, tmp_path, options=Options(command="the command"))
    session = store_format.open_store(tmp_path).sessions[0]
    assert session.provenance["source"] == str(mouse)
    assert session.provenance["command"] == "the command"
    assert session.provenance["written_by"].startswith("sensorium_jax ")
    sums = session.provenance["sha256"]
    assert len(set(sums)) == len(sums) == len(session.trials.number)


def test_framewise_statistics(raw, store):
    """They are those that the recording came with, which the simulator computes over all trials."""
    session = store_format.open_store(store).sessions[0]
    for field in RAW_NAMES:
        for moment in ("mean", "std"):
            released = session.load(f"released/{field}_{moment}")
            ours = session.load(f"framewise/{field}_{moment}")
            valid = np.isfinite(released[: len(ours)])
            assert valid.any()
            np.testing.assert_allclose(
                ours[valid], released[: len(ours)][valid], rtol=2e-4, atol=1e-4
            )


def test_moments_of_trials_of_different_lengths():
    rng = np.random.default_rng(0)
    trials = [rng.normal(3, 2, (n, 4)) for n in (5, 9, 7)]
    moments = RunningMoments()
    for x in trials:
        moments.add(x.astype(np.float32))
    mean, std = moments.framewise()
    for t in range(9):
        there = np.stack([x[t] for x in trials if len(x) > t])
        np.testing.assert_allclose(mean[t], there.mean(0), rtol=1e-5)
        np.testing.assert_allclose(std[t], there.std(0), rtol=1e-4, atol=1e-4)
    mean, std = moments.pooled()
    np.testing.assert_allclose(mean[0], np.concatenate(trials).mean(0), rtol=1e-5)
    np.testing.assert_allclose(std[0], np.concatenate(trials).std(0), rtol=1e-5)


def test_recordings_without_statistics_use_the_train_tiers(copy, tmp_path):
    with_theirs = load_recordings(converted(copy, tmp_path / "one").folder.parent)
    shutil.rmtree(copy / "meta/statistics")
    without = load_recordings(converted(copy, tmp_path / "two").folder.parent)
    for one, two in zip(
        with_theirs.statistics("framewise")[:4], without.statistics("released")[:4], strict=True
    ):
        np.testing.assert_array_equal(one.mean, two.mean)
        np.testing.assert_array_equal(one.std, two.std)


def test_trials_may_be_left_out(copy, tmp_path):
    numbers = RawSession(copy).numbers
    leave_out = (f"{copy.name.partition('-Video')[0]}:{numbers[2]}",)
    convert(copy, tmp_path / "store", options=Options(leave_out=leave_out))
    session = store_format.open_store(tmp_path / "store").sessions[0]
    np.testing.assert_array_equal(session.trials.number, np.delete(numbers, 2))
    assert session.provenance["left_out"] == [numbers[2]]


def test_corrupt_trials_of_the_release_are_left_out(mouse, tmp_path):
    name = release.mice()["D"].session.replace("8744edeac3b4d1ce16b680916b5267ce", "simulated")
    folder = tmp_path / "raw" / name
    shutil.copytree(mouse, folder)
    tiers = np.load(folder / "meta/trials/tiers.npy")
    padded = np.full(700, protocol.MISSING, dtype=tiers.dtype)
    padded[: len(tiers)] = tiers
    corrupt = release.CORRUPT["D"]
    padded[corrupt] = "live_test_bonus"
    np.save(folder / "meta/trials/tiers.npy", padded)
    for field in ("data/videos", "data/responses", "data/behavior", "data/pupil_center"):
        shutil.copy(next((folder / field).glob("*.npy")), folder / field / f"{corrupt}.npy")
    session = converted(folder, tmp_path / "store")
    assert corrupt not in session.trials.number and session.provenance["left_out"] == [corrupt]


def test_a_store_grows_mouse_by_mouse(raw, tmp_path):
    names = sorted(p.name for p in raw.iterdir())
    assert convert(raw, tmp_path, sessions=[names[1]]) == [names[1]]
    before = (tmp_path / names[1] / "meta.json").stat().st_mtime_ns
    assert convert(raw, tmp_path, sessions=[names[0]]) == names
    assert (tmp_path / names[1] / "meta.json").stat().st_mtime_ns == before


def test_other_options_convert_again(mouse, tmp_path):
    convert(mouse, tmp_path)
    convert(mouse, tmp_path, options=Options(response="float16"))
    assert store_format.open_store(tmp_path).sessions[0].dtype("response") == "float16"


def test_a_killed_conversion_goes_on(raw, tmp_path):
    """SIGKILL in the second mouse: the first is kept, and no half for a whole."""
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from sensorium_jax.data.convert import convert\n"
        "seen = []\n"
        "def on_trial(session, done, total):\n"
        "    seen.append(session)\n"
        "    if len(set(seen)) == 2 and done == 5: os.kill(os.getpid(), signal.SIGKILL)\n"
        "convert(Path(sys.argv[1]), Path(sys.argv[2]), on_trial=on_trial)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, raw, tmp_path], cwd=Path(__file__).parents[1]
    )
    assert ended.returncode == -signal.SIGKILL
    with pytest.raises(UserError, match="half-written.*run .*again"):
        store_format.open_store(tmp_path)
    seen = set()
    names = convert(raw, tmp_path, on_trial=lambda session, *_: seen.add(session))
    assert seen == {names[1]} and not list(tmp_path.glob(".*"))
    assert len(store_format.open_store(tmp_path).sessions) == 2


def test_stopped_conversion_goes_on(raw, tmp_path):
    def stop(session, done, total):
        seen.append(session)
        if len(set(seen)) == 2 and done == 3:
            raise KeyboardInterrupt

    seen = []
    with pytest.raises(KeyboardInterrupt):
        convert(raw, tmp_path, on_trial=stop)
    with pytest.raises(UserError, match="half-written.*run .*again"):
        store_format.open_store(tmp_path)
    (tmp_path / f".{sorted(raw.glob('dynamic*'))[1].name}.partial").mkdir()  # as a kill leaves
    seen = []
    names = convert(raw, tmp_path, on_trial=lambda session, *_: seen.append(session))
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
        convert(mouse, tmp_path)
    assert not list(tmp_path.iterdir())


def holds_anything(folder):
    return folder.exists() and bool(list(folder.iterdir()))


# --- broken recordings --------------------------------------------------------------------------


def first_file(folder, field):
    return sorted((folder / "data" / field).glob("*.npy"))[0]


def changed(field, change):
    """Damage the first trial of a field."""

    def damage(folder):
        path = first_file(folder, field)
        replace(path, change(np.load(path)))

    return damage


def cut(name, size):
    """Keep the first bytes of a file."""

    def damage(folder):
        path = folder / name if "/" in name else first_file(folder, name)
        replace(path, path.read_bytes()[:size])

    return damage


def put(name, content):
    """Put something in the place of a file."""
    return lambda folder: replace(folder / name, content)


def of_tiers(change):
    def damage(folder):
        path = folder / "meta/trials/tiers.npy"
        replace(path, change(np.load(path)))

    return damage


def with_value(value, *at):
    def change(x):
        x = x.copy()
        x[at] = value
        return x

    return change


def directory(folder):
    path = first_file(folder, "behavior")
    path.unlink()
    path.mkdir()


UNITS, PLACES = "meta/neurons/unit_ids.npy", "meta/neurons/cell_motor_coordinates.npy"
MEAN, STD = "meta/statistics/videos/all/mean.npy", "meta/statistics/responses/all/std.npy"
BROKEN = {
    "video missing": (lambda f: first_file(f, "videos").unlink(), "videos/.*npy, which is missing"),
    "response missing": (lambda f: first_file(f, "responses").unlink(), "responses/.* missing"),
    "behaviour missing": (lambda f: first_file(f, "behavior").unlink(), "1 of 11 behavior are"),
    "pupil missing": (lambda f: first_file(f, "pupil_center").unlink(), "leave the trial out"),
    "a field missing": (lambda f: shutil.rmtree(f / "data/behavior"), "behavior/0.npy, .*missing"),
    "unit ids missing": (lambda f: (f / UNITS).unlink(), "unit_ids.npy, which is missing"),
    "positions missing": (lambda f: (f / PLACES).unlink(), "cell_motor.*missing; fetch"),
    "statistics missing": (lambda f: (f / MEAN).unlink(), "videos/all/mean.npy, which is missing"),
    "truncated data": (cut("behavior", 200), "behavior/.*npy, which is damaged"),
    "truncated header": (cut("videos", 40), "damaged .*fetch that session again"),
    "empty file": (cut("responses", 0), "damaged"),
    "truncated tiers": (cut("meta/trials/tiers.npy", 150), "tiers.npy, which is damaged"),
    "text": (lambda f: replace(first_file(f, "videos"), b"not an array"), "damaged"),
    "pickled trial": (changed("videos", lambda x: np.array([{}])), "damaged .*Python objects"),
    "pickled positions": (put(PLACES, np.array([{}])), "cell_motor_coordinates.npy.* damaged"),
    "a folder for a file": (directory, "expected to read .*permissions"),
    "video transposed": (
        changed("videos", np.transpose),
        r"expected an array of shape \(36, 64, 324\) in .*npy, found \(324, 64, 36\)",
    ),
    "response transposed": (changed("responses", np.transpose), r"found \(324, 3\)"),
    "video too short": (changed("videos", lambda x: x[..., :-1]), r"found \(36, 64, 323\)"),
    "pupil too long": (changed("pupil_center", lambda x: np.pad(x, ((0, 0), (0, 1)))), "2, 325"),
    "a neuron less": (changed("responses", lambda x: x[1:]), r"\(3, 324\) in .*found \(2, 324\)"),
    "a third behaviour": (changed("behavior", lambda x: np.pad(x, ((0, 1), (0, 0)))), "3, 324"),
    "strings": (changed("pupil_center", lambda x: x.astype(str)), "expected numbers in .*<U"),
    "complex numbers": (changed("responses", lambda x: x.astype(complex)), "found complex128"),
    "NaN inside a video": (changed("videos", with_value(np.nan, 3, 3, 10)), "NaN at frame 10"),
    "NaN inside a response": (
        changed("responses", with_value(np.nan, 0, 7)),
        "frame 7 and numbers",
    ),
    "NaN inside behaviour": (
        changed("behavior", with_value(np.nan, 1, 20)),
        "behavior/.* frame 20",
    ),
    "nothing but NaN": (changed("videos", lambda x: x * np.nan), "NaN from the first frame on"),
    "infinity": (changed("responses", with_value(np.inf, 0, 7)), "finite .*infinity; .*leave"),
    "tiers too short": (of_tiers(lambda x: x[:-1]), "expected a tier for every trial"),
    "unknown tier": (of_tiers(lambda x: np.char.replace(x, "oracle", "orakel")), "found orakel"),
    "tiers as numbers": (of_tiers(lambda x: np.arange(len(x))), "list of tier names .*int64"),
    "tiers in two columns": (of_tiers(lambda x: np.stack([x, x])), "list of tier names"),
    "no trials": (of_tiers(lambda x: np.full_like(x, "none")), "expected trials in .*found none"),
    "no train trials": (of_tiers(lambda x: np.char.replace(x, "train", "oracle")), "tier 'train'"),
    "unit twice": (put(UNITS, np.array([1, 2, 2])), "every unit id once .* found 2 2 times"),
    "units in columns": (put(UNITS, np.ones((3, 1))), r"unit ids \[neurons\]"),
    "no units": (put(UNITS, np.zeros(0)), "unit ids"),
    "positions of others": (put(PLACES, np.zeros((4, 3))), r"shape \(3, 3\) .*found \(4, 3\)"),
    "statistics of others": (put(MEAN, np.zeros((36, 64, 300))), "mean.npy, found .*300"),
    "zero statistics": (put(STD, np.zeros((3, 324))), "deviations above zero .*responses/all/std"),
    "damaged statistics": (put(STD, b"x"), "std.npy, which is damaged"),
    "a unit without a number": (put(UNITS, np.array([1, np.nan, 2])), "found nan; number the"),
    "half a unit": (put(UNITS, np.array([1, 2.5, 2])), "found 2.5; number the units"),
    "named units": (put(UNITS, np.array(["1", "a", "2"])), "found 'a'; number the units"),
    "a place without a number": (
        put(PLACES, np.array([[1, 2, 3], [1, np.nan, 3], [1, 2, np.inf]])),
        r"a place of every neuron .*for 2 of 3 \(the first is unit",
    ),
    "beyond float32": (
        changed("responses", lambda x: with_value(1e39, 0, 7)(x.astype(float))),
        "within float32's range .*responses/",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_recordings_leave_nothing(name, copy, tmp_path):
    damage, words = BROKEN[name]
    damage(copy)
    with pytest.raises(UserError, match=words) as error:
        convert(copy, tmp_path / "store")
    assert "\n" not in str(error.value) and str(copy) in str(error.value)
    assert not holds_anything(tmp_path / "store")


def truncated_zip(folder, path):
    zipped(folder, path)
    path.write_bytes(path.read_bytes()[:-2000])


def flipped_zip(folder, path):
    """A byte of a video is another: its checksum tells."""
    zipped(folder, path)
    with zipfile.ZipFile(path) as read:
        inside = next(i for i in read.infolist() if "videos" in i.filename and i.file_size > 10**6)
    data = bytearray(path.read_bytes())
    data[inside.header_offset + inside.compress_size // 2] ^= 255
    path.write_bytes(bytes(data))


def twofold_zip(folder, path):
    with zipfile.ZipFile(path, "w") as out:
        for top in ("a", "b"):
            out.write(folder / "meta/trials/tiers.npy", f"{top}/meta/trials/tiers.npy")


def bomb(folder, path):
    """A file of a few bytes that says it holds terabytes."""
    zipped(folder, path)
    with zipfile.ZipFile(path) as read:
        inside = next(i for i in read.infolist() if i.filename.endswith("unit_ids.npy"))
    data = bytearray(path.read_bytes())
    entry = data.rindex(inside.filename.encode()) - 46  # of the central directory
    data[entry + 24 : entry + 28] = (2**32 - 2).to_bytes(4, "little")
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "make, words",
    [
        (truncated_zip, "expected a zip at .*damaged"),
        (flipped_zip, "videos/.*npy, which is damaged"),
        (twofold_zip, "meta/neurons/unit_ids.npy, which is missing"),
        (bomb, "it says 4,294,967,294: not a recording"),
        (
            lambda folder, path: zipfile.ZipFile(path, "w").close(),
            "expected a session .*found none",
        ),
        (lambda folder, path: path.write_bytes(b"PK"), "expected a zip"),
    ],
)
def test_broken_zips_leave_nothing(make, words, mouse, tmp_path):
    (tmp_path / "raw").mkdir()
    make(mouse, tmp_path / "raw" / f"{mouse.name}.zip")
    with pytest.raises(UserError, match=words) as error:
        convert(tmp_path / "raw", tmp_path / "store")
    assert "\n" not in str(error.value)
    assert not holds_anything(tmp_path / "store")


def test_responses_beyond_half_precision(copy, tmp_path):
    changed("responses", with_value(7e4, 0, 7))(copy)
    with pytest.raises(UserError, match="range of 65504 in .*found 70000"):
        convert(copy, tmp_path / "store", options=Options(response="float16"))
    assert not holds_anything(tmp_path / "store")


@pytest.mark.parametrize(
    "options, words",
    [
        (Options(response="int8"), "float32 or float16, got 'int8'"),
        (Options(leave_out=("668",)), "expected SESSION:NUMBER .* got '668'"),
        (Options(leave_out=("dynamic9:668",)), "no session 'dynamic9'"),
    ],
)
def test_options_that_are_none(options, words, mouse, tmp_path):
    with pytest.raises(UserError, match=words):
        convert(mouse, tmp_path / "store", options=options)
    assert not (tmp_path / "store").exists()


def test_program_converts_chosen_sessions(raw, tmp_path, capsys):
    name = sorted(p.name for p in raw.iterdir())[1]
    flags = ["--raw", str(raw), "--out", str(tmp_path), "--sessions", name.partition("-Video")[0]]
    assert prepare.main(["raw", *flags, "--response", "float16"]) == 0
    out = capsys.readouterr().out
    assert "1 sessions in" in out and "float16 is off by" in out
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
    assert prepare.main(["raw", *flags, *(["--sessions", sessions] if sessions else [])]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and words in error
    assert not (tmp_path / "store").exists()


def change_version(folder):
    path = folder / store_format.STORE_FILE
    edit_json(path, lambda record: record | {"version": 99})


@pytest.mark.parametrize(
    "damage, words",
    [
        (change_version, "expected version 2 .*found 99"),
        (lambda f: (f / "store.json").write_text("{"), "damaged"),
        (lambda f: (f / "store.json").unlink(), "half-written"),
        (lambda f: shutil.rmtree(next(f.glob("dynamic*"))), "lacks dynamic"),
        (shutil.rmtree, "no store at"),
    ],
)
def test_stores_that_are_none(damage, words, mouse, tmp_path):
    convert(mouse, tmp_path / "store")
    damage(tmp_path / "store")
    with pytest.raises(UserError, match=words):
        store_format.open_store(tmp_path / "store")


def test_a_folder_that_is_no_store(tmp_path):
    with pytest.raises(UserError, match="expected a store .*sensorium-jax prepare"):
        store_format.open_store(tmp_path)


# --- odd recordings, and what becomes of them ---------------------------------------------------


def change_all(folder, field, change):
    """Damage every trial of a field: ``change`` gets its array and its number."""
    for path in sorted((folder / "data" / field).glob("*.npy")):
        replace(path, change(np.load(path), int(path.stem)))


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_pupil_that_was_not_tracked_is_zero_and_said(value, copy, tmp_path):
    """Pupil size and centre all NaN, or all 0; the running speed stays."""
    change_all(copy, "pupil_center", lambda x, _: np.where(np.isnan(x), np.nan, value))
    change_all(copy, "behavior", lambda x, _: np.stack([0 * x[0] + value, x[1]]))
    session = converted(copy, tmp_path / "store")
    assert "the pupil was not tracked" in session.provenance["notes"][0]
    for row, number in enumerate(session.trials.number):
        frames = session.trials.frames[row]
        trial = session.read(row, 0, frames)
        assert not trial.pupil_center.any() and not trial.behavior[:, 0].any()
        speed = np.load(copy / f"data/behavior/{number}.npy")[1]
        np.testing.assert_array_equal(trial.behavior[:, 1], speed[~np.isnan(speed)])
    statistics = load_recordings(tmp_path / "store").statistics("pooled")
    assert all(np.isfinite(m.mean).all() and (m.std > 0).all() for m in statistics[:4])


def test_a_pupil_lost_in_one_trial_is_told(copy, tmp_path):
    changed("pupil_center", lambda x: x * np.nan)(copy)
    with pytest.raises(UserError, match="pupil_center/.*NaN from the first frame on.*leave"):
        convert(copy, tmp_path / "store")
    first = first_file(copy, "pupil_center").stem
    convert(copy, tmp_path / "store", options=Options(leave_out=(f"{copy.name}:{first}",)))


def test_a_first_trial_that_is_damaged_may_be_left_out(copy, tmp_path):
    for field in RAW_NAMES.values():
        first = min((copy / "data" / field).glob("*.npy"), key=lambda p: int(p.stem))
        replace(first, b"")
    session = RawSession(copy)
    leave_out = (f"{copy.name}:{first.stem}",)
    convert(copy, tmp_path / "store", options=Options(leave_out=leave_out))
    stored = store_format.open_store(tmp_path / "store").sessions[0]
    np.testing.assert_array_equal(stored.trials.number, session.numbers[1:])


def blink(first, last):
    """NaN in the pupil's size in some frames of every trial."""

    def change(x, _):
        x = x.copy()
        x[0, first:last] = np.nan
        return x

    return change


def test_blinks_are_interpolated_when_asked(copy, tmp_path):
    change_all(copy, "behavior", blink(10, 14))
    with pytest.raises(UserError, match="--fill-gaps SECONDS"):
        convert(copy, tmp_path / "store")
    with pytest.raises(UserError, match="NaN at frame 10"):  # four frames last longer
        convert(copy, tmp_path / "store", options=Options(fill_gaps=0.1))
    session_of = {}
    for seconds in (4 / 30, 1.0):
        convert(copy, tmp_path / "store", options=Options(fill_gaps=seconds))
        session = session_of[seconds] = store_format.open_store(tmp_path / "store").sessions[0]
        assert session.made_from["choices"] == {"fill_gaps": f"{seconds:g} s"}
        frames = 4 * len(session.trials.number)
        assert f"{frames} frames of behaviour are interpolated" in session.provenance["notes"][0]
        size = session.read(0, 0, 20).behavior[:, 0]
        np.testing.assert_allclose(size[9:15], np.linspace(size[9], size[14], 6), rtol=1e-6)


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_gaps_that_cannot_be(seconds, raw, tmp_path, capsys):
    flags = ["--raw", str(raw), "--out", str(tmp_path / "store"), f"--fill-gaps={seconds}"]
    assert prepare.main(["raw", *flags]) == 2
    assert "error: expected --fill-gaps above 0 seconds" in capsys.readouterr().err


@given(
    arrays(np.float64, (12, 2), elements=st.sampled_from([np.nan, 1.0, 2.0, 5.0])),
    st.integers(0, 12),
)
def test_only_short_gaps_between_numbers_are_interpolated(x, most):
    filled = interpolate(x, most=most)
    kept = ~np.isnan(x)
    np.testing.assert_array_equal(filled[kept], x[kept])
    for column in range(2):
        there = np.flatnonzero(kept[:, column])
        expected = kept[:, column].copy()
        for left, right in zip(there[:-1], there[1:], strict=True):
            expected[left:right] |= right - left - 1 <= most
        np.testing.assert_array_equal(~np.isnan(filled[:, column]), expected)
        if len(there):
            between = np.interp(np.arange(12), there, x[there, column])
            np.testing.assert_allclose(filled[expected, column], between[expected])


def test_fields_that_end_at_different_frames_are_told(copy, tmp_path):
    path = first_file(copy, "pupil_center")
    x = np.load(path)
    last = int(np.isfinite(x[0]).sum())
    x[:, last - 3 :] = np.nan
    replace(path, x)
    session = converted(copy, tmp_path / "store")
    row = session.trials.number.tolist().index(int(path.stem))
    assert session.trials.frames[row] == last - 3
    assert f"end with the shortest ({path.stem})" in session.provenance["notes"][0]


def test_a_silent_trial_is_not_withheld(copy, tmp_path):
    tiers = np.load(copy / "meta/trials/tiers.npy")
    silent = [int(np.flatnonzero(tiers == tier)[0]) for tier in ("train", "live_test_main")]
    change_all(copy, "responses", lambda x, i: 0 * x if i in silent else x)
    trials = converted(copy, tmp_path / "store").trials
    assert trials.labelled.all() and set(silent) <= set(trials.number)


def test_text_that_is_a_number_is_a_unit_id(copy, tmp_path):
    replace(copy / UNITS, np.array(["11", "7", "300"]))
    session = converted(copy, tmp_path / "store")
    np.testing.assert_array_equal(session.load("unit_ids"), [11, 7, 300])


def test_files_that_are_no_trials_are_passed_over(copy, tmp_path):
    videos = copy / "data/videos"
    for name in ("\u00b2.npy", "._0.npy", "Thumbs.db", "0 (copy).npy"):
        (videos / name).write_bytes(b"")
    converted(copy, tmp_path / "store")


def test_trials_too_short_to_be_scored_are_told(copy, tmp_path):
    tiers = np.load(copy / "meta/trials/tiers.npy")
    number = int(np.flatnonzero(tiers == "oracle")[0])
    for field in RAW_NAMES.values():
        path = copy / f"data/{field}/{number}.npy"
        x = np.load(path)
        x[..., protocol.SKIP_FRAMES :] = np.nan
        replace(path, x)
    session = converted(copy, tmp_path / "store")
    assert f"1 trials are too short to be scored ({number})" in session.provenance["notes"][0]


@pytest.mark.parametrize("scale", [1 / 255, -1.0, 2.0])
def test_films_of_other_grey_levels_are_refused(scale, copy, tmp_path):
    change_all(copy, "videos", lambda x, _: x * scale)
    with pytest.raises(UserError, match="expected grey levels 0 to 255 in the films of .*found"):
        convert(copy, tmp_path / "store")
    assert not holds_anything(tmp_path / "store")
