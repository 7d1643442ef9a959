"""Experiments: overrides by name, a JSON record and back, schedules."""

import dataclasses
import functools
import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium_jax.configs import config_names, load_config
from sensorium_jax.errors import UserError
from sensorium_jax.experiment import (
    classes,
    differences,
    from_record,
    optim,
    override,
    register,
    to_record,
)
from sensorium_jax.experiment.fields import settable_fields

MINE = sorted((Path(__file__).parents[1] / "experiments/configs").glob("[!_]*.py"))
CONFIGS = [*config_names(), *map(str, MINE)]
BASE = load_config("gru_baseline", "demo")


def numeric_fields(node, prefix=""):
    """Paths of all fields of nested dataclasses that hold numbers."""
    for name, value in settable_fields(node).items():
        if dataclasses.is_dataclass(value):
            yield from numeric_fields(value, f"{prefix}{name}.")
        first = value[0] if isinstance(value, tuple) and value else value
        if isinstance(first, int | float) and not isinstance(first, bool):
            yield f"{prefix}{name}"


def test_there_are_configs():
    assert {"gru_baseline", "static_baseline"} <= set(CONFIGS) and MINE


def test_override_changes_one_field():
    changed = override(BASE, "model.core.channels=5")
    assert changed.model.core.channels == 5
    assert differences(to_record(BASE), to_record(changed)) == ["model.core.channels: 8, here 5"]


@pytest.mark.parametrize(
    "assignment, path, value",
    [
        ("optimizer.learning_rate=1", ("optimizer", "learning_rate"), 1.0),
        ("data.statistics=released", ("data", "statistics"), "released"),
        ("model.shifter=None", ("model", "shifter"), None),
        ("model.core.recurrence.kernel=3", ("model", "core", "recurrence", "kernel"), 3),
        ("model.core.behavior=False", ("model", "core", "behavior"), False),
        ("model.core.channels=(4, 6)", ("model", "core", "channels"), (4, 6)),
        ("model.core.kernel=((9, 9), 3)", ("model", "core", "kernel"), ((9, 9), 3)),
        ("model.core.padding=same", ("model", "core", "padding"), "same"),
        ("model.core.elu_shift=(0.5, 1.0)", ("model", "core", "elu_shift"), (0.5, 1.0)),
    ],
)
def test_values_are_literals(assignment, path, value):
    node = override(BASE, assignment)
    for name in path:
        node = getattr(node, name)
    assert node == value and type(node) is type(value)


@pytest.mark.parametrize(
    "assignment, words",
    [
        (
            "model.core.chanels=8",
            "no field 'chanels' in RotationEquivariant .*did you mean channels",
        ),
        ("modle.core.channels=8", "no field 'modle' in Experiment .*did you mean model"),
        ("model.core.channels.x=8", "no field 'x' in int"),
        ("model.core.channels=many", "expected a value of type int .*got 'many'"),
        ("model.core.channels=2.5", "expected a value of type int"),
        ("model.core.channels=(4, 'x')", "expected a value of type int .*got"),
        ("model.core.channels=()", "expected at least one value of channels"),
        ("model.core.padding=around", "expected a padding of"),
        ("model.core.nonlinearity=tan", "expected a nonlinearity of elu"),
        ("model.core.elu_shift=(1.0,)", "expected a value of type tuple"),
        ("model.core=8", "is a RotationEquivariant: set one of its fields"),
        ("optimizer.schedule=step", "optimizer.schedule: expected a schedule"),
        ("scaling.kind=sum", "scaling.kind: expected a scaling"),
        ("seed", "expected --set FIELD=VALUE, got 'seed'"),
    ],
)
def test_overrides_that_cannot_be(assignment, words):
    with pytest.raises(UserError, match=words):
        override(BASE, assignment)


NUMBERS = sorted(
    {
        path
        for name in config_names()
        for size in ("demo", "published")
        for path in numeric_fields(load_config(name, size))
    }
)


@pytest.mark.parametrize("path", NUMBERS)
def test_every_number_of_a_config_has_a_range(path):
    """Zero, negative, huge, infinite, NaN, None: set, or one line that names the field."""
    for name in config_names():
        base = load_config(name, "demo")
        if path in numeric_fields(base):
            break
    texts = "0", "-1", "-1e9", str(10**22), "1e400", "-1e400", "1e30", "None", "(0, 1)", "()", "''"
    for text in (*texts, "(1,) * 9", "nan", "True", "[[" * 200):
        try:
            changed = override(base, f"{path}={text}")
        except UserError as error:
            message = str(error)
            assert path in message and "\n" not in message and len(message) < 700
        else:
            value = functools.reduce(getattr, path.split("."), changed)
            flat = value if isinstance(value, tuple) else (value,)
            assert all(math.isfinite(x) and abs(x) <= 1e30 for x in flat), (path, text, value)
            assert all(abs(x) < 1e10 for x in flat if type(x) is int), (path, text, value)


@pytest.mark.parametrize("part", ["model", "model.core", "model.readout", "data", "optimizer"])
def test_parts_that_a_model_needs_cannot_be_left_out(part):
    with pytest.raises(UserError, match=f"{part} is a .*got None"):
        override(BASE, f"{part}=None")


@given(st.text(max_size=40), st.text(max_size=40))
def test_overrides_of_any_text_end_in_one_line_or_an_experiment(path, value):
    for assignment in (f"{path}={value}", f"seed={value}", f"model.{path}=1", path):
        try:
            assert isinstance(override(BASE, assignment), type(BASE))
        except UserError as error:
            assert str(error)


@pytest.mark.parametrize(
    "assignment, words",
    [
        ("data.frames=14", "data.frames: expected data.frames above 14, .* got 14"),
        ("model.core.frames=40", "expected data.frames above 78"),
    ],
)
def test_crops_are_longer_than_kernels_over_time(assignment, words):
    base = load_config("factorized_baseline", "demo")
    with pytest.raises(UserError, match=words):
        override(base, assignment)


@pytest.mark.parametrize("size", ["demo", "published"])
@pytest.mark.parametrize("config", CONFIGS)
def test_the_record_is_the_experiment(config, size):
    experiment = load_config(config, size)
    record = json.loads(json.dumps(to_record(experiment)))
    assert from_record(record) == experiment


def test_records_hold_public_names():
    record = to_record(BASE)
    labels = [record["type"], *(record["model"][p]["type"] for p in ("core", "readout", "shifter"))]
    assert labels == [
        "Experiment",
        "cores.RotationEquivariant",
        "readouts.Gaussian",
        "shifters.MLP",
    ]
    assert record["model"]["core"]["recurrence"]["type"] == "cores.ConvGRU"
    ours = {k: v for k, v in classes().items() if v.__module__.startswith("sensorium_jax.")}
    assert {"Model", "cores.ConvGRU", "optim.AdamW"} <= ours.keys()  # others: of other tests
    for label, kind in ours.items():  # each is where its name says, in the package
        *modules, name = f"sensorium_jax.{label}".split(".")
        assert getattr(importlib.import_module(".".join(modules)), name) is kind


@pytest.mark.parametrize("label", ["files.write_json", "os.system", "experiment.classes", ""])
def test_a_record_builds_nothing_that_is_not_in_the_table(label):
    with pytest.raises(UserError, match="expected a class that records know"):
        from_record({"type": label, "path": "x", "values": 1})


def test_a_class_of_ones_own_is_recorded_once_it_is_registered():
    @dataclasses.dataclass(frozen=True)
    class Mine(type(BASE.plateau)):
        extra: int = 3

    mine = dataclasses.replace(BASE, plateau=Mine(extra=4))
    with pytest.raises(UserError, match="Mine; register it with sensorium_jax.register"):
        to_record(mine)
    register(Mine)
    assert from_record(json.loads(json.dumps(to_record(mine)))) == mine
    with pytest.raises(UserError, match="expected a dataclass"):
        register(int)


def judge(scores, plateau):
    state, verdicts = optim.PlateauState(), []
    for i, score in enumerate(scores):
        state, verdict = plateau.update(state, score, step=10 * (i + 1))
        verdicts.append(verdict)
    return state, verdicts


def test_plateau_decays_then_stops():
    plateau = optim.Plateau(patience=2, factor=0.5, rounds=2)
    state, verdicts = judge([0.1, 0.2, 0.1, 0.2, 0.3, 0.1, 0.1], plateau)
    assert verdicts == ["better", "better", "wait", "decay", "better", "wait", "stop"]
    assert (state.best, state.best_step, state.lr_scale, state.decays) == (0.3, 50, 0.5, 1)


def test_plateau_has_a_floor_and_a_tolerance():
    plateau = optim.Plateau(patience=1, factor=0.1, rounds=9, tolerance=0.01, floor=0.05)
    state, verdicts = judge([0.1, 0.105, 0.1, float("nan")], plateau)
    assert verdicts == ["better", "decay", "decay", "decay"] and state.lr_scale == 0.05


def test_cosine_schedule_rises_and_ends_at_zero():
    import jax.numpy as jnp

    steps, weights = 40, {"w": jnp.ones(1)}
    update = optim.AdamW(learning_rate=0.1, weight_decay=0.0, schedule="cosine").make(steps)
    state, sizes = update.init(weights), []
    for _ in range(steps + 1):
        change, state = update.update({"w": jnp.ones(1)}, state, weights)
        sizes.append(abs(float(change["w"][0])))
    assert sizes[0] == 0 and np.argmax(sizes) == 2 and sizes[2] == pytest.approx(0.1, rel=1e-4)
    assert sizes[-1] < 1e-6


@pytest.mark.parametrize("steps", [1, 2, 19])
def test_a_run_too_short_to_warm_up_still_learns(steps):
    weights = {"w": np.ones(1, np.float32)}
    update = optim.AdamW(learning_rate=0.1, weight_decay=0.0, schedule="cosine").make(steps)
    change, _ = update.update(weights, update.init(weights), weights)
    assert abs(float(change["w"][0])) == pytest.approx(0.1, rel=1e-4)
