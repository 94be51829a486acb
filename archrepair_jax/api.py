"""What a notebook uses: repair a model of one's own, see what came of it, take it home.

    import archrepair_jax as ar

    result = ar.repair((module, variables), (x_train, y_train), (x_val, y_val), kinds=("gaussian_noise",))
    print(result.summary)
    module, variables = result.model

A ``model`` is ``(module, variables)`` of Flax Linen, an NNX module, ``(apply_fn, params)``, of which
``apply_fn(params, images)`` gives logits, or ``(network, variables)`` of ours (see ``models.adopt``). It gets images
[B, H, W, C] as floats in [0, 1], unless ``model.mean`` and ``model.std`` among the settings normalise them.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

import flax.linen as nn
import jax
import numpy as np
from flax import nnx

from archrepair_jax.data.corruptions import KINDS
from archrepair_jax.data.sources import from_arrays
from archrepair_jax.data.sources.arrays import to_images, to_labels
from archrepair_jax.errors import InputError, one_of
from archrepair_jax.evaluation.accuracies import accuracies
from archrepair_jax.evaluation.diagnosis import Diagnosis, diagnose
from archrepair_jax.evaluation.metrics import Rate
from archrepair_jax.line.arrays import Result, carry_out, make_settings, only_these_failures
from archrepair_jax.line.classifiers import Classifier, load
from archrepair_jax.line.settings import ViewSettings
from archrepair_jax.localization import Localization, LocalizationSettings
from archrepair_jax.localization import localize as rank
from archrepair_jax.models.adopt import Model, adopt
from archrepair_jax.reporting.progress import Progress

__all__ = [
    "KINDS",
    "Classifier",
    "Diagnosis",
    "InputError",
    "Localization",
    "Rate",
    "Result",
    "diagnose",
    "evaluate",
    "load",
    "localize",
    "repair",
]

Pair = tuple[Any, Any]  # of images and labels


class More(TypedDict, total=False):
    """What ``repair`` takes besides.

    Attributes:
        test: images and labels that judge every arm in the end, and nothing else.
        failing: which images of ``train`` to repair, as indices or a mask; other failures are left aside.
        class_names: by label.
        folder: where to work; the same call goes on there. Without one, a temporary folder.
        settings: any other, with the command line's keys, as ``{"repair.guard.clean_drop": 0.01, "seed": 1}``.
    """

    test: Pair
    failing: Any
    class_names: Sequence[str]
    folder: str | os.PathLike
    settings: Mapping[str, Any]


def repair(
    model: Any,
    train: Pair,
    validation: Pair,
    method: str = "auto",
    budget: int = 65_536,
    kinds: Sequence[str] = (),
    progress: bool = True,
    **more: Unpack[More],
) -> Result:
    """Repairs a classifier where it fails, as far as images that nothing has learned from agree.

    Args:
        model: see above; it is left as it is.
        train: images [N, H, W, C] (uint8, or floats in [0, 1], rounded to 256 levels) and labels [N], to learn from.
        validation: likewise; one half chooses, the other is the guard that accepts.
        method: one of docs/methods.md, a repair or a control; ``auto`` lets several race.
        budget: sample-gradients for each arm, the control included (``controls`` of ``settings`` names others).
        kinds: corruptions to repair, of ``KINDS``, as ``gaussian_noise`` (at severity 3) or ``gaussian_noise-5``;
            without any, the failures on the images as they are.
        progress: whether to say on standard error how far the work is.
        **more: see ``More``.

    Raises:
        InputError: for whatever the caller can mend.
        Diverged: when a loss is no longer finite.

    Examples:
        >>> import numpy as np, archrepair_jax as ar
        >>> rng = np.random.default_rng(0)
        >>> images = rng.integers(0, 256, (64, 8, 8, 1), np.uint8)
        >>> labels = (images.mean((1, 2, 3)) > 127).astype(int)
        >>> def apply_fn(params, images):
        ...     return images.reshape(len(images), -1) @ params["kernel"]
        >>> params = {"kernel": rng.normal(size=(64, 2)).astype(np.float32)}
        >>> result = ar.repair(
        ...     (apply_fn, params), (images[:32], labels[:32]), (images[32:], labels[32:]), budget=2000, progress=False,
        ...     method="fine_tune_network", settings={"methods.fine_tune_network.learning_rate": 0.01},
        ... )
        >>> list(result.arms)
        ['original', 'fine_tune_network']
        >>> result.best(images).shape
        (64, 2)
        >>> apply_fn, params = result.model
    """
    one_of("repair", more, More.__annotations__)
    told = dict(more.get("settings", {}))
    mean, std = (tuple(told.get(f"model.{name}", ())) for name in ("mean", "std"))
    adopted = adopt(model, image_shape(train, "train"), mean=mean, std=std)
    names = tuple(more.get("class_names", ())) or tuple(map(str, range(adopted.network.num_classes)))
    if len(names) != adopted.network.num_classes:
        raise InputError(f"class_names has {len(names)} names, but the model tells {adopted.network.num_classes} apart")
    pairs = {"train": train, "validation": validation} | ({"test": more["test"]} if "test" in more else {})
    dataset = from_arrays(pairs, names)
    if more.get("failing") is not None:
        dataset = dataclasses.replace(dataset, train=only_these_failures(adopted, dataset.train, more["failing"]))
    keys = {
        "repair.method": method,
        "repair.budget": budget,
        "failures.kinds": several(kinds),
        "evaluation.kinds": several(kinds),
    }
    settings = make_settings(adopted, keys | told, "test" in more)
    own = {"method": method, "budget": budget, "kinds": several(kinds)} | ({"settings": told} if told else {})
    run = functools.partial(carry_out, adopted, dataset, settings, more.get("folder"), call=spelled(own, more))
    if not progress:
        return run(lambda *_: None)
    with Progress() as shown:
        return run(shown.report)


def spelled(own: Mapping[str, Any], more: Mapping[str, Any]) -> str:
    """The call of ``repair`` with these values; what else it was given, arrays for the most part, by name."""
    given = [f"{name}={name}" for name in ("test", "failing") if more.get(name) is not None]
    return f"ar.repair({', '.join(['model', 'train', 'validation', *given, *(f'{k}={v!r}' for k, v in own.items())])})"


def localize(model: Any, failing: Pair, passing: Pair, **settings: Any) -> Localization:
    """Which blocks (or layers, of a model that is one block) are to blame for the failing images.

    Args:
        model: see above.
        failing, passing: images and labels that it gets wrong, and right.
        **settings: of ``LocalizationSettings``, as ``level="neuron"``.

    Raises:
        InputError: for a model of which only the outside is known, and for what the settings refuse.

    Examples:
        >>> import jax, flax.linen as nn, numpy as np, archrepair_jax as ar
        >>> module = nn.Sequential([lambda x: x.reshape(len(x), -1), nn.Dense(4), nn.relu, nn.Dense(2)])
        >>> images = np.random.default_rng(0).random((8, 8, 8, 1), np.float32)
        >>> variables = module.init(jax.random.key(0), images)
        >>> labels = np.asarray(module.apply(variables, images).argmax(-1))
        >>> failing, passing = (images[:4], 1 - labels[:4]), (images[4:], labels[4:])
        >>> found = ar.localize((module, variables), failing, passing, bootstrap=2)
        >>> sorted(unit.name for unit in found.units)
        ['model/module/layers_1', 'model/module/layers_3']
    """
    adopted = adopt(model, image_shape(failing, "failing"))
    pairs = []
    for name, (images, labels) in {"failing": failing, "passing": passing}.items():
        images = to_images(np.asarray(images), f"the array of {name} images")
        pairs.append((images, to_labels(np.asarray(labels), len(images), f"the array of {name} labels")))
    level = "block" if len(adopted.network.blocks) > 1 else "layer"
    own = LocalizationSettings(**({"level": level} | settings))
    try:
        return rank(adopted.network, adopted.variables, *pairs, own, jax.random.key(0))
    except InputError as error:
        raise InputError(f"{error} ({adopted.note})" if adopted.note else str(error)) from error


def evaluate(model: Any, test: Pair, kinds: Sequence[str] = KINDS, severity: int = 3, seed: int = 0) -> dict[str, Rate]:
    """The accuracy on clean images and under each kind of corruption, by name, with 95 % intervals.

    Args:
        model: see above, or any callable from images [B, H, W, C] in [0, 1] to logits [B, K] or labels [B].
        test: images [N, H, W, C] (uint8, or floats in [0, 1]) and labels [N].
        kinds: of ``KINDS``; a kind with a dash brings its own severity. Images of 28 pixels a side or more.
        severity: of the others, 1 to 5.
        seed: of the corruptions.

    Raises:
        InputError: for a kind that there is not, and for what is no model or no images.

    Examples:
        >>> import numpy as np, archrepair_jax as ar
        >>> images = np.zeros((4, 8, 8, 1), np.uint8)
        >>> rates = ar.evaluate(lambda images: np.zeros(len(images), int), (images, np.array([0, 0, 0, 1])), kinds=())
        >>> rates["clean"].value
        0.75
    """
    images, labels = map(np.asarray, test)
    images = to_images(images, "the array of test images")
    labels = to_labels(labels, len(images), "the array of test labels")
    views = ViewSettings(several(kinds), (severity,)).views
    classify = model if is_plain(model) else classifying(adopt(model, images.shape[1:]))
    return accuracies(classify, images, labels, views, jax.random.key(seed))


def several(kinds: Sequence[str]) -> tuple[str, ...]:
    """A single kind is as good as a row of one."""
    return (kinds,) if isinstance(kinds, str) else tuple(kinds)


def is_plain(model: Any) -> bool:
    """Whether it is a callable from images to answers."""
    return callable(model) and not isinstance(model, nn.Module | nnx.Module)


def classifying(model: Model) -> Callable:
    run = jax.jit(model.network.apply)
    return lambda images: run(model.variables, images)


def image_shape(pair: Pair, name: str) -> tuple[int, ...]:
    """Of one image with its channels. Raises InputError for what is no pair."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise InputError(f"{name} is {type(pair).__name__}: give a pair, (images, labels)")
    shape = np.shape(pair[0])[1:]
    return (*shape, 1) if len(shape) == 2 else shape
