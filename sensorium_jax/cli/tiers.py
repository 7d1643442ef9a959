"""Write the tiers of a store as a table to edit, or split them into folds by clip.

    sensorium-jax tiers STORE --out tiers.csv
    sensorium-jax tiers STORE --out folds --folds 7

Then train with one of them:

    sensorium-jax train --data=STORE --tiers=folds/fold0.csv --workdir=runs/fold0

Columns: session, number, tier; the others are to read. A trial without a row, or with the tier
"none", is not used; a mouse without any is left out. In fold i, the clips of part i are the oracle
tier, which chooses the best weights, and those of the other parts are the train tier, with all
their repeats and in all mice that saw them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sensorium_jax.cli.parser import Parser
from sensorium_jax.cli.programs import exit_code


def main(argv: Sequence[str]) -> int:
    """Run the subcommand."""
    flags = _parser().parse_args(argv)
    return exit_code(lambda: run(flags))


def run(flags) -> int:
    """Write the tables, and print where they are."""
    from sensorium_jax.data.format import open_store
    from sensorium_jax.data.tiers import folds, table_of, write_table
    from sensorium_jax.files import check_output

    rows, out = table_of(open_store(Path(flags.store))), Path(flags.out)
    tables = {out: rows}
    if flags.folds is not None:
        split = folds(rows, flags.folds, tiers=flags.tiers.split(","), seed=flags.seed)
        tables = {out / f"fold{i}.csv": table for i, table in enumerate(split)}
    for path in tables:
        check_output(path)  # somebody may have edited it
    for path, table in tables.items():
        write_table(path, table)
        print(path)
    return 0


def _parser() -> Parser:
    parser = Parser("tiers", __doc__)
    add = parser.add_argument
    add("store", metavar="STORE", help="the store")
    add("--out", required=True, metavar="PATH", help="file of the table, or folder of the folds")
    add("--folds", type=int, metavar="K", help="write K tables for K-fold validation by clip")
    add("--tiers", default="train,oracle", help="tiers to split (default train,oracle)")
    add("--seed", type=int, default=0, help="of the folds (default 0)")
    return parser
