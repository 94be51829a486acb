"""Keys by name."""

import jax
import numpy as np

from archrepair_jax.keys import named


def test_a_name_decides_the_key_and_nothing_else_does():
    key = jax.random.key(3)
    data = [jax.random.key_data(named(key, name)).tolist() for name in ("search", "tuning", "search")]
    assert data[0] == data[2] != data[1]
    expected = jax.random.fold_in(key, 0xCBF43926)  # the CRC-32 that its own definition checks with
    np.testing.assert_array_equal(*(jax.random.key_data(k) for k in (named(key, "123456789"), expected)))
