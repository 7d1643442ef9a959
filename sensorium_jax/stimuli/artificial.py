"""The five out-of-domain stimulus families, with the published segment structure.

Each function makes one clip, uint8 [T H W], grey levels at 30 Hz. The order, number and length of
segments and the conditions are published as metadata. What is published of a segment's look
is given with its source; where nothing is, the constant says "chosen".

Sources: [A] trial metadata of the ten mice, anaflom/sensorium; [CL] templates fitted to the
frames, bryanlimy/ViV1T-closed-loop, ``tuning_direction`` and ``ood_features``.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.stimuli.natural import natural_image

GREY = 127.5  # of blanks and backgrounds: the middle of the range [CL Gabors]; elsewhere chosen
CONTRAST = 127.5  # grey levels either side of GREY: the full range [CL Gabors]; elsewhere chosen
HALF_HEIGHT_PX = (protocol.HEIGHT - 1) / 2  # [CL] measures Gabors in half heights

GABOR_SEGMENTS, GABOR_FRAMES = 12, 25  # [A]
GABOR_DIRECTIONS_DEG = tuple(range(0, 360, 45))  # [A]
GABOR_WAVELENGTHS_PX = tuple(HALF_HEIGHT_PX * x for x in (0.18, 0.38, 0.65))  # [CL]: 3.2, 6.7, 11.4
GABOR_CYCLES = tuple(protocol.WIDTH * x for x in (0.008, 0.022, 0.055))  # a segment [CL]
GABOR_FREQUENCIES_HZ = tuple(  # 0.64, 1.8, 4.4
    cycles * protocol.FRAME_RATE_HZ / (GABOR_FRAMES - 1) for cycles in GABOR_CYCLES
)
GABOR_SIGMA_PX = 0.3 * HALF_HEIGHT_PX  # centred on the screen [CL]

NOISE_SEGMENTS, NOISE_FRAMES = 12, 27  # [A]
NOISE_DIRECTIONS_DEG = tuple(range(0, 360, 30))  # chosen: each direction once a clip
NOISE_BANDWIDTH_DEG = 15.0  # std of orientation about the perpendicular of motion; chosen
NOISE_SPEED_PX = 0.6  # a frame; chosen, some 35 deg/s
NOISE_TILE_PX = 64  # the noise repeats at this distance, which the screen does not exceed
NOISE_STD = 50.0  # grey levels; chosen

DOT_SEGMENTS, DOT_FRAMES = 4, 60  # [A]
DOT_DIRECTIONS_DEG = tuple(range(0, 360, 45))  # [A]: eight trajectories
DOT_COHERENCES = (0.5, 1.0)  # two [A], values chosen
DOT_SPEEDS_PX = (0.5, 1.2)  # a frame; two [A], values chosen
DOT_COUNT, DOT_RADIUS_PX, DOT_LIFETIME_FRAMES = 40, 1.8, 20  # chosen; half black, half white

BLOB_SEGMENTS, BLOB_FRAMES = 35, 9  # [A]
BLOB_X_PX = tuple(np.linspace(9, 54, 15).tolist())  # [CL]
BLOB_Y_PX = tuple(np.linspace(8, 27, 7).tolist())  # [CL]
BLOB_SIGMA_PX = 4.75 / np.sqrt(2 * np.log(2))  # half maximum at 4.5-5 px from the centre [CL]

FLASH_IMAGES = 10  # about [A]
FLASH_BLANK_FRAMES = (12, 18)  # before every image [A]
FLASH_IMAGE_FRAMES = (15, 17)  # [A]
FLASH_CLIP_FRAMES = (305, 326)  # [A]
FLASH_EDGE_CONTRAST = 0.5  # of an image's first and last frame: "reduced" [CL], value chosen


def drifting_gabor(rng: np.random.Generator) -> np.ndarray:
    """Twelve centred Gabors, each drifting in one direction: [300 H W]."""
    conditions = list(product(GABOR_DIRECTIONS_DEG, GABOR_WAVELENGTHS_PX, GABOR_FREQUENCIES_HZ))
    shown = rng.choice(len(conditions), GABOR_SEGMENTS, replace=False)
    return _grey_levels(np.concatenate([_gabor(*conditions[index]) for index in shown]))


def pink_noise(rng: np.random.Generator) -> np.ndarray:
    """Twelve 1/f patterns, oriented across the direction in which they drift: [324 H W]."""
    directions = rng.permutation(NOISE_DIRECTIONS_DEG)
    return _grey_levels(np.concatenate([_drifting_noise(rng, angle) for angle in directions]))


def random_dots(rng: np.random.Generator) -> np.ndarray:
    """Four random dot kinematograms: [240 H W]."""
    conditions = list(product(DOT_DIRECTIONS_DEG, DOT_COHERENCES, DOT_SPEEDS_PX))
    shown = rng.choice(len(conditions), DOT_SEGMENTS, replace=False)
    return _grey_levels(np.concatenate([_kinematogram(rng, *conditions[i]) for i in shown]))


def gaussian_dots(rng: np.random.Generator) -> np.ndarray:
    """Thirty-five black or white Gaussian spots, one at a time: [315 H W]."""
    conditions = list(product(BLOB_X_PX, BLOB_Y_PX, (-1.0, 1.0)))
    shown = rng.choice(len(conditions), BLOB_SEGMENTS, replace=False)
    frames = np.stack([_blob(*conditions[index]) for index in shown])
    return _grey_levels(np.repeat(frames, BLOB_FRAMES, axis=0))


def natural_images(rng: np.random.Generator) -> np.ndarray:
    """Ten flashed natural scenes, a grey blank before each: [305..326 H W]."""
    low, high = FLASH_CLIP_FRAMES
    blank = image = np.zeros(FLASH_IMAGES, int)
    while not low <= blank.sum() + image.sum() <= high:
        blank = rng.integers(FLASH_BLANK_FRAMES[0], FLASH_BLANK_FRAMES[1] + 1, FLASH_IMAGES)
        image = rng.integers(FLASH_IMAGE_FRAMES[0], FLASH_IMAGE_FRAMES[1] + 1, FLASH_IMAGES)
    segments = [_flash(rng, *lengths) for lengths in np.stack([blank, image], axis=-1)]
    return _grey_levels(np.concatenate(segments))


OOD = {
    protocol.GABOR: drifting_gabor,
    protocol.PINK_NOISE: pink_noise,
    protocol.RDK: random_dots,
    protocol.GAUSSIAN_DOTS: gaussian_dots,
    protocol.NATURAL_IMAGES: natural_images,
}


def _grey_levels(contrast: np.ndarray) -> np.ndarray:
    """Contrast -1..1 to uint8 grey levels, same shape."""
    return np.clip(np.rint(GREY + CONTRAST * contrast), 0, 255).astype(np.uint8)


def _grid_px() -> tuple[np.ndarray, np.ndarray]:
    """Rows [H 1] and columns [1 W] of the pixels."""
    return np.arange(protocol.HEIGHT)[:, None], np.arange(protocol.WIDTH)[None, :]


def _unit_vector(direction_deg: float) -> tuple[float, float]:
    """Components along y (down) and x (right); 90 degrees points up."""
    angle = np.deg2rad(direction_deg)
    return -np.sin(angle), np.cos(angle)


def _gabor(direction_deg: float, wavelength_px: float, frequency_hz: float) -> np.ndarray:
    """Contrast of one drifting Gabor [25 H W]."""
    y, x = _grid_px()
    y, x = y - (protocol.HEIGHT - 1) / 2, x - (protocol.WIDTH - 1) / 2
    along_y, along_x = _unit_vector(direction_deg)
    space = (y * along_y + x * along_x) / wavelength_px  # cycles
    time = np.arange(GABOR_FRAMES)[:, None, None] * frequency_hz / protocol.FRAME_RATE_HZ
    window = np.exp(-(y**2 + x**2) / (2 * GABOR_SIGMA_PX**2))
    return window * np.cos(2 * np.pi * (space - time))


def _drifting_noise(rng, direction_deg: float) -> np.ndarray:
    """Contrast of one drifting oriented 1/f pattern [27 H W]."""
    fy = np.fft.fftfreq(NOISE_TILE_PX)[:, None]
    fx = np.fft.rfftfreq(NOISE_TILE_PX)[None, :]
    along_y, along_x = _unit_vector(direction_deg)
    radius = np.hypot(fy, fx)
    radius[0, 0] = np.inf  # no mean
    # Stripes across the motion have their wave vectors along it, to either side.
    off_axis = np.arccos(np.clip(np.abs(fy * along_y + fx * along_x) / radius, 0, 1))
    amplitude = np.exp(-0.5 * (off_axis / np.deg2rad(NOISE_BANDWIDTH_DEG)) ** 2) / radius
    wave = amplitude * np.fft.rfft2(rng.normal(size=(NOISE_TILE_PX, NOISE_TILE_PX)))
    moved_px = NOISE_SPEED_PX * np.arange(NOISE_FRAMES)[:, None, None]
    moving = wave * np.exp(-2j * np.pi * moved_px * (fy * along_y + fx * along_x))
    field = np.fft.irfft2(moving, (NOISE_TILE_PX, NOISE_TILE_PX))
    field *= NOISE_STD / CONTRAST / field.std()
    return field[:, : protocol.HEIGHT, : protocol.WIDTH]


def _kinematogram(rng, direction_deg: float, coherence: float, speed_px: float) -> np.ndarray:
    """Contrast of dots of which a share moves one way, the rest each its own [60 H W]."""
    angles = np.where(
        rng.random(DOT_COUNT) < coherence, direction_deg, rng.uniform(0, 360, DOT_COUNT)
    )
    velocity = speed_px * np.stack(_unit_vector(angles), axis=-1)  # [dots 2] y, x
    # A dot lives, then starts elsewhere; births are spread over time.
    age = rng.integers(0, DOT_LIFETIME_FRAMES, DOT_COUNT) + np.arange(DOT_FRAMES)[:, None]
    life, age = divmod(age, DOT_LIFETIME_FRAMES)  # [60 dots]
    size = np.array([protocol.HEIGHT, protocol.WIDTH])
    births = rng.uniform(0, size, (life.max() + 1, DOT_COUNT, 2))
    position = births[life, np.arange(DOT_COUNT)] + age[..., None] * velocity
    return _draw_dots(position % size, np.where(np.arange(DOT_COUNT) % 2, 1.0, -1.0))


def _draw_dots(position: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Discs at ``position`` [T dots 2] y, x in ``colour`` [dots] -> contrast [T H W]."""
    y, x = _grid_px()
    video = np.zeros((len(position), protocol.HEIGHT, protocol.WIDTH), np.float32)
    for dot, shade in enumerate(colour):
        dy = y[None] - position[:, dot, 0, None, None]  # [T H 1]
        dx = x[None] - position[:, dot, 1, None, None]  # [T 1 W]
        video[dy**2 + dx**2 < DOT_RADIUS_PX**2] = shade
    return video


def _blob(x_px: float, y_px: float, colour: float) -> np.ndarray:
    """Contrast of one Gaussian spot [H W]."""
    y, x = _grid_px()
    return colour * np.exp(-((y - y_px) ** 2 + (x - x_px) ** 2) / (2 * BLOB_SIGMA_PX**2))


def _flash(rng, blank_frames: int, image_frames: int) -> np.ndarray:
    """Contrast of a blank and the image after it [T H W]."""
    contrast = np.zeros(blank_frames + image_frames)
    contrast[blank_frames:] = 1
    contrast[[blank_frames, -1]] = FLASH_EDGE_CONTRAST
    return contrast[:, None, None] * (natural_image(rng) / CONTRAST - 1)
