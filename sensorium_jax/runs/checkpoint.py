"""Best and last state of a run, kept with orbax. The only file with orbax.

``<workdir>/checkpoints/last`` holds all that a run needs to go on; ``best`` the weights with the
highest oracle score so far. Orbax writes beside and renames, so that a kill at any moment leaves
the checkpoint before.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from sensorium_jax.errors import UserError, is_full_disk
from sensorium_jax.types import Params, TrainState

SPARE = 3  # times a checkpoint's size that must be free: file systems round up


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, workdir: Path):
        self._folder = workdir.absolute() / "checkpoints"
        # Saving is synchronous: the state's buffers are donated to the very next step.
        options = ocp.CheckpointManagerOptions(
            max_to_keep=1, cleanup_tmp_directories=True, enable_async_checkpointing=False
        )
        self._last = ocp.CheckpointManager(self._folder / "last", options=options)
        self._best = ocp.CheckpointManager(self._folder / "best", options=options)

    @property
    def last_step(self) -> int | None:
        """Step of the last checkpoint; None before the first."""
        return self._last.latest_step()

    def save_last(self, state: TrainState, loop: dict[str, Any], *, step: int) -> None:
        """Keep the whole state and ``loop``, JSON values that the training loop goes on from."""
        self._save(
            self._last, step, state=ocp.args.StandardSave(state), loop=ocp.args.JsonSave(loop)
        )

    def save_best(self, params: Params, *, step: int) -> None:
        """Keep the weights of the best score so far."""
        self._save(self._best, step, params=ocp.args.StandardSave(params))

    def restore_last(self, like: TrainState) -> tuple[TrainState, dict[str, Any]]:
        """The last state, on the devices of ``like``, and its ``loop`` values."""
        restored = self._restore(
            self._last,
            state=ocp.args.StandardRestore(_abstract(like)),
            loop=ocp.args.JsonRestore(),
        )
        return restored["state"], restored["loop"]

    def restore_best(self, like: Params) -> Params:
        """The weights of the best score, on the devices of ``like``."""
        return self._restore(self._best, params=ocp.args.StandardRestore(_abstract(like)))["params"]

    def _save(self, manager: ocp.CheckpointManager, step: int, **items: Any) -> None:
        if step in manager.all_steps():  # a resumed run is back where it was: nothing new
            return
        arrays = [item.item for name, item in items.items() if name != "loop"]
        self._check_space(SPARE * sum(x.nbytes for x in jax.tree.leaves(arrays)))
        try:
            manager.save(step, args=ocp.args.Composite(**items), force=True)
        except Exception as error:
            if not is_full_disk(error):
                raise
            for half in self._folder.glob("*/*.orbax-checkpoint-tmp"):
                shutil.rmtree(half, ignore_errors=True)
            raise self._no_space() from error

    def _check_space(self, needed: int) -> None:
        """Ask first: an orbax that runs out of space also prints the errors of its threads."""
        if shutil.disk_usage(self._folder).free < needed:
            raise self._no_space()

    def _no_space(self) -> UserError:
        return UserError(
            f"no space left for a checkpoint in {self._folder}; free some, then run the same "
            "command again to go on from the one before"
        )

    def _restore(self, manager: ocp.CheckpointManager, **items: Any) -> Any:
        step = manager.latest_step()
        if step is None:
            raise UserError(
                f"expected a checkpoint in {manager.directory}, found none; train first"
            )
        return manager.restore(step, args=ocp.args.Composite(**items))


def _abstract(tree: Any) -> Any:
    return jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)
