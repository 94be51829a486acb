"""Which one or two lines of your own training program should change? Change what is marked, and run it:

    python -m archrepair_jax.main --config configs/my_program.py --workdir runs/mine

What is not said here has the default of archrepair_jax/programs/settings.py, and every key can be changed on the
command line, too: ``--config.budget=40``. As it stands, it is a network on handwritten digits that hardly learns.

Expected time on one core: a minute.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

from archrepair_jax.programs.data import Data, Split
from archrepair_jax.programs.program import from_module
from archrepair_jax.programs.settings import default_config
from archrepair_jax.programs.subjects import bring

ACTIVATIONS = {"relu": nn.relu, "tanh": jnp.tanh, "sigmoid": nn.sigmoid}
STARTS = {
    "zeros": nn.initializers.zeros,
    "glorot_uniform": nn.initializers.glorot_uniform(),
    "he_uniform": nn.initializers.he_uniform(),
}


# CHANGE: your module, any of Flax Linen. What may change in it are fields of this kind, a text or a number each; what
# stands inside __call__ as a plain 64 or nn.relu has no name by which it could be changed.
class Net(nn.Module):
    width: int = 32
    depth: int = 2
    activation: str = "sigmoid"
    start: str = "zeros"
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x, train: bool = False):  # train is told if it is asked for
        for _ in range(self.depth):
            x = nn.Dense(self.width, kernel_init=STARTS[self.start])(x)
            x = ACTIVATIONS[self.activation](x)
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(10)(x)  # one output a class


# CHANGE: your data, float inputs [N, …] with class numbers [N] (or rows of targets). The first split is learned from,
# the second one chooses, and the third one is looked at once, in the end.
def data() -> Data:
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order].astype(np.float32), y[order].astype(np.int64)
    learnt, chosen_by, judged_on = (Split(x[part], y[part]) for part in np.split(np.arange(len(x)), [1_000, 1_300]))
    return Data(learnt, chosen_by, judged_on, outputs=10)  # for regression: outputs=1, metric="mae"


def get_config(which: str = ""):
    if which:
        raise ValueError(f"this config knows no {which!r}: leave it out")
    config = default_config()

    # CHANGE: how you train it, with the losses and optimizers of archrepair_jax/programs/recipe.py.
    program = from_module(
        Net(),
        optimizer="adam",
        loss="sparse_categorical_crossentropy",  # of class numbers; of rows: categorical_crossentropy
        lr=1e-3,
        # CHANGE: fields of the module and the values to try for them. loss, optimizer, lr, batch_size, epochs and act1,
        # the activation behind the outputs, are tried with values of ours; named here with one value, one stays.
        may_change={
            "width": (16, 32, 64),
            "depth": (1, 2, 3),
            "activation": ("relu", "tanh", "sigmoid"),
            "start": ("zeros", "glorot_uniform", "he_uniform"),
            "dropout": (0.0, 0.2, 0.5),
            "act1": ("softmax",),
        },
        act="softmax",  # what turns the outputs into what the loss takes; "linear" for regression
        batch_size=32,
        epochs=5,
        scale=16.0,  # inputs are divided by this
    )
    config.subject = bring("my_program", program, data)

    # How much it may cost: so many trainings like the one above.
    config.budget = 20

    # How to look: "guided" goes by the symptoms of a training and confirms on fresh seeds; README.md has the others.
    config.technique = "guided"
    return config
