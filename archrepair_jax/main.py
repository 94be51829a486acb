"""Finds the block of a network that is to blame, searches a better one, and shows on other images whether it helped.

usage: archrepair-jax --config FILE[:ARGUMENT] [--config.KEY=VALUE ...] --workdir DIR
       archrepair-jax init DIR      writes a commented config for images of your own
       archrepair-jax export DIR --format=FORMAT --to=FOLDER [--arm=NAME] [--case=NAME]
                                    writes a finished run's network (the best arm's) as safetensors, stablehlo or onnx
       archrepair-jax completion    prints what bash and zsh complete: eval "$(archrepair-jax completion)"
       archrepair-jax --version

  --config FILE        the run's settings, a Python file with get_config(), or one that comes along by its name, as
                       digits; ARGUMENT (quick, say) is handed to get_config
  --config.KEY=VALUE   changes one of them, as --config.seed=1 or --config.data.path=images.npz
  --workdir DIR        the folder for results; started again with the same command, a run continues there
  --tensorboard        also writes the losses for TensorBoard, into DIR/tensorboard (needs the extra of that name)

It leaves with status 0: done; 2: bad input, and one line says what to do; 1: a loss was no longer finite, or a file
could not be written, or a job of a study did not end; 128 + n: ended by signal n.
"""

import sys

from absl import logging

from archrepair_jax import __version__
from archrepair_jax.cli import command_line, completion, exporting, packaged
from archrepair_jax.cli.interruption import Interruption

COMMANDS = {"init": packaged.begin, "export": exporting.take_home, "completion": completion.show}


def run() -> None:
    """The console script."""
    sys.exit(main(sys.argv))


def main(argv: list[str]) -> int:
    """Runs, prints the table of arms, and returns the status."""
    if {"--help", "-help", "-h"} & set(argv[1:]):
        print(__doc__)
        return 0
    if argv[1:] == ["--version"]:
        print(f"archrepair_jax {__version__}")
        return 0
    if argv[1:] and argv[1] in COMMANDS:
        return COMMANDS[argv[1]](argv[2:])
    logging.set_verbosity(logging.ERROR)  # the libraries' warnings are of no use to who reads the progress
    with Interruption() as interruption:
        try:
            config, workdir = command_line.parse(packaged.found(argv))
        except Exception as error:  # whatever a config file or a flag can raise is the user's to mend
            return command_line.complain(command_line.in_words(error), 2)
        return work(config, workdir, interruption)


def work(config, workdir: str, interruption: Interruption) -> int:
    from archrepair_jax.cli.tasks import TASKS
    from archrepair_jax.errors import InputError, one_of  # all of these here, because they load JAX
    from archrepair_jax.reporting.progress import Progress
    from archrepair_jax.reporting.tensorboard import recorded
    from archrepair_jax.training.loop import Diverged, Stopped

    try:
        one_of("task", [name := config.get("task", "images")], TASKS)
        task = TASKS[name]
        with Progress() as progress, recorded(progress.report, command_line.curves(workdir)) as tell:
            report = task.run(task.settings(config), workdir, tell, interruption)
    except InputError as error:
        return command_line.complain(str(error), 2)
    except (Diverged, OSError) as error:
        return command_line.complain(str(error), 1)
    except Stopped as error:
        print(f"{error}; the same command continues from there", file=sys.stderr)
        return 128 + interruption.number
    task.show(report, workdir)
    return 0


if __name__ == "__main__":
    run()
