"""Whether a recording or a store is what it should be: ``python -m sensorium_jax.data.doctor``.

``session.py`` looks at one mouse, ``mice.py`` at what mice share, ``page.py`` shows what was found.
"""

from sensorium_jax.prepare.doctor.findings import ERROR, NOTE, WARNING, Diagnosis, Finding
from sensorium_jax.prepare.doctor.mice import examine

__all__ = ["ERROR", "NOTE", "WARNING", "Diagnosis", "Finding", "examine"]
