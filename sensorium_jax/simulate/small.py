"""Small simulated mice, which a model learns in minutes, in the release's raw layout.

``write_session`` writes one mouse, ``write_recording`` several.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sensorium_jax import protocol, stimuli
from sensorium_jax.errors import UserError
from sensorium_jax.simulate import layout
from sensorium_jax.simulate.layout import Script, Trial
from sensorium_jax.simulate.neurons import make_population

VERSION = 1  # increment when the same seed gives another recording

GAP_SHARE = 0.02  # share of file numbers without a file: tier "none"
OnCount = Callable[[int, int], None]  # number of trials written, total


@dataclass(frozen=True)
class SessionPlan:
    """Numbers of neurons and trials of one mouse.

    Oracle and each of the two main test tiers have ``clips`` x ``repeats`` trials; each
    out-of-domain family of the mouse (``protocol.OOD_ASSIGNMENT``) has ``ood_clips`` x
    ``ood_repeats``.
    """

    letter: str
    neurons: int
    train: int = 72
    clips: int = 3
    repeats: int = 4
    ood_clips: int = 2
    ood_repeats: int = 3


DEMO = (SessionPlan("A", 96), SessionPlan("B", 112), SessionPlan("C", 128))


def write_recording(
    out: str | os.PathLike,
    *,
    seed: int = 0,
    letters: Sequence[str] = ("A", "B", "C"),
    neurons: int | Sequence[int] = (96, 112, 128),
    train: int = 72,
    clips: int = 3,
    repeats: int = 4,
    ood_clips: int = 2,
    ood_repeats: int = 3,
    dtype: str = "float32",
    withhold: bool = False,
    real_names: bool = False,
    on_trial: OnCount | None = None,
) -> list[Path]:
    """Write one session folder for every mouse in ``letters`` and return their paths.

    ``neurons`` is one number, or one for each mouse. The other sizes are those of ``SessionPlan``,
    the other arguments those of ``write_session`` (``real_names``: its ``real_name``);
    ``on_trial`` counts over all mice.

    Raises:
        UserError: as ``write_session``, or other numbers of neurons than mice.

    Examples:
        >>> write_recording("raw", letters="ABC", neurons=(10, 20))
        Traceback (most recent call last):
            ...
        sensorium_jax.errors.UserError: expected one number of neurons, or one for each of 3 ...
    """
    letters = tuple(letters)
    counts = (neurons,) * len(letters) if isinstance(neurons, int) else tuple(neurons)
    if len(counts) != len(letters):
        raise UserError(
            f"expected one number of neurons, or one for each of {len(letters)} mice, "
            f"got {len(counts)}; give as many numbers as mice"
        )
    sizes = (train, clips, repeats, ood_clips, ood_repeats)
    plans = [
        SessionPlan(letter, count, *sizes) for letter, count in zip(letters, counts, strict=True)
    ]
    for plan in plans:
        _check(out, plan, seed=seed, dtype=dtype, real_name=real_names)
    trials = [trial_count(plan) for plan in plans]
    paths = []
    for index, plan in enumerate(plans):
        paths.append(
            write_session(
                out,
                plan,
                seed=seed,
                dtype=dtype,
                withhold=withhold,
                real_name=real_names,
                on_trial=_counted(on_trial, before=sum(trials[:index]), total=sum(trials)),
            )
        )
    return paths


def _counted(on_trial: OnCount | None, *, before: int, total: int) -> OnCount | None:
    """``on_trial`` of one mouse, counted over all mice."""
    if on_trial is None:
        return None
    return lambda done, _: on_trial(before + done, total)


def write_session(
    out: str | os.PathLike,
    plan: SessionPlan,
    *,
    seed: int = 0,
    dtype: str = "float32",
    withhold: bool = False,
    modulated: bool = True,
    real_name: bool = False,
    speckled: bool = False,
    on_trial: OnCount | None = None,
) -> Path:
    """Write one simulated mouse in the raw layout of the release and return its folder.

    Args:
        out: folder that will hold the session folder; created if need be.
        plan: the mouse's letter and sizes.
        seed: equal seeds give equal bytes; mice with different letters are independent.
        dtype: of the recorded arrays, "float32" (as the old mice) or "float64" (as the new ones).
        withhold: write zeros for the responses of the four test tiers, as for the new mice.
        modulated: let running, pupil size and gaze change responses.
        real_name: name the folder as that of the real mouse of this letter, which programs of
            others look up, in place of ``session_name``.
        speckled: let repeats of a clip differ in 3 % of their pixels, as the embedded default's do;
            else in one pixel of one frame, which perceptual hashes do not see.
        on_trial: called with the number of trials written, and their total.

    Besides the release's files the folder has ``truth/``: ``trials.json`` (number, clip and family
    of every trial), ``rate/<i>.npy`` ([N T], the expected response, withheld or not) and
    ``neurons.npz`` (the fields of ``Population``).

    Raises:
        UserError: a size below one, an unknown letter or dtype, or a folder that exists.
    """
    _check(out, plan, seed=seed, dtype=dtype, real_name=real_name)
    options = {"withhold": withhold, "modulated": modulated, "speckled": speckled}
    script = _script(plan, seed=seed, dtype=dtype, **options)
    final = Path(out) / session_name(plan.letter, real=real_name)
    return layout.write(script, final, on_trial=on_trial)


def session_name(letter: str, *, real: bool = False) -> str:
    """Folder name of a simulated mouse: the release's pattern, with "simulated" for the hash.

    With ``real``, the name of the real mouse of this letter.

    Examples:
        >>> session_name("A")
        'dynamic00001-1-1-Video-simulated'
    """
    if real:
        return protocol.SESSIONS[letter]
    return f"dynamic{sorted(protocol.OOD_ASSIGNMENT).index(letter) + 1:05d}-1-1-Video-simulated"


def trial_count(plan: SessionPlan) -> int:
    """Number of trials (files) of a mouse.

    Examples:
        >>> trial_count(DEMO[0])  # 72 train, 3 x 3 x 4 main, 3 x 2 x 3 out-of-domain
        126
    """
    families = sum(map(len, protocol.OOD_ASSIGNMENT[plan.letter]))
    return plan.train + 3 * plan.clips * plan.repeats + families * plan.ood_clips * plan.ood_repeats


def _check(
    out: str | os.PathLike, plan: SessionPlan, *, seed: int, dtype: str, real_name: bool
) -> None:
    if plan.letter not in protocol.OOD_ASSIGNMENT:
        letters = ", ".join(protocol.OOD_ASSIGNMENT)
        raise UserError(f"expected a mouse of {letters}, got {plan.letter!r}; choose one of these")
    for name, size in asdict(plan).items():
        if name != "letter" and size < 1:
            raise UserError(f"expected {name} of at least 1, got {size}; give a larger number")
    if seed < 0:
        raise UserError(f"expected a seed of at least 0, got {seed}; give a larger number")
    if dtype not in ("float32", "float64"):
        raise UserError(f"expected dtype float32 or float64, got {dtype!r}; choose one of these")
    final = Path(out) / session_name(plan.letter, real=real_name)
    if final.exists() and (not final.is_dir() or any(final.iterdir())):
        raise UserError(
            f"expected no recording yet, found {final}; delete it or choose another output folder"
        )


def _script(
    plan: SessionPlan, *, seed: int, dtype: str, withhold: bool, modulated: bool, speckled: bool
) -> Script:
    """Everything that determines the session folder of a mouse."""
    mouse = ord(plan.letter)
    tiers, trials = _schedule(plan, np.random.default_rng((seed, mouse, 1)))
    videos = _clips(trials, (seed, mouse, 2))  # clip -> uint8 [T H W]
    withheld_tiers = protocol.TEST_TIERS if withhold else ()
    return Script(
        population=make_population(plan.neurons, seed=(seed, mouse, 0), modulated=modulated),
        temperament=None,
        tiers=tiers,
        trials=trials,
        film=lambda trial: videos[trial.clip],
        frames=max(map(len, videos.values())),
        withheld=frozenset(trial.number for trial in trials if trial.tier in withheld_tiers),
        dtype=dtype,
        seed=(seed, mouse, 3),
        config={"links": {}, "simulated": True, "seed": seed, **asdict(plan)},
        speckled=speckled,
    )


def _schedule(plan: SessionPlan, rng) -> tuple[np.ndarray, list[Trial]]:
    """The tier of every file number (strings [n], with gaps), and the trials sorted by number."""
    presentations = []  # tier, family, clip
    main = (protocol.ORACLE, protocol.TEST_TIERS[0], protocol.TEST_TIERS[1])
    live, final = protocol.OOD_ASSIGNMENT[plan.letter]
    blocks = [(protocol.TRAIN, protocol.NATURAL, plan.train, 1)]
    blocks += [(tier, protocol.NATURAL, plan.clips, plan.repeats) for tier in main]
    for tier, families in zip(protocol.TEST_TIERS[2:], (live, final), strict=True):
        blocks += [(tier, family, plan.ood_clips, plan.ood_repeats) for family in families]
    for tier, family, clips, repeats in blocks:
        names = [f"{plan.letter}-{tier}-{family}-{index}" for index in range(clips)]
        presentations += [(tier, family, name) for name in names for _ in range(repeats)]

    count = len(presentations)
    gaps = max(1, round(GAP_SHARE * count))
    numbers = rng.permutation(count + gaps)[:count]
    pairs = zip(numbers, presentations, strict=True)
    trials = sorted(
        (Trial(int(number), *presentation) for number, presentation in pairs),
        key=lambda trial: trial.number,
    )
    tiers = np.full(count + gaps, protocol.MISSING, dtype=f"<U{max(map(len, protocol.TIERS))}")
    for trial in trials:
        tiers[trial.number] = trial.tier
    return tiers, trials


def _clips(trials: list[Trial], seed: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The film of every clip, by name: uint8 [T H W] each."""
    families = {trial.clip: trial.family for trial in trials}
    return {
        name: stimuli.clip(families[name], np.random.default_rng((*seed, index)))
        for index, name in enumerate(sorted(families))
    }
