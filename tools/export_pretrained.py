"""Make one of the pre-trained baselines of the package, with its model card, from a finished run.

    python tools/export_pretrained.py runs/gru_baseline-demo gru_baseline_demo \\
        --command "sensorium-jax train --config=gru_baseline" --commit COMMIT

The run must be one on the embedded default, whose mice are simulated. Every number of the card is
scored here, with the weights that are written. What the folder held before is replaced.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import jax
import numpy as np

from sensorium_jax import load_run, load_weights
from sensorium_jax.runs.pretrained import FOLDER
from sensorium_jax.runs.run import Run
from sensorium_jax.scores.report import Report

CARD = """# {name}

{intended}

**Data.** The embedded default of sensorium_jax: {mice} simulated mice ({neurons} neurons,
{trials} training trials of 300 frames), those that `sensorium-jax train` simulates. No animal's
responses are in it: these numbers say nothing about mice.

**Training.** `{command}` at commit `{commit}`, seed {seed}: {steps} steps, the best weights on the
oracle tier of {epochs} epochs. {parameters:,} weights.

**Scores**, single-trial correlation in raw units, mean over neurons; in brackets the 95 % interval
over clips and neurons. The ceiling is the score of the simulated neurons' true rate. Beside it the
score in official units, as the benchmark publishes them, and its floor, what each neuron's mean
rate scores in them: it is high here, where {std_trials} trials make the std of every frame.

| tier | score | ceiling | official | its floor |
|---|---|---|---|---|
{rows}

**Limits.** Simulated neurons are space-time Gabor energy models: real ones are not. The weights
fit these {mice} mice only; a new mouse needs a readout of its own. The demo size is a fifth of the
resolution of the published baseline. The intervals are over clips and neurons: another seed differs
too.
"""


def main() -> None:
    """Export and write the card."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="workdir of a finished run")
    parser.add_argument("name", help="what load_pretrained will call it")
    parser.add_argument("--command", required=True, help="the command that trained it")
    parser.add_argument("--commit", required=True, help="the commit that trained it")
    flags = parser.parse_args()
    run = load_run(flags.run)
    report = run.evaluate_all()
    folder = FOLDER / flags.name
    for path in folder.glob("*"):
        path.unlink()
    run.export(folder)
    text = card(run, report, name=flags.name, command=flags.command, commit=flags.commit)
    (folder / "README.md").write_text(text)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {size / 2**20:.2f} MiB, {len(load_weights(folder).sessions)} sessions")


def card(run: Run, report: Report, *, name: str, command: str, commit: str) -> str:
    """The model card, in Markdown."""
    e, recordings = run.experiment, run.recordings
    mice = range(len(recordings.session_names))
    rows = []
    for tier, family in report.rows():
        raw = {"family": family, "units": "raw"}
        official = {"family": family, "units": "official"}
        score = report.by_neuron(tier, **raw)
        low, high = report.interval(tier, **raw)
        ceiling = report.by_neuron(tier, **raw, field="single_trial_ceiling")
        label = tier if family == "all" else f"- {family}"
        rows.append(
            f"| {label} | {score:.4f} [{low:.3f}, {high:.3f}] | {ceiling:.3f} "
            f"| {report.by_neuron(tier, **official):.4f} "
            f"| {report.by_neuron(tier, **official, field='floor'):.4f} |"
        )
    return CARD.format(
        name=name,
        intended=f"A {type(e.model.core).__name__} core and a {type(e.model.readout).__name__} "
        "readout at demo size, to try the package and for tutorials.",
        mice=len(mice),
        neurons=int(np.sum(recordings.neurons.mask)),
        trials=sum(int((recordings.trials(s).tier == "train").sum()) for s in mice),
        command=command,
        commit=commit,
        seed=e.seed,
        steps=e.epoch_steps * e.max_epochs,
        epochs=e.max_epochs,
        parameters=sum(x.size for x in jax.tree.leaves(run.params.weights)),
        std_trials=report.std_trials,
        rows="\n".join(rows),
    )


if __name__ == "__main__":
    sys.exit(main())
