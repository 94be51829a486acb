"""How precise arithmetic is, where that must depend neither on the device nor on JAX's flags.

By default TPUs and newer GPUs round the factors of a float32 inner product to bfloat16 or TF32, that is, to two or
three digits: a margin of 1e-3 drowns in that. So whatever a threshold or an argmax looks at is ``exact``: the outputs
of networks, margins, bounds, the cost of a swarm. Steps of descent are not, unless margins or bounds are in their loss:
batches are noisier than rounding, and exact products take those devices several passes.
"""

import jax

# a decorator: inner products that a function traces, and those of their gradients, keep all digits of float32
exact = jax.default_matmul_precision("highest")
