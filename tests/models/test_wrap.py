"""A module that knows nothing of us is localized and tuned, and computes what it always did."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_networks import random_leaves

from archrepair_jax.errors import InputError
from archrepair_jax.localization import LocalizationSettings, localize
from archrepair_jax.models.formats.weights import load_variables, save_variables
from archrepair_jax.models.network import Network
from archrepair_jax.models.wrap import wrap, wrap_row
from archrepair_jax.repair.edits import apply
from archrepair_jax.repair.fine_tuning import RateSettings, fine_tune_block
from archrepair_jax.repair.imitation.tuning import fold
from archrepair_jax.repair.problem import Examples, Problem
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.search.cell import make_space
from archrepair_jax.training.descent import TuningSettings
from archrepair_jax.training.ledger import Ledger
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import choose_devices
from archrepair_jax.views.view import CLEAN

SHAPE = (6, 6, 1)


class Features(nn.Module):
    """As people write them."""

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(nn.Conv(4, (3, 3))(x)))
        return nn.relu(nn.Conv(6, (3, 3), strides=2, name="second")(x))


class CNN(nn.Module):
    widths: tuple = (5,)
    classes: int = 3

    @nn.compact
    def __call__(self, x, training=False):
        x = Features()(x, training).mean((1, 2))
        for width in self.widths:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.classes)(x)


class Doubting(nn.Module):
    """Asks the other way round."""

    @nn.compact
    def __call__(self, x, deterministic):
        return nn.Dense(2)(nn.Dropout(0.5, deterministic=deterministic)(x.reshape(len(x), -1)))


class Remembering(nn.Module):
    @nn.compact
    def __call__(self, x):
        self.variable("memory", "last", lambda: jnp.zeros(()))
        return nn.Dense(2)(x.reshape(len(x), -1))


def fresh(module: nn.Module, shape=SHAPE, seed: int = 0, **asked):
    """Variables with random statistics, so that these matter."""
    return random_leaves(jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros((1, *shape)), **asked)), seed)


def images(count: int = 40) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *SHAPE), np.uint8)


@pytest.fixture(scope="module")
def wrapped():
    return wrap(CNN(), fresh(CNN()), SHAPE)


@pytest.fixture(scope="module")
def row():
    """Two modules in a row, the second from flax itself."""
    head = nn.Sequential((lambda x: x.mean((1, 2)), nn.Dense(3)))
    features = fresh(Features())
    return wrap_row([("features", Features(), features), ("head", head, fresh(head, (3, 3, 6)))], SHAPE)


def examples(network: Network, variables, count: int = 40) -> Examples:
    """Labels such that the network is right on about two of three examples."""
    shown = images(count)
    logits = np.asarray(network.apply(variables, shown / np.float32(255)))
    labels = (logits.argmax(-1) + (np.arange(count) % 3 == 0)) % 3
    return Examples(shown, labels.astype(np.int32), logits, (CLEAN,))


@pytest.mark.slow
def test_the_wrapped_function_is_the_modules_own(wrapped):
    network, variables = wrapped
    x, given = images() / np.float32(255), fresh(CNN())
    logits = jax.jit(network.apply)(variables, x)
    np.testing.assert_array_equal(logits, jax.jit(CNN().apply)(given, x))
    assert network.names == ("model",) and network.num_classes == 3 and float(logits.std()) > 1e-2
    y, statistics = network.span(variables, x, 0, 1, train=True)
    expected, updated = CNN().apply(given, x, training=True, mutable=["batch_stats"])
    np.testing.assert_array_equal(y, expected)
    assert not np.array_equal(y, logits)
    jax.tree.map(np.testing.assert_array_equal, statistics["model"]["module"], updated["batch_stats"])


def test_images_are_normalised_if_that_is_asked_for():
    network, variables = wrap(CNN(), fresh(CNN()), SHAPE, mean=(0.5,))
    x = images() / np.float32(255)
    np.testing.assert_array_equal(network.apply(variables, x), CNN().apply(fresh(CNN()), x - np.float32(0.5)))
    assert network.names == ("input", "model")


def test_a_module_is_told_that_it_is_deterministic():
    network, variables = wrap(Doubting(), fresh(Doubting(), deterministic=True), SHAPE)
    x = images() / np.float32(255)
    np.testing.assert_array_equal(
        network.apply(variables, x), Doubting().apply(fresh(Doubting(), deterministic=True), x, deterministic=True)
    )
    with pytest.raises(Exception, match="dropout"):
        network.span(variables, x, 0, 1, train=True)


def test_neurons_are_what_enters_the_activations(wrapped):
    network, variables = wrapped
    x, own = jnp.asarray(images() / np.float32(255)), variables["params"]["model"]["module"]
    _, statuses = network.neurons(variables, x, "model")
    sizes = {layer.removeprefix("module/"): status.shape for layer, status in statuses.items()}
    assert sizes == {"Features_0/Conv_0": (40, 4), "Features_0/second": (40, 6), "Dense_0": (40, 5), "Dense_1": (40, 3)}
    np.testing.assert_array_equal(statuses["module/Dense_1"], network.apply(variables, x))
    bare, statistics = nn.Conv(4, (3, 3)).apply({"params": own["Features_0"]["Conv_0"]}, x).mean((1, 2)), "BatchNorm_0"
    normal = nn.BatchNorm(use_running_average=True).apply(
        {
            "params": own["Features_0"][statistics],
            "batch_stats": variables["batch_stats"]["model"]["module"]["Features_0"][statistics],
        },
        bare,
    )
    np.testing.assert_allclose(statuses["module/Features_0/Conv_0"], normal, atol=1e-5)
    assert np.abs(normal - bare).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("level", ["layer", "neuron"])
def test_a_wrapped_network_is_localized(wrapped, level):
    network, variables = wrapped
    seen = examples(network, variables)
    right = seen.correct.reshape(-1)
    settings = LocalizationSettings(level=level, bootstrap=4)
    sets = [(seen.images[rows], seen.labels[rows]) for rows in (~right, right)]
    units = localize(network, variables, *sets, settings, jax.random.key(0)).units
    layers = {unit.name.split(":")[0] for unit in units}
    own = "model/module"
    assert layers == {f"{own}/Features_0/Conv_0", f"{own}/Features_0/second", f"{own}/Dense_0", f"{own}/Dense_1"}
    assert len({unit.score for unit in units}) > 1 and sum(unit.neurons for unit in units) == 18


@pytest.mark.slow
def test_a_wrapped_network_is_fine_tuned(wrapped):
    network, variables = wrapped
    seen = examples(network, variables)
    problem = Problem(network, variables, "model", lambda part: seen, jax.random.key(1))
    settings = RepairSettings(budget=16 * 40, tuning=TuningSettings(batch_size=16, learning_rate=1e-2, preserve=0.0))
    loop = Loop(choose_devices(1), ledger=Ledger(settings.budget))
    repair = fine_tune_block(problem, settings, RateSettings(), jax.random.key(2), loop)

    def loss(variables):
        logits = network.apply(variables, seen.images / np.float32(255))
        return -float(jax.nn.log_softmax(logits)[np.arange(40), seen.labels].mean())

    assert loss(repair.variables) < loss(variables) - 0.05
    jax.tree.map(np.testing.assert_array_equal, repair.variables["batch_stats"], variables["batch_stats"])
    tuned = repair.variables["params"]["model"]["module"]
    given = {"params": tuned, "batch_stats": variables["batch_stats"]["model"]["module"]}
    x = seen.images / np.float32(255)
    np.testing.assert_array_equal(CNN().apply(given, x), network.apply(repair.variables, x))


def test_a_row_of_modules_can_be_searched_and_scaled_block_by_block(row, tmp_path):
    network, variables = row
    assert network.names == ("features", "head") and network.num_classes == 3
    space = make_space(network, variables, "features", 1, ())
    assert (space.channels, space.stride) == (6, 2)
    x = images() / np.float32(255)
    middle, _ = network.span(variables, x, 0, 1)
    edits, its = fold(network, variables, {"features": jnp.full(6, 2.0)})
    scaled = apply(network, edits)
    assert scaled.names == ("features", "features_scale", "head")
    np.testing.assert_allclose(scaled.apply(its, x), network.span(variables, 2 * middle, 1, 2)[0], rtol=1e-5)
    save_variables(tmp_path / "row.safetensors", variables)
    loaded = load_variables(tmp_path / "row.safetensors", network)
    jax.tree.map(np.testing.assert_array_equal, loaded, variables)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            [("a", Remembering(), {"memory": {}, "params": {}})],
            "a has variables in memory: only params and batch_stats",
        ),
        ([("a", CNN(widths=[5]), {"params": {}})], "a has fields that cannot be hashed: give tuples"),
        ([("a", Features(), fresh(Features()))], r"a gives \(3, 3, 6\) for an image: the last module has to give"),
        ([("a", CNN(), {"params": fresh(CNN())["params"]})], r"a cannot be applied to an array \(1, 6, 6, 1\): "),
        ([("a", CNN(), fresh(CNN())), ("a", CNN(), fresh(CNN()))], "two blocks are called 'a'"),
    ],
)
def test_what_cannot_be_wrapped_is_told_in_one_line(parts, message):
    with pytest.raises(InputError, match=message) as error:
        wrap_row(parts, SHAPE)
    assert "\n" not in str(error.value)
