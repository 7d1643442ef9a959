"""Simulated mice with the structure of the release: its trial tables, and calibrated neurons.

A mouse has the file numbers, gaps, tiers, repeats, valid frames, array length, dtype and withheld
responses of the real one (``prepare/release.py``). Clips with the same id are the same film, in
both mice of a pair. Only films, responses and behaviour are simulated (``calibration.py``).
"""

from __future__ import annotations

import functools
import os
import zlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sensorium_jax import protocol, stimuli
from sensorium_jax.errors import UserError
from sensorium_jax.files import read_json
from sensorium_jax.prepare import release
from sensorium_jax.simulate import layout
from sensorium_jax.simulate.calibration import make_population_like, target
from sensorium_jax.simulate.layout import Script, Trial

VERSION = 2  # increment when the same seed gives another recording

BLANK_LEVEL = 128  # grey after the last image of a clip, and after the end of a film
_DRAWS = 100  # attempts to draw a clip that is not too long
_FILMS = 64  # cached in memory: more than a mouse's clips with repeats, 0.7 MB each


@dataclass(frozen=True)
class Thinning:
    """How much of the trial table to keep; None keeps all.

    File numbers that are left out become gaps; the two corrupt trials are always kept. Clips are
    left out in the same order in all mice, so that the mice of a pair still share clips.

    Examples:
        >>> len(kept_rows("A", Thinning(train=10, clips=1, repeats=1)))  # 1 oracle, 2 main, 3 bonus
        16
    """

    train: int | None = None  # trials of the train tier
    clips: int | None = None  # of every family in every other tier
    repeats: int | None = None  # of every such clip


WHOLE = Thinning()


def write_session(
    out: str | os.PathLike,
    letter: str,
    *,
    neurons: int | None = 50,
    thinning: Thinning = WHOLE,
    seed: int = 0,
    real_name: bool = False,
    on_trial: Callable[[int, int], None] | None = None,
) -> Path:
    """Write one simulated mouse with the structure of a real one and return its folder.

    A folder that was written with the same arguments is kept.

    Args:
        out: folder that will hold the session folder; created if need be.
        letter: of the mouse, A to J.
        neurons: number of neurons; None: as many as the real mouse has.
        thinning: which trials to keep.
        seed: equal seeds give equal bytes, and the same films to all mice.
        real_name: name the folder as that of the real mouse, which programs of others look up.
        on_trial: called with the number of trials written, and their total.

    The folder has the files of ``simulate.write_session``, with ``truth/``.

    Raises:
        UserError: an unknown letter, a size below one, or a folder with another recording.
    """
    check(letter, neurons=neurons, thinning=thinning, seed=seed)
    neurons = neurons or release.mice()[letter].neurons
    final = Path(out) / session_name(letter, real=real_name)
    config = {
        "links": {},
        "simulated": True,
        "structure": "release",
        "version": VERSION,
        "letter": letter,
        "neurons": neurons,
        "seed": seed,
        **asdict(thinning),
    }
    if _is_written(final, config):
        return final
    script = _script(letter, neurons, seed, thinning, config)
    return layout.write(script, final, on_trial=on_trial)


def check(letter: str, *, neurons: int | None, thinning: Thinning = WHOLE, seed: int = 0) -> None:
    """Check the arguments of ``write_session``.

    Raises:
        UserError: an unknown letter, or a size below one.

    Examples:
        >>> check("K", neurons=50)
        Traceback (most recent call last):
            ...
        sensorium_jax.errors.UserError: expected a mouse of A, B, ..., got 'K'; choose one of these
    """
    if letter not in protocol.SESSIONS:
        letters = ", ".join(protocol.SESSIONS)
        raise UserError(f"expected a mouse of {letters}, got {letter!r}; choose one of these")
    for name, size in {"neurons": neurons, **asdict(thinning)}.items():
        if size is not None and size < 1:
            raise UserError(f"expected {name} of at least 1, got {size}; give a larger number")
    if seed < 0:
        raise UserError(f"expected a seed of at least 0, got {seed}; give a larger number")


def session_name(letter: str, *, real: bool = False) -> str:
    """The folder name of the real mouse, with "simulated" in place of the hash unless ``real``.

    Examples:
        >>> session_name("F")
        'dynamic29515-10-12-Video-simulated'
    """
    name = protocol.SESSIONS[letter]
    return name if real else name.rpartition("-")[0] + "-simulated"


def kept_rows(letter: str, thinning: Thinning) -> np.ndarray:
    """Rows of the mouse's trial table that thinning keeps, ascending.

    Examples:
        >>> len(kept_rows("A", WHOLE)) == len(release.mice()["A"].trials.number)
        True
    """
    table = release.mice()[letter].trials
    corrupt = np.flatnonzero(table.number == release.CORRUPT.get(letter, -1)).tolist()
    presentations = defaultdict(lambda: defaultdict(list))  # (tier, family) -> clip -> rows
    columns = zip(table.tier.tolist(), table.family.tolist(), table.clip.tolist(), strict=True)
    for row, (tier, family, clip) in enumerate(columns):
        if row not in corrupt:
            presentations[tier, family][clip].append(row)
    rows = set(corrupt)
    for (tier, _), clips in presentations.items():
        limit = thinning.train if tier == protocol.TRAIN else thinning.clips
        for clip in sorted(clips, key=_clip_seed)[:limit]:
            rows.update(clips[clip][: thinning.repeats])
    return np.array(sorted(rows))


def disk_bytes(letter: str, *, neurons: int | None = 50, thinning: Thinning = WHOLE) -> int:
    """Approximate size on disk of a mouse, in bytes."""
    mouse = release.mice()[letter]
    return layout.size(
        len(kept_rows(letter, thinning)),
        neurons=neurons or mouse.neurons,
        frames=mouse.frames,
        dtype=_dtype(letter),
    )


def _is_written(final: Path, config: dict) -> bool:
    """Whether the folder holds this recording; ``UserError`` if it holds another."""
    if not final.exists() or (final.is_dir() and not any(final.iterdir())):
        return False
    advice = "delete the folder or choose another output folder"
    if read_json(final / "config.json", advice=advice) != config:
        raise UserError(f"expected no other recording yet, found {final}; {advice}")
    return True


def _script(letter: str, neurons: int, seed: int, thinning: Thinning, config: dict) -> Script:
    """Everything that determines the session folder of a mouse."""
    mouse = release.mice()[letter]
    table = mouse.trials
    rows = kept_rows(letter, thinning)
    columns = (table.number[rows].tolist(), table.tier[rows], table.family[rows], table.clip[rows])
    trials = [Trial(n, str(t), str(f), str(c)) for n, t, f, c in zip(*columns, strict=True)]
    frames = dict(zip(columns[0], table.frames[rows].tolist(), strict=True))
    tiers = np.full(mouse.trial_files, protocol.MISSING, dtype=f"<U{max(map(len, protocol.TIERS))}")
    tiers[table.number[rows]] = table.tier[rows]
    return Script(
        population=make_population_like(letter, neurons, seed=(seed, ord(letter), 0)),
        temperament=target(letter).temperament,
        tiers=tiers,
        trials=trials,
        film=lambda trial: _to_length(_film(trial.clip, trial.family, seed), frames[trial.number]),
        frames=mouse.frames,
        withheld=frozenset(table.number[rows][~table.labelled[rows]].tolist()),
        dtype=_dtype(letter),
        seed=(seed, ord(letter), 1),
        config=config,
        speckled=False,
    )


def _dtype(letter: str) -> str:
    """Dtype of the arrays of a mouse; derived from the sizes of the release."""
    return "float64" if letter in protocol.NEW_MICE else "float32"


def _clip_seed(clip: str) -> int:
    """A number that depends on the clip id alone, in random order."""
    return zlib.crc32(clip.encode())


@functools.lru_cache(maxsize=_FILMS)
def _film(clip: str, family: str, seed: int) -> np.ndarray:
    """The film of a clip: uint8 [T H W], at most as long as the shortest of its trials."""
    shortest = _shortest()[clip]
    rng = np.random.default_rng((seed, _clip_seed(clip)))
    for _ in range(_DRAWS):
        video = stimuli.clip(family, rng)
        if len(video) <= shortest:
            break
    return video


@functools.cache
def _shortest() -> dict[str, int]:
    """Frames of the shortest trial of every clip, in all mice."""
    shortest: dict[str, int] = {}
    for mouse in release.mice().values():
        for clip, frames in zip(
            mouse.trials.clip.tolist(), mouse.trials.frames.tolist(), strict=True
        ):
            shortest[clip] = min(frames, shortest.get(clip, frames))
    return shortest


def _to_length(video: np.ndarray, frames: int) -> np.ndarray:
    """A film [T H W] cut to ``frames``, or extended to them by grey frames."""
    blank = np.full((max(frames - len(video), 0), *video.shape[1:]), BLANK_LEVEL, video.dtype)
    return np.concatenate([video, blank])[:frames]
