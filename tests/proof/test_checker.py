"""What the checker accepts are proofs: honest ones pass, and whatever is changed in one does not."""

import fractions
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_networks import random_layers

from archrepair_jax.errors import InputError
from archrepair_jax.models.families.mlp import ACTIVATIONS
from archrepair_jax.models.formats.dense import Dense, from_layers, to_layers
from archrepair_jax.models.formats.nnet import Normalization, read_nnet, write_nnet
from archrepair_jax.models.formats.onnx import write_onnx
from archrepair_jax.proof import branch_and_bound as proof
from archrepair_jax.proof import checker
from archrepair_jax.proof.bounds import Affine, least, linear_bounds
from archrepair_jax.proof.branch_and_bound import ProofSettings, prove
from archrepair_jax.proof.certificate import fingerprint, make_certificate, read_certificate, write_certificate
from archrepair_jax.proof.checker import Rejected, check
from archrepair_jax.regions.properties import make_property
from archrepair_jax.regions.vnnlib import read_vnnlib

BOX = (np.array([-1.0, -1.0]), np.array([1.0, 1.0]))
GRID = np.stack(np.meshgrid(*2 * [np.linspace(-1, 1, 201)]), -1).reshape(-1, 2)
ROWS = np.array([[1.0, -1.0, 0.0], [1.0, 0.0, -1.0]])  # the first output is the least
SETTINGS = ProofSettings(max_boxes=5_000)


def reference(layers, activation, x):
    with jax.enable_x64(True):
        for layer in layers[:-1]:
            x = np.asarray(ACTIVATIONS[activation](jnp.asarray(x @ layer.kernel + layer.bias)))
    return x @ layers[-1].kernel + layers[-1].bias


def unsafe_below(network, variables, gap):
    """A property of the whole box that holds, or is violated, by ``gap``; a part of it as a second region."""
    level = (reference(*to_layers(network, variables), GRID) @ ROWS.T).max(-1).min() - gap
    first, second = (ROWS, np.full(2, level)), (ROWS[:1], np.array([-1e6]))
    return make_property([(BOX, [first, second]), ((BOX[0], BOX[0] / 2), [first])])


def certified(network, variables, prop):
    verdict = prove(network, variables, prop, SETTINGS)
    assert verdict.status == proof.PROVED
    return make_certificate(network, variables, prop, verdict)


@pytest.fixture(scope="module")
def proved():
    """A network, its variables, a property and the certificate of that: 3 roots, and more boxes."""
    network, variables = from_layers(random_layers(1))
    prop = unsafe_below(network, variables, 0.01)
    certificate = certified(network, variables, prop)
    assert len(certificate.child) > 20 and len(certificate.child) == len(certificate.lower) + 3
    return network, variables, prop, certificate


def rejected(network, variables, prop, certificate, match=""):
    with pytest.raises(Rejected, match=match) as caught:
        check(network, variables, prop, certificate)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("activation", list(checker.LINES))
def test_an_honest_proof_is_accepted(activation):
    network, variables = from_layers(random_layers(1), activation)
    prop = unsafe_below(network, variables, 0.01)
    check(network, variables, prop, certified(network, variables, prop))


@pytest.mark.slow
def test_a_proof_of_a_real_network_is_accepted_and_what_is_changed_in_it_is_noticed(acasxu):
    prop = read_vnnlib(acasxu / "vnnlib" / "prop_2.vnnlib", 5, 5)
    network, variables, _ = read_nnet(acasxu / "nnet" / "ACASXU_run2a_4_2_batch_2000.nnet")
    part = prop.replace(upper=prop.lower + (prop.upper - prop.lower) * np.array([1, 0.5, 0.5, 1, 1]))
    certificate = make_certificate(network, variables, part, prove(network, variables, part))
    assert len(certificate.child) > 500
    calls = []
    check(network, variables, part, certificate, report=lambda *progress: calls.append(progress))
    assert calls[-1][0] == calls[-1][1] > len(certificate.child) / 2
    rejected(network, variables, prop, certificate, "another property")
    leaves = np.flatnonzero(certificate.child == -1)[:: len(certificate.child) // 10]
    for box in leaves:
        rejected(network, variables, part, without(certificate, box), "box|corners")
    other, others, _ = read_nnet(acasxu / "nnet" / "ACASXU_run2a_4_3_batch_2000.nnet")
    rejected(other, others, part, certificate, "another network")
    rejected(other, others, part, certificate._replace(network=fingerprint(other, others)), "not shown to be safe")


def without(certificate, box):
    """Without one box that is no root; boxes after it move up, and their parents know."""
    own = len(certificate.child) - len(certificate.lower)
    child = np.delete(certificate.child, box)
    return certificate._replace(
        lower=np.delete(certificate.lower, box - own, 0),
        upper=np.delete(certificate.upper, box - own, 0),
        child=np.where(child >= box, child - 1, child),
    )


def pruned(certificate, box):
    """With ``box`` as a leaf, and all that it was split into removed."""
    child, own = certificate.child, len(certificate.child) - len(certificate.lower)
    gone = np.zeros(len(child), bool)
    for parent in np.flatnonzero(child >= 0):
        gone[child[parent] : child[parent] + 2] |= gone[parent] or parent == box
    place = np.cumsum(~gone) - 1
    child = np.where(np.arange(len(child)) == box, -1, child)[~gone]
    return certificate._replace(
        lower=certificate.lower[~gone[own:]],
        upper=certificate.upper[~gone[own:]],
        child=np.where(child >= 0, place[child], -1),
    )


def test_no_box_can_be_left_out(proved):
    *claim, certificate = proved
    check(*claim, certificate)
    for box in range(3, len(certificate.child)):
        rejected(*claim, without(certificate, box), "box|corners")
    for box in np.flatnonzero(certificate.child >= 0):
        rejected(*claim, pruned(certificate, box), f"box {box} is not shown to be safe")
    for name in ("lower", "upper", "child"):
        rejected(*claim, certificate._replace(**{name: getattr(certificate, name)[:-1]}), "corners")
    for name in ("lower", "upper"):
        certificate = certificate._replace(**{name: getattr(certificate, name)[:-2]})
    rejected(*claim, certificate._replace(child=certificate.child[:-2]), "parts that do not come after it")


@pytest.mark.parametrize("side, step", [("lower", 0.01), ("upper", -0.01), ("lower", np.nan), ("upper", -np.inf)])
def test_no_box_can_be_made_smaller(proved, side, step):
    *claim, certificate = proved
    width = certificate.upper - certificate.lower
    for box, axis in np.ndindex(width.shape):
        corners = getattr(certificate, side).copy()
        corners[box, axis] += step * width[box, axis]
        rejected(*claim, certificate._replace(**{side: corners}), "gap|not shown to be safe")


def test_parts_that_cover_too_little_are_noticed_though_they_meet(proved):
    *claim, certificate = proved
    for parent in np.flatnonzero(certificate.child >= 0):
        first = certificate.child[parent] - 3
        pair = slice(first, first + 2)
        for axis in range(2):
            lower = certificate.lower.copy()
            lower[pair, axis] += 0.1 * (certificate.upper[pair, axis] - lower[pair, axis]).min()
            rejected(*claim, certificate._replace(lower=lower), "gap|not shown to be safe")


def test_a_leaf_that_is_too_large_is_noticed(proved):
    """All leaves as large as their region: the tree is one, but its leaves prove nothing."""
    *claim, certificate = proved
    lower, upper = np.full_like(certificate.lower, -1.0), np.full_like(certificate.upper, 1.0)
    rejected(*claim, certificate._replace(lower=lower, upper=upper), "not shown to be safe")


def test_only_trees_are_accepted(proved):
    *claim, certificate = proved
    inner = np.flatnonzero(certificate.child >= 0)
    last, leaf = inner[-1], np.flatnonzero(certificate.child == -1)[0]
    for box, child, fault in (
        (last, last, f"box {last} has parts that do not come after it"),  # a cycle of one
        (last, inner[0], f"box {last} has parts that do not come after it"),  # a cycle of many
        (last, len(certificate.child) - 1, "do not come after it"),  # the second one does not exist
        (last, np.iinfo(np.int64).max, "do not come after it"),
        (last, -2, "do not come after it"),
        (inner[0], certificate.child[inner[1]], "wrong number of parents"),  # two parents, and none
        (inner[0], certificate.child[inner[0]] + 1, "wrong number of parents"),
        (0, 1, "wrong number of parents"),  # a root as another one's part
        (leaf, certificate.child[last], "do not come after it|wrong number of parents"),
        (last, -1, "wrong number of parents"),  # boxes that belong to nothing
    ):
        changed = certificate.child.copy()
        changed[box] = child
        rejected(*claim, certificate._replace(child=changed), fault)


def test_another_claim_is_not_proved(proved):
    """Neither as it stands nor when the certificate is relabelled; none of these claims is true."""
    network, variables, prop, certificate = proved
    layers, _ = to_layers(network, variables)
    flipped = layers[-1].kernel.copy()
    flipped[:, 2] *= -1
    other, others = from_layers([*layers[:-1], layers[-1]._replace(kernel=flipped)])
    rejected(other, others, prop, certificate, "another network")
    rejected(other, others, prop, certificate._replace(network=fingerprint(other, others)), "not shown to be safe")
    for changed, name in (
        (prop.replace(matrix=-prop.matrix, bound=prop.bound + 10), "matrix"),
        (prop.replace(bound=prop.bound + 0.5), "bound"),
        (prop.replace(upper=prop.upper + 0.25), "upper"),
        (prop.replace(lower=prop.lower[:1], upper=prop.upper[:1]), "lower"),
    ):
        rejected(network, variables, changed, certificate, f"another property: their {name}")
        if name != "lower":
            rejected(network, variables, changed, certificate._replace(prop=changed), "not shown to be safe")
    wider = from_layers([Dense(np.ones((3, 3), np.float32), np.zeros(3, np.float32))])
    rejected(*wider, prop, certificate._replace(network=fingerprint(*wider)), "other numbers of inputs")


def test_a_proof_that_was_not_finished_is_rejected(proved):
    network, variables, prop, _ = proved
    verdict = prove(network, variables, prop, ProofSettings(max_boxes=5))
    assert verdict.status == proof.OPEN
    rejected(network, variables, prop, make_certificate(network, variables, prop, verdict), "not shown to be safe")


def test_a_network_without_bounds_is_refused(proved):
    network, variables = from_layers(random_layers(1), "gelu")
    with pytest.raises(InputError, match="activation gelu"):
        check(network, variables, proved[2], proved[3])


def test_weights_so_large_that_everything_overflows_prove_nothing(proved):
    layers, _ = to_layers(*proved[:2])
    huge = np.float32(1e38)
    deep = [*layers[:2]] + [Dense(np.full((5, 5), huge), np.full(5, huge))] * 9
    for sign in (1, -1):
        network, variables = from_layers([*deep, Dense(np.full((5, 3), sign * huge), np.zeros(3, np.float32))])
        prop = make_property([(BOX, [(np.eye(3)[:1], np.array([0.0]))])])
        certificate = proved[3]._replace(
            network=fingerprint(network, variables), prop=prop, lower=np.zeros((0, 2)), upper=np.zeros((0, 2))
        )
        rejected(network, variables, prop, certificate._replace(child=np.array([-1])), "box 0 is not shown to be safe")


def boxes(seed, width):
    lower = np.random.default_rng(seed).uniform(-1, 1, (4, 2))
    return lower, lower + width


@pytest.mark.slow
@pytest.mark.parametrize("activation", list(checker.LINES))
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), width=st.sampled_from([0.0, 1e-3, 0.3, 2.0]))
def test_what_a_network_computes_lies_within_the_forms(activation, seed, width):
    layers, (lower, upper) = random_layers(seed), boxes(seed, width)
    rows = np.broadcast_to(ROWS, (4, 2, 3))
    slope, offset = checker.forms(layers, activation, lower, upper, rows)
    e = np.random.default_rng(seed).uniform(-1, 1, (4, 200, 2))
    e[:, :4] = [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    x = np.clip((lower + upper)[:, None] / 2 + e * (upper - lower)[:, None] / 2, lower[:, None], upper[:, None])
    y = np.einsum("bmk,bpk->bpm", rows, reference(layers, activation, x)).repeat(2, -1)
    line = np.einsum("bmd,bpd->bpm", slope, e) + offset[:, None]
    assert (y >= line - 1e-13).all()
    if width == 0:
        assert (y - line < 1e-10).all()


@pytest.mark.slow
@pytest.mark.parametrize("activation", list(checker.LINES))
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), width=st.sampled_from([1e-3, 0.3, 2.0]))
def test_what_the_prover_finds_is_found_again(activation, seed, width):
    """The checker's bounds come from other code, but are no looser: else it would reject honest proofs."""
    layers, (lower, upper) = random_layers(seed), boxes(seed, width)
    rows = np.broadcast_to(ROWS, (4, 2, 3))
    slope, offset = checker.forms(layers, activation, lower, upper, rows)
    affine = tuple(Affine(layer.kernel.T, layer.bias) for layer in layers)
    with jax.enable_x64(True):
        linear = jax.jit(linear_bounds, static_argnums=1)(affine, activation, lower, upper, rows)
        ends = np.asarray(jax.jit(least)(linear, lower, upper))
    assert (offset - abs(slope).sum(-1) >= ends).all()


@pytest.mark.slow
@pytest.mark.parametrize("activation", list(checker.LINES))
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), width=st.sampled_from([0.3, 2.0]), share=st.floats(0, 1))
def test_no_unsafe_input_is_left_out(activation, seed, width, share):
    layers, (lower, upper) = random_layers(seed), boxes(seed, width)
    x = lower[:, None] + np.random.default_rng(seed).uniform(0, 1, (4, 300, 2)) * width
    values = reference(layers, activation, x) @ ROWS.T
    bound = np.quantile(values, share / 4, axis=1)
    low, high = checker.leave(layers, activation, lower, upper, np.broadcast_to(ROWS, (4, 2, 3)), bound)
    unsafe = (values <= bound[:, None]).all(-1)
    inside = ((x >= low[:, None]) & (x <= high[:, None])).all(-1)
    assert inside[unsafe].all()
    assert ((low >= lower) & (high <= upper)).all()


@pytest.mark.parametrize("widths", [(2, 6, 5, 3), (40, 3)])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_rounding_cannot_hide_the_exact_value_at_a_point(widths, seed):
    """Outputs that cancel, so that little but rounding is left of them."""
    *layers, last = random_layers(seed, widths)
    point = np.random.default_rng(seed).uniform(-1, 1, (1, widths[0]))
    bias = -reference([*layers, last._replace(bias=np.zeros(3))], "relu", point)[0]
    layers = [*layers, last._replace(bias=bias)]
    slope, offset = checker.forms(layers, "relu", point, point, np.concatenate([np.eye(3), -np.eye(3)])[None])
    h = [fractions.Fraction(value) for value in point[0]]
    for depth, layer in enumerate(layers):
        h = [max(x, fractions.Fraction(0)) for x in h] if depth else h
        h = [
            sum((fractions.Fraction(w) * x for w, x in zip(column, h, strict=True)), fractions.Fraction(bias))
            for column, bias in zip(layer.kernel.T, layer.bias, strict=True)
        ]
    assert not slope.any()
    for value, low in zip(np.repeat([*h, *(-value for value in h)], 2), offset[0], strict=True):
        assert fractions.Fraction(low) <= value <= fractions.Fraction(low) + fractions.Fraction(1e-11)


def test_neurons_that_are_never_active_leave_a_constant():
    first, *rest = random_layers(0)
    layers = [first._replace(bias=np.full(6, -100.0)), *rest]
    slope, offset = checker.forms(layers, "relu", *boxes(0, 0.5), np.broadcast_to(ROWS, (4, 2, 3)))
    assert not slope.any()
    expected = reference(layers, "relu", np.zeros((1, 2))) @ ROWS.T
    np.testing.assert_allclose(offset, np.tile(expected.repeat(2), (4, 1)), atol=1e-12)


VNNLIB = """
(declare-const X_0 Real) (declare-const X_1 Real)
(declare-const Y_0 Real) (declare-const Y_1 Real) (declare-const Y_2 Real)
(assert (and (>= X_0 -1) (<= X_0 1) (>= X_1 -1) (<= X_1 1)))
(assert (and (<= (- Y_0 Y_1) {level}) (<= (- Y_0 Y_2) {level})))
"""


def test_the_command_says_in_one_line_what_it_found(proved, tmp_path, capsys):
    network, variables, _, _ = proved
    paths = certificate, nnet, vnnlib = [str(tmp_path / name) for name in ("proof.npz", "net.nnet", "prop.vnnlib")]
    level = float(unsafe_below(network, variables, 0.01).bound[0, 0, 0])
    (tmp_path / "prop.vnnlib").write_text(VNNLIB.format(level=level))
    write_nnet(nnet, network, variables, Normalization((-1, -1), (1, 1), (0, 0), (1, 1)))
    proof_itself = certified(network, variables, read_vnnlib(vnnlib, 2, 3))
    write_certificate(certificate, proof_itself)

    def run(*arguments):
        code = checker.main([str(argument) for argument in arguments])
        told = capsys.readouterr()
        assert (told.out + told.err).count("\n") == 1 and (not told.out) == (code == 2)
        return code, told.out + told.err

    code, told = run(*paths)
    assert code == 0 and told.startswith(f"proved: {len(proof_itself.child)} boxes checked in ")
    write_onnx(tmp_path / "net.onnx", network, variables)
    assert run(certificate, tmp_path / "net.onnx", vnnlib)[0] == 0
    (tmp_path / "other.vnnlib").write_text(VNNLIB.format(level=level + 0.1))
    assert run(certificate, nnet, tmp_path / "other.vnnlib") == (
        1,
        "rejected: it is about another property: their bound differs\n",
    )
    assert run(certificate, nnet, tmp_path / "missing.vnnlib")[0] == 2
    assert run(certificate, certificate, vnnlib)[0] == 2
    assert run(nnet, nnet, vnnlib) == (2, f"{nnet} is damaged or no certificate: write it again\n")
    assert run(certificate)[0] == 2
    assert len(read_certificate(certificate).child) == len(proof_itself.child)


@pytest.mark.slow
def test_the_checker_does_not_even_load_the_prover():
    code = "import sys, archrepair_jax.proof.checker; print([m for m in sys.modules if m.startswith('archrepair')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "proof.checker" in loaded and not {"proof.branch_and_bound", "proof.bounds"} & set(loaded)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault, violated",
    [
        pytest.param(lambda linear: linear._replace(radius=-linear.radius), 3, id="swapped sign of the radius"),
        pytest.param(lambda linear: linear._replace(offset=-linear.offset), 3, id="swapped sign of the offset"),
        pytest.param(lambda linear: linear._replace(radius=0.9 * linear.radius), 0, id="a little too tight"),
    ],
)
def test_what_an_unsound_prover_proves_is_rejected(proved, fault, violated, monkeypatch):
    """It proves a property that holds, with leaves that are too large, and ``violated`` ones of three that do not."""
    network, variables, holds, _ = proved
    properties = [holds, *(unsafe_below(network, variables, -gap) for gap in (0.01, 0.1, 0.3))]
    sound = proof.linear_bounds
    monkeypatch.setattr(proof, "linear_bounds", lambda *arguments: fault(sound(*arguments)))
    jax.clear_caches()
    verdicts = [(prop, prove(network, variables, prop, SETTINGS)) for prop in properties]
    jax.clear_caches()
    claimed = [(prop, verdict) for prop, verdict in verdicts if verdict.status == proof.PROVED]
    assert len(claimed) == 1 + violated
    for prop, verdict in claimed:
        rejected(network, variables, prop, make_certificate(network, variables, prop, verdict), "not shown to be safe")
