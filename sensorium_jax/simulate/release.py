"""Simulated mice with the release's whole structure: its trial table, and neurons like its mice's.

A mouse gets the file numbers, gaps, tiers, repeats, valid frames, array length, dtype and withheld
responses of the real one (``data/release.py``). Clips with the same id are the same film, in both
mice of a pair. Only films, responses and behaviour are made up (``calibration.py``).
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

VERSION = 1  # raise it whenever the same seed would give another recording

BLANK_LEVEL = 128  # grey after the last image of a clip, and after the end of a film
_DRAWS = 100  # of a clip that must not be too long
_FILMS = 64  # kept in memory: more than a mouse's clips with repeats, 0.7 MB each


@dataclass(frozen=True)
class Thinning:
    """How much of the trial table to keep; None keeps all.

    What is left out becomes a gap. The file numbers, and the two corrupt trials, stay. Clips are
    left out in the same order in all mice, so that pairs go on to share them.
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
    on_trial: Callable[[int, int], None] | None = None,
) -> Path:
    """Write one simulated mouse with the structure of a real one and return its folder.

    A folder that the same arguments wrote before is kept as it is.

    Args:
        out: folder that will hold the session folder; created if need be.
        letter: of the mouse, A to J.
        neurons: how many; None for as many as the real mouse has.
        thinning: which trials to leave out.
        seed: equal seeds give equal bytes, and the same films to all mice.
        on_trial: called with (trials written, trials in all).

    The folder holds what ``simulate.write_session`` describes, ``truth/`` included.

    Raises:
        UserError: an unknown letter, a size below one, or another recording in the way.
    """
    check(letter, neurons=neurons, thinning=thinning, seed=seed)
    neurons = neurons or release.mice()[letter].neurons
    final = Path(out) / session_name(letter)
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
    """Raise the ``UserError`` that ``write_session`` would raise of its arguments."""
    if letter not in protocol.SESSIONS:
        known = ", ".join(protocol.SESSIONS)
        raise UserError(f"expected a mouse of {known}, got {letter!r}; choose one of these")
    for name, size in {"neurons": neurons, **asdict(thinning)}.items():
        if size is not None and size < 1:
            raise UserError(f"expected {name} of at least 1, got {size}; give a larger number")
    if seed < 0:
        raise UserError(f"expected a seed of at least 0, got {seed}; give a larger number")


def session_name(letter: str) -> str:
    """The real mouse's folder name, with "simulated" for the hash."""
    return protocol.SESSIONS[letter].rpartition("-")[0] + "-simulated"


def kept_rows(letter: str, thinning: Thinning) -> np.ndarray:
    """Rows of the mouse's trial table that are left, ascending."""
    table = release.mice()[letter].trials
    corrupt = np.flatnonzero(table.number == release.CORRUPT.get(letter, -1)).tolist()
    shown = defaultdict(lambda: defaultdict(list))  # (tier, family) -> clip -> rows
    columns = zip(table.tier.tolist(), table.family.tolist(), table.clip.tolist(), strict=True)
    for row, (tier, family, clip) in enumerate(columns):
        if row not in corrupt:
            shown[tier, family][clip].append(row)
    kept = set(corrupt)
    for (tier, _), clips in shown.items():
        limit = thinning.train if tier == protocol.TRAIN else thinning.clips
        for clip in sorted(clips, key=_clip_seed)[:limit]:
            kept.update(clips[clip][: thinning.repeats])
    return np.array(sorted(kept))


def disk_bytes(letter: str, *, neurons: int | None = 50, thinning: Thinning = WHOLE) -> int:
    """What a mouse takes on disk, nearly."""
    mouse = release.mice()[letter]
    return layout.size(
        len(kept_rows(letter, thinning)),
        neurons=neurons or mouse.neurons,
        frames=mouse.frames,
        dtype=_dtype(letter),
    )


def _is_written(final: Path, config: dict) -> bool:
    """Whether ``final`` holds that recording; it must be empty or absent otherwise."""
    if not final.exists() or (final.is_dir() and not any(final.iterdir())):
        return False
    advice = "delete the folder or choose another output folder"
    if read_json(final / "config.json", advice=advice) != config:
        raise UserError(f"expected no other recording yet, found {final}; {advice}")
    return True


def _script(letter: str, neurons: int, seed: int, thinning: Thinning, config: dict) -> Script:
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
    )


def _dtype(letter: str) -> str:
    """Of the arrays of a mouse; derived from the sizes of the release."""
    return "float64" if letter in protocol.NEW_MICE else "float32"


def _clip_seed(clip: str) -> int:
    """A number that only the clip decides, and that has no order."""
    return zlib.crc32(clip.encode())


@functools.lru_cache(maxsize=_FILMS)
def _film(clip: str, family: str, seed: int) -> np.ndarray:
    """The film of a clip, uint8 [T H W], no longer than the shortest of its trials."""
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
    found: dict[str, int] = {}
    for mouse in release.mice().values():
        for clip, frames in zip(
            mouse.trials.clip.tolist(), mouse.trials.frames.tolist(), strict=True
        ):
            found[clip] = min(frames, found.get(clip, frames))
    return found


def _to_length(video: np.ndarray, frames: int) -> np.ndarray:
    """[T H W] of so many frames: grey is shown after the end."""
    blank = np.full((max(frames - len(video), 0), *video.shape[1:]), BLANK_LEVEL, video.dtype)
    return np.concatenate([video, blank])[:frames]
