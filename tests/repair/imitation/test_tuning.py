"""Scaling neurons: which are chosen, what the swarm minimises, and that the factors fold into the network."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_networks

from archrepair_jax.errors import InputError
from archrepair_jax.evaluation.specification import CLASSIFICATION, Specification, label_slack
from archrepair_jax.models import ModelSettings, build
from archrepair_jax.models.blocks import Scale
from archrepair_jax.models.families.mlp import ACTIVATIONS, mlp
from archrepair_jax.models.network import Network
from archrepair_jax.repair.edits import apply
from archrepair_jax.repair.imitation.cases import Cases, Original
from archrepair_jax.repair.imitation.tuning import (
    ImitationTuningSettings,
    behaviour_differences,
    choose_neurons,
    fold,
    tune_neurons,
)
from archrepair_jax.training.batches import Samples
from archrepair_jax.training.swarm import SwarmSettings

FEW = ImitationTuningSettings(neurons=4, chunk=16, swarm=SwarmSettings(particles=8, iterations=15))


def samples(inputs, tags) -> Samples:
    return Samples(jnp.asarray(inputs, jnp.float32), jnp.asarray(tags, jnp.int32))


def hand_made() -> tuple[Network, dict]:
    """Two inputs, two ReLUs that copy them, two outputs that copy those."""
    network = Network(mlp(2, widths=(2,)), (2,), 2)
    linear = {"kernel": jnp.eye(2), "bias": jnp.zeros(2)}
    return network, {"params": {"layer1": {"linear": linear}, "head": {"linear": linear}}, "batch_stats": {}}


def random_cases(network: Network, variables, counts=(10, 21, 9), seed=0) -> Cases:
    """Positives carry the label that the network gives them, negatives another one."""
    rng = np.random.default_rng(seed)

    def some(count, error):
        x = rng.uniform(-1, 1, (count, *network.image_shape))
        return samples(x, (network.apply(variables, jnp.float32(x)).argmax(-1) + error) % network.num_classes)

    return Cases(*(some(count, error) for count, error in zip(counts, (1, 0, 0), strict=True)), context=None)


def scaled(network, variables, factors, x):
    """What ``fold`` has to agree with: blocks' outputs times factors, whatever comes behind."""
    for index, name in enumerate(network.names):
        x, _ = network.span(variables, x, index, index + 1)
        x = x * factors.get(name, 1.0)
    return x


def fractions(network, variables, repaired, cases):
    """Unrepaired, broken, changed positives and changed outside, counted in numpy."""

    def logits(net, own, each):
        return np.asarray(net.apply(own, each.inputs))

    wrong, changed = {}, {}
    for kind in ("negatives", "positives", "outside"):
        each = getattr(cases, kind)
        before, after = logits(network, variables, each), logits(*repaired, each)
        wrong[kind] = np.mean(np.asarray(label_slack(None, each.tags, jnp.asarray(after))) <= 0)
        changed[kind] = np.mean(before.argmax(-1) != after.argmax(-1))
    return wrong["negatives"], wrong["positives"], changed["positives"], changed["outside"]


def test_differences_of_mean_behaviour_by_hand():
    """Means: other numbers of positives than of negatives change nothing, nor do chunks that they do not fill."""
    network, variables = hand_made()
    negatives, positives = samples([[1, 0], [3, 0]], [0, 0]), samples([[0, 4], [0, 5], [3, 6]], [0, 0, 0])
    for chunk in (1, 2, 4, 100):
        differences = behaviour_differences(network, variables, negatives, positives, chunk)
        for block in ("layer1", "head"):
            np.testing.assert_allclose(differences[block], [1.0, 5.0], rtol=1e-6)


@pytest.mark.slow
def test_spatial_behaviour_is_its_mean():
    network = tiny_networks.plain_network()
    variables = tiny_networks.random_variables(network)
    cases = random_cases(network, variables)
    differences = behaviour_differences(network, variables, cases.negatives, cases.positives, 8)
    assert set(differences) == {"stem", "block1", "head"}  # and not the normalisation of the input

    def mean(each):
        return network.span(variables, each.inputs, 0, 2)[0].mean((0, 1, 2))

    expected = jnp.abs(mean(cases.positives) - mean(cases.negatives))
    np.testing.assert_allclose(differences["stem"], expected, atol=1e-5)


def test_the_most_different_neurons_of_all_blocks_are_chosen():
    network, _ = hand_made()
    differences = {"head": np.array([3.0, 0.5]), "layer1": np.array([1.0, 2.0])}
    assert choose_neurons(network, differences, 3) == (("head", 0), ("layer1", 1), ("layer1", 0))
    with pytest.raises(InputError, match="cannot choose 5 of 4 neurons"):
        choose_neurons(network, differences, 5)
    with pytest.raises(InputError, match="cannot choose 0 of 4"):
        choose_neurons(network, differences, 0)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_folding_into_fully_connected_layers_is_exact_for_any_activation(activation):
    network = Network(mlp(3, widths=(7, 6, 5), activation=activation), (4,), 3)
    variables = tiny_networks.random_variables(network)
    rng = np.random.default_rng(0)
    factors = {
        name: rng.uniform(-1, 2, width).astype(np.float32)
        for name, width in (("layer1", 7), ("layer3", 5), ("head", 3))
    }
    x = jnp.asarray(rng.uniform(-1, 1, (40, 4)), jnp.float32)
    edits, own = fold(network, variables, factors)
    assert edits == ()
    folded = network
    np.testing.assert_allclose(folded.apply(own, x), scaled(network, variables, factors, x), atol=1e-5)
    assert float(jnp.abs(folded.apply(own, x) - network.apply(variables, x)).max()) > 0.1
    jax.tree.map(np.testing.assert_array_equal, variables, tiny_networks.random_variables(network))


@pytest.mark.slow
@pytest.mark.parametrize("network", [tiny_networks.plain_network(), tiny_networks.residual_network()])
def test_between_convolutions_a_scale_remains(network):
    variables = tiny_networks.random_variables(network)
    shapes = {name: network.span(variables, jnp.zeros((1, 8, 8, 1)), 0, i + 1)[0].shape[-1] for i, name in
              enumerate(network.names)}  # fmt: skip
    rng = np.random.default_rng(0)
    blocks = network.names[1:]  # without the normalisation of the input
    factors = {name: rng.uniform(-1, 2, shapes[name]).astype(np.float32) for name in blocks}
    x = jnp.asarray(rng.uniform(0, 1, (6, 8, 8, 1)), jnp.float32)
    edits, own = fold(network, variables, factors)
    folded = apply(network, edits)
    assert [name for name, module in folded.blocks if isinstance(module, Scale)] == [f"{n}_scale" for n in blocks[:-2]]
    np.testing.assert_allclose(folded.apply(own, x), scaled(network, variables, factors, x), atol=1e-5)

    edits, own_twice = fold(folded, own, factors)  # a second repair multiplies the scales that the first one left
    assert edits == ()
    squares = {name: factor**2 for name, factor in factors.items()}
    np.testing.assert_allclose(folded.apply(own_twice, x), scaled(network, variables, squares, x), atol=1e-4)


def test_images_that_a_layer_flattens_scale_all_their_pixels():
    stem = dict(tiny_networks.plain_network().blocks)["stem"]
    network = Network((("stem", stem), *mlp(3, widths=(5,))), (4, 4, 1), 3)
    variables = tiny_networks.random_variables(network)
    x = jnp.asarray(np.random.default_rng(0).uniform(0, 1, (6, 4, 4, 1)), jnp.float32)
    factors = {"stem": np.float32([0.5, 2.0, -1.0, 1.5])}
    edits, own = fold(network, variables, factors)
    assert edits == ()
    folded = network
    np.testing.assert_allclose(folded.apply(own, x), scaled(network, variables, factors, x), atol=1e-5)


@pytest.mark.slow
def test_the_first_cost_counts_the_unrepaired_network():
    """One particle is the original: all negatives are wrong, and nothing else is counted."""
    network = tiny_networks.vector_network()
    variables = tiny_networks.random_variables(network)
    cases = random_cases(network, variables)
    alone = dataclasses.replace(FEW, unrepaired=0.7, swarm=SwarmSettings(particles=1, iterations=1))
    tuned = tune_neurons(Original(network, variables, CLASSIFICATION), cases, alone, jax.random.key(0))
    np.testing.assert_allclose(tuned.history, [0.7], rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, tuned.variables, variables)


@pytest.mark.slow
@pytest.mark.parametrize("network", [tiny_networks.vector_network(), tiny_networks.plain_network()])
@pytest.mark.parametrize("fidelity", [0.0, 0.25])
def test_the_last_cost_is_that_of_the_returned_network(network, fidelity):
    """Shares of other numbers each, weighted, of examples that do not fill the last chunk."""
    variables = tiny_networks.random_variables(network)
    cases = random_cases(network, variables)
    weighted = dataclasses.replace(FEW, unrepaired=0.6, broken=0.3, fidelity=fidelity)
    tuned = tune_neurons(Original(network, variables, CLASSIFICATION), cases, weighted, jax.random.key(1))
    shares = fractions(network, variables, (apply(network, tuned.edits), tuned.variables), cases)
    np.testing.assert_allclose(tuned.history[-1], np.dot(shares, [0.6, 0.3, fidelity, fidelity]), atol=1e-6)
    assert tuned.history[-1] <= 0.6 and (np.diff(tuned.history) <= 0).all()
    assert len(tuned.neurons) == 4 and set(tuned.factors) == {block for block, _ in tuned.neurons}
    changed = {(block, channel) for block, own in tuned.factors.items() for channel in np.flatnonzero(own != 1)}
    assert changed <= set(tuned.neurons)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_any_activation_is_repaired(activation):
    """Labels are what the same network says with other factors on its neurons."""
    network = Network(mlp(3, widths=(8, 8), activation=activation), (4,), 3)
    variables = jax.tree.map(lambda x: 3 * x, tiny_networks.random_variables(network))
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.uniform(-1, 1, (2000, 4)), jnp.float32)
    variables["params"]["head"]["linear"]["bias"] -= network.apply(variables, x).mean(0)  # no class is always the best
    _, others = fold(network, variables, {"layer2": rng.uniform(0.5, 1.5, 8).astype(np.float32)})
    wanted, before = (network.apply(own, x).argmax(-1) for own in (others, variables))
    wrong, right = (samples(x[mask], wanted[mask]) for mask in (wanted != before, wanted == before))
    assert len(wrong.inputs) > 50 and len(right.inputs) > 500
    strong = dataclasses.replace(
        FEW, neurons=16, chunk=500, fidelity=0.0, swarm=SwarmSettings(iterations=40, velocity=0.3)
    )
    original, cases = Original(network, variables, CLASSIFICATION), Cases(wrong, right, right, None)
    tuned = tune_neurons(original, cases, strong, jax.random.key(0))
    assert tuned.edits == ()
    after = network.apply(tuned.variables, x).argmax(-1)
    assert (after != wanted)[wanted != before].mean() < 0.5
    assert (after != wanted)[wanted == before].mean() < 0.1


@pytest.mark.slow
def test_the_same_seed_finds_the_same_factors():
    network = tiny_networks.vector_network()
    variables = tiny_networks.random_variables(network)
    cases = random_cases(network, variables)
    wide = dataclasses.replace(FEW, fidelity=0.0, swarm=SwarmSettings(iterations=15, velocity=1.0))
    first, again, other = (
        tune_neurons(Original(network, variables, CLASSIFICATION), cases, wide, jax.random.key(seed)).factors
        for seed in (0, 0, 1)
    )
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert any((first[block] != other[block]).any() for block in first)


@pytest.mark.slow
def test_fidelity_keeps_decisions_that_a_property_does_not_ask_for():
    """Output 0 must not exceed a bound, which scaling anything down achieves; with fidelity, only little is changed."""
    network = Network(mlp(3, widths=(8,)), (4,), 3)
    variables = tiny_networks.random_variables(network)
    x = np.random.default_rng(0).uniform(-1, 1, (2000, 4)).astype(np.float32)
    y = np.asarray(network.apply(variables, x))
    bound = np.quantile(y[:, 0], 0.9).astype(np.float32)
    below = Specification(lambda context, tags, y: context - y[:, 0])
    zeros = np.zeros(len(x))
    wrong = y[:, 0] >= bound
    cases = Cases(samples(x[wrong], zeros[wrong]), samples(x[~wrong], zeros[~wrong]), samples(x, zeros), bound)
    kept = {}
    for fidelity in (0.0, 1.0):
        settings = dataclasses.replace(
            FEW, neurons=8, fidelity=fidelity, swarm=SwarmSettings(iterations=40, velocity=1.0)
        )
        tuned = tune_neurons(Original(network, variables, below), cases, settings, jax.random.key(0))
        after = np.asarray(network.apply(tuned.variables, x))
        assert (after[:, 0] >= bound).sum() < wrong.sum() / 4
        kept[fidelity] = (after.argmax(-1) == y.argmax(-1)).mean()
    assert kept[1.0] > kept[0.0] + 0.05


@pytest.mark.slow
def test_outputs_are_scaled_only_if_wanted():
    network, variables = hand_made()
    cases = Cases(samples([[2, 0]], [1]), samples([[0, 1]], [1]), samples([[1, 2]], [1]), None)
    wanted = dataclasses.replace(FEW, neurons=4)
    tuned = tune_neurons(Original(network, variables, CLASSIFICATION), cases, wanted, jax.random.key(0))
    assert {block for block, _ in tuned.neurons} == {"layer1", "head"}
    unwanted = dataclasses.replace(FEW, neurons=2, outputs=False)
    tuned = tune_neurons(Original(network, variables, CLASSIFICATION), cases, unwanted, jax.random.key(0))
    assert {block for block, _ in tuned.neurons} == {"layer1"}
    with pytest.raises(InputError, match="cannot choose 4 of 2 neurons"):
        unwanted = dataclasses.replace(wanted, outputs=False)
        tune_neurons(Original(network, variables, CLASSIFICATION), cases, unwanted, jax.random.key(0))


@pytest.mark.slow
def test_outputs_alone_may_be_chosen():
    """The output layer takes in factors of its own, so its input is what is kept ready, not its output."""
    network, variables = hand_made()
    variables["params"]["head"] = {"linear": {"kernel": 9 * jnp.eye(2), "bias": jnp.zeros(2)}}
    cases = Cases(samples([[2, 1.5]], [1]), samples([[0, 1]], [1]), samples([[1, 2]], [1]), None)
    settings = dataclasses.replace(FEW, neurons=2, swarm=SwarmSettings(velocity=1.0))
    tuned = tune_neurons(Original(network, variables, CLASSIFICATION), cases, settings, jax.random.key(0))
    assert {block for block, _ in tuned.neurons} == {"head"}
    assert fractions(network, variables, (network, tuned.variables), cases) == (0, 0, 0, 0)


def test_nothing_to_compare():
    network, variables = hand_made()
    some, none = samples([[1, 2]], [1]), samples(np.zeros((0, 2)), [])
    for cases, kind in ((Cases(none, some, some, None), "negatives"), (Cases(some, none, some, None), "positives")):
        with pytest.raises(InputError, match=f"there are no {kind}"):
            tune_neurons(Original(network, variables, CLASSIFICATION), cases, FEW, jax.random.key(0))


@pytest.mark.slow
def test_one_program_for_all_networks_of_the_same_shapes():
    """Other weights, examples, neurons, cost weights and seeds, without tracing what judges the outputs again."""
    traces = []

    def counted(context, tags, y):
        traces.append(y.shape)
        return label_slack(context, tags, y)

    specification = Specification(counted)
    network = build(ModelSettings("mlp", widths=(16, 4)), (4, 4, 1), 4)
    chosen = set()
    for seed in range(4):
        variables = tiny_networks.random_variables(network, seed)
        bias = variables["params"]["layer1"]["linear"]["bias"]
        variables["params"]["layer1"]["linear"]["bias"] = bias + 10  # so that it always holds the first neuron
        cases = random_cases(network, variables, seed=seed)
        settings = dataclasses.replace(FEW, fidelity=float(seed))
        chosen.add(
            tune_neurons(Original(network, variables, specification), cases, settings, jax.random.key(seed)).neurons
        )
    assert len(chosen) == 4 and all("layer1" in dict(neurons) for neurons in chosen)
    assert len(traces) == 1
