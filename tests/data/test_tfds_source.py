"""TFDS sets, written by a builder of our own and read back through the path that every TFDS set takes."""

import json
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from sklearn.datasets import load_digits

from archrepair_jax.data.sources import DataSettings, load
from archrepair_jax.errors import InputError

DIGITS = load_digits()
GREY = (DIGITS.images * 15).astype(np.uint8)


class Written(tfds.core.GeneratorBasedBuilder):
    """The digits as PNG files, which TFDS stores without TensorFlow; subclasses say what differs."""

    VERSION = tfds.core.Version("1.0.0")
    PARTS = {"train": range(300), "test": range(300, 350)}
    IMAGE = tfds.features.Image(shape=(None, None, 1))
    LABEL = tfds.features.ClassLabel(names=[f"digit {digit}" for digit in range(10)])
    SUPERVISED = ("image", "label")

    def _info(self):
        features = tfds.features.FeaturesDict({"image": self.IMAGE, "label": self.LABEL})
        return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=self.SUPERVISED)

    def _split_generators(self, _):
        return {part: self._generate_examples(rows) for part, rows in self.PARTS.items()}

    def _generate_examples(self, rows):
        for row in rows:
            yield row, self.example(row)

    def example(self, row):
        return {"image": Image.fromarray(GREY[row]), "label": int(DIGITS.target[row])}


class WrittenDigits(Written):
    """Train and test."""


class WrittenInThree(Written):
    """With a validation part, and without supervised keys."""

    PARTS = {"train": range(200), "validation": range(200, 260), "test": range(260, 300)}
    SUPERVISED = None


class WrittenTestOnly(Written):
    """Nothing to train on."""

    PARTS = {"test": range(20)}


class WrittenOdd(Written):
    """One image of another size."""

    def example(self, row):
        return super().example(row) | {"image": Image.fromarray(GREY[row][: 6 if row == 9 else 8])}


class WrittenUnlabelled(Written):
    """A number instead of a class."""

    LABEL = tfds.features.Scalar(np.int64)


class WrittenArrays(Written):
    """Bare arrays, which TFDS can only encode with TensorFlow."""

    def example(self, row):
        return super().example(row) | {"image": GREY[row][..., None]}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A TFDS folder with WrittenDigits in it; the other sets are prepared when they are read."""
    folder = tmp_path_factory.mktemp("tfds")
    WrittenDigits(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


def refusal(name, folder):
    with pytest.raises(InputError) as caught:
        load(DataSettings(f"tfds:{name}", str(folder)), 0)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def pairs(split):
    """Images with their labels, in an order of their own: TFDS shuffles what it writes."""
    return sorted((image.tobytes(), int(label)) for image, label in zip(split.images, split.labels, strict=True))


def expected(rows):
    return sorted((GREY[row].tobytes(), int(DIGITS.target[row])) for row in rows)


@pytest.mark.parametrize("name", ["written_digits", "written_digits:1.0.0"])
def test_what_was_written_is_read_back(written, name):
    data = load(DataSettings(f"tfds:{name}", str(written)), 0)
    assert data.train.images.shape == (240, 8, 8, 1) and data.train.images.dtype == np.uint8
    assert sorted(pairs(data.train) + pairs(data.validation)) == expected(range(300))
    assert pairs(data.test) == expected(range(300, 350))
    assert data.class_names == tuple(f"digit {digit}" for digit in range(10))
    again = load(DataSettings(f"tfds:{name}", str(written)), 0)
    np.testing.assert_array_equal(data.train.images, again.train.images)


def test_a_set_is_prepared_on_first_use_and_keeps_its_own_validation_part(tmp_path):
    data = load(DataSettings("tfds:written_in_three", str(tmp_path)), 0)
    assert pairs(data.train) == expected(range(200))
    assert pairs(data.validation) == expected(range(200, 260))
    assert (tmp_path / "written_in_three" / "1.0.0").is_dir()


def test_sets_that_are_no_image_classification_are_refused(tmp_path):
    assert "written_test_only has no part train (it has test)" in refusal("written_test_only", tmp_path)
    assert "of (8, 8, 1) and of (6, 8, 1)" in refusal("written_odd", tmp_path)
    assert "it has image (Image), label (Scalar)" in refusal("written_unlabelled", tmp_path)


def test_wrong_names_are_refused(written):
    assert "did you mean tfds:mnist?" in refusal("mnisst", written)
    assert "only: 3.0.1" in refusal("mnist:1.2.3", written)
    assert "write for example data.name=tfds:mnist" in refusal("", written)
    with pytest.raises(InputError, match="lacks the data set"):
        load(DataSettings("tfds"), 0)


def test_a_missing_tensorflow_is_told_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    message = refusal("written_arrays", tmp_path)
    assert "tensorflow" in message and "pip install 'archrepair-jax[tfds]'" in message


def test_damaged_and_unsuitable_files_are_refused(tmp_path):
    WrittenDigits(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    folder = tmp_path / "written_digits" / "1.0.0"
    (record,) = folder.glob("*-train.array_record*")
    record.write_bytes(record.read_bytes()[:3000])
    assert "TFDS cannot provide tfds:written_digits" in refusal("written_digits", tmp_path)
    info = folder / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"fileFormat": "tfrecord"}))
    assert "prepare it afresh in another data.path" in refusal("written_digits", tmp_path)
