"""What the sources give, and the one line that they answer to bad input with."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from archrepair_jax.data.sources import DataSettings, load
from archrepair_jax.data.sources.digits import enlarge
from archrepair_jax.errors import InputError

DIGITS = load_digits()
GREY = (DIGITS.images * 15).astype(np.uint8)  # [1797, 8, 8]
COLOUR = np.stack([GREY, GREY, 255 - GREY], -1)


def arrays(images=GREY, train=120, test=40, **replaced):
    """The arrays of an npz file, of real digits; ``None`` leaves a key out."""
    labels, stop = DIGITS.target, train + test
    keys = dict(x_train=images[:train], y_train=labels[:train], x_test=images[train:stop], y_test=labels[train:stop])
    return {key: value for key, value in (keys | replaced).items() if value is not None}


@pytest.fixture
def npz(tmp_path):
    def write(**settings):
        np.savez(tmp_path / "set.npz", **settings)
        return DataSettings("npz", str(tmp_path / "set.npz"))

    return write


@pytest.fixture
def folder(tmp_path):
    """Writes the first images of the digits 0, 1 and 2 as files, ``per_class`` in each part."""

    def write(*parts, images=GREY, per_class=5, suffix="png"):
        for index, part in enumerate(parts):
            for digit in (2, 0, 1):
                rows = np.flatnonzero(DIGITS.target == digit)[index * per_class :][:per_class]
                (tmp_path / part / f"digit {digit}").mkdir(parents=True)
                for row in rows:
                    Image.fromarray(images[row]).save(tmp_path / part / f"digit {digit}" / f"{row:04d}.{suffix}")
        return tmp_path

    return write


def refusal(settings):
    with pytest.raises(InputError) as caught:
        load(settings, seed=0)
    message = str(caught.value)
    assert "\n" not in message
    return message


def check_equal(one, other):
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(one, part).images, getattr(other, part).images)
        np.testing.assert_array_equal(getattr(one, part).labels, getattr(other, part).labels)


# Digits


def test_digits_are_divided_60_20_20_with_every_class_in_proportion():
    data = load(DataSettings(), seed=0)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [1079, 359, 359]
    whole = np.bincount(DIGITS.target) / 1797
    for split in (data.train, data.validation, data.test):
        assert split.images.shape == (len(split), 32, 32, 1)
        assert split.images.dtype == np.uint8 and split.labels.dtype == np.int32
        assert np.all(np.abs(np.bincount(split.labels) - whole * len(split)) < 2)
    assert data.train.images.max() == 255 and data.train.images.min() == 0
    assert (data.name, data.num_classes, data.class_names[3]) == ("digits", 10, "3")


def test_digits_depend_on_the_seed_alone():
    check_equal(load(DataSettings(), 5), load(DataSettings(), 5))
    assert not np.array_equal(load(DataSettings(), 5).test.images, load(DataSettings(), 6).test.images)


def test_enlarging_keeps_flat_images_flat_and_interpolates_between_cell_centres():
    assert np.all(enlarge(np.full((1, 8, 8), 16.0)) == 255)
    ramp = enlarge(np.tile(np.arange(8.0), (1, 8, 1)))[0, :, :, 0]
    assert np.all(ramp == ramp[0])
    # Four pixels a cell: the border holds its value, then each pixel rises by a quarter of 255/16, half to even.
    np.testing.assert_array_equal(ramp[0, :6], [0, 0, 2, 6, 10, 14])
    np.testing.assert_array_equal(enlarge(DIGITS.images[:3, ::-1]), enlarge(DIGITS.images[:3])[:, ::-1])


def test_caps_keep_the_classes_in_proportion_and_move_no_image_between_splits():
    capped = load(DataSettings(train_size=200, validation_size=50, test_size=100), 0)
    whole = load(DataSettings(), 0)
    for part, size in (("train", 200), ("validation", 50), ("test", 100)):
        few, all_ = getattr(capped, part), getattr(whole, part)
        assert len(few) == size
        assert np.bincount(few.labels).min() >= size // 10 - 1
        assert {image.tobytes() for image in few.images} <= {image.tobytes() for image in all_.images}


def test_labels_count_everything_that_a_repair_may_learn_from():
    few, whole = load(DataSettings(labels=20, clean_images=100), 3), load(DataSettings(), 3)
    assert [len(split) for split in (few.train, few.validation, few.rest)] == [12, 8, 1797 - 359 - 20]
    np.testing.assert_array_equal(few.test.images, whole.test.images)
    assert sorted(np.concatenate([few.train.labels, few.validation.labels])) == sorted(2 * list(range(10)))
    seen = [{image.tobytes() for image in split.images} for split in (few.train, few.validation, few.rest, few.test)]
    assert len(set.union(*seen)) == sum(map(len, seen))
    assert len(load(DataSettings(labels=20, train_size=300), 3).rest) == 300


def test_a_rehearsal_never_sees_the_test_images(npz):
    rehearsed = load(dataclasses.replace(npz(**arrays()), rehearsal=True), 0)
    test = {image.tobytes() for image in load(npz(**arrays()), 0).test.images}
    for split in (rehearsed.train, rehearsed.validation, rehearsed.test):
        assert len(split) and not test & {image.tobytes() for image in split.images}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (dict(labels=-1), "data.labels=-1 is negative"),
        (dict(labels=4), "data.labels=4 leaves nothing to choose or accept by: give 5 or more"),
        (dict(labels=1800), "data.labels=1800, but there are 1438 images to take them from"),
        (dict(labels=20, validation_size=5), "leave data.validation_size at 0"),
        (dict(clean_images=5), "say how many in data.labels"),
        (dict(labels=20, clean_images=1800), "data.clean_images=1800, but 1418 are without a label"),
        (dict(name="nzp"), "data.name='nzp' is no source: did you mean npz"),
        (dict(name="digits:8"), "did you mean digits"),
        (dict(name="cifar10"), "digits, npz, folder or tfds:NAME"),
        (dict(path="x.npz"), "leave it empty"),
        (dict(name="npz"), "data.path is empty"),
        (dict(name="npz", path="/no/such.npz"), "/no/such.npz does not exist"),
        (dict(name="folder", path="/no/such"), "/no/such does not exist"),
        (dict(validation_fraction=0.0), "data.validation_fraction=0.0 must be between"),
        (dict(test_fraction=1.0), "data.test_fraction=1.0 must be between"),
        (dict(validation_fraction=0.5, test_fraction=0.5), "nothing to train on"),
        (dict(train_size=-1), "data.train_size=-1 is negative"),
        (dict(train_size=1080), "data.train_size=1080, but the train split of digits has 1079"),
        (dict(test_size=360), "data.test_size=360, but the test split of digits has 359"),
        (dict(validation_fraction=1e-5), "too few images to set a validation part aside"),
    ],
)
def test_wrong_settings_are_refused(settings, says):
    assert says in refusal(DataSettings(**settings))


# Arrays


@pytest.mark.parametrize("images", [GREY, GREY[..., None], COLOUR], ids=["NHW", "NHW1", "NHW3"])
def test_npz_gives_back_its_images(npz, images):
    data = load(npz(**arrays(images)), 0)
    channels = images.shape[3] if images.ndim == 4 else 1
    assert data.train.images.shape == (96, 8, 8, channels) and len(data.validation) == 24
    np.testing.assert_array_equal(data.test.images, images[120:160].reshape(40, 8, 8, channels))
    np.testing.assert_array_equal(data.test.labels, DIGITS.target[120:160])
    assert (data.name, data.num_classes, data.class_names) == ("set", 10, tuple("0123456789"))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_scaled_and_rounded_to_the_same_bytes(npz, dtype):
    check_equal(load(npz(**arrays((GREY / 255).astype(dtype))), 0), load(npz(**arrays(GREY)), 0))


def test_a_validation_part_of_its_own_is_taken_as_it_is(npz):
    own = dict(x_validation=GREY[200:230], y_validation=DIGITS.target[200:230])
    data = load(npz(**arrays(), **own), 0)
    np.testing.assert_array_equal(data.validation.images[..., 0], GREY[200:230])
    np.testing.assert_array_equal(data.train.images[..., 0], GREY[:120])


def test_labels_may_be_a_column_of_any_integer_type(npz):
    column = DIGITS.target[:120, None].astype(np.uint8)
    check_equal(load(npz(**arrays(y_train=column)), 0), load(npz(**arrays()), 0))


def flawed(value):
    images = GREY[:120] / 255
    images[7, 3, 3] = value
    return images


def labelled(value):
    labels = DIGITS.target[:120].copy()
    labels[5] = value
    return labels


@pytest.mark.parametrize(
    ("replaced", "says"),
    [
        (dict(y_train=None, x_test=None), "lacks y_train, x_test; it holds x_train, y_test"),
        (dict(x_validation=GREY[:9]), "lacks y_validation"),
        (dict(x_train=GREY[0]), "images are [N,H,W], [N,H,W,1] or [N,H,W,3]"),
        (dict(x_train=np.moveaxis(COLOUR[:120], 3, 1)), "move its channels last"),
        (dict(x_train=GREY[:120].astype(int)), "x_train of"),
        (dict(x_train=GREY[:120].astype(int)), "is int64: save images as uint8"),
        (dict(x_train=np.array(["a", None])), "holds Python objects (x_train)"),
        (dict(x_train=GREY[:120] * 1.0), "ranges over 0..240"),
        (dict(x_train=GREY[:120] * 1.0), "divide by 255"),
        (dict(x_train=flawed(np.nan)), "holds NaN"),
        (dict(x_train=flawed(-0.25)), "ranges over -0.25.."),
        (dict(x_train=flawed(np.inf)), "..inf"),
        (dict(x_train=GREY[:120, 2:, 1:]), "are 6x7: enlarge them to at least 8x8"),
        (dict(x_test=COLOUR[:40]), "the test images of set have shape (8, 8, 3) but the training images (8, 8, 1)"),
        (dict(x_test=GREY[:0], y_test=DIGITS.target[:0]), "the test part of set is empty"),
        (dict(x_train=GREY[:0], y_train=DIGITS.target[:0]), "the train part of set is empty"),
        (dict(y_train=DIGITS.target[:119]), "has 119 labels for 120 images"),
        (dict(y_train=DIGITS.target[:120] * 1.0), "is float64: labels are integers"),
        (dict(y_train=np.eye(10)[DIGITS.target[:120]]), "one-hot"),
        (dict(y_train=DIGITS.target[:120] + 1), "goes up to 10 but never is 0"),
        (dict(y_train=labelled(10**9)), "goes up to 1000000000 but never is 10"),
        (dict(y_train=labelled(2**40)), "holds 1099511627776"),
        (dict(y_train=labelled(-1)), "holds -1"),
        (dict(y_test=DIGITS.target[120:160] + 2), "but its 10 classes are 0..9"),
        (dict(y_train=np.zeros(120, int), y_test=np.zeros(40, int)), "has a single class"),
        (dict(y_train=np.arange(120)), "has too few images to set a validation part aside"),
    ],
)
def test_flawed_arrays_are_refused(npz, replaced, says):
    assert says in refusal(npz(**arrays(**replaced)))


@pytest.mark.parametrize("size", [0, 1, 100, 3000])
def test_a_truncated_file_is_refused(npz, size, tmp_path):
    settings = npz(**arrays())
    whole = (tmp_path / "set.npz").read_bytes()
    (tmp_path / "set.npz").write_bytes(whole[:size])
    assert "damaged or no .npz" in refusal(settings)


def test_other_files_are_refused(tmp_path):
    np.save(tmp_path / "single.npy", GREY)
    assert "damaged or no .npz archive of arrays: save it again with np.savez" in refusal(
        DataSettings("npz", str(tmp_path / "single.npy"))
    )
    (tmp_path / "notes.npz").write_text("not an archive")
    assert "damaged or no .npz" in refusal(DataSettings("npz", str(tmp_path / "notes.npz")))
    assert "Is a directory" in refusal(DataSettings("npz", str(tmp_path)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "train", "test"),
    [("cifar10", (32, 32, 3), 50_000, 10_000), ("fashion_mnist", (28, 28, 1), 60_000, 10_000)],
)
def test_real_sets_are_read_whole(real_data, name, shape, train, test):
    data = load(DataSettings("npz", str(real_data / f"{name}.npz"), validation_fraction=0.1), 0)
    assert data.train.images.shape == (train * 9 // 10, *shape)
    assert data.validation.images.shape == (train // 10, *shape)
    assert data.test.images.shape == (test, *shape)
    for split in (data.train, data.validation, data.test):
        assert np.bincount(split.labels).tolist() == [len(split) // 10] * 10
    assert data.num_classes == 10


# Folders


@pytest.mark.parametrize("images", [GREY, COLOUR], ids=["grey", "rgb"])
def test_a_folder_with_parts(folder, images):
    root = folder("train", "validation", "test", images=images)
    (root / "train" / "digit 0" / "notes.txt").write_text("passed over")
    (root / ".cache").mkdir()
    data = load(DataSettings("folder", str(root)), 0)
    assert data.class_names == ("digit 0", "digit 1", "digit 2")
    for index, split in enumerate((data.train, data.validation, data.test)):
        assert split.labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
        rows = np.concatenate([np.flatnonzero(DIGITS.target == digit)[5 * index :][:5] for digit in range(3)])
        np.testing.assert_array_equal(split.images, images[rows].reshape(15, 8, 8, -1))


def test_a_folder_without_parts_is_divided(folder):
    root = folder("", per_class=20)
    data = load(DataSettings("folder", str(root)), 0)
    assert [np.bincount(split.labels).tolist() for split in (data.train, data.validation, data.test)] == [
        [12, 12, 12],
        [4, 4, 4],
        [4, 4, 4],
    ]
    check_equal(data, load(DataSettings("folder", str(root)), 0))


def test_a_class_may_be_called_train(folder, tmp_path):
    folder("")
    (tmp_path / "digit 0").rename(tmp_path / "train")
    assert load(DataSettings("folder", str(tmp_path)), 0).class_names == ("digit 1", "digit 2", "train")


def test_one_coloured_file_makes_all_images_rgb_and_grey_variants_stay_grey(folder):
    root = folder("train", "test")
    file = sorted((root / "test" / "digit 2").iterdir())[0]
    grey = Image.open(file)
    grey.convert("LA").save(file)
    assert load(DataSettings("folder", str(root)), 0).train.images.shape[-1] == 1
    grey.convert("RGBA").save(file)
    data = load(DataSettings("folder", str(root)), 0)
    assert data.train.images.shape[-1] == data.test.images.shape[-1] == 3
    np.testing.assert_array_equal(data.train.images[..., 0], data.train.images[..., 2])


def test_a_jpeg_folder_is_read(folder):
    data = load(DataSettings("folder", str(folder("train", "test", suffix="JPEG"))), 0)
    assert data.test.images.shape == (15, 8, 8, 1)


def test_an_odd_size_is_named_with_both_sizes(folder):
    root = folder("train", "test")
    odd = sorted((root / "test" / "digit 1").iterdir())[2]
    Image.fromarray(np.zeros((9, 10), np.uint8)).save(odd)
    message = refusal(DataSettings("folder", str(root)))
    assert f"{odd} is 10x9 but" in message and "is 8x8" in message


def test_an_unreadable_image_is_named(folder):
    root = folder("train", "test")
    bad = sorted((root / "train" / "digit 1").iterdir())[3]
    whole = bad.read_bytes()
    for content in (b"", b"no image", whole[:20], whole[: len(whole) // 2]):
        bad.write_bytes(content)
        message = refusal(DataSettings("folder", str(root)))
        assert f"cannot read the image {bad}" in message and "replace or remove it" in message


def test_other_kinds_of_files_are_not_opened_under_the_suffix_of_an_image(folder):
    root = folder("train", "test")
    Image.fromarray(COLOUR[0]).save(root / "train/digit 1/drawing.eps")
    (root / "train/digit 1/drawing.eps").rename(root / "train/digit 1/drawing.png")
    assert "drawing.png (cannot identify image file" in refusal(DataSettings("folder", str(root)))


def test_small_files_of_large_images_are_refused_before_they_are_decoded(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        Image.new("L", (9000, 9000)).save(tmp_path / name / "1.png")
        for number in (2, 3):
            (tmp_path / name / f"{number}.png").hardlink_to(tmp_path / name / "1.png")
    tracemalloc.start()
    try:
        assert "would take 463 MiB of memory" in refusal(DataSettings("folder", str(tmp_path)))
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()
    Image.new("1", (9500, 9500)).save(tmp_path / "one/1.png")
    assert "cannot read the image" in refusal(DataSettings("folder", str(tmp_path)))


def test_deep_images_are_refused(folder):
    root = folder("train", "test")
    Image.fromarray(GREY[0].astype(np.uint16) * 257).save(root / "train" / "digit 0" / "deep.png")
    assert "more than 8 bits" in refusal(DataSettings("folder", str(root)))


def test_wrong_folders_are_refused(folder, tmp_path):
    settings = DataSettings("folder", str(tmp_path))
    assert "holds no folders" in refusal(settings)
    folder("train", "val")
    assert "val is no part of a data set: rename it to validation" in refusal(settings)
    (tmp_path / "val").rename(tmp_path / "test")
    (tmp_path / "test" / "digit 7").mkdir()
    assert "digit 7 holds no images" in refusal(settings)
    Image.fromarray(GREY[0]).save(tmp_path / "test" / "digit 7" / "one.png")
    assert "digit 7 is a class without training images" in refusal(settings)
    (tmp_path / "train").rename(tmp_path / "validation")
    assert "no train folder" in refusal(settings)
    file = tmp_path / "test" / "digit 7" / "one.png"
    assert "is a file" in refusal(DataSettings("folder", str(file)))


def test_parts_without_class_folders_are_not_taken_for_classes(tmp_path):
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        Image.fromarray(GREY[0]).save(tmp_path / part / "one.png")
    assert "train holds no folders: put the images of each class in one" in refusal(
        DataSettings("folder", str(tmp_path))
    )


def test_images_are_brought_to_one_size_if_that_is_asked(folder):
    root = folder("train", "test")
    odd = sorted((root / "test" / "digit 1").iterdir())[2]
    wide = np.zeros((9, 20), np.uint8)
    wide[:, 10:] = 200
    Image.fromarray(wide).save(odd)
    assert "--config.data.name=folder:8x8" in refusal(DataSettings("folder", str(root)))
    data = load(DataSettings("folder:10x12", str(root)), 0)
    assert data.train.images.shape == (12, 10, 12, 1) and data.test.images.shape == (15, 10, 12, 1)
    row = data.test.images[7, 4, :, 0].astype(int)
    assert row[:4].max() == 0 and row[-4:].min() == 200 and (np.diff(row) >= 0).all()
    grey = data.train.images[:, :, :, 0].mean((1, 2))
    np.testing.assert_allclose(
        grey, load(DataSettings("folder:8x8", str(root)), 0).train.images.mean((1, 2, 3)), atol=6
    )
    for name in ("folder:", "folder:8", "folder:0x8", "folder:8x-8", "folder:8x99999"):
        assert "write height and width in pixels, as folder:64x64" in refusal(DataSettings(name, str(root)))


def test_few_images_that_cannot_be_read_are_left_out_and_named(folder):
    root = folder("", per_class=40)
    names = sorted((root / "digit 1").iterdir())
    names[3].write_bytes(names[3].read_bytes()[:60])
    data = load(DataSettings("folder", str(root)), 0)
    assert sum(map(len, (data.train, data.validation, data.test))) == 119
    (note,) = data.notes
    assert note.startswith(f"1 of 120 images cannot be read and were left out: {names[3]} (")
    names[4].write_bytes(b"")
    assert f"cannot read the image {names[4]}" in refusal(DataSettings("folder", str(root)))
    assert "and 1 more of 120: replace or remove it" in refusal(DataSettings("folder", str(root)))


def test_a_class_of_which_no_image_can_be_read_is_no_class(folder):
    root = folder("", per_class=50)
    (root / "digit 9").mkdir()
    (root / "digit 9" / "one.png").write_bytes(b"")
    assert "has a class of which no image can be read" in refusal(DataSettings("folder", str(root)))


def test_failing_and_passing_folders_are_the_training_part(folder):
    root = folder("passing", "failing", "test", per_class=20)
    data = load(DataSettings("folder", str(root)), 0)
    assert data.class_names == ("digit 0", "digit 1", "digit 2") and len(data.test) == 60
    assert [len(data.train), len(data.validation)] == [96, 24]
    for split in (data.train, data.validation):
        for digit in range(3):
            ours = split.failing[split.labels == digit]
            assert ours.sum() * 2 == len(ours), "each class is divided in proportion"
    failing = {file.read_bytes() for file in (root / "failing").rglob("*.png")}
    assert len(failing) == 60
    marked = {image.tobytes() for image in data.train.images[data.train.failing]}
    stored = {np.asarray(Image.open(file)).tobytes() for file in (root / "failing").rglob("*.png")}
    assert marked <= stored
    (root / "passing").rename(root / "train")
    assert "give failing and passing, without train" in refusal(DataSettings("folder", str(root)))


def test_classes_may_be_called_failing_and_passing(tmp_path):
    for name in ("failing", "passing"):
        (tmp_path / name).mkdir()
        for number in range(10):
            Image.fromarray(GREY[number]).save(tmp_path / name / f"{number}.png")
    data = load(DataSettings("folder", str(tmp_path)), 0)
    assert data.class_names == ("failing", "passing") and data.train.failing is None


def test_arrays_may_name_failing_images_and_classes(npz):
    names = np.array([f"digit {digit}" for digit in range(10)])
    rows = np.array([3, 50, 51, 77])
    data = load(npz(**arrays(failing=rows, class_names=names)), 0)
    assert data.class_names == tuple(names)
    marked = [image.tobytes() for split in (data.train, data.validation) for image in split.images[split.failing]]
    assert sorted(marked) == sorted(image.tobytes() for image in GREY[rows])
    check_equal(data, load(npz(**arrays(failing=np.isin(np.arange(120), rows))), 0))


@pytest.mark.parametrize(
    ("replaced", "says"),
    [
        (dict(failing=np.array([0, 120])), "goes from 0 to 120, but train has 120 images"),
        (dict(failing=np.ones(7, bool)), "holds no indices"),
        (dict(failing=np.zeros(0, int)), "holds no indices"),
        (dict(class_names=np.array(["a", "b"])), "give 10 texts, one a class of y_train"),
        (dict(class_names=np.arange(10)), "class_names of"),
    ],
)
def test_flawed_names_are_refused(npz, replaced, says):
    assert says in refusal(npz(**arrays(**replaced)))
