"""What the questions share: training named variants of one experiment, and writing a page."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import app, flags, logging
from rich.console import Console

from experiments import run as runs
from sensorium_jax import compare, pages, results, uncertainty
from sensorium_jax.experiment import Experiment
from sensorium_jax.report import Report

SEEDS = flags.DEFINE_integer("seeds", 2, "of every model that is compared")


class Study:
    """Runs of one question, in ``--workdir`` (default: runs/questions-SIZE)."""

    def __init__(self):
        self.console = Console(soft_wrap=True, highlight=False)
        self.size = runs.chosen_size()
        self.folder = Path(runs.workdir() or f"runs/questions-{self.size}").resolve()
        self.simulated = runs.data() is None
        self.store = runs.store_path(self.console)
        runs.use_compilation_cache(self.console)

    def config(self, name: str) -> Experiment:
        """An experiment of experiments/configs at this study's size."""
        return runs.with_overrides(runs.load_config(name, self.size))

    def train(
        self,
        name: str,
        experiment: Experiment,
        *,
        store: Path | None = None,
        seeds: int = 1,
        **options,
    ) -> Report:
        """Train, or go on, and score; return the Report of the first seed, run ``folder/name``.

        ``options`` go to ``train``.
        """
        reports = []
        for seed in range(seeds):
            self.console.rule(self._run(name, seed).name)
            one = dataclasses.replace(experiment, seed=experiment.seed + seed)
            place = {"store": store or self.store}
            reports.append(
                runs.complete(one, self._run(name, seed), self.console, **place, **options)
            )
        return reports[0]

    def compare(self, a: str, b: str, *, seeds: int = 1) -> compare.Difference:
        """``b`` minus ``a`` on the oracle tier, mean over seeds.

        The interval is over clips, neurons and, if there are several, seeds drawn again. Training
        again moves a score as much as many a difference does.
        """
        found, draws = [], []
        for seed in range(seeds):
            pair = self._run(a, seed), self._run(b, seed)
            found.append(compare.compare(*pair)[0])
            moments = [
                [x for (tier, _), x in results.read_moments(run).items() if tier == found[0].tier]
                for run in pair
            ]
            draws.append(uncertainty.bootstrap(moments[1]) - uncertainty.bootstrap(moments[0]))
        draws = np.stack(draws)  # [seeds draws]
        again = np.random.default_rng(0).integers(0, seeds, draws.shape)
        low, high = uncertainty.interval(np.take_along_axis(draws, again, 0).mean(0))
        mean = {k: float(np.mean([getattr(d, k) for d in found])) for k in ("a", "b", "better")}
        return found[0]._replace(low=low, high=high, **mean)

    def _run(self, name: str, seed: int) -> Path:
        return self.folder / (name if seed == 0 else f"{name}-seed{seed}")

    def page(self, name: str, title: str, answer: str, *body: str) -> None:
        """Write ``folder/name.html`` and say the answer."""
        banner = (
            '<p class="banner">Simulated mice: a check of the method, no result on mice.</p>'
            if self.simulated
            else ""
        )
        path = self.folder / f"{name}.html"
        pages.write(path, title, f"<h1>{title}</h1>", banner, f"<p>{answer}</p>", *body)
        self.console.rule(title)
        self.console.print(answer)
        self.console.print(f"Page: {path}")


def verdict(difference: compare.Difference, what: str) -> str:
    """One sentence on whether ``what`` helps, going by the interval of ``Study.compare``."""
    d = difference
    amount = f"{d.b - d.a:+.4f} (95 % interval {d.low:+.4f} to {d.high:+.4f})"
    if d.low > 0:
        return f"{what} helps: {amount}."
    if d.high < 0:
        return f"{what} hurts: {amount}."
    return f"No advantage of {what} was found: {amount}."


def main(answer: Callable[[Study], None]) -> None:
    """Run a question as a program."""

    def body(argv: list[str]) -> None:
        logging.set_verbosity(logging.FATAL)
        sys.exit(runs.exit_code_of(lambda: answer(Study()), argv))

    for module in (runs.__name__, __name__):
        for flag in flags.FLAGS.flags_by_module_dict()[module]:
            flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)  # shown by --help
    app.run(body)
