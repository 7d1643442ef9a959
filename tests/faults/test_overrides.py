"""Any text as ``--set FIELD=VALUE``: an experiment that can be written down, or one line."""

import os
import signal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium_jax.configs import load_config
from sensorium_jax.errors import UserError
from sensorium_jax.experiment import override
from sensorium_jax.experiment.records import from_record, to_record

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", 200))
MOST_SECONDS = 60  # of one override, on any machine: else it hangs
CONFIGS = "gru_baseline", "factorized_baseline", "static_baseline", "ensemble_baseline"


def paths(record, prefix=""):
    """Dotted names of all fields of a record, those of parts within parts too."""
    for name, value in record.items():
        if name != "type":
            yield prefix + name
        if isinstance(value, dict):
            yield from paths(value, f"{prefix}{name}.")


FIELDS = {name: sorted(paths(to_record(load_config(name, "demo")))) for name in CONFIGS}
HUGE = "1e400", "10**10**10", str(10**22), "-1", "0", "nan", "(1,)*10**9", "2.5", "[[]]", "None"
VALUES = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.booleans().map(str),
    st.sampled_from(HUGE),
    st.lists(st.integers(-3, 50), max_size=4).map(lambda x: str(tuple(x))),
    st.text(max_size=20),
)


@pytest.mark.parametrize("name", CONFIGS)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_an_override_is_recorded_or_refused(name, data):
    known = st.sampled_from(FIELDS[name])
    field = data.draw(st.one_of(known, known, known, st.text(max_size=12)))
    value = data.draw(VALUES)
    experiment = load_config(name, "demo")

    def hang(*_):
        raise TimeoutError(f"{field}={value}")

    earlier = signal.signal(signal.SIGALRM, hang)
    signal.alarm(MOST_SECONDS)
    try:
        changed = override(experiment, f"{field}={value}")
    except UserError as error:
        assert "\n" not in str(error)
        return
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, earlier)
    assert from_record(to_record(changed)) == changed
