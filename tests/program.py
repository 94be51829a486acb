"""The program as a user starts it, in a process of its own; and one finished run that several tests look at.

The processes share a cache of compiled functions, so that only the first one pays for them.
"""

import functools
import os
import pathlib
import subprocess
import sys
import tempfile

from absl.testing import flagsaver

from archrepair_jax.main import main

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = "tests/tiny_config.py"
FOLDERS = tempfile.TemporaryDirectory(prefix="archrepair-jax-tests-")
PATIENCE = 300  # seconds for what takes some, on a machine that is busy


def environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}  # one device
    return own | {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": f"{FOLDERS.name}/compiled",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def start(*command: str) -> subprocess.Popen:
    """Starts Python with these arguments in the repository's root."""
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen) -> tuple[int, str, str]:
    """Waits for a process: its status, output and errors."""
    try:
        output, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, output, errors


def repair(*arguments: str) -> tuple[int, str, str]:
    """One whole run of the program, with the tiny config."""
    return end(start("-m", "archrepair_jax.main", "--config", CONFIG, *arguments))


def inside(monkeypatch, *arguments: str) -> int:
    """The same in this process, which saves the start; its status."""
    argv = ["archrepair-jax", *arguments]
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", argv)  # ml_collections looks there, too
    monkeypatch.delitem(sys.modules, "config_config", raising=False)  # its name for the last config file
    with flagsaver.flagsaver():
        return main(argv)


@functools.cache
def finished() -> tuple[pathlib.Path, str, str]:
    """The work folder, output and errors of one run that found and kept a new block."""
    folder = pathlib.Path(FOLDERS.name) / "finished"
    status, output, errors = repair("--workdir", str(folder))
    assert status == 0, errors
    return folder, output, errors
