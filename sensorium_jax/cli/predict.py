"""Predict responses to a film: from mp4 or npy to npz.

    sensorium-jax predict runs/gru_baseline-demo film.npy --session NAME --out rates.npz
    sensorium-jax predict runs/gru_baseline-demo film.mp4 --session NAME --out rates.npz

An npy film is [frames 36 64], grey levels 0 to 255 at 30 Hz. An mp4 is put on 30 Hz (each frame the
one on the screen at its time), averaged over colours and over areas to 36 x 64; it needs the extra:
pip install 'sensorium_jax[pictures]'. Behaviour is the mouse's mean, unless --behavior and
--pupil-center name npy files [frames 2] in recorded units: pupil size and running speed; x and y of
the pupil.

The npz holds rate [frames' neurons], expected responses in the recording's units, of the last
frames' frames of the film (the first that the model's memory fills up give none), unit_ids
[neurons], first_frame, and session.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sensorium_jax.cli.parser import Parser
from sensorium_jax.cli.programs import exit_code


def main(argv: Sequence[str]) -> int:
    """Run the subcommand."""
    flags = _parser().parse_args(argv)
    return exit_code(lambda: run(flags))


def run(flags) -> int:
    """Predict, and write the npz."""
    import numpy as np

    from sensorium_jax.files import check_output, whole_file
    from sensorium_jax.runs.ensembles import ensemble
    from sensorium_jax.runs.films import mean_behavior, read_film, read_signal

    out = Path(flags.out)
    check_output(out, b"first_frame.npy", b"unit_ids.npy", b"rate.npy")
    trained = ensemble(*flags.run, data=flags.data)
    session = trained.session(flags.session)
    video = read_film(Path(flags.film))
    signals = [
        read_signal(Path(path), frames=len(video)) if path else mean
        for path, mean in zip(
            (flags.behavior, flags.pupil_center),
            mean_behavior(trained.recordings, session.name, frames=len(video)),
            strict=True,
        )
    ]
    rate = trained.predict(video, *signals, session=session.name)
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(out) as beside, beside.open("wb") as file:
        np.savez_compressed(
            file,
            rate=rate,
            unit_ids=session.load("unit_ids"),
            first_frame=len(video) - len(rate),
            session=session.name,
        )
    print(f"{rate.shape[1]} neurons of {session.name}, {len(rate)} frames: {out}")
    return 0


def _parser() -> Parser:
    parser = Parser("predict", __doc__)
    add = parser.add_argument
    add("run", nargs="+", metavar="RUN", help="workdirs of runs, or folders of weights")
    add("film", metavar="FILM", help="an npy or mp4 file")
    add("--session", metavar="NAME", help="which mouse (default: the only one)")
    add("--out", required=True, metavar="FILE.npz", help="where the rates go")
    add("--behavior", metavar="FILE.npy", help="pupil size and running speed (default: mean)")
    add("--pupil-center", metavar="FILE.npy", help="x and y of the pupil (default: mean)")
    add("--data", metavar="STORE", help="the store, if it is not where the run found it")
    return parser
