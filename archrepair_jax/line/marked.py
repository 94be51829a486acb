"""Failures that somebody has named: they alone are repaired, and whatever else the network gets wrong is left aside."""

import dataclasses

import numpy as np
from jaxtyping import Bool

from archrepair_jax.data.splits import Dataset, Split
from archrepair_jax.errors import InputError
from archrepair_jax.line.settings import Settings
from archrepair_jax.models.network import Network, Variables
from archrepair_jax.repair.problem import logits
from archrepair_jax.training.parallel import choose_devices


def answered(network: Network, variables: Variables, split: Split) -> Bool[np.ndarray, " N"]:
    """Where the network is right, as the labels have it."""
    return logits(network, variables, split.images, choose_devices(1)).argmax(-1) == split.labels


def only_marked(settings: Settings, dataset: Dataset, network: Network, variables: Variables | None) -> Dataset:
    """The data set with no other failures to learn from or to accept by, and with a note of how many there are.

    As it is where none were named. Raises InputError where the network is yet to be trained, and where it gets all of
    them right.
    """
    if dataset.train.failing is None:
        return dataset
    if variables is None:
        raise InputError("images were named as failing, but no network was: name its weights in model.weights")
    kept, counts = {}, np.zeros(3, int)
    for part in ("train", "validation"):
        split: Split = getattr(dataset, part)
        marked = np.zeros(len(split), bool) if split.failing is None else split.failing
        right = answered(network, variables, split)
        counts += (marked & ~right).sum(), marked.sum(), (~marked & ~right).sum()
        kept[part] = split.take(np.flatnonzero(right | marked))
    failing, named, others = counts
    if not failing:
        raise InputError(
            f"the network gets all {named} images right that were named as failing: check model.weights, model.mean "
            "and model.std, and that the images are those that fail"
        )
    notes = [f"{failing} of the {named} images that were named as failing do fail, and are repaired"]
    notes += [f"others that fail are left aside: {others}"] if others else []
    if settings.failures.kinds:
        notes.append("failures.kinds are repaired beside the images named as failing: empty it for these alone")
    return dataclasses.replace(dataset, **kept, notes=(*dataset.notes, *notes))
