import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_networks import planar_network

from archrepair_jax.models.formats.nnet import read_nnet
from archrepair_jax.proof import branch_and_bound as proof
from archrepair_jax.proof.branch_and_bound import ProofSettings, prove
from archrepair_jax.proof.certificate import make_certificate
from archrepair_jax.proof.checker import check
from archrepair_jax.regions.properties import make_property, margin
from archrepair_jax.regions.vnnlib import read_vnnlib

NETWORK, VARIABLES = planar_network(2, (8, 8), seed=3)
BOX = (np.array([-1.0, -1.0]), np.array([1.0, 1.0]))
GRID = np.stack(np.meshgrid(*2 * [np.linspace(-1, 1, 401)]), -1).reshape(-1, 2)


def below(level):
    """Unsafe: the first output is at most ``level``."""
    return make_property([(BOX, [(np.array([[1.0, 0.0]]), np.array([level]))])])


LEAST = float(NETWORK.apply(VARIABLES, jnp.asarray(GRID, jnp.float32))[:, 0].min())


@pytest.mark.slow
def test_what_holds_is_proved_and_what_does_not_is_refuted():
    assert prove(NETWORK, VARIABLES, below(LEAST - 0.01)).status == proof.PROVED
    prop = below(LEAST + 0.01)
    verdict = prove(NETWORK, VARIABLES, prop)
    assert verdict.status == proof.COUNTEREXAMPLE
    x = verdict.counterexample
    assert (x >= BOX[0]).all() and (x <= BOX[1]).all()
    y = NETWORK.apply(VARIABLES, jnp.asarray(x[None], jnp.float32))
    assert float(margin(prop, np.zeros(1, int), y)[0]) < 1e-5


def test_the_tree_leaves_no_unsafe_input_out():
    """Whatever a cut takes away or a leaf declares safe is safe on a fine grid; the leaves hold what is left."""
    level = LEAST - 0.001
    verdict = prove(NETWORK, VARIABLES, below(level))
    boxes, child = verdict.boxes, verdict.child
    assert len(child) > 1 and verdict.looked_at == len(child)
    y = np.asarray(NETWORK.apply(VARIABLES, jnp.asarray(GRID, jnp.float32))[:, 0])
    near = GRID[y < level + 0.02]
    inside = ((near[:, None] >= boxes.lower) & (near[:, None] <= boxes.upper)).all(-1)
    assert inside[:, 0].all()
    assert (np.sort(np.concatenate([child[child >= 0], child[child >= 0] + 1])) == np.arange(1, len(child))).all()


def test_every_part_of_a_disjunction_is_proved():
    first, second = (np.array([[1.0, 0.0]]), np.array([LEAST - 0.1])), (np.array([[1.0, 0.0]]), np.array([LEAST + 0.1]))
    both = make_property([(BOX, [first, second])])
    assert prove(NETWORK, VARIABLES, both).status == proof.COUNTEREXAMPLE
    overlapping = make_property([(BOX, [first]), (BOX, [second])])
    assert prove(NETWORK, VARIABLES, overlapping).region == 1
    small = (BOX[0], BOX[0])
    regions = make_property([(small, [first]), (BOX, [first, first])])
    assert prove(NETWORK, VARIABLES, regions).status == proof.PROVED


@pytest.mark.slow
def test_a_proof_that_takes_too_long_says_so():
    settings = ProofSettings(batch_size=1, max_boxes=3)
    assert prove(NETWORK, VARIABLES, below(LEAST - 1e-6), settings).status == proof.OPEN


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda linear: linear._replace(radius=linear.radius - 1.0), id="too tight"),
        pytest.param(lambda linear: linear._replace(matrix=-linear.matrix), id="swapped sign"),
    ],
)
def test_an_unsound_bound_is_noticed(fault, monkeypatch):
    """A sound one refutes all of these properties; that they are violated is known without any bound."""
    properties = [below(LEAST + 0.01 * number) for number in range(1, 6)]
    settings = ProofSettings(max_boxes=2_000)
    assert {prove(NETWORK, VARIABLES, prop, settings).status for prop in properties} == {proof.COUNTEREXAMPLE}
    sound = proof.linear_bounds
    monkeypatch.setattr(proof, "linear_bounds", lambda *arguments: fault(sound(*arguments)))
    jax.clear_caches()
    assert {prove(NETWORK, VARIABLES, prop, settings).status for prop in properties} != {proof.COUNTEREXAMPLE}
    jax.clear_caches()


@pytest.mark.slow
def test_the_original_n2_9_violates_property_2(acasxu):
    prop = read_vnnlib(acasxu / "vnnlib" / "prop_2.vnnlib", 5, 5)
    network, variables, _ = read_nnet(acasxu / "nnet" / "ACASXU_run2a_2_9_batch_2000.nnet")
    verdict = prove(network, variables, prop)
    assert verdict.status == proof.COUNTEREXAMPLE
    y = network.apply(variables, jnp.asarray(verdict.counterexample[None], jnp.float32))
    assert int(y.argmax()) == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", ["3_3", "4_2"])
def test_the_originals_that_have_property_2_are_proved_soon(number, acasxu):
    """With lines of one slope on both sides of an activation, the first of them is open after millions of boxes."""
    prop = read_vnnlib(acasxu / "vnnlib" / "prop_2.vnnlib", 5, 5)
    network, variables, _ = read_nnet(acasxu / "nnet" / f"ACASXU_run2a_{number}_batch_2000.nnet")
    verdict = prove(network, variables, prop, ProofSettings(max_boxes=50_000))
    assert verdict.status == proof.PROVED
    check(network, variables, prop, make_certificate(network, variables, prop, verdict))
