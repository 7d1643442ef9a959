"""Our compiled train step and prediction against the same baselines written plainly in PyTorch.

    python benchmarks/against_torch.py                        two cores: about ten minutes
    python benchmarks/against_torch.py --model gru --rounds 9 --compile --json times.json
    python benchmarks/against_torch.py --device cuda --mice 5 --trials 8 --frames 80

Both have the published widths and kernels of the GRU and the factorised baseline, the full
Gaussian readout with cortical positions, the shifter, the Poisson loss with penalties and AdamW;
``torch_peer.py`` is the other one. First the peer's weights are carried over by ``torch_import``;
predictions must agree to 1e-4 of the largest and the first step's loss to 1e-4, or nothing is
timed. Then all take turns in every round; reported are medians, and the median and range over
rounds of the ratio to eager PyTorch in the same round. Trials and frames are cut down so that two
cores finish: the published batch is 8 trials of 80 frames of every mouse.

FLOP/s count the convolutions as PyTorch writes them, whatever either does instead, against what a
large matrix product reaches on this device. For fewer threads run it under ``taskset``: PyTorch
takes as many threads as there are cores to run on, which is what XLA does.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))  # torch_peer, also in spawned processes
TOLERANCE = 1e-4
FILES = 700  # trial files of a mouse, in the starter kit's loss scale
TASKS = ("train step", "prediction")
CEILING = 4096  # rows and columns of the matrix product that measures the device


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is run.

    Attributes:
        model: "gru" or "factorized".
        mice: sessions in a batch.
        trials: of every session.
        frames: of every trial.
        neurons: of every session.
        device: of PyTorch, "cpu" or "cuda"; JAX takes its default device.
        dtype: "float32", or "bfloat16" for the core and, in PyTorch, whatever autocast chooses.
        compile: also run the peer under ``torch.compile``.
    """

    model: str
    mice: int
    trials: int
    frames: int
    neurons: int
    device: str
    dtype: str
    compile: bool

    @property
    def sessions(self) -> tuple[str, ...]:
        """Names of the mice."""
        return tuple(f"mouse{i}" for i in range(self.mice))


@dataclasses.dataclass
class Side:
    """One contender; every call returns when the device is done.

    Attributes:
        train: one update; returns the loss before it.
        predict: rates [S B T' N] of the batch, by the weights as they are.
        compile_s: seconds that the first step and the first prediction took.
        peak_bytes: asks the device for its largest use of memory, or None.
    """

    train: Callable[[], float]
    predict: Callable[[], np.ndarray]
    compile_s: float = 0.0
    peak_bytes: Callable[[], int | None] = lambda: None


def main() -> None:
    """Check, measure and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=("gru", "factorized", "all"), default="all")
    parser.add_argument("--mice", type=int, default=1, help="sessions in a batch (default 1)")
    parser.add_argument("--trials", type=int, default=4, help="of every mouse (default 4)")
    parser.add_argument(
        "--frames", type=int, help="of every trial (default 8 for gru, 30 for factorized)"
    )
    parser.add_argument("--neurons", type=int, default=8000, help="of every mouse (default 8000)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default 5)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="PyTorch's")
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="bfloat16: autocast in PyTorch, the core's weights and maps here",
    )
    parser.add_argument("--compile", action="store_true", help="also time torch.compile")
    parser.add_argument("--no-memory", action="store_true", help="skip peak memory on a CPU")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single time")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios (matplotlib)")
    flags = parser.parse_args()
    models = ("gru", "factorized") if flags.model == "all" else (flags.model,)
    frames = {"gru": flags.frames or 8, "factorized": flags.frames or 30}
    settings = [
        Setting(
            name,
            flags.mice,
            flags.trials,
            frames[name],
            flags.neurons,
            flags.device,
            flags.dtype,
            flags.compile,
        )
        for name in models
    ]
    prepare(flags.device)
    memory = not flags.no_memory and flags.device == "cpu"
    record = environment(flags.device) | {"rounds": flags.rounds, "ceiling": ceiling(settings[0])}
    results = [measure(s, rounds=flags.rounds, memory=memory) for s in settings]
    record["results"] = results
    report(record)
    if flags.json:
        flags.json.write_text(json.dumps(record, indent=1) + "\n")
    if flags.plot:
        plot(results, flags.plot)


def prepare(device: str) -> None:
    """Threads, and a GPU that both can use; before JAX first touches a device."""
    import torch

    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("expected a CUDA device for --device cuda, PyTorch sees none")
    torch.set_num_threads(threads())


def threads() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def environment(device: str) -> dict[str, Any]:
    """What the times belong to."""
    import jax
    import torch

    return {
        "jax": jax.__version__,
        "torch": torch.__version__,
        "jax_device": jax.devices()[0].device_kind,
        "torch_device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "threads": threads(),
        "torch_tf32": {
            "convolutions": torch.backends.cudnn.allow_tf32,
            "products": torch.backends.cuda.matmul.allow_tf32,
        },
    }


def peer(s: Setting) -> tuple[Any, dict, tuple]:
    """The peer's model, batches by session, and the gammas of its penalty."""
    import torch
    from torch_peer import Recording, build

    torch.manual_seed(0)
    model, gammas = build(s.model, sessions=s.sessions, neurons=s.neurons)
    batches = {}
    for name in s.sessions:
        film = torch.randn(s.trials, 1, s.frames, 36, 64)
        behavior = torch.rand(s.trials, 2, s.frames, 1, 1).expand(-1, -1, -1, 36, 64)
        pupil = 0.3 * torch.randn(s.trials, s.frames, 2)
        response = torch.rand(s.trials, s.frames, s.neurons)
        recording = Recording(torch.cat([film, behavior], 1), pupil, response)
        batches[name] = Recording(*(x.to(s.device) for x in recording))
    return model.to(s.device), batches, gammas


def eager(s: Setting, model: Any, batches: dict, gammas: tuple, *, compiled: bool = False) -> Side:
    """PyTorch, op by op or compiled."""
    import torch
    from torch_peer import train_step

    forward = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005, weight_decay=0.01)

    def cast():
        if s.dtype == "float32":
            return contextlib.nullcontext()
        return torch.autocast(s.device, torch.bfloat16)

    def train() -> float:
        model.train()
        loss = train_step(model, forward, optimizer, batches, gammas, files=FILES, cast=cast)
        synchronise()
        return loss

    def predict() -> np.ndarray:
        model.eval()
        with torch.inference_mode(), cast():
            rates = [forward(b.video, b.pupil_center, name) for name, b in batches.items()]
        synchronise()
        return np.stack([rate.float().cpu().numpy() for rate in rates])

    def synchronise() -> None:
        if s.device == "cuda":
            torch.cuda.synchronize()

    def peak() -> int | None:
        return torch.cuda.max_memory_allocated() if s.device == "cuda" else None

    return Side(train, predict, peak_bytes=peak)


def ours(s: Setting, model: Any, batches: dict, gammas: tuple) -> Side:
    """The same weights and batches in the library's own compiled programs."""
    import jax
    import jax.numpy as jnp

    from sensorium_jax import losses, optim, parallel
    from sensorium_jax.torch_import import from_starter_kit
    from sensorium_jax.types import Batch, Moments, Statistics, TrainState

    state_dict = {k: x.detach().cpu().numpy() for k, x in model.state_dict().items()}
    trained = from_starter_kit(state_dict, **options(s.model, gammas))
    architecture = dataclasses.replace(trained.model, dtype=s.dtype)
    film = np.stack([b.video.cpu().numpy() for b in batches.values()])  # [S B C T H W]
    pupil = np.stack([b.pupil_center.cpu().numpy() for b in batches.values()])
    response = np.stack([b.response.cpu().numpy() for b in batches.values()])
    first, mask = np.zeros(film.shape[:2], np.int32), np.ones(response.shape[:3], bool)
    behavior = np.moveaxis(film[:, :, 1:, :, 0, 0], 2, 3)
    batch = Batch(film[:, :, 0], behavior, pupil, response, first, mask)

    def moments(*shape: int) -> Moments:
        whole = (s.mice, 1, *shape)
        return Moments(jnp.zeros(whole), jnp.ones(whole))

    files = jnp.full(s.mice, FILES, jnp.float32)
    statistics = Statistics(moments(36, 64), moments(2), moments(2), moments(s.neurons), files)
    mesh = parallel.make_mesh(1)
    optimizer = optim.AdamW(learning_rate=0.005, weight_decay=0.01).make(1)
    scaling = losses.Scaling("reference")
    step = parallel.make_train_step(architecture, scaling, optimizer, mesh)
    predict_step = parallel.make_predict_step(architecture, mesh)
    batch, neurons = parallel.shard_batch(batch, mesh), parallel.replicate(trained.neurons, mesh)
    params = jax.tree.map(jnp.array, trained.params)
    start = TrainState(jnp.int32(0), params, optimizer.init(params.weights))
    state = [parallel.replicate(start, mesh)]
    key = jax.random.key(0)

    def train() -> float:
        state[0], metrics = step(state[0], batch, neurons, statistics, key, jnp.float32(1))
        return float(jax.block_until_ready((state[0], metrics["loss"]))[1])

    def predict() -> np.ndarray:
        return np.asarray(predict_step(state[0].params, batch, neurons, statistics))

    def peak() -> int | None:
        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")

    return Side(train, predict, peak_bytes=peak)


def options(model: str, gammas: tuple[float, float]) -> dict[str, Any]:
    """What the starter kit's ``make_video_model`` would be asked for (benchmarks_training)."""
    heads = {
        "readout_type": "gaussian",
        "readout_dict": {
            "bias": True,
            "gamma_readout": 0.0,
            "gauss_type": "full",
            "grid_mean_predictor": {
                "type": "cortex",
                "input_dimensions": 2,
                "hidden_layers": 1,
                "hidden_features": 30,
                "final_tanh": True,
            },
        },
        "use_shifter": True,
        "shifter_dict": {"shift_layers": 3, "hidden_channels_shifter": 5},
    }
    if model == "gru":
        core = {
            "input_channels": 3,
            "hidden_channels": 8,
            "num_rotations": 8,
            "layers": 4,
            "input_kern": 9,
            "hidden_kern": 7,
            "pad_input": False,
            "final_nonlinearity": False,
            "momentum": 0.9,
            "stack": -1,
            "laplace_padding": None,
            "use_avg_reg": False,
            "gamma_input": gammas[0],
            "gamma_hidden": gammas[1],
        }
        gru = {"input_channels": 64, "rec_channels": 64, "input_kern": 9, "rec_kern": 9}
        recurrent = {"use_gru": True, "gru_dict": gru}
        return {"core_type": "2D_equivariant", "core_dict": core, **recurrent, **heads}
    core = {
        "input_channels": 3,
        "hidden_channels": [32, 64, 128],
        "layers": 3,
        "spatial_input_kernel": 11,
        "temporal_input_kernel": 11,
        "spatial_hidden_kernel": 5,
        "temporal_hidden_kernel": 5,
        "momentum": 0.7,
        "gamma_input_spatial": gammas[0],
        "gamma_input_temporal": gammas[1],
    }
    return {"core_type": "3D_factorised", "core_dict": core, **heads}


SIDES = {"sensorium_jax": ours, "PyTorch": eager}


def measure(s: Setting, *, rounds: int, memory: bool) -> dict[str, Any]:
    """Check that both compute the same, then time them in turn."""
    model, batches, gammas = peer(s)
    flops = count_flops(model, batches, gammas)
    sides = {name: make(s, model, batches, gammas) for name, make in SIDES.items()}
    notes = []
    if s.compile:
        try:
            side = eager(s, *peer(s), compiled=True)
            start(side)
            sides["torch.compile"] = side
        except Exception as error:  # whatever a missing compiler or an unknown op makes of it
            notes.append(f"torch.compile failed: {type(error).__name__}: {str(error)[:200]}")
    first = [start(side) for name, side in sides.items() if name in SIDES]
    check(s, *first)
    times = {name: {task: [] for task in TASKS} for name in sides}
    for i in range(rounds):
        for task in TASKS:
            for name in list(sides)[:: 1 if i % 2 == 0 else -1]:
                side = sides[name]
                program = side.train if task == TASKS[0] else side.predict
                times[name][task].append(seconds(program)[0])
    compile_s = {name: side.compile_s for name, side in sides.items()}
    compile_s = {
        name: spent - sum(np.median(times[name][task]) for task in TASKS)
        for name, spent in compile_s.items()
    }
    peaks = {name: side.peak_bytes() for name, side in sides.items()}
    if memory:
        peaks |= {name: alone(s, name) for name in SIDES}
    ratios = {
        name: {task: (np.array(times["PyTorch"][task]) / t).tolist() for task, t in each.items()}
        for name, each in times.items()
        if name != "PyTorch"
    }
    return {
        "setting": dataclasses.asdict(s),
        "flops": flops,
        "seconds": times,
        "times_faster_than_eager": ratios,
        "compile_s": compile_s,
        "peak_bytes": peaks,
        "notes": notes,
    }


def start(side: Side) -> tuple[np.ndarray, float]:
    """The first prediction and the first step's loss; keeps how long they took."""
    spent, rates = seconds(side.predict)
    more, loss = seconds(side.train)
    side.compile_s = spent + more
    return rates, loss


def check(s: Setting, ours: tuple, theirs: tuple) -> None:
    """Raise unless predictions and the first loss agree."""
    if s.dtype != "float32" or s.device == "cuda":  # there both round the factors of products
        tolerance = 3e-2
    else:
        tolerance = TOLERANCE
    (a, loss_a), (b, loss_b) = ours, theirs
    off = float(np.abs(a - b).max() / np.abs(b).max()) if a.shape == b.shape else np.inf
    if not (off <= tolerance and abs(loss_a - loss_b) <= tolerance * abs(loss_b)):
        raise SystemExit(
            f"{s.model}: not the same function, so nothing is timed: predictions {a.shape} and "
            f"{b.shape} differ by {off:.1e} of the largest, losses are {loss_a:.7g} and "
            f"{loss_b:.7g}; expected {tolerance:.0e}"
        )
    print(f"{s.model}: predictions agree to {off:.1e}, losses {loss_a:.7g} and {loss_b:.7g}")


def seconds(program: Callable) -> tuple[float, Any]:
    """Wall clock of one call, and what it returned."""
    began = time.perf_counter()
    result = program()
    return time.perf_counter() - began, result


def count_flops(model: Any, batches: dict, gammas: tuple) -> dict[str, int]:
    """Floating point operations of the peer as it is written."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from torch_peer import train_step

    still = torch.optim.SGD(model.parameters(), lr=0.0)
    kept = {k: x.clone() for k, x in model.state_dict().items()}
    counted = {}
    with FlopCounterMode(display=False) as counter:
        model.train()
        train_step(model, model, still, batches, gammas, files=FILES, cast=contextlib.nullcontext)
        counted[TASKS[0]] = counter.get_total_flops()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.eval()
        for name, b in batches.items():
            model(b.video, b.pupil_center, name)
        counted[TASKS[1]] = counter.get_total_flops()
    model.load_state_dict(kept)  # running moments moved
    return counted


def ceiling(s: Setting) -> dict[str, float]:
    """FLOP/s of a large matrix product, by either library; the best of five."""
    import jax
    import jax.numpy as jnp
    import torch

    n = CEILING if s.device == "cuda" else CEILING // 2
    x = torch.randn(n, n, device=s.device, dtype=getattr(torch, s.dtype))
    y = jnp.asarray(x.float().cpu().numpy(), s.dtype)
    product = jax.jit(jnp.matmul)

    def by_torch() -> None:
        torch.mm(x, x)
        if s.device == "cuda":
            torch.cuda.synchronize()

    programs = {
        "sensorium_jax": lambda: jax.block_until_ready(product(y, y)),
        "PyTorch": by_torch,
    }
    best = {}
    for name, program in programs.items():
        program()
        best[name] = 2 * n**3 / min(seconds(program)[0] for _ in range(5))
    return best


def alone(s: Setting, name: str) -> int:
    """Largest resident set, in bytes, of a process that does two steps and predictions."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_alone, (s, name))


def _alone(s: Setting, name: str) -> int:
    prepare(s.device)
    side = SIDES[name](s, *peer(s))
    for _ in range(2):
        side.predict()
        side.train()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def report(record: dict[str, Any]) -> None:
    """Print the tables."""
    from rich.console import Console
    from rich.table import Table

    console, best = Console(), max(record["ceiling"].values())
    console.print(
        f"jax {record['jax']} on {record['jax_device']}, torch {record['torch']} on "
        f"{record['torch_device']}, {record['threads']} threads; large matrix product: "
        + ", ".join(f"{name} {x / 1e9:.0f} GFLOP/s" for name, x in record["ceiling"].items())
    )
    for r in record["results"]:
        s = r["setting"]
        table = Table(
            title=f"{s['model']} at published widths; batch cut to {s['mice']} x {s['trials']} "
            f"trials of {s['frames']} frames, {s['neurons']} neurons a mouse, {s['dtype']}"
        )
        table.add_column("")
        for column in ("ms", "frames/s", "GFLOP/s", "of product", "times faster than eager"):
            table.add_column(column, justify="right")
        frames = s["mice"] * s["trials"] * s["frames"]
        for task in TASKS:
            for name, each in r["seconds"].items():
                t = float(np.median(each[task]))
                rate = r["flops"][task] / t
                x = r["times_faster_than_eager"].get(name, {}).get(task)
                table.add_row(
                    f"{task}, {name}",
                    f"{1e3 * t:.0f}",
                    f"{frames / t:.1f}",
                    f"{rate / 1e9:.1f}",
                    f"{100 * rate / best:.0f} %",
                    f"{np.median(x):.2f} ({min(x):.2f} to {max(x):.2f})" if x else "",
                )
        console.print(table)
        for name, spent in r["compile_s"].items():
            peak = r["peak_bytes"].get(name)
            memory = f", peak memory {peak / 2**30:.2f} GiB" if peak else ""
            first = f"{spent:.1f} s" if spent > 0 else "none"
            console.print(f"  {name}: compilation of both programs {first}{memory}")
        for note in r["notes"]:
            console.print(f"  {note}")


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Every round's ratio to eager PyTorch, and their medians."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    labels = []
    for r in results:
        for name, each in r["times_faster_than_eager"].items():
            for task, ratios in each.items():
                axes.barh(len(labels), np.median(ratios), color="tab:blue", alpha=0.4)
                axes.plot(ratios, [len(labels)] * len(ratios), "k.", markersize=4)
                labels.append(f"{r['setting']['model']}, {task}, {name}")
    axes.axvline(1, color="k", linewidth=0.8)
    axes.set(
        yticks=range(len(labels)), yticklabels=labels, xlabel="times faster than eager PyTorch"
    )
    axes.invert_yaxis()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
