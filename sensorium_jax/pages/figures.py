"""Figures of a scored run. Each function takes plain values and returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.pages.page import make_figure, style
from sensorium_jax.scores.report import Report
from sensorium_jax.scores.score import ALL, Score
from sensorium_jax.scores.units import OFFICIAL

COLOUR, SECOND, GREY = "#2f7ed8", "#e07b00", "#999999"


@style()
def scores(report: Report):
    """Single-trial correlation by tier and family: interval, every mouse, ceiling and floor."""
    rows = report.rows()[::-1]
    figure = make_figure(8, 0.7 + 0.28 * len(rows))
    axes = figure.subplots()
    for y, (tier, family) in enumerate(rows):
        selection = report.select(tier, family=family)
        mice = [s.single_trial for s in selection]
        axes.plot(mice, [y] * len(mice), "o", ms=4, color=GREY, mec="none", alpha=0.7)
        axes.plot(report.interval(tier, family=family), [y, y], color=COLOUR, lw=3, alpha=0.6)
        axes.plot(report.by_neuron(tier, family=family), y, "o", color=COLOUR)
        ceiling = report.by_neuron(tier, family=family, field="single_trial_ceiling")
        axes.plot(ceiling, y, "|", ms=12, mew=2, color=SECOND)
        if report.units == OFFICIAL:
            floor = report.by_neuron(tier, family=family, field="floor")
            axes.plot(floor, y, "|", ms=12, mew=2, color=GREY)
    axes.set_yticks(range(len(rows)), [t if f == ALL else f"{f}   " for t, f in rows])
    axes.set_xlabel(f"single-trial correlation, {report.units} units")
    axes.set_xlim(left=min(0, axes.get_xlim()[0]))
    axes.grid(axis="x", alpha=0.3)
    return figure


def scores_caption(report: Report) -> str:
    """The caption of ``scores``."""
    marks = " Orange mark: the true rate's score." if report.simulated else ""
    if report.units == OFFICIAL:
        marks += " Grey mark: the floor, what each neuron's mean rate scores."
    return (
        f"Single-trial correlation in {report.units} units, mean over neurons, with its 95 % "
        f"interval over clips and neurons. Grey dots: each mouse.{marks}"
    )


@style()
def learning_curves(records: Sequence[dict]):
    """Training loss and oracle score over steps, from the lines of ``metrics.jsonl``."""
    figure = make_figure(8, 2.8)
    left, right = figure.subplots(1, 2)
    for axes, name in ((left, "loss"), (right, "oracle")):
        points = np.array([(r["step"], r[name]) for r in records if name in r])
        if len(points):
            axes.plot(*points.T, "o-" if len(points) < 30 else "-", ms=3, color=COLOUR)
        axes.set_xlabel("step")
    left.set_ylabel("training loss")
    right.set_ylabel("single trial, oracle tier")
    return figure


@style()
def traces(score: Score):
    """Responses and predictions of the best, the median and the worst neuron on one clip."""
    example = score.example
    assert example is not None, "scores over all trials of a tier have an example"
    seconds = (protocol.SKIP_FRAMES + np.arange(len(example.std))) / protocol.FRAME_RATE_HZ
    figure = make_figure(8, 5)
    panels = figure.subplots(3, 1, sharex=True)
    values = score.values()[example.neurons]
    for i, (axes, word) in enumerate(zip(panels, ("best", "median", "worst"), strict=True)):
        y, std, p = (x[:, i] for x in (example.response, example.std, example.prediction))
        axes.fill_between(seconds, y - std, y + std, color=GREY, alpha=0.25, lw=0)
        axes.plot(seconds, y, color=SECOND, lw=1.5, label="mean response")
        axes.plot(seconds, p, color=COLOUR, lw=1.5, label="mean prediction")
        axes.set_title(f"{word}: {values[i]:.2f}", loc="left", fontsize=9)
        axes.set_ylim(bottom=0)
    panels[0].legend(loc="upper right", fontsize=8, ncols=2)
    panels[-1].set_xlabel("time in the clip (s)")
    panels[1].set_ylabel("response (units of its std)")
    return figure


@style()
def histograms(report: Report):
    """Distribution over neurons of the single-trial correlation, by tier."""
    tiers = [tier for tier, family in report.rows() if family == ALL]
    figure = make_figure(8, 3)
    axes = figure.subplots()
    values = {t: np.concatenate([s.values() for s in report.select(t)]) for t in tiers}
    edges = np.linspace(min(-0.1, *(v.min() for v in values.values())), 1, 45).tolist()
    for tier, v in values.items():
        axes.hist(v, edges, histtype="step", density=True, lw=1.5, label=tier)
    label = f"single-trial correlation of a neuron, {report.units} units"
    axes.set(xlabel=label, ylabel="density")
    axes.legend(fontsize=8)
    return figure


@style()
def maps(
    names: Sequence[str],
    places: Sequence[np.ndarray],  # [N 2] of each mouse
    values: Sequence[np.ndarray],  # [N] of each mouse
    *,
    unit: str,
    limits: tuple[float, float] | None = None,
):
    """Every neuron at its position, coloured by its score: one panel a mouse."""
    columns = min(5, len(names))
    rows = -(-len(names) // columns)
    figure = make_figure(8, 0.6 + rows * 8 / columns * 0.85)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    top = max(float(np.percentile(np.concatenate(values), 98)), 0.05)
    for axes, name, place, value in zip(panels, names, places, values, strict=False):
        points = axes.scatter(
            *place.T,
            c=value,
            s=np.clip(4000 / len(value), 1, 14),
            vmin=0,
            vmax=top,
            cmap="viridis",
            lw=0,
            rasterized=True,
        )
        axes.set_title(name, fontsize=9)
        axes.set_aspect("equal")
        if limits:
            axes.set(xlim=limits, ylim=limits[::-1])  # y counts down, as rows of an image
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    panels[0].set(xlabel=f"x ({unit})", ylabel=f"y ({unit})")
    figure.colorbar(points, ax=list(panels), label="correlation", shrink=0.7)
    return figure


@style()
def filters(kernels: np.ndarray):
    """D filters [K L D] as images, each scaled by its largest magnitude."""
    count = min(kernels.shape[2], 64)
    columns = min(16, count)
    rows = -(-count // columns)
    figure = make_figure(8, 8 / columns * rows * kernels.shape[0] / kernels.shape[1] + 0.1)
    for axes in figure.subplots(rows, columns, squeeze=False).ravel():
        axes.set_axis_off()
    for axes, kernel in zip(figure.axes, np.moveaxis(kernels, 2, 0), strict=False):
        top = max(float(np.abs(kernel).max()), 1e-12)
        axes.imshow(kernel, cmap="RdBu_r", vmin=-top, vmax=top)
    return figure
