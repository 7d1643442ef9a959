"""The stimulus lab: published sets, parameters, pictures, and estimators of what was drawn."""

import csv
import dataclasses
import zlib

import numpy as np
import pytest

from sensorium_jax import protocol, stimuli
from sensorium_jax.cli.stimuli import main
from sensorium_jax.errors import UserError
from sensorium_jax.pages import stimuli as pictures
from sensorium_jax.stimuli import estimate, screen

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
        first = np.cumsum([0, *(part.frames for part in parts)])
        assert [*(part.first_frame for part in parts), len(video)] == first.tolist()
        shown += [part.condition for part in parts]
    assert sorted(shown) == sorted(family.conditions)


@pytest.mark.parametrize(
    "family, lengths",
    [
        (stimuli.DriftingGabor(frequencies_hz=(2.0,)), [300, 300]),
        (stimuli.DriftingGabor(directions_deg=(0, 120, 240)), [225, 225, 225]),
        (stimuli.RandomDots(coherences=(1.0,), segments=5), [240, 240, 240, 240]),
        (stimuli.PinkNoise(directions_deg=(0, 90, 180, 270), clips=2), [108, 108]),
        (stimuli.NaturalImages(clips=2), [310, 310]),
    ],
)
def test_sets_of_other_conditions_are_as_few_clips_as_can_be(family, lengths):
    made = stimuli.make_set(family, np.random.default_rng(0))
    assert [len(video) for video, _ in made] == lengths


def segments(family, *, seed=0):
    rng = np.random.default_rng(seed)
    for condition in family.conditions:
        yield condition, screen.grey_levels(family.segment(condition, rng), family.grey_level)


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
        stimuli.DriftingGabor(directions_deg=(80,), contrast=0.5, grey_level=90, segments=9),
    ],
)
def test_gabors_are_recovered(family):
    for condition, video in segments(family):
        found = estimate.gabor(video)
        assert turned(found.direction_deg, condition.direction_deg) < 0.02
        assert abs(found.wavelength_px / condition.wavelength_px - 1) < 0.003
        assert abs(found.frequency_hz / condition.frequency_hz - 1) < 0.003


@pytest.mark.parametrize("speed", [0.6, 1.0, 2.0])
def test_motion_of_pink_noise_is_recovered(speed):
    family = stimuli.PinkNoise(speed_px_per_frame=speed)
    for condition, video in segments(family):
        found = estimate.motion(video)
        assert turned(found.direction_deg, condition.direction_deg) < 12
        assert abs(found.speed_px_per_frame / speed - 1) < 0.06


@pytest.mark.parametrize(
    "family",
    [
        stimuli.RandomDots(),
        stimuli.RandomDots(speeds_px_per_frame=(0.8,), dots=80, radius_px=1.5),
    ],
)
def test_motion_of_dots_is_recovered(family):
    for condition, video in segments(family):
        found = estimate.motion(video)
        assert turned(found.direction_deg, condition.direction_deg) < 10
        assert abs(found.speed_px_per_frame / condition.speed_px_per_frame - 1) < 0.07


@pytest.mark.parametrize(
    "family", [stimuli.GaussianDots(), stimuli.GaussianDots(contrasts=(-0.5, 0.7), grey_level=90)]
)
def test_places_and_colours_of_dots_are_recovered(family):
    for condition, video in segments(family):
        found = estimate.dot(video[0])
        assert abs(found.x_px - condition.x_px) < 0.2 and abs(found.y_px - condition.y_px) < 0.2
        assert abs(found.contrast - condition.contrast) < 0.05


def test_onsets_of_images_are_recovered():
    for seed in range(5):
        video, parts = stimuli.make_clip(stimuli.NaturalImages(), np.random.default_rng(seed))
        expected = [part.first_frame + part.condition.blank_frames for part in parts]
        np.testing.assert_array_equal(estimate.image_onsets(video), expected)


@pytest.mark.parametrize("name", SETS)
def test_backgrounds_have_the_grey_level(name):
    family = dataclasses.replace(stimuli.OOD[name], grey_level=90)
    video, _ = stimuli.make_clip(family, np.random.default_rng(0))
    level = video.mean() if name == protocol.PINK_NOISE else np.median(video)
    assert abs(level - 90) < (6 if name == protocol.PINK_NOISE else 1)


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
    family = stimuli.NaturalImages(folder=images, edge_contrast=1.0, grey_level=90)
    video, parts = stimuli.make_clip(family, np.random.default_rng(0))
    assert len({part.condition.image for part in parts}) == 10
    for part in parts:
        shown = video[part.first_frame + part.condition.blank_frames + 3]
        np.testing.assert_array_equal(shown, 20 * int(part.condition.image[:2]))
    made = stimuli.make_set(family, np.random.default_rng(0))
    assert [len(parts) for _, parts in made] == [6, 6]
    assert len({part.condition.image for _, parts in made for part in parts}) == 12


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: stimuli.DriftingGabor(wavelengths_px=(2.0,)), "more than 2 pixels, got 2"),
        (lambda: stimuli.DriftingGabor(frequencies_hz=(15,)), "below 15 Hz, got 15"),
        (lambda: stimuli.DriftingGabor(sigma_px=0), "sigma_px above 0 for DriftingGabor, got 0"),
        (lambda: stimuli.DriftingGabor(sigma_px=np.inf), "expected a number as sigma_px .* inf"),
        (lambda: stimuli.DriftingGabor(sigma_px="5"), "expected a number as sigma_px .* '5'"),
        (lambda: stimuli.DriftingGabor(contrast=np.nan), "expected a number as contrast .* nan"),
        (lambda: stimuli.DriftingGabor(contrast=2), "contrast from 0 to 1 .* got 2"),
        (lambda: stimuli.DriftingGabor(grey_level=0), "grey_level from 1 to 255 .* got 0"),
        (lambda: stimuli.DriftingGabor(segments=2.5), "whole segments above 0 .* got 2.5"),
        (
            lambda: stimuli.DriftingGabor(wavelengths_px=5),
            r"tuple of numbers, .*\(1.0,\), as wavel",
        ),
        (lambda: stimuli.DriftingGabor(wavelengths_px=[5, 6]), "tuple of numbers"),
        (lambda: stimuli.DriftingGabor(center_px=(70, 9)), "center_px from 0 to 63"),
        (lambda: stimuli.DriftingGabor(center_px=(9,)), "center_px as .x, y., got"),
        (lambda: stimuli.DriftingGabor(directions_deg=(0,)), "at most 9 segments .* got 12"),
        (lambda: stimuli.PinkNoise(directions_deg=()), "as directions_deg for PinkNoise, got ()"),
        (lambda: stimuli.PinkNoise(speed_px_per_frame=-1), "speed_px_per_frame above 0"),
        (lambda: stimuli.PinkNoise(bandwidth_deg=0.01), "bandwidth_deg from 1 to 360"),
        (lambda: stimuli.RandomDots(coherences=(0.5, 1.5)), "coherences from 0 to 1"),
        (lambda: stimuli.RandomDots(lifetime_frames=0), "lifetime_frames above 0"),
        (lambda: stimuli.GaussianDots(y_px=(40,)), "y_px from 0 to 35"),
        (lambda: stimuli.GaussianDots(segments=211), "at most 210 segments"),
        (lambda: stimuli.NaturalImages(segments=20), "20 images and blanks take 540 to 700; chan"),
        (lambda: stimuli.NaturalImages(blank_frames=(18, 12)), "blank_frames as .shortest, lon"),
        (lambda: stimuli.NaturalImages(folder=5), "folder as a path, got 5"),
    ],
)
def test_parameters_that_cannot_be(make, words):
    with pytest.raises(UserError, match=words):
        make()


def test_lengths_that_are_hardly_ever_drawn():
    family = stimuli.NaturalImages(clip_frames=(350, 350))
    with pytest.raises(UserError, match="of 350 to 350 frames, but 10 images .* 10000 draws; chan"):
        family.draw(np.random.default_rng(0))


def test_folders_without_images(tmp_path):
    with pytest.raises(UserError, match="none cannot be read .No such file .*; name another"):
        stimuli.NaturalImages(folder=tmp_path / "none")
    with pytest.raises(UserError, match="expected at least 10 images .* found 0; add"):
        stimuli.NaturalImages(folder=tmp_path)


def test_images_that_cannot_be_read(images):
    from PIL import Image

    family = stimuli.NaturalImages(folder=images)
    whole = (images / "01.png").read_bytes()
    (images / "00.png").write_bytes(b"no image")
    (images / "01.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.full((40, 70), 40_000, np.uint16)).save(images / "02.png")
    for name, words in (
        ("00.png", "00.png, it cannot be read"),
        ("01.png", "01.png, it cannot be read"),
        ("02.png", "8 bits a channel in .*02.png, got mode I"),
    ):
        with pytest.raises(UserError, match=words):
            family.segment(family.conditions[int(name[:2])], np.random.default_rng(0))


@pytest.mark.parametrize("segments, frames", [(3, 6), (12, 2), (35, 1)])
def test_sheets_show_every_segment(segments, frames, tmp_path):
    image = pytest.importorskip("PIL.Image", reason="needs pip install -e '.[pictures]'")
    pytest.importorskip("matplotlib", reason="needs pip install -e '.[pictures]'")
    levels = np.linspace(30, 225, segments * frames).astype(np.uint8)
    video = np.broadcast_to(levels[:, None, None], (len(levels), 36, 64))
    condition = stimuli.DriftingGabor().conditions[0]
    parts = tuple(stimuli.Segment(i * frames, frames, condition) for i in range(segments))
    path = tmp_path / "sheet.png"
    pictures.contact_sheet(stimuli.Stimulus(video, parts), path, title="greys")
    pixels = np.asarray(image.open(path).convert("L"))
    seen = np.bincount(pixels.ravel(), minlength=256)
    assert all(seen[level - 1 : level + 2].sum() > 10_000 for level in levels)
    assert max(pixels.shape) < 2_000


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


@pytest.mark.parametrize(
    "name, scale, words",
    [
        ("film.avi", 1, "named .gif or .mp4, got film.avi"),
        ("film.gif", 0, "whole scale of at least 1 for a film, got 0"),
        ("film.gif", 1.5, "whole scale of at least 1 for a film, got 1.5"),
    ],
)
def test_films_that_cannot_be(name, scale, words, tmp_path):
    with pytest.raises(UserError, match=words):
        pictures.save_movie(np.zeros((2, 36, 64), np.uint8), tmp_path / name, scale=scale)


def test_conditions_in_words():
    first = stimuli.DriftingGabor().conditions[0]
    assert pictures.describe(first) == "direction 0 deg, wavelength 3.15 px, frequency 0.64 Hz"
    image = stimuli.NaturalImages().conditions[0]
    assert pictures.describe(image) == "blank 15 frames, image 16 frames"
    dots = stimuli.RandomDots().conditions[0]
    assert pictures.describe(dots) == "direction 0 deg, coherence 0.5, speed 0.5 px/frame"
    assert pictures.describe(image._replace(image="fox.png")).endswith("image fox.png")


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
    speeds = [part.condition.speed_px_per_frame for part in parts]
    assert [float(row["speed_px_per_frame"]) for row in rows] == speeds


def test_program_tells_the_parameters(capsys):
    assert main(["--family", "drifting_gabor", "--parameters"]) == 0
    out = capsys.readouterr().out
    assert "sigma_px = 5.25" in out and "of the Gaussian window [CL]" in out
    assert "[CL] templates fitted" in out and "frequencies_hz = (0.64, 1.76, 4.4)" in out


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--out", "x", "--family", "gabor"], "no family 'gabor'; did you mean drifting_gabor?"),
        (["--family", "random_dots"], "expected --out"),
        (["--out", "x", "--set", "dots=5"], "expected one --family to change parameters of"),
        (
            ["--out", "x", "--family", "random_dots", "--set", "dot=5"],
            "no field 'dot' in RandomDots",
        ),
        (["--out", "x", "--family", "random_dots", "--set", "dots"], "expected --set FIELD=VALUE"),
        (["--out", "x", "--family", "random_dots", "--images", "y"], "the family natural_images"),
        (
            ["--out", "x", "--family", "random_dots", "--set", "dots='a'"],
            "expected a value of type int for dots",
        ),
        (["--out", "x", "--seed", "-1"], "expected a --seed of 0 or more, got -1"),
        (["--out", "file"], "folder as --out, file cannot be made"),
    ],
)
def test_program_refuses(flags, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert main(flags) == 2
    error = capsys.readouterr().err
    assert words in error and error.startswith("error: ") and error.count("\n") == 1
