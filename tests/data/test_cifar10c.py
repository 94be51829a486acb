"""CIFAR-10-C: the rows of a severity, and what is said about damaged arrays."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from archrepair_jax.data import cifar10c
from archrepair_jax.data.sources.digits import enlarge
from archrepair_jax.errors import InputError

DIGITS = load_digits()
CLEAN = np.repeat(enlarge(DIGITS.images[:30]), 3, -1)
FADED = np.concatenate([CLEAN // (severity + 1) for severity in range(1, 6)])
LABELS = np.tile(DIGITS.target[:30], 5)


@pytest.fixture
def arrays(tmp_path):
    np.save(tmp_path / "brightness.npy", FADED)
    np.save(tmp_path / "labels.npy", LABELS)
    return tmp_path


def refusal(*arguments):
    with pytest.raises(InputError) as caught:
        cifar10c.load(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_a_severity_is_its_rows(arrays, severity):
    split = cifar10c.load(arrays, "brightness", severity)
    np.testing.assert_array_equal(split.images, CLEAN // (severity + 1))
    np.testing.assert_array_equal(split.labels, DIGITS.target[:30])
    assert split.images.dtype == np.uint8 and split.labels.dtype == np.int32
    assert type(split.images) is np.ndarray and type(split.labels) is np.ndarray  # no longer tied to the file


def test_the_first_n_images_are_those_of_the_clean_set(arrays):
    split = cifar10c.load(str(arrays), "brightness", 2, n=7)
    np.testing.assert_array_equal(split.images, CLEAN[:7] // 3)
    assert split.labels.tolist() == DIGITS.target[:7].tolist()


def test_values_out_of_range_are_refused(arrays):
    assert "severity 0 does not exist" in refusal(arrays, "brightness", 0)
    assert "severity 6 does not exist" in refusal(arrays, "brightness", 6)
    assert "31 images asked" in refusal(arrays, "brightness", 1, 31)
    assert "-1 images asked" in refusal(arrays, "brightness", 1, -1)
    assert "did you mean brightness?" in refusal(arrays, "brightnes", 1)
    assert "it has brightness;" in refusal(arrays, "fog", 1)
    assert "it has none; unpack CIFAR-10-C there" in refusal(arrays / "nowhere", "fog", 1)


@pytest.mark.parametrize(
    ("file", "array", "says"),
    [
        ("brightness", FADED.astype(np.float32), "is float32 (150, 32, 32, 3), not uint8 (5N, 32, 32, 3)"),
        ("brightness", FADED[:, :28], "(150, 28, 32, 3)"),
        ("brightness", FADED[:149], "(149, 32, 32, 3)"),
        ("brightness", FADED[:0], "(0, 32, 32, 3)"),
        ("brightness", FADED[0, 0, 0, 0], "not uint8 (5N, 32, 32, 3)"),
        ("labels", LABELS[:30], "has 30 labels for 150 images"),
        ("labels", LABELS * 1.0, "labels are integers"),
        ("labels", LABELS + 1, "holds 10: the classes of CIFAR-10 are 0..9"),
        ("labels", LABELS - 1, "holds -1"),
    ],
)
def test_malformed_arrays_are_refused(arrays, file, array, says):
    np.save(arrays / f"{file}.npy", array)
    assert says in refusal(arrays, "brightness", 1)


@pytest.mark.parametrize("file", ["brightness.npy", "labels.npy"])
def test_damaged_files_are_refused(arrays, file):
    whole = (arrays / file).read_bytes()
    for content in (b"", whole[:60], whole[: len(whole) // 2], b"no array"):
        (arrays / file).write_bytes(content)
        assert f"cannot read {arrays / file}" in refusal(arrays, "brightness", 1)
    with (arrays / file).open("wb") as stream:
        np.savez(stream, FADED)
    assert "truncated or no array" in refusal(arrays, "brightness", 1)
    (arrays / file).unlink()
    if file == "labels.npy":
        assert "labels.npy (No such file" in refusal(arrays, "brightness", 1)
