"""Stimuli: size, published segment structure, and how natural the surrogates are."""

import numpy as np
import pytest

from sensorium_jax import protocol, stimuli
from sensorium_jax.stimuli import DriftingGabor, GaussianDots, PinkNoise, RandomDots
from sensorium_jax.stimuli.gabor import GaborCondition
from sensorium_jax.stimuli.pink_noise import PinkNoiseCondition
from sensorium_jax.stimuli.random_dots import RandomDotsCondition

# Published clip lengths: benchmark metadata, valid frames of each family.
FRAMES = {
    protocol.GABOR: (300, 300),
    protocol.PINK_NOISE: (324, 324),
    protocol.GAUSSIAN_DOTS: (315, 315),
    protocol.RDK: (240, 240),
    protocol.NATURAL_IMAGES: (305, 326),
    protocol.NATURAL: (300, 300),
}


@pytest.fixture(scope="module")
def movies():
    rng = np.random.default_rng(0)
    return np.stack([stimuli.natural_clip(rng) for _ in range(24)])


@pytest.mark.parametrize("family", FRAMES)
def test_clip_has_published_size_and_depends_only_on_the_generator(family):
    first, again, other = (stimuli.clip(family, np.random.default_rng(s)) for s in (1, 1, 2))
    low, high = FRAMES[family]
    assert first.dtype == np.uint8
    assert first.shape[1:] == (36, 64) and low <= len(first) <= high
    np.testing.assert_array_equal(first, again)
    assert len(first) != len(other) or (first != other).mean() > 0.1


def test_every_family_of_the_protocol_has_a_function():
    assert set(stimuli.OOD) == set(protocol.OOD_FAMILIES)


def changes(video):
    """Mean absolute change from each frame to the next [T-1]."""
    return np.abs(np.diff(video.astype(np.float32), axis=0)).mean((1, 2))


def test_gaussian_dots_hold_for_nine_frames():
    video, _ = stimuli.make_clip(GaussianDots(), np.random.default_rng(0))
    moved = np.flatnonzero(changes(video)) + 1
    np.testing.assert_array_equal(moved, np.arange(9, 315, 9))


@pytest.mark.parametrize("family, length", [(PinkNoise(), 27), (DriftingGabor(), 25)])
def test_segments_begin_where_published(family, length):
    change = changes(stimuli.make_clip(family, np.random.default_rng(0)).video)
    boundary = np.arange(length - 1, len(change), length)
    assert change[boundary].min() > 1.2 * np.delete(change, boundary).max()


def test_dots_of_full_coherence_all_move_one_way():
    condition = RandomDotsCondition(0.0, 1.0, 1.0)
    video = RandomDots().segment(condition, np.random.default_rng(0))
    forth = (video[1:] * np.roll(video[:-1], 1, axis=2)).sum()
    back = (video[1:] * np.roll(video[:-1], -1, axis=2)).sum()
    assert forth > 2 * back


def test_gabor_drifts_in_its_direction():
    video = DriftingGabor().segment(GaborCondition(90.0, 12.0, 2.0), None)  # upwards: towards row 0
    up, down = (np.sum(video[1:] * np.roll(video[:-1], step, axis=1)) for step in (-1, 1))
    assert up > down


def test_pink_noise_is_oriented_across_its_motion():
    video = PinkNoise().segment(
        PinkNoiseCondition(0.0), np.random.default_rng(0)
    )  # rightwards: upright stripes
    dy, dx = np.diff(video, axis=1).std(), np.diff(video, axis=2).std()
    assert dx > 2 * dy


def test_flashed_images_follow_grey_blanks():
    video = stimuli.clip(protocol.NATURAL_IMAGES, np.random.default_rng(0))
    blank = video.std((1, 2)) == 0
    starts = np.flatnonzero(np.diff(blank.astype(int)) == -1)
    assert blank[0] and not blank[-1] and len(starts) == 10
    assert 12 * 10 <= blank.sum() <= 18 * 10
    image = slice(starts[0] + 1, starts[0] + 15)
    contrast = video[image].std((1, 2))
    assert contrast[0] < 0.7 * contrast[1]
    assert np.ptp(contrast[1:13]) == 0


def test_movies_have_the_release_luminance_and_contrast(movies):
    assert 60 < movies.mean() < 100
    assert 48 < movies.std() < 70


def test_movies_have_an_amplitude_spectrum_near_one_over_f(movies):
    frames = movies[:, ::60].reshape(-1, 36, 64).astype(float)
    window = np.hanning(36)[:, None] * np.hanning(64)
    frames = (frames - frames.mean((1, 2), keepdims=True)) * window
    power = (np.abs(np.fft.fft2(frames)) ** 2).mean(0)
    frequency = np.hypot(np.fft.fftfreq(36)[:, None], np.fft.fftfreq(64))
    band = (frequency > 0.05) & (frequency < 0.4)
    slope = np.polyfit(np.log(frequency[band]), 0.5 * np.log(power[band]), 1)[0]
    assert -1.7 < slope < -1.0  # white noise: 0; four real films: -1.2 to -1.6


def test_movies_are_cut_and_move_between_cuts(movies):
    change = np.stack([changes(movie) for movie in movies])
    cuts = (change > 35).sum(axis=1)
    assert 0.5 < cuts.mean() < 3 and cuts.max() <= 4
    assert (cuts == 0).any() and (cuts > 1).any()
    assert 1 < np.median(change) < 12


@pytest.mark.parametrize("frames", [1, 19, 40, 450])
def test_movies_of_any_length(frames):
    assert stimuli.natural_clip(np.random.default_rng(0), frames=frames).shape == (frames, 36, 64)
