"""The floor of the official score: what a constant rate scores, by the train trials of the std.

    python benchmarks/floor.py [--mouse F] [--neurons 60] [--json FILE] [--plot FILE]

A simulated mouse with the response moments of a real one of the release sees natural clips: 700
train trials, and an oracle tier of 6 clips of 10 repeats. The std of every neuron and frame is
computed from the first 50 to 700 train trials, and each neuron's floor on the oracle tier from the
responses alone (``sensorium_jax.scores.units``). Neurons are also split into thirds by sparseness,
std / mean. Then independent events of exponential size, one in a frame with probability p, show how
sparseness acts: while a frame's std is that of many events, its relative error is

    sd(std) / std = sqrt((kurtosis - 1) / (4 trials)),    kurtosis = 6 / p,

and, since mean / std = sqrt(p / 2), the floor is sqrt(0.75 / trials) for every p. Where a frame's
std is that of about three events (trials x p), it is up to twice as high; of less than one, lower.
Half a minute. Simulated mice: an estimate for real ones, never a result on them.
"""

from __future__ import annotations

import argparse

import numpy as np
import record
from rich.progress import track

from sensorium_jax import protocol, stimuli
from sensorium_jax.scores.correlation import CorrelationSums
from sensorium_jax.simulate import calibration, measures
from sensorium_jax.simulate.neurons import make_rate

TRIALS = 50, 100, 200, 350, 700
CLIPS, REPEATS = 6, 10
THIRDS = "least sparse third", "middle third", "sparsest third"
PROBABILITIES = 0.3, 0.1, 0.03, 0.01, 0.003  # of an event in a frame
FRAMES = slice(protocol.SKIP_FRAMES, protocol.CLIP_FRAMES)


def main() -> None:
    """Simulate, and print the floors."""
    flags = _parser().parse_args()
    train, oracle = simulate(flags.mouse, flags.neurons, seed=flags.seed)
    every = np.concatenate(train).astype(np.float64)
    order = np.argsort(every.std(0) / every.mean(0))
    groups = dict(zip(THIRDS, np.array_split(order, 3), strict=True))
    found = {"mouse": flags.mouse, "neurons": flags.neurons, "floors": {}, "events": {}}
    print(f"mouse like {flags.mouse}, {flags.neurons} neurons; floor of the oracle tier")
    for trials in TRIALS:
        floor = floors(oracle, np.stack(train[:trials]).std(axis=0))
        row = {"all": floor.mean(), "sqrt(0.75 / trials)": np.sqrt(0.75 / trials)}
        row |= {name: floor[members].mean() for name, members in groups.items()}
        found["floors"][trials] = {name: round(float(x), 4) for name, x in row.items()}
        print(f"{trials:4d} train trials: ", found["floors"][trials])
    print("independent events, by their probability in a frame")
    for trials in TRIALS:
        row = {p: round(float(event_floor(trials, p, flags.neurons)), 4) for p in PROBABILITIES}
        found["events"][trials] = row
        print(f"{trials:4d} train trials: ", row)
    record.write(flags, found, _draw)


def simulate(
    letter: str, neurons: int, *, seed: int = 0
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Responses [T N] of the train trials, and of the repeats of the oracle clips."""
    like, rng = calibration.target(letter), np.random.default_rng(seed)
    population = calibration.make_population_like(letter, neurons, seed=seed)
    rate = make_rate(population)

    def respond(video: np.ndarray) -> np.ndarray:
        return measures.respond(rng, population, like, rate, video)[0]

    train = [
        respond(stimuli.natural_clip(rng)) for _ in track(range(max(TRIALS)), description="train")
    ]
    clips = [stimuli.natural_clip(rng) for _ in range(CLIPS)]
    return train, [respond(clip) for clip in clips for _ in range(REPEATS)]


def event_floor(trials: int, probability: float, neurons: int) -> float:
    """The floor of neurons whose frames have an event of exponential size, or none."""
    rng = np.random.default_rng(0)

    def draw(trials: int) -> np.ndarray:
        shape = trials, protocol.CLIP_FRAMES, neurons
        return rng.exponential(size=shape) * (rng.random(shape) < probability)

    return floors(list(draw(CLIPS * REPEATS)), draw(trials).std(axis=0)).mean()


def floors(responses: list[np.ndarray], std: np.ndarray) -> np.ndarray:
    """corr(y / std, 1 / std) of every neuron over the scored frames: [N]; std [T N]."""
    std = np.maximum(std, protocol.STD_FLOOR * std.mean())[FRAMES]
    sums = CorrelationSums(std.shape[1])
    for response in responses:
        sums.add(response[FRAMES] / std, 1 / std)
    return sums.correlation().value


def _draw(found: dict):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    mouse, events = figure.subplots(1, 2, sharey=True)
    rows = {int(trials): row for trials, row in found["floors"].items()}
    theory = "sqrt(0.75 / trials)"
    styles = {"all": ("o-", 2.5), theory: ("k:", 1.2)} | dict.fromkeys(THIRDS, (".--", 1.0))
    for name, (style, width) in styles.items():
        mouse.plot(list(rows), [row[name] for row in rows.values()], style, lw=width, label=name)
    mouse.set_title(f"simulated mouse like {found['mouse']}", fontsize=10)
    for p in PROBABILITIES:
        values = [row[p] for row in found["events"].values()]
        events.plot(list(rows), values, "o-", ms=3, label=f"an event in {p:.1%} of frames")
    events.plot(list(rows), [row[theory] for row in rows.values()], "k:", lw=1.2, label=theory)
    events.set_title("independent events", fontsize=10)
    mouse.set_ylabel("official score of a constant rate")
    ticks = 0.02, 0.05, 0.1, 0.2, 0.5
    for axes in (mouse, events):
        axes.set(xscale="log", yscale="log", xlabel="train trials that make the std")
        axes.set_xticks(list(rows), [str(trials) for trials in rows])
        axes.set_yticks(ticks, [f"{x:g}" for x in ticks])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    return figure


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--mouse", default="F", help="whose moments are simulated (default F)")
    parser.add_argument("--neurons", type=int, default=60, help="(default 60)")
    parser.add_argument("--seed", type=int, default=0, help="(default 0)")
    record.add_flags(parser)
    return parser


if __name__ == "__main__":
    main()
