"""The searched block: its space, and that it starts as the original and can go back to it."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_networks
from hypothesis import given, settings
from hypothesis import strategies as st

from archrepair_jax.errors import InputError
from archrepair_jax.models.blocks import Normalize
from archrepair_jax.models.families.densenet import densenet
from archrepair_jax.models.groups import group
from archrepair_jax.models.network import Network, block_variables
from archrepair_jax.search.cell import (
    DEFAULT,
    FoundBlock,
    Genotype,
    RelaxedBlock,
    Space,
    beside,
    full_masks,
    genotype_from_json,
    make_space,
    mixing_weights,
    random_genotype,
    uniform_alphas,
)
from archrepair_jax.search.operations import ORIGINAL, SPATIAL, VECTOR
from archrepair_jax.training.parallel import AXIS


def dense_network() -> Network:
    blocks = densenet(4, repeats=(2, 1), growth=4)
    return Network((("input", Normalize((0.5,), (0.25,))), *blocks), (8, 8, 1), 4)


def grouped_network() -> Network:
    return group(tiny_networks.residual_network(), {}, "stage1+stage2")[0]


BLOCKS = {
    "stem": (tiny_networks.residual_network, "stem"),
    "residual": (tiny_networks.residual_network, "stage1_block1"),
    "strided, with padded shortcut": (tiny_networks.residual_network, "stage2_block1"),
    "dense layer": (dense_network, "stage1_block2"),
    "transition": (dense_network, "transition1"),
    "pooled": (tiny_networks.plain_network, "block1"),
    "strided group": (grouped_network, "stage1+stage2"),
    "layer of vectors": (tiny_networks.vector_network, "layer2"),
}


@functools.cache
def original(kind):
    """A block with its variables, an input and its space."""
    make, name = BLOCKS[kind]
    network = make()
    variables = tiny_networks.random_variables(network)
    images, _ = tiny_networks.random_examples(network, 5)
    x, _ = network.span(variables, images / np.float32(255), 0, network.index(name))
    operations = ("gated_dense",) if kind == "layer of vectors" else ("gated_conv_1x1",)
    space = make_space(network, variables, name, 1, operations)
    return dict(network.blocks)[name], block_variables(variables, name), x, space


def applied(module, variables, x, train, *mixture):
    """The output as on one device."""
    run = jax.vmap(lambda x: module.apply(variables, x, train, *mixture, mutable=["batch_stats"])[0], axis_name=AXIS)
    return np.asarray(run(x[None])[0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", BLOCKS)
def test_a_relaxed_block_starts_as_the_original(kind):
    block, own, x, space = original(kind)
    relaxed = RelaxedBlock(block, space)
    mixture = mixing_weights(uniform_alphas(space), full_masks(space))
    created = jax.jit(relaxed.init, static_argnums=2)(jax.random.key(3), x, False, mixture)
    variables = beside({name: created[name] for name in ("params", "batch_stats")}, own)
    expected = np.asarray(block.apply(own, x, False))
    assert np.abs(expected).max() > 0.1
    for train in (False, True):
        np.testing.assert_allclose(applied(relaxed, variables, x, train, mixture), expected, rtol=1e-6, atol=1e-6)
    # and not because nothing is there: the original's part can be taken away
    masked = mixing_weights(uniform_alphas(space), full_masks(space) | {"edge_0_2": jnp.array([0.0, 1.0])})
    assert np.abs(applied(relaxed, variables, x, False, masked) - expected).max() > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("kind", BLOCKS)
def test_a_found_block_with_the_original_starts_as_the_original(kind):
    block, own, x, space = original(kind)
    found = FoundBlock(block, random_genotype(space, jax.random.key(0)))
    created = found.init(jax.random.key(3), x, False)
    variables = beside({name: created[name] for name in ("params", "batch_stats")}, own)
    for train in (False, True):
        np.testing.assert_allclose(
            applied(found, variables, x, train), block.apply(own, x, False), rtol=1e-6, atol=1e-6
        )


def test_a_found_block_without_the_original_keeps_its_surroundings():
    block, _, x, space = original("strided, with padded shortcut")
    found = FoundBlock(block, Genotype(space, ("gated_conv_1x1",) * 3))
    variables = found.init(jax.random.key(0), x, False)
    assert ORIGINAL not in variables["params"]
    # its output operations are silent, so that only the shortcut is left
    shortcut = block.join(x, jnp.zeros_like(found.apply(variables, x, False)), False)
    np.testing.assert_allclose(found.apply(variables, x, False), shortcut, rtol=1e-6)


def test_the_mixture_is_even_at_first_and_keeps_its_sum():
    space = Space(1, ("conv_1x1", "sep_conv_3x3"), 4, 1)
    even = mixing_weights(uniform_alphas(space), full_masks(space))
    assert {name: weights.tolist() for name, weights in even.items()} == {
        "edge_0_1": [1, 1], "edge_0_2": [1, 1, 1], "edge_1_2": [1, 1],
    }  # fmt: skip
    alphas = uniform_alphas(space) | {"edge_0_2": jnp.array([0.0, jnp.log(2.0), 0.0])}
    masks = full_masks(space) | {"edge_0_1": jnp.array([0.0, 1.0])}
    mixture = mixing_weights(alphas, masks)
    np.testing.assert_allclose(mixture["edge_0_2"], [0.75, 1.5, 0.75], rtol=1e-6)
    np.testing.assert_allclose(mixture["edge_0_1"], [0, 1], rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "channels", "stride"),
    [("stem", 4, 1), ("strided, with padded shortcut", 8, 2), ("dense layer", 4, 1), ("transition", 8, 1)]
    + [("pooled", 8, 1), ("layer of vectors", 8, 1)],
)
def test_a_space_has_the_shape_of_the_blocks_branch(kind, channels, stride):
    assert (original(kind)[3].channels, original(kind)[3].stride) == (channels, stride)


def test_a_space_offers_the_original_on_the_direct_edge_alone():
    space = Space(2, ("conv_1x1",), 4, 1)
    assert space.edges == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    assert [edge for edge in space.edges if ORIGINAL in space.candidates(edge)] == [(0, 3)]


def test_the_default_operations_are_those_of_the_blocks_kind():
    for make, block, operations in (
        (tiny_networks.residual_network, "stage2_block1", DEFAULT),
        (tiny_networks.vector_network, "layer2", tuple(VECTOR)),
    ):
        network = make()
        assert make_space(network, tiny_networks.random_variables(network), block, 1, ()).operations == operations


@pytest.mark.parametrize(
    ("make", "block", "operations", "message"),
    [
        (tiny_networks.residual_network, "head", (), "'head' turns maps into vectors"),
        (tiny_networks.vector_network, "layer1", (), "'layer1' turns maps into vectors"),
        (tiny_networks.residual_network, "input", (), "'input' has nothing to replace"),
        (tiny_networks.residual_network, "stem", ("conv_9x9",), "unknown operation 'conv_9x9' .* choose from sep_conv"),
        (tiny_networks.residual_network, "stem", ("dense",), "unknown operation 'dense'"),
        (tiny_networks.vector_network, "layer2", ("sep_conv_3x3",), "unknown operation 'sep_conv_3x3' .* dense"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_line(make, block, operations, message):
    network = make()
    with pytest.raises(InputError, match=message) as refusal:
        make_space(network, tiny_networks.random_variables(network), block, 1, operations)
    assert "\n" not in str(refusal.value)


@st.composite
def genotypes(draw):
    operations = draw(st.lists(st.sampled_from(list(SPATIAL)), min_size=1, max_size=4, unique=True))
    space = Space(draw(st.integers(0, 3)), tuple(operations), draw(st.integers(1, 64)), draw(st.integers(1, 2)))
    return Genotype(space, tuple(draw(st.sampled_from(space.candidates(edge))) for edge in space.edges))


@given(genotypes())
def test_a_genotype_survives_json_with_sorted_keys(genotype):
    saved = json.loads(json.dumps(genotype.as_json(), sort_keys=True))
    assert genotype_from_json(saved) == genotype
    assert hash(genotype_from_json(saved)) == hash(genotype)
    assert saved["nodes"] == genotype.space.hidden + 2
    assert {tuple(map(int, arrow.split("->"))) for arrow in saved["edges"]} == set(genotype.space.edges)


@given(st.integers(0, 2**31 - 1))
@settings(max_examples=10, deadline=None)
def test_a_random_genotype_keeps_the_original_and_depends_on_the_key_alone(seed):
    space = Space(2, DEFAULT, 4, 1)
    genotype = random_genotype(space, jax.random.key(seed))
    assert genotype == random_genotype(space, jax.random.key(seed))
    assert dict(genotype)[space.direct] == ORIGINAL
    assert set(dataclasses.asdict(genotype)["choices"]) - {ORIGINAL} <= set(DEFAULT)


@pytest.mark.slow
def test_random_genotypes_differ():
    space = Space(2, DEFAULT, 4, 1)
    assert len({random_genotype(space, jax.random.key(seed)) for seed in range(8)}) > 4
