"""Inputs of regions: where they lie, how they are spread, and whether rare violations are found."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archrepair_jax.models.formats.nnet import read_nnet
from archrepair_jax.models.network import Network
from archrepair_jax.regions.properties import make_property, margin
from archrepair_jax.regions.sampling import draw_cells, inward, make_regions, seek, uniform
from archrepair_jax.regions.vnnlib import read_vnnlib

NUMBERS = st.floats(-1e6, 1e6)


@given(NUMBERS, st.floats(0, 10))
def test_float32_ends_lie_inside(low, width):
    lower, upper = np.array([low]), np.array([low + width])
    inner_lower, inner_upper = inward(lower, upper)
    assert inner_lower.dtype == inner_upper.dtype == np.float32 and (inner_lower <= inner_upper).all()
    if inner_lower < inner_upper:
        assert inner_lower.astype(float) >= lower and inner_upper.astype(float) <= upper
    else:
        assert abs(inner_lower - low) <= max(width, abs(np.spacing(np.float32(low))))


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_cells_lie_inside_their_regions(seed):
    regions = make_regions(np.array([[0.0, 5.0], [2.0, 7.0]]), np.array([[1.0, 5.0], [5.0, 8.0]]))
    cells = draw_cells(regions, jax.random.key(seed), 1_000)
    lower, upper = regions.lower[cells.tags], regions.upper[cells.tags]
    assert ((lower <= cells.lower) & (cells.lower <= cells.upper) & (cells.upper <= upper)).all()
    widths = np.asarray((cells.upper - cells.lower)[cells.tags == 1] / (regions.upper - regions.lower)[1])
    assert 0.01 < widths.min() < 0.04 and 0.2 < widths.max() < 0.251, "both small ones and large ones"


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_uniform_inputs_fill_their_regions(seed):
    lower, upper = np.array([[0.0, 5.0], [2.0, 7.0]]), np.array([[1.0, 5.0], [5.0, 7.0]])
    wide = make_regions(lower, upper + [0.0, 1.0])
    samples = uniform(wide, jax.random.key(seed), 4_000)
    x, region = np.asarray(samples.inputs), np.asarray(samples.tags)
    assert ((x >= lower[region]) & (x <= upper[region] + [0.0, 1.0])).all()
    assert 0.7 < region.mean() < 0.8, "the second box has three quarters of the volume"
    assert (np.ptp(x[region == 1], axis=0) > [2.9, 0.9]).all()
    assert (uniform(wide, jax.random.key(seed), 4_000).inputs == x).all()


def test_flat_regions_share_alike():
    flat = make_regions(np.array([[0.0, 1.0], [4.0, 4.0]]), np.array([[2.0, 1.0], [4.0, 4.0]]))
    assert list(flat.share) == [0.5, 0.5]


@pytest.fixture(scope="module")
def n29(acasxu):
    network, variables, _ = read_nnet(acasxu / "nnet" / "ACASXU_run2a_2_9_batch_2000.nnet")
    return network, variables, read_vnnlib(acasxu / "vnnlib" / "prop_8.vnnlib", 5, 5)


@pytest.mark.slow
def test_descents_find_rare_violations(n29):
    """Of N2,9's inputs in property 8's region, one in 2,700 violates it; descents turn many starts into violations."""
    network, variables, prop = n29
    regions = make_regions(prop.lower, prop.upper)
    scanned = uniform(regions, jax.random.key(0), 50_000)
    before = np.asarray(margin(prop, scanned.tags, network.apply(variables, scanned.inputs)))
    worst = np.argsort(before)[:500]
    starts = jax.tree.map(lambda array: array[worst], scanned)
    found, least = seek(network, variables, prop, regions, starts)
    x = np.asarray(found.inputs)
    assert ((x >= prop.lower[0]) & (x <= prop.upper[0])).all()
    np.testing.assert_allclose(least, margin(prop, found.tags, network.apply(variables, x)), atol=1e-6)
    assert (np.asarray(least) <= before[worst] + 1e-6).all(), "a descent never ends above its start"
    assert (np.asarray(least) <= 0).sum() > 3 * (before <= 0).sum() > 0


@pytest.mark.slow
def test_seeking_keeps_to_the_region_of_each_start():
    space = [(np.array([[1.0]]), np.array([-10.0]))]
    prop = make_property([((np.array([0.0]), np.array([1.0])), space), ((np.array([2.0]), np.array([3.0])), space)])

    identity = Network((), (1,), 1)
    starts = uniform(make_regions(prop.lower, prop.upper), jax.random.key(1), 64)
    found, least = seek(identity, {}, prop, make_regions(prop.lower, prop.upper), starts)
    above = np.asarray(found.inputs[:, 0]) - 2.0 * np.asarray(starts.tags)
    assert ((above >= 0) & (above <= 1)).all() and (above <= 0.01).sum() >= 16, "the long descents reach the end"
    assert (found.inputs <= starts.inputs).all()
    np.testing.assert_allclose(least, found.inputs[:, 0] + 10, atol=1e-5)
