"""What symptoms are seen, what they suggest, and how techniques move; no training but where symptoms are looked for."""

import jax
import numpy as np
import pytest
from tiny_subject import DATA, FAULTY

from archrepair_jax.errors import InputError
from archrepair_jax.programs.layers import dense
from archrepair_jax.programs.program import Program
from archrepair_jax.programs.space import Interval, space
from archrepair_jax.programs.symptoms import observe
from archrepair_jax.programs.techniques import TECHNIQUES
from archrepair_jax.programs.techniques.autotrainer import remedied, symptom
from archrepair_jax.programs.techniques.contract import Tried
from archrepair_jax.programs.techniques.guided import STEADY, guided
from archrepair_jax.programs.techniques.local import neighbours
from archrepair_jax.programs.techniques.samplers import placed
from archrepair_jax.programs.techniques.suspicions import suspicions
from archrepair_jax.programs.training import train
from archrepair_jax.training.ledger import GRADIENT, Ledger

HEALTHY = FAULTY.changed({"ki1": "he_uniform"})
WELL = {
    "finite": True, "gradients": [0.1, 0.1], "zeros": 0.0, "dead": [0.0, 0.0], "saturated": [0.0, 0.0],
    "constant": [False, False], "first": 0.7, "last": 0.1, "falling": 0.01, "swings": 0.0,
}  # fmt: skip


def where(program=HEALTHY, name="S1"):
    return space(name, program, DATA, ("unit1",), 20, jax.random.key(0))


def seen(program):
    run = train(program, DATA, jax.random.key(0), Ledger())
    before = run.ledger.spent.passes
    found = observe(run)
    assert run.ledger.spent.passes == before + GRADIENT * 32
    return found


def test_a_layer_that_starts_at_zero_is_seen_dead_and_constant():
    symptoms = seen(FAULTY)
    assert symptoms["dead"][0] == 1.0 and symptoms["constant"] == [True, True] and symptoms["gradients"][0] == 0
    well = seen(HEALTHY)
    assert well["constant"] == [False, False] and well["finite"] and well["last"] < well["first"]


def test_saturation_and_what_is_not_finite_are_seen():
    stiff = Program((dense(4, "sigmoid", ki="ones", bi="ones"), dense(2, "softmax")), "hinge", "sgd", 1e-3, 16, 2)
    assert seen(stiff)["saturated"][0] == 0.0 and seen(FAULTY.changed({"lr": 1e30, "ki1": "ones"}))["finite"] is False
    wide = stiff.changed({"ki1": "unit_normal"})
    run = train(wide, DATA, jax.random.key(0), Ledger())
    run.state[0]["layer1_0"]["kernel"] = 100 * np.asarray(run.state[0]["layer1_0"]["kernel"])
    assert observe(run)["saturated"][0] > 0.9


@pytest.mark.parametrize(
    ("program", "symptoms", "first"),
    [
        (FAULTY, {}, ("ki1", "he_uniform")),
        (HEALTHY.changed({"act2": "linear"}), {}, ("act2", "softmax")),
        (HEALTHY.changed({"act1": "hard_sigmoid"}), {"saturated": [0.9, 0.0]}, ("act1", "relu")),
        (HEALTHY.changed({"act1": "tanh"}), {"constant": [True, True]}, ("act1", "relu")),
        (HEALTHY, {"last": 0.699, "first": 0.7}, ("lr", HEALTHY.lr * 10)),
        (HEALTHY, {"finite": False}, ("lr", HEALTHY.lr / 100)),
        (HEALTHY, {"last": 0.9}, ("lr", HEALTHY.lr / 100)),
    ],
)
def test_the_heaviest_suspicion_is_what_a_textbook_says(program, symptoms, first):
    best = suspicions(where(program), program, {**WELL, **symptoms})[0]
    assert (best.field, best.value) == first


def test_suspicions_stay_in_the_space_and_come_once():
    for program in (FAULTY, HEALTHY, HEALTHY.changed({"act2": "linear"})):
        own = where(program)
        found = suspicions(own, program, {**WELL, "falling": 0.9, "dead": [0.9, 0.0]})
        assert all(own.holds(each.field, each.value) and each.value != program.fields[each.field] for each in found)
        assert len({(each.field, each.value) for each in found}) == len(found)
        assert [each.weight for each in found] == sorted((each.weight for each in found), reverse=True)


@pytest.mark.parametrize(
    ("domain", "value", "others"),
    [
        (Interval(1e-5, 1.0, log=True), 0.5, [0.05]),
        (("a", "b", "c"), "b", ["a", "c"]),
        ((64, 16, 32, 128), 32, [16, 64]),
        ((16, 32), 32, [16]),
    ],
)
def test_neighbours_are_one_step_away(domain, value, others):
    assert neighbours(domain, value) == others


def test_local_search_moves_to_what_is_better_and_ends_where_nothing_is():
    own = where()
    moves = TECHNIQUES["local"].moves(own, np.random.default_rng(0))
    values, tried, best = next(moves), [], None
    with pytest.raises(StopIteration):
        while True:
            tried.append(values)
            score = float(values["batch_size"] == 32) + float(values["act1"] == "tanh")
            best = max(best or (0.0, values), (score, values), key=lambda pair: pair[0])
            values = moves.send(Tried(values, score))
    assert best[0] == 2.0 and tried[0] == own.origin
    differ = [sum(each[name] != before[name] for name in each) for before, each in zip(tried, tried[1:], strict=False)]
    assert max(differ) <= 2  # from one to another single edit of the same values


def test_ours_keeps_back_what_confirming_costs():
    own = where()
    moves = guided(own, np.random.default_rng(0))
    values, left, scores = next(moves), 8.0, []
    try:
        while True:
            left -= 1.1 * values["epochs"] / own.faulty.epochs
            assert left > -1e-9
            scores.append((values, 0.9 if values["optimizer"] == "sgd" else 0.5))
            values = moves.send(Tried(values, scores[-1][1], symptoms=WELL, left=left))
    except StopIteration:
        pass
    assert scores[-1] == scores[-2] and scores[-1][0] != own.origin or all(score == 0.5 for _, score in scores)


def play(technique: str, own, scores, budget: float = 20.0):
    """Plays a technique's moves; ``scores`` gives one for values and how often they were tried before."""
    moves = TECHNIQUES[technique].moves(own, np.random.default_rng(0))
    values, tried, left = next(moves), [], budget
    try:
        while True:
            left -= 1.1 * values["epochs"] / own.faulty.epochs
            score = scores(values, sum(values == each for each in tried))
            tried.append(values)
            values = moves.send(Tried(values, score, symptoms=WELL, left=left))
    except StopIteration:
        return tried


def test_ours_finds_faults_that_help_only_together():
    own = where(HEALTHY.changed({"act2": "linear", "ki1": "ones"}))
    tried = play("guided", own, lambda values, _: float(values["act2"] == "softmax" and values["ki1"] != "ones"))
    assert len(tried) <= 3 + STEADY and tried[-1] == tried[-STEADY] and tried[-1]["act2"] == "softmax"


def test_ours_leaves_what_was_only_lucky_the_faulty_program_too():
    own = where()

    def scores(values, before):
        if values["lr"] == own.faulty.lr * 10:
            return 0.9
        return 1.0 if values == own.origin and not before else 0.4

    tried = play("guided", own, scores)
    assert tried[:2] == [own.origin, own.origin]  # perfect at first, and tried again
    assert tried[-1]["lr"] == own.faulty.lr * 10 and tried[-1] == tried[-2]


@pytest.mark.parametrize(
    ("changes", "looks", "score", "issue"),
    [
        ({}, {"0.3": 0.8, "0.6": 0.9}, 0.95, ""),
        ({"finite": False}, {}, 0.0, "exploding gradient"),
        ({"zeros": 0.8}, {"0.3": 0.5}, 0.5, "dying relu"),
        ({"gradients": [100.0, 1.0]}, {"0.3": 0.5}, 0.5, "exploding gradient"),
        ({"gradients": [1e-6, 1.0]}, {"0.3": 0.5}, 0.5, "vanishing gradient"),
        ({}, {"0.3": 0.001, "0.6": 0.002}, 0.003, "slow convergence"),
        ({"swings": 0.5}, {"0.3": 0.8}, 0.9, "oscillating loss"),
    ],
)
def test_autotrainer_s_symptoms(changes, looks, score, issue):
    assert symptom(Tried({}, score, looks=looks, symptoms={**WELL, **changes}), 8) == issue


def test_autotrainer_s_remedies_come_in_their_order_and_stay_in_the_space():
    own, random = where(HEALTHY, "S0"), np.random.default_rng(0)
    found = list(remedied(own, own.origin, "dying relu", random))
    assert found[0]["act1"] == "selu" and found[0]["ki1"] == "lecun_uniform" and found[-1]["act1"] == "elu"
    rates = [each["lr"] for each in remedied(own, own.origin, "slow convergence", random)][3:6]
    assert rates == pytest.approx([0.001, 0.01, 0.1])  # upwards
    for each in found:
        assert all(own.holds(field, value) for field, value in each.items())


def test_a_scrambled_sequence_covers_every_domain():
    assert [placed(("a", "b"), at) for at in (0.0, 0.49, 0.5, 0.99)] == ["a", "a", "b", "b"]
    assert placed(Interval(1e-4, 1.0, log=True), 0.5) == pytest.approx(1e-2)
    moves = TECHNIQUES["quasi_random"].moves(where(), np.random.default_rng(0))
    assert next(moves) == where().origin
    drawn = [next(moves) for _ in range(32)]
    assert len({each["act1"] for each in drawn}) == len(where().domains["act1"])


def test_the_gaussian_process_says_what_it_needs(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs PyTorch"):
        TECHNIQUES["gp"].sampler(0)
