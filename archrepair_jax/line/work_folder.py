"""The work folder of a run: every result is written whole or not at all, and computed once."""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from archrepair_jax.errors import InputError
from archrepair_jax.files import read_json, read_npz, write_whole
from archrepair_jax.models.formats.weights import load_variables, save_variables
from archrepair_jax.models.network import Network, Variables

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
        self.path = pathlib.Path(path).expanduser()
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"--workdir {self.path} is a file: name a folder")
        config = json.loads(json.dumps(config))
        try:
            owner = self.json("config", lambda: config)
        except OSError as error:
            raise InputError(f"--workdir {self.path} cannot be written to ({error.strerror}): name another") from error
        if changed := differences(owner, config):
            raise InputError(f"{self.path} belongs to another config ({changed[0]}): take another --workdir")

    def json(self, name: str, make: Callable[[], Any], beside: str = "") -> Any:
        """The JSON value called ``name``; made and kept if it, or the variables ``beside`` it, are not there yet."""
        path = self.path / f"{name}.json"
        if not path.exists() or (beside and not self._weights(beside).exists()):
            text = json.dumps(make(), indent=2, sort_keys=True)
            write_whole(path, f"{text}\n".encode())
        with intact(path):
            return read_json(path)

    def arrays(self, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The named arrays called ``name``; made and kept if they are not there yet."""
        path = self.path / f"{name}.npz"
        if not path.exists():
            content = io.BytesIO()
            np.savez_compressed(content, **make())
            write_whole(path, content.getvalue())
        with intact(path):
            return read_npz(path)

    def keep(self, name: str, variables: Variables) -> None:
        """Writes the variables called ``name``."""
        save_variables(self._weights(name), variables)

    def variables(self, name: str, network: Network) -> Variables:
        """The variables called ``name``, which ``keep`` wrote."""
        path = self._weights(name)
        with intact(path):
            return load_variables(path, network)

    def _weights(self, name: str) -> pathlib.Path:
        return self.path / f"{name}.safetensors"


@contextlib.contextmanager
def intact(path: pathlib.Path) -> Iterator[None]:
    """Around reading a result: says in one line that it is damaged."""
    try:
        yield
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged: delete it, and it is computed again") from error


def differences(there: Any, here: Any, name: str = "") -> list[str]:
    """Where two JSON values differ, as ``key: old there, new here``."""
    if isinstance(there, dict) and isinstance(here, dict):
        keys = sorted(there.keys() | here.keys())
        pairs = ((f"{name}.{key}".lstrip("."), there.get(key, "nothing"), here.get(key, "nothing")) for key in keys)
        return [difference for key, left, right in pairs for difference in differences(left, right, key)]
    same = json.dumps(there, sort_keys=True) == json.dumps(here, sort_keys=True)
    return [] if same else [f"{name}: {there} there, {here} here"]


@dataclasses.dataclass
class Clock:
    """Seconds of a stage, and how many of them went into compilation; use as a context manager."""

    seconds: float = 0.0
    compile_seconds: float = 0.0

    def __enter__(self) -> "Clock":
        self._start, self._compiling = time.monotonic(), []
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        return self

    def _listen(self, event: str, duration: float, **_: Any) -> None:
        if event.startswith(COMPILING):
            now = time.monotonic()
            self._compiling.append((max(now - duration, self._start), now))

    def __exit__(self, *_: Any) -> None:
        jax.monitoring.unregister_event_duration_listener(self._listen)
        self.seconds = time.monotonic() - self._start
        self.compile_seconds = covered(self._compiling)


def covered(spans: list[tuple[float, float]]) -> float:
    """The length of the union of intervals: a function that is traced inside another one counts once."""
    length, reached = 0.0, -float("inf")
    for start, stop in sorted(spans):
        length += max(0.0, stop - max(start, reached))
        reached = max(reached, stop)
    return length
