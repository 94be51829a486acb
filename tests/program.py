"""The program as a user starts it, in a process of its own; and one finished run that several tests look at."""

import fcntl
import json
import os
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from absl.testing import flagsaver

from archrepair_jax.cli.command_line import parse
from archrepair_jax.cli.packaged import found
from archrepair_jax.main import main

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = "tests/tiny_config.py"
TIMED = ("cost", "environment", "seconds", "compile_seconds")
PATIENCE = 300  # seconds for what takes some, on a machine that is busy


class Outcome(NamedTuple):
    """How a process ended, and what it wrote."""

    status: int
    output: str
    errors: str


class Program:
    """Starts processes that share a cache of compiled functions in ``folder``, so that only the first pays for them."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def environment(self) -> dict[str, str]:
        one_device = re.sub(r"--xla_force_host_platform_device_count=\d+", "", os.environ["XLA_FLAGS"])
        return os.environ | {
            "XLA_FLAGS": one_device,
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(self.folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }

    def start(self, *command: str, **changes: str) -> subprocess.Popen:
        """Starts Python with these arguments in the repository's root; ``changes`` are of the environment."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, *command], cwd=ROOT, env=self.environment() | changes, **pipes)

    def repair(self, *arguments: str, **changes: str) -> Outcome:
        """One whole run of the program, with the tiny config."""
        return end(self.start("-m", "archrepair_jax.main", "--config", CONFIG, *arguments, **changes))

    def finished(self) -> tuple[pathlib.Path, Outcome]:
        """The work folder and the outcome of one run that found and kept a new block; made once for all workers."""
        folder, kept = self.folder / "finished", self.folder / "outcome.json"
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                kept.write_text(json.dumps(self.repair("--workdir", str(folder))))
        outcome = Outcome(*json.loads(kept.read_text()))
        assert outcome.status == 0, outcome.errors
        return folder, outcome


def end(process: subprocess.Popen) -> Outcome:
    """Waits for a process to end."""
    try:
        output, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Outcome(process.returncode, output, errors)


def wait_for(what: Callable[[], bool], process: subprocess.Popen) -> None:
    """Returns as soon as something is there, or the process has ended."""
    deadline = time.monotonic() + PATIENCE
    while not what() and process.poll() is None:
        assert time.monotonic() < deadline, "the awaited file does not appear"
        time.sleep(0.005)


def inside(monkeypatch, *arguments: str) -> int:
    """Runs the program in this process, which saves the start; its status."""
    argv = ["archrepair-jax", *arguments]
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", argv)  # ml_collections looks there, too
    monkeypatch.delitem(sys.modules, "config_config", raising=False)  # its name for the last config file
    with flagsaver.flagsaver():
        return main(argv)


def settled(monkeypatch, *arguments: str) -> Any:
    """The settings that a command line comes to; nothing is run."""
    from archrepair_jax.cli.tasks import TASKS  # here, because conftest.py comes before the hook that checks shapes

    argv = ["archrepair-jax", *arguments]
    monkeypatch.setattr("sys.argv", argv)  # ml_collections looks there, too
    monkeypatch.delitem(sys.modules, "config_config", raising=False)  # its name for the last config file
    with flagsaver.flagsaver():
        config, _ = parse(found(argv))
    return TASKS[config.get("task", "images")].settings(config)


def steps_kept(folder: pathlib.Path) -> int:
    """The step of a loop's checkpoint; 0 without one."""
    return max((int(step.name) for step in folder.glob("*") if step.name.isdigit()), default=0)


def results(folder: pathlib.Path) -> str:
    """The report without what clocks and machines say."""

    def timeless(value):
        if isinstance(value, dict):
            return {name: timeless(part) for name, part in value.items() if name not in TIMED}
        return [timeless(part) for part in value] if isinstance(value, list) else value

    return json.dumps(timeless(json.loads((folder / "report.json").read_text())), indent=1)


def again(monkeypatch, folder: pathlib.Path, *arguments: str) -> int:
    """A run with the tiny config in a folder, in this process; its status."""
    return inside(monkeypatch, "--config", CONFIG, *arguments, "--workdir", str(folder))


def read(folder: pathlib.Path) -> dict:
    """The report of a run."""
    return json.loads((folder / "report.json").read_text())


def arms(folder: pathlib.Path) -> dict[str, dict]:
    """The report's arms by name."""
    return {arm["name"]: arm for arm in read(folder)["arms"]}
