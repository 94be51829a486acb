"""Blocks that look at their input: that they begin as nothing, stay finite whatever comes in, and do what they say."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archrepair_jax.errors import InputError
from archrepair_jax.models import ModelSettings, build
from archrepair_jax.models.cost import block_multiply_adds
from archrepair_jax.repair.edits import Inserted
from archrepair_jax.search.conditional import (
    FILTERS,
    OF_MAPS,
    OF_VECTORS,
    RESIDUAL,
    ConditionalFilters,
    Filters,
    filters_from_json,
    plus,
    some_of,
)
from archrepair_jax.search.filters import GATED, measured, median, reference, smoothed

EVERYTHING = Filters(OF_MAPS, 16)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return jnp.asarray(np.random.default_rng(seed).uniform(0, 1, shape), jnp.float32)


def variables_of(genotype: Filters, passing: np.ndarray, loud: float = 0.0):
    """A block's variables with the reference of these examples; ``loud`` is the size of what else starts at zero."""
    init = jax.jit(ConditionalFilters(genotype).init, static_argnums=2)
    made = init(jax.random.key(0), jnp.asarray(passing[:1]), False)
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: leaf + loud * rng.normal(size=leaf.shape).astype(np.float32), made["params"])
    compared = reference(measured(jnp.asarray(passing)))
    return {"params": params, "batch_stats": {name: compared[name] for name in made["batch_stats"]}}


def test_the_median_is_the_median():
    x = np.round(noise(3, 7, 6, 2), 1)  # with ties
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    nine = [padded[:, i : i + 7, j : j + 6] for i in range(3) for j in range(3)]
    np.testing.assert_array_equal(median(jnp.asarray(x)), np.median(nine, axis=0))


def test_the_low_pass_is_binomial():
    spike = np.zeros((1, 5, 5, 1), np.float32)
    spike[0, 2, 2] = 16
    expected = np.outer([0, 1, 2, 1, 0], [0, 1, 2, 1, 0])
    np.testing.assert_array_equal(smoothed(jnp.asarray(spike))[0, ..., 0], expected)
    np.testing.assert_array_equal(smoothed(jnp.ones((1, 4, 4, 2))), np.ones((1, 4, 4, 2)))


@pytest.mark.slow
def test_contrast_gives_every_image_the_mean_and_spread_of_passing_ones():
    passing = noise(40, 8, 8, 3)
    flat = 0.5 + 0.2 * (passing[:4] - 0.5)
    compared = reference(measured(jnp.asarray(passing)))["channels"]
    got = GATED["contrast"](jnp.asarray(flat), jnp.asarray(flat), compared["mean"], jnp.sqrt(compared["var"]))
    np.testing.assert_allclose(got.mean((1, 2)), np.tile(compared["mean"], (4, 1)), atol=1e-3)
    np.testing.assert_allclose(got.std((1, 2)), np.tile(np.sqrt(compared["var"]), (4, 1)), rtol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [0, 16])
@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 7, 3), (8, 8, 6), (1, 1, 3)])
def test_a_block_begins_as_the_identity_bit_for_bit(shape, hidden):
    x = np.array(noise(5, *shape)) - np.float32(0.5)
    x[0, 0, 0], x[1] = -0.0, 0.0
    genotype = Filters(OF_MAPS, hidden)
    y = jax.jit(lambda v, x: ConditionalFilters(genotype).apply(v, x, False))(variables_of(genotype, x), jnp.asarray(x))
    np.testing.assert_array_equal(np.asarray(y).view(np.int32), x.view(np.int32))


def test_a_sum_that_changes_nothing_has_the_gradient_of_a_sum():
    x, change = jnp.asarray([-0.0, 2.0]), jnp.zeros(2)
    np.testing.assert_array_equal(jax.grad(lambda change: plus(x, change).sum())(change), [1, 1])
    np.testing.assert_array_equal(jax.grad(lambda x: plus(x, change).sum())(x), [1, 1])


def image_of(channels: int):
    """Constant, of a single colour, noisy, or black and white, which is full of ties."""
    shape = (3, 4, channels)
    color = st.lists(st.floats(-2, 2, width=32), min_size=channels, max_size=channels)
    seeds = st.integers(0, 99)
    return st.one_of(
        st.floats(-2, 2, width=32).map(lambda level: np.full(shape, level, np.float32)),
        color.map(lambda color: np.tile(np.float32(color), (3, 4, 1))),
        seeds.map(lambda seed: noise(*shape, seed=seed)),
        seeds.map(lambda seed: np.round(noise(*shape, seed=seed))),
    )


@jax.jit
def everything_of(x, passing):
    """Every candidate and its Jacobian, and a loud block's gradients for its parameters and its input."""
    compared = reference(measured(passing))

    def candidates(x):
        deviation = jnp.sqrt(compared["channels"]["var"] + 1e-6)
        return {name: make(x, smoothed(x), compared["channels"]["mean"], deviation) for name, make in GATED.items()}

    block = ConditionalFilters(EVERYTHING)
    params = jax.tree.map(lambda leaf: leaf + 0.1, block.init(jax.random.key(0), x, False)["params"])

    def loss(params, x):
        return jnp.square(block.apply({"batch_stats": compared, "params": params}, x, False)).sum()

    return candidates(x), jax.jacobian(candidates)(x), jax.value_and_grad(loss, (0, 1))(params, x)


@pytest.mark.slow
@settings(max_examples=30)
@given(st.sampled_from([1, 3]).flatmap(image_of), st.booleans())
def test_every_candidate_is_finite_and_so_is_its_jacobian(image, flat_reference):
    """Even where all passing examples are of one colour."""
    passing = np.tile(image, (4, 1, 1, 1)) if flat_reference else noise(4, *image.shape)
    found = everything_of(jnp.asarray(image)[None], jnp.asarray(passing))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


@pytest.mark.slow
def test_what_an_image_gets_depends_on_itself_alone():
    x = noise(6, 8, 8, 3)
    variables = variables_of(EVERYTHING, x, loud=0.3)
    together = ConditionalFilters(EVERYTHING).apply(variables, x, False)
    alone = [ConditionalFilters(EVERYTHING).apply(variables, x[i : i + 1], False)[0] for i in range(6)]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-4)


@pytest.mark.parametrize("hidden", [0, 16])
def test_affine_maps_of_the_input_do_not_matter(hidden):
    """So that it makes no difference on which side of a normalisation the block stands."""
    x, gain, offset = noise(6, 8, 8, 3), np.float32([2, 4, 3]), np.float32([-1, 0, 2])
    genotype = Filters(hidden=hidden)
    plain, moved = (variables_of(genotype, each, loud=0.1) for each in (x, gain * x + offset))
    y = ConditionalFilters(genotype).apply(plain, x, False)
    z = ConditionalFilters(genotype).apply(moved, gain * x + offset, False)
    np.testing.assert_allclose(z, gain * y + offset, rtol=1e-2, atol=1e-2)


def test_the_statistics_of_passing_examples_stay_as_they_were_measured():
    x = noise(6, 8, 8, 3)
    variables = variables_of(Filters(), x)
    _, updated = ConditionalFilters(Filters()).apply(variables, x, True, mutable=["batch_stats"])
    jax.tree.map(np.testing.assert_array_equal, updated["batch_stats"], variables["batch_stats"])


@pytest.mark.parametrize(("operation", "shape", "are"), [("median", (8,), "vectors"), ("dense", (8, 8, 3), "maps")])
def test_what_does_not_fit_is_refused_by_name(operation, shape, are):
    with pytest.raises(InputError, match=f"{operation} does not fit {are}: choose from"):
        ConditionalFilters(Filters(("film", operation))).init(jax.random.key(0), jnp.zeros((2, *shape)), False)


@pytest.mark.slow
@pytest.mark.parametrize(("operations", "shape"), [(OF_MAPS, (6, 6, 3)), (OF_MAPS, (6, 6, 8)), (OF_VECTORS, (8,))])
def test_some_candidates_do_what_they_do_among_all(operations, shape):
    x, whole = noise(5, *shape), Filters(operations, 16)
    variables, chosen = variables_of(whole, x, loud=0.2), Filters(operations[::2], 16)
    alone = jnp.asarray(np.arange(len(operations)) % 2 == 0, jnp.float32)
    expected = ConditionalFilters(whole).apply(variables, x, False, alone)
    found = ConditionalFilters(chosen).apply(some_of(variables, whole, chosen), x, False)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@given(st.lists(st.sampled_from(FILTERS), min_size=1, unique=True), st.integers(0, 64))
def test_filters_come_back_from_json(operations, hidden):
    genotype = Filters(tuple(operations), hidden)
    assert filters_from_json(json.loads(json.dumps(genotype.as_json()))) == genotype


@pytest.mark.parametrize(
    "change",
    [
        *({"operations": each} for each in ([], ["medain"], ["median", "median"], "median", [["median"]], None)),
        *({"hidden": each} for each in (-1, 10**9, 1.5, True, None)),
        {"more": 1},
    ],
)
def test_filters_that_no_run_wrote_are_refused(change):
    with pytest.raises(InputError, match="no filters are written as"):
        filters_from_json(Filters().as_json() | change)


def test_filters_cost_next_to_nothing():
    """Against the 40.6 million multiply-adds of ResNet-20."""
    network = build(ModelSettings("resnet20"), (32, 32, 3), 10)
    for genotype, most in ((Filters(), 0.001), (Filters((*GATED, RESIDUAL), 16), 0.02)):
        edit = Inserted("input", genotype)
        edited = edit.apply(network)
        counts = block_multiply_adds(edited, jax.eval_shape(edited.init, jax.random.key(0)))
        added = counts.pop(edit.name)
        print(f"{'+'.join(genotype.operations)}: {added:,} of {sum(counts.values()):,} multiply-adds")
        assert 0 < added < most * sum(counts.values())
