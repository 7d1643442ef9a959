"""Stimuli to look at: a sheet of stills, and a film."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.errors import UserError
from sensorium_jax.files import whole_file
from sensorium_jax.stimuli import screen

MOST_ROWS = 12  # segments that are shown as rows of stills; more have one still each
STILLS = 6  # of a row
STILL_INCHES = 1.7, 1.7 * protocol.HEIGHT / protocol.WIDTH
LABEL_INCHES = 1.5  # beside a row
SCALE = 6  # screen pixels of a film for one of the stimulus
UNITS = {"px_per_frame": "px/frame", "deg": "deg", "px": "px", "hz": "Hz", "frames": "frames"}
NEEDS = "pictures need matplotlib and imageio; install them with: pip install -e '.[pictures]'"


def contact_sheet(stimulus: screen.Stimulus, path: Path, *, title: str) -> None:
    """Write stills of a clip as PNG: a row for every segment, or a still each if they are many.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError(NEEDS) from None
    video, segments = stimulus
    rows = segments if len(segments) <= MOST_ROWS else ()
    stills = _strips(segments) if rows else _one_each(segments)
    down = -(-len(stills) // STILLS)
    size = (
        STILL_INCHES[0] * STILLS + (LABEL_INCHES if rows else 0.3),
        (STILL_INCHES[1] + (0.2 if rows else 0.33)) * down + 0.7,
    )
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.03, hspace=0, wspace=0)
    figure.suptitle(
        f"{title}: {len(segments)} segments, {len(video) / protocol.FRAME_RATE_HZ:.1f} s "
        f"(a pixel is {screen.degrees_per_px():.1f} deg of visual angle)"
    )
    grid = figure.subplots(down, STILLS, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[], frame_on=False)
    for axes, (frame, words) in zip(grid.flat, stills, strict=False):
        axes.set_frame_on(True)
        axes.imshow(video[frame], cmap="gray", vmin=0, vmax=255)
        axes.set_title(words, fontsize=7, pad=2)
        last = axes
    for axes, segment in zip(grid[:, 0], rows, strict=False):
        words = describe(segment.condition, "\n")
        axes.set_ylabel(words, fontsize=8, rotation=0, ha="right", va="center")
    last.set(xticks=[0, protocol.WIDTH - 1], yticks=[0, protocol.HEIGHT - 1])
    last.yaxis.tick_right()
    last.tick_params(labelsize=6, length=2, pad=1)
    last.set_xlabel("px", fontsize=7, labelpad=-6)
    with whole_file(path) as beside:
        figure.savefig(beside, dpi=110, format="png")


def save_movie(video: np.ndarray, path: Path, *, scale: int = SCALE) -> None:
    """Write a film [T H W] as .gif or .mp4, every pixel ``scale`` times as wide and high.

    A .gif plays at 33 frames a second, the nearest that the format knows.

    Raises:
        UserError: another suffix, no positive whole ``scale``, or imageio is not installed.
    """
    if path.suffix not in (".gif", ".mp4"):
        raise UserError(f"expected a film named .gif or .mp4, got {path.name}; rename it")
    if not isinstance(scale, int) or scale < 1:
        raise UserError(f"expected a whole scale of at least 1 for a film, got {scale}; change it")
    try:
        import imageio.v3 as imageio
        import imageio_ffmpeg  # noqa: F401  which imageio finds by itself, but later
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
                macro_block_size=2,  # sizes that need no padding
                output_params=["-f", "mp4"],
            )


def describe(condition: tuple, between: str = ", ") -> str:
    """A condition in words, with its units: "direction 45 deg, ..."."""
    parts = []
    for name, value in zip(condition._fields, condition, strict=True):
        if value == "":
            continue
        suffix = next((unit for unit in UNITS if name.endswith(f"_{unit}")), "")
        what = name.removesuffix(f"_{suffix}").replace("_", " ")
        number = value if isinstance(value, str) else f"{value:.3g}"
        parts.append(f"{what} {number} {UNITS.get(suffix, '')}".rstrip())
    return between.join(parts)


def _strips(segments: tuple[screen.Segment, ...]) -> list[tuple[int, str]]:
    """Stills of every segment, spread over its time: frame and caption."""
    frames = [
        segment.first_frame + frame
        for segment in segments
        for frame in np.linspace(0, segment.frames - 1, STILLS).astype(int)
    ]
    return [(frame, _seconds(frame)) for frame in frames]


def _one_each(segments: tuple[screen.Segment, ...]) -> list[tuple[int, str]]:
    """The middle of every segment: frame and caption."""
    middles = [segment.first_frame + segment.frames // 2 for segment in segments]
    return [
        (frame, f"{_seconds(frame)}\n{describe(segment.condition)}")
        for frame, segment in zip(middles, segments, strict=True)
    ]


def _seconds(frame: int) -> str:
    return f"{frame / protocol.FRAME_RATE_HZ:.2f} s"
