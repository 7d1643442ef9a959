"""Checkpoints of the best and the last state of a run. The only file that uses orbax.

``<workdir>/checkpoints/last`` holds all that a run needs to resume; ``best`` the weights with the
highest oracle score so far. Orbax writes to a temporary folder and renames it, so that a process
killed at any moment leaves the previous checkpoint.
"""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from sensorium_jax.errors import UserError, hold_signals, is_full_disk
from sensorium_jax.files import file_digest, read_json, write_json
from sensorium_jax.types import Params, TrainState

KEPT = 2  # checkpoints of each kind: the one before serves where the last is damaged
SEAL = "digests.json"
# Free space needed: over the size of a checkpoint, and for the many small files beside its arrays.
SPARE, SPARE_BYTES = 3, 2**22


class Checkpoints:
    """The checkpoints of one run.

    Every checkpoint is sealed with the digests of its files, which are compared when it is read:
    orbax keeps no checksums. Where the last state is damaged, the one before it is used, with a
    warning: training computes the steps between again. The best weights cannot be computed again:
    where they are damaged, an error says how to go on.
    """

    def __init__(self, workdir: Path):
        self._folder = workdir.resolve() / "checkpoints"
        # Saving is synchronous: the state's buffers are donated to the very next step.
        options = ocp.CheckpointManagerOptions(
            max_to_keep=KEPT, cleanup_tmp_directories=True, enable_async_checkpointing=False
        )
        self._last = ocp.CheckpointManager(self._folder / "last", options=options)
        self._best = ocp.CheckpointManager(self._folder / "best", options=options)

    def tidy(self) -> None:
        """Do what a killed process left undone: seal its last checkpoint, remove the oldest."""
        if jax.process_index() == 0:
            for manager in (self._last, self._best):
                steps = sorted(manager.all_steps())
                for folder in (Path(manager.directory) / str(step) for step in steps[-KEPT:]):
                    if not (folder / SEAL).exists():  # orbax renames whole checkpoints only
                        seal(folder)
                for step in steps[:-KEPT]:
                    shutil.rmtree(Path(manager.directory) / str(step))
        for manager in (self._last, self._best):
            manager.reload()

    @property
    def last_step(self) -> int | None:
        """Step of the last checkpoint; None before the first."""
        return self._last.latest_step()

    def save_last(self, state: TrainState, loop: dict[str, Any], *, step: int) -> None:
        """Save the whole state and ``loop``, JSON values from which the training loop resumes."""
        self._save(self._last, step, "state", state, loop=ocp.args.JsonSave(loop))

    def save_best(self, params: Params, *, step: int) -> None:
        """Save the weights with the best score so far."""
        self._save(self._best, step, "params", params)

    def restore_last(self, like: TrainState) -> tuple[TrainState, dict[str, Any]]:
        """The last state, with the shapes and devices of ``like``, and its ``loop`` values.

        Raises:
            UserError: there is none, or all are damaged.
        """
        step, restored = self._restore(self._last, "state", like, loop=ocp.args.JsonRestore())
        for damaged in [s for s in self._last.all_steps() if s > step]:
            self._last.delete(damaged)  # training saves that step again
        return restored["state"], restored["loop"]

    def restore_best(self, like: Params) -> Params:
        """The weights with the best score, with the shapes and devices of ``like``.

        Raises:
            UserError: there are none, or they are damaged.
        """
        return self._restore(self._best, "params", like, newest=True)[1]["params"]

    def _save(
        self, manager: ocp.CheckpointManager, step: int, name: str, tree: Any, **items: Any
    ) -> None:
        if step in manager.all_steps():  # a resumed run saves at the step of its checkpoint
            return
        size = sum(x.nbytes for x in jax.tree.leaves(tree))
        self._check_space(SPARE * size + SPARE_BYTES)
        items[name] = ocp.args.StandardSave(tree)
        try:
            with hold_signals():  # orbax's threads print tracebacks if it is interrupted
                manager.save(step, args=ocp.args.Composite(**items), force=True)
                if jax.process_index() == 0:
                    seal(Path(manager.directory) / str(step))
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

    def _restore(
        self,
        manager: ocp.CheckpointManager,
        name: str,
        like: Any,
        *,
        newest: bool = False,
        **items: Any,
    ) -> tuple[int, Any]:
        """The newest sound checkpoint, or the newest one alone, and its step.

        Raises:
            UserError: there is none.
        """
        steps = sorted(manager.all_steps(), reverse=True)
        if not steps:
            raise UserError(
                f"expected a checkpoint in {manager.directory}, found none; train first"
            )
        reasons = []
        for step in steps:
            folder = Path(manager.directory) / str(step)
            reason = damage(folder)
            if reason is None:
                items[name] = ocp.args.StandardRestore(_abstract(like))
                try:
                    with hold_signals():
                        return step, manager.restore(step, args=ocp.args.Composite(**items))
                except (OSError, MemoryError, jax.errors.JaxRuntimeError):
                    raise
                except Exception as error:  # orbax raises plain ones too
                    reason = f"it cannot be read ({str(error).partition(chr(10))[0][:200]})"
            reasons.append(f"{step}: {reason}")
            if newest and step > steps[-1]:
                raise UserError(
                    f"expected the best weights in {folder}, which is damaged: {reason}; bring a "
                    "copy of it, or remove it to go on with the best ones before, of step "
                    f"{steps[1]}"
                )
            warnings.warn(
                f"the checkpoint {folder} is damaged: {reason}; the one before it is used",
                stacklevel=3,
            )
        raise UserError(
            f"expected a sound checkpoint in {manager.directory}, all are damaged "
            f"({'; '.join(reasons)}); remove that folder, then the same command trains from the "
            "beginning, or bring a copy of it"
        )


def seal(folder: Path) -> None:
    """Write the digests of a checkpoint's files beside them."""
    write_json(folder / SEAL, _digests(folder), sealed=True)


def damage(folder: Path) -> str | None:
    """What is wrong with the files of a checkpoint; None if nothing is.

    One without a seal is of version 0.1, or of a process that was killed before it sealed it.
    """
    if not (folder / SEAL).exists():
        return None
    try:
        expected = read_json(folder / SEAL, advice="")
    except UserError:
        return f"{SEAL} is damaged"
    found = _digests(folder)
    if missing := sorted(expected.keys() - found.keys()):
        return f"{missing[0]} is missing"
    if changed := sorted(name for name in found if found[name] != expected.get(name)):
        return f"{changed[0]} is not as it was saved"
    return None


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a checkpoint, by its path in it."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != SEAL)
    return {file.relative_to(folder).as_posix(): file_digest(file) for file in files}


def _abstract(tree: Any) -> Any:
    return jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)
