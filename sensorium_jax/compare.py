"""Compare two runs on the same trials.

    python -m sensorium_jax.compare RUN_A RUN_B [--score to_average] [--json FILE]

A run is a workdir that experiments/run.py has scored. For every tier: the correlation of both, in
single trials or of averages over repeats, B minus A with its 95 % interval, and the share of
neurons that B predicts better. The interval is over clips and neurons, drawn alike for both runs,
so that what is hard for both does not blur their difference. It says nothing of other mice, or of
training again with another seed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from sensorium_jax import results, uncertainty
from sensorium_jax.errors import UserError
from sensorium_jax.files import write_json
from sensorium_jax.metrics import OF_RESPONSE, correlate
from sensorium_jax.programs import exit_code
from sensorium_jax.report import ALL, DRAWN, SHOWN, SINGLE_TRIAL


class Difference(NamedTuple):
    """Two runs on one tier, of one session or of all: correlations, mean over neurons.

    ``low`` and ``high`` are the 95 % interval of b - a over clips and neurons (``uncertainty``);
    ``better`` is the share of neurons that b predicts better.
    """

    tier: str
    session: str
    a: float
    b: float
    low: float
    high: float
    better: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def compare(run_a: str | Path, run_b: str | Path, *, field: str = SINGLE_TRIAL) -> list[Difference]:
    """Differences by tier, of all sessions and of each.

    ``field`` is "single_trial" or "to_average".

    Raises:
        UserError: a run without scores, or runs that were not scored on the same trials.
    """
    a, b = read_pair(run_a, run_b, field=field)
    found = []
    for tier in dict.fromkeys(tier for tier, _ in a):
        sessions = [session for t, session in a if t == tier]
        for label, some in ((ALL, sessions), *((s, [s]) for s in sessions if len(sessions) > 1)):
            pair = [[moments[tier, s] for s in some] for moments in (a, b)]
            draws = [uncertainty.bootstrap(sessions) for sessions in pair]
            low, high = uncertainty.interval(draws[1] - draws[0])
            found.append(Difference(tier, label, low=low, high=high, **means(*pair)))
    return found


def read_pair(
    run_a: str | Path, run_b: str | Path, *, field: str = SINGLE_TRIAL
) -> tuple[results.Moments, results.Moments]:
    """The moments of two runs.

    Raises:
        UserError: a run without scores, or runs that were not scored on the same trials.
    """
    runs = Path(run_a), Path(run_b)
    a, b = (results.read_moments(run, field) for run in runs)
    for key in a.keys() | b.keys():
        tier, session = key
        if key not in a or key not in b:
            there, missing = runs if key in a else runs[::-1]
            raise UserError(
                f"expected runs of the same recording: {tier} of {session} is in {there}, and not "
                f"in {missing}; compare runs on one store"
            )
        same = a[key].shape == b[key].shape and all(
            np.allclose(a[key][:, i], b[key][:, i], rtol=1e-6, atol=1e-6) for i in (0, *OF_RESPONSE)
        )
        if not same:
            raise UserError(
                f"expected both runs scored on the same trials, found other responses in {tier} of "
                f"{session}; compare runs on one store and with one table of tiers"
            )
    return a, b


def means(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> dict[str, float]:
    """What ``Difference`` calls a, b and better, from moments [K 6 N] of each session's clips."""
    of_a, of_b = (np.concatenate([correlate(clips.sum(0)) for clips in run]) for run in (a, b))
    shares = {"a": of_a.mean(), "b": of_b.mean(), "better": (of_b > of_a).mean()}
    return {name: float(value) for name, value in shares.items()}


def table(differences: list[Difference], *, title: str, field: str = SINGLE_TRIAL) -> Table:
    """For the terminal."""
    out = Table(title=title, title_justify="left", caption_justify="left")
    out.caption = (
        f"Correlation ({SHOWN[field]}), mean over neurons. From, to: 95 % interval of B - A; bold "
        "where it leaves out 0.\nBetter: share of neurons that B predicts better."
    )
    out.add_column("tier / mouse", no_wrap=True, max_width=28)
    for name in ("A", "B", "B - A", "from", "to", "better"):
        out.add_column(name, justify="right", no_wrap=True)
    for d in differences:
        whole = d.session == ALL
        out.add_row(
            d.tier if whole else f"  {d.session.partition('-Video-')[0].removeprefix('dynamic')}",
            f"{d.a:.4f}",
            f"{d.b:.4f}",
            f"[bold]{d.b - d.a:+.4f}[/]" if d.clear else f"{d.b - d.a:+.4f}",
            f"{d.low:+.4f}",
            f"{d.high:+.4f}",
            f"{d.better:.0%}",
            style=None if whole else "dim",
        )
    return out


def main(argv: list[str] | None = None) -> int:
    """Run the program; 0 when all is well, 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m sensorium_jax.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_a", help="workdir of a scored run")
    parser.add_argument("run_b", help="workdir of another, on the same recording")
    parser.add_argument("--json", metavar="FILE", help="write the differences there too")
    parser.add_argument(
        "--score", choices=DRAWN, default=SINGLE_TRIAL, help="what is compared (single_trial)"
    )
    flags = parser.parse_args(argv)
    return exit_code(lambda: _main(flags))


def _main(flags: argparse.Namespace) -> int:
    console = Console()
    with console.status("drawing clips and neurons again"):
        differences = compare(flags.run_a, flags.run_b, field=flags.score)
    title = f"A: {flags.run_a}\nB: {flags.run_b}"
    console.print(table(differences, title=title, field=flags.score))
    if flags.json:
        write_json(Path(flags.json), [d._asdict() for d in differences])
    return 0


if __name__ == "__main__":
    sys.exit(main())
