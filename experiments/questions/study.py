"""What the questions share: training named variants of one experiment, and writing a page."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

from absl import app, flags, logging
from rich.console import Console

from experiments import run as runs
from sensorium_jax import compare, pages
from sensorium_jax.experiment import Experiment
from sensorium_jax.report import Report

DEMO_EPOCHS = 3  # half of the demo's: differences show, and a question takes minutes


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
        experiment = runs.load_config(name, self.size)
        if self.size == "demo":
            experiment = dataclasses.replace(experiment, max_epochs=DEMO_EPOCHS)
        return runs.with_overrides(experiment)

    def train(
        self, name: str, experiment: Experiment, *, store: Path | None = None, **options
    ) -> Report:
        """Train, or go on, and score; the run is ``folder/name``. ``options`` go to ``train``."""
        self.console.rule(name)
        place = {"store": store or self.store}
        return runs.complete(experiment, self.folder / name, self.console, **place, **options)

    def compare(self, a: str, b: str, *, tier: str = "oracle") -> compare.Difference:
        """Run ``b`` minus run ``a`` over all mice."""
        found = compare.compare(self.folder / a, self.folder / b)
        return next(d for d in found if d.tier == tier and d.session == "all")

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
    """One sentence on whether ``what`` helps."""
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

    for flag in flags.FLAGS.flags_by_module_dict()[runs.__name__]:
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)  # shown by --help
    app.run(body)
