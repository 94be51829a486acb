"""Certificates as files: what is written reads back, and what is no certificate is refused in one line."""

import tracemalloc

import jax
import numpy as np
import pytest

from archrepair_jax.errors import InputError
from archrepair_jax.models.formats.dense import Dense, from_layers
from archrepair_jax.proof.branch_and_bound import PROVED, Boxes, Proof
from archrepair_jax.proof.certificate import (
    VERSION,
    Certificate,
    fingerprint,
    make_certificate,
    read_certificate,
    write_certificate,
)
from archrepair_jax.regions.properties import make_property

LAYERS = [
    Dense(np.array([[1, 2, 3], [4, 5, 6]], np.float32), np.zeros(3, np.float32)),
    Dense(np.ones((3, 1), np.float32), np.array([0.5], np.float32)),
]
NETWORK, VARIABLES = from_layers(LAYERS)
BOX = (np.zeros(2), np.array([1.0, 0.1]))
PROPERTY = make_property(
    [(BOX, [(np.array([[1.0]]), np.array([0.25]))] * 2), (BOX, [(np.array([[1.0], [-1.0]]), np.array([0.25, np.inf]))])]
)


@pytest.fixture
def certificate():
    """Of three roots, the second of which has two parts."""
    lower, upper = np.array([BOX[0]] * 4 + [[0.3, 0]]), np.array([BOX[1]] * 3 + [[0.3, 0.1], BOX[1]])
    boxes = Boxes(lower, upper, np.array([0, 0, 1, 0, 0]), np.array([0, 1, 0, 1, 1]))
    verdict = Proof(PROVED, boxes, np.array([-1, 3, -1, -1, -1]), 5, None)
    return make_certificate(NETWORK, VARIABLES, PROPERTY, verdict)


@pytest.fixture
def path(tmp_path, certificate):
    write_certificate(tmp_path / "proof.npz", certificate)
    return tmp_path / "proof.npz"


def test_a_certificate_reads_back_as_it_was_and_is_written_as_the_same_bytes(path, certificate):
    read = read_certificate(path)
    assert isinstance(read, Certificate) and read.network == fingerprint(NETWORK, VARIABLES)
    assert len(read.lower) == 2 and len(read.child) == 5
    jax.tree.map(np.testing.assert_array_equal, read[1:], certificate[1:])
    again = path.with_name("again.npz")
    write_certificate(again, read)
    assert again.read_bytes() == path.read_bytes()
    assert sorted(other.name for other in path.parent.iterdir()) == ["again.npz", "proof.npz"]


def test_a_fingerprint_tells_networks_apart():
    first, last = LAYERS
    changed = first.kernel.copy()
    changed[1, 2] = -changed[1, 2]
    others = [
        from_layers(LAYERS, "tanh"),
        from_layers([first._replace(kernel=changed), last]),
        from_layers([first, last._replace(bias=np.nextafter(last.bias, np.float32(1)))]),
        from_layers([first._replace(kernel=first.kernel.reshape(3, 2).T), last]),
        from_layers([Dense(np.concatenate([layer.kernel for layer in LAYERS[:1]]), first.bias)]),
    ]
    assert len({fingerprint(*network) for network in [(NETWORK, VARIABLES), *others]}) == len(others) + 1
    assert fingerprint(*from_layers(LAYERS)) == fingerprint(NETWORK, VARIABLES)


@pytest.mark.parametrize("share", [0, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path, "damaged or no certificate")


def test_a_flipped_byte_is_noticed(path):
    """All but the dates, names and flags of the archive are under its checksums."""
    content = path.read_bytes()
    start = content.index(b"child.npy") + 40
    path.write_bytes(content[:start] + bytes([content[start] ^ 255]) + content[start + 1 :])
    refused(path, "damaged or no certificate")


def test_what_is_no_certificate_is_refused(tmp_path, path):
    refused(tmp_path / "missing.npz", "check the path")
    refused(tmp_path, "check the path")
    np.save(path.with_suffix(".npy"), np.zeros(3))
    refused(path.with_suffix(".npy"), "damaged or no certificate")
    np.savez(path, weights=np.zeros(3))
    refused(path, "damaged or no certificate")
    path.write_text("proved\n")
    refused(path, "damaged or no certificate")


@pytest.mark.parametrize(
    "changes, message",
    [
        pytest.param({"version": VERSION + 1, "child": None}, f"version {VERSION + 1}", id="another version"),
        pytest.param({"version": [VERSION, VERSION]}, "damaged", id="two versions"),
        pytest.param({"child": None}, "damaged", id="an array missing"),
        pytest.param({"more": np.zeros(3)}, "damaged", id="an array more"),
        pytest.param({"child": np.zeros(5)}, "damaged", id="another type"),
        pytest.param({"child": np.array([[-1] * 5], np.int32)}, "damaged", id="another number of axes"),
        pytest.param({"upper": np.zeros((1, 2))}, "damaged", id="corners missing"),
        pytest.param({"lower": np.zeros((2, 3)), "upper": np.zeros((2, 3))}, "damaged", id="another number of inputs"),
        pytest.param({"upper": np.array([[None] * 2] * 2)}, "damaged", id="pickled objects"),
    ],
)
def test_a_file_of_another_form_is_refused(path, changes, message):
    with np.load(path) as file:
        arrays = dict(file) | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    refused(path, message)


def test_arrays_that_do_not_fit_together_are_not_unpacked(path):
    with np.load(path) as file:
        arrays = dict(file) | {"lower": np.zeros((2**20, 2))}  # 16 MiB
    np.savez_compressed(path, **arrays)
    tracemalloc.start()
    try:
        refused(path, "damaged or no certificate")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def refused(path, message):
    with pytest.raises(InputError, match=message) as caught:
        read_certificate(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
