"""Convert recordings into a store that models train from.

    sensorium-jax prepare raw --raw RAW --out STORE       recordings of the release, folders or zips
    sensorium-jax prepare nwb --nwb FILE.nwb --out STORE  NWB files (Neurodata Without Borders)

Each has its own --help. Then check the store and train:

    sensorium-jax examine STORE
    sensorium-jax train --config=gru_baseline --data=STORE
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from sensorium_jax.cli.parser import Parser
from sensorium_jax.cli.programs import dispatch
from sensorium_jax.errors import DONE

_RAW = """Convert recordings of the SENSORIUM 2023 release into a store.

    sensorium-jax prepare raw --raw RAW --out STORE

RAW is the folder that holds the session folders (dynamic29515-10-12-Video-...) or their zips, real
or made by sensorium-jax simulate, or one of them. Stopped half-way, the same command resumes:
complete sessions are kept, and a store can be added to, mouse by mouse. Video is stored in grey
levels 0 to 255, responses and behaviour in their recorded units.
"""

_NWB = """Convert NWB files (Neurodata Without Borders) into a store.

    sensorium-jax prepare nwb --nwb FILE.nwb --out STORE --pupil-size NAME \\
        --running-speed NAME --pupil-center NAME

Needs pip install 'sensorium_jax[nwb]'. A file becomes a mouse; give several to have several. It
must hold

    the film        an ImageSeries, 9 : 16, at least 36 x 64 pixels, grey levels 0 to 255
    the responses   a RoiResponseSeries [time ROIs]
    the trials      the table "trials" with start_time, stop_time (seconds) and a column of tiers:
                    train, oracle (repeated clips, to choose the best weights), live_test_main, ...

Every trial is put on a grid of 30 Hz. Behaviour that is not named is zero; what it is named in your
file, print(NWBHDF5IO(FILE).read()) tells.
"""


def main(argv: Sequence[str]) -> int:
    """Run the subcommand: its second word says which."""
    command = shlex.join(["sensorium-jax", "prepare", *argv])
    words = {
        "raw": (_raw_parser, lambda flags: _raw(flags, command)),
        "nwb": (_nwb_parser, lambda flags: _nwb(flags, command)),
    }
    return dispatch("prepare", __doc__, words, argv)


def _raw(flags, command: str) -> int:
    from sensorium_jax.pages.terminal import bars
    from sensorium_jax.prepare.convert import Options, convert

    options = Options(
        response=flags.response,
        leave_out=tuple(flags.leave_out.split(",")) if flags.leave_out else (),
        command=command,
        rename=tuple(flags.rename),
        fill_gaps=flags.fill_gaps,
    )
    sessions = flags.sessions and flags.sessions.split(",")
    raw, out = Path(flags.raw), Path(flags.out)
    with bars() as on_trial:
        convert(raw, out, sessions=sessions, options=options, on_trial=on_trial)
    _report(out)
    return DONE


def _nwb(flags, command: str) -> int:
    from sensorium_jax.pages.terminal import bars
    from sensorium_jax.prepare.convert import Options, convert_all
    from sensorium_jax.prepare.nwb import Names, NwbSession

    names = Names(**{field: getattr(flags, field) for field in Names._fields})
    options = Options(command=command, rename=tuple(flags.rename))
    renamed = options.names()
    sessions = [NwbSession(Path(path), names, renamed=renamed) for path in flags.nwb]
    out = Path(flags.out)
    with bars() as on_trial:
        convert_all(sessions, out, options=options, on_trial=on_trial)
    _report(out)
    return DONE


def _report(store: Path) -> None:
    """Print what was noted of every session of a store."""
    from sensorium_jax.data.format import open_store

    sessions = open_store(store).sessions
    for session in sessions:
        for note in session.provenance.get("notes", []):
            print(f"{session.name}: {note}")
        if error := session.provenance.get("float16_error"):
            print(
                f"{session.name}: float16 is off by {error['relative_rms']:.1e} of the responses' "
                f"root mean square, {error['largest']:.2g} at most"
            )
    print(f"{len(sessions)} sessions in {store}")


def _raw_parser() -> Parser:
    parser = Parser("prepare raw", _RAW)
    add = parser.add_argument
    add("--raw", required=True, metavar="RAW", help="folder of sessions or zips, or one of them")
    add("--out", required=True, metavar="STORE", help="folder of the store")
    add(
        "--sessions",
        metavar="NAME,...",
        help="only these, by name, without -Video-... if you like, as in "
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
    _add_shared(parser)
    return parser


def _nwb_parser() -> Parser:
    parser = Parser("prepare nwb", _NWB)
    add = parser.add_argument
    add("--nwb", required=True, nargs="+", metavar="FILE", help="NWB files, a mouse each")
    add("--out", required=True, metavar="STORE", help="folder of the store")
    add(
        "--stimulus",
        metavar="NAME",
        help="the film, by name or path in the file (default: the only one)",
    )
    add("--response", metavar="NAME", help="the RoiResponseSeries, likewise")
    add("--pupil-size", metavar="NAME", help="a TimeSeries (default: zeros)")
    add("--running-speed", metavar="NAME", help="a TimeSeries (default: zeros)")
    add("--pupil-center", metavar="NAME", help="a TimeSeries of x and y (default: zeros)")
    add("--tier", default="tier", metavar="COLUMN", help="of the trial table (default tier)")
    add(
        "--grey-levels",
        metavar="LOW:HIGH",
        help="the film's numbers that are black and white, scaled to 0 and 255, as in 0:1",
    )
    add(
        "--resample",
        action="store_true",
        help="put a film of another rate on 30 Hz: the image on the screen at every 1/30 s",
    )
    _add_shared(parser)
    return parser


def _add_shared(parser: Parser) -> None:
    parser.add_argument(
        "--fill-gaps",
        type=float,
        metavar="SECONDS",
        help="interpolate behaviour over NaN, such as blinks, in gaps of at most this long "
        "(default: a gap is an error)",
    )
    parser.add_argument(
        "--rename",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="call a session NEW, where OLD is its name or that of its file; may be repeated",
    )
