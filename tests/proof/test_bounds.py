import fractions

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_networks import random_layers

from archrepair_jax.errors import InputError
from archrepair_jax.models import ModelSettings, build
from archrepair_jax.models.formats.dense import from_layers
from archrepair_jax.proof import bounds
from archrepair_jax.regions.properties import make_property, margin
from archrepair_jax.regions.sampling import draw_cells, make_regions

linear_bounds, outputs = (jax.jit(f, static_argnums=1) for f in (bounds.linear_bounds, bounds.outputs))
least_of = jax.jit(bounds.least)


def box(seed, width):
    lower = np.random.default_rng(seed).uniform(-1, 1, (4, 2))
    return lower, lower + width


def bounded(activation, seed, width):
    layers, name = bounds.chain(*from_layers(random_layers(seed), activation))
    layers = jax.tree.map(lambda array: np.asarray(array, np.float64), layers)
    lower, upper = box(seed, width)
    rows = np.broadcast_to([*(half := np.array([[1.0, -1.0, 0.0], [0.0, 1.0, 2.0]])), *-half], (4, 4, 3))
    with jax.enable_x64(True):
        linear = linear_bounds(layers, name, lower, upper, rows)
        ends = least_of(linear, lower, upper)
        return layers, lower, upper, rows.repeat(2, 1), *jax.tree.map(np.asarray, (linear, ends))


@pytest.mark.slow
@pytest.mark.parametrize("activation", list(bounds.ENCLOSURES))
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), width=st.sampled_from([0.0, 1e-3, 0.3, 2.0]))
def test_what_a_network_computes_lies_within_its_bounds(activation, seed, width):
    layers, lower, upper, rows, linear, least = bounded(activation, seed, width)
    share = np.random.default_rng(seed).uniform(0, 1, (4, 200, 2))
    share[:, :4] = [[0, 0], [0, 1], [1, 0], [1, 1]]
    x = np.clip(lower[:, None] + share * (upper - lower)[:, None], lower[:, None], upper[:, None])
    with jax.enable_x64(True):
        y = np.einsum("bmk,bpk->bpm", rows, np.asarray(outputs(layers, activation, x)))
    assert (y >= least[:, None]).all()
    line = np.einsum("bmd,bpd->bpm", linear.matrix, x) + (linear.offset - linear.radius)[:, None]
    assert (y >= line - 1e-15).all()
    assert (linear.blame >= 0).all() and (linear.blame.sum(-1) <= linear.radius * (1 + 1e-9)).all()
    if width == 0:
        assert (-least[:, 4:] - least[:, :4] < 1e-9).all()


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_rounding_cannot_hide_the_exact_value_at_a_point(seed):
    layers, lower, _, rows, _, least = bounded("relu", seed, 0.0)
    h = [fractions.Fraction(value) for value in lower[0]]
    for depth, layer in enumerate(layers):
        terms = [[fractions.Fraction(w) * x for w, x in zip(row, h, strict=True)] for row in layer.weight]
        h = [sum(row, fractions.Fraction(b)) for row, b in zip(terms, layer.bias, strict=True)]
        h = [max(x, fractions.Fraction(0)) for x in h] if depth < len(layers) - 1 else h
    exact = [sum(fractions.Fraction(w) * x for w, x in zip(row, h, strict=True)) for row in rows[0]]
    for value, low in zip(exact, least[0], strict=True):
        assert fractions.Fraction(float(low)) <= value


@pytest.mark.slow
@pytest.mark.parametrize("activation", list(bounds.ENCLOSURES))
def test_no_input_of_a_cell_has_less_than_its_certain_slack(activation):
    net, variables = from_layers(random_layers(1), activation)
    unsafe = [(np.array([[1.0, -1.0, 0.0], [0.0, 1.0, 2.0]]), np.zeros(2)), (np.array([[0.0, 0.0, 1.0]]), np.ones(1))]
    prop = make_property([((-np.ones(2), np.ones(2)), unsafe)])
    cells = draw_cells(make_regions(prop.lower, prop.upper), jax.random.key(2), 50)
    certain = bounds.certain_slack(net, variables, prop, cells)
    share = np.random.default_rng(0).uniform(0, 1, (300, 50, 2))
    x = np.float32(cells.lower + share * (cells.upper - cells.lower)).reshape(-1, 2)
    slack = margin(prop, np.zeros(len(x), int), net.apply(variables, x)).reshape(300, 50)
    assert (slack.min(0) >= certain - 1e-5).all()
    assert (slack.min(0) - certain < 0.5 * np.ptp(slack)).all(), "it says something"


@pytest.mark.slow
@pytest.mark.parametrize(
    "make, named",
    [
        (lambda: from_layers(random_layers(1), "gelu")[0], "gelu"),
        (lambda: build(ModelSettings(name="convnet"), (28, 28, 1), 3), "input"),
    ],
)
def test_a_network_without_bounds_is_refused_by_what_it_lacks(make, named):
    net = make()
    with pytest.raises(InputError, match=f"no proof for the (block|activation) {named}"):
        bounds.chain(net, net.init(jax.random.key(0)))
