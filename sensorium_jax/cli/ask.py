"""Answer a question of the competition: train what it needs, end in a page with figures.

    sensorium-jax ask upper_limit       how much of a response can be predicted?
    sensorium-jax ask dynamic_static    what does a film's past add?
    sensorium-jax ask behavior          do running, pupil size and gaze help?
    sensorium-jax ask out_of_domain     do models of natural films know other stimuli?
    sensorium-jax ask search            which architecture and training is best?

Without data they train small models on simulated mice (minutes each), with --data=STORE models of
the published size. Where mice are simulated the truth is known: page and JSON say what it demands,
and whether the answer agrees. Runs are shared between questions in --workdir (default
runs/questions-SIZE), and the same command resumes.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from sensorium_jax.cli.experiment_flags import add_flags, chosen_size, store_path
from sensorium_jax.cli.parser import Parser
from sensorium_jax.cli.programs import exit_code, use_compilation_cache

QUESTIONS = "upper_limit", "dynamic_static", "behavior", "out_of_domain", "search"


def main(argv: Sequence[str]) -> int:
    """Run the subcommand."""
    flags = _parser().parse_args(argv)
    return exit_code(lambda: run(flags))


def run(flags) -> int:
    """Train, compare, write the page."""
    from absl import logging

    from sensorium_jax.pages.terminal import make_console
    from sensorium_jax.studies.study import Study

    logging.set_verbosity(logging.FATAL)  # orbax logs, traceback and all, what it raises too
    console, size = make_console(), chosen_size(flags)
    use_compilation_cache(console)
    study = Study(
        size=size,
        folder=Path(flags.workdir or f"runs/questions-{size}").resolve(),
        store=store_path(flags),
        tiers=flags.tiers,
        devices=flags.devices,
        seeds=flags.seeds,
        changes=flags.set,
        console=console,
    )
    question = importlib.import_module(f"sensorium_jax.studies.{flags.question}")
    options = {"trials": flags.trials} if flags.question == "search" else {}
    question.answer(study, **options)
    return 0


def _parser() -> Parser:
    parser = Parser("ask", __doc__)
    parser.add_argument(
        "question", choices=QUESTIONS, metavar="QUESTION", help=", ".join(QUESTIONS)
    )
    add_flags(parser)
    add = parser.add_argument
    add("--seeds", type=int, default=2, metavar="N", help="of every model compared (default 2)")
    add(
        "--trials",
        type=int,
        default=12,
        metavar="N",
        help="of search, in all, those of before included (default 12)",
    )
    return parser
