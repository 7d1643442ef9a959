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


class NaturalImagesCondition(NamedTuple):
    """What one segment shows."""

    blank_frames: int  # before the image
    image_frames: int
    image: str = ""  # name of a file; "" for a scene made on the spot


@dataclass(frozen=True)
class NaturalImages:
    """Clips of flashed images.

    Attributes:
        folder: of images, which are cut to the screen's shape and scaled; None makes scenes.
        blank_frames: shortest and longest blank [A].
        image_frames: shortest and longest flash [A].
        clip_frames: shortest and longest clip [A].
        edge_contrast: of an image's first and last frame: "reduced" [CL]; value chosen.
        contrast: of the images; chosen.
        segments: images in a clip, about [A].
        clips: of a set, 60 images in all [A].
    """

    folder: Path | None = None
    blank_frames: tuple[int, int] = (12, 18)
    image_frames: tuple[int, int] = (15, 17)
    clip_frames: tuple[int, int] = (305, 326)
    edge_contrast: float = 0.5
    contrast: float = 1.0
    segments: int = 10
    clips: int = 6

    def __post_init__(self):
        screen.check_positive(self, "blank_frames", "image_frames", "contrast", "segments", "clips")
        longest, shortest = (
            self.segments * (self.blank_frames[i] + self.image_frames[i]) for i in (1, 0)
        )
        if longest < self.clip_frames[0] or shortest > self.clip_frames[1]:
            raise UserError(
                f"expected clips of {self.clip_frames[0]} to {self.clip_frames[1]} frames, but "
                f"{self.segments} images take {shortest} to {longest}; change clip_frames"
            )
        if self.folder is not None and len(self.files) < self.segments:
            raise UserError(
                f"expected at least {self.segments} images ({', '.join(SUFFIXES)}) in "
                f"{self.folder}, found {len(self.files)}; add some, or lower segments"
            )

    @property
    def files(self) -> list[Path]:
        """Images of the folder, by name."""
        if self.folder is None or not Path(self.folder).is_dir():
            return []
        return sorted(p for p in Path(self.folder).iterdir() if p.suffix.lower() in SUFFIXES)

    @property
    def conditions(self) -> tuple[NaturalImagesCondition, ...]:
        """As many images as a set has, at the mean lengths."""
        blank, image = (round(sum(x) / 2) for x in (self.blank_frames, self.image_frames))
        names = [p.name for p in self.files] or [""] * (self.segments * self.clips)
        return tuple(NaturalImagesCondition(blank, image, name) for name in names)

    def draw(self, rng: np.random.Generator) -> tuple[NaturalImagesCondition, ...]:
        """Lengths that make a clip of the published length, and images."""
        low, high = self.clip_frames
        blank = image = np.zeros(self.segments, int)
        while not low <= blank.sum() + image.sum() <= high:
            blank = rng.integers(self.blank_frames[0], self.blank_frames[1] + 1, self.segments)
            image = rng.integers(self.image_frames[0], self.image_frames[1] + 1, self.segments)
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
        return envelope[:, None, None] * (image / screen.GREY - 1)


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
            size = protocol.WIDTH, protocol.HEIGHT
            return np.asarray(ImageOps.fit(image.convert("L"), size, Image.Resampling.BOX))
    except OSError as error:
        raise UserError(
            f"expected an image in {path}, it cannot be read ({error}); remove or replace it"
        ) from None
