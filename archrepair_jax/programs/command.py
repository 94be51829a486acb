"""The room's task, which loads what else it needs when it runs: Optuna is an extra."""

from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from archrepair_jax.errors import InputError


def from_config(config: ConfigDict) -> Any:
    """The settings that a config holds. Raises InputError for others than a run can have, and without Optuna."""
    try:
        from archrepair_jax.programs import settings
    except ModuleNotFoundError as error:
        raise InputError(f"this needs {error.name}: python -m pip install 'archrepair-jax[programs]'") from error
    return settings.from_config(config)


def run(
    settings: Any,
    workdir: str,
    progress: Callable[[str, int, int, str], None] = lambda *_: None,
    stopping: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """See ``runner.run``."""
    from archrepair_jax.programs import runner

    return runner.run(settings, workdir, progress, stopping)


def show(report: Mapping[str, Any], workdir: str) -> None:
    """Prints what searches came to."""
    print(*report["lines"], "", *report["summary"], "", f"The table: {report['table']}", sep="\n")
