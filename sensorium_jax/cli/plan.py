"""What a training will take, before anything runs: memory of a device, time and disk.

    sensorium-jax plan --config=gru_baseline                    for the ten mice of the release
    sensorium-jax plan --config=gru_baseline --data=STORE       for the mice of a store
    sensorium-jax plan --config=gru_baseline --steps 3          and time three steps

The steps of training are compiled by shape alone, and XLA says what each needs. Plans are tried
from the fastest to the leanest (how many mice side by side, what gradients compute again), and the
first one that fits is what training will use; --set training.mice_at_once=1 and --set
training.rematerialise=all choose another. Exit code 2 if none fits, with what to change.
"""

from __future__ import annotations

from collections.abc import Sequence

from sensorium_jax.cli.experiment_flags import add_flags, store_path
from sensorium_jax.cli.parser import Parser
from sensorium_jax.cli.programs import check_devices, exit_code, use_compilation_cache


def main(argv: Sequence[str]) -> int:
    """Run the subcommand."""
    flags = _parser().parse_args(argv)
    return exit_code(lambda: run(flags))


def run(flags) -> int:
    """Compile, and print tables."""
    check_devices()
    import jax

    from sensorium_jax.configs import load_config
    from sensorium_jax.errors import UserError
    from sensorium_jax.experiment import override
    from sensorium_jax.pages.terminal import make_console, show
    from sensorium_jax.training.forecast import forecast
    from sensorium_jax.training.plan import does_not_fit

    console = make_console()
    experiment = load_config(flags.config, flags.size or "published")
    for assignment in flags.set:
        experiment = override(experiment, assignment)
    use_compilation_cache(console)
    neurons, frames = _mice(flags)
    with console.status("compiling"):
        options = {"devices": flags.devices, "frames": frames, "steps": flags.steps}
        found = forecast(experiment, neurons, **options)
    kind = jax.devices()[0].device_kind
    title = f"{flags.config}: {len(neurons)} mice, {max(neurons):,} neurons at most"
    show(_table(found, f"{title}; {found.devices} x {kind}"), console)
    if found.step_s is not None:
        minutes = found.step_s * experiment.epoch_steps / 60
        console.print(f"{found.step_s:.2f} s a step, {minutes:.1f} min an epoch without scoring")
    if found.chosen is None:
        raise UserError(does_not_fit(experiment.data, min(found.plans.values()), found.free))
    console.print(f"Training will take {found.chosen}.")
    return 0


def _mice(flags) -> tuple[list[int], int]:
    """Neurons of every mouse, and frames of the longest trial."""
    from sensorium_jax.data.recordings import load_recordings
    from sensorium_jax.prepare import release

    store = store_path(flags)
    if store is None:
        return [mouse.neurons for mouse in release.mice().values()], 300
    sessions = load_recordings(store, tiers=flags.tiers).sessions
    return [s.neurons for s in sessions], max(int(s.trials.frames.max()) for s in sessions)


def _table(found, title: str):
    """Memory by part, and of the step by plan."""
    from sensorium_jax.tables import Row, Table

    def row(name: str, size: int, *, level: int = 0, note: str = "") -> Row:
        return Row((name, f"{size / 2**30:.2f}", note), level)

    rows = [row(name, size) for name, size in found.parts.items()]
    rows.append(Row(("a training step, beside these", "", "")))
    for plan, size in found.plans.items():
        fit = "fits" if plan == found.chosen else "does not fit"
        rows.append(row(str(plan), size, level=1, note=fit))
    rows += [
        row("a step of scoring, beside weights and trials", found.evaluation),
        row("free memory of a device", found.free),
        row("checkpoints, on the disk", found.disk),
    ]
    return Table(("", "GiB", ""), tuple(rows), title=title)


def _parser() -> Parser:
    parser = Parser("plan", __doc__)
    parser.add_argument("--config", default="gru_baseline", metavar="NAME", help="as for train")
    add_flags(parser)
    parser.add_argument(
        "--steps", type=int, default=0, metavar="N", help="steps to time (default 0: none)"
    )
    return parser
