"""Pictures of stimuli: a contact sheet of stills, and a film."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.errors import UserError
from sensorium_jax.files import whole_file
from sensorium_jax.stimuli import screen

MOST_ROWS = 12  # most segments that are shown as rows of stills; with more, one still each
STILLS = 6  # in a row
STILL_INCHES = 1.7, 1.7 * protocol.HEIGHT / protocol.WIDTH
LABEL_INCHES = 1.5  # width of a row's label
SCALE = 6  # pixels of a film for one pixel of the stimulus
UNITS = {"px_per_frame": "px/frame", "deg": "deg", "px": "px", "hz": "Hz", "frames": "frames"}
NEEDS = (
    "pictures need matplotlib and imageio; install them with: pip install 'sensorium_jax[pictures]'"
)


def contact_sheet(stimulus: screen.Stimulus, path: Path, *, title: str) -> None:
    """Write stills of a clip as PNG: a row of stills for every segment, or one still each.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError:
        raise UserError(NEEDS) from None
    video, segments = stimulus
    rows = segments if len(segments) <= MOST_ROWS else ()
    stills = _segment_stills(segments) if rows else _middle_stills(segments)
    grid_rows = -(-len(stills) // STILLS)
    size = (
        STILL_INCHES[0] * STILLS + (LABEL_INCHES if rows else 0.3),
        (STILL_INCHES[1] + (0.2 if rows else 0.33)) * grid_rows + 0.7,
    )
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.03, hspace=0, wspace=0)
    figure = Figure(figsize=size, layout=layout)
    figure.suptitle(
        f"{title}: {len(segments)} segments, {len(video) / protocol.FRAME_RATE_HZ:.1f} s "
        f"(a pixel is {screen.degrees_per_px():.1f} deg of visual angle)"
    )
    grid = figure.subplots(grid_rows, STILLS, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[], frame_on=False)
    for axes, (frame, caption) in zip(grid.flat, stills, strict=False):
        axes.set_frame_on(True)
        axes.imshow(video[frame], cmap="gray", vmin=0, vmax=255)
        axes.set_title(caption, fontsize=7, pad=2)
        last = axes
    for axes, segment in zip(grid[:, 0], rows, strict=False):
        label = describe(segment.condition, "\n")
        axes.set_ylabel(label, fontsize=8, rotation=0, ha="right", va="center")
    last.set(xticks=[0, protocol.WIDTH - 1], yticks=[0, protocol.HEIGHT - 1])
    last.yaxis.tick_right()
    last.tick_params(labelsize=6, length=2, pad=1)
    last.set_xlabel("px", fontsize=7, labelpad=-6)
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=110, format="png")


def save_movie(video: np.ndarray, path: Path, *, scale: int = SCALE) -> None:
    """Write a film [T H W] as .gif or .mp4, every pixel enlarged to ``scale`` x ``scale`` pixels.

    A .gif plays at 33 frames a second, the rate nearest to 30 Hz that the format has.

    Raises:
        UserError: another suffix, a ``scale`` that is no positive integer, or imageio is not
            installed.
    """
    if path.suffix not in (".gif", ".mp4"):
        raise UserError(f"expected a film named .gif or .mp4, got {path.name}; rename it")
    if not isinstance(scale, int) or scale < 1:
        raise UserError(f"expected a whole scale of at least 1 for a film, got {scale}; change it")
    try:
        import imageio.v3 as imageio
        import imageio_ffmpeg  # noqa: F401  imageio imports it, but only when it writes
    except ImportError:
        raise UserError(NEEDS) from None
    large = video.repeat(scale, axis=1).repeat(scale, axis=2)
    with whole_file(path) as partial:
        if path.suffix == ".gif":
            imageio.imwrite(partial, large, extension=".gif", duration=30, loop=0)
        else:
            imageio.imwrite(
                partial,
                np.stack([large] * 3, axis=-1),
                extension=".mp4",
                plugin="FFMPEG",
                fps=protocol.FRAME_RATE_HZ,
                macro_block_size=2,  # sizes that need no padding
                output_params=["-f", "mp4"],
            )


def describe(condition: NamedTuple, between: str = ", ") -> str:
    """A condition of a stimulus in words, with units.

    Examples:
        >>> from typing import NamedTuple
        >>> class Condition(NamedTuple):
        ...     direction_deg: float
        ...     speed_px_per_frame: float
        >>> describe(Condition(45, 0.5))
        'direction 45 deg, speed 0.5 px/frame'
    """
    parts = []
    for name, value in zip(condition._fields, condition, strict=True):
        if value == "":
            continue
        suffix = next((unit for unit in UNITS if name.endswith(f"_{unit}")), "")
        quantity = name.removesuffix(f"_{suffix}").replace("_", " ")
        number = value if isinstance(value, str) else f"{value:.3g}"
        parts.append(f"{quantity} {number} {UNITS.get(suffix, '')}".rstrip())
    return between.join(parts)


def _segment_stills(segments: tuple[screen.Segment, ...]) -> list[tuple[int, str]]:
    """Stills at regular intervals of every segment: frame and caption."""
    frames = [
        segment.first_frame + frame
        for segment in segments
        for frame in np.linspace(0, segment.frames - 1, STILLS).astype(int)
    ]
    return [(frame, _seconds(frame)) for frame in frames]


def _middle_stills(segments: tuple[screen.Segment, ...]) -> list[tuple[int, str]]:
    """The middle frame of every segment: frame and caption."""
    middles = [segment.first_frame + segment.frames // 2 for segment in segments]
    return [
        (frame, f"{_seconds(frame)}\n{describe(segment.condition)}")
        for frame, segment in zip(middles, segments, strict=True)
    ]


def _seconds(frame: int) -> str:
    return f"{frame / protocol.FRAME_RATE_HZ:.2f} s"
