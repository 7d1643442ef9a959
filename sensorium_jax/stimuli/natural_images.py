"""Flashed natural images: a scene for half a second, grey before each.

Sources: [A] trial metadata of the ten mice, anaflom/sensorium; [CL] measured on the frames,
bryanlimy/ViV1T-closed-loop. The release's images come from ImageNet; here they are scenes made on
the spot (``natural.py``), or those of a folder.
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
TRIES = 10_000  # to draw lengths that make a clip; of the default ones three in four do


class NaturalImagesCondition(NamedTuple):
    """What one segment shows."""

    blank_frames: int  # before the image
    image_frames: int
    image: str = ""  # name of a file; "" for a scene made on the spot


@dataclass(frozen=True)
class NaturalImages:
    """Clips of flashed images.

    Attributes:
        folder: of images, which are cut to the screen's shape and scaled, each once in a set;
            None makes scenes.
        blank_frames: shortest and longest blank [A].
        image_frames: shortest and longest flash [A].
        clip_frames: shortest and longest clip [A].
        edge_contrast: of an image's first and last frame, a share: "reduced" [CL]; value chosen.
        contrast: of the images, a share of their own; chosen.
        grey_level: of the blanks; chosen.
        segments: images in a clip, about [A].
        clips: of a set of scenes, 60 in all [A].
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
            raise self._no_lengths(f"take {shortest} to {longest}")
        if self.folder is not None and len(self.files) < self.segments:
            raise UserError(
                f"expected at least {self.segments} images ({', '.join(SUFFIXES)}) in "
                f"{self.folder}, found {len(self.files)}; add some, or lower segments"
            )

    @property
    def files(self) -> list[Path]:
        """Images of the folder, by name."""
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
        """The images of a set, at the mean lengths."""
        blank, image = (round(sum(x) / 2) for x in (self.blank_frames, self.image_frames))
        names = [p.name for p in self.files] or [""] * (self.segments * self.clips)
        return tuple(NaturalImagesCondition(blank, image, name) for name in names)

    def draw(self, rng: np.random.Generator) -> tuple[NaturalImagesCondition, ...]:
        """Lengths that make a clip of the published length, and images."""
        for _ in range(TRIES):
            blank = rng.integers(self.blank_frames[0], self.blank_frames[1] + 1, self.segments)
            image = rng.integers(self.image_frames[0], self.image_frames[1] + 1, self.segments)
            if self.clip_frames[0] <= blank.sum() + image.sum() <= self.clip_frames[1]:
                break
        else:
            raise self._no_lengths(f"did not take that in {TRIES} draws")
        names = [""] * self.segments
        if self.files:
            shown = rng.choice(len(self.files), self.segments, replace=False)
            names = [self.files[i].name for i in shown]
        lengths = zip(blank.tolist(), image.tolist(), names, strict=True)
        return tuple(NaturalImagesCondition(*each) for each in lengths)

    def segment(self, condition: NaturalImagesCondition, rng: np.random.Generator) -> np.ndarray:
        """Contrast of a blank and the image after it [T H W]."""
        blank, shown, name = condition
        envelope = np.zeros(blank + shown)
        envelope[blank:] = self.contrast
        envelope[[blank, -1]] = self.contrast * self.edge_contrast
        image = load_image(Path(self.folder) / name) if name else natural_image(rng)
        return envelope[:, None, None] * (image / self.grey_level - 1)

    def _no_lengths(self, found: str) -> UserError:
        low, high = self.clip_frames
        return UserError(
            f"expected clips of {low} to {high} frames, but {self.segments} images and blanks "
            f"{found}; change clip_frames"
        )


@functools.lru_cache(maxsize=256)
def load_image(path: Path) -> np.ndarray:
    """An image of a file as grey levels [H W]: its middle, at the screen's shape and size.

    Raises:
        UserError: it cannot be read, or pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise UserError(
            "reading images needs pillow; install it with: pip install -e '.[pictures]'"
        ) from None
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):  # which Pillow would cut off at 255
                raise UserError(
                    f"expected 8 bits a channel in {path}, got mode {image.mode}; convert it"
                )
            size = protocol.WIDTH, protocol.HEIGHT
            return np.asarray(ImageOps.fit(image.convert("L"), size, Image.Resampling.BOX))
    except (OSError, SyntaxError, ValueError) as error:  # as Pillow reports damage
        raise UserError(
            f"expected an image in {path}, it cannot be read ({error}); remove or replace it"
        ) from None
