"""A run that is killed, or asked to leave, anywhere and started again gives the same report as one that is not."""

import signal

import pytest
from program import CONFIG, end, results, steps_kept, wait_for

from archrepair_jax.cli import interruption
from archrepair_jax.cli.interruption import Interruption

SAVES_ALWAYS = (
    "from archrepair_jax.training import loop; loop.SAVE_EVERY = 0; from archrepair_jax.main import run; run()"
)


@pytest.mark.slow
def test_killed_in_any_stage(program, tmp_path):
    search, tuning = (
        tmp_path / f"arms/{method}/checkpoints/repair-0/{loop}"
        for method, loop in (("reconstruction", "search"), ("fine_tune_block", "tuning"))
    )
    kills = [
        (lambda: steps_kept(tmp_path / "checkpoints/training") >= 20, ["-c", SAVES_ALWAYS]),
        (lambda: (tmp_path / "validation-examples.npz").exists(), ["-m", "archrepair_jax.main"]),
        (lambda: steps_kept(search) >= 3, ["-c", SAVES_ALWAYS]),
        (lambda: steps_kept(tuning) >= 10, ["-c", SAVES_ALWAYS]),
        (lambda: any(tmp_path.glob("arms/*/answers/clean.npz")), ["-m", "archrepair_jax.main"]),
    ]
    for marker, command in kills:
        process = program.start(*command, "--config", CONFIG, "--workdir", str(tmp_path))
        wait_for(marker, process)
        process.kill()
        assert marker(), end(process)
        end(process)
        assert not (tmp_path / "report.json").exists()

    status, _, errors = program.repair("--workdir", str(tmp_path))
    assert status == 0, errors
    finished, _ = program.finished()
    assert results(tmp_path) == results(finished)
    saved = [f"arms/reconstruction/repaired.{ending}" for ending in ("safetensors", "json")]
    for file in ("model.safetensors", *saved, "config.json"):
        assert (tmp_path / file).read_bytes() == (finished / file).read_bytes()


@pytest.mark.slow
def test_asked_to_leave_while_training(program, tmp_path):
    """SIGTERM: the loop's state is kept, and the same command goes on from there."""
    arguments = ["--config", CONFIG, "--config.stages=('evaluate',)", "--config.training.steps=2000"]
    process = program.start("-m", "archrepair_jax.main", *arguments, "--workdir", str(tmp_path))
    first = process.stderr.readline()  # of the progress: the loop is running
    process.terminate()
    status, _, errors = end(process)
    assert first.startswith("training  ")
    assert status == 128 + signal.SIGTERM
    line = errors.splitlines()[-1]
    kept = steps_kept(tmp_path / "checkpoints/training")
    assert line == f"training: stopped after step {kept} of 2000; the same command continues from there"
    assert 0 < kept < 2000

    process = program.start("-m", "archrepair_jax.main", *arguments, "--workdir", str(tmp_path))
    again = int(process.stderr.readline().split()[1].split("/")[0])
    process.terminate()
    assert end(process)[0] == 128 + signal.SIGTERM
    assert again > kept and steps_kept(tmp_path / "checkpoints/training") >= again


BUSY_COMPILER = """
import jax, jax.numpy as jnp
from archrepair_jax.cli import interruption

def long_to_compile(x):
    for step in range(3000):
        x = jnp.sort(jnp.sin(x) * step)[::-1]
    return x

interruption.PATIENCE = 0.2
with interruption.Interruption():
    lowered = jax.jit(long_to_compile).lower(jnp.zeros(7))
    print("compiling", flush=True)
    lowered.compile()
print("finished")
"""


@pytest.mark.slow
def test_asked_to_leave_while_compiling(program):
    assert interruption.PATIENCE < 10
    process = program.start("-c", BUSY_COMPILER)
    assert process.stdout.readline() == "compiling\n"
    process.terminate()
    status, output, errors = end(process)
    assert (status, output) == (128 + signal.SIGTERM, "")
    assert errors.count("\n") == 1 and "the same command continues" in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_and_the_handlers_come_back(number):
    before = signal.getsignal(number)
    with Interruption() as interruption:
        assert not interruption() and interruption.number == 0
        signal.raise_signal(number)
        assert interruption() and interruption.number == number
    assert signal.getsignal(number) is before
