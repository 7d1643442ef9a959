"""Convert recordings of the SENSORIUM 2023 release into a store that models train from.

    python data_prep/sensorium_2023.py --raw RAW --out STORE

RAW is the folder that holds the session folders (dynamic29515-10-12-Video-...) or their zips, real
or made by data_prep/simulated.py, or one of them. Stopped half-way, the same command again goes on:
complete sessions are kept, and a store can be added to, mouse by mouse. Then check it and train:

    python -m sensorium_jax.data.doctor STORE
    python experiments/run.py --config=gru_baseline --data=STORE
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from sensorium_jax.data.convert import Options, convert
from sensorium_jax.data.format import open_store
from sensorium_jax.programs import exit_code, session_bars


def main(argv: list[str] | None = None) -> int:
    """Run the program; 0 when the store is complete, 2 for bad input."""
    flags = _parser().parse_args(argv)
    return exit_code(lambda: _convert(flags))


def _convert(flags: argparse.Namespace) -> int:
    options = Options(
        response=flags.response,
        leave_out=tuple(flags.leave_out.split(",")) if flags.leave_out else (),
        command=shlex.join(sys.argv),
    )
    sessions = flags.sessions and flags.sessions.split(",")
    raw, out = Path(flags.raw), Path(flags.out)
    with session_bars() as on_trial:
        names = convert(raw, out, sessions=sessions, options=options, on_trial=on_trial)
    for session in open_store(out).sessions:
        if error := session.provenance["float16_error"]:
            print(
                f"{session.name}: float16 is off by {error['relative_rms']:.1e} of the responses' "
                f"root mean square, {error['largest']:.2g} at most"
            )
    print(f"{len(names)} sessions in {out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--raw", required=True, metavar="RAW", help="folder of sessions or zips, or one of them")
    add("--out", required=True, metavar="STORE", help="folder of the store")
    add(
        "--sessions",
        help="only these, by name or by the beginning of it, as in "
        "dynamic29515-10-12,dynamic29623-4-9 (default: all)",
    )
    add(
        "--response",
        default="float32",
        choices=("float32", "float16"),
        help="stored type of the responses; float16 halves the store, and its error is printed "
        "(default float32, exact for all that models see)",
    )
    add(
        "--leave-out",
        metavar="SESSION:NUMBER,...",
        help="trials not to convert, as in dynamic29513-3-5:668; the two corrupt trials of the "
        "release always are left out",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
