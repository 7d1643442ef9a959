"""The baselines that come with the package score what their cards say, and cards say what is."""

import re
import shlex

import numpy as np
import pytest

from sensorium_jax import config_names, load_pretrained, pretrained_names
from sensorium_jax.cli import train
from sensorium_jax.errors import UserError
from sensorium_jax.runs.pretrained import FOLDER
from tests.programs import load_tool

MIB = 2**20
NAMES = pretrained_names()


def card_of(name):
    return (FOLDER / name / "README.md").read_text()


def rows(card):
    """Tier or family -> score, ends of its interval, ceiling; official score and floor."""
    pattern = r"^\| (.+?) \| (\S+) \[(\S+), (\S+)\] \| (\S+) \| (\S+) \| (\S+) \|$"
    lines = re.findall(pattern, card, re.M)
    return {(i, name): [*map(float, values)] for i, (name, *values) in enumerate(lines)}


def test_they_are_small():
    assert {f"{n}_demo" for n in ("gru_baseline", "factorized_baseline", "static_baseline")} <= {
        *NAMES
    }
    assert sum(p.stat().st_size for name in NAMES for p in (FOLDER / name).iterdir()) < 3 * MIB


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_card_is_what_scoring_the_weights_gives(name):
    """Every number of every tier and family, and every word."""
    run = load_pretrained(name)
    card = card_of(name)
    command, commit = re.search(r"[*]Training.[*]* `(.+?)` at commit `(\w+)`", card).groups()
    tool = load_tool("export_pretrained")
    again = tool.card(run, run.evaluate_all(), name=name, command=command, commit=commit)
    found, expected = rows(card), rows(again)
    assert found.keys() == expected.keys() and len(found) == 13
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, atol=2e-3)  # a processor's rounding
        score, low, high, ceiling, official, floor = values
        assert low < score < high and score < ceiling and 0 < floor and 0 < official
    numbers = re.compile(r"^\|.*\|$", re.M)
    assert numbers.sub("", card) == numbers.sub("", again)


@pytest.mark.parametrize("name", NAMES)
def test_the_command_of_a_card_is_one(name):
    command = re.search(r"`(sensorium-jax [^`]+)` at commit", card_of(name))[1]
    program, word, *flags = shlex.split(command)
    assert (program, word) == ("sensorium-jax", "train")
    parsed = train._parser().parse_args(flags)
    assert parsed.config in config_names() and f"{parsed.config}_demo" == name


def test_unknown_names():
    with pytest.raises(UserError, match="did you mean gru_baseline_demo"):
        load_pretrained("gru_baseline")
    with pytest.raises(UserError, match="there are: .*static_baseline_demo"):
        load_pretrained("zzz")
