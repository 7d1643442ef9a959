"""Figures of the studies. Each function takes plain values and returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sensorium_jax.pages.figures import COLOUR, GREY, SECOND
from sensorium_jax.pages.page import INK, make_figure, style
from sensorium_jax.scores.compare import Difference


@style()
def gains(differences: Mapping[str, Difference]):
    """Differences b - a with their intervals, by name."""
    figure = make_figure(8, 0.8 + 0.4 * len(differences))
    axes = figure.subplots()
    for y, d in enumerate(reversed(list(differences.values()))):
        axes.plot([d.low, d.high], [y, y], color=COLOUR, lw=3, alpha=0.6)
        axes.plot(d.b - d.a, y, "o", color=COLOUR)
    axes.axvline(0, color=INK, lw=0.8)
    axes.set_yticks(range(len(differences)), list(differences)[::-1])
    axes.set_xlabel("gain in single-trial correlation")
    return figure


@style()
def scores_by_group(
    groups: Sequence[str],
    models: Mapping[str, Sequence[float]],
    limits: Mapping[str, Sequence[float]],
    *,
    xlabel: str,
):
    """Scores of models, and upper limits (dashed), by group of neurons."""
    figure = make_figure(8, 3.2)
    axes = figure.subplots()
    for name, means in models.items():
        axes.plot(range(len(groups)), means, "o-", label=name)
    for (name, means), dashes in zip(limits.items(), ("--", ":", "-."), strict=False):
        axes.plot(range(len(groups)), means, dashes, color=INK, label=name)
    axes.set_xticks(range(len(groups)), groups)
    axes.set(xlabel=xlabel, ylabel="single-trial correlation")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


@style()
def search_curves(trials: Sequence[tuple[str, Mapping[int, float], bool]]):
    """Oracle score by epoch of the trials of a search: (core, scores by epoch, whether stopped)."""
    colours = {"recurrent": COLOUR, "static": GREY, "factorised": SECOND}
    figure = make_figure(8, 3.5)
    axes = figure.subplots()
    for core, scores, stopped in trials:
        if scores:
            line = "o--" if stopped else "o-"
            axes.plot(*zip(*sorted(scores.items()), strict=True), line, ms=3, color=colours[core])
    for core, colour in colours.items():
        axes.plot([], [], color=colour, label=core)
    axes.set(xlabel="epoch", ylabel="single trial, oracle tier")
    axes.locator_params("x", integer=True)
    axes.legend()
    return figure
