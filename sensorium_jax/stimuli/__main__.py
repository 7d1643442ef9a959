"""Draw the out-of-domain stimuli: a sheet of stills, a film and a table of conditions each.

    python -m sensorium_jax.stimuli --out FOLDER
    python -m sensorium_jax.stimuli --out FOLDER --family drifting_gabor --set sigma_px=8
    python -m sensorium_jax.stimuli --family random_dots --parameters

Needs pip install -e '.[pictures]'. Equal seeds give equal frames. In code:

    from sensorium_jax import stimuli
    video, segments = stimuli.make_clip(stimuli.DriftingGabor(sigma_px=8), rng)
"""

from __future__ import annotations

import argparse
import ast
import csv
import dataclasses
import difflib
import sys
from pathlib import Path

import numpy as np
from rich.progress import track

from sensorium_jax import stimuli
from sensorium_jax.errors import UserError
from sensorium_jax.files import whole_file
from sensorium_jax.programs import exit_code
from sensorium_jax.stimuli import pictures


def main(argv: list[str] | None = None) -> int:
    """Run the program; 0 when all is drawn, 2 for bad input."""
    flags = _parser().parse_args(argv)
    return exit_code(lambda: _run(flags))


def _run(flags: argparse.Namespace) -> int:
    families = _families(flags)
    if flags.parameters:
        for name, family in families.items():
            print(f"{name}: {type(family).__name__}\n{type(family).__doc__}")
            print("\n".join(f"    {f} = {v}" for f, v in vars(family).items()))
        return 0
    if not flags.out:
        raise UserError("expected --out, a folder for the pictures; or --parameters")
    for name in track(families, description="drawing"):
        _draw(name, families[name], Path(flags.out), flags)
    print(f"{len(families)} families in {flags.out}")
    return 0


def _draw(name: str, family: stimuli.Family, out: Path, flags: argparse.Namespace) -> None:
    out.mkdir(parents=True, exist_ok=True)
    stimulus = stimuli.make_clip(family, np.random.default_rng(flags.seed))
    pictures.contact_sheet(stimulus, out / f"{name}.png", title=name.replace("_", " "))
    pictures.save_movie(stimulus.video, out / f"{name}.{flags.format}")
    with whole_file(out / f"{name}.csv") as beside, beside.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["first_frame", "frames", *stimulus.segments[0].condition._fields])
        writer.writerows([*segment[:2], *segment.condition] for segment in stimulus.segments)


def _families(flags: argparse.Namespace) -> dict[str, stimuli.Family]:
    names = flags.family.split(",") if flags.family else list(stimuli.OOD)
    for name in names:
        if name not in stimuli.OOD:
            near = difflib.get_close_matches(name, stimuli.OOD, n=1, cutoff=0.3)
            known = f"did you mean {near[0]}?" if near else f"there are: {', '.join(stimuli.OOD)}"
            raise UserError(f"no family {name!r}; {known}")
    if flags.set and len(names) != 1:
        raise UserError("expected one --family to change parameters of with --set")
    changes = dict(map(_assignment, flags.set))
    if flags.images:
        changes_of = {"natural_images": {"folder": Path(flags.images)}}
        if "natural_images" not in names:
            raise UserError("expected the family natural_images with --images")
    else:
        changes_of = {}
    return {name: _replace(stimuli.OOD[name], changes | changes_of.get(name, {})) for name in names}


def _replace(family: stimuli.Family, changes: dict) -> stimuli.Family:
    known = [field.name for field in dataclasses.fields(family)]
    for name in changes:
        if name not in known:
            raise UserError(
                f"no parameter {name!r} of {type(family).__name__}; there are: {', '.join(known)}"
            )
    try:
        return dataclasses.replace(family, **changes)
    except TypeError as error:
        raise UserError(f"expected numbers like the default's, got {changes} ({error})") from None


def _assignment(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        raise UserError(f"expected NAME=NUMBER or NAME=(NUMBER, ...), got {text!r}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sensorium_jax.stimuli",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--out", metavar="FOLDER", help="where the pictures go")
    add("--family", help=f"of {', '.join(stimuli.OOD)} (default: all, in a list with commas)")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="change a parameter")
    add("--parameters", action="store_true", help="print the parameters and their sources, and end")
    add("--seed", type=int, default=0, help="of the clip (default 0)")
    add("--format", choices=("gif", "mp4"), default="gif", help="of the film (default gif)")
    add("--images", metavar="FOLDER", help="of images to flash in natural_images")
    return parser


if __name__ == "__main__":
    sys.exit(main())
