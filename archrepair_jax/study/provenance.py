"""Where a table comes from: the comment lines at the head of every file in results/."""

import datetime
import os
import pathlib
import platform
import subprocess

import jax


def head(command: str, hardware: str, *more: str, commit: str = "") -> str:
    """Comment lines: the command, the commit (this checkout's, unless another one is named), the hardware, the day."""
    commit = commit or checkout()
    lines = f"command: {command}", f"commit {commit}; {hardware}; {datetime.date.today()}", *more
    return "".join(f"# {line}\n" for line in lines)


def checkout() -> str:
    """The commit of this checkout, with a word on changes that it does not hold; tables in results/ are none."""
    commit = git("describe", "--always") or "none"
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)results")
    return commit + " with uncommitted changes" * bool(changed)


def git(*arguments: str) -> str:
    """What git says of this checkout; nothing where there is none."""
    command = ["git", "-C", str(pathlib.Path(__file__).parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def this_machine() -> str:
    """The device, the cores that this process may use, and JAX's version."""
    cores = f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} cores"
    return f"{jax.devices()[0].device_kind} ({platform.machine()}, {cores}), jax {jax.__version__}"
