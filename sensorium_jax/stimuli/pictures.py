"""Stimuli to look at: a sheet of stills, and a film."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.errors import UserError
from sensorium_jax.files import whole_file
from sensorium_jax.stimuli.screen import Stimulus

STILLS = 5  # of a segment
MOST_SEGMENTS = 12  # on a sheet
SCALE = 6  # screen pixels of a film for one of the stimulus
UNITS = {"deg": "deg", "px": "px", "hz": "Hz", "frames": "frames"}
NEEDS = "pictures need matplotlib and imageio; install them with: pip install -e '.[pictures]'"


def contact_sheet(stimulus: Stimulus, path: Path, *, title: str) -> None:
    """Write stills of a clip's first segments as PNG, a row each, time from left to right.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError(NEEDS) from None
    segments = stimulus.segments[:MOST_SEGMENTS]
    figure = Figure(figsize=(11, 0.5 + 0.95 * len(segments)), layout="constrained")
    figure.suptitle(f"{title}: {len(segments)} of {len(stimulus.segments)} segments")
    grid = figure.subplots(len(segments), STILLS, squeeze=False)
    for row, segment in zip(grid, segments, strict=True):
        frames = np.linspace(0, segment.frames - 1, STILLS).astype(int)
        for axes, frame in zip(row, segment.first_frame + frames, strict=True):
            axes.imshow(stimulus.video[frame], cmap="gray", vmin=0, vmax=255)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(f"{frame / protocol.FRAME_RATE_HZ:.2f} s", fontsize=7, pad=2)
        row[0].set_ylabel(
            describe(segment.condition, "\n"), fontsize=7, rotation=0, ha="right", va="center"
        )
    with whole_file(path) as beside:
        figure.savefig(beside, dpi=110, format="png")


def save_movie(video: np.ndarray, path: Path, *, scale: int = SCALE) -> None:
    """Write a film [T H W] as .gif or .mp4, every pixel ``scale`` times as wide and high.

    A .gif plays at 33 frames a second, the nearest that the format knows.

    Raises:
        UserError: another suffix, or imageio is not installed.
    """
    if path.suffix not in (".gif", ".mp4"):
        raise UserError(f"expected a film named .gif or .mp4, got {path.name}; rename it")
    try:
        import imageio.v3 as imageio
    except ImportError:
        raise UserError(NEEDS) from None
    large = video.repeat(scale, axis=1).repeat(scale, axis=2)
    with whole_file(path) as beside:
        if path.suffix == ".gif":
            imageio.imwrite(beside, large, extension=".gif", duration=30, loop=0)
        else:
            imageio.imwrite(
                beside,
                np.stack([large] * 3, axis=-1),
                extension=".mp4",
                plugin="FFMPEG",
                fps=protocol.FRAME_RATE_HZ,
                macro_block_size=8,
                output_params=["-f", "mp4"],
            )


def describe(condition: tuple, between: str = ", ") -> str:
    """A condition in words, with its units: "direction 45 deg, ..."."""
    parts = []
    for name, value in zip(condition._fields, condition, strict=True):
        if value == "":
            continue
        what, _, unit = name.rpartition("_")
        if unit not in UNITS:
            what, unit = name, ""
        number = f"{value:.3g}" if isinstance(value, float) else str(value)
        parts.append(f"{what.replace('_', ' ')} {number} {UNITS.get(unit, '')}".rstrip())
    return between.join(parts)
