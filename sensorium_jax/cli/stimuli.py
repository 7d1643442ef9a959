"""Draw the out-of-domain stimuli: a sheet of stills, a film and a table of conditions each.

    sensorium-jax stimuli --out FOLDER
    sensorium-jax stimuli --out FOLDER --family drifting_gabor --set sigma_px=8
    sensorium-jax stimuli --family random_dots --parameters

Needs pip install 'sensorium_jax[pictures]'. Equal seeds give equal frames. In code:

    from sensorium_jax import stimuli
    video, segments = stimuli.make_clip(stimuli.DriftingGabor(sigma_px=8), rng)
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import inspect
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sensorium_jax import protocol, stimuli
from sensorium_jax.cli.parser import Parser
from sensorium_jax.cli.programs import exit_code
from sensorium_jax.errors import UserError, hint
from sensorium_jax.experiment.fields import override
from sensorium_jax.files import check_output, whole_file
from sensorium_jax.pages import stimuli as pictures
from sensorium_jax.pages.terminal import bars


def main(argv: Sequence[str]) -> int:
    """Run the subcommand."""
    flags = _parser().parse_args(argv)
    return exit_code(lambda: run(flags))


def run(flags) -> int:
    """Draw the families, or print their parameters."""
    families = _families(flags)
    if flags.parameters:
        print("\n\n".join(map(_parameters, families.values())))
        return 0
    if not flags.out:
        raise UserError("expected --out, a folder for the pictures; or --parameters")
    if flags.seed < 0:
        raise UserError(f"expected a --seed of 0 or more, got {flags.seed}; change it")
    out = _folder(Path(flags.out))
    for name in families:
        _check_outputs(out, name, flags.format)
    with bars(transient=True) as on_progress:
        for done, (name, family) in enumerate(families.items(), start=1):
            _draw(name, family, out, flags)
            on_progress("drawing", done, len(families))
    print(f"{len(families)} families in {flags.out}")
    return 0


def _draw(name: str, family: stimuli.Family, out: Path, flags) -> None:
    stimulus = stimuli.make_clip(family, np.random.default_rng(flags.seed))
    pictures.contact_sheet(stimulus, out / f"{name}.png", title=name.replace("_", " "))
    pictures.save_movie(stimulus.video, out / f"{name}.{flags.format}")
    with whole_file(out / f"{name}.csv") as beside, beside.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["first_frame", "frames", *stimulus.segments[0].condition._fields])
        for first, frames, condition in stimulus.segments:
            writer.writerow([first, frames, *map(_short, condition)])


def _check_outputs(out: Path, name: str, film: str) -> None:
    """Raise ``UserError`` for files of a family that are not from an earlier drawing."""
    table = out / f"{name}.csv"
    check_output(table, b"first_frame,frames,")
    if not table.exists():
        for suffix in ("png", film):
            check_output(out / f"{name}.{suffix}")


def _folder(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"expected a folder as --out, {out} cannot be made ({error.strerror}); name another"
        ) from None
    return out


def _parameters(family: stimuli.Family) -> str:
    """What a family is, the sources and meanings of its parameters, and their values."""
    kind = type(family)
    about = inspect.getdoc(inspect.getmodule(kind)) or ""
    values = [f"    {name} = {_short(value)}" for name, value in vars(family).items()]
    return "\n".join([about, "", f"{kind.__name__}: {inspect.getdoc(kind)}", "", *values])


def _short(value: object) -> str:
    """A parameter to six digits: what follows is rounding."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_short, value))}{',' if len(value) == 1 else ''})"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _families(flags) -> dict[str, stimuli.Family]:
    names = flags.family.replace(" ", "").split(",") if flags.family else list(stimuli.OOD)
    for name in names:
        if name not in stimuli.OOD:
            raise UserError(f"no family {name!r}; {hint(name, stimuli.OOD)}")
    if flags.set and len(names) != 1:
        raise UserError("expected one --family to change parameters of with --set")
    if flags.images and protocol.NATURAL_IMAGES not in names:
        raise UserError("expected the family natural_images with --images")
    families = {name: functools.reduce(override, flags.set, stimuli.OOD[name]) for name in names}
    if flags.images:
        flashed = families[protocol.NATURAL_IMAGES]
        assert isinstance(flashed, stimuli.NaturalImages)
        families[protocol.NATURAL_IMAGES] = dataclasses.replace(flashed, folder=Path(flags.images))
    return families


def _parser() -> Parser:
    parser = Parser("stimuli", __doc__)
    add = parser.add_argument
    add("--out", metavar="FOLDER", help="where the pictures go")
    add("--family", metavar="NAME,...", help=f"of {', '.join(stimuli.OOD)} (default: all)")
    add(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a parameter of one family; may be given more than once",
    )
    add("--parameters", action="store_true", help="print the parameters and their sources, and end")
    add("--seed", type=int, default=0, help="of the clip (default 0)")
    add("--format", choices=("gif", "mp4"), default="gif", help="of the film (default gif)")
    add("--images", metavar="FOLDER", help="of images to flash in natural_images")
    return parser
