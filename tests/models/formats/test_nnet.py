"""ACAS Xu files: what they hold, what they compute, round trips, and the line at which a malformed one fails."""

import dataclasses
import tracemalloc

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archrepair_jax.errors import InputError
from archrepair_jax.models.blocks import Normalize
from archrepair_jax.models.families.mlp import Layer, mlp
from archrepair_jax.models.formats.dense import Dense, from_layers
from archrepair_jax.models.formats.nnet import CHANGED, LARGEST, Normalization, read_nnet, write_nnet
from archrepair_jax.models.network import Network

SMALL = """\
// A licence
//
// of many lines
//
2,2,1,3,
2,3,1,
0,
-1,0,
1.5,10,
0,5,0.5,
1,2.0,4,
1,2,
3,-4,
5e-1,6,
.5,
-1,
0,
1,-2,3,
0.25,
"""
HEADER = Normalization((-1, 0), (1.5, 10), (0, 5), (1, 2), 0.5, 4, ("// A licence", "//", "// of many lines", "//"))
KERNELS = [[[1, 3, 0.5], [2, -4, 6]], [[1], [-2], [3]]]
BIASES = [[0.5, -1, 0], [0.25]]


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.nnet"
    path.write_text(SMALL)
    return path


def evaluate(path, x):
    """The outputs that a file gives normalised inputs, in double precision and straight from the text."""
    rows = [line.rstrip(",\n").split(",") for line in path.open() if not line.startswith("//")]
    widths, rows = [int(width) for width in rows[1]], [[float(value) for value in row] for row in rows[7:]]
    for number, width in enumerate(widths[1:], 1):
        weights, bias, rows = rows[:width], rows[width : 2 * width], rows[2 * width :]
        x = x @ np.array(weights).T + np.array(bias)[:, 0]
        x = np.maximum(x, 0) if number < len(widths) - 1 else x
    assert not rows
    return x


def assert_same(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert a.dtype == b.dtype == np.float32
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_small_file_is_read_as_it_stands(small):
    network, variables, header = read_nnet(small)
    assert network == Network(mlp(1, widths=(3,)), (2,), 1)
    assert header == HEADER
    assert_same(variables, from_layers(hand_layers())[1])


def hand_layers():
    return [
        Dense(np.array(kernel, np.float32), np.array(bias, np.float32))
        for kernel, bias in zip(KERNELS, BIASES, strict=True)
    ]


def test_inputs_are_clipped_and_normalised_and_outputs_get_their_units_back():
    np.testing.assert_array_equal(HEADER.normalize(np.array([[-7.0, 5.0], [1.0, 99.0]])), [[-1, 0], [1, 2.5]])
    np.testing.assert_array_equal(HEADER.denormalize(np.array([0, -2.0])), [0.5, -7.5])


@pytest.mark.slow
def test_all_networks_are_read_and_compute_what_their_files_say(acasxu):
    paths = sorted((acasxu / "nnet").glob("*.nnet"))
    assert len(paths) == 45
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (100, 5)).astype(np.float32)
    apply = jax.jit(Network.apply, static_argnums=0)
    for path in paths:
        network, variables, header = read_nnet(path)
        assert network == Network(mlp(5, widths=(50,) * 6), (5,), 5)
        np.testing.assert_allclose(apply(network, variables, x), evaluate(path, x.astype(float)), atol=1e-5)
        ends = header.normalize(np.array([header.minimum, header.maximum]))
        np.testing.assert_allclose(ends[:, 0], [-0.328422877, 0.679857769], atol=1e-9)
        np.testing.assert_allclose(np.abs(ends[:, 1:]), 0.5, atol=1e-7)
        assert header.output_range == 373.94992
        assert "Attribution 4.0" in "".join(header.comments)


def test_a_real_network_survives_the_round_trip_and_keeps_its_licence(acasxu, tmp_path):
    original, written = acasxu / "nnet" / "ACASXU_run2a_2_9_batch_2000.nnet", tmp_path / "repaired.nnet"
    network, variables, header = read_nnet(original)
    write_nnet(written, network, variables, header)
    again, its_variables, its_header = read_nnet(written)
    assert again == network
    assert_same(its_variables, variables)
    assert its_header == dataclasses.replace(header, comments=(*header.comments, CHANGED))
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (100, 5)).astype(np.float32)
    np.testing.assert_allclose(evaluate(written, x.astype(float)), network.apply(variables, x), atol=1e-5)


def test_repeated_comment_lines_stay_and_a_second_repair_is_not_noted_twice(small):
    for _ in range(2):
        write_nnet(small, *read_nnet(small))
    assert small.read_text().splitlines()[:6] == [*HEADER.comments, CHANGED, "2,2,1,3,"]


def test_other_characters_in_comments_come_back_as_they_were(small):
    comment = "// Universität, ".encode() + b"\xe9t\xe9"
    small.write_bytes(comment + b"\n" + SMALL.encode())
    write_nnet(small, *read_nnet(small))
    assert small.read_bytes().startswith(comment + b"\n")


numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def random_layers(draw):
    widths = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    arrays = [
        (draw(st.lists(numbers, min_size=a * b, max_size=a * b)), draw(st.lists(numbers, min_size=b, max_size=b)), a)
        for a, b in zip(widths[:-1], widths[1:], strict=True)
    ]
    return [Dense(np.array(k, np.float32).reshape(a, -1), np.array(b, np.float32)) for k, b, a in arrays]


@settings(max_examples=60, deadline=None)
@given(random_layers(), st.data())
def test_every_network_survives_the_round_trip(tmp_path_factory, layers, data):
    network, variables = from_layers(layers)
    inputs = len(layers[0].kernel)
    doubles, wide = st.floats(-1e30, 1e30), st.floats(1e-300, 1e30)

    def row(values):
        return tuple(data.draw(st.lists(values, min_size=inputs, max_size=inputs)))

    ends = [sorted(pair) for pair in zip(row(doubles), row(doubles), strict=True)]
    header = Normalization(
        *zip(*ends, strict=True), row(doubles), row(wide), data.draw(doubles), data.draw(wide), (CHANGED,)
    )
    path = tmp_path_factory.getbasetemp() / "random.nnet"
    write_nnet(path, network, variables, header)
    again, its_variables, its_header = read_nnet(path)
    assert again == network
    assert_same(its_variables, variables)
    assert its_header == header


@pytest.mark.parametrize(
    ("line", "content", "expected"),
    [
        (5, "2,2,1,", "4 numbers, how many layers"),
        (5, "2,2,1,3,9,", "4 numbers, how many layers.* found 5"),
        (5, "2,2,1,three,", "a whole number.* found 'three'"),
        (5, "2,2,1,3.0,", "a whole number"),
        (5, f"2,2,1,1{'0' * 400},", "a finite"),
        (5, "0,2,1,3,", "positive numbers"),
        (5, "1001,2,1,3,", "at most 1000 layers, found 1001"),
        (6, f"2,{10**9},1,", "widths from 2 to 1, the largest 3"),
        (6, "3,3,1,", "widths from 2 to 1, the largest 3, found 3, 3, 1"),
        (6, "2,3,2,", "widths from 2 to 1"),
        (6, "2,4,1,", "widths from 2 to 1, the largest 3, found 2, 4, 1"),
        (6, "2,0,1,", "positive numbers"),
        (6, "2,3,3,1,", "3 numbers, the width"),
        (7, "1,", "the flag 0"),
        (8, "-1,nan,", "a finite float32 number, the inputs' minima, found nan"),
        (8, "", "2 numbers, the inputs' minima, found 0"),
        (9, "-2,10,", "a maximum of at least -1.0, the minimum, found -2.0"),
        (10, "0,5,", "3 numbers, the means"),
        (11, "1,0,4,", "positive numbers, the ranges.* found 0.0"),
        (11, "1,-2,4,", "positive numbers, the ranges.* found -2.0"),
        (11, "1,2,0,", "positive numbers, the ranges"),
        (13, "3,", "2 numbers, weights of layer 1, found 1"),
        (13, "3,-4,5,", "2 numbers, weights of layer 1, found 3"),
        (13, "3,x4,", "a number, weights of layer 1, found 'x4'"),
        (13, "3,,", "a number, weights of layer 1, found ''"),
        (14, "1e39,0,", "a finite float32 number"),
        (15, "inf,", "a finite float32 number, a bias of layer 1"),
        (18, "1,-2,", "3 numbers, weights of layer 2"),
        (19, "NaN,", "a finite float32 number, a bias of layer 2"),
    ],
)
def test_a_malformed_line_is_named_with_what_was_expected(small, line, content, expected):
    lines = SMALL.splitlines()
    lines[line - 1] = content
    small.write_text("\n".join(lines))
    with pytest.raises(InputError, match=rf"small\.nnet, line {line}: expected {expected}") as caught:
        read_nnet(small)
    assert "\n" not in str(caught.value)


def test_widths_that_no_line_has_cost_nothing(small):
    small.write_text(f"2,2,1,{10**9},\n2,{10**9},1,\n0,\n0,0,\n1,1,\n0,0,0,\n1,1,1,\n1,2,\n")
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="line 9: expected weights of layer 1, found the end of the file"):
            read_nnet(small)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_long_number_is_quoted_in_part(small):
    small.write_text("1" * 4000 + ",2,1,3,\n")
    with pytest.raises(InputError) as caught:
        read_nnet(small)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("kept", range(4, 19))
def test_a_truncated_file_ends_too_early(small, kept):
    small.write_text("".join(SMALL.splitlines(keepends=True)[:kept]))
    with pytest.raises(InputError, match=rf"line {kept + 1}: expected .*, found the end of the file"):
        read_nnet(small)


def test_a_row_too_many_is_refused_and_blank_lines_at_the_end_are_not(small):
    small.write_text(SMALL + "\n \n")
    read_nnet(small)
    small.write_text(SMALL + "0.5,\n")
    with pytest.raises(InputError, match="line 20: expected the end of the file, found another line"):
        read_nnet(small)


def test_no_file_an_empty_one_and_one_of_another_kind_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*none\.nnet \(No such file"):
        read_nnet(tmp_path / "none.nnet")
    with pytest.raises(InputError, match="cannot read"):
        read_nnet(tmp_path)
    for content in (b"", b"\x00\xff\xfe\n,,,\n"):
        (tmp_path / "odd.nnet").write_bytes(content)
        with pytest.raises(InputError, match="line 1: expected 4 numbers"):
            read_nnet(tmp_path / "odd.nnet")


def test_what_the_format_cannot_hold_is_refused_by_block(small, tmp_path):
    network, variables, header = read_nnet(small)
    before, refused = small.read_text(), tmp_path / "refused.nnet"
    nan = jax.tree.map(lambda x: x * np.nan, variables["params"]["head"])
    others = {
        "block layer1 has the activation tanh": network.replace("layer1", Layer(3, "tanh")),
        "block layer1 is no fully connected layer": network.replace("layer1", Normalize((0.5,), (1.0,))),
        "block head is no fully connected output": network.replace("head", Layer(1)),
    }
    for message, other in others.items():
        with pytest.raises(InputError, match=message):
            write_nnet(refused, other, variables, header)
    with pytest.raises(InputError, match="block head has weights that are not finite"):
        write_nnet(small, network, {"params": variables["params"] | {"head": nan}}, header)
    with pytest.raises(InputError, match="reads 2 inputs, its header has 1"):
        write_nnet(small, network, variables, Normalization((0,), (1,), (0,), (1,)))
    assert small.read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["small.nnet"]


def test_a_write_that_fails_leaves_the_old_file_alone(small, tmp_path, monkeypatch):
    contents = read_nnet(small)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space left"):
        write_nnet(small, *contents)
    assert small.read_text() == SMALL
    assert [path.name for path in tmp_path.iterdir()] == ["small.nnet"]


def test_the_largest_float32_is_still_a_number(small):
    small.write_text(SMALL.replace("0.25", repr(LARGEST)))
    assert read_nnet(small)[1]["params"]["head"]["linear"]["bias"] == np.float32(LARGEST)
