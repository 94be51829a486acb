"""A program's training, in pieces, every example of it charged to a ledger.

What two programs share in structure they share in compiled code: rates, numbers of epochs and initialisers are no part
of that.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from archrepair_jax.keys import named
from archrepair_jax.models.cost import count
from archrepair_jax.programs.data import WORST, Data, Split, rows, score
from archrepair_jax.programs.model import Model, beside, generator, penalty, shapes, start
from archrepair_jax.programs.program import Program
from archrepair_jax.programs.recipe import OPTIMIZERS, losses
from archrepair_jax.training.ledger import FORWARD, GRADIENT, Cost, Ledger

QUICKLY = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}  # halves the compile time

State = tuple[dict, optax.OptState, dict]  # parameters, the optimizer's, and what a module keeps beside them


def structure(program: Program) -> Program:
    """The program with those fields at fixed values that its compiled code does not depend on."""
    layers = tuple(dataclasses.replace(layer, ki="zeros", bi="zeros") for layer in program.layers)
    return dataclasses.replace(program, layers=layers, lr=0.0, epochs=1, scale=1.0, may_change=())


def convolves(program: Program) -> bool:
    return any(layer.kind in ("conv", "module") for layer in program.layers)  # a module may


def objective(program: Program, params: dict, kept: dict, batch: tuple, key: PRNGKeyArray) -> tuple[Array, dict]:
    """The weighted mean loss of a batch (inputs, targets, weights), with what the regularisers add; what is then kept.

    A module's running statistics also see what pads a last batch: copies of the last example.
    """
    (x, y, weights), variables = batch, {"params": params, **kept}
    outputs = Model(program.layers).apply(variables, x, train=True, rngs={"dropout": key}, mutable=list(kept))
    (z, p), kept = outputs
    last = program.layers[program.weighted[-1]].act
    return (losses(program.loss, last, y, z, p) * weights).sum() / weights.sum() + penalty(program, params), kept


@functools.lru_cache(maxsize=256)
def stepping(program: Program, batch: int) -> Callable:
    """Steps of a structure, from one to another of an epoch's order [steps * batch] (-1 pads it).

    One call runs all of them; with convolutions one, since the CPU's compiler gives these a naive form in a loop.
    """

    def step(at: Int[Array, ""] | int, carry: tuple, fixed: tuple) -> tuple[State, Float[Array, ""]]:
        (params, state, kept), total = carry
        lr, x, y, order, key = fixed
        chosen = jax.lax.dynamic_slice_in_dim(order, at * batch, batch)
        examples, key = (x[chosen], y[chosen], (chosen >= 0).astype(jnp.float32)), jax.random.fold_in(key, at)
        valued = jax.value_and_grad(lambda own: objective(program, own, kept, examples, key), has_aux=True)
        (loss, kept), gradient = valued(params)
        updates, state = OPTIMIZERS[program.optimizer](lr).update(gradient, state, params)
        return (optax.apply_updates(params, updates), state, kept), total + loss

    if convolves(program):
        one = jax.jit(step)

        def run(first: int, last: int, carry: tuple, fixed: tuple) -> tuple[State, Float[Array, ""]]:
            for at in range(first, last):
                carry = one(at, carry, fixed)
            return carry

        return run

    def loop(first: Int[Array, ""], last: Int[Array, ""], carry: tuple, fixed: tuple) -> tuple[State, Float[Array, ""]]:
        return jax.lax.fori_loop(first, last, lambda at, carry: step(at, carry, fixed), carry)

    return jax.jit(loop, compiler_options=QUICKLY)


@functools.lru_cache(maxsize=256)
def answering(layers: tuple) -> Callable:
    return jax.jit(lambda variables, x: Model(layers).apply(variables, x)[1], compiler_options=QUICKLY)


@functools.lru_cache(maxsize=256)
def multiply_adds(program: Program, shape: tuple[int, ...], outputs: int) -> tuple[int, int]:
    """Those of a structure's pass forward of one example of a shape, and of its gradient; nothing is computed."""
    _, variables = shapes(program.layers, shape)
    params, kept, key = variables["params"], beside(variables), jax.random.key(0)
    x, y, weight = (jax.ShapeDtypeStruct((1, *each), jnp.float32) for each in (shape, (outputs,), ()))
    forward = jax.make_jaxpr(Model(program.layers).apply)({"params": params, **kept}, x)
    sloping = jax.grad(lambda own, kept, batch: objective(program, own, kept, batch, key), has_aux=True)
    return count(forward.jaxpr), count(jax.make_jaxpr(sloping)(params, kept, (x, y, weight)).jaxpr)


def shuffled(random: np.random.Generator, size: int, length: int) -> Int[np.ndarray, "length"]:
    """All of 0 to ``size`` in random order, then -1."""
    return np.pad(random.permutation(size).astype(np.int32), (0, length - size), constant_values=-1)


class Run:
    """One training of one program.

    Args:
        program, data: what, and on what.
        key: decides the start, the order of examples and dropout.
        ledger: is charged for every example before it is used.

    Attributes:
        curve: the mean training loss of every piece that was trained, oldest first.
        done: which share of all steps was taken, in [0, 1].
        forward, gradient: what they cost an example, in multiply-adds.

    Raises InputError where the program cannot be built.
    """

    def __init__(self, program: Program, data: Data, key: PRNGKeyArray, ledger: Ledger):
        self.program, self.data, self.ledger = program, data, ledger
        self.size = len(data.train)
        self.batch = min(program.batch_size, self.size)
        self.per_epoch = math.ceil(self.size / self.batch)
        self.total = self.per_epoch * program.epochs
        params, kept = start(program, data.train.x.shape[1:], key)
        self.state: State = params, OPTIMIZERS[program.optimizer](program.lr).init(params), kept
        self.forward, self.gradient = multiply_adds(structure(program), data.train.x.shape[1:], data.outputs)
        self.key, self.dropout = key, named(key, "dropout")
        self.x, self.y = self._arrays(data.train)
        self.step, self.curve = 0, []

    @property
    def done(self) -> float:
        return self.step / self.total

    @property
    def finite(self) -> bool:
        """Whether every loss so far was."""
        return bool(np.isfinite(self.curve).all())

    @property
    def variables(self) -> dict:
        params, _, kept = self.state
        return {"params": params, **kept}

    def _arrays(self, split: Split) -> tuple[Array, Array]:
        x = jnp.asarray(split.x, jnp.float32) / self.program.scale
        return x, jnp.asarray(rows(split.y, self.data.outputs))

    def advance(self, share: float) -> None:
        """Trains until so much of all steps is done. Raises Overspent, an epoch at a time."""
        run = stepping(structure(self.program), self.batch)
        rate, goal = jnp.float32(self.program.lr), math.ceil(share * self.total)
        while self.step < goal and self.finite:
            epoch, first = divmod(self.step, self.per_epoch)
            last = min(self.per_epoch, first + goal - self.step)
            examples = min(last * self.batch, self.size) - first * self.batch
            self.ledger.charge("training", Cost(GRADIENT, self.gradient) * examples)
            order = shuffled(generator(self.key, f"order-{epoch}"), self.size, self.per_epoch * self.batch)
            fixed = rate, self.x, self.y, order, jax.random.fold_in(self.dropout, epoch)
            self.state, total = run(first, last, (self.state, jnp.float32(0)), fixed)
            self.curve.append(float(total) / (last - first))
            self.step += last - first

    def score(self, split: Split) -> float:
        """How good it is now, the higher the better; the worst that there is if anything is not finite."""
        self.ledger.charge("evaluation", Cost(FORWARD, self.forward) * len(split))
        if not self.finite:
            return WORST[self.data.metric]
        x, y = self._arrays(split)
        outputs = answering(structure(self.program).layers)(self.variables, x)
        return score(np.asarray(outputs), np.asarray(y), self.data.metric)


def price(program: Program, data: Data, looks: int = 1) -> Cost:
    """What a whole training costs that is scored so often on the validation examples."""
    return Cost(GRADIENT * len(data.train) * program.epochs + FORWARD * len(data.validation) * looks)


def train(program: Program, data: Data, key: PRNGKeyArray, ledger: Ledger) -> Run:
    """A whole training."""
    run = Run(program, data, key, ledger)
    run.advance(1.0)
    return run
