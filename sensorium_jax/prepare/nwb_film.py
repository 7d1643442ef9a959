"""The film of an NWB file: an ImageSeries, or an IndexSeries that shows a template's images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.errors import UserError
from sensorium_jax.prepare.screen import average_areas

ASPECT_TOLERANCE = 0.02  # of width over height
RATE_TOLERANCE = 0.01  # of 30 Hz
GAP = 1.75  # intervals between samples, above which one is missing: above 1.5, a late flip at 60 Hz
SAMPLED_IMAGES = 16  # from which grey levels are recognised
SHAPE = protocol.HEIGHT, protocol.WIDTH


class Film:
    """What was on the screen, at any time."""

    def __init__(
        self, series: Any, source: Path, *, grey_levels: str | None = None, resample: bool = False
    ):
        """Open a film and check its clock, its size and its grey levels.

        Raises:
            UserError: one of them is not as the benchmark has it, and no option says what to do.
        """
        self.series, self._source = series, source
        self._is_indexed = hasattr(series, "indexed_timeseries")
        self._resample = resample
        self._store = series.indexed_timeseries if self._is_indexed else series
        self._check_store()
        self._times = read_times(series, source)
        self._interval = float(np.median(np.diff(self._times)))
        self._check_rate()
        self._levels = self._read_levels(grey_levels)

    @property
    def dtype(self) -> str:
        """The recorded dtype of the images."""
        return str(self._store.data.dtype)

    def notes(self) -> list[str]:
        """What was assumed, for people."""
        notes = []
        if self._is_indexed:
            notes.append(f"the film is {path_of(self._store)}, as {self.series.name} shows it")
        elif self._has_other_rate():
            rate = 1 / self._interval
            notes.append(f"the film of {rate:.4g} Hz is resampled to {protocol.FRAME_RATE_HZ} Hz")
        if self._levels != (0.0, 255.0):
            notes.append(f"grey levels {self._levels[0]:g} to {self._levels[1]:g} became 0 to 255")
        return notes

    def images(self, times: np.ndarray, trial: str) -> np.ndarray:
        """The images on the screen at times [T] in seconds: [T 36 64].

        Raises:
            UserError: the film does not cover those times, has a gap there, or other grey levels.
        """
        check_span(self._times, times, name=self.series.name, trial=trial)
        if not self._is_indexed:  # an index says how long each image stands
            check_gaps(self._times, times, name=self.series.name, trial=trial)
        index = np.maximum(np.searchsorted(self._times, times + 1e-6, side="right") - 1, 0)
        video = self._frames(index)
        low, high = self._levels
        if video.min() < low or video.max() > high:  # NaN is refused by who reads the trial
            raise UserError(
                f"expected grey levels {low:g} to {high:g} in {self.series.name} of {trial}, found "
                f"{video.min():g} to {video.max():g}; name the film's black and white with "
                "--grey-levels LOW:HIGH"
            )
        scaled = (low, high) != (0.0, 255.0)
        if scaled:
            video = (video - low) * (255 / (high - low))
        if video.shape[1:] != SHAPE:
            video = average_areas(video, SHAPE)
        elif not scaled:
            return video
        return np.rint(video)

    def _frames(self, index: np.ndarray) -> np.ndarray:
        """Images by their position in the film: float32 [T h w], colours averaged."""
        first, last = int(index.min()), int(index.max()) + 1
        if not self._is_indexed:
            return _grey(np.asarray(self._store.data[first:last]))[index - first]
        images = np.asarray(self.series.data[first:last], np.int64)[index - first]
        used, where = np.unique(images, return_inverse=True)
        if used[0] < 0 or used[-1] >= len(self._store.data):
            raise UserError(
                f"expected indices of {len(self._store.data)} images in {self.series.name} of "
                f"{self._source}, found {used[0]} to {used[-1]}; correct them"
            )
        return _grey(np.stack([np.asarray(self._store.data[int(i)]) for i in used]))[where]

    def _check_store(self) -> None:
        store, source = self._store, self._source
        if store is None:
            raise UserError(
                f"expected the images that {self.series.name} of {source} shows in a series, found "
                "none; write them as an ImageSeries"
            )
        if store.external_file is not None:
            raise UserError(
                f"expected the images of {store.name} in {source}, found them in external files; "
                "write them into the NWB file"
            )
        height, width = store.data.shape[1:3]
        error = abs(width / height / (SHAPE[1] / SHAPE[0]) - 1)
        if height < SHAPE[0] or width < SHAPE[1] or error > ASPECT_TOLERANCE:
            raise UserError(
                f"expected images of {SHAPE[0]} x {SHAPE[1]} or more, at 9 : 16, in {store.name} "
                f"of {source}, found {height} x {width}; crop or scale them"
            )

    def _has_other_rate(self) -> bool:
        if self._is_indexed:
            return False
        return abs(1 / self._interval / protocol.FRAME_RATE_HZ - 1) > RATE_TOLERANCE

    def _check_rate(self) -> None:
        if self._has_other_rate() and not self._resample:
            raise UserError(
                f"expected a film of {protocol.FRAME_RATE_HZ} Hz in {self.series.name} of "
                f"{self._source}, found {1 / self._interval:.4g} Hz; --resample takes the image on "
                f"the screen at every 1/{protocol.FRAME_RATE_HZ} s"
            )

    def _read_levels(self, option: str | None) -> tuple[float, float]:
        """The numbers of black and white: 0 and 255, or what ``option`` says as "LOW:HIGH"."""
        if option:
            return _parse_levels(option)
        count = len(self._store.data)
        rows = np.unique(np.linspace(0, count - 1, min(count, SAMPLED_IMAGES)).astype(int))
        images = np.stack([np.asarray(self._store.data[int(i)], np.float32) for i in rows])
        low, high = float(np.nanmin(images)), float(np.nanmax(images))
        if low < 0 or high > 255 or high <= 1:
            raise UserError(
                f"expected grey levels 0 to 255 in {self._store.name} of {self._source}, found "
                f"{low:g} to {high:g}; name the film's black and white with "
                "--grey-levels=LOW:HIGH, as in --grey-levels=0:1"
            )
        return 0.0, 255.0


def path_of(series: Any) -> str:
    """Where an object is in its file, such as "processing/ophys/Fluorescence/traces"."""
    return series.get_read_io().manager.get_builder(series).path.removeprefix("root/")


def read_times(series: Any, source: Path) -> np.ndarray:
    """Time of every sample, in seconds.

    Raises:
        UserError: a time is not finite, or does not come after the one before, or there are fewer
            than two, or not as many as samples.
    """
    times, samples = _clock(series), len(series.data)
    if len(times) != samples or samples < 2:
        raise UserError(
            f"expected two or more samples, each with its time, in {path_of(series)} of {source}, "
            f"found {samples} with {len(times)} times; correct its timestamps"
        )
    wrong = ~np.isfinite(times)
    wrong[1:] |= ~(np.diff(times) > 0)
    if wrong.any():
        sample = int(wrong.argmax())
        raise UserError(
            f"expected times that increase in {path_of(series)} of {source}, found "
            f"{times[sample]:g} s at sample {sample} ({int(wrong.sum())} in all); correct its "
            "timestamps"
        )
    return times


def _clock(series: Any) -> np.ndarray:
    """Times as the file has them, not yet checked."""
    if series.timestamps is not None:
        return np.asarray(series.timestamps[:], float)
    if series.rate is None:
        return np.zeros(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (series.starting_time or 0.0) + np.arange(len(series.data)) / np.float64(series.rate)


def check_span(sampled: np.ndarray, times: np.ndarray, *, name: str, trial: str) -> None:
    """Raise ``UserError`` unless a series, sampled at times in seconds, covers a trial's times."""
    step = np.median(np.diff(sampled[:100]))
    if times[0] < sampled[0] - 1e-6 or times[-1] > sampled[-1] + step:
        raise UserError(
            f"expected {name} to last from {times[0]:.2f} to {times[-1]:.2f} s for {trial}, found "
            f"{sampled[0]:.2f} to {sampled[-1]:.2f} s; give that trial the tier "
            f"{protocol.MISSING!r}"
        )


def check_gaps(sampled: np.ndarray, times: np.ndarray, *, name: str, trial: str) -> None:
    """Raise ``UserError`` where samples of a series are missing at a trial's times in seconds.

    The sample before stands for one interval; then the next is due.
    """
    interval = np.median(np.diff(sampled))
    left = np.clip(np.searchsorted(sampled, times + 1e-6, side="right") - 1, 0, len(sampled) - 2)
    start, end = sampled[left], sampled[left + 1]
    missing = (end - start > GAP * interval) & (times > start + interval - 1e-6) & (times < end)
    if missing.any():
        first = missing.argmax()
        raise UserError(
            f"expected {name} without a gap for {trial}, found nothing from {start[first]:.3f} to "
            f"{end[first]:.3f} s; give that trial the tier {protocol.MISSING!r}"
        )


def _grey(images: np.ndarray) -> np.ndarray:
    images = images.astype(np.float32)
    return images.mean(-1) if images.ndim == 4 else images


def _parse_levels(option: str) -> tuple[float, float]:
    try:
        low, high = map(float, option.split(":"))
    except ValueError:
        low = high = np.nan
    if not (np.isfinite([low, high]).all() and low < high):
        raise UserError(f"expected --grey-levels LOW:HIGH, as in 0:1, got {option!r}")
    return low, high
