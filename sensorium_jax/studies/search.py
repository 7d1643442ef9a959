"""Which architecture and training procedure predicts best? A search over both.

    sensorium-jax ask search [--trials=12] [--data=STORE]

Tree-structured Parzen estimation (Bergstra et al. 2011) over cores, recurrence, channels, learning
rate, weight decay and readout. Each trial of the search is a run, which is stopped early when its
oracle score is below the median of the other trials. Trials are stored in search.db (SQLite): the
same command resumes, first the training of interrupted trials, and more --trials add to them. A
trial whose training diverges counts as stopped. Needs pip install 'sensorium_jax[search]'.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json

from sensorium_jax.errors import Diverged, UserError
from sensorium_jax.experiment import Experiment
from sensorium_jax.experiment.variants import with_core, with_model
from sensorium_jax.models import readouts
from sensorium_jax.pages import page
from sensorium_jax.pages.studies import search_curves
from sensorium_jax.scores import compare
from sensorium_jax.studies.study import Check, Study

_WARMUP_EPOCHS = 1  # epochs before a trial may be stopped
_RANDOM_TRIALS = 5  # trials whose choices are random
# Attributes of trials: number of the interrupted trial that it resumes; the error of a divergence.
_RESUMED, _DIVERGED = "goes_on", "diverged"


def answer(study: Study, *, trials: int = 12) -> None:
    """Search until there are this many ``trials``, including earlier ones, and write the page.

    Raises:
        UserError: optuna is not installed, or no trial ran to its end.
    """
    try:
        import optuna
    except ImportError:
        raise UserError(
            "the search needs optuna; install it with: pip install 'sensorium_jax[search]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # training reports its errors itself
    study.folder.mkdir(parents=True, exist_ok=True)
    search = optuna.create_study(
        study_name="search",
        storage=f"sqlite:///{study.folder / 'search.db'}",
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=_WARMUP_EPOCHS),
        load_if_exists=True,
    )
    # The seed differs between processes: with the same seed, each would draw the same trials.
    search.sampler = optuna.samplers.TPESampler(
        seed=len(search.trials), n_startup_trials=_RANDOM_TRIALS
    )
    states = optuna.trial.TrialState
    enqueue_unfinished(search, states)
    done = search.get_trials(states=(states.COMPLETE, states.PRUNED))
    search.optimize(
        lambda trial: run_trial(study, trial, stopped=optuna.TrialPruned),
        n_trials=max(0, trials - len(done)),
    )
    _page(study, search, states)


def run_trial(study: Study, trial, *, stopped: type[Exception]) -> float:
    """Train and score a trial's choices; raises ``stopped`` if the trial is pruned or diverges."""
    experiment = propose(study, trial)
    if _RESUMED in trial.user_attrs:
        interrupted = trial.study.trials[trial.user_attrs[_RESUMED]]
        for epoch, score in interrupted.intermediate_values.items():
            trial.report(score, epoch)

    def on_score(epoch: int, score: float) -> None:
        trial.report(score, epoch)
        if trial.should_prune():
            raise stopped

    try:
        return study.train(run_name(trial), experiment, on_score=on_score).by_neuron("oracle")
    except Diverged as error:
        trial.set_user_attr(_DIVERGED, str(error))
        study.console.print(f"Trial {trial.number} is stopped: {error}")
        raise stopped from error


def run_name(trial) -> str:
    """The run of a trial, named by its choices, so that a resumed trial finds its model.

    Examples:
        >>> from types import SimpleNamespace
        >>> a, b = ({"core": "static", "channels": 8}, {"channels": 8, "core": "static"})
        >>> run_name(SimpleNamespace(params=a)) == run_name(SimpleNamespace(params=b))
        True
    """
    choices = json.dumps(trial.params, sort_keys=True).encode()
    return f"search/{hashlib.sha256(choices).hexdigest()[:10]}"


def enqueue_unfinished(search, states) -> None:
    """Enqueue trials that were killed or interrupted, or failed, with the same choices.

    Trials whose process was killed are still marked as running: only one process may search.
    """
    for trial in search.get_trials(states=(states.RUNNING,)):
        search.tell(trial.number, state=states.FAIL)
    resumed = {trial.user_attrs.get(_RESUMED) for trial in search.trials}
    for trial in search.get_trials(states=(states.FAIL,)):
        if trial.params and trial.number not in resumed:
            search.enqueue_trial(trial.params, user_attrs={_RESUMED: trial.number})


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
    lr_factor = trial.suggest_float("rate_factor", 0.25, 4.0, log=True)
    decay_factor = trial.suggest_float("decay_factor", 0.1, 10.0, log=True)
    optimizer = dataclasses.replace(
        e.optimizer,
        learning_rate=e.optimizer.learning_rate * lr_factor,
        weight_decay=e.optimizer.weight_decay * decay_factor,
    )
    return dataclasses.replace(e, optimizer=optimizer)


def _scaled(channels: int | tuple[int, ...], width: float) -> int | tuple[int, ...]:
    if isinstance(channels, tuple):
        return tuple(max(1, round(width * c)) for c in channels)
    return max(1, round(width * channels))


def _page(study: Study, search, states) -> None:
    finished = sorted(search.get_trials(states=(states.COMPLETE,)), key=lambda t: -t.value)
    pruned = search.get_trials(states=(states.PRUNED,))
    if not finished:
        raise UserError("expected a trial that ran to its end, found none; ask for more --trials")
    best = finished[0]
    choices = ", ".join(f"{k} {_short(v)}" for k, v in best.params.items())
    diverged = sum(_DIVERGED in trial.user_attrs for trial in pruned)
    text = (
        f"Best of {len(finished)} trials that ran to their end ({len(pruned)} were stopped early"
        + (f", {diverged} of them since their training diverged" if diverged else "")
        + f"): {choices}; {best.value:.3f} on the oracle tier."
    )
    rivals = [t for t in finished if t.params["core"] != best.params["core"]]
    if rivals:
        a, b = (study.folder / run_name(t) for t in (rivals[0], best))
        differences = compare.compare(a, b, units=study.units)
        d = next(d for d in differences if d.tier == "oracle")
        text += (
            f" The best of another core ({rivals[0].params['core']}) has {rivals[0].value:.3f}; "
            f"the difference is {d.b - d.a:+.4f} ({d.low:+.4f} to {d.high:+.4f} "
            "over clips and neurons; seeds of training are not counted)."
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
        page.figure(_curves(finished, pruned), "Oracle score by epoch; dashed: stopped early."),
        page.table(["trial", "oracle", *names], rows),
        numbers={
            "best": best.params | {"oracle": best.value, "run": run_name(best)},
            "finished": len(finished),
            "stopped": len(pruned),
            "diverged": diverged,
        },
        checks=checks(best.params["core"]) if study.simulated else (),
    )


def _curves(finished: list, pruned: list):
    stopped = [(t, False) for t in finished] + [(t, True) for t in pruned]
    return search_curves([(t.params["core"], t.intermediate_values, s) for t, s in stopped])


def checks(core: str) -> list[Check]:
    """The expected result for simulated mice, if there are enough trials."""
    expected = "simulated neurons filter over time: so does the winner, if trials are enough"
    return [Check(expected, core != "static")]


def _short(value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
