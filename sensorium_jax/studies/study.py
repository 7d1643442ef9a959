"""Functions that all studies share: training named models, comparing them, writing a page."""

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
    """An expected result for simulated mice, whose true rates are known, and whether it holds.

    Examples:
        >>> print(Check("simulated neurons filter over time: the past helps", agrees=True))
        agrees: simulated neurons filter over time: the past helps
    """

    expected: str
    agrees: bool

    def __str__(self) -> str:
        return f"{'agrees' if self.agrees else 'does NOT agree'}: {self.expected}"


class Study:
    """The runs and pages of a study.

    Attributes:
        console: where to print.
        size: size of the models, "demo" or "published".
        folder: folder of runs and pages.
        store: the store that models are trained on.
        embedded: whether this is the embedded default, for which there are control mice.
        recordings: the sessions of the store.
        units: of all scores: those of the baselines at that size, "raw" or "official".
        seeds: number of seeds with which every model is trained.
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
        """Open the recordings.

        Args:
            size: size of the models, "demo" or "published".
            folder: folder of runs and pages.
            store: the store; None: the embedded default.
            tiers: a tier table, as for ``complete``.
            devices: number of devices, as for ``complete``.
            seeds: number of seeds with which every model is trained.
            changes: changes of all experiments, as for ``override``.
            console: where to print.

        Raises:
            UserError: there is no such store or table, or fewer than one seed.
        """
        if seeds < 1:
            raise UserError(f"expected at least 1 of --seeds, got {seeds}")
        self.console = console or make_console()
        self.size, self.folder, self.seeds = size, Path(folder), seeds
        self.embedded = store is None
        self.store = Path(store or default_store(self.console))
        self.recordings = load_recordings(self.store, tiers=tiers)
        self._tiers, self._devices, self._changes = tiers, devices, changes
        self.units = self.config("gru_baseline").units
        self._reports: dict[str, list[Report]] = {}  # of every seed

    @property
    def simulated(self) -> bool:
        """Whether the mice are simulated, so that their true rates are known."""
        return self.recordings.simulated

    def config(self, name: str) -> Experiment:
        """An experiment by name, at the study's size and with its changes."""
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
        """Train a model, or resume, and return the report of the first seed, run ``folder/name``.

        Args:
            name: of the model.
            experiment: model and training.
            store: a store in place of the study's, with its own tiers.
            seeds: number of seeds.
            on_score: as for ``complete``.
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
            reports.append(report.in_units(self.units))
        self._reports[name] = reports
        return reports[0]

    def compare(self, a: str, b: str, *, tier: str = protocol.ORACLE) -> compare.Difference:
        """The difference of two trained models on a tier, b - a, mean over seeds.

        The interval is over clips and neurons and, if any model has several seeds, over seeds. The
        variance over seeds is pooled over all models (``interval_of``), so train all of them first.
        """
        seeds = range(len(self._reports[a]))
        runs = [(self.run(a, seed), self.run(b, seed)) for seed in seeds]
        pairs = [compare.read_pair(*pair, units=self.units) for pair in runs]
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
        """Write ``folder/name.html`` and ``folder/name.json``, and print the answer.

        Args:
            name: of the files.
            title: of the page.
            answer: text, one paragraph a line.
            body: HTML fragments that follow the answer.
            numbers: JSON values of the answer.
            checks: expected results for simulated mice.
        """
        banner = (
            '<p class="banner">Simulated mice: a check of the method, no result on mice.</p>'
            if self.simulated
            else ""
        )
        path = self.folder / f"{name}.html"
        paragraphs = (f"<p>{line}</p>" for line in answer.splitlines())
        head = f"<h1>{title}</h1>", banner, *paragraphs, *_check_section(checks)
        page.write(path, title, *head, *body)
        record = {
            "question": title,
            "simulated": self.simulated,
            "units": self.units,
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

        low = d - sqrt((d - low_c)^2 + (t e)^2),    high = d + sqrt((high_c - d)^2 + (t e)^2)

    of the mean difference d, the ends low_c and high_c of the bootstrap interval over clips and
    neurons, Student's t, and the standard error e = sqrt(2 var / seeds) of seeds (MOVER: Zou &
    Donner 2008, "Construction of confidence limits about effect measures", Stat. Med. 27:1693). The
    variance over seeds can be as large as a difference between models, and two seeds are too few to
    estimate it: it is pooled over all models of the study.

    Args:
        a: moments [K 6 N] of each mouse's clips, for each seed of the first model.
        b: the same of the second model.
        scores: scores by seed, of every model of the study. If no model has two seeds, the interval
            is over clips and neurons only.
    """
    draws = [intervals.bootstrap(y) - intervals.bootstrap(x) for x, y in zip(a, b, strict=True)]
    draws = np.mean(draws, axis=0)
    low, high = intervals.interval(draws)
    difference = float(draws.mean())
    groups = [s for s in scores if len(s) > 1]
    margin = 0.0
    if groups:
        freedom = sum(len(s) - 1 for s in groups)
        variance = sum(np.var(s, ddof=1) * (len(s) - 1) for s in groups) / freedom
        error = math.sqrt(2 * variance / len(a))
        margin = stdtrit(freedom, 0.5 * (1 + intervals.LEVEL)) * error
    return (
        difference - math.hypot(difference - low, margin),
        difference + math.hypot(high - difference, margin),
    )


def _check_section(checks: Sequence[Check]) -> list[str]:
    """HTML fragments of the checks; [] if there are none."""
    lines = [
        f'<p class="{"note" if check.agrees else "error"}"><b>The truth</b> {check}.</p>'
        for check in checks
    ]
    return ["<h2>Against the truth</h2>", *lines] if lines else []


def verdict(difference: compare.Difference, what: str, *, seeds: int) -> str:
    """A sentence on whether ``what`` helps, by the interval of ``Study.compare``.

    Examples:
        >>> difference = compare.Difference("oracle", "all", 0.25, 0.27, 0.01, 0.03, better=0.8)
        >>> verdict(difference, "Gaze", seeds=2)
        'Gaze: helps, +0.0200 (95 % interval +0.0100 to +0.0300).'
    """
    d = difference
    scope = "" if seeds > 1 else " over clips and neurons; seeds of training are not counted"
    amount = f"{d.b - d.a:+.4f} (95 % interval {d.low:+.4f} to {d.high:+.4f}{scope})"
    if d.low > 0:
        return f"{what}: helps, {amount}."
    if d.high < 0:
        return f"{what}: hurts, {amount}."
    return f"{what}: no advantage found, {amount}."
