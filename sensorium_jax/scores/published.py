"""A leaderboard: scored runs beside the published results of the benchmark.

Correlation on every tier, in single trials or of averages over repeats, mean over neurons, sorted
by the oracle tier. Published results are on real mice and of other groups' models: the
competition's server scored the five new mice, whose responses are withheld; "own score" is
an evaluation of the public oracle tier by its authors, "quoted" a number from a second source. All
of them are in official units: runs in raw units stand without them. Runs on simulated mice are
marked: they are not comparable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sensorium_jax import protocol
from sensorium_jax.errors import UserError
from sensorium_jax.scores import results
from sensorium_jax.scores.report import TITLES
from sensorium_jax.scores.score import ALL, AVERAGE_FLOOR, FLOOR, INTERVAL_SCORES, SINGLE_TRIAL
from sensorium_jax.scores.units import OFFICIAL, check_units, warnings_of
from sensorium_jax.tables import Row, Table

HEADERS = ("oracle", "live\nmain", "final\nmain", "live\nbonus", "final\nbonus")


class Entry(NamedTuple):
    """A row of the leaderboard.

    Attributes:
        name: name of the model or run.
        scores: single-trial correlation, by tier.
        source: where the numbers were published, or the workdir.
        kind: "server", the competition's answer to a submission; "own score", the authors' or their
            successors' evaluation of the public oracle tier; "quoted", from a second source; for a
            run of this package "yours", or "SIMULATED".
        to_average: correlation of averages over repeats, by tier.
        units: of the scores, "official" or "raw".
        floors: what each neuron's mean rate scores in single trials, by tier; {} if not known.
        average_floors: the same of averages over repeats.
        std_trials: train trials that make the official units of a run, in the mouse with the
            fewest; None if not known.

    Examples:
        >>> best = max(PUBLISHED, key=lambda entry: entry.scores.get("final_test_main", 0))
        >>> best.name, best.scores["final_test_main"]
        ('OmniMouse, more data', 0.33)
    """

    name: str
    scores: dict[str, float]
    source: str
    kind: str
    to_average: dict[str, float] = {}  # shared by all entries, as those below: never mutate it
    units: str = OFFICIAL
    floors: dict[str, float] = {}
    average_floors: dict[str, float] = {}
    std_trials: int | None = None


_WARNING = "Published: real mice. Scores on simulated mice are not comparable with them."
_RAW_WARNING = "Published scores are in official units: --units official shows them beside yours."
_TIERS = protocol.EVALUATION_TIERS
_NTE = "124585083/neural-trajectory-evaluation @784f1b0"
_QUOTED = f"the retrospective, as quoted in {_NTE}"
# Oracle: new mice, frames 50 to 299. Not every source says whether means are over neurons or mice.
PUBLISHED = (
    Entry(
        "DwiseNeuro, 1st",
        dict(zip(_TIERS[1:], (0.3005, 0.2913, 0.2173, 0.2215), strict=True)),
        "lRomul/sensorium, README",
        "server",
    ),
    Entry(
        "its first stage",
        {"final_test_main": 0.2905, "final_test_bonus": 0.2207},
        "lRomul/sensorium, README",
        "server",
    ),
    Entry(
        "ViV1T, 3rd",
        {protocol.ORACLE: 0.2608},
        "bryanlimy/ViV1T, five models, frames 51 to 299",
        "own score",
    ),
    Entry(
        "OmniMouse, more data",
        {"final_test_main": 0.33, "final_test_bonus": 0.30},
        "reading notes on OmniMouse (80M parameters, 323 more recordings), rounded",
        "quoted",
    ),
    Entry("14 factorised", {"final_test_main": 0.197}, f"{_QUOTED}: their ensemble", "quoted"),
    Entry(
        "factorised, seed 42",
        {protocol.ORACLE: 0.1967, "final_test_main": 0.1887},
        f"oracle {_NTE}, final {_QUOTED}",
        "quoted",
        {"final_test_main": 0.3569},
    ),
    Entry(
        "factorised, mean",
        {"final_test_main": 0.1828},
        f"{_QUOTED}: 14 seeds, std 0.0094",
        "quoted",
    ),
    Entry(
        "factorised, Table 1",
        {"final_test_main": 0.164},
        f"{_QUOTED}; why it is below its own 14 seeds is not said",
        "quoted",
        {"final_test_main": 0.321},
    ),
    Entry("half as wide", {protocol.ORACLE: 0.1875}, _NTE, "own score"),
    Entry("static 2D network", {protocol.ORACLE: 0.1644}, _NTE, "own score"),
)


def entry(workdir: str | Path, *, units: str | None = None) -> Entry:
    """The row of a scored run.

    Args:
        workdir: the workdir of the run.
        units: "official" or "raw"; None: those that its report shows first.

    Raises:
        UserError: the run has no report, no scores in these units, or a report of another version.
    """
    workdir = Path(workdir).resolve()
    report = results.read_report(workdir)
    try:
        if not all(isinstance(report[key], list) for key in ("means", "scores")):
            raise TypeError("means or scores are no list")
        if not all(isinstance(m[key], str) for m in report["means"] for key in ("tier", "family")):
            raise TypeError("a tier or family is no text")
        units = check_units(units or results.units_of(report))
        means = [
            m for m in report["means"] if m["family"] == ALL and m.get("units", OFFICIAL) == units
        ]
        single, average = (_by_tier(means, f"{field}_by_neuron") for field in INTERVAL_SCORES)
        floors = [
            _by_tier([m for m in means if key in m], key)
            for key in (f"{FLOOR}_by_neuron", f"{AVERAGE_FLOOR}_by_neuron")
        ]
        simulated = any(score["single_trial_ceiling"] is not None for score in report["scores"])
    except (KeyError, TypeError) as error:
        raise UserError(
            f"expected scores in {workdir / results.REPORT}, found another version's "
            f"({type(error).__name__}: {error}); {results.ADVICE}"
        ) from None
    if report["means"] and not means:
        raise UserError(
            f"expected scores in {units} units in {workdir / results.REPORT}, found others; "
            f"{results.ADVICE}"
        )
    kind = "SIMULATED" if simulated else "yours"
    return Entry(
        workdir.name,
        single,
        str(workdir),
        kind,
        average,
        units,
        floors=floors[0],
        average_floors=floors[1],
        std_trials=report.get("std_trials"),
    )


def _by_tier(means: Sequence[dict], key: str) -> dict[str, float]:
    """Where a score is defined, its value by tier; ``TypeError`` for one that is no number."""
    scores = {m["tier"]: m[key] for m in means if m[key] is not None}
    for tier, score in scores.items():
        if not isinstance(score, float):
            raise TypeError(f"{key} of {tier} is {score!r}")
    return scores


def board(entries: Sequence[Entry], *, field: str = SINGLE_TRIAL) -> Table:
    """The leaderboard for one score: the runs, then published results, each sorted by the oracle.

    Runs in official units have a second row, their floors. Runs in raw units stand without the
    published results, whose raw scores nobody published.

    Args:
        entries: rows of runs (``entry``), all in the same units.
        field: "single_trial" or "to_average".

    Raises:
        UserError: runs in different units.

    Examples:
        >>> table = board([Entry("a run", {"oracle": 0.2}, "runs/a", "yours")])
        >>> table.rows[0].cells
        ('a run', '0.2000', '', '', '', '', 'yours')
        >>> table.rows[1].cells[:2]  # the best published score on the oracle tier
        ('ViV1T, 3rd', '0.2608')
    """

    units = {e.units for e in entries} or {OFFICIAL}
    if len(units) > 1:
        raise UserError("expected runs in the same units, found official and raw; name --units")
    official = units == {OFFICIAL}
    published = [e for e in PUBLISHED if official and _scores(e, field)]
    rows = *_ranked(entries, field, level=0), *_ranked(published, field, level=1)
    lines = [f"{e.name}: {e.source}." for e in published]
    few = min((e.std_trials for e in entries if e.std_trials is not None), default=None)
    (unit,) = units
    lines = [_WARNING if official else _RAW_WARNING, *warnings_of(unit, few), *lines]
    title = f"correlation, {TITLES[field]}, {unit} units"
    return Table(("model", *HEADERS, ""), rows, title, "\n".join(lines))


def _ranked(entries: Sequence[Entry], field: str, *, level: int) -> Iterator[Row]:
    """The rows of these entries, best first, each followed by its floors if there are any."""
    for e in sorted(entries, key=lambda e: -_scores(e, field).get(protocol.ORACLE, 0)):
        yield Row((e.name, *_cells(_scores(e, field)), e.kind), level)
        floors = e.floors if field == SINGLE_TRIAL else e.average_floors
        if e.units == OFFICIAL and floors:
            yield Row(("floor", *_cells(floors), ""), level + 1)


def _scores(entry: Entry, field: str) -> dict[str, float]:
    return entry.scores if field == SINGLE_TRIAL else entry.to_average


def _cells(scores: dict[str, float]) -> list[str]:
    return [f"{scores[tier]:.4f}" if tier in scores else "" for tier in _TIERS]
