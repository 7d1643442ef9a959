"""Examination of one mouse: every trial is read once, and checked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.format import TrialTable
from sensorium_jax.errors import UserError
from sensorium_jax.prepare import labels
from sensorium_jax.prepare.doctor import published
from sensorium_jax.prepare.doctor.findings import ERROR, NOTE, WARNING, Examined, Finding
from sensorium_jax.prepare.doctor.floors import Floors
from sensorium_jax.prepare.recording import ClassifiedTrial, OnTrial, Recording, outcomes
from sensorium_jax.prepare.stored import StoredSession
from sensorium_jax.prepare.survey import Survey

NEGATIVE = -1e-3  # lowest valid response: the release's deconvolution gives down to about -1e-7
LONGEST_CLIP_FRAMES = 326  # counts over the ten mice
STATISTICS_TOLERANCE = 0.01  # of the standard deviation; summation in another order gives far less


class ResponseRange:
    """Lowest and highest response of every neuron, over trials that are not withheld."""

    def __init__(self, neurons: int):
        self.low, self.high = np.full(neurons, np.inf), np.full(neurons, -np.inf)

    def add(self, response: np.ndarray) -> None:
        """Add one trial's responses [T N]."""
        self.low = np.minimum(self.low, response.min(0))
        self.high = np.maximum(self.high, response.max(0))


def examine_session(
    recording: Recording, clips: labels.Clips, on_trial: OnTrial
) -> tuple[Examined | None, list[Finding]]:
    """Examine one mouse, and add its clips to ``clips``, those of the previous mice.

    The mouse is None if no trial can be read.
    """
    survey, neurons = Survey(recording, clips), ResponseRange(len(recording.unit_ids))
    findings: list[Finding] = []
    examples: dict[str, np.ndarray] = {}
    numbers = recording.numbers
    floors = Floors(recording.session) if isinstance(recording, StoredSession) else None
    for done, outcome in enumerate(outcomes(recording, numbers), start=1):
        on_trial(recording.name, done, len(numbers))
        if isinstance(outcome, UserError):
            findings.append(Finding(ERROR, recording.name, str(outcome)))
            continue
        survey.add(outcome)
        if outcome.labelled:
            neurons.add(outcome.trial.response)
            if floors:
                floors.add(str(recording.tiers[outcome.number]), outcome.trial.response)
        examples.setdefault(outcome.family, outcome.stills[len(outcome.stills) // 4])
        findings += _check_trial(recording, outcome)
    if not survey.sha256:
        return None, findings
    table = survey.table()
    findings += [
        *_check_table(recording.name, table),
        *_check_neurons(recording.name, neurons),
        *published.counts(recording, table),
        *_check_statistics(recording, survey),
        *(Finding(NOTE, recording.name, note) for note in recording.notes()),
    ]
    if floors and floors.values():
        findings.append(floors.finding())
    shape = len(recording.unit_ids), recording.frames
    types = recording.types()
    mouse = Examined(recording.name, recording.simulated, *shape, table, types, examples)
    return mouse, findings


def _check_trial(recording: Recording, item: ClassifiedTrial) -> Iterator[Finding]:
    """Check that values are in the ranges of cameras, treadmill and deconvolution."""
    label, trial = f"{recording.name}, trial {item.number}", item.trial
    if trial.video.min() < 0 or trial.video.max() > 255:
        low, high = trial.video.min(), trial.video.max()
        text = f"expected grey levels 0 to 255 in its video, found {low:g} to {high:g}"
        yield Finding(ERROR, label, f"{text}; models would see another film than the mouse")
    if trial.response.min() < NEGATIVE:
        lowest = trial.response.min()
        text = f"expected responses of 0 and more, found {lowest:g}"
        yield Finding(WARNING, label, f"{text}; are they deconvolved, and not z-scored?")
    if not trial.response.any() and recording.tiers[item.number] not in protocol.TEST_TIERS:
        text = "expected responses, found 0 of every neuron in every frame"
        yield Finding(WARNING, label, f"{text}; if they were not recorded, leave it out")
    if trial.behavior.min() < 0:
        yield Finding(WARNING, label, "expected pupil size and speed of 0 and more, found less")
    if len(trial.video) > LONGEST_CLIP_FRAMES:
        text = f"expected at most {LONGEST_CLIP_FRAMES} valid frames, found {len(trial.video)}"
        yield Finding(WARNING, label, f"{text}: recorded past the clip; leave it out")
    if recording.tiers[item.number] != protocol.TRAIN and len(trial.video) <= protocol.SKIP_FRAMES:
        text = f"expected more than {protocol.SKIP_FRAMES} frames, found {len(trial.video)}"
        yield Finding(WARNING, label, f"{text}: too short to be scored, and left out of scores")
    if item.family == labels.UNKNOWN:
        text = f"its film is like none of the stimulus families ({item.family})"
        yield Finding(WARNING, label, f"{text}; it counts in no family's score")
    natural_tier = recording.tiers[item.number] not in protocol.BONUS_TIERS
    if natural_tier != (item.family == protocol.NATURAL) and item.family != labels.UNKNOWN:
        tier = recording.tiers[item.number]
        yield Finding(WARNING, label, f"its tier is {tier}, its film is {item.family}")


def _check_table(name: str, table: TrialTable) -> Iterator[Finding]:
    """Check tiers, repeats and withheld responses, and that each clip is in one tier."""
    for tier in (protocol.TRAIN, protocol.ORACLE):
        rows = table.tier == tier
        if not rows.any():
            text = f"expected trials of the tier {tier}, found none"
            yield Finding(ERROR, name, f"{text}; models are trained and chosen on train and oracle")
        elif not table.labelled[rows].all():
            zeros = int((~table.labelled[rows]).sum())
            text = f"expected responses in every trial of {tier}, found zeros in {zeros}"
            yield Finding(ERROR, name, f"{text}; fetch that session again")
    withheld = sorted(set(table.tier[~table.labelled].tolist()))
    if withheld:
        yield Finding(NOTE, name, f"responses are withheld (zeros) in {', '.join(withheld)}")
    single = 0  # clips of evaluation tiers without repeats
    for clip in np.unique(table.clip):
        rows = table.clip == clip
        tiers = sorted(set(table.tier[rows].tolist()))
        number = ", ".join(map(str, table.number[rows][:4]))
        if len(tiers) > 1:
            text = f"the same clip is in {' and '.join(tiers)} (trials {number}, ...)"
            level = ERROR if protocol.TRAIN in tiers else WARNING
            yield Finding(level, name, f"{text}: a leak; edit the tiers so that it is in one")
        elif tiers == [protocol.TRAIN] and rows.sum() > 1:
            text = f"{rows.sum()} train trials show the same clip ({number})"
            yield Finding(WARNING, name, f"{text}; folds keep them together")
        single += tiers != [protocol.TRAIN] and rows.sum() < 2
    if single:
        text = f"{single} clips of the evaluation tiers were shown once"
        yield Finding(WARNING, name, f"{text}: they have no reliability and no average")


def _check_neurons(name: str, neurons: ResponseRange) -> Iterator[Finding]:
    """Count silent and constant neurons."""
    silent = int(((neurons.low == 0) & (neurons.high == 0)).sum())
    constant = int((neurons.low == neurons.high).sum()) - silent
    for count, what in ((silent, "silent: all their responses are 0"), (constant, "constant")):
        if count:
            text = f"{count} of {len(neurons.low)} neurons are {what}"
            yield Finding(WARNING, name, f"{text}; they score 0 and lower every mean")


def _check_statistics(recording: Recording, survey: Survey) -> Iterator[Finding]:
    """Compare released statistics with those recomputed from the train tier."""
    if not (survey.table().tier == protocol.TRAIN).any():
        return
    released, computed = recording.released(), survey.statistics()
    if not released:
        text = "came without statistics: those of its train tier are used"
        yield Finding(NOTE, recording.name, text)
        return
    for field in survey.moments:
        mean, std = (computed[f"framewise/{field}_{m}"] for m in ("mean", "std"))
        for moment, x in (("mean", mean), ("std", std)):
            y = released[f"{field}_{moment}"][: len(x)]
            scale = np.maximum(std, protocol.STD_FLOOR * np.nanmean(std))
            valid = np.isfinite(y) & np.isfinite(x) & (scale > 0)
            error = np.abs(y - x)[valid] / scale[valid]
            if len(error) and (share := float((error > STATISTICS_TOLERANCE).mean())):
                text = f"released {field} {moment} differs from the train tier's own by more than "
                text += f"{STATISTICS_TOLERANCE:.0%} of its std in {share:.1%} of its entries"
                advice = "--set data.statistics=framewise uses the train tier's own"
                text += f" (most: {error.max():.2g})"
                yield Finding(WARNING, recording.name, f"{text}; {advice}")
            invalid = y[np.isnan(y) | (y <= 0)] if moment == "std" else ()
            if len(invalid) and field != "response":
                text = f"{len(invalid)} entries of the released {field} std are 0 or NaN"
                yield Finding(NOTE, recording.name, f"{text}; pooled ones take their place")
