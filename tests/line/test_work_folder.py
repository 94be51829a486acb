"""The work folder: results are computed once, written whole, and belong to one config."""

import errno
import json
import pathlib

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_networks import random_variables, vector_network

from archrepair_jax.errors import InputError
from archrepair_jax.line import work_folder as workfolder
from archrepair_jax.line.work_folder import Clock, WorkFolder, covered, differences, replace


def never():
    raise AssertionError("computed again")


def same(left, right) -> bool:
    return jax.tree.all(jax.tree.map(np.array_equal, left, right))


def test_results_are_computed_once(tmp_path):
    first = WorkFolder(tmp_path / "new/run", {"seed": 1})
    assert first.json("stages/a", lambda: {"x": [1, 2.5]}) == {"x": [1, 2.5]}
    assert list(first.arrays("b", lambda: {"y": np.arange(3)})["y"]) == [0, 1, 2]
    later = WorkFolder(tmp_path / "new/run", {"seed": 1})
    assert later.json("stages/a", never) == {"x": [1, 2.5]}
    assert list(later.arrays("b", never)["y"]) == [0, 1, 2]


def test_variables_come_back_as_they_were(tmp_path):
    work, network = WorkFolder(tmp_path, {}), vector_network()
    variables = random_variables(network)
    work.keep("stages/x", variables)
    assert same(work.variables("stages/x", network), variables)


def test_a_result_without_its_variables_is_computed_again(tmp_path):
    work, made = WorkFolder(tmp_path, {}), []

    def make():
        work.keep("model", random_variables(vector_network()))
        made.append("once")
        return made

    work.json("train", make, "model")
    work.json("train", make, "model")
    assert len(made) == 1
    (tmp_path / "model.safetensors").unlink()
    assert work.json("train", make, "model") == ["once", "once"]


@pytest.mark.parametrize("name", ["a.json", "b.npz", "c.safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
def test_damaged_results_are_named(tmp_path, name, kept):
    work, network = WorkFolder(tmp_path, {}), vector_network()

    def read():
        work.json("a", lambda: {"x": list(range(20))})
        work.arrays("b", lambda: {"y": np.arange(5000)})
        work.variables("c", network)

    work.keep("c", random_variables(network))
    read()
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(InputError, match=f"{name} is damaged: delete it, and it is computed again"):
        read()


def test_another_config_is_refused_by_its_key(tmp_path):
    WorkFolder(tmp_path, {"seed": 1, "data": {"name": "digits", "sizes": (1, 2)}})
    WorkFolder(tmp_path, {"seed": 1, "data": {"name": "digits", "sizes": [1, 2]}})
    with pytest.raises(
        InputError, match=r"another config \(data.name: digits there, npz here\): take another --workdir"
    ):
        WorkFolder(tmp_path, {"seed": 1, "data": {"name": "npz", "sizes": (1, 2)}})


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file: name a folder"):
        WorkFolder(tmp_path / "file", {})


@pytest.mark.parametrize("fault", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch, fault):
    def refuse(path, write):
        raise OSError(fault, "no")

    monkeypatch.setattr(workfolder, "replace", refuse)
    with pytest.raises(InputError, match=r"cannot be written to \(no\): name another"):
        WorkFolder(tmp_path, {})


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("old")

    def die(partial: pathlib.Path):
        partial.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace(path, die)
    assert path.read_text() == "old"
    replace(path, lambda partial: partial.write_text("new"))
    assert path.read_text() == "new" and [file.name for file in tmp_path.iterdir()] == ["x.json"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_values_differ_where_they_differ(left, right):
    assert differences(left, left) == []
    assert bool(differences(left, right)) == (json.dumps(left, sort_keys=True) != json.dumps(right, sort_keys=True))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted), max_size=8))
def test_overlapping_spans_count_once(spans):
    inside = {second for start, stop in spans for second in range(start, stop)}
    assert covered([tuple(span) for span in spans]) == len(inside)


def test_compilation_is_told_apart():
    inner = jax.jit(lambda x: x * 2)
    with Clock() as clock:
        jax.jit(lambda x: inner(x) + 1)(np.ones(3)).block_until_ready()
    assert 0 < clock.compile_seconds <= clock.seconds
    with Clock() as idle:
        pass
    assert idle.compile_seconds == 0
