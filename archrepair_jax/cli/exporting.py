"""``export DIR``: a finished run's network in a file to take home."""

import argparse
import pathlib
from collections.abc import Sequence
from typing import NoReturn

from archrepair_jax.cli.command_line import complain
from archrepair_jax.errors import InputError


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as everything here does."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"export: {message} (--help tells more)")


def make_parser() -> Parser:
    parser = Parser("archrepair-jax export", add_help=False, allow_abbrev=False)
    parser.add_argument("run")
    parser.add_argument("--format", required=True)
    parser.add_argument("--to", required=True)
    parser.add_argument("--arm", default="best")
    parser.add_argument("--case", default="")
    return parser


def take_home(arguments: Sequence[str]) -> int:
    """Writes it, says where, and gives the status."""
    try:
        asked = make_parser().parse_args(arguments)
        from archrepair_jax.line.classifiers import load  # here, because it loads JAX

        classifier = load(asked.run, asked.arm, case=asked.case)
        path = classifier.export(pathlib.Path(asked.to), asked.format)
    except InputError as error:
        return complain(str(error), 2)
    except OSError as error:
        return complain(str(error), 1)
    print(f"{path}: the arm {classifier.arm}; {path.with_suffix('.json').name} beside it says what it takes and gives")
    return 0
