"""Flashed natural images: a grey blank, then an image for half a second.

Sources: [A] trial metadata of the ten mice, anaflom/sensorium; [CL] measured on the frames,
bryanlimy/ViV1T-closed-loop. The release's images come from ImageNet; these are generated scenes
(``natural.py``), or the images of a folder.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.errors import UserError
from sensorium_jax.stimuli import screen
from sensorium_jax.stimuli.natural import natural_image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
RANGES = ("blank_frames", "image_frames", "clip_frames")
TRIES = 10_000  # draws of lengths that fit a clip; with the defaults three in four fit


class NaturalImagesCondition(NamedTuple):
    """The condition of one segment."""

    blank_frames: int  # before the image
    image_frames: int
    image: str = ""  # name of a file; "" for a generated scene


@dataclass(frozen=True)
class NaturalImages:
    """Clips of flashed images.

    Attributes:
        folder: folder of images, each once in a set, cropped and scaled to the screen; None
            generates scenes.
        blank_frames: shortest and longest blank [A].
        image_frames: shortest and longest image presentation [A].
        clip_frames: shortest and longest clip [A].
        edge_contrast: factor on the contrast of an image's first and last frame: "reduced" [CL];
            value chosen.
        contrast: factor on the contrast of the images; chosen.
        grey_level: grey level of the blanks; chosen.
        segments: number of images in a clip, about [A].
        clips: number of clips in a set of scenes, 60 images in all [A].

    Raises:
        UserError: a parameter that cannot be shown; the message says which and why.
    """

    folder: Path | None = None
    blank_frames: tuple[int, int] = (12, 18)
    image_frames: tuple[int, int] = (15, 17)
    clip_frames: tuple[int, int] = (305, 326)
    edge_contrast: float = 0.5
    contrast: float = 1.0
    grey_level: float = screen.GREY
    segments: int = 10
    clips: int = 6

    def __post_init__(self):
        if not isinstance(self.folder, str | Path | None):
            raise UserError(f"expected folder as a path, got {self.folder!r}; change it")
        screen.check_range(self, "edge_contrast", "contrast", low=0, high=1)
        screen.check_range(self, "grey_level", low=1, high=255)
        screen.check_counts(self, "segments", "clips", *RANGES)
        for name in RANGES:
            frames = getattr(self, name)
            if len(frames) != 2 or frames[0] > frames[1]:
                raise UserError(f"expected {name} as (shortest, longest), got {frames}; change it")
        shortest, longest = (
            self.segments * (blank + image)
            for blank, image in zip(self.blank_frames, self.image_frames, strict=True)
        )
        if longest < self.clip_frames[0] or shortest > self.clip_frames[1]:
            raise self._length_error(f"take {shortest} to {longest}")
        if self.folder is not None and len(self.files) < self.segments:
            raise UserError(
                f"expected at least {self.segments} images ({', '.join(SUFFIXES)}) in "
                f"{self.folder}, found {len(self.files)}; add some, or lower segments"
            )

    @property
    def files(self) -> list[Path]:
        """Images of the folder, sorted by name; empty without a folder.

        Raises:
            UserError: the folder cannot be read.
        """
        if self.folder is None:
            return []
        try:
            return sorted(p for p in Path(self.folder).iterdir() if p.suffix.lower() in SUFFIXES)
        except OSError as error:
            raise UserError(
                f"expected a folder of images, {self.folder} cannot be read ({error.strerror}); "
                "name another"
            ) from None

    @property
    def conditions(self) -> tuple[NaturalImagesCondition, ...]:
        """The images of a set, with the mean lengths of blanks and presentations.

        Examples:
            >>> conditions = NaturalImages().conditions  # 10 images x 6 clips
            >>> len(conditions), conditions[0].blank_frames, conditions[0].image_frames
            (60, 15, 16)
        """
        blank, image = (round(sum(x) / 2) for x in (self.blank_frames, self.image_frames))
        names = [p.name for p in self.files] or [""] * (self.segments * self.clips)
        return tuple(NaturalImagesCondition(blank, image, name) for name in names)

    def draw(self, rng: np.random.Generator) -> tuple[NaturalImagesCondition, ...]:
        """Random images and lengths whose sum is in ``clip_frames``.

        Raises:
            UserError: no such lengths in 10,000 draws.

        Examples:
            >>> conditions = NaturalImages().draw(np.random.default_rng(0))
            >>> frames = sum(c.blank_frames + c.image_frames for c in conditions)
            >>> len(conditions), 305 <= frames <= 326
            (10, True)
        """
        for _ in range(TRIES):
            blank = rng.integers(self.blank_frames[0], self.blank_frames[1] + 1, self.segments)
            image = rng.integers(self.image_frames[0], self.image_frames[1] + 1, self.segments)
            if self.clip_frames[0] <= blank.sum() + image.sum() <= self.clip_frames[1]:
                break
        else:
            raise self._length_error(f"had other lengths in {TRIES} draws")
        names = [""] * self.segments
        if self.files:
            indices = rng.choice(len(self.files), self.segments, replace=False)
            names = [self.files[i].name for i in indices]
        conditions = zip(blank.tolist(), image.tolist(), names, strict=True)
        return tuple(NaturalImagesCondition(*condition) for condition in conditions)

    def segment(self, condition: NaturalImagesCondition, rng: np.random.Generator) -> np.ndarray:
        """Contrast of a blank and the following image [T H W].

        Examples:
            >>> condition = NaturalImagesCondition(blank_frames=12, image_frames=15)
            >>> contrast = NaturalImages().segment(condition, np.random.default_rng(0))
            >>> contrast.shape, float(abs(contrast[:12]).max())
            ((27, 36, 64), 0.0)
        """
        blank, duration, name = condition
        envelope = np.zeros(blank + duration)
        envelope[blank:] = self.contrast
        envelope[[blank, -1]] = self.contrast * self.edge_contrast
        if name:
            assert self.folder is not None, "only images of a folder have names"
            image = load_image(Path(self.folder) / name)
        else:
            image = natural_image(rng)
        return envelope[:, None, None] * (image / self.grey_level - 1)

    def _length_error(self, finding: str) -> UserError:
        low, high = self.clip_frames
        return UserError(
            f"expected clips of {low} to {high} frames, but {self.segments} images and blanks "
            f"{finding}; change clip_frames"
        )


@functools.lru_cache(maxsize=256)
def load_image(path: Path) -> np.ndarray:
    """Grey levels [H W] of an image file, cropped around its centre and scaled to the screen.

    Raises:
        UserError: it cannot be read, or pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise UserError(
            "reading images needs pillow; install it with: pip install 'sensorium_jax[pictures]'"
        ) from None
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):  # Pillow would clip these at 255
                raise UserError(
                    f"expected 8 bits a channel in {path}, got mode {image.mode}; convert it"
                )
            size = protocol.WIDTH, protocol.HEIGHT
            return np.asarray(ImageOps.fit(image.convert("L"), size, Image.Resampling.BOX))
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's errors for damaged files
        raise UserError(
            f"expected an image in {path}, it cannot be read ({error}); remove or replace it"
        ) from None
