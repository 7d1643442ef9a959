"""What the questions share: training named variants of one experiment, and writing a page."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags, logging
from rich.console import Console
from scipy.special import stdtrit

from experiments import run as runs
from sensorium_jax import compare, load_recordings, pages, protocol, uncertainty
from sensorium_jax.experiment import Experiment
from sensorium_jax.figures import COLOUR
from sensorium_jax.files import write_json
from sensorium_jax.programs import use_huge_pages
from sensorium_jax.report import ALL, Report

SEEDS = flags.DEFINE_integer("seeds", 2, "of every model that is compared", lower_bound=1)

Sessions = Sequence[np.ndarray]  # moments [K 6 N] of each mouse's clips


class Check(NamedTuple):
    """What the truth of simulated mice demands of an answer, and whether the answer agrees."""

    expected: str
    agrees: bool

    def __str__(self) -> str:
        return f"{'agrees' if self.agrees else 'does NOT agree'}: {self.expected}"


class Study:
    """Runs of one question, in ``--workdir`` (default: runs/questions-SIZE).

    Attributes:
        console: where it prints.
        size: of the models, "demo" or "published".
        folder: where runs and pages go.
        store: what models are trained on.
        embedded: whether these are the mice that come with the package, which have a control.
        simulated: whether they are simulated, so that the truth is known.
    """

    def __init__(self):
        self.console = Console(soft_wrap=True, highlight=False)
        self.size = runs.chosen_size()
        self.folder = Path(runs.workdir() or f"runs/questions-{self.size}").resolve()
        self.embedded = runs.data() is None
        self.store = runs.store_path(self.console)
        self.simulated = load_recordings(self.store).simulated
        self._reports: dict[str, list[Report]] = {}  # of every seed
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
            self.console.rule(self.run(name, seed).name)
            one = dataclasses.replace(experiment, seed=experiment.seed + seed)
            place = {"store": store or self.store}
            reports.append(
                runs.complete(one, self.run(name, seed), self.console, **place, **options)
            )
        self._reports[name] = reports
        return reports[0]

    def compare(self, a: str, b: str, *, tier: str = protocol.ORACLE) -> compare.Difference:
        """``b`` minus ``a`` on a tier, mean over seeds: of models trained before.

        The interval is over clips, neurons and, where models were trained with several, seeds
        (``interval_of``): train all models of a question first.
        """
        seeds = range(len(self._reports[a]))
        pairs = [compare.read_pair(self.run(a, seed), self.run(b, seed)) for seed in seeds]
        of_tier = [[[run[key] for key in run if key[0] == tier] for run in pair] for pair in pairs]
        means = [compare.means(*pair) for pair in of_tier]
        scores = [[r.by_neuron(tier) for r in reports] for reports in self._reports.values()]
        low, high = interval_of(*zip(*of_tier, strict=True), scores=scores)
        mean = {name: float(np.mean([m[name] for m in means])) for name in means[0]}
        return compare.Difference(tier, ALL, low=low, high=high, **mean)

    def run(self, name: str, seed: int = 0) -> Path:
        """The workdir of a model."""
        return self.folder / (name if seed == 0 else f"{name}-seed{seed}")

    def page(
        self,
        name: str,
        title: str,
        answer: str,
        *body: str,
        numbers: dict[str, Any],
        checks: Sequence[Check] = (),
    ) -> None:
        """Write ``folder/name.html`` and ``.json``, and say the answer.

        Each line of the answer is a paragraph. ``numbers`` are the answer's; ``checks`` compare it
        with the truth of simulated mice.
        """
        banner = (
            '<p class="banner">Simulated mice: a check of the method, no result on mice.</p>'
            if self.simulated
            else ""
        )
        path = self.folder / f"{name}.html"
        said = (f"<p>{line}</p>" for line in answer.splitlines())
        head = f"<h1>{title}</h1>", banner, *said, *_against_truth(checks)
        pages.write(path, title, *head, *body)
        record = {
            "question": title,
            "simulated": self.simulated,
            "answer": answer,
            "numbers": numbers,
            "truth": [check._asdict() for check in checks],
        }
        write_json(path.with_suffix(".json"), _plain(record))
        self.console.rule(title)
        self.console.print(answer)
        for check in checks:
            self.console.print(f"The truth {check}.")
        self.console.print(f"Page: {path}")


def interval_of(
    a: Sequence[Sessions], b: Sequence[Sessions], *, scores: Iterable[Sequence[float]]
) -> tuple[float, float]:
    """The 95 % interval of b - a over clips, neurons and seeds.

    Training again moves a score as much as many a difference does, and two seeds do not say how
    much: that is pooled over all models. Its share, Student's t times the standard error, is added
    in squares to the distances of the ends of the interval over clips and neurons (MOVER: Zou &
    Donner 2008, "Construction of confidence limits about effect measures", Stat. Med. 27:1693).

    Args:
        a: moments of the mice's clips, for each seed.
        b: of the other model.
        scores: by seed, of every model of the study; where none has two, seeds are not counted.
    """
    draws = [uncertainty.bootstrap(y) - uncertainty.bootstrap(x) for x, y in zip(a, b, strict=True)]
    draws = np.mean(draws, axis=0)
    low, high = uncertainty.interval(draws)
    middle = float(draws.mean())
    several = [s for s in scores if len(s) > 1]
    seeds = 0.0
    if several:
        freedom = sum(len(s) - 1 for s in several)
        variance = sum(np.var(s, ddof=1) * (len(s) - 1) for s in several) / freedom
        error = math.sqrt(2 * variance / len(a))
        seeds = stdtrit(freedom, 0.5 * (1 + uncertainty.LEVEL)) * error
    return middle - math.hypot(middle - low, seeds), middle + math.hypot(high - middle, seeds)


def _against_truth(checks: Sequence[Check]) -> list[str]:
    lines = [
        f'<p class="{"note" if check.agrees else "error"}"><b>The truth</b> {check}.</p>'
        for check in checks
    ]
    return ["<h2>Against the truth</h2>", *lines] if lines else []


def _plain(value: Any) -> Any:
    """JSON values: numbers that are none become null."""
    if isinstance(value, dict):
        return {key: _plain(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(x) for x in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


@pages.style()
def gains(found: dict[str, compare.Difference]):
    """A figure of differences by name: b minus a, and its interval."""
    figure = pages.make_figure(8, 0.8 + 0.4 * len(found))
    axes = figure.subplots()
    for y, d in enumerate(reversed(found.values())):
        axes.plot([d.low, d.high], [y, y], color=COLOUR, lw=3, alpha=0.6)
        axes.plot(d.b - d.a, y, "o", color=COLOUR)
    axes.axvline(0, color=pages.INK, lw=0.8)
    axes.set_yticks(range(len(found)), list(reversed(found)))
    axes.set_xlabel("gain in single-trial correlation")
    return figure


def verdict(difference: compare.Difference, what: str, *, seeds: int) -> str:
    """A line on whether ``what`` helps, going by the interval of ``Study.compare``."""
    d = difference
    over = "" if seeds > 1 else " over clips and neurons; seeds of training are not counted"
    amount = f"{d.b - d.a:+.4f} (95 % interval {d.low:+.4f} to {d.high:+.4f}{over})"
    if d.low > 0:
        return f"{what}: helps, {amount}."
    if d.high < 0:
        return f"{what}: hurts, {amount}."
    return f"{what}: no advantage found, {amount}."


def main(answer: Callable[[Study], None]) -> None:
    """Run a question as a program."""
    use_huge_pages()

    def body(argv: list[str]) -> None:
        logging.set_verbosity(logging.FATAL)
        sys.exit(runs.exit_code_of(lambda: answer(Study()), argv))

    for module in (runs.__name__, __name__):
        for flag in flags.FLAGS.flags_by_module_dict()[module]:
            flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)  # shown by --help
    app.run(body)
