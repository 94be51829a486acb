"""Where images come from. Every source gives uint8 images and labels; here they are checked and divided."""

import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np

from archrepair_jax.data.sources import arrays, digits, folder, tfds
from archrepair_jax.data.sources.arrays import to_images, to_labels
from archrepair_jax.data.sources.contract import LEARNT, PARTS, DataSettings, Source
from archrepair_jax.data.splits import Dataset, Split, carve
from archrepair_jax.errors import InputError

SOURCES = {"digits": digits.read, "npz": arrays.read, "folder": folder.read, "tfds": tfds.read}
FEWEST = 5  # labelled images: three to learn from, one to choose by, one to accept by
SMALLEST = 8  # pixels a side: below that the pooling of the networks has nothing left to pool


def load(settings: DataSettings, seed: int) -> Dataset:
    """Reads a data set and divides it into train, validation and test.

    A source that lacks a test or a validation part has it carved from its training images, stratified and seeded; the
    test part serves nothing but testing. Equal settings and seeds give equal arrays. The seed decides which images a
    network never saw, so a trained network is only to be judged with the seed that it was trained with.

    Raises:
        InputError: the settings are wrong, or the data cannot be read, are malformed, or too few.
    """
    _check_settings(settings)
    source = SOURCES[settings.name.partition(":")[0]](settings)
    _check_source(source)
    return _divide(source, settings, seed)


def from_arrays(parts: Mapping[str, tuple[Any, Any]], class_names: tuple[str, ...]) -> Dataset:
    """The data set of ``(images, labels)`` by part, ``train`` and ``validation`` and perhaps ``test``, as they are.

    Images are [N, H, W], [N, H, W, 1] or [N, H, W, 3], uint8 or float in [0, 1]; labels [N] count from 0. Raises
    InputError, which names the part, for arrays that are anything else.
    """
    splits = {}
    for part, pair in parts.items():
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise InputError(f"{part} is {type(pair).__name__}: give a pair, (images, labels)")
        images, labels = map(np.asarray, pair)
        images = to_images(images, f"the array of {part} images")
        splits[part] = Split(images, to_labels(labels, len(images), f"the array of {part} labels"))
    _check_source(source := Source("the arrays given", class_names, splits))
    splits.setdefault("test", splits["train"].take(np.arange(0)))
    return Dataset(**splits, num_classes=len(class_names), class_names=class_names, name=source.name)


def _check_settings(settings: DataSettings) -> None:
    if settings.name not in SOURCES and not settings.name.startswith(("tfds:", "folder:")):
        near = difflib.get_close_matches(settings.name, SOURCES, n=1)
        hint = f"did you mean {near[0]}? It" if near else "it"
        raise InputError(f"data.name={settings.name!r} is no source: {hint} is digits, npz, folder or tfds:NAME")
    for part in ("validation", "test"):
        fraction = getattr(settings, f"{part}_fraction")
        if not 0 < fraction < 1:
            raise InputError(f"data.{part}_fraction={fraction} must be between 0 and 1, both excluded")
    if settings.validation_fraction + settings.test_fraction >= 1:
        raise InputError("data.validation_fraction and data.test_fraction leave nothing to train on: lower one of them")
    for count in ("labels", "clean_images", *(f"{part}_size" for part in PARTS)):
        if getattr(settings, count) < 0:
            raise InputError(f"data.{count}={getattr(settings, count)} is negative: 0 is without a limit")
    if 0 < settings.labels < FEWEST:
        raise InputError(f"data.labels={settings.labels} leaves nothing to choose or accept by: give {FEWEST} or more")
    if settings.labels and settings.validation_size:
        raise InputError("data.labels counts the validation images too: leave data.validation_size at 0")
    if settings.clean_images and not settings.labels:
        raise InputError("data.clean_images are shown beside few labelled ones: say how many in data.labels")


def _check_source(source: Source) -> None:
    """What holds for the parts of every source, wherever they came from."""
    for part, split in source.parts.items():
        if len(split) == 0:
            raise InputError(f"the {part} part of {source.name} is empty: add images or leave that part out")
    classes = len(source.class_names)
    if classes < 2:
        raise InputError(f"{source.name} has a single class, {source.class_names[0]!r}: a classifier needs at least 2")
    shape = source.parts["train"].images.shape[1:]
    if min(shape[:2]) < SMALLEST:
        raise InputError(
            f"the images of {source.name} are {shape[0]}x{shape[1]}: enlarge them to at least {SMALLEST}x{SMALLEST}"
        )
    for part, split in source.parts.items():
        if split.images.shape[1:] != shape:
            raise InputError(
                f"the {part} images of {source.name} have shape {split.images.shape[1:]} but the training images "
                f"{shape}: make them equal"
            )
        outside = split.labels[(split.labels < 0) | (split.labels >= classes)]
        if len(outside):
            raise InputError(
                f"the {part} labels of {source.name} hold {outside[0]}, but its {classes} classes are 0..{classes - 1}"
            )


def _divide(source: Source, settings: DataSettings, seed: int) -> Dataset:
    parts, total = dict(source.parts), len(source.parts["train"])
    if settings.rehearsal:
        parts.pop("test", None)
    for part in ("test",) if settings.labels else ("test", "validation"):
        if part not in parts:
            train, fraction = parts["train"], getattr(settings, f"{part}_fraction")
            size = round(fraction * total)
            taken, rest = carve(train.strata, size, seed, part)
            lost = np.setdiff1d(train.labels, train.labels[rest])
            if size == 0 or len(lost):
                few = f"class {source.class_names[lost[0]]!r}" if len(lost) else source.name
                raise InputError(
                    f"{few} has too few images to set a {part} part aside: add images or change data.{part}_fraction"
                )
            parts[part], parts["train"] = train.take(taken), train.take(rest)
    if settings.labels:
        parts |= _labelled(parts["train"], settings.labels, seed)
    for part in PARTS:
        size, of = getattr(settings, f"{part}_size"), "rest" if settings.labels and part == "train" else part
        if size > len(parts[of]):
            raise InputError(f"data.{part}_size={size}, but the {of} split of {source.name} has {len(parts[of])}")
        if size:
            parts[of] = parts[of].take(carve(parts[of].strata, size, seed, f"{part}_size")[0])
    if settings.clean_images > len(parts.get("rest", ())):
        raise InputError(f"data.clean_images={settings.clean_images}, but {len(parts['rest'])} are without a label")
    names = source.class_names
    return Dataset(**parts, num_classes=len(names), class_names=names, name=source.name, notes=source.notes)


def _labelled(train: Split, count: int, seed: int) -> dict[str, Split]:
    """``count`` images to learn from and to choose by, and the rest of them."""
    if count > len(train):
        raise InputError(f"data.labels={count}, but there are {len(train)} images to take them from")
    taken, rest = carve(train.strata, count, seed, "labels")
    labelled = train.take(taken)
    learnt, held_out = carve(labelled.strata, round(LEARNT * count), seed, "learnt")
    return {"train": labelled.take(learnt), "validation": labelled.take(held_out), "rest": train.take(rest)}
