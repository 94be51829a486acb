"""What is decided and what is proved depends neither on the default device nor on JAX's flags."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_networks

from archrepair_jax.errors import InputError
from archrepair_jax.line import regions as line
from archrepair_jax.line.region_settings import RegionSettings
from archrepair_jax.localization import LocalizationSettings, localize
from archrepair_jax.models.families.mlp import mlp
from archrepair_jax.models.network import Network
from archrepair_jax.proof import branch_and_bound as proof
from archrepair_jax.proof.bounds import certain_slack
from archrepair_jax.regions.properties import make_property
from archrepair_jax.regions.sampling import draw_cells, make_regions, uniform
from archrepair_jax.repair import regions
from archrepair_jax.repair.architecture import Recalibration
from archrepair_jax.repair.edits import Replaced
from archrepair_jax.repair.imitation.cases import Cases, Original
from archrepair_jax.repair.imitation.retraining import ImitationRetrainingSettings, retrain
from archrepair_jax.repair.imitation.tuning import ImitationTuningSettings, tune_neurons
from archrepair_jax.repair.problem import logits
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.search.bilevel import SearchSettings
from archrepair_jax.search.cell import random_genotype
from archrepair_jax.search.selection import validation_judge
from archrepair_jax.training.batches import plain_pool
from archrepair_jax.training.descent import TuningSettings, start_state, tuning_step
from archrepair_jax.training.loop import Loop
from archrepair_jax.training.parallel import choose_devices
from archrepair_jax.training.swarm import SwarmSettings
from archrepair_jax.views.attacks import attacked
from archrepair_jax.views.view import View

DEVICES, KEY = choose_devices(8), jax.random.key(0)
LOOP = Loop(DEVICES[:2])
TUNING = TuningSettings(batch_size=8)
IMAGES = tiny_networks.vector_network()
IMAGES_VARIABLES = tiny_networks.random_variables(IMAGES)
FAILING, PASSING = (tiny_networks.random_examples(IMAGES, 4, seed) for seed in (0, 1))
NETWORK = Network(mlp(2, widths=(8, 8)), (2,), 2)
VARIABLES = jax.device_get(NETWORK.init(jax.random.key(3)))
BOX = make_regions(np.array([[-1.0, -1.0]]), np.array([[1.0, 1.0]]))
DRAWN = jax.device_get(uniform(BOX, KEY, 64))
SCORES = np.asarray(NETWORK.apply(VARIABLES, DRAWN.inputs))[:, 0]
CELLS = jax.device_get(draw_cells(BOX, KEY, 8))


def below(level: float):
    """Unsafe: the first output is at most ``level``."""
    return make_property([((BOX.lower[0], BOX.upper[0]), [(np.array([[1.0, 0.0]]), np.array([level]))])])


HALF = below(float(np.median(SCORES)))
ORIGINAL = Original(NETWORK, VARIABLES, regions.DECISIONS["largest"])
PROBLEM = regions.RegionProblem(ORIGINAL, HALF, BOX, BOX)
WRONG = SCORES <= np.median(SCORES)
CASES = Cases(regions.take(DRAWN, WRONG), regions.take(DRAWN, ~WRONG), DRAWN, HALF, CELLS)


@functools.cache
def searched():
    return tiny_networks.small_search(IMAGES, "layer2", ("dense", "gated_dense"), TUNING)


def evaluate():
    logits(IMAGES, IMAGES_VARIABLES, FAILING[0], LOOP.devices)


def convolve():
    network = tiny_networks.plain_network()
    network.apply(tiny_networks.random_variables(network), np.zeros((1, *network.image_shape), np.float32))


def attack():
    attacked(IMAGES, IMAGES_VARIABLES, *FAILING, View("fgsm", 3), KEY)


def rank_blocks():
    settings = LocalizationSettings(adversary="fgsm", bootstrap=2)
    localize(IMAGES, IMAGES_VARIABLES, FAILING, PASSING, settings, KEY)


def choose_operations():
    search, state, data = searched()
    validation_judge(search, data, SearchSettings(selection_examples=8), LOOP)(state, data.masks)


def measure_statistics():
    search, _, data = searched()
    network = Replaced("layer2", random_genotype(search.relaxation.space, KEY)).apply(IMAGES)
    settings = RepairSettings(tuning=TUNING, recalibration_batches=1)
    variables = tiny_networks.random_variables(network)
    Recalibration(network, variables, "layer2", settings).measure(variables, data.train, LOOP)


def look_for_violations():
    regions.examples(PROBLEM, regions.SamplingSettings(scan=64, starts=8, positives=16), KEY)


def compare_on_regions():
    regions.fidelity(PROBLEM, NETWORK, VARIABLES, KEY)


def scale_neurons():
    settings = ImitationTuningSettings(neurons=4, chunk=16, swarm=SwarmSettings(particles=4, iterations=3))
    tune_neurons(ORIGINAL, CASES, settings, KEY)


def imitate():
    settings = ImitationRetrainingSettings(neighbours=3, steps=1, cells=4, batch_size=16)
    retrain(ORIGINAL, CASES, settings, KEY, LOOP)


def bound_cells():
    cells = jax.tree.map(jnp.asarray, CELLS)
    slack = jax.jit(lambda variables: certain_slack(NETWORK, variables, HALF, cells).sum())
    jax.grad(slack)(VARIABLES)


def descend():
    rates = dict.fromkeys(IMAGES.names, 1.0)
    step = tuning_step(IMAGES, rates, TUNING, train=True)
    state = start_state(IMAGES_VARIABLES, rates, TUNING, 1)
    LOOP.run("tuning", step, state, (IMAGES_VARIABLES, plain_pool(*FAILING, IMAGES.num_classes, KEY)), steps=1)


@pytest.fixture
def flags():
    """Sets flags of JAX for one test."""
    before = {}

    def set_flags(**values):
        for name, value in values.items():
            before.setdefault(name, getattr(jax.config, name))
            jax.config.update(name, value)

    yield set_flags
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture
def products(tmp_path):
    """The inner products that are compiled while something is done: which precision each factor is to have."""

    def compiled(work) -> list[list[str]]:
        jax.config.update("jax_dump_ir_to", str(tmp_path))
        try:
            work()
        finally:
            jax.config.update("jax_dump_ir_to", "")
        lines = [line for file in tmp_path.iterdir() for line in file.read_text().splitlines()]
        return [
            re.findall("DEFAULT|HIGHEST", line)
            for line in lines
            if re.search(r"= stablehlo\.(dot_general|convolution)", line)
        ]

    return compiled


@pytest.mark.slow
@pytest.mark.parametrize(
    "work",
    [
        evaluate,
        convolve,
        attack,
        rank_blocks,
        choose_operations,
        measure_statistics,
        look_for_violations,
        compare_on_regions,
        scale_neurons,
        imitate,
        bound_cells,
    ],
)
def test_what_is_decided_keeps_all_digits_whatever_the_flag(work, flags, products):
    searched()  # what comes before a choice is none
    flags(jax_default_matmul_precision="bfloat16", jax_default_device=DEVICES[3])
    found = products(work)
    assert found and all(precision == ["HIGHEST", "HIGHEST"] for precision in found)


@pytest.mark.slow
@pytest.mark.parametrize("work", [evaluate, attack, look_for_violations])
def test_so_it_does_in_double_precision(work, flags, products):
    flags(jax_default_matmul_precision="bfloat16", jax_enable_x64=True)
    found = products(work)
    assert found and all(precision == ["HIGHEST", "HIGHEST"] for precision in found)


@pytest.mark.slow
@pytest.mark.parametrize(("flag", "precision"), [("bfloat16", "DEFAULT"), ("highest", "HIGHEST")])
def test_steps_of_descent_leave_it_to_the_flag(flag, precision, flags, products):
    flags(jax_default_matmul_precision=flag)
    found = products(descend)
    assert found and all(each == [precision, precision] for each in found)


@pytest.fixture
def proving(monkeypatch):
    """Proves that the first output stays above a level; gives the verdict, and of what type and where arrays were."""
    look_at, seen = proof.look_at, set()

    def watched(*arguments):
        look = look_at(*arguments)
        seen.update((str(array.dtype), *array.devices()) for array in look if array.dtype != bool)
        return look

    monkeypatch.setattr(proof, "look_at", watched)

    def prove(prop, variables=VARIABLES):
        seen.clear()
        verdict = proof.prove(NETWORK, variables, prop)
        return (verdict.status, verdict.looked_at, verdict.child.tolist(), *map(np.ndarray.tolist, verdict.boxes)), seen

    return prove


@pytest.mark.slow
@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("device", [None, DEVICES[3]])
@pytest.mark.parametrize("precision", [None, "bfloat16", "BF16_BF16_F32"])
def test_proofs_are_in_float64_on_the_cpu_whatever_the_flags(precision, device, x64, flags, proving):
    level = float(np.float32(SCORES.min() - 0.05))
    expected, _ = proving(below(level))
    assert expected[0] == proof.PROVED and expected[1] > 1
    flags(jax_default_matmul_precision=precision, jax_default_device=device, jax_enable_x64=x64)
    assert proving(below(level)) == (expected, {("float64", jax.devices("cpu")[0])})
    elsewhere = jax.device_put((below(level), VARIABLES), DEVICES[5])
    assert proving(*elsewhere) == (expected, {("float64", jax.devices("cpu")[0])})


def test_without_a_cpu_a_proof_is_refused_before_the_repair(monkeypatch, tmp_path):
    def no_cpu(**_):
        raise RuntimeError("Unknown backend cpu")

    monkeypatch.setattr(jax, "local_devices", no_cpu)
    with pytest.raises(InputError, match="add ,cpu to it"):
        proof.prove(NETWORK, VARIABLES, HALF)
    with pytest.raises(InputError, match="add ,cpu to it"):
        line.run(RegionSettings(), tmp_path)
