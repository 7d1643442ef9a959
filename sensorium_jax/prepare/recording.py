"""The interface of a recording, and a pass over its trials.

A recording is any object with the members of ``Recording``: a session folder or zip of the release
(``raw.py``), an NWB file (``nwb.py``), a session of a store (``stored.py``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from sensorium_jax.data.format import Trial
from sensorium_jax.errors import UserError
from sensorium_jax.prepare import labels

READERS = 2  # threads; tensorstore compresses in threads of its own
TRIALS_AHEAD = 4  # most trials in memory: some 40 MB each for a mouse of the release
OnTrial = Callable[[str, int, int], None]  # session, number of trials done, total


class RawTrial(NamedTuple):
    """A trial as recorded, cut to its valid frames."""

    trial: Trial
    labelled: bool  # False where the responses are withheld: zeros in the release
    sha256: str = ""  # of the files it was read from


class Recording(Protocol):
    """One session, before or after conversion into a store."""

    name: str
    recorded_name: str  # before any --rename
    source: Path
    tiers: np.ndarray  # [n] strings, one for each file number; see ``protocol.TIERS``
    numbers: np.ndarray  # [trials] file numbers that have a trial, ascending
    unit_ids: np.ndarray  # [N]
    position_um: np.ndarray  # [N 3]
    frames: int  # of the longest trial, padding included
    choices: dict[str, str]  # what was chosen among what the source holds, by option

    @property
    def simulated(self) -> bool:
        """Whether the mouse is simulated."""
        ...

    def check(self, numbers: Iterable[int]) -> None:
        """Raise ``UserError`` unless these trials are there; ``read`` checks what they hold."""
        ...

    def read(self, number: int) -> RawTrial:
        """One trial, by file number; ``UserError`` if it is damaged or malformed."""
        ...

    def read_rate(self, number: int, frames: int) -> np.ndarray:
        """The true rate of a simulated mouse: [T N]."""
        ...

    def released(self) -> dict[str, np.ndarray]:
        """Statistics of the recording: "<field>_{mean,std}" -> [T ...]; {} if it has none."""
        ...

    def types(self) -> dict[str, str]:
        """Dtype on disk of every field of ``Trial``."""
        ...

    def notes(self) -> list[str]:
        """What is assumed or unusual, for people."""
        ...


class ClassifiedTrial(NamedTuple):
    """A trial with the stimulus family and the stills of its film."""

    number: int
    trial: Trial
    labelled: bool
    sha256: str
    family: str
    stills: np.ndarray  # uint8 [16 H W]


def trials(recording: Recording, numbers: Iterable[int]) -> Iterator[ClassifiedTrial]:
    """Trials in order of ``numbers``, a few read ahead by threads.

    Raises:
        UserError: a trial is damaged or malformed.
    """
    for outcome in outcomes(recording, numbers):
        if isinstance(outcome, UserError):
            raise outcome
        yield outcome


def outcomes(recording: Recording, numbers: Iterable[int]) -> Iterator[ClassifiedTrial | UserError]:
    """``trials`` that yields the error of a damaged trial, and continues with the next."""

    def read(number: int) -> ClassifiedTrial | UserError:
        try:
            trial, labelled, sha256 = recording.read(number)
        except UserError as error:
            return error
        family = labels.family(trial.video, tier=str(recording.tiers[number]))
        stills = labels.stills(trial.video)
        return ClassifiedTrial(number, trial, labelled, sha256, family, stills)

    pending: deque = deque()
    with ThreadPoolExecutor(READERS) as readers:
        try:
            for number in numbers:
                pending.append(readers.submit(read, int(number)))
                if len(pending) == TRIALS_AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:  # after an error or a Ctrl-C, do not wait for trials that are not yet read
            for future in pending:
                future.cancel()
