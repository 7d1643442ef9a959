"""Our compiled train step and prediction against the same baselines written plainly in PyTorch.

    python benchmarks/against_torch.py                        two cores: about ten minutes
    python benchmarks/against_torch.py --model gru --rounds 9 --compile --json times.json
    python benchmarks/against_torch.py --device cuda --dtype both --compile --mice 5 --trials 8 \\
        --frames 80                                           a GPU

Both have the published widths and kernels of the GRU and the factorised baseline, the full
Gaussian readout with cortical positions, the shifter, the Poisson loss with penalties and AdamW;
``torch_peer.py`` is the other one. First the peer's weights are carried over by ``torch_import``;
predictions must agree to 1e-4 of the largest, the first step's loss to 1e-4, and the gradients of
the core's weights in that step to 1e-3 of the largest of each array, or nothing is timed. A GPU
shows this in float32 with exact products, and is timed with what either library does by itself.
Then all take turns in every round; reported are medians, and the median and range over rounds of
the ratio to eager PyTorch, in float32 if that is there, in the same round. Trials and frames are
cut down so that two cores finish: the published batch is 8 trials of 80 frames of every mouse.

FLOP/s count the convolutions as PyTorch writes them, whatever either does instead, against what a
large matrix product reaches on this device. Peak memory is that of a process with one contender
alone. For fewer threads run it under ``taskset``: PyTorch takes as many threads as there are cores
to run on, which is what XLA does.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))  # torch_peer, also in spawned processes

import record

TOLERANCE, OF_GRADIENTS = 1e-4, 1e-3
ROUNDED = 3e-2  # tolerance where factors of products are bfloat16
FILES = 700  # trial files of a mouse, in the starter kit's loss scale
TASKS = ("train step", "prediction")
# Rows and columns of the matrix product that measures the device, and how many of them are chained
# before it is waited for.
CEILING = {"cpu": (2048, 1), "cuda": (8192, 10)}


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
    """

    model: str
    mice: int
    trials: int
    frames: int
    neurons: int
    device: str
    dtype: str

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
        moments: AdamW's running mean of the gradients of the core's weights, as our own core names
            and lays them out; after one step, a tenth of its gradients.
        peak_bytes: asks a GPU for its largest use of memory; None of a CPU.
        compile_s: seconds that the first step and the first prediction took.
    """

    train: Callable[[], float]
    predict: Callable[[], np.ndarray]
    moments: Callable[[], dict]
    peak_bytes: Callable[[], int | None]
    compile_s: float = 0.0


@dataclasses.dataclass(frozen=True)
class Contender:
    """A side that can be made, also in another process.

    Attributes:
        name: in tables.
        make: from the setting, a model of its own, batches and gammas.
        setting: what it runs.
    """

    name: str
    make: Callable[..., Side]
    setting: Setting


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
        choices=("float32", "bfloat16", "both"),
        default="float32",
        help="bfloat16: autocast in PyTorch, the core's weights and maps here",
    )
    parser.add_argument("--compile", action="store_true", help="also time torch.compile")
    parser.add_argument("--no-memory", action="store_true", help="skip peak memory")
    record.add_flags(parser)
    flags = parser.parse_args()
    prepare(flags.device)
    dtypes = ("float32", "bfloat16") if flags.dtype == "both" else (flags.dtype,)
    results = [
        measure(contenders(flags, model, dtypes), rounds=flags.rounds, memory=not flags.no_memory)
        for model in (("gru", "factorized") if flags.model == "all" else (flags.model,))
    ]
    found = {
        "libraries": libraries(flags.device),
        "rounds": flags.rounds,
        "ceiling": {dtype: ceiling(flags.device, dtype) for dtype in dtypes},
        "results": results,
    }
    report(found)
    record.write(flags, found, draw)


def contenders(flags: argparse.Namespace, model: str, dtypes: tuple[str, ...]) -> list[Contender]:
    """Who runs a model, in every dtype."""
    frames = flags.frames or {"gru": 8, "factorized": 30}[model]
    sizes = flags.mice, flags.trials, frames, flags.neurons
    kinds = {"sensorium_jax": ours, "PyTorch": eager}
    kinds |= {"torch.compile": compiled} if flags.compile else {}
    return [
        Contender(
            name if len(dtypes) == 1 else f"{name}, {dtype}",
            make,
            Setting(model, *sizes, flags.device, dtype),
        )
        for dtype in dtypes
        for name, make in kinds.items()
    ]


def prepare(device: str) -> None:
    """Threads, and a GPU that both can use; before JAX first touches a device."""
    import jax
    import torch

    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("expected a CUDA device for --device cuda, PyTorch sees none")
    if device == "cuda" and jax.default_backend() != "gpu":
        raise SystemExit(
            f"expected a GPU for --device cuda, JAX computes on {jax.default_backend()}; "
            "install jax[cuda12], and leave JAX_PLATFORMS alone"
        )
    torch.set_num_threads(record.cores())


def libraries(device: str) -> dict[str, Any]:
    """Versions, devices, and how exact either library's products of float32 are by default."""
    import jax
    import torch

    return {
        "jax": jax.__version__,
        "torch": torch.__version__,
        "jax_device": jax.devices()[0].device_kind,
        "torch_device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "threads": record.cores(),
        "jax_precision": jax.config.jax_default_matmul_precision or "default",
        "torch_precision": torch.get_float32_matmul_precision(),
        "torch_tf32": {
            "convolutions": torch.backends.cudnn.allow_tf32,
            "products": torch.backends.cuda.matmul.allow_tf32,
        },
    }


@contextlib.contextmanager
def exact_products(s: Setting) -> Iterator[None]:
    """Neither library rounds the factors of products; a CPU never does."""
    import jax
    import torch

    if s.device != "cuda" or s.dtype != "float32":
        yield
        return
    places = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [place.allow_tf32 for place in places]
    try:
        for place in places:
            place.allow_tf32 = False
        with jax.default_matmul_precision("highest"):
            yield
    finally:
        for place, allowed in zip(places, before, strict=True):
            place.allow_tf32 = allowed


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


def compiled(s: Setting, model: Any, batches: dict, gammas: tuple) -> Side:
    """PyTorch under ``torch.compile``."""
    from torch_peer import compiled_forward

    return eager(s, model, batches, gammas, forward=compiled_forward(model))


def eager(
    s: Setting, model: Any, batches: dict, gammas: tuple, *, forward: Callable | None = None
) -> Side:
    """PyTorch, op by op unless there is another ``forward`` of the same model."""
    import torch
    from torch_peer import train_step

    from sensorium_jax.torch_import import from_starter_kit

    forward = forward or model
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

    def moments() -> dict:
        named = {k: x.detach().cpu().numpy() for k, x in model.state_dict().items()}
        for name, parameter in model.named_parameters():
            named[name] = optimizer.state[parameter]["exp_avg"].cpu().numpy()
            if name.startswith("gru_module") and name.endswith("_hidden.bias"):
                named[name] = np.zeros_like(
                    named[name]
                )  # ours is the sum of both, its gradient not
        return from_starter_kit(named, **options(s.model, gammas)).params.weights["core"]

    def peak() -> int | None:
        return torch.cuda.max_memory_allocated() if s.device == "cuda" else None

    return Side(train, predict, moments, peak)


def ours(s: Setting, model: Any, batches: dict, gammas: tuple) -> Side:
    """The same weights and batches in the library's own compiled programs."""
    import jax
    import jax.numpy as jnp
    import optax

    from sensorium_jax import parallel
    from sensorium_jax.experiment import optim
    from sensorium_jax.models import losses
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

    def moments() -> dict:
        return jax.device_get(optax.tree_utils.tree_get(state[0].opt, "mu")["core"])

    def peak() -> int | None:
        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")

    return Side(train, predict, moments, peak)


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


def measure(contending: list[Contender], *, rounds: int, memory: bool) -> dict[str, Any]:
    """Check that both libraries compute the same, then time all in turn."""
    # First, while this process holds nothing on a GPU.
    peaks = {c.name: alone(c) for c in contending} if memory else {}
    model, *data = peer(contending[0].setting)
    flops = count_flops(model, *data)
    sides = {c.name: c.make(c.setting, copy.deepcopy(model), *data) for c in contending}
    agreement, notes = {}, []
    for one, other in pairs(contending):
        s, both = one.setting, (sides[one.name], sides[other.name])
        with exact_products(s):
            agreement[s.dtype] = check(s, *map(start, both))
        if s.device == "cuda" and s.dtype == "float32":
            for side in both:  # what is timed has not been compiled yet
                start(side)
    for c in contending:
        if c.make is compiled:
            try:
                start(sides[c.name])
            except Exception as error:  # whatever a missing compiler or an unknown op makes of it
                notes.append(f"{c.name} failed: {type(error).__name__}: {str(error)[:200]}")
                del sides[c.name]
    times = take_turns(sides, rounds)
    base = next(c.name for c in contending if c.make is eager)
    return {
        "setting": dataclasses.asdict(contending[0].setting),
        "dtypes": {c.name: c.setting.dtype for c in contending},
        "agreement": agreement,
        "flops": flops,
        "seconds": times,
        "times_faster_than_eager": {
            name: {task: np.divide(times[base][task], t).tolist() for task, t in each.items()}
            for name, each in times.items()
            if name != base
        },
        "compile_s": {
            name: side.compile_s - sum(float(np.median(t)) for t in times[name].values())
            for name, side in sides.items()
        },
        "peak_bytes": peaks,
        "notes": notes,
    }


def pairs(contending: list[Contender]) -> list[tuple[Contender, Contender]]:
    """Ours and the eager peer, of every dtype."""
    one, other = ([c for c in contending if c.make is make] for make in (ours, eager))
    return list(zip(one, other, strict=True))


def take_turns(sides: dict[str, Side], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of every round, by side and task; every other round backwards."""
    times = {name: {task: [] for task in TASKS} for name in sides}
    for i in range(rounds):
        for task in TASKS:
            for name in list(sides)[:: 1 if i % 2 == 0 else -1]:
                side = sides[name]
                program = side.train if task == TASKS[0] else side.predict
                times[name][task].append(seconds(program)[0])
    return times


def start(side: Side) -> tuple[np.ndarray, float, dict]:
    """The first prediction, the first step's loss and moments; keeps how long the two took."""
    spent, rates = seconds(side.predict)
    more, loss = seconds(side.train)
    side.compile_s = spent + more
    return rates, loss, side.moments()


def check(s: Setting, ours: tuple, theirs: tuple) -> dict[str, float]:
    """How far predictions, first losses and gradients are apart; raises unless they agree."""
    import jax

    def off(a: np.ndarray, b: np.ndarray) -> float:
        same = np.shape(a) == np.shape(b)
        return float(np.max(np.abs(a - b)) / np.max(np.abs(b))) if same else np.inf

    rates, losses, moments = zip(ours, theirs, strict=True)
    found = {
        "predictions": off(*rates),
        "losses": off(*losses),
        "gradients": max(jax.tree.leaves(jax.tree.map(off, *moments))),
    }
    exact = s.dtype == "float32"
    allowed = {"predictions": TOLERANCE, "losses": TOLERANCE, "gradients": OF_GRADIENTS}
    if not exact:  # what rounding does to gradients depends on the order of sums
        allowed = {"predictions": ROUNDED, "losses": ROUNDED, "gradients": np.inf}
    text = ", ".join(f"{name} {x:.1e}" for name, x in found.items())
    if not all(found[name] <= allowed[name] for name in found):
        raise SystemExit(
            f"{s.model}: not the same function, so nothing is timed: {s.dtype} differs, relative "
            f"to the largest, by: {text}; expected at most {allowed}"
        )
    print(f"{s.model}, {s.dtype}: both libraries agree, relative to the largest: {text}")
    return found


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


def ceiling(device: str, dtype: str) -> dict[str, float]:
    """FLOP/s of large matrix products, one after the other, by either library; the best of five."""
    import jax
    import jax.numpy as jnp
    import torch

    n, chained = CEILING[device]
    x = torch.randn(n, n, device=device, dtype=getattr(torch, dtype)) / n**0.5  # stays finite
    y = jnp.asarray(x.float().cpu().numpy(), dtype)
    product = jax.jit(jnp.matmul)

    def by_jax() -> None:
        z = y
        for _ in range(chained):
            z = product(z, y)
        jax.block_until_ready(z)

    def by_torch() -> None:
        z = x
        for _ in range(chained):
            z = torch.mm(z, x)
        if device == "cuda":
            torch.cuda.synchronize()

    best = {}
    for name, program in {"sensorium_jax": by_jax, "PyTorch": by_torch}.items():
        program()
        best[name] = 2 * chained * n**3 / min(seconds(program)[0] for _ in range(5))
    return best


def alone(contender: Contender) -> int | None:
    """Peak memory, in bytes, of a process that does two steps and predictions of one contender.

    Of a GPU what the library took there, of a CPU the largest resident set.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        try:
            return pool.submit(_alone, contender).result()
        except Exception:  # timing it fails in the same way, and says so
            return None


def _alone(contender: Contender) -> int:
    s = contender.setting
    prepare(s.device)
    side = contender.make(s, *peer(s))
    for _ in range(2):
        side.predict()
        side.train()
    return side.peak_bytes() or 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def report(found: dict[str, Any]) -> None:
    """Print the tables."""
    from rich.console import Console

    console, used = Console(), found["libraries"]
    console.print(
        f"jax {used['jax']} on {used['jax_device']}, torch {used['torch']} on "
        f"{used['torch_device']}, {used['threads']} threads; large matrix product: "
        + ", ".join(
            f"{name} {x / 1e9:.0f} GFLOP/s in {dtype}"
            for dtype, each in found["ceiling"].items()
            for name, x in each.items()
        )
    )
    for r in found["results"]:
        console.print(table(r, found["ceiling"]))
        for name, spent in r["compile_s"].items():
            peak = r["peak_bytes"].get(name)
            memory = f", peak memory {peak / 2**30:.2f} GiB" if peak else ""
            first = f"{spent:.1f} s" if spent > 0 else "none"
            console.print(f"  {name}: compilation of both programs {first}{memory}")
        for note in r["notes"]:
            console.print(f"  {note}")


def table(r: dict[str, Any], ceilings: dict[str, dict[str, float]]):
    """One row for every task of every contender."""
    from rich.table import Table

    s = r["setting"]
    out = Table(
        title=f"{s['model']} at published widths; batch cut to {s['mice']} x {s['trials']} "
        f"trials of {s['frames']} frames, {s['neurons']} neurons a mouse"
    )
    out.add_column("")
    for column in ("ms", "frames/s", "GFLOP/s", "of product", "times faster than eager"):
        out.add_column(column, justify="right")
    frames = s["mice"] * s["trials"] * s["frames"]
    for task in TASKS:
        for name, each in r["seconds"].items():
            t = float(np.median(each[task]))
            rate = r["flops"][task] / t
            share = rate / max(ceilings[r["dtypes"][name]].values())
            x = r["times_faster_than_eager"].get(name, {}).get(task)
            out.add_row(
                f"{task}, {name}",
                f"{1e3 * t:.0f}",
                f"{frames / t:.1f}",
                f"{rate / 1e9:.1f}",
                f"{100 * share:.0f} %",
                f"{np.median(x):.2f} ({min(x):.2f} to {max(x):.2f})" if x else "",
            )
    return out


def draw(found: dict[str, Any]):
    """Every round's ratio to eager PyTorch, and their medians."""
    from sensorium_jax.pages import page

    bars = {
        f"{r['setting']['model']}, {task}, {name}": ratios
        for r in found["results"]
        for name, each in r["times_faster_than_eager"].items()
        for task, ratios in each.items()
    }
    figure = page.make_figure(7, 1 + 0.3 * len(bars))
    axes = figure.subplots()
    for i, ratios in enumerate(bars.values()):
        axes.barh(i, np.median(ratios), color="C0", alpha=0.4)
        axes.plot(ratios, [i] * len(ratios), "k.", markersize=4)
    axes.axvline(1, color="k", linewidth=0.8)
    axes.set(yticks=range(len(bars)), yticklabels=bars, xlabel="times faster than eager PyTorch")
    axes.invert_yaxis()
    return figure


if __name__ == "__main__":
    main()
