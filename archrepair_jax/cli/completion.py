"""``completion``: what a shell completes after the program's name, once it has read this."""

from collections.abc import Sequence

from archrepair_jax.cli import packaged
from archrepair_jax.cli.command_line import complain

FLAGS = ("--config=", "--workdir=", "--tensorboard", "--help", "--version", "--format=", "--to=", "--arm=", "--case=")
SCRIPT = """# for bash; in zsh after: autoload -Uz bashcompinit && bashcompinit
complete -o default -o nospace -W '{words}' archrepair-jax
"""


def show(arguments: Sequence[str]) -> int:
    """Prints the script, and gives the status."""
    if arguments:
        return complain('completion takes nothing: eval "$(archrepair-jax completion)" in the shell\'s start file', 2)
    print(SCRIPT.format(words=" ".join(words())), end="")
    return 0


def words() -> list[str]:
    """The commands, flags, configs that come along, formats of exports, and all keys of a run over images."""
    from flax.traverse_util import flatten_dict  # here, because these load JAX

    from archrepair_jax.line.exports import FORMATS
    from archrepair_jax.line.settings import default_config

    keys = flatten_dict(default_config().to_dict(), sep=".")
    return ["init", "export", "completion", *FLAGS, *packaged.names(), *FORMATS, *(f"--config.{key}=" for key in keys)]
