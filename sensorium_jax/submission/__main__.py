"""Write the zips that the benchmark takes, and check them before you upload.

    python -m sensorium_jax.submission write RUN --out FOLDER       # main.zip and bonus.zip
    python -m sensorium_jax.submission check FOLDER/main.zip --store STORE

RUN is the workdir of a run or of an ensemble. Only mice whose responses are withheld are predicted;
in a store where all are public (simulated mice), all are. Zips of the two tracks are uploaded
separately. `check` reads a zip, or one of its parquet files, whoever wrote it: trials, neurons and
their order, frames, numbers and units; and scores what is public. A zip is unpacked for that, where
temporary files go ($TMPDIR). It ends with 0 for a sound file.
Needs pip install -e '.[submission]'.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sensorium_jax import protocol
from sensorium_jax.programs import exit_code, session_bars
from sensorium_jax.submission.files import LARGEST_BYTES, TRACKS


def main(argv: list[str] | None = None) -> int:
    """Run the program; 0 when all is well, 2 for bad input."""
    flags = _parser().parse_args(argv)
    return exit_code(lambda: flags.run(flags))


def _write(flags: argparse.Namespace) -> int:
    from sensorium_jax.ensembles import ensemble
    from sensorium_jax.submission.write import write

    trained = ensemble(flags.workdir, data=flags.store)
    for track in TRACKS if flags.track == "both" else [flags.track]:
        with session_bars(transient=True) as bar:
            path = write(trained, track, Path(flags.out), window=flags.window, on_trial=bar)
        print(f"{path}: {path.stat().st_size / 1e6:,.1f} MB")
        _warn_of_size(path)
    return 0


def _check(flags: argparse.Namespace) -> int:
    from sensorium_jax.data.pipeline import load_recordings
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
    return 0


def _warn_of_size(path: Path) -> None:
    if path.stat().st_size > LARGEST_BYTES:
        print(f"  warning: larger than the {LARGEST_BYTES / 1e9:.0f} GB that can be uploaded")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sensorium_jax.submission",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="write|check")
    write = commands.add_parser("write", help="predict, and write the zips")
    write.add_argument("workdir", metavar="RUN", help="the workdir of a run or of an ensemble")
    write.add_argument("--out", required=True, metavar="FOLDER", help="where the zips go")
    write.add_argument("--track", choices=(*TRACKS, "both"), default="both", help="(default both)")
    write.add_argument(
        "--window", choices=tuple(protocol.WINDOWS), default="starter", help="(starter)"
    )
    write.add_argument("--store", help="the store, if it is no longer where the run found it")
    write.set_defaults(run=_write)
    check = commands.add_parser("check", help="check a zip or a parquet file")
    check.add_argument("file", metavar="FILE")
    check.add_argument("--store", required=True, help="the store that it is about")
    check.set_defaults(run=_check)
    return parser


if __name__ == "__main__":
    sys.exit(main())
