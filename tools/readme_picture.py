"""Draw the README's picture: frames of a film above recorded and predicted traces.

    python tools/readme_picture.py runs/gru_baseline-demo docs/images/overview.png

The run must be scored; the neurons are the best, and those at the upper quarter and the median of
the first mouse on the oracle tier, on its first clip.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from sensorium_jax import load_run, protocol
from sensorium_jax.pages.figures import COLOUR, GREY

FRAMES = 8  # shown of the film
QUANTILES = 1.0, 0.75, 0.5  # of the neurons' scores
INK, PAPER = "#222222", "#ffffff"


def main() -> None:
    """Predict one trial and draw it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="workdir of a scored run")
    parser.add_argument("out", type=Path, help="the PNG file")
    flags = parser.parse_args()
    run = load_run(flags.run)
    values = run.evaluate(run.params, protocol.ORACLE).select(protocol.ORACLE)[0].values()
    order = np.argsort(values)
    neurons = [order[int(q * (len(order) - 1))] for q in QUANTILES]
    trial = next(run.predictions(run.params, protocol.ORACLE, sessions=[0], by_clip=True))
    video = run.recordings.sessions[0].read(trial.row, 0, protocol.CLIP_FRAMES).video
    figure = draw(video, trial.response[:, neurons], trial.prediction[:, neurons], values[neurons])
    flags.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(flags.out, dpi=110, facecolor=PAPER, metadata={"Software": None})
    print(f"{flags.out}: {flags.out.stat().st_size / 1024:.0f} KiB")


def draw(video: np.ndarray, response: np.ndarray, prediction: np.ndarray, scores: np.ndarray):
    """The figure: video [T 36 64]; response and prediction [T' n] of the last T' frames."""
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    film, traces = figure.subfigures(2, 1, height_ratios=(1, 3.4))
    at = np.linspace(len(video) - len(response), len(video) - 1, FRAMES).astype(int)
    for axes, frame in zip(film.subplots(1, FRAMES), at, strict=True):
        axes.imshow(video[frame], cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
        axes.set_title(f"{frame / protocol.FRAME_RATE_HZ:.1f} s", fontsize=8, color=INK)
    seconds = (len(video) - len(response) + np.arange(len(response))) / protocol.FRAME_RATE_HZ
    panels = traces.subplots(len(scores), 1, sharex=True)
    for axes, y, p, score in zip(panels, response.T, prediction.T, scores, strict=True):
        axes.fill_between(seconds, y, color=GREY, alpha=0.45, lw=0, label="recorded response")
        axes.plot(seconds, p, color=COLOUR, lw=1.8, label="predicted rate")
        axes.set_title(f"correlation {score:.2f}", loc="left", fontsize=8, color=INK)
        axes.set(xlim=(seconds[0], seconds[-1]), ylim=(0, None), yticks=[])
        axes.spines[["top", "right", "left"]].set_visible(False)
    above = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0}
    panels[0].legend(fontsize=8, frameon=False, ncols=2, **above)
    panels[-1].set_xlabel("time in the film (s); simulated neurons", color=INK)
    return figure


if __name__ == "__main__":
    main()
