"""The work folder of a run: every result is written whole or not at all, and computed once."""

import dataclasses
import json
import os
import pathlib
import time
import zipfile
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from archrepair_jax.errors import InputError

COMPILING = "/jax/core/compile/"  # jax.monitoring's events of tracing, lowering and compiling


class WorkFolder:
    """Results by name, for one config.

    Args:
        path: made if it does not exist.
        config: what the results depend on, as JSON; a folder that holds results of another config is refused.

    Raises:
        InputError: for such a folder, or a path that is no folder.
    """

    def __init__(self, path: str | os.PathLike, config: dict[str, Any]):
        self.path = pathlib.Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"--workdir {self.path} is a file: name a folder")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--workdir {self.path} cannot be made: {error.strerror}") from error
        config = json.loads(json.dumps(config))
        owner = self.json("config", lambda: config)
        if changed := differences(owner, config):
            raise InputError(f"{self.path} belongs to another config ({changed[0]}): take another --workdir")

    def json(self, name: str, make: Callable[[], Any]) -> Any:
        """The JSON value called ``name``; made and kept if it is not there yet."""
        path = self.path / f"{name}.json"
        if not path.exists():
            text = json.dumps(make(), indent=2, sort_keys=True)
            replace(path, lambda partial: partial.write_text(text + "\n"))
        try:
            return json.loads(path.read_text())
        except ValueError as error:
            raise InputError(f"{path} is damaged: delete it, and it is computed again") from error

    def arrays(self, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The named arrays called ``name``; made and kept if they are not there yet."""
        path = self.path / f"{name}.npz"
        if not path.exists():
            arrays = make()
            replace(path, lambda partial: np.savez_compressed(partial, **arrays))
        try:
            with np.load(path) as saved:
                return dict(saved)
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} is damaged: delete it, and it is computed again") from error


def replace(path: pathlib.Path, write: Callable[[pathlib.Path], Any]) -> None:
    """Writes a file beside its place and moves it there when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def differences(there: Any, here: Any, name: str = "") -> list[str]:
    """Where two JSON values differ, as ``key: old there, new here``."""
    if isinstance(there, dict) and isinstance(here, dict):
        keys = sorted(there.keys() | here.keys())
        return [d for key in keys for d in differences(there.get(key), here.get(key), f"{name}.{key}".lstrip("."))]
    return [] if there == here else [f"{name}: {there} there, {here} here"]


@dataclasses.dataclass
class Clock:
    """Seconds of a stage, with those of compilation apart; use as a context manager."""

    seconds: float = 0.0
    compile_seconds: float = 0.0

    def __enter__(self) -> "Clock":
        self._start = time.monotonic()
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        return self

    def _listen(self, event: str, duration: float, **_: Any) -> None:
        if event.startswith(COMPILING):
            self.compile_seconds += duration

    def __exit__(self, *_: Any) -> None:
        jax.monitoring.unregister_event_duration_listener(self._listen)
        self.seconds = time.monotonic() - self._start
