"""The work folder of a run: every result is written whole or not at all, and computed once."""

import contextlib
import fcntl
import io
import json
import os
import pathlib
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from archrepair_jax import __version__
from archrepair_jax.errors import InputError
from archrepair_jax.files import read_json, read_npz, write_whole
from archrepair_jax.models.formats.weights import load_variables, save_variables
from archrepair_jax.models.network import Network, Variables

OWNER, LOCK = "config", ".lock"  # the result that says what the others depend on; who works here holds the lock
RESULTS = (  # all that a run leaves in a folder or in a part of one
    *("arms", "cases", "checkpoints", "figures", "*-examples.npz", "*-attacked.npz", "certificate.npz"),
    *("diagnose.json", "localize.json", "model.*", "repair-*", "accept-*", "judge.json", "repaired.*"),
    *("report.json", "report.md", "report.html", "table.csv", "tensorboard"),
)


class WorkFolder:
    """Results by name, which depend on a config and on what was read.

    Args:
        path: made if it does not exist.
        config: as JSON; a folder that holds results of another config is refused.
        contents: fingerprints of files and arrays; where one has changed, all results of the folder are forgotten.
        say: called with a sentence when that happens.

    Raises:
        InputError: for another config, for a folder that another version has written, or a path that is no folder.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        config: Mapping[str, Any],
        contents: Mapping[str, str] | None = None,
        say: Callable[[str], None] = lambda sentence: None,
    ):
        self.path, self.say = pathlib.Path(path).expanduser(), say
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"--workdir {self.path} is a file: name a folder")
        own = json.loads(json.dumps({"version": __version__, "config": config, "contents": contents or {}}))
        there = self._owner(own)
        if (version := there.get("version", "an older version")) != __version__:
            raise InputError(f"{self.path} was written by {version}, this is {__version__}: take another --workdir")
        if changed := differences(there.get("config"), own["config"]):
            raise InputError(f"{self.path} belongs to another config ({changed[0]}): take another --workdir")
        before, now = there.get("contents") or {}, own["contents"]
        if changed := [name for name in now if before.get(name) != now[name]]:
            say(f"{' and '.join(changed)} changed since: everything in {self.path} is computed again")
            self._forget()
            self._owner(own)

    def _owner(self, own: dict[str, Any]) -> dict[str, Any]:
        try:
            there = self.json(OWNER, lambda: own)
        except OSError as error:
            raise InputError(f"--workdir {self.path} cannot be written to ({error.strerror}): name another") from error
        return there if isinstance(there, dict) else {}

    def _forget(self) -> None:
        """Removes all results, and nothing of the user's; the last of them is what says whose they were."""
        for part in (part for pattern in RESULTS for part in self.path.glob(pattern)):
            shutil.rmtree(part) if part.is_dir() else part.unlink()
        self._path(OWNER, "json").unlink()

    def part(self, name: str, config: Mapping[str, Any], contents: Mapping[str, str] | None = None) -> "WorkFolder":
        """A folder inside, whose results depend on more than the others'."""
        return WorkFolder(self.path / name, config, contents, self.say)

    def json(self, name: str, make: Callable[[], Any], beside: str = "") -> Any:
        """The JSON value called ``name``; made and kept if it, or the variables ``beside`` it, are not there yet."""
        path = self._path(name, "json")
        if not path.exists() or (beside and not self._path(beside, "safetensors").exists()):
            write_whole(path, f"{json.dumps(make(), indent=2, sort_keys=True)}\n".encode())
        with intact(path):
            return read_json(path)

    def arrays(self, name: str, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The named arrays called ``name``; made and kept if they are not there yet."""
        path = self._path(name, "npz")
        if not path.exists():
            self.keep_arrays(name, make())
        with intact(path):
            return read_npz(path)

    def keep_arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes the named arrays called ``name``."""
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)
        write_whole(self._path(name, "npz"), content.getvalue())

    def keep(self, name: str, variables: Variables) -> None:
        """Writes the variables called ``name``."""
        save_variables(self._path(name, "safetensors"), variables)

    def variables(self, name: str, network: Network) -> Variables:
        """The variables called ``name``, which ``keep`` wrote."""
        path = self._path(name, "safetensors")
        with intact(path):
            return load_variables(path, network)

    def has(self, name: str) -> bool:
        """Whether there is anything called ``name``, whatever it is."""
        return any(self._path(name, ending).exists() for ending in ("json", "npz", "safetensors"))

    def _path(self, name: str, ending: str) -> pathlib.Path:
        return self.path / f"{name}.{ending}"


@contextlib.contextmanager
def locked(path: str | os.PathLike) -> Iterator[None]:
    """Keeps other processes out of a work folder; a killed process leaves no lock. Raises InputError if one is in."""
    folder = pathlib.Path(path).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a")
    except FileExistsError as error:
        raise InputError(f"--workdir {folder} is a file: name a folder") from error
    except OSError as error:
        raise InputError(f"--workdir {folder} cannot be written to ({error.strerror}): name another") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"another process works in {folder}: wait for it, or take another --workdir") from error
        yield


@contextlib.contextmanager
def intact(path: pathlib.Path, *, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Around reading a result: says in one line that it is damaged, but for exceptions that say something better."""
    try:
        yield
    except but:
        raise
    except (ValueError, EOFError, RecursionError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged: delete it, and it is computed again") from error


def differences(there: Any, here: Any, name: str = "") -> list[str]:
    """Where two JSON values differ, as ``key: old there, new here``."""
    if isinstance(there, dict) and isinstance(here, dict):
        keys = sorted(there.keys() | here.keys())
        pairs = ((f"{name}.{key}".lstrip("."), there.get(key, "nothing"), here.get(key, "nothing")) for key in keys)
        return [difference for key, left, right in pairs for difference in differences(left, right, key)]
    same = json.dumps(there, sort_keys=True) == json.dumps(here, sort_keys=True)
    return [] if same else [f"{name}: {there} there, {here} here"]
