"""How like the release's mice the simulated ones are: a page of pictures, and distances.

    python benchmarks/simulated_mice.py --out simulated_mice.html [--mice B,F] [--neurons 300]
        [--json FILE] [--plot FILE]

Draws neurons like those of each mouse, shows them 350 natural clips and the released drifting
Gabors, and measures them as the real ones were. The real distributions are those of 512 neurons a
mouse in sensorium_jax/simulate/calibration.npz (metadata of bryanlimy/ViV1T-closed-loop).
About half a minute a mouse.

KS: Kolmogorov-Smirnov, the largest difference of the cumulative distributions. W: Wasserstein, the
mean shift from one to the other, in standard deviations of the real one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import record
from rich.console import Console
from rich.progress import track
from rich.table import Table

from sensorium_jax import protocol
from sensorium_jax.errors import one_line
from sensorium_jax.pages import page
from sensorium_jax.simulate import calibration, measures
from sensorium_jax.simulate.release import check

LOGARITHMIC = ("mean", "std")
UNITS = {"x": "um", "y": "um", "depth": "um"}


def main(argv: list[str] | None = None) -> int:
    """Measure, print the distances and write the page."""
    flags = _parser().parse_args(argv)
    try:
        letters = flags.mice.split(",")
        for letter in letters:
            check(letter, neurons=flags.neurons)
        mice = {letter: _measure(letter, flags) for letter in track(letters, description="mice")}
        _write(mice, Path(flags.out), flags)
        record.write(flags, _found(mice, flags), _draw)
    except Exception as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    Console().print(_table(mice))
    print(f"page: {flags.out}")
    return 0


def _measure(letter: str, flags: argparse.Namespace) -> tuple:
    """The real mouse, the simulated population, and what was measured of it."""
    real = calibration.target(letter)
    population = calibration.make_population_like(letter, flags.neurons, seed=flags.seed)
    return real, population, measures.measure(population, real, clips=flags.clips)


def _table(mice: dict) -> Table:
    table = Table(title="simulated against real neurons: Kolmogorov-Smirnov distances")
    table.add_column("mouse")
    for name in measures.quantities(next(iter(mice.values()))[0]):
        table.add_column(name, justify="right")
    for letter, (real, _, simulated) in mice.items():
        distances = measures.distances(simulated, real).values()
        table.add_row(letter, *(f"{d.ks:.2f}" for d in distances))
    return table


def _found(mice: dict, flags: argparse.Namespace) -> dict:
    """Distances of every mouse and quantity."""
    distances = {
        letter: {
            name: {"ks": float(d.ks), "wasserstein": float(d.wasserstein)}
            for name, d in measures.distances(simulated, real).items()
        }
        for letter, (real, _, simulated) in mice.items()
    }
    size = {name: getattr(flags, name) for name in ("neurons", "clips", "seed")}
    return {"size": size, "distances": distances}


def _draw(found: dict):
    """A dot for every mouse's Kolmogorov-Smirnov distance, by quantity."""
    figure = page.make_figure(7, 3.5)
    axes = figure.subplots()
    for letter, distances in found["distances"].items():
        axes.plot([d["ks"] for d in distances.values()], range(len(distances)), "o", label=letter)
    axes.set(yticks=range(len(distances)), yticklabels=distances, xlim=(0, None))
    axes.set_xlabel("Kolmogorov-Smirnov distance of simulated from real neurons")
    axes.invert_yaxis()
    figure.legend(loc="outside right", title="mouse")
    return figure


def _write(mice: dict, path: Path, flags: argparse.Namespace) -> None:
    sections = [_section(letter, *mouse) for letter, mouse in mice.items()]
    page.write(path, "Simulated mice", _ABOUT.format(count=flags.neurons), *sections)


def _section(letter: str, real, population, simulated) -> str:
    distances = measures.distances(simulated, real)
    rows = [
        [label, *(f"{getattr(d, name):.3f}" for d in distances.values())]
        for label, name in (("KS", "ks"), ("W", "wasserstein"))
    ]
    levels = (
        f"Grey levels of natural clips: {simulated.video[0]:.1f} and {simulated.video[1]:.1f} "
        f"(mean and std; real: {real.video[0]:.1f} and {real.video[1]:.1f})."
    )
    drawn = page.figure(_figure(real, population, simulated), f"Mouse {letter}. {levels}")
    return f"<h2>Mouse {letter}</h2>{drawn}{page.table(['', *distances], rows)}"


@page.style()
def _figure(real, population, simulated):
    """Cumulative distributions and the map of receptive fields."""
    ours, theirs = measures.quantities(simulated), measures.quantities(real)
    figure = page.make_figure(14, 6)
    panels = figure.subplots(2, 5).ravel()
    for axes, name in zip(panels, ours, strict=False):
        for values, style in (
            (theirs, {"color": page.INK, "lw": 2.5, "alpha": 0.5}),
            (ours, {"color": "C3"}),
        ):
            x = np.sort(values[name])
            axes.plot(x, np.linspace(0, 1, len(x)), **style)
        axes.set_xlabel(f"{name} ({UNITS[name]})" if name in UNITS else name)
        if name in LOGARITHMIC:
            axes.set_xscale("log")
    panels[0].legend(("real", "simulated"))
    panels[0].set_ylabel("share of neurons below")
    _map(panels[-1], population)
    return figure


def _map(axes, population) -> None:
    """Where on the screen neurons look, coloured by their place along the cortex."""
    x, y = population.center_px.T
    axes.scatter(x, y, c=population.position_um[:, 0], s=6)
    axes.set(xlim=(0, 64), ylim=(36, 0), xlabel="receptive field, x (px)", ylabel="y (px)")
    axes.set_title("colour: cortical x (simulated)", fontsize=9)
    axes.set_aspect("equal")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", default="simulated_mice.html", help="the page (default simulated_mice.html)")
    add("--mice", default=",".join(protocol.SESSIONS), help="letters (default all ten)")
    add("--neurons", type=int, default=300, help="of every mouse (default 300)")
    add("--clips", type=int, default=350, help="natural clips shown (default 350, as in training)")
    add("--seed", type=int, default=0)
    record.add_flags(parser)
    return parser


_ABOUT = """<h1>Simulated mice against real ones</h1>
<p>{count} simulated neurons of every mouse, measured as the real ones were: responses to natural
clips (raw scale), and tuning to the released drifting Gabors. Real: 512 neurons of every mouse from
public metadata of bryanlimy/ViV1T-closed-loop (MIT); selectivity is known of the mice B, C and E,
and pooled over these for the others. KS: largest difference of the cumulative distributions. W:
mean shift from one to the other in standard deviations of the real one.</p>"""


if __name__ == "__main__":
    sys.exit(main())
