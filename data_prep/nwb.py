"""Convert NWB files (Neurodata Without Borders) into a store that models train from.

    python data_prep/nwb.py --nwb FILE.nwb --out STORE --pupil-size NAME --running-speed NAME \\
        --pupil-center NAME

Needs pip install -e '.[nwb]'. A file becomes a mouse; give several to have several. It must hold

    the film        an ImageSeries, 9 : 16, at least 36 x 64 pixels, grey levels 0 to 255
    the responses   a RoiResponseSeries [time ROIs]
    the trials      the table "trials" with start_time, stop_time and a column of tiers:
                    train, oracle (repeated clips, to choose the best weights), live_test_main, ...

Every trial is put on a grid of 30 Hz. Behaviour that is not named is zero; what it is named in your
file, print(NWBHDF5IO(FILE).read()) tells. Then check the store and train:

    python -m sensorium_jax.data.doctor STORE
    python experiments/run.py --config=gru_baseline --data=STORE
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from sensorium_jax.data.convert import Options, convert_recording
from sensorium_jax.data.format import finish_store
from sensorium_jax.data.nwb import Names, NwbSession
from sensorium_jax.programs import exit_code, session_bars


def main(argv: list[str] | None = None) -> int:
    """Run the program; 0 when the store is complete, 2 for bad input."""
    flags = _parser().parse_args(argv)
    return exit_code(lambda: _convert(flags))


def _convert(flags: argparse.Namespace) -> int:
    names = Names(**{field: getattr(flags, field) for field in Names._fields})
    sessions = [NwbSession(Path(path), names) for path in flags.nwb]
    for session in sessions:
        for note in session.notes():
            print(f"{session.name}: {note}")
    out, options = Path(flags.out), Options(command=shlex.join(sys.argv))
    out.mkdir(parents=True, exist_ok=True)
    with session_bars() as on_trial:
        for session in sessions:
            convert_recording(session, out, options=options, on_trial=on_trial)
    print(f"{len(finish_store(out))} sessions in {out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--nwb", required=True, nargs="+", metavar="FILE", help="NWB files, a mouse each")
    add("--out", required=True, metavar="STORE", help="folder of the store")
    add("--stimulus", metavar="NAME", help="the ImageSeries (default: the only one)")
    add("--response", metavar="NAME", help="the RoiResponseSeries (default: the only one)")
    add("--pupil-size", metavar="NAME", help="a TimeSeries (default: zeros)")
    add("--running-speed", metavar="NAME", help="a TimeSeries (default: zeros)")
    add("--pupil-center", metavar="NAME", help="a TimeSeries of x and y (default: zeros)")
    add("--tier", default="tier", metavar="COLUMN", help="of the trial table (default tier)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
