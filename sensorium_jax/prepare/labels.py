"""Labels of trials, computed from their frames: the stimulus family, and the id of the clip.

The release holds neither. Its stimulus families are told apart by these properties (segment
lengths: counts over the public trial metadata of the ten mice, anaflom/sensorium):

    natural_images   about ten flashes with a grey blank before each
    gaussian_dots    a new image every 9 frames, constant in between
    drifting_gabor   a patch in the centre, the border constant and grey
    random_dots      dots on a background of one grey level
    pink_noise       an abrupt change every 27 frames, motion in between
    natural          none of these

Repeats of a clip are not byte-identical, but differ by at most one grey level in nearly all frames
(bryanlimy/ViV1T-closed-loop). A clip is therefore identified by 16 stills: two trials show the same
clip if the mean absolute difference of the median still is below one grey level.
"""

from __future__ import annotations

import numpy as np

from sensorium_jax import protocol

UNKNOWN = "unknown"  # a film of an out-of-domain tier that has the properties of no family

FLAT_LEVELS = 2.0  # largest spatial std of a frame, or of a border, that is blank
STILL_LEVELS = 0.5  # largest mean change between constant frames: repeats jitter by one level
GREY_RANGE = (60, 200)  # grey levels of a background: excludes black and white bars
FLASHES = 5  # smallest number in a clip of flashed images, which has about ten
FLASH_FRAMES_BLANK = (0.2, 0.8)  # share of blank frames in a clip of flashed images
BORDER_PX = 4  # columns at the left and at the right
BACKGROUND_SHARE = 0.3  # smallest share of pixels that are background
ONE_LEVEL = 2  # largest difference of a background pixel from the background's grey level

DOT_FRAMES, NOISE_FRAMES = 9, 27  # frames of a segment
JUMP = 1.5  # smallest change at a segment's start, over that of the neighbouring frames

# Numbers of valid frames that a single out-of-domain family has.
ONLY_LENGTH = {240: protocol.RDK, 324: protocol.PINK_NOISE}

STILLS = 16
STILLS_UP_TO_FRAME = 240  # frames of the shortest family
BLOCK_PX = 4  # side of the blocks whose means are compared first
SAME_LEVELS = 1.0  # largest difference of the median still of two trials of a clip


def family(video: np.ndarray, *, tier: str) -> str:
    """Stimulus family of a film [T H W] in grey levels.

    Out-of-domain tiers show no natural films: a film of such a ``tier`` that has the properties of
    no family is labelled by its length if only one family has that length, else ``UNKNOWN``.

    Examples:
        >>> grey = np.full((324, 36, 64), 128, np.uint8)
        >>> family(grey, tier="train"), family(grey, tier="live_test_bonus")
        ('natural', 'pink_noise')
        >>> images = np.random.default_rng(0).integers(0, 256, (30, 36, 64), np.uint8)
        >>> family(np.repeat(images, 9, axis=0), tier="live_test_bonus")
        'gaussian_dots'
    """
    label = _frame_family(video)
    if label == protocol.NATURAL and tier in protocol.BONUS_TIERS:
        return ONLY_LENGTH.get(len(video), UNKNOWN)
    return label


def _frame_family(video: np.ndarray) -> str:
    """Stimulus family by the properties of frames [T H W]."""
    video = video.astype(np.float32)  # sums of bytes are slow
    change = np.abs(np.diff(video, axis=0, prepend=video[:1])).mean((1, 2))
    if len(_flashes(video)) >= FLASHES:
        return protocol.NATURAL_IMAGES
    if _steps(change):
        return protocol.GAUSSIAN_DOTS
    if _flat_border(video):
        return protocol.GABOR
    if _background_share(video) > BACKGROUND_SHARE and np.median(change) > STILL_LEVELS:
        return protocol.RDK
    if _jumps(change):
        return protocol.PINK_NOISE
    return protocol.NATURAL


def stills(video: np.ndarray) -> np.ndarray:
    """16 frames that identify a film [T H W]: uint8 [16 H W].

    They are at fixed times; of flashed images, in the middle of each flash, since blanks vary in
    length from repeat to repeat.

    Examples:
        >>> stills(np.zeros((300, 36, 64), np.uint8)).shape
        (16, 36, 64)
    """
    flashes = _flashes(video.astype(np.float32))
    if len(flashes) >= FLASHES:
        indices = np.array([(first + last) // 2 for first, last in flashes[:STILLS]])
    else:
        frames = min(len(video), STILLS_UP_TO_FRAME)
        indices = ((np.arange(STILLS) + 0.5) * frames / STILLS).astype(int)
    images = np.zeros((STILLS, *video.shape[1:]), np.uint8)
    images[: len(indices)] = np.clip(np.rint(video[indices]), 0, 255)
    return images


class Clips:
    """The clips of all recordings so far, identified by their stills.

    Examples:
        >>> clips = Clips()
        >>> film = np.random.default_rng(0).integers(0, 255, (16, 36, 64), np.uint8)
        >>> repeat = film + (np.arange(64) % 2).astype(np.uint8)  # half of the pixels differ by 1
        >>> clips.identify(film), clips.identify(repeat), clips.identify(255 - film)
        ('clip00000', 'clip00000', 'clip00001')
    """

    def __init__(self):
        self._stills: dict[str, np.ndarray] = {}  # by id
        self._coarse = np.zeros((0, 0), np.float32)  # [capacity k], block means, a row a clip

    def add(self, clip: str, stills: np.ndarray) -> None:
        """Add a clip with its stills [16 H W], unless its id is there already."""
        if clip in self._stills:
            return
        coarse, n = _block_means(stills), len(self._stills)
        if n == len(self._coarse):  # double the capacity, so that adding stays cheap
            rows = np.full((n + 64, coarse.size), np.inf, np.float32)
            self._coarse = np.concatenate([self._coarse.reshape(n, coarse.size), rows])
        self._coarse[n] = coarse
        self._stills[clip] = stills

    def identify(self, stills: np.ndarray) -> str:
        """The id of the clip with these stills [16 H W]; a new clip is added with a new id."""
        ids = list(self._stills)
        if ids:
            distance = np.square(self._coarse[: len(ids)] - _block_means(stills)).sum(-1)
            nearest = ids[int(distance.argmin())]
            if _difference(self._stills[nearest], stills) < SAME_LEVELS:
                return nearest
        number = len(ids)
        while (clip := f"clip{number:05d}") in self._stills:  # after a mouse was removed
            number += 1
        self.add(clip, stills)
        return clip


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference in grey levels of the median still of [16 H W]."""
    return float(np.median(np.abs(a.astype(np.int16) - b).mean((1, 2))))


def _block_means(stills: np.ndarray) -> np.ndarray:
    """Means of stills [16 H W] over blocks of ``BLOCK_PX`` pixels, flattened."""
    n, h, w = stills.shape
    b = BLOCK_PX
    return stills.reshape(n, h // b, b, w // b, b).mean((2, 4), dtype=np.float32).ravel()


def _flashes(video: np.ndarray) -> list[tuple[int, int]]:
    """First and last frame of every image between blanks, or after the last blank.

    [] if the share of blank frames is not that of a clip of flashed images.
    """
    blank = video.std((1, 2)) < FLAT_LEVELS
    low, high = FLASH_FRAMES_BLANK
    if not low < blank.mean() < high:
        return []
    edges = np.diff(np.concatenate([[True], blank, [True]]).astype(int))
    first, last = np.flatnonzero(edges < 0), np.flatnonzero(edges > 0) - 1
    return list(zip(first.tolist(), last.tolist(), strict=True))


def _steps(change: np.ndarray) -> bool:
    """Whether frames [T] change at starts of segments of DOT_FRAMES frames, and only there."""
    starts = np.arange(len(change)) % DOT_FRAMES == 0
    moves = change > STILL_LEVELS
    return bool(moves[starts][1:].mean() > 0.8 and moves[~starts].mean() < 0.1)


def _flat_border(video: np.ndarray) -> bool:
    """Whether the left and right borders have one constant grey level, while the film moves."""
    border = np.concatenate([video[..., :BORDER_PX], video[..., -BORDER_PX:]], -1)
    low, high = GREY_RANGE
    moving = video.std(0).max() > FLAT_LEVELS
    return bool(moving and border.std() < FLAT_LEVELS and low < border.mean() < high)


def _background_share(video: np.ndarray) -> float:
    """Share of pixels at the film's most common grey level; 0 if that is black or white."""
    low, high = GREY_RANGE
    counts = np.bincount(np.clip(np.rint(video), 0, 255).astype(np.uint8).ravel(), minlength=256)
    mode = int(counts.argmax())
    levels = slice(max(mode - ONE_LEVEL, 0), mode + ONE_LEVEL + 1)
    return float(counts[levels].sum() / counts.sum()) if low < mode < high else 0.0


def _jumps(change: np.ndarray) -> bool:
    """Whether the film changes abruptly at nearly every start of a segment of NOISE_FRAMES."""
    starts = np.arange(NOISE_FRAMES, len(change) - 3, NOISE_FRAMES)
    nearby = np.median(change[starts[:, None] + np.array([-3, -2, -1, 1, 2, 3])], axis=1)
    return bool(len(starts) > 3 and (change[starts] > JUMP * nearby).mean() > 0.8)
