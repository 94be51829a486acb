"""Reading what others wrote: archives that unpack to far more than they are, objects, and JSON that is none."""

import errno
import io
import json
import pathlib
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from archrepair_jax.errors import InputError
from archrepair_jax.files import RATIO, UNPACKED, check_unpacked, read_json, read_npz, write_whole


def save_zeros(path, name="zeros", declared=None, count=2**28 + 2**20, compression=zipfile.ZIP_DEFLATED):
    """An archive of so many zero bytes, under a header that says ``declared``."""
    header = io.BytesIO()
    said = {"descr": "|u1", "fortran_order": False, "shape": (count,)} | (declared or {})
    np.lib.format.write_array_header_1_0(header, said)
    with zipfile.ZipFile(path, "w", compression) as archive, archive.open(f"{name}.npy", "w") as member:
        member.write(header.getvalue())
        for _ in range(count // 2**20):
            member.write(bytes(2**20))


def refusal(read, *arguments):
    """What a reader says, which takes no more than 32 MiB until then."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as caught:
            read(*arguments)
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_write_that_fails_names_the_file_and_leaves_nothing(tmp_path, monkeypatch):
    def full(path, content):
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/a/some\.json'"):
        write_whole(tmp_path / "a/some.json", b"{}")
    assert not any((tmp_path / "a").iterdir())


def test_what_numpy_saves_is_read_back(tmp_path):
    arrays = {
        "a/b": np.arange(6, dtype=np.int16).reshape(2, 3).T,
        "scalar": np.float64(3),
        "nothing": np.zeros((0, 5), np.float32),
        "words": np.array(["one", "three"]),
        "big_endian": np.arange(3, dtype=">f4"),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "some.npz", **arrays)
        read = read_npz(tmp_path / "some.npz")
        assert [*read] == [*arrays]
        for name, array in arrays.items():
            assert read[name].dtype == array.dtype
            np.testing.assert_array_equal(read[name], array)


def test_what_is_not_chosen_is_not_unpacked(tmp_path):
    np.savez(tmp_path / "some.npz", numbers=np.arange(3), names=np.array([None, {}]))
    shown = {}

    def choose(declared):
        shown.update(declared)
        return ["numbers"]

    assert list(read_npz(tmp_path / "some.npz", choose)) == ["numbers"]
    assert shown["numbers"] == (np.dtype(int), (3,)) and shown["names"].dtype == object
    assert "holds Python objects (names)" in refusal(read_npz, tmp_path / "some.npz")


@pytest.mark.slow
def test_a_small_file_that_unpacks_to_much_is_refused_before_it_does(tmp_path):
    save_zeros(tmp_path / "bomb.npz")
    assert (tmp_path / "bomb.npz").stat().st_size < 2**20
    assert "bomb.npz would take 257 MiB of memory" in refusal(read_npz, tmp_path / "bomb.npz")
    check_unpacked("", UNPACKED, 1)
    check_unpacked("", RATIO * UNPACKED, UNPACKED)
    with pytest.raises(InputError):
        check_unpacked("", RATIO * UNPACKED + 1, UNPACKED)


@pytest.mark.parametrize(
    "declared",
    [
        {"shape": (2**40,)},
        {"shape": (2**32, 2**32)},
        {"shape": (-(2**10), -(2**10))},
        {"shape": (2**60,), "descr": "|S0"},
        {"descr": "<f8"},
    ],
)
def test_a_header_that_does_not_fit_its_member_is_refused(tmp_path, declared):
    save_zeros(tmp_path / "some.npz", declared=declared, count=2**20)
    assert "damaged or no .npz" in refusal(read_npz, tmp_path / "some.npz")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path, compression):
    save_zeros(tmp_path / "some.npz", count=2**20, compression=compression)
    assert "damaged or no .npz" in refusal(read_npz, tmp_path / "some.npz")


class Trap:
    """A pickle that makes a file where it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_pickles_are_not_loaded(tmp_path):
    path, sprung = tmp_path / "some.npz", tmp_path / "sprung"
    for content in (pickle.dumps(Trap(sprung)), b"some text", b""):
        path.write_bytes(content)
        said = refusal(read_npz, path)
        assert said == f"{path} is damaged or no .npz archive of arrays: save it again with np.savez"
    np.savez(path, trap=np.array([Trap(sprung)]))
    assert "holds Python objects (trap)" in refusal(read_npz, path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("trap.npy", pickle.dumps(Trap(sprung)))
    assert "damaged or no .npz" in refusal(read_npz, path)
    assert not sprung.exists()


def test_json_is_read_as_python_writes_it(tmp_path):
    value = {"a": [1, 2.5, None, True, "ü"], "far": [float("inf"), -float("inf")]}
    (tmp_path / "some.json").write_text(json.dumps(value))
    assert read_json(tmp_path / "some.json") == value


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"a": 1',
        b'{"a": 1} 2',
        b"\xff\xfe{}",
        b'"\xc3"',
        b"\x80\x04}.",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"1" * 10_000,
    ],
)
def test_json_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "some.json").write_bytes(content)
    assert "damaged or no JSON: write it again" in refusal(read_json, tmp_path / "some.json")


@pytest.mark.parametrize("read", [read_npz, read_json])
def test_a_file_that_is_not_there_is_told(tmp_path, read):
    assert "(No such file or directory); check the path" in refusal(read, tmp_path / "none")
    assert "(Is a directory); check the path" in refusal(read, tmp_path)
