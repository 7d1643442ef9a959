"""Checkpoints of the best and the last state of a run. The only file that uses orbax.

``<workdir>/checkpoints/last`` holds all that a run needs to resume; ``best`` the weights with the
highest oracle score so far. Orbax writes to a temporary folder and renames it, so that a process
killed at any moment leaves the previous checkpoint.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from sensorium_jax.errors import UserError, is_full_disk
from sensorium_jax.types import Params, TrainState

SPARE = 3  # free space needed, over the size of a checkpoint: file systems round up


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
        """Save the whole state and ``loop``, JSON values from which the training loop resumes."""
        self._save(
            self._last, step, state=ocp.args.StandardSave(state), loop=ocp.args.JsonSave(loop)
        )

    def save_best(self, params: Params, *, step: int) -> None:
        """Save the weights with the best score so far."""
        self._save(self._best, step, params=ocp.args.StandardSave(params))

    def restore_last(self, like: TrainState) -> tuple[TrainState, dict[str, Any]]:
        """The last state, with the shapes and devices of ``like``, and its ``loop`` values."""
        restored = self._restore(
            self._last,
            state=ocp.args.StandardRestore(_abstract(like)),
            loop=ocp.args.JsonRestore(),
        )
        return restored["state"], restored["loop"]

    def restore_best(self, like: Params) -> Params:
        """The weights with the best score, with the shapes and devices of ``like``."""
        return self._restore(self._best, params=ocp.args.StandardRestore(_abstract(like)))["params"]

    def _save(self, manager: ocp.CheckpointManager, step: int, **items: Any) -> None:
        if step in manager.all_steps():  # a resumed run saves at the step of its checkpoint
            return
        arrays = [item.item for name, item in items.items() if name != "loop"]
        self._check_space(SPARE * sum(x.nbytes for x in jax.tree.leaves(arrays)))
        try:
            manager.save(step, args=ocp.args.Composite(**items), force=True)
        except Exception as error:
            if not is_full_disk(error):
                raise
            for unfinished in self._folder.glob("*/*.orbax-checkpoint-tmp"):
                shutil.rmtree(unfinished, ignore_errors=True)
            raise self._no_space() from error

    def _check_space(self, required: int) -> None:
        """Check before saving: when orbax runs out of space, it prints its threads' errors too."""
        if shutil.disk_usage(self._folder).free < required:
            raise self._no_space()

    def _no_space(self) -> UserError:
        return UserError(
            f"no space left for a checkpoint in {self._folder}; free some, then run the same "
            "command again to resume from the previous checkpoint"
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
