"""Checkpoints on a full disk, and damaged ones: one line, nothing beside it, and what was kept before stays."""

import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from archrepair_jax.errors import InputError
from archrepair_jax.training.checkpoints import Checkpoints

ROOT = pathlib.Path(__file__).parents[2]
FULL = """
import pathlib, resource, signal, sys
import numpy as np
from archrepair_jax.training.checkpoints import Checkpoints

checkpoints = Checkpoints(pathlib.Path(sys.argv[1]))
state = {f"w{i}": np.full(1000, i, np.float32) for i in range(30)}
checkpoints.save(2, state, [{"loss": 2.0}])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that a write over the limit fails, as on a full disk
for limit in (10_000, 10):  # bytes a file
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    try:
        checkpoints.save(3, state, [])
    except OSError as error:
        print(error)
checkpoints.close()
"""


@pytest.fixture
def opened():
    """Opens checkpoints, and closes them after the test."""
    every = []

    def opened(folder):
        every.append(Checkpoints(folder))
        return every[-1]

    yield opened
    for checkpoints in every:
        checkpoints.close()


def some_state():
    return {"a": jnp.arange(5000.0).reshape(50, 100), "b": (jnp.int32(7), jnp.ones(3, jnp.bfloat16))}


def test_what_is_kept_comes_back_bit_for_bit_where_it_was(tmp_path, opened):
    state = jax.device_put(some_state(), jax.devices()[1])
    opened(tmp_path).save(5, state, [{"step": 5, "loss": float("nan")}])
    kept, history = opened(tmp_path).restore(state)
    jax.tree.map(np.testing.assert_array_equal, kept, state)
    assert [x.dtype for x in jax.tree.leaves(kept)] == [x.dtype for x in jax.tree.leaves(state)]
    assert all(x.devices() == {jax.devices()[1]} for x in jax.tree.leaves(kept))
    assert [*history[0]] == ["step", "loss"]


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, opened):
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"cannot keep step 3 in {tmp_path} (File too large): make room there") for line in lines)
    state, history = opened(tmp_path).restore({f"w{i}": jnp.zeros(1000) for i in range(30)})
    assert (float(state["w7"][0]), history) == (7.0, [{"loss": 2.0}])
    assert [path.name for path in tmp_path.iterdir()] == ["2"]  # what was left unfinished is cleared away


def test_a_file_cut_anywhere_is_said_in_one_line(tmp_path, opened, capfd):
    opened(tmp_path).save(5, some_state(), [])
    (state,) = tmp_path.glob("5/*/state.msgpack")
    for file in [path for path in tmp_path.rglob("*") if path.is_file()]:
        content = file.read_bytes()
        for kept in (0, 10, len(content) - 1):
            file.write_bytes(content[:kept])
            try:
                opened(tmp_path).restore(some_state())
                assert file != state
            except InputError as error:
                assert str(error).startswith(f"{tmp_path} is damaged: delete it")
        file.write_bytes(content)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("other", [{"a": 1, "c": 2}, {"a": 1, "b": (2,)}, {"a": 1, "b": (2, 3)}])
def test_a_state_of_another_form_is_refused(tmp_path, opened, other):
    opened(tmp_path).save(5, some_state(), [])
    with pytest.raises(InputError, match="is damaged"):
        opened(tmp_path).restore(jax.tree.map(jnp.float32, other))
