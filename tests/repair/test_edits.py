"""Edits: what they make of a network, and that they come back from JSON as they were."""

import json

import jax
import numpy as np
import pytest
import tiny_networks
from hypothesis import given
from hypothesis import strategies as st

from archrepair_jax.errors import InputError
from archrepair_jax.models.network import block_variables
from archrepair_jax.repair.edits import Inserted, Replaced, Scaled, apply, from_json, to_json
from archrepair_jax.search.cell import Genotype, Space, beside, make_space, random_genotype
from archrepair_jax.search.conditional import FILTERS, Filters
from archrepair_jax.search.operations import SPATIAL, VECTOR


def genotype(network, block: str) -> Genotype:
    space = make_space(network, tiny_networks.random_variables(network), block, 1, ())
    return random_genotype(space, jax.random.key(0))


def test_no_edit_is_the_original():
    network = tiny_networks.residual_network()
    assert apply(network, ()) is network and from_json([]) == ()


def test_edits_follow_one_another():
    network = tiny_networks.residual_network()
    found = genotype(network, "stage2_block1")
    edits = Replaced("stage2_block1", found), Scaled("stem"), Scaled("stage2_block1"), Inserted("stage2_block1", found)
    edited = apply(network, edits)
    assert edited.names == (
        *("input", "stem", "stem_scale", "stage1_block1", "before_stage2_block1", "stage2_block1"),
        *("stage2_block1_scale", "stage3_block1", "head"),
    )
    assert from_json(json.loads(json.dumps(to_json(edits)))) == edits
    with pytest.raises(ValueError, match="no block is called 'stage9'"):
        apply(network, [Scaled("stage9")])


@pytest.mark.slow
@pytest.mark.parametrize(("make", "before"), [("residual_network", "stem"), ("vector_network", "layer2")])
def test_an_inserted_block_begins_as_the_original_bit_for_bit(make, before):
    """Its new operations are silent, and beside them stands the identity."""
    network = getattr(tiny_networks, make)()
    variables = tiny_networks.random_variables(network)
    images = tiny_networks.random_examples(network, 5)[0] / np.float32(255)
    index = network.index(before)
    shape = jax.eval_shape(lambda x: network.span(variables, x, 0, index)[0], images).shape
    operations = ("gated_conv_1x1", "sep_conv_3x3") if len(shape) == 4 else ("gated_dense", "dense")
    space = Space(1, operations, shape[-1], 1)
    edit = Inserted(before, random_genotype(space, jax.random.key(1)))
    edited = edit.apply(network)
    fresh = block_variables(edited.init(jax.random.key(2)), edit.name)
    own = {collection: variables[collection] | {edit.name: fresh[collection]} for collection in fresh}
    expected = network.apply(variables, images)
    np.testing.assert_array_equal(edited.apply(variables | own, images), expected)
    louder = jax.tree.map(lambda leaf: leaf + 0.1, beside(fresh, {}))
    own = {collection: variables[collection] | {edit.name: louder[collection]} for collection in louder}
    assert np.abs(edited.apply(variables | own, images) - expected).max() > 1e-3


NAMES = st.text("abc_12", min_size=1, max_size=8)


@st.composite
def genotypes(draw):
    known = draw(st.sampled_from([sorted(SPATIAL), sorted(VECTOR)]))
    operations = tuple(draw(st.lists(st.sampled_from(known), min_size=1, max_size=4, unique=True)))
    space = Space(draw(st.integers(0, 3)), operations, draw(st.integers(1, 512)), draw(st.integers(1, 2)))
    return Genotype(space, tuple(draw(st.sampled_from(space.candidates(edge))) for edge in space.edges))


FILTERED = st.builds(
    Filters, st.lists(st.sampled_from(FILTERS), min_size=1, unique=True).map(tuple), st.integers(0, 64)
)
EDITS = st.lists(
    st.builds(Replaced, NAMES, genotypes())
    | st.builds(Inserted, NAMES, genotypes() | FILTERED)
    | st.builds(Scaled, NAMES),
    max_size=4,
)


@given(EDITS)
def test_edits_come_back_from_json(edits):
    assert from_json(json.loads(json.dumps(to_json(edits)))) == tuple(edits)


def test_filters_replace_no_branch():
    saved = {"kind": "replaced", "block": "stem", "genotype": Filters().as_json()}
    with pytest.raises(InputError, match="no genotype is written as"):
        from_json([saved])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
SPOILED = st.fixed_dictionaries(
    {"kind": st.sampled_from(["replaced", "inserted", "scaled", "moved"]) | VALUES},
    optional={
        "block": VALUES,
        "before": VALUES,
        "genotype": VALUES | st.just({"hidden": 10**9}) | st.just({"form": "filters"}),
        "more": VALUES,
    },
)


@given(VALUES | st.lists(SPOILED, min_size=1, max_size=2))
def test_whatever_no_run_wrote_is_refused_in_words(saved):
    try:
        assert isinstance(from_json(saved), tuple)
    except InputError as error:
        assert "\n" not in str(error)
