"""Films, behaviour and gaze from files, to predict responses to films that were not recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import UserError
from sensorium_jax.files import read_array
from sensorium_jax.prepare.screen import average_areas

SHAPE = protocol.HEIGHT, protocol.WIDTH


def read_film(path: Path) -> np.ndarray:
    """A film [T 36 64] in grey levels 0 to 255 at 30 Hz, from an npy or mp4 file.

    An mp4 is resampled to 30 Hz (each frame is the one on the screen at that time), and averaged
    over colours and over areas.

    Raises:
        UserError: the file is missing or damaged, or is not a film of that shape and range.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "film.npy"
        ...     np.save(path, np.full((90, 36, 64), 128, np.uint8))  # three seconds of grey
        ...     read_film(path).shape
        (90, 36, 64)
    """
    if not path.is_file():
        raise UserError(f"expected a film in {path}, found no file; name an npy or mp4 file")
    if path.suffix.lower() == ".npy":
        video = _load(path)
        if video.ndim != 3 or video.shape[1:] != SHAPE or not len(video):
            raise UserError(
                f"expected a film [frames {SHAPE[0]} {SHAPE[1]}] in {path}, found {video.shape}"
            )
    else:
        video = _read_movie(path)
    low, high = float(video.min()), float(video.max())
    if not (0 <= low and 1 < high <= 255):  # NaN fails too
        raise UserError(
            f"expected grey levels 0 to 255 in {path}, found {low:g} to {high:g}; scale the film"
        )
    return video


def read_signal(path: Path, *, frames: int) -> np.ndarray:
    """Behaviour (pupil size, running speed) or gaze (x, y) [T 2], in recorded units, from npy.

    Raises:
        UserError: the file is missing or damaged, or is not finite numbers [T 2].

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "behavior.npy"
        ...     np.save(path, np.zeros((90, 2)))
        ...     read_signal(path, frames=90).dtype.name
        'float32'
    """
    if not path.is_file():
        raise UserError(f"expected a signal in {path}, found no file; name an npy file")
    signal = _load(path)
    if signal.shape != (frames, 2):
        raise UserError(
            f"expected two numbers for each of {frames} frames in {path}, found {signal.shape}"
        )
    if not np.isfinite(signal).all():
        bad = int((~np.isfinite(signal)).any(1).argmax())
        raise UserError(f"expected finite numbers in {path}, found others in frame {bad}")
    return signal.astype(np.float32)


def mean_behavior(
    recordings: Recordings, session: str, *, frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """Behaviour and gaze constant at a mouse's means over the train tier: [T 2], [T 2]."""
    s = recordings.session_names.index(session)
    statistics = recordings.statistics("pooled")
    means = (moments.mean[s] for moments in (statistics.behavior, statistics.pupil_center))
    behavior, pupil_center = (np.repeat(m, frames, axis=0).astype(np.float32) for m in means)
    return behavior, pupil_center


def _load(path: Path) -> np.ndarray:
    try:
        x = read_array(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"expected an array in {path}, which cannot be read ({error})") from None
    if x.dtype.kind not in "fiu":
        raise UserError(f"expected an array of numbers in {path}, found {x.dtype}")
    return x


def _read_movie(path: Path) -> np.ndarray:
    try:
        import imageio.v3 as iio
    except ImportError:
        raise UserError(
            "expected imageio, to read films; pip install 'sensorium_jax[pictures]'"
        ) from None
    try:
        rate_hz = float(iio.immeta(path, plugin="FFMPEG")["fps"])
        frames = [_grey_levels(frame) for frame in iio.imiter(path, plugin="FFMPEG")]
    except Exception as error:  # imageio's plugins raise exceptions of any type
        reason = str(error).partition("\n")[0]
        raise UserError(f"expected a film in {path}, which cannot be read ({reason})") from None
    video = np.stack(frames)
    count = int(round(len(video) / rate_hz * protocol.FRAME_RATE_HZ))
    index = np.floor(np.arange(count) / protocol.FRAME_RATE_HZ * rate_hz + 1e-6).astype(int)
    return video[np.minimum(index, len(video) - 1)]


def _grey_levels(frame: np.ndarray) -> np.ndarray:
    """A frame [h w colours] as grey levels [36 64]."""
    grey = frame.astype(np.float32).mean(-1)
    return np.rint(average_areas(grey[None], SHAPE)[0]).astype(np.uint8)
