"""What the questions share: training named variants of one experiment, and writing a page."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

from sensorium_jax import protocol
from sensorium_jax.configs import load_config
from sensorium_jax.data.recordings import load_recordings
from sensorium_jax.errors import UserError
from sensorium_jax.experiment import Experiment, override
from sensorium_jax.files import write_json
from sensorium_jax.pages import page
from sensorium_jax.pages.terminal import Console, make_console
from sensorium_jax.scores import compare, intervals
from sensorium_jax.scores.report import Report
from sensorium_jax.scores.score import ALL
from sensorium_jax.training.complete import complete, default_store
from sensorium_jax.training.loop import OnScore

Sessions = Sequence[np.ndarray]  # moments [K 6 N] of each mouse's clips


class Check(NamedTuple):
    """What the truth of simulated mice demands of an answer, and whether the answer agrees."""

    expected: str
    agrees: bool

    def __str__(self) -> str:
        return f"{'agrees' if self.agrees else 'does NOT agree'}: {self.expected}"


class Study:
    """Runs of one question.

    Attributes:
        console: where it prints.
        size: of the models, "demo" or "published".
        folder: where runs and pages go.
        store: what models are trained on.
        embedded: whether these are the mice that come with the package, which have a control.
        recordings: the sessions that models are trained on.
        seeds: trainings of every model that is compared.
    """

    def __init__(
        self,
        *,
        size: str = "demo",
        folder: str | Path,
        store: str | Path | None = None,
        tiers: str | Path | None = None,
        devices: int | None = None,
        seeds: int = 2,
        changes: Sequence[str] = (),
        console: Console | None = None,
    ):
        """Open the recordings; ``changes`` are assignments as ``override`` takes them.

        ``store`` None is the embedded default; ``tiers`` and ``devices`` as in ``complete``.

        Raises:
            UserError: no such store or table, or fewer than one seed.
        """
        if seeds < 1:
            raise UserError(f"expected at least 1 of --seeds, got {seeds}")
        self.console = console or make_console()
        self.size, self.folder, self.seeds = size, Path(folder), seeds
        self.embedded = store is None
        self.store = Path(store or default_store(self.console))
        self.recordings = load_recordings(self.store, tiers=tiers)
        self._tiers, self._devices, self._changes = tiers, devices, changes
        self._reports: dict[str, list[Report]] = {}  # of every seed

    @property
    def simulated(self) -> bool:
        """Whether the mice are simulated, so that the truth is known."""
        return self.recordings.simulated

    def config(self, name: str) -> Experiment:
        """An experiment by name at this study's size, with its changes."""
        return functools.reduce(override, self._changes, load_config(name, self.size))

    def train(
        self,
        name: str,
        experiment: Experiment,
        *,
        store: Path | None = None,
        seeds: int = 1,
        on_score: OnScore = lambda epoch, score: None,
    ) -> Report:
        """Train, or resume, and score; return the Report of the first seed, run ``folder/name``.

        A ``store`` other than the study's has its own tiers. ``on_score`` as in ``complete``.
        """
        reports = []
        for seed in range(seeds):
            self.console.rule(self.run(name, seed).name)
            report = complete(
                dataclasses.replace(experiment, seed=experiment.seed + seed),
                self.run(name, seed),
                store=store or self.store,
                tiers=self._tiers if store is None else None,
                devices=self._devices,
                console=self.console,
                on_score=on_score,
            )
            reports.append(report)
        self._reports[name] = reports
        return reports[0]

    def compare(self, a: str, b: str, *, tier: str = protocol.ORACLE) -> compare.Difference:
        """``b`` minus ``a`` on a tier, mean over seeds: of models trained before.

        The interval is over clips, neurons and, where models were trained with several, seeds
        (``interval_of``): train all models of a question first.
        """
        seeds = range(len(self._reports[a]))
        pairs = [compare.read_pair(self.run(a, seed), self.run(b, seed)) for seed in seeds]
        clips = [[[run[key] for key in run if key[0] == tier] for run in pair] for pair in pairs]
        means = [compare.means(*pair) for pair in clips]
        scores = [[r.by_neuron(tier) for r in reports] for reports in self._reports.values()]
        low, high = interval_of(*zip(*clips, strict=True), scores=scores)
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
        page.write(path, title, *head, *body)
        record = {
            "question": title,
            "simulated": self.simulated,
            "answer": answer,
            "numbers": numbers,
            "truth": [check._asdict() for check in checks],
        }
        write_json(path.with_suffix(".json"), record)
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
    draws = [intervals.bootstrap(y) - intervals.bootstrap(x) for x, y in zip(a, b, strict=True)]
    draws = np.mean(draws, axis=0)
    low, high = intervals.interval(draws)
    middle = float(draws.mean())
    repeated = [s for s in scores if len(s) > 1]
    seeds = 0.0
    if repeated:
        freedom = sum(len(s) - 1 for s in repeated)
        variance = sum(np.var(s, ddof=1) * (len(s) - 1) for s in repeated) / freedom
        error = math.sqrt(2 * variance / len(a))
        seeds = stdtrit(freedom, 0.5 * (1 + intervals.LEVEL)) * error
    return middle - math.hypot(middle - low, seeds), middle + math.hypot(high - middle, seeds)


def _against_truth(checks: Sequence[Check]) -> list[str]:
    lines = [
        f'<p class="{"note" if check.agrees else "error"}"><b>The truth</b> {check}.</p>'
        for check in checks
    ]
    return ["<h2>Against the truth</h2>", *lines] if lines else []


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
