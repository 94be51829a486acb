"""The command as a user gives it, in a process of its own."""

import signal

from program import end

PROGRAM = ("-m", "archrepair_jax.main", "--config", "configs/programs.py")
COMMAND = (*PROGRAM, "--config.subject=D6", "--config.budget=8", "--config.seed=2")  # which finds something

KILLED = """
import os, signal
from archrepair_jax.main import run
from archrepair_jax.reporting.progress import Progress

said = Progress.report

def report(self, *told):
    said(self, *told)
    if "trial 1" in " ".join(map(str, told)):
        os.kill(os.getpid(), signal.SIGKILL)

Progress.report = report
run()
"""


def test_it_says_what_should_change_and_goes_on_after_a_kill(program, tmp_path):
    whole = end(program.start(*COMMAND, "--workdir", str(tmp_path / "whole")))
    assert whole.status == 0 and "D6, guided, seed 2: change lr " in whole.output and "seeds" in whole.output
    killed = end(program.start("-c", KILLED, *COMMAND[2:], "--workdir", str(tmp_path / "killed")))
    assert killed.status == -signal.SIGKILL and "seeds" not in killed.output
    again = end(program.start(*COMMAND, "--workdir", str(tmp_path / "killed")))
    assert again.output.splitlines()[0] == whole.output.splitlines()[0]


def test_what_there_is_not_ends_in_one_line(program, tmp_path):
    refused = end(program.start(*COMMAND, "--config.technique=gided", "--workdir", str(tmp_path)))
    assert refused.status == 2 and refused.output == ""
    assert "did you mean guided? choose from random" in refused.errors and len(refused.errors.splitlines()) == 1


def test_without_optuna_it_says_what_to_install(program, tmp_path):
    missing = "import sys; sys.modules['optuna'] = sys.modules['optuna.pruners'] = None"
    start = f"{missing}; from archrepair_jax.main import run; run()"
    refused = end(program.start("-c", start, *COMMAND[2:], "--workdir", str(tmp_path)))
    assert refused.status == 2 and "this needs optuna" in refused.errors
    assert refused.errors.endswith(": python -m pip install 'archrepair-jax[programs]'\n")
