"""What can be chosen about localization; the paper's own formulas are not public, so each of them is a setting."""

import dataclasses

from archrepair_jax.errors import InputError, one_of, within
from archrepair_jax.localization.ranking import COMBINE
from archrepair_jax.localization.spectrum import FORMULAS

CHOICES = {
    "level": ("block", "layer", "neuron"),
    "formula": tuple(FORMULAS),
    "threshold": ("zero", "median"),
    "gradient": ("abs_of_mean", "contrast", "taylor"),
    "combine": tuple(COMBINE),
    "adversarial": ("gradients", "examples", "flips"),
    "adversary": ("none", "fgsm", "pgd"),
}


@dataclasses.dataclass(frozen=True)
class LocalizationSettings:
    """How to localize. Raises InputError on a value that does not exist.

    Attributes:
        level: what is ranked.
        formula: a neuron's suspiciousness, from its spectrum.
        threshold: a neuron is active above 0, or above its median over the passing examples.
        gradient: ``abs_of_mean`` is the mean absolute loss gradient of a neuron's weights on failing examples;
            ``contrast`` divides it by 1 + the same on passing examples, after Arachne (there per weight, not per
            neuron); ``taylor`` multiplies each gradient by its weight.
        combine: how the percentile ranks of suspiciousness and gradient become one number.
        fraction: the share of all neurons that count as vulnerable.
        bootstrap: replicates, resampling the failing examples; with 0, probabilities are 0 or 1.
        examples: at most this many failing examples are used, and as many passing ones.
        adversarial: what perturbed images are for, our three readings of "adversarial-aware". ``gradients``: the
            gradients are taken on perturbed failing examples. ``examples``: perturbed passing examples that now fail
            are further failing examples. ``flips``: a neuron counts as active where the perturbation switches it.
        adversary: who perturbs, up the loss; ``none`` leaves the gradients on clean failing examples.
        epsilon: the largest change of a pixel, images in [0, 1].
        exclude: blocks that are not ranked, and whose neurons take no part.
    """

    level: str = "block"
    formula: str = "tarantula"
    threshold: str = "zero"
    gradient: str = "abs_of_mean"
    combine: str = "product"
    fraction: float = 0.1
    bootstrap: int = 50
    examples: int = 100
    adversarial: str = "gradients"
    adversary: str = "none"
    epsilon: float = 2 / 255
    exclude: tuple[str, ...] = ()

    def __post_init__(self):
        for name, choices in CHOICES.items():
            one_of(name, [getattr(self, name)], choices)
        if self.adversary == "none" and self.adversarial != "gradients":
            raise InputError(f"adversarial={self.adversarial!r} needs an adversary: choose fgsm or pgd")
        within("fraction", self.fraction, 1e-9, 1)
        within("examples", self.examples, 1)
        for name in ("bootstrap", "epsilon"):
            within(name, getattr(self, name), 0)
