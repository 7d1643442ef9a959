"""Films and clocks of NWB files: rates, gaps, grey levels, images that an index shows."""

import json

import h5py
import numpy as np
import pytest
from nwb_files import SECONDS, TIMES, film, image_series, index_series, pynwb, write

from sensorium_jax.cli import prepare
from sensorium_jax.data.format import open_store
from sensorium_jax.errors import UserError
from sensorium_jax.prepare.nwb import Names, NwbSession

NAMES = Names(pupil_size="pupil", running_speed="speed", pupil_center="gaze")
FRAMES = int(SECONDS * 30)


def refused(path, words, **names):
    """Opening a file, or reading its trials, ends in one line with these words."""
    with pytest.raises(UserError, match=words) as error:
        session = NwbSession(path, NAMES._replace(**names))
        for number in session.numbers:
            session.read(number)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize("rate", [24.0, 60.0, 10.0])
@pytest.mark.parametrize("stamped", [True, False], ids=["timestamps", "rate"])
def test_a_film_of_another_rate(rate, stamped, tmp_path):
    """--resample shows what was on the screen: some images twice, or not at all."""
    images = film(rate=rate)
    timestamps = np.arange(len(images)) / rate if stamped else None
    path = write(tmp_path / "m.nwb", images=images, rate=rate, timestamps=timestamps)
    refused(path, f"expected a film of 30 Hz in movie .* found {rate:g} Hz; --resample takes")
    session = NwbSession(path, NAMES._replace(resample=True))
    shown = np.floor((2 + np.arange(60) / 30) * rate + 1e-6).astype(int)
    np.testing.assert_array_equal(session.read(1).trial.video, images[shown])
    assert session.notes() == [f"the film of {rate:g} Hz is resampled to 30 Hz"]


def test_a_clock_almost_of_30_hz_is_not_another_rate(tmp_path):
    path = write(tmp_path / "m.nwb", rate=29.97)
    session = NwbSession(path, NAMES)
    assert session.notes() == []
    shown = np.floor((2 + np.arange(60) / 30) * 29.97 + 1e-6).astype(int)
    np.testing.assert_array_equal(session.read(1).trial.video, film()[shown])


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


@pytest.mark.parametrize(
    "change, words",
    [
        ({"external": True}, "images of movie in .* in external files; write them into the NWB"),
        ({"images": film(18, 32)}, "36 x 64 or more, at 9 : 16, .* found 18 x 32; crop or scale"),
        ({"images": film(64, 64)}, "found 64 x 64; crop"),
    ],
)
def test_films_that_cannot_be_shown(change, words, tmp_path):
    refused(write(tmp_path / "m.nwb", **change), words)


# Images that an index shows


SHOWN = np.array([4, 0, 3, 1, 2, 4, 0])
CHANGES = np.array([0.0, 0.55, 2.0, 2.5, 3.25, 9.0, 11.9])  # seconds, as long as it takes


def write_indexed(path, shown=SHOWN, times=CHANGES, images=None):
    images = film()[:5] if images is None else images

    def more(nwb):
        template = image_series("template", images, rate=1.0)
        nwb.add_stimulus_template(template)
        nwb.add_stimulus(index_series("shown", template, shown, times))

    return write(path, film=False, more=more)


def test_an_index_shows_images_of_a_template(tmp_path):
    session = NwbSession(write_indexed(tmp_path / "m.nwb"), NAMES)
    for number in range(4):
        seconds = 2 * number + np.arange(60) / 30
        expected = SHOWN[np.searchsorted(CHANGES, seconds + 1e-6, side="right") - 1]
        np.testing.assert_array_equal(session.read(number).trial.video, film()[expected])
    assert session.choices["stimulus"] == "stimulus/presentation/shown"
    assert session.notes() == ["the film is stimulus/templates/template, as shown shows it"]


def test_indexed_images_are_scaled(tmp_path):
    images = (film(72, 128)[:5] / 255).astype(np.float32)
    path = write_indexed(tmp_path / "m.nwb", images=images)
    refused(path, "grey levels 0 to 255 in template of .*--grey-levels")
    video = NwbSession(path, NAMES._replace(grey_levels="0:1")).read(0).trial.video
    whole = film(72, 128)[4].astype(float).reshape(36, 2, 64, 2).mean((1, 3))
    np.testing.assert_allclose(video[0], whole, atol=0.5 + 1e-3)


@pytest.mark.parametrize("wrong", [5, -1])
def test_an_index_outside_the_template(wrong, tmp_path):
    path = write_indexed(tmp_path / "m.nwb", shown=np.where(np.arange(7) == 3, wrong, SHOWN))
    session = NwbSession(path, NAMES)
    np.testing.assert_array_equal(session.read(0).trial.video[-1], film()[0])
    low, high = min(wrong, 2), max(wrong, 3)
    refused(path, f"indices of 5 images in shown of .* found {low} to {high}; correct them")


def test_an_index_of_no_series(tmp_path):
    def more(nwb):
        gray = pynwb.image.GrayscaleImage(name="one", data=film()[0])
        images = pynwb.base.Images(
            name="images",
            images=[gray],
            order_of_images=pynwb.base.ImageReferences(name="order_of_images", data=[gray]),
        )
        nwb.add_stimulus_template(images)
        series = pynwb.image.IndexSeries(
            name="shown", data=[0, 0], unit="N/A", indexed_images=images, timestamps=[0.0, 1.0]
        )
        nwb.add_stimulus(series)

    path = write(tmp_path / "m.nwb", film=False, more=more)
    refused(path, "images that shown of .* found none; write them as an ImageSeries")


# Clocks


def spoilt(kind, times):
    """Times that are wrong at sample 5."""
    times = times.copy()
    times[5] = {"NaN": np.nan, "still": times[4], "back": times[3]}[kind]
    return times


@pytest.mark.parametrize("kind", ["NaN", "still", "back"])
@pytest.mark.parametrize(
    "place, name", [("timestamps", "movie"), ("response_times", "events"), ("pupil_times", "pupil")]
)
def test_times_that_do_not_increase(kind, place, name, tmp_path):
    times = spoilt(kind, np.arange(FRAMES) / 30 if name == "movie" else TIMES)
    path = write(tmp_path / "m.nwb", **{place: times})
    folder = "stimulus/presentation" if name == "movie" else "acquisition"
    refused(
        path,
        f"expected times that increase in {folder}/{name} of .*, found {times[5]:g} s at sample 5 "
        ".*; correct its timestamps",
    )


@pytest.mark.parametrize("edge", ["middle", "first", "last"])
def test_a_film_with_a_gap(edge, tmp_path):
    """One image of 360 is missing: that the one before stays is not known."""
    missing = {"middle": 90, "first": 60, "last": 119}[edge]  # in trial 1
    times = np.delete(np.arange(FRAMES), missing) / 30
    path = write(tmp_path / "m.nwb", images=np.delete(film(), missing, 0), timestamps=times)
    start, end = (missing - 1) / 30, (missing + 1) / 30
    words = f"movie without a gap for trial 1 of .* from {start:.3f} to {end:.3f} s; .*tier 'none'"
    refused(path, words)
    session = NwbSession(path, NAMES)
    for number in (0, 2, 3):
        video = session.read(number).trial.video
        np.testing.assert_array_equal(video, film()[60 * number : 60 * number + 60])


def test_a_trial_that_ends_in_a_gap(tmp_path):
    kept = np.r_[0:100, 150:FRAMES]
    path = write(tmp_path / "m.nwb", images=film()[kept], timestamps=kept / 30)
    refused(path, "movie without a gap for trial 1 of .* found nothing from 3.300 to 5.000 s")


def test_films_may_stop_between_trials(tmp_path):
    """A gap that begins with the last image of a trial hides nothing."""
    kept = np.r_[0:60, 120:FRAMES]
    path = write(tmp_path / "m.nwb", images=film()[kept], timestamps=kept / 30)
    np.testing.assert_array_equal(NwbSession(path, NAMES).read(0).trial.video, film()[:60])
    refused(path, "movie without a gap for trial 1 of ")


def test_a_late_flip_is_no_gap(tmp_path):
    """At 60 Hz an image that comes one refresh late leaves 1.5 intervals."""
    times = np.arange(FRAMES) / 30
    times[90] += 1 / 60
    video = NwbSession(write(tmp_path / "m.nwb", timestamps=times), NAMES).read(1).trial.video
    np.testing.assert_array_equal(video[30], film()[89])
    np.testing.assert_array_equal(np.delete(video, 30, 0), np.delete(film()[60:120], 30, 0))


def test_responses_with_a_gap(tmp_path):
    times = np.delete(TIMES, 20)  # 2.5 s
    path = write(tmp_path / "m.nwb", times=times)
    words = "events without a gap for trial 1 of .* from 2.375 to 2.625 s; .*tier 'none'"
    refused(path, words)
    seconds = 4 + np.arange(60) / 30
    response = NwbSession(path, NAMES).read(2).trial.response
    np.testing.assert_allclose(response, seconds[:, None] * [1, 2, 3], rtol=1e-5)


@pytest.mark.parametrize("rate", [0.0, np.nan, np.inf])
def test_a_rate_that_is_none(rate, tmp_path):
    path = write(tmp_path / "m.nwb", regular=True)
    with h5py.File(path, "a") as file:
        file["acquisition/events/starting_time"].attrs["rate"] = rate
    refused(path, "expected times that increase in acquisition/events of .*; correct its timest")


@pytest.mark.parametrize(
    "samples, times, words", [(96, 90, "96 with 90 times"), (1, 1, "1 with 1 times")]
)
def test_as_many_times_as_samples(samples, times, words, tmp_path):
    path = write(tmp_path / "m.nwb")
    with h5py.File(path, "a") as file:
        pupil = file["acquisition/pupil"]
        for name, count in (("data", samples), ("timestamps", times)):
            values, attributes = pupil[name][:count], dict(pupil[name].attrs)
            del pupil[name]
            pupil[name] = values
            pupil[name].attrs.update(attributes)
    refused(path, f"acquisition/pupil of .*, found {words}; correct its timestamps")


# Grey levels


def test_levels_are_recognised_or_named(tmp_path):
    unit = (film() / 255).astype(np.float32)
    path = write(tmp_path / "m.nwb", images=unit)
    refused(path, r"levels 0 to 255 in movie of .*, found 0 to 0\.\d+; .*--grey-levels=LOW:HIGH")
    session = NwbSession(path, NAMES._replace(grey_levels="0:1"))
    video = session.read(1).trial.video
    assert video.dtype == np.uint8
    np.testing.assert_array_equal(video, film()[60:120])
    assert session.notes() == ["grey levels 0 to 1 became 0 to 255"]
    assert session.choices["grey_levels"] == "0:1"


def test_levels_below_zero(tmp_path):
    scores = ((film() - 100.0) / 50).astype(np.float32)  # standard deviations about the mean
    path = write(tmp_path / "m.nwb", images=scores)
    refused(path, f"levels 0 to 255 in movie of {path}, found -2 to .*--grey-levels=LOW:HIGH")
    video = NwbSession(path, NAMES._replace(grey_levels="-2:3.1")).read(1).trial.video
    np.testing.assert_array_equal(video, film()[60:120])
    refused(path, "grey levels -2 to 1 in movie of trial 0 of .*--grey-levels", grey_levels="-2:1")


def test_a_single_image_of_other_levels(tmp_path):
    """It is not among those that are looked at when the file is opened."""
    images = film().astype(np.float32)
    images[61] += 300
    path = write(tmp_path / "m.nwb", images=images)
    refused(path, "levels 0 to 255 in movie of trial 1 of .* to 5[0-9]+; name .*--grey-levels")


@pytest.mark.parametrize("option", ["1", "1:0", "0:0", "a:b", "0:1:2", "nan:1", "0:inf", ":"])
def test_levels_that_are_none(option, tmp_path, capsys):
    flags = ["--nwb", str(write(tmp_path / "m.nwb")), "--out", str(tmp_path / "store")]
    assert prepare.main(["nwb", *flags, f"--grey-levels={option}"]) == 2
    error = capsys.readouterr().err
    assert error == f"error: expected --grey-levels LOW:HIGH, as in 0:1, got {option!r}\n"
    assert not (tmp_path / "store").exists()


def test_other_levels_are_converted_anew(tmp_path, capsys):
    half = (film() // 2).astype(np.uint8)
    path, store = write(tmp_path / "m.nwb", images=half), tmp_path / "store"

    def convert(*flags):
        assert prepare.main(["nwb", "--nwb", str(path), "--out", str(store), *flags]) == 0
        return json.loads((store / "m/meta.json").read_text())

    def video():
        return open_store(store).sessions[0].read(1, 0, 60).video

    assert convert()["made_from"]["choices"]["grey_levels"] == ""
    np.testing.assert_array_equal(video(), half[60:120])
    meta = convert("--grey-levels", "0:127.5")
    assert meta["made_from"]["choices"]["grey_levels"] == "0:127.5"
    assert "grey levels 0 to 127.5 became 0 to 255" in meta["provenance"]["notes"]
    assert "--grey-levels 0:127.5" in meta["provenance"]["command"]
    np.testing.assert_array_equal(video(), 2 * half[60:120])
    made = (store / "m/meta.json").stat().st_ino
    convert("--grey-levels", "0:127.5")
    assert (store / "m/meta.json").stat().st_ino == made
    convert()
    np.testing.assert_array_equal(video(), half[60:120])
