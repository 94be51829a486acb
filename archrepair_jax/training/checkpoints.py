"""Saved states of long loops: the one place that knows orbax."""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from flax import serialization

from archrepair_jax.errors import InputError

FILE = "state.msgpack"


class OnePiece(ocp.CheckpointHandler):
    """Keeps all of a state in one file, in one go: orbax's own tasks live on, and complain, after the first to fail."""

    def save(self, directory: Any, args: "Save") -> None:
        (directory / FILE).write_bytes(serialization.msgpack_serialize(args.content))

    def restore(self, directory: Any, args: "Restore") -> dict[str, Any]:
        return serialization.msgpack_restore((directory / FILE).read_bytes())


@ocp.args.register_with_handler(OnePiece, for_save=True)
@dataclasses.dataclass
class Save(ocp.args.CheckpointArgs):
    content: dict[str, Any]


@ocp.args.register_with_handler(OnePiece, for_restore=True)
@dataclasses.dataclass
class Restore(ocp.args.CheckpointArgs):
    pass


class Checkpoints:
    """The last good state of one loop, in a folder of its own; written whole or not at all."""

    def __init__(self, folder: pathlib.Path):
        options = ocp.CheckpointManagerOptions(
            max_to_keep=1, enable_async_checkpointing=False, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def save(self, step: int, state: Any, history: list[dict]) -> None:
        """Keeps ``state`` (a pytree of arrays) and ``history`` (JSON) as they are after ``step`` steps.

        Raises OSError when they cannot be written, as on a full disk; what was kept before stays.
        """
        content = {"state": named(jax.device_get(state)), "history": json.dumps(history)}
        try:
            with unheard():
                self._manager.save(step, args=Save(content))
        except OSError as error:
            raise OSError(
                f"cannot keep step {step} in {self._manager.directory} ({error.strerror or error}): "
                "make room there, and the same command continues from the last step kept"
            ) from error

    def restore(self, state: Any) -> tuple[Any, list[dict]] | None:
        """The kept state in the form and placement of ``state``, and the history; None when nothing was kept.

        Raises InputError when the folder is damaged.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        try:
            with unheard():
                kept = self._manager.restore(step, args=Restore())
            like = named(state)
            if kept["state"].keys() != like.keys():
                raise ValueError(f"a state of other parts is kept: {', '.join(kept['state'])}")
            leaves = [place(kept["state"][name], leaf) for name, leaf in like.items()]
            return jax.tree.unflatten(jax.tree.structure(state), leaves), json.loads(kept["history"])
        except Exception as error:  # orbax and the libraries under it have a dozen ways to fail on a damaged file
            raise InputError(
                f"{self._manager.directory} is damaged: delete it, and its stage starts again from the beginning"
            ) from error

    def close(self) -> None:
        self._manager.close()


def named(state: Any) -> dict[str, Any]:
    """The leaves of a pytree by their paths."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(state)}


def place(kept: Any, like: jax.Array) -> jax.Array:
    """An array that was read, where another of the same form lies; raises ValueError where their forms differ."""
    if (kept.shape, kept.dtype) != (like.shape, like.dtype):
        raise ValueError(f"{kept.dtype} {kept.shape} instead of {like.dtype} {like.shape}")
    return jax.device_put(kept, like.sharding)


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """While orbax works: what it logs as an error it raises as well."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)
