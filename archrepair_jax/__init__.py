"""archrepair_jax: finds the block of a trained network that is to blame, and searches a better one."""

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archrepair_jax.api import (
        KINDS,
        Classifier,
        Diagnosis,
        InputError,
        Localization,
        Rate,
        Result,
        diagnose,
        evaluate,
        load,
        localize,
        repair,
    )

__version__ = "0.2.0"
__all__ = [
    "KINDS",
    "Classifier",
    "Diagnosis",
    "InputError",
    "Localization",
    "Rate",
    "Result",
    "diagnose",
    "evaluate",
    "load",
    "localize",
    "repair",
]


class _Package(types.ModuleType):
    """The names of ``api``, without importing JAX for those who only ask for the version."""

    def __getattr__(self, name: str) -> Any:
        if name in __all__:
            return getattr(importlib.import_module("archrepair_jax.api"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        return sorted([*__all__, "__version__"])

    @property
    def repair(self) -> Any:
        """The function; the room of that name, which importing would put here, is there for ``from`` alone."""
        return self.__getattr__("repair")

    @repair.setter
    def repair(self, room: types.ModuleType) -> None:
        pass


sys.modules[__name__].__class__ = _Package
