"""Submissions to the benchmark: predictions of withheld responses, written and checked.

A submission of a track is a zip of two parquet files, one for its live and one for its final tier
(starter kit, README and ``utility/submission.py``). Each row is a trial:

    mouse           session name
    trial_indices   file number of the trial
    prediction      [N T] rates in the official scorer's units, of the frames after the first 50
    neuron_ids      [N] unit ids, in the order of the prediction's rows
"""

from sensorium_jax.submission.check import Checked, check
from sensorium_jax.submission.write import write

__all__ = ["Checked", "check", "write"]
