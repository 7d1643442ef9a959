"""Writing the session folder of a simulated mouse, in the release's raw layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.simulate.behavior import Temperament, make_behavior
from sensorium_jax.simulate.neurons import draw_response, make_rate, smooth
from sensorium_jax.simulate.population import Population

_FIELDS = ("videos", "responses", "behavior", "pupil_center")  # folders of the release
SPECKLED_SHARE = 0.03  # share of pixels one grey level brighter in a speckled trial
HASHED_FRAMES = 5  # frames whose perceptual hashes identify a film (lRomul/sensorium)
_BLOCK_BYTES = 64 * 2**20  # memory in which statistics are computed, block by block


_NOTICE = (
    "This mouse is simulated by sensorium_jax, whatever the name of its folder: no result on it is "
    "a result on mice.\nIts true rates are in truth/.\n"
)


@dataclass(frozen=True)
class Trial:
    """One trial of a session: a file number, and what was shown."""

    number: int
    tier: str
    family: str
    clip: str


@dataclass(frozen=True)
class Script:
    """Everything that determines the contents of a session folder."""

    population: Population
    temperament: Temperament | None  # of the mouse; None: the simulator's default
    tiers: np.ndarray  # [n] of every file number, gaps included
    trials: list[Trial]  # sorted by number
    film: Callable[[Trial], np.ndarray]  # the video of a trial, uint8 [T H W]
    frames: int  # length of every array; frames past the end of a trial's film are NaN
    withheld: frozenset[int]  # numbers of trials whose responses are zeros
    dtype: str  # of the arrays
    seed: tuple[int, ...]  # of behaviour and noise
    config: dict[str, Any]  # for config.json
    speckled: bool  # whether repeats differ in many pixels, or in one


def write(script: Script, final: Path, *, on_trial: Callable[[int, int], None] | None) -> Path:
    """Write the session folder ``final``, complete or not at all."""
    partial = final.with_name(f".{final.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write(script, partial, on_trial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if final.exists():
        final.rmdir()
    partial.rename(final)
    return final


def size(trials: int, *, neurons: int, frames: int, dtype: str) -> int:
    """Size of a session folder in bytes, without small files.

    Examples:
        >>> size(trials=700, neurons=8000, frames=300, dtype="float32") // 10**9
        15
    """
    values = (protocol.HEIGHT * protocol.WIDTH + neurons + 4) * frames
    statistics = 5
    return np.dtype(dtype).itemsize * values * (trials + statistics) + 4 * neurons * frames * trials


def _write(script: Script, folder: Path, on_trial) -> None:
    population, trials, frames = script.population, script.trials, script.frames
    expected_events = make_rate(population)
    for name in (*_FIELDS, "rate"):
        (folder / ("truth" if name == "rate" else "data") / name).mkdir(parents=True)

    for done, trial in enumerate(trials, start=1):
        rng = np.random.default_rng((*script.seed, trial.number))
        vary = _speckle if script.speckled else _brighten_pixel
        video = vary(rng, script.film(trial))
        behavior, pupil_center = make_behavior(
            rng, len(video), population.pupil_center_mean, like=script.temperament
        )
        events = expected_events(video, behavior, pupil_center)  # [T N]
        response = draw_response(
            rng,
            events,
            population.noise_scale,
            event_spread=population.event_spread,
            kernel=population.kernel,
        ).T
        # A withheld response is zero to the end of the array, where the others are NaN.
        if trial.number in script.withheld:
            response = np.zeros((len(response), frames))
        arrays = (np.moveaxis(video, 0, -1), response, behavior, pupil_center)
        for name, array in zip(_FIELDS, arrays, strict=True):
            padded = _pad(array, frames, script.dtype)
            np.save(folder / "data" / name / f"{trial.number}.npy", padded)
        truth = _pad(smooth(events, population.kernel).T, frames, "float32")
        np.save(folder / "truth/rate" / f"{trial.number}.npy", truth)
        if on_trial:
            on_trial(done, len(trials))

    _write_meta(folder, population, script.tiers)
    _write_truth(folder, population, trials)
    train = [trial.number for trial in trials if trial.tier == protocol.TRAIN]
    for name in _FIELDS:
        _write_statistics(folder, name, train)
    (folder / "config.json").write_text(json.dumps(script.config, indent=2) + "\n")
    (folder / "SIMULATED.txt").write_text(_NOTICE)


def _brighten_pixel(rng, video: np.ndarray) -> np.ndarray:
    """``video`` uint8 [T H W] with one pixel of one frame a grey level brighter.

    As in the release, no two repeats are the same file, and they differ by at most one level. The
    frames that perceptual hashes look at, the middles of five parts, stay the same, so that the
    hashes of repeats are equal.
    """
    step = max(len(video) // HASHED_FRAMES, 1)
    frames = np.array([t for t in range(len(video)) if t % step != step // 2 or step == 1])
    video = video.copy()
    t = rng.choice(frames)
    darker = np.flatnonzero(video[t] < 255)
    if len(darker):
        video[t].flat[rng.choice(darker)] += 1
    return video


def _speckle(rng, video: np.ndarray) -> np.ndarray:
    """``video`` uint8 [T H W] with a few pixels of every frame one grey level brighter.

    No pixel is darker, so that two repeats differ by at most one level. Perceptual hashes of
    repeats often differ in some bits (benchmarks/repeats.py).
    """
    random = rng.integers(0, 256, video.shape, dtype=np.uint8)
    return video + ((random < round(256 * SPECKLED_SHARE)) & (video < 255))


def _pad(array: np.ndarray, frames: int, dtype: str) -> np.ndarray:
    """[... T] padded with NaN to ``frames``."""
    padded = np.full((*array.shape[:-1], frames), np.nan, dtype)
    padded[..., : array.shape[-1]] = array
    return padded


def _write_meta(folder: Path, population: Population, tiers: np.ndarray) -> None:
    for name in ("neurons", "trials"):
        (folder / "meta" / name).mkdir(parents=True)
    np.save(folder / "meta/neurons/unit_ids.npy", population.unit_ids)
    np.save(folder / "meta/neurons/cell_motor_coordinates.npy", population.position_um)
    np.save(folder / "meta/trials/tiers.npy", tiers)


def _write_truth(folder: Path, population: Population, trials: list[Trial]) -> None:
    fields = {name: values for name, values in vars(population).items() if values is not None}
    np.savez(folder / "truth/neurons.npz", **fields)
    columns = {name: [getattr(t, name) for t in trials] for name in ("number", "clip", "family")}
    (folder / "truth/trials.json").write_text(json.dumps(columns, indent=2) + "\n")


def _write_statistics(folder: Path, name: str, train: list[int]) -> None:
    """Write mean, std, min, max and median over train trials, of each frame: [... T] each."""
    files = [np.load(folder / "data" / name / f"{number}.npy", mmap_mode="r") for number in train]
    shape, dtype = files[0].shape, files[0].dtype
    rows = max(1, int(_BLOCK_BYTES // (len(files) * files[0].nbytes // shape[0])))
    statistics = {key: np.empty(shape, dtype) for key in ("mean", "std", "min", "max", "median")}
    for start in range(0, shape[0], rows):
        block = np.stack([file[start : start + rows] for file in files])
        block.sort(axis=0)  # one pass for minimum, maximum and median
        middle = block[(len(files) - 1) // 2 : len(files) // 2 + 1]
        values = {
            "min": block[0].copy(),
            "max": block[-1].copy(),
            "median": middle.mean(axis=0),
            "mean": block.mean(axis=0, dtype=np.float64),
        }
        block -= values["mean"].astype(dtype)
        values["std"] = np.sqrt(np.einsum("n...,n...->...", block, block) / len(files))
        for key, value in values.items():
            statistics[key][start : start + rows] = value
    target = folder / "meta/statistics" / name / "all"
    target.mkdir(parents=True)
    for key, value in statistics.items():
        np.save(target / f"{key}.npy", value)
