"""What a trial showed, from its frames alone: the stimulus family, and which trials share a clip.

The release names neither. Its families differ in ways that frames show plainly (segment lengths:
counts over the public trial metadata of the ten mice, anaflom/sensorium):

    natural_images   about ten flashes with a grey blank before each
    gaussian_dots    a new frame every 9 frames, still between
    drifting_gabor   a patch in the centre, the border flat and grey
    random_dots      dots on a background of one grey level
    pink_noise       a jump every 27 frames, motion between
    natural          none of these

Repeats of a clip are not byte-identical, but differ by a grey level at most in nearly all frames
(bryanlimy/ViV1T-closed-loop). A clip is therefore known by a few stills of it, and two trials show
the same one when their stills differ by less than a grey level, in the median still.
"""

from __future__ import annotations

import numpy as np

from sensorium_jax import protocol

UNKNOWN = "unknown"  # a film of an out-of-domain tier that is like none of the families

FLAT_LEVELS = 2.0  # spatial std of a frame, or of a border, without a picture
STILL_LEVELS = 0.5  # mean change from frame to frame of a still film: repeats jitter by one level
GREY_RANGE = (60, 200)  # grey levels of a background: neither a black nor a white bar
FLASHES = 5  # at least; a clip has about ten
FLASH_FRAMES_BLANK = (0.2, 0.8)  # share of blank frames in a clip of flashes
BORDER_PX = 4  # columns at the left and at the right
BACKGROUND_SHARE = 0.3  # of the pixels are on the background, at least
ONE_LEVEL = 2  # grey levels about the background that count as it

DOT_FRAMES, NOISE_FRAMES = 9, 27  # of a segment
JUMP = 1.5  # change at a segment's start, over that of the frames around it

# Valid frames that only one family has, for frames that show nothing known.
ONLY_LENGTH = {240: protocol.RDK, 324: protocol.PINK_NOISE}

STILLS = 16
STILLS_UP_TO_FRAME = 240  # of the shortest family
BLOCK_PX = 4
SAME_LEVELS = 1.0


def family(video: np.ndarray, *, tier: str) -> str:
    """Stimulus family of a film [T H W] in grey levels.

    ``tier`` decides where frames cannot: out-of-domain tiers never show natural films, and the
    length of a clip tells some families; what is left there is ``UNKNOWN``.
    """
    seen = _family(video)
    if seen == protocol.NATURAL and tier in protocol.BONUS_TIERS:
        return ONLY_LENGTH.get(len(video), UNKNOWN)
    return seen


def _family(video: np.ndarray) -> str:
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
    """Frames that tell a film [T H W] from others, uint8 [16 H W].

    They stand at fixed times, but for flashes in the middle of each, as blanks vary in length from
    repeat to repeat.
    """
    flashes = _flashes(video.astype(np.float32))
    if len(flashes) >= FLASHES:
        at = np.array([(first + last) // 2 for first, last in flashes[:STILLS]])
    else:
        frames = min(len(video), STILLS_UP_TO_FRAME)
        at = ((np.arange(STILLS) + 0.5) * frames / STILLS).astype(int)
    found = np.zeros((STILLS, *video.shape[1:]), np.uint8)
    found[: len(at)] = np.clip(np.rint(video[at]), 0, 255)
    return found


class Clips:
    """Clips seen so far, known by their stills."""

    def __init__(self):
        self._stills: dict[str, np.ndarray] = {}  # by id
        self._coarse = np.zeros((0, 0), np.float32)  # [room k], a row a clip

    def add(self, clip: str, stills: np.ndarray) -> None:
        """Remember stills [16 H W] of a clip, unless it is known already."""
        if clip in self._stills:
            return
        coarse, n = _coarse(stills), len(self._stills)
        if n == len(self._coarse):  # twice the room, so that adding stays cheap
            more = np.full((n + 64, coarse.size), np.inf, np.float32)
            self._coarse = np.concatenate([self._coarse.reshape(n, coarse.size), more])
        self._coarse[n] = coarse
        self._stills[clip] = stills

    def identify(self, stills: np.ndarray) -> str:
        """The id of the clip that these stills show; a new one is remembered and numbered."""
        known = list(self._stills)
        if known:
            distance = np.square(self._coarse[: len(known)] - _coarse(stills)).sum(-1)
            nearest = known[int(distance.argmin())]
            if _difference(self._stills[nearest], stills) < SAME_LEVELS:
                return nearest
        number = len(known)
        while (new := f"clip{number:05d}") in self._stills:  # a mouse was taken out of the store
            number += 1
        self.add(new, stills)
        return new


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference in grey levels of the median still."""
    return float(np.median(np.abs(one.astype(np.int16) - other).mean((1, 2))))


def _coarse(stills: np.ndarray) -> np.ndarray:
    """Block means of stills [16 H W], flat."""
    n, h, w = stills.shape
    b = BLOCK_PX
    return stills.reshape(n, h // b, b, w // b, b).mean((2, 4), dtype=np.float32).ravel()


def _flashes(video: np.ndarray) -> list[tuple[int, int]]:
    """First and last frame of every stretch between two blanks, or after the last one.

    Empty where blanks are too rare or too common for a clip of flashed images.
    """
    blank = video.std((1, 2)) < FLAT_LEVELS
    low, high = FLASH_FRAMES_BLANK
    if not low < blank.mean() < high:
        return []
    edges = np.diff(np.concatenate([[True], blank, [True]]).astype(int))
    return list(zip(np.flatnonzero(edges < 0), np.flatnonzero(edges > 0) - 1, strict=True))


def _steps(change: np.ndarray) -> bool:
    """Whether the film stands still but for a change every DOT_FRAMES frames."""
    at_start = np.arange(len(change)) % DOT_FRAMES == 0
    moves = change > STILL_LEVELS
    return bool(moves[at_start][1:].mean() > 0.8 and moves[~at_start].mean() < 0.1)


def _flat_border(video: np.ndarray) -> bool:
    """Whether the left and right border never show anything but one grey, while the rest moves."""
    border = np.concatenate([video[..., :BORDER_PX], video[..., -BORDER_PX:]], -1)
    low, high = GREY_RANGE
    moving = video.std(0).max() > FLAT_LEVELS
    return bool(moving and border.std() < FLAT_LEVELS and low < border.mean() < high)


def _background_share(video: np.ndarray) -> float:
    """Share of pixels at the film's most common grey level, if that is a grey."""
    low, high = GREY_RANGE
    counts = np.bincount(np.clip(np.rint(video), 0, 255).astype(np.uint8).ravel(), minlength=256)
    common = int(counts.argmax())
    near = slice(max(common - ONE_LEVEL, 0), common + ONE_LEVEL + 1)
    return float(counts[near].sum() / counts.sum()) if low < common < high else 0.0


def _jumps(change: np.ndarray) -> bool:
    """Whether there is a jump at nearly every start of a segment of NOISE_FRAMES frames."""
    starts = np.arange(NOISE_FRAMES, len(change) - 3, NOISE_FRAMES)
    around = np.median(change[starts[:, None] + np.array([-3, -2, -1, 1, 2, 3])], axis=1)
    return bool(len(starts) > 3 and (change[starts] > JUMP * around).mean() > 0.8)
