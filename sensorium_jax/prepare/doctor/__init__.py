"""Examination of recordings and stores: ``sensorium-jax examine``.

``session`` examines one mouse, ``mice`` all mice and the clips that they share, ``published``
compares them with the published counts; ``findings`` are the results, which ``pages.doctor`` shows.
"""

from sensorium_jax.prepare.doctor.findings import ERROR, NOTE, WARNING, Diagnosis, Finding
from sensorium_jax.prepare.doctor.mice import examine

__all__ = ["ERROR", "NOTE", "WARNING", "Diagnosis", "Finding", "examine"]
