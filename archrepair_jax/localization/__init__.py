"""Localization: which block is to blame, by neurons' status on failing inputs and the gradients of their weights."""

from archrepair_jax.localization.ranking import COMBINE
from archrepair_jax.localization.settings import LocalizationSettings
from archrepair_jax.localization.spectrum import FORMULAS
from archrepair_jax.localization.suspects import Localization, Unit, localize
from archrepair_jax.views.attacks import fgsm, pgd

__all__ = ["COMBINE", "FORMULAS", "Localization", "LocalizationSettings", "Unit", "fgsm", "localize", "pgd"]
