"""Failures that somebody has named are repaired, and others are left aside."""

import numpy as np
import pytest
from tiny_config import get_config
from tiny_networks import plain_network, random_examples, random_variables

from archrepair_jax.data.splits import Dataset, Split
from archrepair_jax.errors import InputError
from archrepair_jax.line.marked import answered, only_marked
from archrepair_jax.line.settings import from_config

NETWORK = plain_network()
VARIABLES = random_variables(NETWORK)
NAMES = ("a", "b", "c", "d")


def settings(*kinds: str):
    config = get_config()
    config.failures.kinds = kinds
    return from_config(config)


def dataset(marked) -> Dataset:
    """``marked`` images of each part fail and were named, 4 fail and were not; the rest is right."""
    splits = []
    for seed in range(3):
        images, _ = random_examples(NETWORK, 24, seed)
        labels = np.asarray(NETWORK.apply(VARIABLES, images / np.float32(255))).argmax(-1).astype(np.int32)
        labels[: marked + 4] = (labels[: marked + 4] + 1) % 4
        splits.append(Split(images, labels, np.arange(24) < marked))
    return Dataset(*splits, num_classes=4, class_names=NAMES, name="made up")


def test_what_was_named_is_kept_and_other_failures_are_left_aside():
    given = dataset(5)
    kept = only_marked(settings(), given, NETWORK, VARIABLES)
    for split in (kept.train, kept.validation):
        assert len(split) == 20 and split.failing.sum() == 5
        np.testing.assert_array_equal(answered(NETWORK, VARIABLES, split), ~split.failing)
    assert kept.test is given.test
    assert kept.notes == (
        "10 of the 10 images that were named as failing do fail, and are repaired",
        "others that fail are left aside: 8",
    )
    (*_, told) = only_marked(settings("contrast"), given, NETWORK, VARIABLES).notes
    assert "failures.kinds are repaired beside" in told


def test_failures_that_do_not_fail_are_no_failures():
    with pytest.raises(InputError, match="the network gets all 48 images right that were named as failing: check"):
        given = dataset(-4)
        everything = [Split(split.images, split.labels, np.ones(24, bool)) for split in (given.train, given.validation)]
        only_marked(settings(), Dataset(*everything, given.test, 4, NAMES, "made up"), NETWORK, VARIABLES)
    with pytest.raises(InputError, match="no network was: name its weights in model.weights"):
        only_marked(settings(), dataset(5), NETWORK, None)
