"""VNN-LIB: the ten ACAS Xu properties against their published meaning, formulas at random, and malformed lines."""

import math
import tracemalloc

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archrepair_jax.errors import InputError
from archrepair_jax.regions import vnnlib
from archrepair_jax.regions.properties import margin
from archrepair_jax.regions.vnnlib import LIMIT, read_vnnlib

PI, PI_ = math.pi, 3.141592  # some files round it
SCALES = np.array([[19791.091, 0, 0, 650, 600], [60261, 6.28318530718, 6.28318530718, 1100, 1200]])
FAR = [(55947.691, 60760), (-PI, PI), (-PI, PI), (1145, 1200), (0, 60)]
ANYWHERE = [(0, 60760), (-PI_, PI_), (-PI_, PI_), (100, 1200), (0, 1200)]
BEHIND = (-PI_, -3.136592)
# In the inputs' units: the boxes, and which scores y are unsafe there.
PROPERTIES = {
    1: ([FAR], lambda y: y[0] * 373.94992 + 7.518884 >= 1500),
    2: ([FAR], lambda y: y[0] == max(y)),
    3: ([[(1500, 1800), (-0.06, 0.06), (3.1, PI), (980, 1200), (960, 1200)]], lambda y: y[0] == min(y)),
    4: ([[(1500, 1800), (-0.06, 0.06), (0, 0), (1000, 1200), (700, 800)]], lambda y: y[0] == min(y)),
    5: ([[(250, 400), (0.2, 0.4), BEHIND, (100, 400), (0, 400)]], lambda y: y[4] >= min(y[:4])),
    6: (
        [[(12000, 62000), side, BEHIND, (100, 1200), (0, 1200)] for side in ((0.7, PI_), (-PI_, -0.7))],
        lambda y: y[0] >= min(y[1:]),
    ),
    7: ([ANYWHERE], lambda y: min(y[3:]) <= min(y[:3])),
    8: (
        [[(0, 60760), (-PI_, -2.356194), (-0.1, 0.1), (600, 1200), (600, 1200)]],
        lambda y: min(y[2:]) <= min(y[:2]),
    ),
    9: (
        [[(2000, 7000), (-0.4, -0.14), (-PI_, -3.131592), (100, 150), (0, 150)]],
        lambda y: y[3] >= min(*y[:3], y[4]),
    ),
    10: (
        [[(36000, 60760), (0.7, PI_), (-PI_, -3.131592), (900, 1200), (600, 1200)]],
        lambda y: y[0] >= min(y[1:]),
    ),
}
SMALL = """\
; two inputs, two outputs
(declare-const X_0 Real)
(declare-const X_1 Real)
(declare-const Y_0 Real)
(declare-const Y_1 Real)

(assert (>= X_0 -1))
(assert (<= X_0 1))
(assert (>= X_1 0)) ; a comment (with a parenthesis
(assert (<= X_1 5e-1))

(assert (<= Y_0 Y_1))
"""


@pytest.fixture
def parse(tmp_path):
    def parse(text, inputs=2, outputs=2):
        path = tmp_path / "some.vnnlib"
        path.write_text(text)
        return read_vnnlib(path, inputs, outputs)

    return parse


@pytest.mark.parametrize("number", PROPERTIES)
def test_the_properties_of_acas_xu_mean_what_is_published(acasxu, number):
    boxes, unsafe = PROPERTIES[number]
    found = read_vnnlib(acasxu / "vnnlib" / f"prop_{number}.vnnlib", 5, 5)
    mean, scale = SCALES
    expected = (np.array(boxes) - mean[:, None]) / scale[:, None]  # [R, D, 2]
    np.testing.assert_allclose(found.lower, expected[..., 0], atol=1e-8)
    np.testing.assert_allclose(found.upper, expected[..., 1], atol=1e-8)
    scores = np.random.default_rng(number).integers(-6, 7, (500, 5)).astype(np.float32)  # with many ties
    wanted = [bool(unsafe(list(y))) for y in scores]
    assert 0 < sum(wanted) < len(wanted)
    for region in range(len(boxes)):
        regions = jnp.full(len(scores), region)
        np.testing.assert_array_equal(margin(found, regions, scores) <= 0, wanted)


def are_unsafe(prop, x, y):
    """Which points are counter-examples: they lie in a region where their outputs are unsafe."""
    inside = ((prop.lower <= x[:, None]) & (x[:, None] <= prop.upper)).all(-1)  # [B, R]
    count = len(prop.lower)
    slack = margin(prop, np.tile(np.arange(count), len(x)), np.repeat(y, count, axis=0))
    return (inside & (np.asarray(slack).reshape(inside.shape) <= 0)).any(-1)


small_numbers = st.integers(-3, 3)


@st.composite
def literals(draw):
    """A comparison as text, and as a predicate of the inputs and outputs; the boxes never become empty."""
    if draw(st.booleans()):
        i, positive, end, flip = draw(st.tuples(st.integers(0, 1), st.booleans(), st.integers(0, 2), st.booleans()))
        sign = 1 if positive else -1  # sign * x <= end, which 0 satisfies
        term, number = (f"(* -2 X_{i})", -2 * sign * end) if flip else (f"X_{i}", sign * end)
        name = ("<=", ">=")[positive == flip]
        return f"({name} {term} {number})", lambda x, y: sign * x[i] <= end
    a, b, c = draw(st.tuples(small_numbers, small_numbers.filter(bool), small_numbers))
    name = draw(st.sampled_from(("<=", "<", ">=", ">")))
    text = draw(
        st.sampled_from(
            (
                f"({name} (+ (* {a} Y_0) (* Y_1 {b}) {c}) 0)",
                f"({name} (* {b} Y_1) (- (* {-a} Y_0) {c}))",
                f"({name} (- (- Y_1) Y_1 (* {-b - 2} Y_1)) (- (+ {c} (* (- 3 2) {a} Y_0))))",
            )
        )
    )
    sign = 1 if "<" in name else -1
    return text, lambda x, y: sign * (a * y[0] + b * y[1] + c) <= 0


def joined(parts):
    name, parts = parts
    test = all if name == "and" else any
    text = f"({name}\n {' '.join(text for text, _ in parts)})"
    return text, lambda x, y: test(holds(x, y) for _, holds in parts)


formulas = st.recursive(
    literals(),
    lambda inner: st.tuples(st.sampled_from(("and", "or")), st.lists(inner, min_size=1, max_size=3)).map(joined),
    max_leaves=10,
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(formula=formulas, seed=st.integers(0, 2**20))
def test_any_formula_agrees_with_its_direct_evaluation(tmp_path_factory, formula, seed):
    text, holds = formula
    path = tmp_path_factory.getbasetemp() / "random.vnnlib"
    declared = "".join(f"(declare-const {name} Real)" for name in ("X_0", "X_1", "Y_0", "Y_1"))
    ends = "".join(f"(assert (<= X_{i} 3)) (assert (>= X_{i} -3))" for i in range(2))
    path.write_text(f"{declared}\n(assert {text})\n{ends}(assert (<= Y_0 3))")
    prop = read_vnnlib(path, 2, 2)
    x, y = np.random.default_rng(seed).integers(-4, 5, (2, 12, 2)).astype(np.float32)
    expected = [max(abs(a)) <= 3 and b[0] <= 3 and holds(a, b) for a, b in zip(x, y, strict=True)]
    np.testing.assert_array_equal(are_unsafe(prop, x, y), expected)


def test_alternatives_of_one_box_share_a_region(parse):
    either = "(assert (or (and (<= X_0 0) (>= Y_0 1)) (and (<= X_0 -0.0) (<= Y_1 1) (<= Y_0 2)) (<= Y_0 -9)))"
    prop = parse(SMALL + either)
    np.testing.assert_array_equal(prop.lower, [[-1, 0], [-1, 0]])
    np.testing.assert_array_equal(prop.upper, [[0, 0.5], [1, 0.5]])
    assert prop.matrix.shape == (2, 2, 3, 2)


def test_alternatives_that_exclude_each_other_are_left_out(parse):
    prop = parse(SMALL + "(assert (or (<= X_0 -0.5) (>= X_0 0.5)))(assert (or (<= X_0 -0.75) (>= X_0 0.75)))")
    np.testing.assert_array_equal(prop.lower[:, 0], [-1, 0.75])
    np.testing.assert_array_equal(prop.upper[:, 0], [-0.75, 1])


def test_nesting_may_be_deep(parse):
    deep = "(and (or\n" * 3000 + "(<= Y_0 7)" + "))" * 3000
    assert parse(f"{SMALL}(assert {deep})").bound.tolist() == [[[0.0, 7.0]]]


def test_many_inputs_before_and_after_a_choice(parse):
    names = [f"X_{i}" for i in range(300)]
    declared = "".join(f"(declare-const {name} Real)\n" for name in [*names, "Y_0", "Y_1"])
    boxes = "".join(f"(assert (<= {name} 1))(assert (<= 0 {name}))" for name in names)
    choice = f"(assert (or {' '.join(f'(<= Y_0 {bound})' for bound in range(500))}))"
    assert parse(declared + choice + boxes, inputs=300).matrix.shape == (1, 500, 1, 2)


@pytest.mark.parametrize(
    ("line", "content", "expected"),
    [
        (2, "(declare-const X_0 Int)", "expected .declare-const X_i Real"),
        (2, "(declare-const Z_0 Real)", "expected .declare-const X_i Real"),
        (2, "(declare-const X_00 Real)", "expected .declare-const X_i Real"),
        (2, f"(declare-const X_{'1' * 5000} Real)", "expected .declare-const X_i Real"),
        (2, "(declare-const)", "expected .declare-const X_i Real"),
        (2, "(set-logic QF_LRA)", "expected .declare-const NAME Real. or .assert FORMULA., found 'set-logic'"),
        (3, "(declare-const X_2 Real)", "expected the network's 2 inputs, X_0 to X_1, found X_2"),
        (3, "(declare-const X_0 Real)", "X_0 is declared already, on line 2"),
        (5, "(declare-const Y_5 Real)", "expected the network's 2 outputs, Y_0 to Y_1, found Y_5"),
        (3, "; not there", "expected a number or a declared variable, found 'X_1'@9"),
        (6, "(<= X_0 1)", "expected .declare-const NAME Real. or .assert FORMULA., found '<='"),
        (6, "assert", "expected an opening parenthesis, found 'assert'"),
        (7, "(assert (>= X_0 -1)))", r"expected an opening parenthesis, found '\)'"),
        (7, "(assert (>= X_0 -1)", "assert stands inside another form: expected a closing parenthesis before it@8"),
        (12, "(assert (<= Y_0 Y_1)", "expected a closing parenthesis for the one opened here"),
        (7, "(assert)", "expected .declare-const NAME Real. or .assert FORMULA.*'assert'"),
        (7, "(assert ())", "expected a name after the opening parenthesis"),
        (7, "(assert (and))", "expected something for and to apply to"),
        (7, "(assert ((and) X_0))", "expected something for and"),
        (7, "(assert (=> X_0 -1))", r"expected one of and, or, .*, found '=>'"),
        (7, "(assert (not (<= X_0 -1)))", "expected one of and, or, .*, found 'not'"),
        (7, "(assert (>= X_0))", "expected two terms to compare, found 1"),
        (7, "(assert (>= X_0 -1 -2))", "expected two terms to compare, found 3"),
        (7, "(assert (>= X_0 minus))", "expected a number or a declared variable, found 'minus'"),
        (7, "(assert (>= X_0 nan))", "expected a number or a declared variable, found 'nan'"),
        (7, "(assert (>= X_0 -1e999))", "expected finite numbers"),
        (7, "(assert (>= X_0 (<= X_1 0)))", "expected a number, variable or linear term, found a formula"),
        (7, "(assert (and X_0 (<= X_1 0)))", "expected a comparison, an and or an or, found a term"),
        (7, "(assert (>= (* X_0 X_0) -1))", "expected a product with at most one factor that is no number"),
        (7, "(assert (>= (+ X_0 X_1) -1))", "expected one input and a number, found X_0 and X_1"),
        (7, "(assert (>= X_0 Y_0))", "expected a comparison of inputs or of outputs, found both"),
        (7, "(assert (>= 1 0))", "expected a comparison of inputs or of outputs, found neither"),
        (7, "(assert (>= (- X_0 X_0) -1))", "expected a comparison of inputs or of outputs, found neither"),
        (7, "", "expected bounds of X_0 in every alternative, found no lower one@2"),
        (
            10,
            "(assert (or (<= X_1 1) (<= X_0 0)))",
            "expected bounds of X_1 in every alternative, found no upper one@3",
        ),
        (8, "(assert (<= X_0 -2))", "expected a box, but with this X_0 would go from -1.0 to -2.0: it is empty"),
        (11, "(assert (or (<= Y_0 3)\n (and (<= X_1 0)\n (>= X_1 1))))", "expected a box, but with this X_1@13"),
        (12, "(assert (or (<= X_0 -2) (>= X_0 2)))", "expected a box"),
        (12, "", "expected a constraint of the outputs in every alternative, found one without@10"),
        (12, "(assert (or (<= Y_0 Y_1) (<= X_0 0)))", "expected a constraint of the outputs in every alternative"),
    ],
)
def test_a_malformed_line_is_named_with_what_was_expected(parse, line, content, expected):
    """``@`` stands before the line that is named, where that is another one."""
    expected, _, named = expected.partition("@")
    lines = SMALL.splitlines()
    lines[line - 1] = content
    with pytest.raises(InputError, match=rf"some\.vnnlib, line {named or line}: {expected}") as caught:
        parse("\n".join(lines))
    assert "\n" not in str(caught.value)


def test_a_file_for_another_network_is_refused(parse):
    with pytest.raises(InputError, match="line 12: expected the network's 3 inputs, X_0 to X_2, found no .* X_2"):
        parse(SMALL, inputs=3)
    with pytest.raises(InputError, match="line 5: expected the network's 1 outputs, Y_0 to Y_0, found Y_1"):
        parse(SMALL, outputs=1)
    with pytest.raises(InputError, match="line 1: expected the network's 2 inputs"):
        parse("")


@pytest.mark.slow
def test_a_normal_form_that_explodes_is_refused(parse):
    choice = "(or (<= Y_0 1) (<= Y_1 1))"
    doublings = math.ceil(math.log2(LIMIT))
    parse(f"{SMALL}(assert (and {choice * (doublings - 4)}))")
    with pytest.raises(InputError, match="line 13: expected at most 10000 alternatives, found 16384"):
        parse(f"{SMALL}(assert (and {choice * doublings}))")
    with pytest.raises(InputError, match="line 13: expected at most 10000 alternatives, found 10001"):
        parse(f"{SMALL}(assert (or {'(<= Y_0 1)' * (LIMIT + 1)}))")


@pytest.mark.slow
@pytest.mark.parametrize(
    "nested",
    [
        "(and (<= Y_1 1) " * 300 + "(or" + " (<= Y_0 1)" * 1000 + ")" * 301,
        "(or (<= Y_1 1) " * 300 + "(or" + " (<= Y_0 1)" * 1000 + ")" * 301,
        "(and (<= Y_0 1) " * 1000 + "(<= Y_0 1)" + ")" * 1000,
        "(<= 0" + " (+ Y_1" * 30_000 + " Y_0" + ")" * 30_001,
    ],
)
def test_nesting_that_multiplies_the_work_is_refused(parse, monkeypatch, nested):
    monkeypatch.setattr(vnnlib, "WORK", 50_000)
    with pytest.raises(InputError, match="line 13: expected a file that is shorter when it is written out"):
        parse(f"{SMALL}(assert {nested})")


@pytest.mark.slow
def test_nesting_of_one_formula_is_no_work(parse):
    prop = parse(f"{SMALL}(assert {'(and ' * 3000}(or{' (<= Y_0 1)' * LIMIT}){')' * 3000})")
    assert prop.matrix.shape == (1, LIMIT, 2, 2)


@pytest.mark.slow
def test_memory_grows_with_the_file_alone(parse):
    """Whatever the number of inputs: 4,000 of these comparisons as boxes of two arrays would take 50 MB."""
    declared = "".join(f"(declare-const {name} Real)\n" for name in [*(f"X_{i}" for i in range(784)), "Y_0"])
    boxes = "".join(f"(assert (<= X_{i % 784} 1))(assert (<= 0 X_{i % 784}))" for i in range(2000))
    tracemalloc.start()
    try:
        parse(f"{declared}{boxes}(assert (<= Y_0 1))", inputs=784, outputs=1)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_regions_of_very_different_sizes_are_refused_before_they_are_filled_up(parse):
    boxes = "".join(f"(and (<= X_0 0.{i:04}) (<= Y_0 1))" for i in range(1, 5000))
    with pytest.raises(InputError, match="line 13: expected regions that fit in 16777216 numbers"):
        parse(f"{SMALL}(assert (or {boxes} {'(<= Y_0 1)' * 5000}))")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*none\.vnnlib \(No such file"):
        read_vnnlib(tmp_path / "none.vnnlib", 5, 5)
