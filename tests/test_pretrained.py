"""The baselines that come with the package score what their cards say."""

import re

import pytest

from sensorium_jax import load_pretrained, pretrained_names
from sensorium_jax.errors import UserError
from sensorium_jax.runs.pretrained import FOLDER

MIB = 2**20


def test_they_are_small_and_described():
    names = pretrained_names()
    assert {f"{n}_demo" for n in ("gru_baseline", "factorized_baseline", "static_baseline")} <= set(
        names
    )
    sizes = [p.stat().st_size for name in names for p in (FOLDER / name).iterdir()]
    assert sum(sizes) < 3 * MIB
    for name in names:
        card = (FOLDER / name / "README.md").read_text()
        for word in ("**Data.**", "**Training.**", "**Scores**", "**Limits.**", "simulated"):
            assert word in card


@pytest.mark.parametrize("name", pretrained_names())
def test_scores_are_those_of_the_card(name):
    run = load_pretrained(name)
    found = run.evaluate(run.params, "oracle").by_neuron("oracle")
    card = (FOLDER / name / "README.md").read_text()
    score, low, high = map(float, re.search(r"\| oracle \| (\S+) \[(\S+), (\S+)\]", card).groups())
    assert found == pytest.approx(score, abs=5e-4) and low < score < high


def test_unknown_names():
    with pytest.raises(UserError, match="did you mean gru_baseline_demo"):
        load_pretrained("gru_baseline")
    with pytest.raises(UserError, match="there are: .*static_baseline_demo"):
        load_pretrained("zzz")
