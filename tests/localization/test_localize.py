"""Localization as a user meets it: planted faults, few examples, every level and every reading."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

from archrepair_jax.errors import InputError
from archrepair_jax.localization import Localization, LocalizationSettings, localize
from archrepair_jax.localization.evidence import sample
from archrepair_jax.models import ModelSettings, build
from archrepair_jax.models.formats.weights import load_weights

KEY = jax.random.key(0)
NETWORK = build(ModelSettings(name="mlp", widths=(32, 32, 32, 32)), (8, 8, 1), 10)
LAYERS = ("layer1", "layer2", "layer3", "layer4")
QUICK = LocalizationSettings(bootstrap=5, examples=20)


@pytest.fixture(scope="module")
def digits():
    """Real digits, 8x8 uint8: 1000 to train on, 797 to fail on."""
    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    images, labels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[order, ..., None], bunch.target[order]
    return (images[:1000], labels[:1000]), (images[1000:], labels[1000:])


@pytest.fixture(scope="module")
def trained(digits):
    images, labels = (jnp.asarray(part) for part in digits[0])
    optimizer = optax.adam(3e-3)

    def step(state, key):
        variables, moments = state
        batch = jax.random.choice(key, len(images), (100,))

        def loss(params):
            logits = NETWORK.apply({**variables, "params": params}, images[batch] / 255)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels[batch]).mean()

        updates, moments = optimizer.update(jax.grad(loss)(variables["params"]), moments)
        return ({**variables, "params": optax.apply_updates(variables["params"], updates)}, moments), None

    variables = NETWORK.init(KEY)
    start = variables, optimizer.init(variables["params"])
    return jax.jit(lambda: jax.lax.scan(step, start, jax.random.split(KEY, 300))[0][0])()


@pytest.fixture(scope="module")
def planted(digits, trained):
    """{(block, seed): (damaged variables, newly failing examples, passing ones)}"""
    images, labels = digits[1]
    classify = jax.jit(NETWORK.apply)

    def right(variables):
        return np.asarray(classify(variables, images / np.float32(255))).argmax(-1) == labels

    faults, before = {}, right(trained)
    for block, seed in itertools.product(LAYERS, range(3)):
        damaged = damage(trained, block, seed)
        after = right(damaged)
        new = before & ~after
        faults[block, seed] = damaged, (images[new], labels[new]), (images[after], labels[after])
    return faults


def damage(variables, block, seed):
    """Flips the sign of the weights of half of the neurons in each of the block's layers."""
    rng = np.random.default_rng(seed)

    def flip(path, leaf):
        if path[-1].key != "kernel":
            return leaf
        hit = rng.choice(leaf.shape[-1], leaf.shape[-1] // 2, replace=False)
        return leaf * jnp.ones(leaf.shape[-1]).at[hit].set(-1)

    own = jax.tree_util.tree_map_with_path(flip, variables["params"][block])
    return {**variables, "params": {**variables["params"], block: own}}


@pytest.fixture(scope="module")
def fault(planted):
    return planted["layer4", 0]


def find(fault, key=KEY, **changes) -> Localization:
    return localize(NETWORK, *fault, dataclasses.replace(QUICK, **changes), key)


@pytest.mark.slow
@pytest.mark.parametrize("combine", ["product", "gradient"])
def test_planted_faults_are_found_better_than_by_chance(planted, combine):
    """By chance the damaged block of four has the mean place 2.5, and 3 of the 12 faults are found."""
    settings = LocalizationSettings(combine=combine, bootstrap=0)
    places = []
    for (block, _), fault in planted.items():
        found = localize(NETWORK, *fault, settings, KEY)
        places.append(1 + [unit.block for unit in found.units].index(block))
    assert np.mean(places) <= 2.0
    assert places.count(1) >= 5


@pytest.mark.slow
def test_a_clear_fault_is_found_with_confidence(fault):
    first, second, *_ = find(fault, examples=100, bootstrap=50).units
    assert first.name == first.block == "layer4" and first.neurons == 32
    assert first.probability > 0.9
    assert first.low > second.score
    assert first.low <= first.score <= first.high


@pytest.mark.slow
def test_a_fault_in_a_real_network_is_found(real_data):
    """Not every time: few examples pass. It is always among the first two of ten blocks, and half of the time first."""
    settings = ModelSettings(name="resnet20", mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010))
    network = build(settings, (32, 32, 3), 10)
    variables = load_weights(real_data / "models" / "resnet20_cifar10.npz", network, settings)
    with np.load(real_data / "cifar10.npz") as cifar:
        images, labels = cifar["x_test"][:1000], cifar["y_test"][:1000].ravel()
    damaged = damage(variables, "stage2_block2", seed=0)
    before, after = (np.asarray(jax.jit(network.apply)(v, images / np.float32(255))) for v in (variables, damaged))
    new, still = (before.argmax(-1) == labels) & (after.argmax(-1) != labels), after.argmax(-1) == labels
    failing, passing = ((images[chosen], labels[chosen]) for chosen in (new, still))
    settings = dataclasses.replace(QUICK, examples=100, bootstrap=0)
    found = [localize(network, damaged, failing, passing, settings, jax.random.key(seed)) for seed in range(4)]
    assert all("stage2_block2" in [unit.name for unit in each.units[:2]] for each in found)
    assert sum(each.suspect == "stage2_block2" for each in found) >= 2
    assert len(found[0].units) == 10  # the stem and nine blocks


@pytest.mark.slow
def test_ten_failing_examples_are_enough(fault):
    variables, (images, labels), passing = fault
    found = find((variables, (images[:10], labels[:10]), passing), bootstrap=50)
    assert found.suspect == "layer4"
    assert found.units[0].probability > 0.5


@pytest.mark.slow
def test_the_same_key_gives_the_same_answer(fault):
    assert find(fault) == find(fault)
    assert find(fault) != find(fault, key=jax.random.key(1))


def test_bytes_and_floats_are_the_same_images(fault):
    variables, *examples = fault
    floats = [(images / np.float32(255), labels) for images, labels in examples]
    assert find((variables, *floats)) == find(fault)


def test_units_of_every_level(fault):
    blocks, layers, neurons = (find(fault, level=level).units for level in ("block", "layer", "neuron"))
    assert {unit.name for unit in blocks} == set(LAYERS)
    assert {unit.name for unit in layers} == {f"{block}/linear" for block in LAYERS}
    assert {unit.name for unit in neurons} == {f"{block}/linear:{c}" for block in LAYERS for c in range(32)}
    assert [unit.score for unit in blocks] == [unit.score for unit in layers]  # one layer a block
    assert {unit.neurons for unit in neurons} == {1}
    for units in (blocks, layers, neurons):
        assert [unit.score for unit in units] == sorted((unit.score for unit in units), reverse=True)
        assert sum(unit.probability for unit in units) == pytest.approx(1, abs=1e-5)
    # the block with the highest density is the one with most of the vulnerable tenth, for all have one size
    top = [unit.block for unit in neurons[:13]]
    assert blocks[0].score == pytest.approx(top.count(blocks[0].block) / 32)


@pytest.mark.slow
def test_excluded_blocks_take_no_part(fault):
    found = find(fault, exclude=("layer4", "layer1"))
    assert {unit.name for unit in found.units} == {"layer2", "layer3"}
    assert sum(unit.score * unit.neurons for unit in found.units) == pytest.approx(round(0.1 * 64), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"adversary": "fgsm"},
        {"adversary": "pgd"},
        {"adversary": "fgsm", "adversarial": "examples"},
        {"adversary": "pgd", "adversarial": "flips"},
        {"gradient": "contrast"},
        {"gradient": "taylor"},
        {"threshold": "median"},
        {"formula": "ochiai"},
        {"formula": "dstar"},
    ],
    ids=str,
)
def test_every_setting_ranks_all_blocks_and_matters(fault, changes):
    found = find(fault, epsilon=0.1, level="neuron", bootstrap=0, **changes)
    assert all(np.isfinite([unit.score, unit.low, unit.high, unit.probability]).all() for unit in found.units)
    assert len(found.units) == 128
    assert found != find(fault, level="neuron", bootstrap=0)


def test_an_adversary_without_room_changes_nothing(fault):
    for adversarial in ("gradients", "examples"):
        assert find(fault, adversary="pgd", adversarial=adversarial, epsilon=0.0, bootstrap=0) == pytest.approx(
            find(fault, bootstrap=0)
        )


def test_drawing_matches_classes_and_fills_up():
    failing = np.zeros((6, 1, 1, 1), np.uint8), np.array([0, 0, 0, 1, 1, 2])
    passing = np.full((40, 1, 1, 1), 255, np.uint8), np.array([0] * 2 + [1] * 10 + [2] * 10 + [3] * 18)
    (few, few_labels), (as_many, matched) = sample(failing, passing, 100, KEY)
    assert sorted(few_labels.tolist()) == [0, 0, 0, 1, 1, 2]
    counts = np.bincount(matched, minlength=4)
    assert counts[0] == 2 and counts[1] >= 2 and counts[2] >= 1 and counts.sum() == 6  # one 0 is missing
    assert few.max() == 0 and as_many.min() == 1
    assert len(sample(failing, passing, 4, KEY)[1][1]) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"formula": "jaccard"}, "choose from tarantula, ochiai, dstar"),
        ({"level": "channel"}, "block, layer, neuron"),
        ({"adversarial": "flips"}, "needs an adversary"),
        ({"fraction": 0.0}, "fraction"),
    ],
)
def test_settings_that_do_not_exist(changes, message):
    with pytest.raises(InputError, match=message):
        LocalizationSettings(**changes)


@pytest.mark.slow
def test_input_that_cannot_be_localized(fault):
    variables, failing, passing = fault
    nothing = failing[0][:0], failing[1][:0]
    with pytest.raises(InputError, match="nothing to localize.*failing"):
        find((variables, nothing, passing))
    with pytest.raises(InputError, match="nothing to localize.*passing"):
        find((variables, failing, nothing))
    with pytest.raises(InputError, match="layer9"):
        find(fault, exclude=("layer9",))
    with pytest.raises(InputError, match="no block is left"):
        find(fault, exclude=LAYERS)
