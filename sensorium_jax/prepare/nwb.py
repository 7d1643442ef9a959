"""One NWB file (Neurodata Without Borders) as a recording.

The file must hold

    an ImageSeries [frames H W] or [frames H W colours]   the film, grey levels 0 to 255
    a RoiResponseSeries [time ROIs]                       the responses
    the table ``trials``: start_time, stop_time, tier     see ``protocol.TIERS``
    TimeSeries [time], or [time 2] for the gaze           pupil size, running speed, pupil centre

Each series has its own timestamps; trials are resampled to the benchmark's 30 Hz. A frame is the
image that was on the screen at its time; responses and behaviour are interpolated linearly. Images
are averaged over areas to 36 x 64 pixels and rounded to grey levels. Behaviour that a file lacks is
zero. Positions of ROIs are the columns x, y, z of their table, or the centroids of their masks, or
all at the origin.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.format import Trial
from sensorium_jax.errors import UserError, hint
from sensorium_jax.prepare.recording import RawTrial
from sensorium_jax.prepare.screen import average_areas

ASPECT_TOLERANCE = 0.02  # of width over height
NEEDS = "reading NWB needs pynwb; install it with: pip install 'sensorium_jax[nwb]'"


class Names(NamedTuple):
    """Names of the objects of the file to read.

    ``stimulus`` and ``response`` None: the only object of its kind; behaviour None: zeros.

    Examples:
        >>> Names(pupil_size="pupil_diameter").tier
        'tier'
    """

    stimulus: str | None = None
    response: str | None = None
    pupil_size: str | None = None
    running_speed: str | None = None
    pupil_center: str | None = None
    tier: str = "tier"  # column of the trial table


class NwbSession:
    """A session in an NWB file, as a ``recording.Recording``."""

    simulated = False

    def __init__(self, path: Path, names: Names = Names()):  # noqa: B008 - immutable
        self.source, self.name = path, path.stem
        self._file = _open(path)
        self._film = self._find("ImageSeries", names.stimulus, "stimulus")
        self._response = self._find("RoiResponseSeries", names.response, "response")
        behavior = (names.pupil_size, names.running_speed, names.pupil_center)
        self._behavior = [self._find("TimeSeries", n, "behaviour") if n else None for n in behavior]
        self._check_shapes()
        self._start, self._stop, self.tiers = self._trials(names.tier)
        self.numbers = np.flatnonzero(self.tiers != protocol.MISSING)
        self.unit_ids = np.asarray(self._rois().id[:])[self._roi_rows()].astype(np.int64)
        self.position_um = self._positions()
        lengths = (self._stop - self._start)[self.numbers] * protocol.FRAME_RATE_HZ
        self.frames = int(np.floor(lengths.max(initial=0) + 1e-6))

    def read(self, number: int) -> RawTrial:
        """One trial, by its row of the trial table.

        Raises:
            UserError: it lasts beyond the film, the responses or the behaviour, or one of these is
                not finite.
        """
        seconds = self._stop[number] - self._start[number]
        frames = int(np.floor(seconds * protocol.FRAME_RATE_HZ + 1e-6))
        times = self._start[number] + np.arange(frames) / protocol.FRAME_RATE_HZ
        label = f"trial {number} of {self.source}"
        if not frames:
            raise UserError(f"expected frames in {label}, found {seconds:g} s; correct its times")
        size, speed, gaze = (
            np.zeros((frames, 1 + (i == 2))) if series is None else _sample(series, times, label)
            for i, series in enumerate(self._behavior)
        )
        trial = Trial(
            video=_images(self._film, times, label),
            behavior=np.concatenate([size, speed], axis=1),
            pupil_center=gaze,
            response=_sample(self._response, times, label),
        )
        for name, x in trial._asdict().items():
            if not np.isfinite(x).all():
                raise UserError(
                    f"expected numbers in the {name} of {label}, found NaN or infinity; give it "
                    f"the tier {protocol.MISSING!r} to leave it out"
                )
        labelled = bool(trial.response.any())
        return RawTrial(Trial(*(_to_stored_dtype(x) for x in trial)), labelled)

    def read_rate(self, number: int, frames: int) -> np.ndarray:
        """Not implemented: only simulated mice have a true rate."""
        raise NotImplementedError

    def released(self) -> dict[str, np.ndarray]:
        """{}: NWB files have no released statistics."""
        return {}

    def types(self) -> dict[str, str]:
        """Recorded dtype of every field."""
        behavior = {str(s.data.dtype) for s in self._behavior if s is not None}
        return {
            "video": str(self._film.data.dtype),
            "response": str(self._response.data.dtype),
            "behavior": "/".join(sorted(behavior)) or "none",
            "pupil_center": "/".join(sorted(behavior)) or "none",
        }

    def notes(self) -> list[str]:
        """Remarks on what the file lacks, and what is used instead."""
        notes = []
        for series, what in zip(
            self._behavior, ("pupil size", "running speed", "pupil centre"), strict=True
        ):
            if series is None:
                notes.append(f"no {what} named: zeros")
        if not self.position_um.any():
            notes.append("no places of the ROIs: all at the origin")
        return notes

    def _find(self, kind: str, name: str | None, what: str) -> Any:
        """The series of a kind by name; None: the only series of that kind."""
        import pynwb

        kinds = {
            "ImageSeries": pynwb.image.ImageSeries,
            "RoiResponseSeries": pynwb.ophys.RoiResponseSeries,
            "TimeSeries": pynwb.TimeSeries,
        }
        series = {o.name: o for o in self._file.objects.values() if isinstance(o, kinds[kind])}
        if name is None and len(series) == 1:
            return next(iter(series.values()))
        names = ", ".join(sorted(series)) or "none"
        if name is None:
            raise UserError(
                f"expected one {kind} in {self.source}, found {len(series)} ({names}); "
                + (f"name one with --{what}" if series else "it cannot be converted without")
            )
        if name not in series:
            raise UserError(f"no {kind} {name!r} in {self.source}; {hint(name, series)}")
        return series[name]

    def _check_shapes(self) -> None:
        film, response = self._film, self._response
        if film.external_file is not None:
            raise UserError(
                f"expected the images of {film.name} in {self.source}, found them in external "
                "files; write them into the NWB file"
            )
        height, width = film.data.shape[1:3]
        aspect = protocol.WIDTH / protocol.HEIGHT
        error = abs(width / height / aspect - 1)
        if height < protocol.HEIGHT or width < protocol.WIDTH or error > ASPECT_TOLERANCE:
            raise UserError(
                f"expected images of {protocol.HEIGHT} x {protocol.WIDTH} or more, at 9 : 16, in "
                f"{film.name} of {self.source}, found {height} x {width}; crop or scale them"
            )
        rois = len(self._roi_rows())
        if response.data.ndim != 2 or response.data.shape[1] != rois:
            raise UserError(
                f"expected responses [time ROIs] for {rois} ROIs in {response.name} of "
                f"{self.source}, found {response.data.shape}; transpose them"
            )
        for series, values in zip(self._behavior, (1, 1, 2), strict=True):
            if series is not None and np.prod(series.data.shape[1:], dtype=int) != values:
                raise UserError(
                    f"expected {values} number a time in {series.name} of {self.source}, found "
                    f"{series.data.shape[1:]}; name another series"
                )

    def _trials(self, column: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Start and end in seconds, and tier, of all n trials: [n] each."""
        table = self._file.trials
        if table is None or not len(table):
            raise UserError(f"expected a table of trials in {self.source}, found none")
        if column not in table.colnames:
            raise UserError(
                f"expected a column {column!r} of tiers in the trials of {self.source}, found "
                f"{', '.join(table.colnames)}; add it, or name it with --tier"
            )
        tiers = np.asarray(table[column][:]).astype(str)
        unknown = set(tiers) - {*protocol.TIERS, protocol.MISSING}
        if unknown:
            raise UserError(
                f"expected the tiers {', '.join(protocol.TIERS)} or {protocol.MISSING} in the "
                f"trials of {self.source}, found {', '.join(sorted(unknown))}; rename them"
            )
        start, stop = (np.asarray(table[name][:], float) for name in ("start_time", "stop_time"))
        return start, stop, tiers

    def _rois(self) -> Any:
        return self._response.rois.table

    def _roi_rows(self) -> np.ndarray:
        return np.asarray(self._response.rois.data[:])

    def _positions(self) -> np.ndarray:
        """Positions of the ROIs, x, y, z: [N 3]."""
        table, rows = self._rois(), self._roi_rows()
        if {"x", "y"} <= set(table.colnames):
            columns = [np.asarray(table[c][:], float)[rows] for c in ("x", "y")]
            z = np.asarray(table["z"][:], float)[rows] if "z" in table.colnames else 0 * columns[0]
            return np.stack([*columns, z], axis=1)
        if "image_mask" in table.colnames:
            return np.array([_centroid(table["image_mask"][int(row)]) for row in rows])
        if "pixel_mask" in table.colnames:
            return np.array([_pixel_centroid(table["pixel_mask"][int(row)]) for row in rows])
        return np.zeros((len(rows), 3))


def _open(path: Path) -> Any:
    try:
        import pynwb
    except ImportError:
        raise UserError(NEEDS) from None
    if not path.is_file():
        raise UserError(f"expected an NWB file at {path}, found nothing")
    try:
        return pynwb.NWBHDF5IO(str(path), "r").read()  # pyright: ignore[reportCallIssue]
    except Exception as error:  # h5py, hdmf and pynwb each have their own
        raise UserError(
            f"expected an NWB file at {path}, it cannot be read ({str(error).splitlines()[0]})"
        ) from None


def _times(series: Any) -> np.ndarray:
    """Time of every sample, in seconds."""
    if series.timestamps is not None:
        return np.asarray(series.timestamps[:], float)
    return (series.starting_time or 0.0) + np.arange(len(series.data)) / series.rate


def _check_span(sampled: np.ndarray, times: np.ndarray, *, name: str, trial: str) -> None:
    """Raise ``UserError`` unless a series, sampled at times in seconds, covers a trial's times."""
    step = np.median(np.diff(sampled[:100])) if len(sampled) > 1 else 0
    if times[0] < sampled[0] - 1e-6 or times[-1] > sampled[-1] + step:
        raise UserError(
            f"expected {name} to last from {times[0]:.2f} to {times[-1]:.2f} s for {trial}, found "
            f"{sampled[0]:.2f} to {sampled[-1]:.2f} s; give that trial the tier "
            f"{protocol.MISSING!r}"
        )


def _images(series: Any, times: np.ndarray, trial: str) -> np.ndarray:
    """The images on the screen at times [T] in seconds: [T 36 64]."""
    sampled = _times(series)
    _check_span(sampled, times, name=series.name, trial=trial)
    index = np.searchsorted(sampled, times + 1e-6, side="right") - 1
    first = max(int(index[0]), 0)
    images = np.asarray(series.data[first : int(index[-1]) + 1], np.float32)
    if images.ndim == 4:
        images = images.mean(-1)
    shape = protocol.HEIGHT, protocol.WIDTH
    if images.shape[1:] != shape:
        images = np.rint(average_areas(images, shape))
    return images[np.maximum(index, 0) - first]


def _sample(series: Any, times: np.ndarray, trial: str) -> np.ndarray:
    """A series at times [T] in seconds, interpolated linearly: [T values]."""
    sampled = _times(series)
    _check_span(sampled, times, name=series.name, trial=trial)
    right = np.clip(np.searchsorted(sampled, times), 1, len(sampled) - 1)
    first, last = int(right[0]) - 1, int(right[-1]) + 1
    samples = np.asarray(series.data[first:last], float).reshape(last - first, -1)
    left = right - 1
    share = np.clip((times - sampled[left]) / (sampled[right] - sampled[left]), 0, 1)[:, None]
    return (1 - share) * samples[left - first] + share * samples[right - first]


def _to_stored_dtype(x: np.ndarray) -> np.ndarray:
    """Grey levels as uint8, other arrays as float32."""
    x = np.ascontiguousarray(x, np.float32)
    grey = x.ndim == 3 and (x == np.clip(np.rint(x), 0, 255)).all()
    return x.astype(np.uint8) if grey else x


def _centroid(mask: Any) -> tuple[float, float, float]:
    y, x = np.nonzero(np.asarray(mask))
    return (float(x.mean()), float(y.mean()), 0.0) if len(x) else (0.0, 0.0, 0.0)


def _pixel_centroid(pixels: Any) -> tuple[float, float, float]:
    xy = np.array([[pixel[0], pixel[1]] for pixel in pixels], float)
    return (*xy.mean(0), 0.0) if len(xy) else (0.0, 0.0, 0.0)
