"""Saved states of long loops: the one place that knows orbax."""

import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp

from archrepair_jax.errors import InputError


class Checkpoints:
    """The last good state of one loop, in a folder of its own; written whole or not at all."""

    def __init__(self, folder: pathlib.Path):
        options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def save(self, step: int, state: Any, history: list[dict]) -> None:
        """Keeps ``state`` (a pytree of arrays) and ``history`` (JSON) as they are after ``step`` steps."""
        arguments = ocp.args.Composite(state=ocp.args.StandardSave(state), history=ocp.args.JsonSave(history))
        self._manager.save(step, args=arguments)

    def restore(self, state: Any) -> tuple[Any, list[dict]] | None:
        """The kept state in the form and placement of ``state``, and the history; None when nothing was kept.

        Raises InputError when the folder is damaged.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
        arguments = ocp.args.Composite(state=ocp.args.StandardRestore(abstract), history=ocp.args.JsonRestore())
        try:
            kept = self._manager.restore(step, args=arguments)
        except Exception as error:  # orbax and the libraries under it have a dozen ways to fail on a damaged file
            raise InputError(
                f"{self._manager.directory} is damaged: delete it, and its stage starts again from the beginning"
            ) from error
        return kept.state, kept.history

    def close(self) -> None:
        self._manager.close()
