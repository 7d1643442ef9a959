"""Fetch the recordings of the SENSORIUM 2023 release and unzip them.

    sensorium-jax fetch --out RAW                 the five new mice, 48 GB of zips
    sensorium-jax fetch --out RAW --mice A,F      a pair that saw the same clips
    sensorium-jax fetch --list                    what there is, without fetching

Broken off at any moment, the same command resumes where it stopped. Every mouse becomes a folder in
RAW, its zip is removed (--keep-zips keeps it), and RAW/manifest.json says where it came from. Then:

    sensorium-jax prepare raw --raw RAW --out STORE
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from sensorium_jax import protocol
from sensorium_jax.cli.parser import Parser
from sensorium_jax.cli.programs import exit_code
from sensorium_jax.errors import DONE, USER_ERROR, UserError, one_line
from sensorium_jax.pages.terminal import Console, byte_bars, make_console, show
from sensorium_jax.prepare import download
from sensorium_jax.prepare.raw_files import TIERS_FILE
from sensorium_jax.tables import Row, Table


def main(argv: Sequence[str]) -> int:
    """Run the subcommand."""
    flags = _parser().parse_args(argv)
    return exit_code(lambda: run(flags))


def run(flags) -> int:
    """Fetch what is missing; 2 if a mouse could not be fetched."""
    console = make_console()
    mice = download.choose_mice(flags.mice, flags.server)
    if flags.list:
        _show(mice, console)
        return DONE
    if not flags.out:
        raise UserError("expected --out, a folder for the recordings; or --list")
    out = Path(flags.out)
    missing = [mouse for mouse in mice if not (out / mouse.session / TIERS_FILE).exists()]
    for mouse in mice:
        if mouse not in missing:
            console.print(f"{mouse.letter} is there already: {out / mouse.session}")
    if not missing:
        return DONE
    console.print(download.LICENCE)
    _show(missing, console)
    if not flags.yes and not _agreed():
        return USER_ERROR
    out.mkdir(parents=True, exist_ok=True)
    options = {"keep_zip": flags.keep_zips, "any_checksum": flags.any_checksum}
    return _fetch_all(missing, out, console, options)


def _fetch_all(
    mice: Sequence[download.Mouse], out: Path, console: Console, options: dict[str, bool]
) -> int:
    code = DONE
    with byte_bars(console) as on_bytes:
        for mouse in mice:
            try:
                download.fetch_mouse(mouse, out, on_bytes=on_bytes, **options)
            except Exception as error:  # the other mice are still worth fetching
                console.print(f"error: {mouse.letter}: {one_line(error)}", style="red")
                code = USER_ERROR
    return code


def _show(mice: Sequence[download.Mouse], console: Console) -> None:
    """Sizes and addresses."""
    header = "mouse", "set", "zip, GB", "unzipped, GB"
    rows = [
        (m.letter, m.set, str(download.ZIP_GB.get(m.letter, "?")), f"about {m.unzipped_gb:.0f}")
        for m in mice
    ]
    show(Table(header, tuple(map(Row, rows))), console)
    for mouse in mice:
        console.print(mouse.url)


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise UserError("expected a person to agree to the licence; or say --yes")
    return input("Fetch them? [y/N] ").strip().lower() in ("y", "yes")


def _parser() -> Parser:
    parser = Parser("fetch", __doc__)
    add = parser.add_argument
    add("--out", metavar="RAW", help="folder for the session folders")
    add(
        "--mice",
        default=",".join(protocol.NEW_MICE),
        help="letters of A to J; F to J are the competition's mice, A to E have the responses of "
        "all tiers (default F,G,H,I,J)",
    )
    add("--list", action="store_true", help="print what there is, and end")
    add("--yes", action="store_true", help="agree to the licence; do not ask")
    add("--keep-zips", action="store_true", help="keep the zips beside the folders")
    add(
        "--any-checksum",
        action="store_true",
        help="take zips whose SHA-256 is not the one that somebody measured",
    )
    add("--server", default=download.SERVER, help=f"of a mirror (default {download.SERVER})")
    return parser
