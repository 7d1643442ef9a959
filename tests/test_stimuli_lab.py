"""The stimulus lab: published sets, parameters, pictures, and estimators of what was drawn."""

import csv
import dataclasses
import zlib

import numpy as np
import pytest

from sensorium_jax import protocol, stimuli
from sensorium_jax.errors import UserError
from sensorium_jax.stimuli import estimate, pictures, screen
from sensorium_jax.stimuli.__main__ import main

# Simulated recordings, and what was trained on them, depend on every byte.
CRC32 = {
    "natural": 222123183,
    "pink_noise": 2187290492,
    "gaussian_dots": 3053196245,
    "random_dots": 3927053136,
    "drifting_gabor": 1830610708,
    "natural_images": 161194888,
}


@pytest.mark.parametrize("family", CRC32)
def test_clips_are_what_they_were(family):
    video = stimuli.clip(family, np.random.default_rng(5))
    assert zlib.crc32(video.tobytes()) == CRC32[family]


# Published: clips of a set, segments of a clip, conditions of a set (anaflom/sensorium).
SETS = {
    protocol.GABOR: (6, 12, 72),
    protocol.PINK_NOISE: (6, 12, 72),
    protocol.RDK: (8, 4, 32),
    protocol.GAUSSIAN_DOTS: (6, 35, 210),
    protocol.NATURAL_IMAGES: (6, 10, 60),
}


@pytest.mark.parametrize("name", SETS)
def test_a_set_shows_every_condition_once(name):
    family, (clips, segments, conditions) = stimuli.OOD[name], SETS[name]
    made = stimuli.make_set(family, np.random.default_rng(0))
    assert len(made) == clips and len(family.conditions) == conditions
    shown = []
    for video, parts in made:
        assert len(parts) == segments
        assert [p.first_frame for p in parts] == np.cumsum(
            [0, *(p.frames for p in parts[:-1])]
        ).tolist()
        assert sum(p.frames for p in parts) == len(video)
        shown += [part.condition for part in parts]
    assert sorted(shown) == sorted(family.conditions)


def segments(family, *, seed=0):
    rng = np.random.default_rng(seed)
    for condition in family.conditions:
        yield condition, screen.grey_levels(family.segment(condition, rng))


def turned(one, other):
    """Degrees between two directions."""
    return abs((one - other + 180) % 360 - 180)


@pytest.mark.parametrize(
    "family",
    [
        stimuli.DriftingGabor(),
        stimuli.DriftingGabor(
            directions_deg=(10, 200),
            wavelengths_px=(5,),
            frequencies_hz=(3, 8),
            sigma_px=4,
            segments=4,
        ),
    ],
)
def test_gabors_are_recovered(family):
    for condition, video in segments(family):
        found = estimate.gabor(video)
        assert turned(found.direction_deg, condition.direction_deg) < 0.5
        assert abs(found.wavelength_px / condition.wavelength_px - 1) < 0.01
        assert abs(found.frequency_hz / condition.frequency_hz - 1) < 0.01


@pytest.mark.parametrize("speed_px", [0.6, 1.0])
def test_motion_of_pink_noise_is_recovered(speed_px):
    family = stimuli.PinkNoise(speed_px=speed_px)
    for condition, video in segments(family):
        found = estimate.motion(video)
        assert turned(found.direction_deg, condition.direction_deg) < 12
        assert abs(found.speed_px / speed_px - 1) < 0.06


@pytest.mark.parametrize(
    "family", [stimuli.RandomDots(), stimuli.RandomDots(speeds_px=(0.8,), dots=80, radius_px=1.5)]
)
def test_motion_of_dots_is_recovered(family):
    for condition, video in segments(family):
        found = estimate.motion(video)
        assert turned(found.direction_deg, condition.direction_deg) < 10
        assert abs(found.speed_px / condition.speed_px - 1) < 0.07


def test_places_and_colours_of_dots_are_recovered():
    for condition, video in segments(stimuli.GaussianDots()):
        found = estimate.dot(video[0])
        assert abs(found.x_px - condition.x_px) < 0.2 and abs(found.y_px - condition.y_px) < 0.2
        assert abs(found.contrast - condition.contrast) < 0.05


def test_onsets_of_images_are_recovered():
    for seed in range(5):
        video, parts = stimuli.make_clip(stimuli.NaturalImages(), np.random.default_rng(seed))
        expected = [part.first_frame + part.condition.blank_frames for part in parts]
        np.testing.assert_array_equal(estimate.image_onsets(video), expected)


def test_a_pixel_in_degrees():
    assert 3.3 < stimuli.degrees_per_px() < 3.4  # arctan(56.5 / 64 / 15)


@pytest.fixture
def images(tmp_path):
    """A folder of twelve images, wider and higher than the screen, each of one grey."""
    image = pytest.importorskip("PIL.Image", reason="needs pip install -e '.[pictures]'")
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(12):
        pixels = np.full((90, 200), 20 * i, np.uint8)
        pixels[:, :20] = 255  # is cut off
        image.fromarray(pixels).save(folder / f"{i:02d}.png")
    return folder


def test_images_of_a_folder_are_cut_and_flashed(images):
    family = stimuli.NaturalImages(folder=images, edge_contrast=1.0, clips=1)
    video, parts = stimuli.make_clip(family, np.random.default_rng(0))
    assert len({part.condition.image for part in parts}) == 10
    for part in parts:
        shown = video[part.first_frame + part.condition.blank_frames + 3]
        np.testing.assert_array_equal(shown, 20 * int(part.condition.image[:2]))
    assert len(family.conditions) == 12


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: stimuli.DriftingGabor(wavelengths_px=(2.0,)), "more than 2 pixels, got 2"),
        (lambda: stimuli.DriftingGabor(frequencies_hz=(15,)), "below 15 Hz, got 15"),
        (lambda: stimuli.DriftingGabor(sigma_px=0), "sigma_px above 0 for DriftingGabor, got 0"),
        (lambda: stimuli.DriftingGabor(directions_deg=(0,)), "at most 9 segments .* got 12"),
        (lambda: stimuli.PinkNoise(directions_deg=()), "directions_deg for PinkNoise, got none"),
        (lambda: stimuli.PinkNoise(speed_px=-1), "speed_px above 0"),
        (lambda: stimuli.RandomDots(coherences=(0.5, 1.5)), "coherences from 0 to 1"),
        (lambda: stimuli.RandomDots(lifetime_frames=0), "lifetime_frames above 0"),
        (lambda: stimuli.GaussianDots(segments=211), "at most 210 segments"),
        (lambda: stimuli.NaturalImages(segments=20), "20 images take 540 to 700; change"),
    ],
)
def test_parameters_that_cannot_be(make, words):
    with pytest.raises(UserError, match=words):
        make()


def test_folders_without_images(tmp_path, images):
    with pytest.raises(UserError, match="expected at least 10 images .* found 0; add"):
        stimuli.NaturalImages(folder=tmp_path / "none")
    (images / "00.png").write_bytes(b"no image")
    family = stimuli.NaturalImages(folder=images, segments=10)
    with pytest.raises(UserError, match="00.png, it cannot be read"):
        for seed in range(20):
            stimuli.make_clip(family, np.random.default_rng(seed))


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_films_can_be_seen(suffix, tmp_path):
    imageio = pytest.importorskip("imageio.v3", reason="needs pip install -e '.[pictures]'")
    video = stimuli.clip(protocol.GAUSSIAN_DOTS, np.random.default_rng(0))[:30]
    path = tmp_path / f"film{suffix}"
    pictures.save_movie(video, path, scale=2)
    seen = np.asarray(imageio.imread(path, index=None))
    assert seen.shape[1:3] == (72, 128)
    first = seen[0].reshape(72, 128, -1).mean(-1)[::2, ::2]
    assert np.abs(first - video[0]).mean() < 5
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_films_of_other_kinds(tmp_path):
    with pytest.raises(UserError, match="named .gif or .mp4, got film.avi"):
        pictures.save_movie(np.zeros((2, 36, 64), np.uint8), tmp_path / "film.avi")


def test_conditions_in_words():
    first = stimuli.DriftingGabor().conditions[0]
    assert pictures.describe(first) == "direction 0 deg, wavelength 3.15 px, frequency 0.64 Hz"
    image = stimuli.NaturalImages().conditions[0]
    assert pictures.describe(image) == "blank 15 frames, image 16 frames"


def test_program_draws_and_tabulates(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="needs pip install -e '.[pictures]'")
    flags = ["--out", str(tmp_path), "--family", "random_dots", "--set", "dots=5"]
    assert main(flags) == 0
    assert {p.name for p in tmp_path.iterdir()} == {
        f"random_dots.{s}" for s in ("png", "gif", "csv")
    }
    with (tmp_path / "random_dots.csv").open() as file:
        rows = list(csv.DictReader(file))
    family = dataclasses.replace(stimuli.OOD[protocol.RDK], dots=5)
    _, parts = stimuli.make_clip(family, np.random.default_rng(0))
    assert [int(row["first_frame"]) for row in rows] == [part.first_frame for part in parts]
    assert [float(row["speed_px"]) for row in rows] == [part.condition.speed_px for part in parts]


def test_program_tells_the_parameters(capsys):
    assert main(["--family", "drifting_gabor", "--parameters"]) == 0
    out = capsys.readouterr().out
    assert "sigma_px = 5.25" in out and "of the Gaussian window [CL]" in out


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--out", "x", "--family", "gabor"], "no family 'gabor'; did you mean drifting_gabor?"),
        (["--family", "random_dots"], "expected --out"),
        (["--out", "x", "--set", "dots=5"], "expected one --family to change parameters of"),
        (["--out", "x", "--family", "random_dots", "--set", "dot=5"], "no parameter 'dot' of Ran"),
        (["--out", "x", "--family", "random_dots", "--set", "dots"], "expected NAME=NUMBER or"),
        (["--out", "x", "--family", "random_dots", "--images", "y"], "the family natural_images"),
        (["--out", "x", "--family", "random_dots", "--set", "dots='a'"], "expected numbers like"),
    ],
)
def test_program_refuses(flags, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(flags) == 2
    error = capsys.readouterr().err
    assert words in error and error.startswith("error: ") and error.count("\n") == 1
