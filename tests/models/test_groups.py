"""Neighbours as one block: the function stays, and so do its neurons; what works on blocks works on groups."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_networks import plain_network, random_examples, random_variables, residual_network, vector_network

from archrepair_jax.errors import InputError
from archrepair_jax.localization import LocalizationSettings, localize
from archrepair_jax.models import ModelSettings, build, cost
from archrepair_jax.models.blocks import Normalize
from archrepair_jax.models.families.densenet import densenet
from archrepair_jax.models.formats.weights import load_variables, load_weights, save_variables
from archrepair_jax.models.groups import group, regroup
from archrepair_jax.models.network import Network
from archrepair_jax.repair.edits import apply
from archrepair_jax.repair.imitation.tuning import fold
from archrepair_jax.search.cell import make_space
from archrepair_jax.training.parallel import AXIS


def dense_network(size: int) -> Network:
    return Network((("input", Normalize((0.5,), (0.25,))), *densenet(4, repeats=(2, 1), growth=4)), (size, size, 1), 4)


GROUPS = {
    "stages": (residual_network(), ("stem+stage1", "stage2+stage3")),
    "pooled": (plain_network(), ("stem+block1",)),
    "vectors": (vector_network(), ("layer1+layer2",)),
    "dense": (dense_network(8), ("stage1+transition1",)),
}


@pytest.fixture(params=GROUPS)
def pair(request):
    """A network and its grouped form, with their variables."""
    network, groups = GROUPS[request.param]
    variables = random_variables(network)
    return (network, variables), regroup(network, variables, groups)


@pytest.fixture
def staged():
    """The residual network and its form with the first two stages grouped, with their variables."""
    network = residual_network()
    variables = random_variables(network)
    return (network, variables), group(network, variables, "stem+stage1")


def shown(network: Network, count: int = 12):
    images, labels = random_examples(network, count)
    return images / np.float32(255), labels


@pytest.mark.slow
def test_the_logits_stay_to_the_last_bit(pair):
    (network, variables), (grouped, its) = pair
    x, _ = shown(network)
    logits = jax.jit(network.apply)(variables, x)
    np.testing.assert_array_equal(jax.jit(grouped.apply)(its, x), logits)
    assert len(grouped.blocks) < len(network.blocks) and float(logits.std()) > 1e-3


@pytest.mark.slow
def test_training_moves_the_same_statistics(pair):
    (network, variables), (grouped, its) = pair
    x, _ = shown(network)

    def train(network, variables):
        run = jax.vmap(lambda x: network.span(variables, x, 0, len(network.blocks), train=True), axis_name=AXIS)
        return jax.jit(run)(x[None])

    (logits, moved), (its_logits, its_moved) = train(network, variables), train(grouped, its)
    np.testing.assert_array_equal(its_logits, logits)
    members = {}
    for name, own in its_moved.items():
        members |= {name: own} if name in network.names else own
    jax.tree.map(np.testing.assert_array_equal, members, moved)


def test_grouped_variables_are_what_the_grouped_network_has(pair, tmp_path):
    (network, variables), (grouped, its) = pair
    assert jax.tree.map(jnp.shape, its) == jax.tree.map(jnp.shape, jax.eval_shape(grouped.init, jax.random.key(0)))
    assert cost.parameters(its) == cost.parameters(variables)
    assert cost.multiply_adds(grouped, its) == cost.multiply_adds(network, variables)
    save_variables(tmp_path / "grouped.safetensors", its)
    jax.tree.map(np.testing.assert_array_equal, load_variables(tmp_path / "grouped.safetensors", grouped), its)


def test_a_network_is_grouped_without_variables_too():
    network, groups = GROUPS["stages"]
    bare, none = regroup(network, {}, groups)
    assert bare == regroup(network, random_variables(network), groups)[0] and none == {}
    assert hash(bare) == hash(regroup(network, {}, groups)[0]) != hash(network)
    assert regroup(network, {}, ()) == (network, {})


@pytest.mark.slow
@pytest.mark.parametrize("threshold", ["zero", "median"])
def test_neurons_are_blamed_as_they_were(staged, threshold):
    settings = LocalizationSettings(level="neuron", bootstrap=3, threshold=threshold)

    def scores(network, variables, prefix):
        x, labels = shown(network)
        ranked = localize(network, variables, (x[:6], labels[:6]), (x[6:], labels[6:]), settings, jax.random.key(0))
        return {unit.name.removeprefix(prefix): unit.score for unit in ranked.units}

    before, after = scores(*staged[0], ""), scores(*staged[1], "stem+stage1/")
    assert before.keys() == after.keys() and "stage1_block1/conv2:3" in after
    assert after == pytest.approx(before, abs=1e-6) and len(set(after.values())) > 10


@pytest.mark.slow
def test_a_group_is_ranked_as_one_block(staged):
    network, variables = staged[1]
    x, labels = shown(network)
    settings = LocalizationSettings(bootstrap=3)
    units = localize(network, variables, (x[:6], labels[:6]), (x[6:], labels[6:]), settings, jax.random.key(0)).units
    assert {unit.name: unit.neurons for unit in units} == {"stem+stage1": 12, "stage2_block1": 16, "stage3_block1": 16}


@pytest.mark.parametrize(
    ("network", "name", "channels", "stride"),
    [
        (residual_network(), "stem+stage1", 4, 1),
        (residual_network(), "stage1+stage2", 8, 2),
        (residual_network(), "stage2+stage3", 8, 4),
        (dense_network(8), "stage1+transition1", 8, 2),
    ],
)
def test_the_space_of_a_group_leads_from_its_first_input_to_its_last_output(network, name, channels, stride):
    space = make_space(*group(network, random_variables(network), name), name, 1, ())
    assert (space.channels, space.stride) == (channels, stride)


@pytest.mark.parametrize(
    ("network", "name", "message"),
    [
        (vector_network(), "layer1+layer2", "turns maps into vectors"),
        (dense_network(9), "stage1+transition1", r"makes \(4, 4\) of maps \(9, 9\), which no stride does"),
    ],
)
def test_a_group_without_a_space_is_told(network, name, message):
    with pytest.raises(InputError, match=message):
        make_space(*group(network, random_variables(network), name), name, 1, ())


@pytest.mark.slow
def test_factors_on_a_groups_outputs(staged):
    (network, variables), (grouped, its) = staged
    x, _ = shown(network)
    factors = jnp.arange(1.0, 5.0)
    edits, before = fold(network, variables, {"stage1_block1": factors})
    its_edits, after = fold(grouped, its, {"stem+stage1": factors})
    scaled = apply(grouped, its_edits)
    np.testing.assert_array_equal(apply(network, edits).apply(before, x), scaled.apply(after, x))
    assert scaled.names == ("input", "stem+stage1", "stem+stage1_scale", "stage2_block1", "stage3_block1", "head")


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            ("stem+stage9",),
            "'stem.stage9' cannot hold 'stage9': name neighbours, or their stage, out of stem, stage1_bl",
        ),
        (("stem+",), "cannot hold ''"),
        (("stage1+stage3",), "'stage1.stage3' is no row of neighbours: add stage2_block1"),
        (("input+stem",), "cannot hold 'input': .* out of stem, stage1_block1, stage2_block1, stage3_block1$"),
        (("stage3+head",), "cannot hold 'head'"),
        (("stem+stage1", "stage1+stage2"), "cannot hold 'stage1': .* out of stage2_block1, stage3_block1$"),
        (("stage1", "stem+stage1"), "cannot hold 'stage1'"),
    ],
)
def test_groups_that_cannot_be(groups, message):
    with pytest.raises(InputError, match=message) as error:
        regroup(residual_network(), {}, groups)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_the_public_resnet20_in_groups(real_data):
    settings = ModelSettings(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    network = build(settings, (32, 32, 3), 10)
    variables = load_weights(real_data / "models" / "resnet20_cifar10.npz", network, settings)
    grouped, its = regroup(network, variables, ("stem+stage1", "stage2", "stage3"))
    with np.load(real_data / "cifar10.npz") as archive:
        images, labels = archive["x_test"][:50] / np.float32(255), archive["y_test"][:50].reshape(-1)
    images = np.clip(images + np.random.default_rng(0).normal(0, 0.1, images.shape), 0, 1).astype(np.float32)
    logits = jax.jit(network.apply)(variables, images)
    np.testing.assert_array_equal(jax.jit(grouped.apply)(its, images), logits)
    right = np.asarray(logits.argmax(-1)) == labels
    sets = [(images[rows], labels[rows]) for rows in (~right, right)]
    assert min(len(rows) for rows, _ in sets) > 5, "noise makes the network fail on some, and on some it does not"
    units = localize(grouped, its, *sets, LocalizationSettings(bootstrap=10), jax.random.key(0)).units
    assert {unit.name: unit.neurons for unit in units} == {"stem+stage1": 112, "stage2": 192, "stage3": 384}
    assert sum(unit.probability for unit in units) == pytest.approx(1)
