"""Which architecture and training procedure predicts best? A search over both.

    python -m experiments.questions.search [--trials=12] [--data=STORE]

Tree-structured Parzen estimation (Bergstra et al. 2011) over cores, recurrence, channels, learning
rate, weight decay and readout; each trial is a run of its own, stopped early when its oracle score
falls behind the others' median. Trials are kept in search.db (SQLite): the same command goes on,
and more --trials add to them. Needs pip install -e '.[search]'.
"""

from __future__ import annotations

import dataclasses

from absl import flags

from experiments.questions.study import Study, main
from experiments.variants import with_core, with_model
from sensorium_jax import compare, pages, readouts
from sensorium_jax.errors import UserError
from sensorium_jax.experiment import Experiment

_TRIALS = flags.DEFINE_integer("trials", 12, "how many trials in all, those of before included")
_UNTIL = 1  # epochs before a trial may be stopped


def answer(study: Study) -> None:
    """Search, and write the page."""
    try:
        import optuna
    except ImportError:
        raise UserError(
            "the search needs optuna; install it with: pip install -e '.[search]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study.folder.mkdir(parents=True, exist_ok=True)
    search = optuna.create_study(
        study_name="search",
        storage=f"sqlite:///{study.folder / 'search.db'}",
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=5),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=_UNTIL),
        load_if_exists=True,
    )
    states = optuna.trial.TrialState
    _retry_broken_off(search, states)
    done = [t for t in search.trials if t.state in (states.COMPLETE, states.PRUNED)]

    def objective(trial) -> float:
        def on_score(epoch: int, score: float) -> None:
            trial.report(score, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        name = f"search/trial{trial.number:03d}"
        report = study.train(name, propose(study, trial), on_score=on_score)
        return report.by_neuron("oracle")

    search.optimize(objective, n_trials=max(0, _TRIALS.value - len(done)))
    _page(study, search, states)


def propose(study: Study, trial) -> Experiment:
    """An experiment from a trial's choices."""
    core = trial.suggest_categorical("core", ["recurrent", "static", "factorised"])
    name = {"recurrent": "gru", "static": "static", "factorised": "factorized"}[core]
    e = study.config(f"{name}_baseline")
    if core == "factorised":
        width = trial.suggest_categorical("width", [0.5, 1.0, 2.0])
        e = with_core(e, channels=_scaled(e.model.core.channels, width))
    else:
        e = with_core(e, channels=trial.suggest_categorical("channels", [4, 8, 12]))
    hidden = trial.suggest_categorical("readout_hidden", [8, 30])
    if isinstance(e.model.readout, readouts.Gaussian):
        e = with_model(e, readout=dataclasses.replace(e.model.readout, hidden=hidden))
    rate = e.optimizer.learning_rate * trial.suggest_float("rate_factor", 0.25, 4.0, log=True)
    decay = e.optimizer.weight_decay * trial.suggest_float("decay_factor", 0.1, 10.0, log=True)
    optimizer = dataclasses.replace(e.optimizer, learning_rate=rate, weight_decay=decay)
    return dataclasses.replace(e, optimizer=optimizer)


def _scaled(channels: int | tuple[int, ...], width: float) -> int | tuple[int, ...]:
    if isinstance(channels, tuple):
        return tuple(max(1, round(width * c)) for c in channels)
    return max(1, round(width * channels))


def _retry_broken_off(search, states) -> None:
    """Put the choices of a trial that a kill broke off first in the queue, and forget it."""
    for trial in search.get_trials(states=(states.RUNNING,)):
        search.enqueue_trial(trial.params, skip_if_exists=True)
        search.tell(trial.number, state=states.FAIL)


def _page(study: Study, search, states) -> None:
    finished = sorted(search.get_trials(states=(states.COMPLETE,)), key=lambda t: -t.value)
    pruned = search.get_trials(states=(states.PRUNED,))
    if not finished:
        raise UserError("expected a trial that ran to its end, found none; ask for more --trials")
    best = finished[0]
    choice = ", ".join(f"{k} {_short(v)}" for k, v in best.params.items())
    text = (
        f"Best of {len(finished)} trials that ran to their end ({len(pruned)} were stopped early): "
        f"{choice}; {best.value:.3f} on the oracle tier."
    )
    rivals = [t for t in finished if t.params["core"] != best.params["core"]]
    if rivals:
        a, b = (study.folder / f"search/trial{t.number:03d}" for t in (rivals[0], best))
        apart = next(d for d in compare.compare(a, b) if d.tier == "oracle")
        text += (
            f" The best of another core ({rivals[0].params['core']}) has {rivals[0].value:.3f}; "
            f"the difference is {apart.b - apart.a:+.4f} ({apart.low:+.4f} to {apart.high:+.4f})."
        )
        if study.simulated:
            dynamic = best.params["core"] != "static"
            text += " The simulated neurons filter over time, and the winner " + (
                "does so too." if dynamic else "does NOT: too few trials, or a fault."
            )
    names = list(dict.fromkeys(name for t in finished for name in t.params))
    rows = [
        [f"{t.number}", f"{t.value:.4f}", *(_short(t.params.get(n, "")) for n in names)]
        for t in finished
    ]
    study.page(
        "search",
        "Which architecture and training?",
        text,
        pages.figure(_figure(finished, pruned), "Oracle score by epoch; dashed: stopped early."),
        pages.table(["trial", "oracle", *names], rows),
    )


def _short(value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _figure(finished: list, pruned: list):
    colours = {"recurrent": "#2f7ed8", "static": "#999999", "factorised": "#e07b00"}
    figure = pages.make_figure(8, 3.5)
    axes = figure.subplots()
    for trial in [*finished, *pruned]:
        scores = sorted(trial.intermediate_values.items())
        if scores:
            style = "o-" if trial in finished else "o--"
            axes.plot(*zip(*scores, strict=True), style, ms=3, color=colours[trial.params["core"]])
    for core, colour in colours.items():
        axes.plot([], [], color=colour, label=core)
    axes.set(xlabel="epoch", ylabel="single trial, oracle tier")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    return figure


if __name__ == "__main__":
    main(answer)
