"""Every benchmark runs at its tiniest size, and leaves figures that say where they come from.

Not here, because they take longer: the default job, recordings, waiting, submission, ensemble,
simulated_mice, faults, steady.
"""

import dataclasses
import json
import math
import os
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
ENVIRONMENT = {"commit", "command", "cpu", "cores", "jax", "backend", "device"}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a benchmark's main function with these words; returns its JSON."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))  # one of them adds to it

    def run(module, *words):
        files = tmp_path / "figures.json", tmp_path / "figures.png"
        flags = [f"--json={files[0]}", f"--plot={files[1]}"]
        monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py", *map(str, words), *flags])
        module.main()
        found = json.loads(files[0].read_text())
        assert found.pop("environment").keys() >= ENVIRONMENT
        assert numbers(found)
        assert all(math.isfinite(x) for x in numbers(found))
        assert files[1].read_bytes().startswith(b"\x89PNG")
        assert sorted(tmp_path.iterdir()) == sorted(files), "left something beside its files"
        return found

    return run


@pytest.fixture
def small_demo(monkeypatch):
    """The demo that benchmarks train, with one layer and no recurrence: it compiles in seconds."""
    from sensorium_jax.configs import gru_baseline

    model = gru_baseline.demo.model
    core = model.core.clone(layers=1, kernel=(11,), stride=(5,), recurrence=None)
    small = dataclasses.replace(gru_baseline.demo, model=dataclasses.replace(model, core=core))
    monkeypatch.setattr(gru_baseline, "demo", small)
    return small


def numbers(tree):
    if isinstance(tree, dict | list):
        parts = tree.values() if isinstance(tree, dict) else tree
        return [x for part in parts for x in numbers(part)]
    return [tree] if isinstance(tree, int | float) else []


def test_convolution(run):
    import convolution

    found = run(convolution, "--images", 2, "--rounds", 1, "--only", "factorised, first")
    lowerings = {"direct", "shifted", "fourier"}
    assert found["space"]["factorised, first layer"]["forward"].keys() == lowerings
    assert found["frames"]["factorised, first layer"]["forward"].keys() == {"direct", "products"}


def test_forms_of_the_temporal_convolution_are_those_of_the_library(run):
    import convolution
    import numpy as np

    from sensorium_jax.models.nn import conv

    rng = np.random.default_rng(0)
    x, kernel = (rng.normal(size=s).astype("float32") for s in ((2, 7, 3, 4, 5), (3, 5, 6)))
    expected = conv.conv_time(x, kernel)
    for form in (convolution.time_directly, convolution.time_as_products):
        np.testing.assert_allclose(form(x, kernel), expected, rtol=1e-4, atol=1e-5)


def test_readout(run):
    import numpy as np
    import readout

    sizes = {"neurons": 5, "channels": 3, "frames": 4, "height": 3, "width": 4, "mice": 2}
    words = [word for name, size in sizes.items() for word in (f"--{name}", size)]
    found = run(readout, *words, "--rounds", 1)
    assert found["forms"].keys() == readout.FORMS.keys()

    rng = np.random.default_rng(0)
    features, grid, weights = (
        rng.uniform(-1.2, 1.2, shape).astype("float32")
        for shape in ((4, 3, 5, 2), (4, 6, 2), (6, 2))
    )
    expected, *others = (form(features, grid, weights) for form in readout.FORMS.values())
    for other in others:
        np.testing.assert_allclose(other, expected, rtol=1e-4, atol=1e-5)


def test_prediction(run):
    import prediction

    words = "--size=demo", "--configs=gru_baseline", "--mice=1,2", "--trials=1", "--neurons=5"
    found = run(prediction, *words, "--frames", 5)
    assert [one["mice"] for one in found["programs"]] == [1, 2]
    assert all(one["temporary"] > 0 for one in found["programs"])


def test_memory(run, small_demo):
    import memory

    words = "--configs=gru_baseline", "--size=demo", "--mice=2", "--trials=1", "--neurons=5"
    rows = run(memory, *words, "--frames=4", "--rounds=1")["rows"]
    assert [row["setting"] for row in rows] == list(memory.SETTINGS)
    assert all(row["temporary_gib"] > 0 and row["step_s"] > 0 for row in rows)
    at_once, *_, leanest = (row["temporary_gib"] for row in rows)
    assert leanest < at_once


def test_sharding_sends_what_theory_says(run, small_demo, monkeypatch):
    import sharding

    monkeypatch.setattr(sharding, "MESHES", ((4, 2),))
    monkeypatch.setattr(sharding, "TRIALS", 4)
    monkeypatch.setattr(sharding, "FRAMES", 4)
    (found,) = run(sharding, "--devices", 8, "--rounds", 1)["meshes"]
    sent = sum(kind["bytes"] for kind in found["sent"].values())
    assert sent == pytest.approx(found["theory_bytes"], rel=0.01)


def test_collectives_are_counted():
    sys.path.insert(0, str(BENCHMARKS))
    import sharding

    program = """
      %a = f32[2,3]{1,0} all-reduce(%x), channel_id=1, replica_groups={{0,1},{2,3}}, to_apply=%add
      %b = (u8[4]{0}, s64[2]{0}) all-gather-start(%y), replica_groups=[2,2]<=[4], dimensions={0}
      %c = f32[99]{0} all-reduce(%z), channel_id=2, replica_groups={{0},{1}}, to_apply=%add
      %d = f32[99]{0} all-reduce(%z), channel_id=3, replica_groups=[4,1]<=[4], to_apply=%add
    """
    assert sharding.sent(program) == {
        "all-reduce": {"count": 1, "bytes": 24},
        "all-gather": {"count": 1, "bytes": 20},
    }


def test_cost(run, small_demo, monkeypatch):
    import cost

    monkeypatch.setattr(cost, "demo", small_demo)
    monkeypatch.setattr(cost, "BASE", {"trials": 1, "frames": 3, "neurons": 4, "mice": 1})
    monkeypatch.setattr(cost, "SWEEPS", {"trials": (1,), "mice": (1,)})
    assert run(cost, "--rounds", 1)["compiled"] == 1


@pytest.mark.torch
def test_against_torch(run, monkeypatch):
    pytest.importorskip("torch", reason="the peer is written in PyTorch: pip install -e '.[bench]'")
    import against_torch
    import torch_peer

    options = against_torch.options
    core = {
        **{"hidden_channels": [2, 3], "layers": 2},
        **{"spatial_input_kernel": 5, "spatial_hidden_kernel": 3},
        **{"temporal_input_kernel": 3, "temporal_hidden_kernel": 3},
    }

    def small(name, **sizes):
        shape = {"channels": (2, 3), "kernels": (5, 3), "frames": (3, 3)}
        core = torch_peer.FactorizedCore(**shape, momentum=0.7)
        return torch_peer.VideoModel(core, None, features=3, **sizes), (10.0, 0.01)

    def small_options(*given):
        whole = options(*given)
        return whole | {"core_dict": whole["core_dict"] | core}

    monkeypatch.setattr(torch_peer, "build", small)
    monkeypatch.setattr(against_torch, "options", small_options)
    monkeypatch.setattr(against_torch, "CEILING", {"cpu": (64, 2)})
    words = "--model=factorized", "--trials=1", "--frames=6", "--neurons=5", "--rounds=1"
    found = run(against_torch, *words, "--mice=2", "--no-memory")
    (result,) = found["results"]
    assert result["agreement"]["float32"]["gradients"] < against_torch.OF_GRADIENTS
    assert result["seconds"].keys() == {"sensorium_jax", "PyTorch"}


@pytest.mark.torch
def test_a_gpu_that_jax_does_not_see_is_refused(run, monkeypatch):
    torch = pytest.importorskip("torch", reason="the peer is written in PyTorch")
    import against_torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(SystemExit, match="JAX computes on cpu"):
        run(against_torch, "--device=cuda")


@pytest.mark.torch
@pytest.mark.parametrize("name", ["factorized", "gru"])
def test_no_mouse_compiles_the_peer_again(run, name):
    torch = pytest.importorskip("torch", reason="the peer is written in PyTorch")
    import torch_peer
    from torch._dynamo.testing import CompileCounter

    mice = tuple("abcdefghij")  # more than torch.compile would tolerate
    model, _ = torch_peer.build(name, sessions=mice, neurons=3)
    model.eval()
    counter = CompileCounter()
    forward = torch_peer.compiled_forward(model, backend=counter)
    frames = {"factorized": 19, "gru": 1}[name]
    video, pupil = torch.randn(1, 3, frames, 36, 64), torch.randn(1, frames, 2)
    with torch.inference_mode():
        for mouse in mice:
            rate = forward(video, pupil, mouse)
    torch.testing.assert_close(rate, model(video, pupil, mouse))
    assert counter.frame_count == 2, "one for the core, one for what every mouse has of its own"
