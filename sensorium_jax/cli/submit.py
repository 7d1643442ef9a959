"""Write the zips that the benchmark takes, and check them before you upload.

    sensorium-jax submit write RUN --out FOLDER                  main.zip and bonus.zip
    sensorium-jax submit check FOLDER/main.zip --store STORE

Each has its own --help. Needs pip install 'sensorium_jax[submission]'.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sensorium_jax import protocol
from sensorium_jax.cli.parser import Parser
from sensorium_jax.cli.programs import dispatch
from sensorium_jax.errors import DONE

_WRITE = """Predict, and write the zips of both tracks.

    sensorium-jax submit write runs/gru_baseline-published --out FOLDER

RUN is the workdir of a run or of an ensemble, or a folder of weights (with --store). Only mice
whose responses are withheld are predicted; in a store where all are public, as of simulated mice,
all are.
Predictions are in the official scorer's units: over the released std of every neuron and frame.
The zips of the two tracks are uploaded separately.
"""

_CHECK = """Check a zip, or one of its parquet files, whoever wrote it.

    sensorium-jax submit check FOLDER/main.zip --store STORE

Trials, neurons and their order, frames, numbers and units are checked, and what is public is
scored. A zip is unpacked for that, where temporary files go ($TMPDIR). Exit code 0: it is sound.
"""


def main(argv: Sequence[str]) -> int:
    """Run the subcommand: its second word says which."""
    words = {"write": (_write_parser, _write), "check": (_check_parser, _check)}
    return dispatch("submit", __doc__, words, argv)


def _write(flags) -> int:
    from sensorium_jax.pages.terminal import bars
    from sensorium_jax.runs.ensembles import ensemble
    from sensorium_jax.submission.files import TRACKS
    from sensorium_jax.submission.write import write

    trained = ensemble(flags.run, data=flags.store)
    for track in TRACKS if flags.track == "both" else [flags.track]:
        with bars(transient=True) as on_trial:
            path = write(trained, track, Path(flags.out), window=flags.window, on_trial=on_trial)
        print(f"{path}: {path.stat().st_size / 1e6:,.1f} MB")
        _warn_of_size(path)
    return DONE


def _check(flags) -> int:
    from sensorium_jax.data.recordings import load_recordings
    from sensorium_jax.submission.check import check

    for checked in check(Path(flags.file), load_recordings(flags.store)):
        print(f"{checked.tier}: {checked.trials} trials as asked for, window {checked.window!r}")
        for warning in checked.warnings:
            print(f"  warning: {warning}")
        for session, value in checked.correlation.items():
            constant = checked.constant[session]
            zero = f"; {constant} neurons are constant and count as 0" if constant else ""
            print(f"  {session}: single-trial correlation {value:.4f}{zero}")
        if not checked.correlation:
            print("  responses are withheld: not scored")
    _warn_of_size(Path(flags.file))
    return DONE


def _warn_of_size(path: Path) -> None:
    from sensorium_jax.submission.files import LARGEST_BYTES

    if path.stat().st_size > LARGEST_BYTES:
        print(f"  warning: larger than the {LARGEST_BYTES / 1e9:.0f} GB that can be uploaded")


def _write_parser() -> Parser:
    parser = Parser("submit write", _WRITE)
    add = parser.add_argument
    add("run", metavar="RUN", help="workdir of a run or of an ensemble, or a folder of weights")
    add("--out", required=True, metavar="FOLDER", help="where the zips go")
    add("--track", choices=("main", "bonus", "both"), default="both", help="(default both)")
    windows = tuple(protocol.WINDOWS)
    add("--window", choices=windows, default="starter", help="of frames (default starter)")
    add("--store", metavar="STORE", help="the store, if it is not where the run found it")
    return parser


def _check_parser() -> Parser:
    parser = Parser("submit check", _CHECK)
    parser.add_argument("file", metavar="FILE", help="a zip, or a parquet file")
    parser.add_argument("--store", required=True, metavar="STORE", help="that it is about")
    return parser
