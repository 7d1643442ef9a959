"""Write simulated mice in the release's raw layout, with their truth beside them.

    sensorium-jax simulate --out RAW

makes three mice (about 1.1 GB, some twenty seconds) to try the whole package on, without any
download. Convert the folders as you would the real recording.

    sensorium-jax simulate --out RAW --structure release --mice A,F --neurons 50

makes mice with the whole trial table of the release, and with response moments, selectivity, places
and behaviour like those of the real ones. --train, --clips and --repeats leave out trials. Stopped
half-way, the same command resumes: complete mice are kept.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path

from sensorium_jax import protocol, simulate
from sensorium_jax.cli.parser import Parser
from sensorium_jax.cli.programs import exit_code
from sensorium_jax.errors import UserError
from sensorium_jax.pages.terminal import bars
from sensorium_jax.simulate import release as release_like
from sensorium_jax.types import OnProgress

SMALL, RELEASE = "small", "release"
SIMULATED, REAL = "simulated", "real"
NEURONS = 50  # of a mouse with the release's structure


def main(argv: Sequence[str]) -> int:
    """Run the subcommand."""
    flags = _parser().parse_args(argv)
    return exit_code(lambda: run(flags))


def run(flags) -> int:
    """Write the mice, and print where they are."""
    write = _write_small if flags.structure == SMALL else _write_release
    with bars() as on_trial:
        paths = write(flags, on_trial)
    for path in paths:
        print(path)
    return 0


def _write_small(flags, on_trial: OnProgress) -> list[Path]:
    _refuse(flags, "clips", "repeats")
    if flags.neurons == "all":
        raise UserError(f"expected a number of neurons, got 'all'; add --structure {RELEASE}")
    letters = tuple((flags.mice or "A,B,C").split(","))
    demo = {plan.letter: plan.neurons for plan in simulate.DEMO}
    default = max(demo.values())
    return simulate.write_recording(
        flags.out,
        seed=flags.seed,
        letters=letters,
        neurons=flags.neurons or [demo.get(letter, default) for letter in letters],
        train=72 if flags.train is None else flags.train,
        dtype=flags.dtype or "float32",
        withhold=flags.withhold,
        real_names=flags.names == REAL,
        on_trial=functools.partial(on_trial, "trials"),
    )


def _write_release(flags, on_trial: OnProgress) -> list[Path]:
    _refuse(flags, "dtype", "withhold")
    letters = tuple((flags.mice or ",".join(protocol.SESSIONS)).split(","))
    neurons = NEURONS if flags.neurons is None else flags.neurons
    neurons = None if neurons == "all" else neurons
    thinning = release_like.Thinning(flags.train, flags.clips, flags.repeats)
    _announce(Path(flags.out), letters, neurons, thinning, flags)
    return [
        release_like.write_session(
            flags.out,
            letter,
            neurons=neurons,
            thinning=thinning,
            seed=flags.seed,
            real_name=flags.names == REAL,
            on_trial=functools.partial(on_trial, f"mouse {letter}"),
        )
        for letter in letters
    ]


def _announce(out: Path, letters, neurons, thinning, flags) -> None:
    """Say what will be written; ``UserError`` if it cannot be."""
    for letter in letters:
        release_like.check(letter, neurons=neurons, thinning=thinning, seed=flags.seed)
    counts = [len(release_like.kept_rows(letter, thinning)) for letter in letters]
    real = flags.names == REAL
    new = [x for x in letters if not (out / release_like.session_name(x, real=real)).exists()]
    needed = sum(
        release_like.disk_bytes(letter, neurons=neurons, thinning=thinning) for letter in new
    )
    out.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out).free
    print(
        f"{len(letters)} mice, {sum(counts):,} trials; {needed / 1e9:.2g} GB to write to {out}, "
        f"{free / 1e9:.0f} GB free"
    )
    if needed > free:
        raise UserError(
            f"expected {needed / 1e9:.1f} GB of free space in {out}, found {free / 1e9:.1f} GB; "
            "free some, or write fewer --mice, --neurons or --train trials"
        )


def _refuse(flags, *names: str) -> None:
    """Refuse options that mean nothing for this structure."""
    other = RELEASE if flags.structure == SMALL else SMALL
    for name in names:
        if getattr(flags, name):
            raise UserError(
                f"expected --{name} with --structure {other} only, got it with {flags.structure}; "
                "leave it out"
            )


def _neurons(text: str) -> int | str:
    return text if text == "all" else int(text)


def _parser() -> Parser:
    parser = Parser("simulate", __doc__)
    add = parser.add_argument
    add("--out", required=True, metavar="RAW", help="folder for the session folders")
    add(
        "--structure",
        choices=(SMALL, RELEASE),
        default=SMALL,
        help="small: a few trials, and neurons that a small model learns in minutes (default); "
        "release: the real mice's trial table and distributions",
    )
    add(
        "--names",
        choices=(SIMULATED, REAL),
        default=SIMULATED,
        help="of the folders: real are those of the ten real mice, which programs of others look "
        "up; SIMULATED.txt and config.json inside say what they are (default simulated)",
    )
    add("--seed", type=int, default=0, help="equal seeds give equal bytes (default 0)")
    add(
        "--mice",
        help=f"letters of {','.join(protocol.OOD_ASSIGNMENT)}; they choose the out-of-domain "
        f"families (default A,B,C, and all ten with --structure {RELEASE})",
    )
    add(
        "--neurons",
        type=_neurons,
        metavar="N",
        help=f"neurons of every mouse, a number (default 96, 112, 128, and {NEURONS} with "
        f"--structure {RELEASE}) or, there, all: as many as the real mouse has",
    )
    add(
        "--train",
        type=int,
        metavar="N",
        help=f"train trials of every mouse (default 72, and all with --structure {RELEASE})",
    )
    release_only = parser.add_argument_group(f"with --structure {RELEASE} only")
    release_only.add_argument(
        "--clips",
        type=int,
        metavar="N",
        help="clips of every family in every tier but train (default all); pairs share them",
    )
    release_only.add_argument(
        "--repeats", type=int, metavar="N", help="trials of every such clip (default all)"
    )
    small_only = parser.add_argument_group(f"with --structure {SMALL} only")
    small_only.add_argument(
        "--dtype",
        help="of the arrays: float32, as the release's old mice, or float64 (default float32)",
    )
    small_only.add_argument(
        "--withhold",
        action="store_true",
        help="zero the responses of the test tiers, as for the release's new mice",
    )
    return parser
