"""The candidate operations, one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from archrepair_jax.search.operations import SPATIAL, VECTOR, Blur, Candidate, Depthwise, Gate, shifted_sum


def grouped_convolution(x, kernel, stride, dilation):
    reach = dilation * (len(kernel) // 2)
    return jax.lax.conv_general_dilated(
        x,
        kernel[:, :, None],
        (stride, stride),
        [(reach, reach)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def value_and_derivatives(convolve, x, kernel, stride, dilation):
    """The output, its first derivatives along a direction, and the derivatives of their size."""

    def first(x, kernel):
        y = convolve(x, kernel, stride, dilation)
        return y, *jax.grad(lambda *a: jnp.tanh(convolve(*a, stride, dilation)).sum(), (0, 1))(x, kernel)

    def size(x, kernel):
        return sum((part**2).sum() for part in first(x, kernel)[1:])

    return jax.jit(lambda *a: (first(*a), jax.grad(size, (0, 1))(*a)))(x, kernel)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "size", "stride", "dilation"),
    [((7, 6), 3, 1, 1), ((7, 6), 3, 2, 1), ((7, 6), 3, 1, 2), ((6, 7), 3, 2, 2), ((2, 5), 5, 2, 1)],
)
def test_a_shifted_sum_is_a_depthwise_convolution_up_to_its_second_derivatives(shape, size, stride, dilation):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, *shape, 3)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(size, size, 3)), jnp.float32)
    ours, theirs = (
        value_and_derivatives(convolve, x, kernel, stride, dilation) for convolve in (shifted_sum, grouped_convolution)
    )
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("operation", SPATIAL)
def test_every_operation_on_maps_has_the_shape_of_a_convolution(operation, stride):
    for height, width in ((8, 8), (7, 5), (1, 1)):
        x = jax.ShapeDtypeStruct((2, height, width, 3), jnp.float32)
        candidate = Candidate(operation, 6, stride)
        y, _ = jax.eval_shape(lambda x, c=candidate: c.init_with_output(jax.random.key(0), x, False), x)
        assert y.shape == (2, -(-height // stride), -(-width // stride), 6)


@pytest.mark.slow
@pytest.mark.parametrize("operation", VECTOR)
def test_every_operation_on_vectors_has_the_width_it_is_asked_for(operation):
    y, _ = Candidate(operation, 6).init_with_output(jax.random.key(0), jnp.ones((2, 3)), False)
    assert y.shape == (2, 6)


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["sep_conv_3x3", "gated_dense"])
def test_a_silent_operation_says_nothing_until_its_scale_learns(operation):
    x = jax.random.normal(jax.random.key(1), (2, 4, 4, 3) if operation in SPATIAL else (2, 3))
    loud, silent = (
        Candidate(operation, 6, silent=quiet).init_with_output(jax.random.key(0), x, False)[0]
        for quiet in (False, True)
    )
    assert (silent == 0).all()
    assert jnp.abs(loud).max() > 0.1


@pytest.mark.slow
def test_a_blur_keeps_flat_images_and_removes_a_checkerboard():
    flat, board = np.full((1, 6, 6, 2), 0.7), np.indices((6, 6)).sum(0)[None, :, :, None] % 2 * np.ones(2)
    blur = lambda x, stride=1: np.asarray(Blur().apply({}, jnp.asarray(x, jnp.float32), stride))  # noqa: E731
    np.testing.assert_allclose(blur(flat)[:, 1:-1, 1:-1], 0.7, rtol=1e-6)
    np.testing.assert_allclose(blur(board)[:, 1:-1, 1:-1], 0.5, rtol=1e-6)
    np.testing.assert_array_equal(blur(board, 2), blur(board)[:, ::2, ::2])


def test_a_blur_spreads_a_point_by_binomial_weights_within_its_channel():
    point = jnp.zeros((1, 5, 5, 2)).at[0, 2, 2, 1].set(16.0)
    spread = Blur().apply({}, point, 1)[0]
    np.testing.assert_array_equal(spread[1:4, 1:4, 1], np.outer([1, 2, 1], [1, 2, 1]))
    assert (spread[..., 1].sum(), jnp.abs(spread[..., 0]).sum()) == (16, 0)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(2, 6, 6, 3), (2, 3)], ids=["maps", "vectors"])
def test_a_gate_scales_channels_by_the_means_of_all(shape):
    x = jax.random.normal(jax.random.key(0), shape)
    params = {"gate": {"kernel": jnp.zeros((3, 3)), "bias": jnp.zeros(3)}}
    np.testing.assert_allclose(Gate().apply({"params": params}, x, 1), x, rtol=1e-6)  # half open: everything passes
    params["gate"]["kernel"] = params["gate"]["kernel"].at[0, 2].set(50.0)  # channel 0 opens and shuts channel 2
    gated = Gate().apply({"params": params}, x, 1)
    np.testing.assert_allclose(gated[..., :2], x[..., :2], rtol=1e-6)
    means = x.reshape(2, -1, 3).mean(1)
    for image, mean, out in zip(x, means, gated, strict=True):
        np.testing.assert_allclose(out[..., 2], image[..., 2] * 2 / (1 + np.exp(-50 * mean[0])), rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_a_depthwise_filter_keeps_the_scale_of_its_input():
    x = jax.random.normal(jax.random.key(0), (8, 12, 12, 32))
    for size, dilation in ((3, 1), (5, 1), (3, 2)):
        y, _ = Depthwise(size, dilation).init_with_output(jax.random.key(1), x, 1)
        assert 0.5 < y[:, 4:-4, 4:-4].std() < 1.5
