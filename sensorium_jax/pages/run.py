"""``report.html``: scores, figures and model card of a scored run on one self-contained page."""

from __future__ import annotations

import html
import platform
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np

from sensorium_jax import protocol
from sensorium_jax._version import __version__
from sensorium_jax.files import read_json_lines
from sensorium_jax.models.check import features_shape
from sensorium_jax.pages import figures, page
from sensorium_jax.pages.sections import report_sections
from sensorium_jax.runs.ensembles import Ensemble
from sensorium_jax.runs.run import Run
from sensorium_jax.scores.report import Report
from sensorium_jax.scores.units import OFFICIAL, RAW

NAME = "report.html"
PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "tensorstore", "grain", "numpy")


def write(path: Path, trained: Ensemble, report: Report, *, logs: list[Path]) -> None:
    """Write the page of a run.

    Args:
        path: the file of the page.
        trained: the run or ensemble; filters and positions are those of its first member.
        report: its scores.
        logs: ``metrics.jsonl`` of each member.
    """
    title = path.resolve().parent.name
    sections = [f"<h1>{html.escape(title)}</h1>", *_verdict(report), *report_sections(report)]
    sections += _curves(logs)
    sections += _neurons(trained, report)
    sections += _core(trained.runs[0])
    sections += _card(trained, logs)
    page.write(path, title, *sections)


def _verdict(report: Report) -> Iterator[str]:
    if report.simulated:
        yield '<p class="banner">Simulated mice: nothing on this page is about real ones.</p>'
    tier = protocol.ORACLE if report.select(protocol.ORACLE) else report.rows()[0][0]
    low, high = report.interval(tier)
    text = (
        f"Single-trial correlation on {tier} in {report.units} units: "
        f"{report.by_neuron(tier):.3f}, 95 % interval {low:.3f} to {high:.3f} over clips and "
        "neurons"
    )
    if report.units == OFFICIAL:
        floor = report.by_neuron(tier, field="floor")
        raw = report.by_neuron(tier, units=RAW)
        text += f"; each neuron's mean rate scores {floor:.3f}; in raw units {raw:.3f}"
    share = report.share(tier)
    if share == share:
        text += f"; {share:.0%} of what can be predicted"
    yield f"<p><strong>{html.escape(text)}.</strong></p>"
    if report.interval(tier, units=RAW)[0] <= 0:
        yield (
            '<p class="error"><b>Nothing is predicted, as far as these trials tell:</b> '
            "the interval of the raw score holds 0, what a constant rate scores.</p>"
        )


def _curves(logs: list[Path]) -> Iterator[str]:
    yield "<h2>Training</h2>"
    for path in logs:
        records = read_json_lines(path)
        member = f" Member {path.parent.name}." if len(logs) > 1 else ""
        yield page.figure(figures.learning_curves(records), f"Loss and oracle score.{member}")


def _neurons(trained: Ensemble, report: Report) -> Iterator[str]:
    """Traces of three neurons, and maps of all neurons, scored on the first tier."""
    tier = report.rows()[0][0]
    selection = report.select(tier)
    recordings = trained.recordings
    sessions = [recordings.session_names.index(s.session) for s in selection]
    names = [protocol.short_name(s.session) for s in selection]
    values = [s.values() for s in selection]

    yield f"<h2>Neurons on {tier}</h2>"
    example = selection[0].example
    assert example is not None, "scores over all trials of a tier have an example"
    caption = (
        f"Best, median and worst neuron of {names[0]} on the clip {example.clip}: mean over "
        f"{example.repeats} repeats, shaded the responses' standard deviation. Frames before "
        f"{protocol.SKIP_FRAMES} are not scored."
    )
    yield page.figure(figures.traces(selection[0]), caption)
    masks = [recordings.neurons.mask[s] for s in sessions]
    cortex = [
        np.asarray(recordings.neurons.position_um[s][mask, :2])
        for s, mask in zip(sessions, masks, strict=True)
    ]
    caption = "Correlation of every neuron at its place on the cortex, from above."
    yield page.figure(figures.maps(names, cortex, values, unit="um"), caption)
    positions = _positions(trained.runs[0])
    if positions is not None:
        places = [positions[s][mask] for s, mask in zip(sessions, masks, strict=True)]
        figure = figures.maps(names, places, values, unit="map half-widths", limits=(-1.1, 1.1))
        caption = "Where on the feature map every neuron reads, before gaze shifts."
        yield page.figure(figure, caption)


def _positions(run: Run) -> np.ndarray | None:
    """Readout positions (x, y) of neurons, -1..1: [S N 2]; None for a readout without positions."""
    readout, weights = run.experiment.model.readout, run.params.weights["readout"]
    if not readout.takes_shift:
        return None
    features = np.zeros((1, 1, 2, 2, weights["features"].shape[2]), np.float32)  # not used

    def session_positions(weights, neurons):
        _, variables = readout.apply(
            {"params": weights}, features, neurons, None, train=False, mutable=["intermediates"]
        )
        return variables["intermediates"]["position"][0]

    return np.asarray(jax.jit(jax.vmap(session_positions))(weights, run.recordings.neurons))


def _core(run: Run) -> Iterator[str]:
    """The spatial filters of the first layer, if the core has such."""
    kernels = run.experiment.model.core.spatial_filters(run.params.weights["core"])
    if kernels is None:
        return
    yield "<h2>First layer</h2>"
    caption = "Filters of the video (at most 64), red and blue of opposite sign."
    yield page.figure(figures.filters(np.asarray(kernels)), caption)


def _card(trained: Ensemble, logs: list[Path]) -> Iterator[str]:
    """The model card, and the versions and devices of the environment."""
    run = trained.runs[0]
    e, model = run.experiment, run.experiment.model
    recordings = trained.recordings
    sessions = range(len(recordings.session_names))
    maps = features_shape(model.core, frames=model.core.warmup_frames + 1)[-1]
    parameters = sum(x.size for x in jax.tree.leaves(run.params.weights))
    trials = sum(len(recordings.rows(s, protocol.TRAIN)) for s in sessions)
    members = f"{len(trained.runs)} of these, averaged" if len(trained.runs) > 1 else "one model"
    yield "<h2>Model card</h2>"
    yield page.table(
        ("", ""),
        [
            ("core", f"{type(model.core).__name__}, {maps} maps"),
            ("readout", type(model.readout).__name__),
            ("shifter", type(model.shifter).__name__ if model.shifter else "none"),
            ("weights", f"{parameters:,} ({members})"),
            ("mice", str(len(sessions))),
            ("neurons", f"{int(np.sum(recordings.neurons.mask)):,}"),
            ("training trials", f"{trials:,}"),
            *(("damaged trials left out", name) for name in _left_out(recordings.left_out)),
            *(("steps skipped, not finite", n) for n in _skipped(logs)),
            ("normalisation", e.data.statistics),
            ("at most", f"{e.max_epochs} epochs of {e.epoch_steps} steps"),
            ("seed", str(e.seed)),
        ],
    )
    yield (
        "<p>Made to predict responses of these neurons to other films of the kinds shown. A new "
        "mouse needs a readout of its own. Weights are those best on the oracle tier, so scores on "
        "it are slightly optimistic; the intervals do not count other seeds or mice.</p>"
    )
    yield "<h2>Environment</h2>"
    device = jax.devices()[0]
    rows = [
        ("sensorium_jax", __version__),
        *((name, version(name)) for name in PACKAGES),
        ("Python", platform.python_version()),
        ("device", f"{len(jax.devices())} x {device.device_kind} ({device.platform})"),
        ("peak memory of the process that wrote this", f"{_peak_bytes() / 2**30:.1f} GiB"),
    ]
    frames = len(sessions) * e.data.trials * e.data.frames
    for path in logs:
        speed = _speed(path)
        if speed:
            rows.append(("training", f"{speed * frames:,.0f} frames/s"))
    yield page.table(("", ""), rows)


def _left_out(trials: Mapping[str, Sequence[int]]) -> Iterator[str]:
    for session, numbers in trials.items():
        yield f"{protocol.short_name(session)}: {', '.join(map(str, numbers))}"


def _skipped(logs: list[Path]) -> Iterator[str]:
    for path in logs:
        count = sum("skipped" in record for record in read_json_lines(path))
        if count:
            yield f"{count:,}"


def _speed(path: Path) -> float | None:
    """Steps per second: the median over pairs of successive lines of a log, if there are any."""
    records = read_json_lines(path)
    step, time = (np.array([r[name] for r in records]) for name in ("step", "time"))
    pairs = np.diff(step) > 0
    seconds = np.diff(time)[pairs] / np.diff(step)[pairs]
    return float(1 / np.median(seconds)) if len(seconds) and np.median(seconds) > 0 else None


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
