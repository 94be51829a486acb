"""What the shell completes: bash itself is asked, with the script that the program prints."""

import shutil
import subprocess

import pytest

from archrepair_jax.main import main


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("exp", {"export"}),
        ("--wor", {"--workdir="}),
        ("--config.se", {"--config.seed="}),
        ("--config.methods.reconstruction.st", {"--config.methods.reconstruction.steps="}),
        ("digi", {"digits"}),  # after --config=, where bash begins another word
        ("stable", {"stablehlo"}),
    ],
)
def test_bash_completes(typed, expected, capsys):
    if not (bash := shutil.which("bash")):
        pytest.skip("there is no bash here, whose completion this tests")
    assert main(["", "completion"]) == 0
    script = capsys.readouterr().out
    ask = """eval "$1"; eval "set -- $(complete -p archrepair-jax) -- $2"
words=$(while [ "$1" != -W ]; do shift; done; echo "$2"); compgen -W "$words" -- "${@: -1}" """
    run = subprocess.run([bash, "-c", ask, "", script, typed], capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) == expected


def test_it_takes_nothing(capsys):
    assert main(["", "completion", "fish"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
