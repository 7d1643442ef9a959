"""The GRU baseline from the film alone: no pupil size, no running speed, no gaze.

What it lacks against ``gru_baseline``, at equal training, is what knowing the animal's state adds.

    python experiments/run.py --config=gru_no_behavior                demo size, simulated mice
    python experiments/run.py --config=gru_no_behavior --data STORE   published size, recordings

Not trained to its end yet: the tests train it for two steps.
"""

from experiments.configs import gru_baseline
from experiments.variants import without_behavior

published = without_behavior(gru_baseline.published)
demo = without_behavior(gru_baseline.demo)
