"""Train a model of mouse visual cortex and score it on every tier.

With no data, the model trains at demo size on three simulated mice: a few minutes on a laptop.

    python experiments/run.py --config=gru_baseline

With recordings converted by data_prep/sensorium_2023.py, it trains at the published size.

    python experiments/run.py --config=gru_baseline --data=STORE

Any field of the config can be changed; the same command again goes on where it stopped.

    python experiments/run.py --config=gru_baseline --set model.core.channels=8 --set seed=1
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import time
from pathlib import Path

from absl import app, flags, logging

from sensorium_jax.programs import use_huge_pages

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "experiments" / "configs"

_CONFIG = flags.DEFINE_string("config", "gru_baseline", "a file in experiments/configs, by name")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "where checkpoints and the report go (default: runs/CONFIG-SIZE)"
)
_DATA = flags.DEFINE_string(
    "data",
    os.environ.get("SENSORIUM_DATA"),
    "a store made by data_prep/ (default: $SENSORIUM_DATA, else simulated mice)",
)
_TIERS = flags.DEFINE_string(
    "tiers",
    None,
    "a table from python -m sensorium_jax.data.tiers, such as a fold (default: the store's own)",
)
_SET = flags.DEFINE_multi_string("set", [], "change a field: --set model.core.channels=8")
_SIZE = flags.DEFINE_enum(
    "size",
    None,
    ["demo", "published"],
    "which size of the config (default: published with data, demo without)",
)
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    False,
    "one process of several: Slurm, TPU pods and Open MPI say which; else set "
    "JAX_COORDINATOR_ADDRESS=HOST:PORT, JAX_NUM_PROCESSES and JAX_PROCESS_ID",
)
_DEVICES = flags.DEFINE_integer(
    "devices", None, "how many devices share each batch (default: as many as divide it)"
)


def main(argv: list[str]) -> None:
    """Run the command; bad input ends it with one line and exit code 2."""
    logging.set_verbosity(logging.FATAL)  # orbax logs, traceback and all, what it raises too
    sys.path.insert(0, str(ROOT))  # so that configs can import each other
    sys.exit(exit_code_of(run, argv))


def exit_code_of(body, argv: list[str]) -> int:
    """What a program of experiments ends with: 0, 2 after one line, or 130 when it was stopped."""
    from sensorium_jax.errors import UserError
    from sensorium_jax.programs import exit_code
    from sensorium_jax.train import Interrupted

    def checked() -> int:
        if len(argv) > 1:
            raise UserError(f"expected only --flags, got {argv[1]!r}; see --help")
        try:
            body()
        except Interrupted as stop:
            print(f"Stopped ({stop}). Run the same command again to go on.", file=sys.stderr)
            return 130
        return 0

    return exit_code(checked)


def run() -> None:
    """Prepare, train, evaluate, report."""
    began = time.monotonic()
    join_processes()
    console = make_console()
    size = chosen_size()
    if not _DATA.value:
        console.print(
            f"No --data given: training at {size} size on three simulated mice. "
            "Scores below are on simulated neurons, not on mice."
        )
    experiment = with_overrides(load_config(_CONFIG.value, size))
    use_compilation_cache(console)
    folder = Path(_WORKDIR.value or f"runs/{_CONFIG.value}-{size}").resolve()
    result = complete(experiment, folder, console, store=store_path(console))
    console.print(result.table(title=f"{folder.name}: best weights"))
    console.print(f"Scores with intervals, neurons, filters: {folder / 'report.html'}")
    console.print(f"Done in {time.monotonic() - began:.0f} s.")


def join_processes() -> None:
    """Join the other processes of a run, if --distributed says that there are some."""
    if not _DISTRIBUTED.value:
        return
    import jax

    from sensorium_jax.errors import UserError

    number = {
        name: int(os.environ[f"JAX_{name.upper()}"])
        for name in ("num_processes", "process_id")
        if f"JAX_{name.upper()}" in os.environ
    }
    try:
        jax.distributed.initialize(**number)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"expected other processes to join, found none ({error}); start all of them, by Slurm "
            "or with the variables that --help names"
        ) from None


def make_console():
    """Where the program prints; of several processes, the first one does."""
    import jax
    from rich.console import Console

    first = not _DISTRIBUTED.value or jax.process_index() == 0
    return Console(soft_wrap=True, highlight=False, quiet=not first)


def with_overrides(experiment):
    """The experiment with what --set says."""
    from sensorium_jax.experiment import override

    for assignment in _SET.value:
        experiment = override(experiment, assignment)
    return experiment


def workdir() -> str | None:
    """What --workdir names."""
    return _WORKDIR.value


def data() -> str | None:
    """What --data names."""
    return _DATA.value


def chosen_size() -> str:
    """What --size says, else published with data and demo without."""
    return _SIZE.value or ("published" if _DATA.value else "demo")


def store_path(console) -> Path:
    """What --data names, else simulated mice."""
    from sensorium_jax import demo_store
    from sensorium_jax.parallel import in_turn

    if _DATA.value:
        return Path(_DATA.value).resolve()
    return in_turn(lambda: demo_store(console))


def complete(experiment, workdir: Path, console, *, store: Path, **options):
    """Train an experiment to its end, or go on; score it, leave its files, return its Report.

    ``options`` go to ``train``.
    """
    import jax

    from sensorium_jax import ensemble, load_recordings, parallel, results, run_page
    from sensorium_jax.ensembles import train_ensemble
    from sensorium_jax.run import claim
    from sensorium_jax.train import train

    shared = experiment.neuron_devices
    recordings = load_recordings(store, tiers=_TIERS.value, multiple=shared)
    devices = _DEVICES.value or parallel.devices_for(experiment.data.trials, neuron_devices=shared)
    mesh = parallel.make_mesh(devices, neuron_devices=shared)
    console.print(
        f"{len(recordings.session_names)} mice from {store}; "
        f"{mesh.size} of {jax.device_count()} {jax.default_backend()} devices"
        + (f" in {jax.process_count()} processes" if jax.process_count() > 1 else "")
    )
    parallel.in_turn(lambda: claim(workdir, experiment, recordings))
    console.print(f"Results go to {workdir}")
    run_training = train if experiment.members == 1 else train_ensemble
    run_training(experiment, workdir, recordings, mesh=mesh, console=console, **options)
    trained = ensemble(workdir, devices=mesh.size)
    report = trained.evaluate_all(console)
    if jax.process_index() > 0:
        return report
    logs = sorted(workdir.glob("**/metrics.jsonl"))
    with console.status("drawing intervals, writing the page"):
        results.write(workdir, report)
        run_page.write(workdir / run_page.NAME, trained, report, logs=logs)
    return report


def load_config(name: str, size: str):
    """The experiment of a config file: its ``demo`` or ``published``."""
    from sensorium_jax.errors import UserError

    known = sorted(p.stem for p in CONFIGS.glob("*.py") if p.stem != "__init__")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
        raise UserError(f"no config {name!r} in {CONFIGS}; {hint}")
    return getattr(importlib.import_module(f"experiments.configs.{name}"), size)


def use_compilation_cache(console) -> None:
    """Keep compiled programs between runs, in the user's cache."""
    import jax
    import platformdirs

    if jax.config.jax_compilation_cache_dir is None:
        folder = platformdirs.user_cache_path("sensorium_jax") / "xla"
        jax.config.update("jax_compilation_cache_dir", str(folder))
    console.print(f"Compiled programs are kept in {jax.config.jax_compilation_cache_dir}")


if __name__ == "__main__":
    use_huge_pages()
    app.run(main)
