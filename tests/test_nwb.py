"""NWB files become recordings: clocks, sizes and places, and what is missing."""

import datetime

import numpy as np
import pytest

from sensorium_jax.cli import prepare
from sensorium_jax.data.format import open_store
from sensorium_jax.errors import UserError
from sensorium_jax.prepare.doctor import examine
from sensorium_jax.prepare.nwb import Names, NwbSession

pynwb = pytest.importorskip("pynwb", reason="needs pip install -e '.[nwb]'")

SECONDS, TRIAL_S = 12.0, 2.0
NAMES = Names(pupil_size="pupil", running_speed="speed", pupil_center="gaze")
TIERS = ("train", "train", "oracle", "oracle", "none")


def film(height=36, width=64, rate=30.0):
    """Grey levels [T H W] that tell the frame: 3 a frame, plus a gradient."""
    frames = int(SECONDS * rate)
    slope = np.linspace(0, 20, width)[None, None, :]
    return (np.arange(frames)[:, None, None] * 3 % 200 + slope + np.zeros((1, height, 1))).astype(
        np.uint8
    )


def write(path, *, images=None, rate=30.0, timestamps=None, places="columns", **change):
    """A file of three ROIs, five trials of two seconds, responses at 8 Hz."""
    nwb = pynwb.NWBFile("a session", "id", datetime.datetime(2023, 1, 1, tzinfo=datetime.UTC))
    images = film() if images is None else images
    clock = (
        {"rate": rate, "starting_time": 0.0} if timestamps is None else {"timestamps": timestamps}
    )
    external = change.get("external")
    series = pynwb.image.ImageSeries(
        name="movie",
        unit="levels",
        **(
            {"external_file": ["x.avi"], "format": "external", "num_samples": 9}
            if external
            else {"data": images}
        ),
        **clock,
    )
    if change.get("film", True):
        nwb.add_stimulus(series)
    if change.get("second_film"):
        nwb.add_stimulus(pynwb.image.ImageSeries("other", data=images, unit="levels", rate=30.0))
    times = np.arange(0, SECONDS, 1 / 8)
    nwb.add_acquisition(responses(nwb, times, places, change))
    for name, values in (("pupil", 40 + times), ("speed", 2 * times)):
        nwb.add_acquisition(pynwb.TimeSeries(name, data=values, unit="au", timestamps=times))
    gaze = np.stack([times, -times], axis=1)
    nwb.add_acquisition(pynwb.TimeSeries("gaze", data=gaze, unit="au", timestamps=times))
    if change.get("trials", True):
        nwb.add_trial_column(change.get("column", "tier"), "which trials serve what")
        for i, tier in enumerate(change.get("tiers", TIERS)):
            start = change.get("shift", 0.0) + i * TRIAL_S
            nwb.add_trial(start, start + TRIAL_S, **{change.get("column", "tier"): tier})
    with pynwb.NWBHDF5IO(str(path), "w") as io:
        io.write(nwb)
    return path


def responses(nwb, times, places, change):
    """Response of ROI n at time t: (n + 1) * t."""
    device = nwb.create_device("microscope")
    channel = pynwb.ophys.OpticalChannel("green", "GCaMP", 510.0)
    plane = nwb.create_imaging_plane(
        name="plane",
        optical_channel=channel,
        description="V1",
        device=device,
        excitation_lambda=920.0,
        indicator="GCaMP",
        location="V1",
    )
    rois = pynwb.ophys.PlaneSegmentation("ROIs", plane, name="rois")
    if places == "columns":
        for name in "xyz":
            rois.add_column(name, "micrometres")
    for n in range(3):
        mask = np.zeros((8, 8))
        mask[n : n + 2, 4] = 1
        columns = {"x": 1.0 * n, "y": 2.0 * n, "z": 3.0 * n} if places == "columns" else {}
        rois.add_roi(image_mask=mask, id=10 + n, **columns)
    module = nwb.create_processing_module("ophys", "two-photon")
    module.add(pynwb.ophys.ImageSegmentation(plane_segmentations=[rois]))
    region = rois.create_roi_table_region(region=list(range(3)), description="all")
    data = times[:, None] * np.arange(1, 4)
    if change.get("hole"):
        data[4, 1] = np.nan
    if change.get("turned"):
        data = data.T
    clock = {"timestamps": times} if not change.get("turned") else {"rate": 8.0}
    return pynwb.ophys.RoiResponseSeries("events", data, "au", rois=region, **clock)


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


def test_a_frame_shows_what_was_on_the_screen(tmp_path):
    """A film of 24 images a second, by timestamps: some are shown for two frames."""
    images = film(rate=24.0)
    times = np.arange(len(images)) / 24
    session = NwbSession(write(tmp_path / "m.nwb", images=images, timestamps=times), NAMES)
    shown = np.floor(np.arange(60) / 30 * 24 + 1e-6).astype(int)
    np.testing.assert_array_equal(session.read(0).trial.video, images[shown])


def test_larger_images_are_averaged(tmp_path):
    small = film()
    large = small.repeat(2, axis=1).repeat(2, axis=2)
    session = NwbSession(write(tmp_path / "m.nwb", images=large), NAMES)
    np.testing.assert_array_equal(session.read(0).trial.video, small[:60])
    colour = np.stack([small, small, small], axis=-1)
    session = NwbSession(write(tmp_path / "c.nwb", images=colour), NAMES)
    np.testing.assert_array_equal(session.read(0).trial.video, small[:60])
    odd = film(54, 96)  # three pixels become two
    session = NwbSession(write(tmp_path / "o.nwb", images=odd), NAMES)
    left, middle, right = odd[7, 0, :3].astype(float)
    expected = np.rint([(left + middle / 2) / 1.5, (middle / 2 + right) / 1.5])
    np.testing.assert_array_equal(session.read(0).trial.video[7, 0, :2], expected)


def test_places_from_masks(tmp_path):
    session = NwbSession(write(tmp_path / "m.nwb", places="masks"), NAMES)
    np.testing.assert_array_equal(session.position_um, [[4, n + 0.5, 0] for n in range(3)])


def test_what_is_not_named_is_zero_and_said(tmp_path):
    session = NwbSession(write(tmp_path / "m.nwb"))
    trial = session.read(0).trial
    assert not trial.behavior.any() and trial.behavior.shape == (60, 2)
    assert not trial.pupil_center.any() and trial.pupil_center.shape == (60, 2)
    assert "no running speed named: zeros" in session.notes()


def test_program_makes_a_store(tmp_path, capsys):
    files = [write(tmp_path / f"{name}.nwb") for name in ("one", "two")]
    flags = ["--nwb", *map(str, files), "--out", str(tmp_path / "store"), "--pupil-size", "pupil"]
    assert prepare.main(["nwb", *flags]) == 0
    out = capsys.readouterr().out
    assert "2 sessions in" in out and "one: no running speed named: zeros" in out
    one, two = open_store(tmp_path / "store").sessions
    assert one.trials.tier.tolist() == list(TIERS[:4]) and one.trial_files == 5
    assert not one.has_released
    np.testing.assert_array_equal(one.trials.clip, two.trials.clip)
    np.testing.assert_array_equal(one.read(1, 0, 60).video, film()[60:120])
    assert not [f for f in examine(tmp_path / "store").findings if "damaged" in f.what]


BROKEN = {
    "no film": ({"film": False}, {}, "expected one ImageSeries .* found 0"),
    "two films": ({"second_film": True}, {}, r"found 2 \(movie, other\); name one with --stimulus"),
    "another film": ({}, {"stimulus": "movies"}, "no ImageSeries 'movies' .* did you mean movie"),
    "external film": ({"external": True}, {}, "found them in external files"),
    "small film": ({"images": film(18, 32)}, {}, "36 x 64 or more, at 9 : 16, .* found 18 x 32"),
    "square film": ({"images": film(64, 64)}, {}, "found 64 x 64; crop"),
    "no trials": ({"trials": False}, {}, "expected a table of trials"),
    "no tiers": ({"column": "split"}, {}, "a column 'tier' .* found start_time, .*split; add it"),
    "unknown tier": ({"tiers": ("train", "test")}, {}, "found test; rename"),
    "no such response": ({}, {"response": "event"}, "did you mean events"),
    "turned responses": ({"turned": True}, {}, r"\[time ROIs\] for 3 ROIs .* transpose"),
    "gaze for speed": ({}, {"running_speed": "gaze"}, r"expected 1 number a time in gaze"),
    "no such pupil": ({}, {"pupil_size": "size"}, "no TimeSeries 'size'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_files_that_do_not_hold_a_recording(name, tmp_path):
    change, names, words = BROKEN[name]
    path = write(tmp_path / "m.nwb", **change)
    with pytest.raises(UserError, match=words) as error:
        NwbSession(path, NAMES._replace(**names))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"shift": 6.0}, "expected .* to last from 12.00 to 13.97 s for trial 3"),
        ({"hole": True}, "expected numbers in the response of trial 0 .* tier 'none'"),
    ],
)
def test_trials_that_cannot_be_read(change, words, tmp_path):
    session = NwbSession(write(tmp_path / "m.nwb", **change), NAMES)
    with pytest.raises(UserError, match=words):
        for number in session.numbers:
            session.read(number)


@pytest.mark.parametrize("content", [None, b"not hdf5"])
def test_what_is_no_nwb_file(content, tmp_path, capsys):
    path = tmp_path / "m.nwb"
    if content:
        path.write_bytes(content)
    assert prepare.main(["nwb", "--nwb", str(path), "--out", str(tmp_path / "store")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: expected an NWB file at") and error.count("\n") == 1
    assert not (tmp_path / "store").exists()
