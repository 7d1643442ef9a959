"""One NWB file (Neurodata Without Borders) as a recording.

The file must hold

    an ImageSeries [frames H W] or [frames H W colours]   the film, grey levels 0 to 255,
      or an IndexSeries that shows images of a template
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

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.format import Trial
from sensorium_jax.errors import UserError, hint
from sensorium_jax.prepare.gaps import Gaps
from sensorium_jax.prepare.nwb_film import Film, check_gaps, check_span, path_of, read_times
from sensorium_jax.prepare.recording import RawTrial

NEEDS = "reading NWB needs pynwb; install it with: pip install 'sensorium_jax[nwb]'"

_BEHAVIOR = "pupil_size", "running_speed", "pupil_center"


class Names(NamedTuple):
    """Names of the objects of the file to read.

    ``stimulus`` and ``response`` None: the only object of its kind; behaviour None: zeros. A name
    is an object's own, or its path in the file, such as "processing/ophys/Fluorescence/traces",
    or the end of that path.

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
    grey_levels: str | None = None  # "LOW:HIGH", the film's numbers that are black and white
    resample: bool = False  # put a film of another rate on 30 Hz
    fill_gaps: float | None = None  # seconds of NaN in behaviour that are interpolated at most


class NwbSession:
    """A session in an NWB file, as a ``recording.Recording``."""

    simulated = False

    def __init__(
        self,
        path: Path,
        names: Names = Names(),  # noqa: B008 - immutable
        *,
        renamed: Mapping[str, str] | None = None,
    ):
        """Open a file; ``renamed`` has other names of sessions, by that of their file."""
        renamed = renamed or {}
        keys = str(path), path.name, path.stem
        self.source, self.name = path, next((renamed[k] for k in keys if k in renamed), path.stem)
        self.recorded_name = path.stem
        self._gaps = Gaps(names.fill_gaps)
        self._file = _open(path)
        film = self._find("film", names.stimulus, "stimulus")
        self._film = Film(film, path, grey_levels=names.grey_levels, resample=names.resample)
        self._response = self._find("RoiResponseSeries", names.response, "response")
        self._behavior = [
            self._find("TimeSeries", name, option) if name else None
            for option, name in (
                ("pupil-size", names.pupil_size),
                ("running-speed", names.running_speed),
                ("pupil-center", names.pupil_center),
            )
        ]
        self._clocks = {id(x): read_times(x, path) for x in (self._response, *self._behavior) if x}
        self._check_shapes()
        self._start, self._stop, self.tiers = self._trials(names.tier)
        self.numbers = np.flatnonzero(self.tiers != protocol.MISSING)
        self.unit_ids = np.asarray(self._rois().id[:])[self._roi_rows()].astype(np.int64)
        self.position_um = self._positions()
        lengths = (self._stop - self._start)[self.numbers] * protocol.FRAME_RATE_HZ
        self.frames = int(np.floor(lengths.max(initial=0) + 1e-6))
        series = (self._film.series, self._response, *self._behavior)
        self.choices = {
            option: path_of(x) if x else ""
            for option, x in zip(("stimulus", "response", *_BEHAVIOR), series, strict=True)
        }
        self.choices |= {"tier": names.tier, "grey_levels": names.grey_levels or ""}
        self.choices |= self._gaps.choices

    def check(self, numbers: Iterable[int]) -> None:
        """Nothing: the trial table has every trial."""

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
            np.zeros((frames, 1 + (i == 2)))
            if series is None
            else self._gaps.fill(self._sample(series, times, label))
            for i, series in enumerate(self._behavior)
        )
        check_gaps(self._clocks[id(self._response)], times, name=self._response.name, trial=label)
        trial = Trial(
            video=self._film.images(times, label),
            behavior=np.concatenate([size, speed], axis=1),
            pupil_center=gaze,
            response=self._sample(self._response, times, label),
        )
        for name, x in trial._asdict().items():
            if not np.isfinite(x).all():
                gaps = "" if name in ("video", "response") else "--fill-gaps interpolates; or "
                raise UserError(
                    f"expected numbers in the {name} of {label}, found NaN or infinity; {gaps}"
                    f"give it the tier {protocol.MISSING!r} to leave it out"
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
            "video": self._film.dtype,
            "response": str(self._response.data.dtype),
            "behavior": "/".join(sorted(behavior)) or "none",
            "pupil_center": "/".join(sorted(behavior)) or "none",
        }

    def notes(self) -> list[str]:
        """Remarks on what the file lacks, and what is used instead."""
        notes = [*self._film.notes(), *self._gaps.notes()]
        for series, what in zip(
            self._behavior, ("pupil size", "running speed", "pupil centre"), strict=True
        ):
            if series is None:
                notes.append(f"no {what} named: zeros")
        if not self.position_um.any():
            notes.append("no places of the ROIs: all at the origin")
        return notes

    def _find(self, kind: str, name: str | None, option: str) -> Any:
        """The series of a kind by name or path; None: the only series of that kind."""
        series = {path_of(x): x for x in self._series(kind)}
        matches = series
        if name is not None:
            ends = {path: x for path, x in series.items() if f"/{path}".endswith(f"/{name}")}
            matches = {name: series[name]} if name in series else ends
        if len(matches) == 1:
            return next(iter(matches.values()))
        paths = ", ".join(sorted(matches or series)) or "none"
        if matches:
            raise UserError(
                f"expected one {kind} in {self.source}, found {len(matches)} ({paths}); name one "
                f"by that path with --{option}"
            )
        if name is None or not series:
            raise UserError(
                f"expected one {kind} in {self.source}, found none; it cannot be converted without"
            )
        words = series if "/" in name else {x.name for x in series.values()}
        raise UserError(f"no {kind} {name!r} in {self.source}; {hint(name, sorted(words))}")

    def _series(self, kind: str) -> list[Any]:
        """All series of a kind; a film is an IndexSeries, or an ImageSeries that none indexes."""
        import pynwb

        objects = list(self._file.objects.values())
        if kind == "RoiResponseSeries":
            return [x for x in objects if isinstance(x, pynwb.ophys.RoiResponseSeries)]
        if kind == "TimeSeries":
            return [x for x in objects if isinstance(x, pynwb.TimeSeries)]
        index_films = [x for x in objects if isinstance(x, pynwb.image.IndexSeries)]
        templates = {id(x.indexed_timeseries) for x in index_films}
        films = [x for x in objects if isinstance(x, pynwb.image.ImageSeries)]
        return index_films + [x for x in films if id(x) not in templates]

    def _sample(self, series: Any, times: np.ndarray, trial: str) -> np.ndarray:
        """A series at times [T] in seconds, interpolated linearly: [T values]."""
        sampled = self._clocks[id(series)]
        check_span(sampled, times, name=series.name, trial=trial)
        right = np.clip(np.searchsorted(sampled, times), 1, len(sampled) - 1)
        first, last = int(right[0]) - 1, int(right[-1]) + 1
        samples = np.asarray(series.data[first:last], float).reshape(last - first, -1)
        left = right - 1
        share = np.clip((times - sampled[left]) / (sampled[right] - sampled[left]), 0, 1)[:, None]
        return (1 - share) * samples[left - first] + share * samples[right - first]

    def _check_shapes(self) -> None:
        response, rois = self._response, len(self._roi_rows())
        one = rois == 1 and response.data.ndim == 1  # as the schema allows
        if not one and (response.data.ndim != 2 or response.data.shape[1] != rois):
            raise UserError(
                f"expected responses [time ROIs] for {rois} ROIs in {response.name} of "
                f"{self.source}, found {response.data.shape}; transpose them"
            )
        for series, values in zip(self._behavior, (1, 1, 2), strict=True):
            if series is None:
                continue
            shape, dtype = series.data.shape[1:], series.data.dtype
            if np.prod(shape, dtype=int) != values or dtype.kind not in "fiu":
                raise UserError(
                    f"expected {values} number a time in {series.name} of {self.source}, found "
                    f"{shape} of {dtype}; name another series"
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
        lasts = np.isfinite(start) & np.isfinite(stop) & (stop > start)
        wrong = (tiers != protocol.MISSING) & ~lasts
        if wrong.any():
            number = int(wrong.argmax())
            raise UserError(
                f"expected a stop_time after the start_time of trial {number} in the trials of "
                f"{self.source}, found {start[number]:g} to {stop[number]:g} s; correct it, or "
                f"give it the tier {protocol.MISSING!r}"
            )
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
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"expected an NWB file at {path}, it cannot be read ({reason})") from None


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
