"""NWB files become recordings: names, sizes and places, and what is missing."""

import json
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nwb_files import (
    TIERS,
    TIMES,
    film,
    image_series,
    pynwb,
    roi_series,
    time_series,
    write,
)

from sensorium_jax.cli import prepare
from sensorium_jax.data.format import open_store
from sensorium_jax.errors import UserError
from sensorium_jax.prepare.doctor import examine
from sensorium_jax.prepare.nwb import Names, NwbSession

NAMES = Names(pupil_size="pupil", running_speed="speed", pupil_center="gaze")


def run(*argv):
    """The exit code of ``prepare nwb``, however it ends."""
    try:
        return prepare.main(["nwb", *map(str, argv)])
    except SystemExit as stop:
        return stop.code


def test_every_clock_is_put_on_one_grid(tmp_path):
    session = NwbSession(write(tmp_path / "mouse.nwb"), NAMES)
    assert session.name == "mouse" and session.frames == 60
    np.testing.assert_array_equal(session.numbers, range(4))
    np.testing.assert_array_equal(session.unit_ids, [10, 11, 12])
    np.testing.assert_array_equal(session.position_um, [[n, 2 * n, 3 * n] for n in range(3)])
    trial, labelled, _ = session.read(1)
    seconds = 2 + np.arange(60) / 30
    assert labelled and trial.video.dtype == np.uint8
    np.testing.assert_array_equal(trial.video, film()[60:120])
    np.testing.assert_allclose(trial.response, seconds[:, None] * [1, 2, 3], rtol=1e-5)
    np.testing.assert_allclose(trial.behavior, np.stack([40 + seconds, 2 * seconds], 1), rtol=1e-5)
    np.testing.assert_allclose(trial.pupil_center, np.stack([seconds, -seconds], 1), rtol=1e-5)
    assert session.notes() == []


def test_places_from_masks(tmp_path):
    for mask in ("image_mask", "pixel_mask"):
        session = NwbSession(write(tmp_path / f"{mask}.nwb", places=mask), NAMES)
        np.testing.assert_array_equal(session.position_um, [[4, n + 0.5, 0] for n in range(3)])
    session = NwbSession(write(tmp_path / "v.nwb", places="voxel_mask"), NAMES)
    np.testing.assert_array_equal(session.position_um, np.zeros((3, 3)))
    assert session.notes() == ["no places of the ROIs: all at the origin"]


def test_what_is_not_named_is_zero_and_said(tmp_path):
    session = NwbSession(write(tmp_path / "m.nwb"))
    trial = session.read(0).trial
    assert not trial.behavior.any() and trial.behavior.shape == (60, 2)
    assert not trial.pupil_center.any() and trial.pupil_center.shape == (60, 2)
    assert "no running speed named: zeros" in session.notes()


@pytest.mark.parametrize("flat", [True, False], ids=["[time]", "[time 1]"])
def test_one_neuron(flat, tmp_path):
    session = NwbSession(write(tmp_path / "m.nwb", rois=1, flat=flat), NAMES)
    np.testing.assert_array_equal(session.unit_ids, [10])
    response = session.read(1).trial.response
    np.testing.assert_allclose(response, 2 + np.arange(60)[:, None] / 30, rtol=1e-5)


def add_twins(nwb):
    """A film, a pupil and responses of the same names as others, in other places."""
    nwb.add_acquisition(image_series("movie", film()[::-1], rate=30.0))
    behavior = nwb.create_processing_module(name="behavior", description="camera")
    behavior.add(time_series("pupil", 90 + TIMES))
    region = nwb.acquisition["events"].rois.table.create_roi_table_region(
        region=[2, 0], description="two"
    )
    data = np.stack([-TIMES, -2 * TIMES], axis=1)
    nwb.processing["ophys"].add(roi_series("events", data, region, timestamps=TIMES))


TWINS = {
    "stimulus": ("movie", ("acquisition/movie", "stimulus/presentation/movie")),
    "response": ("events", ("acquisition/events", "processing/ophys/events")),
    "pupil_size": ("pupil", ("acquisition/pupil", "processing/behavior/pupil")),
}
UNIQUE = {option: paths[0] for option, (_, paths) in TWINS.items()}


@pytest.mark.parametrize("option", TWINS)
def test_series_of_one_name_are_told_by_their_paths(option, tmp_path):
    name, paths = TWINS[option]
    path = write(tmp_path / "m.nwb", more=add_twins)
    flag = f"--{option.replace('_', '-')}"
    words = rf"{path}, found 2 \({', '.join(paths)}\); name one by that path with {flag}$"
    for ambiguous in (name, None)[: 1 if option == "pupil_size" else 2]:
        with pytest.raises(UserError, match=words):
            NwbSession(path, Names(**UNIQUE | {option: ambiguous}))
    for chosen in paths:
        session = NwbSession(path, Names(**UNIQUE | {option: chosen}))
        assert session.choices[option] == chosen
    short = paths[1].partition("/")[2]  # the end of a path is enough
    assert NwbSession(path, Names(**UNIQUE | {option: short})).choices[option] == paths[1]


def test_the_series_of_that_path_is_read(tmp_path):
    path = write(tmp_path / "m.nwb", more=add_twins)
    seconds = 2 + np.arange(60) / 30
    one, two = (
        NwbSession(path, Names(**{option: paths[i] for option, (_, paths) in TWINS.items()}))
        for i in range(2)
    )
    np.testing.assert_array_equal(one.read(1).trial.video, film()[::-1][60:120])
    np.testing.assert_array_equal(two.read(1).trial.video, film()[60:120])
    np.testing.assert_allclose(one.read(1).trial.behavior[:, 0], 40 + seconds, rtol=1e-5)
    np.testing.assert_allclose(two.read(1).trial.behavior[:, 0], 90 + seconds, rtol=1e-5)
    np.testing.assert_allclose(one.read(1).trial.response[:, 2], 3 * seconds, rtol=1e-5)
    np.testing.assert_allclose(two.read(1).trial.response[:, 1], -2 * seconds, rtol=1e-5)
    np.testing.assert_array_equal(two.unit_ids, [12, 10])
    np.testing.assert_array_equal(two.position_um, [[2, 4, 6], [0, 0, 0]])


def test_a_whole_path_may_be_the_end_of_another(tmp_path):
    def add(nwb):
        module = nwb.create_processing_module(name="acquisition", description="camera")
        module.add(time_series("pupil", 90 + TIMES))

    path = write(tmp_path / "m.nwb", more=add)
    for chosen in ("acquisition/pupil", "processing/acquisition/pupil"):
        assert NwbSession(path, Names(pupil_size=chosen)).choices["pupil_size"] == chosen


def test_program_makes_a_store(tmp_path, capsys):
    files = [write(tmp_path / f"{name}.nwb") for name in ("one", "two")]
    assert run("--nwb", *files, "--out", tmp_path / "store", "--pupil-size", "pupil") == 0
    out = capsys.readouterr().out
    assert "2 sessions in" in out and "one: no running speed named: zeros" in out
    one, two = open_store(tmp_path / "store").sessions
    assert one.trials.tier.tolist() == list(TIERS[:4]) and one.trial_files == 5
    assert not one.has_released
    np.testing.assert_array_equal(one.trials.clip, two.trials.clip)
    np.testing.assert_array_equal(one.read(1, 0, 60).video, film()[60:120])
    assert not [f for f in examine(tmp_path / "store").findings if "damaged" in f.what]


def test_another_series_is_converted_anew(tmp_path):
    """The same choice is not."""
    path, store = write(tmp_path / "m.nwb"), tmp_path / "store"

    def convert(*flags):
        assert run("--nwb", path, "--out", store, *flags) == 0
        return (store / "m/meta.json").stat().st_ino

    def behavior():
        trial = open_store(store).sessions[0].read(1, 0, 60)
        return np.concatenate([trial.behavior, trial.pupil_center], axis=1)

    seconds = 2 + np.arange(60) / 30
    first = convert("--pupil-size", "pupil")
    assert convert("--pupil-size", "acquisition/pupil") == first
    assert convert("--pupil-size", "speed") != first
    np.testing.assert_allclose(behavior()[:, 0], 2 * seconds, rtol=1e-5)
    convert("--pupil-size", "speed", "--pupil-center", "gaze")
    np.testing.assert_allclose(behavior()[:, 2:], np.stack([seconds, -seconds], 1), rtol=1e-5)
    made_from = json.loads((store / "m/meta.json").read_text())["made_from"]
    assert made_from["choices"]["pupil_size"] == "acquisition/speed"
    assert made_from["choices"]["pupil_center"] == "acquisition/gaze"


def test_files_of_one_name(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    files = [write(tmp_path / folder / "m.nwb") for folder in "ab"]
    flags = ["--nwb", *files, "--out", tmp_path / "store"]
    assert run(*flags) == 2
    error = capsys.readouterr().err
    assert f"found m in {files[0]} and in {files[1]}; rename one with --rename" in error
    assert error.count("\n") == 1 and not (tmp_path / "store").exists()
    assert run(*flags, "--rename", f"{files[1]}=other") == 0
    assert [s.name for s in open_store(tmp_path / "store").sessions] == ["m", "other"]


BROKEN = {
    "no film": ({"film": False}, {}, "expected one film .* found none; it cannot be converted"),
    "another film": ({}, {"stimulus": "movies"}, "no film 'movies' .* did you mean movie"),
    "another path": ({}, {"response": "ophys/events"}, "did you mean acquisition/events"),
    "no trials": ({"trials": False}, {}, "expected a table of trials"),
    "no tiers": ({"column": "split"}, {}, "a column 'tier' .* found start_time, .*split; add it"),
    "unknown tier": ({"tiers": ("train", "test")}, {}, "found test; rename"),
    "no stop": ({"stops": {1: np.nan}}, {}, "of trial 1 .* 2 to nan s; correct it.* tier 'none'"),
    "no end": ({"stops": {1: np.inf}}, {}, "of trial 1 .* found 2 to inf s; correct it"),
    "stop before start": ({"stops": {2: 3.5}}, {}, "of trial 2 .* found 4 to 3.5 s; correct it"),
    "no such response": ({}, {"response": "event"}, "did you mean events"),
    "turned responses": ({"turned": True}, {}, r"\[time ROIs\] for 3 ROIs .* transpose"),
    "one of three": ({"flat": True}, {}, r"\[time ROIs\] for 3 ROIs .* found \(96,\); transpose"),
    "gaze for speed": ({}, {"running_speed": "gaze"}, r"expected 1 number a time in gaze"),
    "speed for gaze": ({}, {"pupil_center": "speed"}, r"expected 2 number a time in speed"),
    "no such pupil": ({}, {"pupil_size": "xyz"}, "no TimeSeries 'xyz' .* there are: events, "),
    "half a name": ({}, {"pupil_size": "upil"}, "no TimeSeries 'upil' .* did you mean pupil"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_files_that_do_not_hold_a_recording(name, tmp_path):
    change, names, words = BROKEN[name]
    path = write(tmp_path / "m.nwb", **change)
    with pytest.raises(UserError, match=words) as error:
        NwbSession(path, NAMES._replace(**names))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_text_is_no_behaviour(tmp_path):
    def add(nwb):
        nwb.add_acquisition(
            pynwb.misc.AnnotationSeries(name="notes", data=["a"] * 96, timestamps=TIMES)
        )

    with pytest.raises(UserError, match="1 number a time in notes .* of object; name another"):
        NwbSession(write(tmp_path / "m.nwb", more=add), NAMES._replace(pupil_size="notes"))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"shift": 6.0}, "expected .* to last from 12.00 to 13.97 s for trial 3 .* tier 'none'"),
        ({"hole": True}, "expected numbers in the response of trial 0 .* tier 'none'"),
        ({"stops": {1: 2.01}}, "expected frames in trial 1 of .*, found 0.01 s; correct its times"),
    ],
)
def test_trials_that_cannot_be_read(change, words, tmp_path):
    session = NwbSession(write(tmp_path / "m.nwb", **change), NAMES)
    with pytest.raises(UserError, match=words):
        for number in session.numbers:
            session.read(number)


def test_a_trial_of_no_tier_needs_no_end(tmp_path):
    session = NwbSession(write(tmp_path / "m.nwb", stops={4: np.nan}), NAMES)
    assert session.frames == 60 and session.numbers.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("content", [None, b"not hdf5", "hdf5"])
def test_what_is_no_nwb_file(content, tmp_path, capsys):
    path = tmp_path / "m.nwb"
    if content == "hdf5":
        h5py.File(path, "w").close()
    elif content:
        path.write_bytes(content)
    assert run("--nwb", path, "--out", tmp_path / "store") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: expected an NWB file at") and error.count("\n") == 1
    assert not (tmp_path / "store").exists()


def test_a_reader_that_fails_without_words(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise AssertionError

    path = write(tmp_path / "m.nwb")
    monkeypatch.setattr(pynwb.NWBHDF5IO, "read", fail)
    with pytest.raises(UserError, match=r"it cannot be read \(AssertionError\)$"):
        NwbSession(path)


def test_the_package_that_reads_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "m.nwb")
    monkeypatch.setitem(sys.modules, "pynwb", None)
    with pytest.raises(UserError, match=r"pip install 'sensorium_jax\[nwb\]'"):
        NwbSession(path)


def clock(fault, rate, seed):
    """Times of five seconds at about a rate; perhaps with a fault at a random place."""
    rng = np.random.default_rng(seed)
    seconds = {"single": 0.01, "short": 2.5}.get(fault, 5.0)
    times = np.arange(max(int(seconds * rate), 1)) / rate
    times += np.sort(rng.uniform(0, 0.4 / rate, len(times))) * (seed % 2)  # jitter
    place = int(rng.integers(len(times)))
    if fault == "gap":
        times[place:] += 3 / rate
    if fault in ("NaN", "back"):
        times[place] = np.nan if fault == "NaN" else times[place] - 5 / rate
    return times


FAULTS = [
    *((part, fault) for part in "fr" for fault in ("gap", "NaN", "back", "single", "short")),
    *(("stop", stop) for stop in (0.01, np.nan, np.inf)),
    *(("hole", sample) for sample in (0, 7)),
    *(("levels", levels) for levels in ("0:9", "9")),
    *(("size", size) for size in ((40, 64), (18, 32))),
    ("resample", False),
]


@settings(max_examples=25, deadline=None)
@given(
    fault=st.just((None, None)) | st.sampled_from(FAULTS),
    film_rate=st.sampled_from([24.0, 29.97, 30.0, 60.0]),
    size=st.sampled_from([(36, 64), (54, 96)]),
    response_rate=st.sampled_from([3.0, 8.0, 31.5]),
    rois=st.integers(1, 3),
    stop=st.sampled_from([2.0, 1.5, 1.0]),
    levels=st.sampled_from([None, "0:255", "-1:300"]),
    seed=st.integers(0, 99),
)
def test_any_file_is_read_or_refused(
    fault, film_rate, size, response_rate, rois, stop, levels, seed
):
    """Finite arrays of the right shape, or ``UserError``."""
    part, what = fault
    change = {"size": size, "stop": stop, "levels": levels, "hole": None, "resample": True}
    change |= {part: what}
    film_times = clock(what if part == "f" else None, film_rate, seed)
    times = clock(what if part == "r" else None, response_rate, seed + 1)
    odd = np.where(np.arange(len(times)) == change["hole"], np.nan, 1.0)
    names = Names(pupil_size="pupil", running_speed="odd", pupil_center="gaze")
    names = names._replace(resample=change["resample"], grey_levels=change["levels"])
    with tempfile.TemporaryDirectory() as folder:
        path = write(
            Path(folder) / "m.nwb",
            images=film(*change["size"])[: len(film_times)],
            timestamps=film_times,
            times=times,
            rois=rois,
            tiers=TIERS[:2],
            shift=0.1,
            stops={0: 0.1 + change["stop"]},
            more=lambda nwb: nwb.add_acquisition(time_series("odd", odd, times)),
        )
        try:
            session = NwbSession(path, names)
            trials = [session.read(number).trial for number in session.numbers]
        except UserError as error:
            assert part and "\n" not in str(error)
            return
    for trial, duration in zip(trials, (change["stop"], 2.0), strict=True):
        frames = round(duration * 30)
        shapes = [(frames, 36, 64), (frames, 2), (frames, 2), (frames, rois)]
        fields = trial.video, trial.behavior, trial.pupil_center, trial.response
        assert [x.shape for x in fields] == shapes
        assert all(np.isfinite(x).all() for x in fields) and trial.video.dtype == np.uint8
