"""Whatever bytes a file has, its reader gives a result or an InputError of one line."""

import functools
import io
import json
import pathlib
import zipfile

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_networks import random_variables, vector_network

from archrepair_jax.data import cifar10c
from archrepair_jax.data.sources import DataSettings, load
from archrepair_jax.errors import InputError
from archrepair_jax.files import read_json
from archrepair_jax.models.formats.dense import Dense, from_layers
from archrepair_jax.models.formats.nnet import Normalization, read_nnet, write_nnet
from archrepair_jax.models.formats.onnx import read_onnx, write_onnx
from archrepair_jax.models.formats.weights import assemble, own_names, read_arrays, save_variables
from archrepair_jax.proof.certificate import Certificate, read_certificate, write_certificate
from archrepair_jax.regions.properties import make_property
from archrepair_jax.regions.vnnlib import read_vnnlib

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow's, of damaged images that it can read nevertheless
RNG = np.random.default_rng(0)
LAYERS = [Dense(RNG.normal(size=(a, b)).astype("f4"), RNG.normal(size=b).astype("f4")) for a, b in ((2, 3), (3, 2))]
PROPERTY = make_property([((np.zeros(2), np.ones(2)), [(np.array([[1.0, -1.0]]), np.zeros(1))])])
IMAGES, LABELS = RNG.integers(0, 256, (40, 8, 8), np.uint8), np.arange(40) % 2
VNNLIB = """; a property
(declare-const X_0 Real)
(declare-const Y_0 Real)
(declare-const Y_1 Real)
(assert (and (>= X_0 -1.5e-1) (<= X_0 1)))
(assert (or (<= (+ (* 2 Y_0) 1) Y_1) (and (>= Y_0 3) (< Y_1 (- Y_0 1)))))
"""


def write(path: pathlib.Path) -> None:
    """Writes a file that can be read, of the kind that its name tells."""
    match path.name:
        case "proof.npz":
            boxes = np.zeros((2, 2)), np.ones((2, 2))
            write_certificate(path, Certificate("0" * 64, PROPERTY, *boxes, np.array([1, -1, -1])))
        case "weights.npz":
            save_variables(path.with_suffix(".safetensors"), random_variables(vector_network()))
            np.savez(path, **safetensors.numpy.load_file(path.with_suffix(".safetensors")))
        case "weights.safetensors":
            save_variables(path, random_variables(vector_network()))
        case "data.npz":
            np.savez_compressed(path, x_train=IMAGES, y_train=LABELS, x_test=IMAGES, y_test=LABELS)
        case "fog.npy":
            np.save(path.with_name("labels.npy"), np.arange(10))
            np.save(path, RNG.integers(0, 256, (10, 32, 32, 3), np.uint8))
        case "network.nnet":
            write_nnet(path, *from_layers(LAYERS), Normalization((0, 0), (1, 1), (0, 0), (1, 1)))
        case "network.onnx":
            write_onnx(path, *from_layers(LAYERS))
        case "property.vnnlib":
            path.write_text(VNNLIB)
        case "result.json":
            path.write_text(json.dumps({"a": [1, -2.5e3, None], "ü": {"b": True}}, ensure_ascii=False))
        case _:
            for name in ("one", "other"):
                path.with_name(name).mkdir()
                for number in range(5):
                    Image.fromarray(IMAGES[number]).save(path.with_name(name) / f"{number}.png")
            Image.fromarray(IMAGES[0]).save(path)


def read(path: pathlib.Path) -> None:
    """Reads a file as far as the program does."""
    match path.suffix:
        case ".npz" if path.name == "proof.npz":
            read_certificate(path)
        case ".npz" if path.name == "data.npz":
            load(DataSettings("npz", str(path)), 0)
        case ".npz" | ".safetensors":
            assemble(path, read_arrays(path), table())
        case ".npy":
            cifar10c.load(path.parent, path.stem, 1)
        case ".nnet":
            read_nnet(path)
        case ".onnx":
            read_onnx(path)
        case ".vnnlib":
            read_vnnlib(path, 1, 2)
        case ".json":
            read_json(path)
        case _:
            (path.with_name("one") / f"0{path.suffix}").write_bytes(path.read_bytes())
            load(DataSettings("folder", str(path.parent)), 0)


FILES = [
    "proof.npz",
    "weights.npz",
    "weights.safetensors",
    "data.npz",
    "fog.npy",
    "network.nnet",
    "network.onnx",
    "property.vnnlib",
    "result.json",
    *(f"image.{suffix}" for suffix in ("png", "jpg", "gif", "bmp", "tif", "webp", "ppm")),
]


@functools.cache
def table():
    return own_names(vector_network())


@pytest.fixture(scope="module", params=FILES)
def path(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / request.param
    write(path)
    return path


@pytest.fixture(scope="module")
def content(path):
    return path.read_bytes()


PIECES = [b"(", b")", b"(and ", b"(or ", b"[", b"-", b"0", b"9" * 30, b"1e999", b"nan", b",", b"\n", b"\0", b"\xff" * 8]
CHANGES = st.tuples(
    st.sampled_from(["flip", "cut", "insert", "repeat", "end"]),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 20),
    st.sampled_from(PIECES) | st.binary(min_size=1, max_size=8),
)


def changed(content: bytes, changes: list) -> bytes:
    """Some bytes changed, left out, put in or repeated, or the end cut off."""
    for kind, place, length, piece in changes:
        start = int(place * len(content))
        before, there, after = content[:start], content[start : start + length], content[start + length :]
        there = {
            "flip": bytes(byte ^ piece[0] for byte in there),
            "cut": b"",
            "insert": piece + there,
            "repeat": there * len(piece),
            "end": b"",
        }[kind]
        content = before + there + (b"" if kind == "end" else after)
    return content


def changed_inside(content: bytes, changes: list, chosen: int) -> bytes:
    """As ``changed``, of one member of an archive, whose checksums are then right."""
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(archive := io.BytesIO(), "w") as new:
        names = old.namelist()
        for name in names:
            member = old.read(name)
            new.writestr(name, changed(member, changes) if name == names[chosen % len(names)] else member)
    return archive.getvalue()


def check(path: pathlib.Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        read(path)
    except InputError as error:
        assert len(str(error).splitlines()) == 1


def test_the_files_can_be_read(path, content):
    path.write_bytes(content)
    read(path)


@pytest.mark.slow
@settings(max_examples=40, derandomize=True, deadline=None)
@given(bytes_=st.binary(max_size=100), kept=st.sampled_from([0, 0, 4, 16, 100]))
def test_any_bytes(path, content, bytes_, kept):
    check(path, content[:kept] + bytes_)


@pytest.mark.slow
@settings(max_examples=100, derandomize=True, deadline=None)
@given(changes=st.lists(CHANGES, min_size=1, max_size=4), chosen=st.none() | st.integers(0, 40))
def test_a_file_changed_in_some_places(path, content, changes, chosen):
    inside = path.suffix == ".npz" and chosen is not None
    check(path, changed_inside(content, changes, chosen) if inside else changed(content, changes))
