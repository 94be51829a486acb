"""What repair methods are given: examples, the frozen prefix, and pools of a block's inputs."""

import numpy as np

from archrepair_jax.repair.problem import EVALUATION_BATCH, logits, pool, prefix_map
from archrepair_jax.training.ledger import Cost
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import choose_devices

ONE, EIGHT = choose_devices(1), choose_devices(8)


def test_examples_are_rows_of_views(problem):
    right = problem.train.correct
    assert right.shape == (2, 32)
    expected = problem.train.logits[32 + 3].argmax() == problem.train.labels[32 + 3]
    assert right[1, 3] == expected
    assert right[0].mean() > 0.7 > right[1].mean()


def test_logits_are_those_of_the_network_whatever_the_batches_and_devices(problem):
    images = np.random.default_rng(3).integers(0, 256, (EVALUATION_BATCH + 7, *problem.network.image_shape), np.uint8)
    expected = problem.network.apply(problem.variables, images / np.float32(255))
    for devices in (ONE, EIGHT):
        scores = logits(problem.network, problem.variables, images, devices)
        assert isinstance(scores, np.ndarray)
        np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


def test_pools_hold_what_the_prefix_makes_of_the_images_once(problem):
    loop = Loop(ONE)
    train, validation = (pool(problem, part, "layer2", loop) for part in ("train", "validation"))
    assert pool(problem, "train", "layer2", Loop(ONE)) is train
    index = problem.network.index("layer2")
    expected, _ = problem.network.span(problem.variables, problem.train.images / np.float32(255), 0, index)
    np.testing.assert_allclose(train.inputs, expected, rtol=1e-5, atol=1e-5)
    rest, _ = problem.network.span(problem.variables, train.inputs, index, len(problem.network.blocks))
    np.testing.assert_allclose(rest, train.reference, rtol=1e-4, atol=1e-4)
    assert len(validation.labels) == 40
    np.testing.assert_array_equal(np.sort(train.passing), np.flatnonzero(problem.train.correct))


def test_images_stay_uint8_in_their_pool(problem):
    loop = Loop(ONE)
    images = pool(problem, "train", problem.network.names[0], loop).inputs
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, problem.train.images)
    assert loop.ledger.spent == Cost()


def test_every_method_pays_for_the_prefix_computed_once(problem):
    spent = []
    for _ in range(2):
        loop = Loop(ONE)
        pool(problem, "train", "layer2", loop)
        spent.append(loop.ledger.spent)
    assert spent == [Cost(64, 64 * 16 * 8)] * 2  # two views of 32 images of 16 pixels, and a layer of 8 neurons


def test_a_prefix_is_compiled_once_for_each_depth(problem):
    assert prefix_map(problem.network, 2, ONE) is prefix_map(problem.network, 2, ONE)
    assert prefix_map(problem.network, 2, ONE) is not prefix_map(problem.network, 1, ONE)


def test_the_input_of_the_first_block_is_the_image_in_unit_range(problem):
    images = problem.train.images[:4]
    np.testing.assert_allclose(prefix_map(problem.network, 0, ONE)({}, images), images / 255, rtol=1e-6)
