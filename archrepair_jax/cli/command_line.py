"""The flags, and what is wrong with them in one line; nothing here loads JAX (a config file may)."""

import os
import re
import sys

from absl import flags
from ml_collections import ConfigDict, config_flags

from archrepair_jax.errors import InputError

CONFIG = config_flags.DEFINE_config_file("config", None, "the run's settings, a Python file", lock_config=True)
WORKDIR = flags.DEFINE_string("workdir", None, "the folder for results")
TENSORBOARD = flags.DEFINE_bool("tensorboard", False, "whether to write event files for TensorBoard")


def parse(argv: list[str]) -> tuple[ConfigDict, str]:
    """The config and the work folder; raises whatever a flag or the config file raises."""
    if others := flags.FLAGS(argv)[1:]:
        raise flags.Error(f"{others[0]} belongs to no flag: write --config FILE --workdir DIR (--help tells more)")
    require(CONFIG, "FILE, the run's settings")
    if not hasattr(CONFIG.value, "to_dict"):  # asking raises what went wrong with the file
        raise flags.Error("get_config() returns no ConfigDict: return the changed settings.default_config()")
    require(WORKDIR, "DIR, a folder for results")
    return CONFIG.value, WORKDIR.value


def curves(workdir: str) -> str:
    """The folder for event files; empty for none."""
    return os.path.join(os.path.expanduser(workdir), "tensorboard") if TENSORBOARD.value else ""


def require(flag: flags.FlagHolder, what: str) -> None:
    """Raises flags.Error, with what to add, for a flag that is not given or empty."""
    if not flag.present or flag.value == "":
        raise flags.Error(f"--{flag.name} is missing: add --{flag.name} {what} (--help tells more)")


def in_words(error: Exception) -> str:
    """What is wrong, out of a message into which its library put keys, a dump of the config or a traceback."""
    text = str(error)
    if key := re.search(r'Did you mean "(.+?)" instead of "(.+?)"', text):
        return f"the config has no key {key[2]!r}: did you mean {key[1]!r}?"
    if key := re.search(r'Key "(.+?)" does not exist', text) or re.fullmatch(r"[\"']+(\w+)[\"']+", text):
        return f"the config has no key {key[1]!r}: settings.py of line/ (region_settings.py) or study/ lists them"
    if fault := re.search(r"\[Errno \d+\] (.+)", text):
        return f"cannot read the config: {fault[1]}"
    if isinstance(error, InputError):
        return text
    if isinstance(error, flags.Error):
        flag, _, traceback = text.partition(" Error whilst parsing config file:")
        *_, last = traceback.strip().splitlines() or [""]
        *_, last = last.split(f"{InputError.__module__}.InputError: ")  # which keeps a traceback on one line
        return f"{flag} {last}" if traceback else text
    return f"cannot read the config: {type(error).__name__}: {text}"


def complain(text: str, status: int) -> int:
    """Says what is wrong, in one line; gives the status."""
    print(f"archrepair-jax: {' '.join(text.split())}", file=sys.stderr)
    return status
