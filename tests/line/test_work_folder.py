"""The work folder: results are computed once, written whole, and belong to one config."""

import errno
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_networks import random_variables, vector_network

from archrepair_jax.errors import InputError
from archrepair_jax.line import work_folder
from archrepair_jax.line.clock import Clock, covered
from archrepair_jax.line.work_folder import WorkFolder, differences, locked


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
    def refuse(path, content):
        raise OSError(fault, "no")

    monkeypatch.setattr(work_folder, "write_whole", refuse)
    with pytest.raises(InputError, match=r"cannot be written to \(no\): name another"):
        WorkFolder(tmp_path, {})


def test_contents_that_changed_are_told_and_their_results_forgotten(tmp_path):
    said = []
    work = WorkFolder(tmp_path, {"seed": 1}, {"the data": "a", "weights": "x"}, said.append)
    work.json("diagnose", lambda: 1)
    work.part("arms/search", {"steps": 3}).json("repair-0", lambda: 1)
    (tmp_path / "mine.json").write_text("the user's own")
    WorkFolder(tmp_path, {"seed": 1}, {"the data": "a", "weights": "x"}, said.append)
    assert work.has("diagnose") and not said
    again = WorkFolder(tmp_path, {"seed": 1}, {"the data": "b", "weights": "x"}, said.append)
    assert said == [f"the data changed since: everything in {tmp_path} is computed again"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "mine.json"]
    assert again.json("diagnose", lambda: 2) == 2
    assert WorkFolder(tmp_path, {"seed": 1}, {"the data": "b", "weights": "x"}).json("diagnose", never) == 2


def test_a_part_is_of_its_own_config(tmp_path):
    work = WorkFolder(tmp_path, {})
    work.part("arms/search", {"steps": 3})
    with pytest.raises(InputError, match=r"arms/search belongs to another config \(steps: 3 there, 4 here\)"):
        work.part("arms/search", {"steps": 4})


@pytest.mark.parametrize("owner", ['{"seed": 1}', "{}", "[]", '{"version": "0.0.1", "config": {}, "contents": {}}'])
def test_a_folder_of_another_version_is_refused(tmp_path, owner):
    (tmp_path / "config.json").write_text(owner)
    version = "0.0.1" if "version" in owner else "an older version"
    with pytest.raises(InputError, match=f"was written by {version}, this is .*: take another --workdir"):
        WorkFolder(tmp_path, {})


@pytest.mark.slow
def test_two_processes_do_not_share_a_folder(tmp_path):
    hold = "import sys; from archrepair_jax.line.work_folder import locked as l\nwith l(sys.argv[1]): print(1), input()"
    other = subprocess.Popen(
        [sys.executable, "-u", "-c", hold, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "1\n"
    with pytest.raises(InputError, match=f"another process works in {tmp_path}: wait for it"), locked(tmp_path):
        never()
    other.kill()
    other.communicate()
    with locked(tmp_path), pytest.raises(InputError, match="another process"), locked(tmp_path):
        never()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.slow
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
    assert clock.compile_seconds > 0 and clock.seconds >= 0
    with Clock() as idle:
        pass
    assert idle.compile_seconds == 0
