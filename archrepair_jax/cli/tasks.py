"""What the command line can do: a config's ``task`` names one of ``TASKS``; without one, it is about images."""

from collections.abc import Callable
from typing import Any, NamedTuple

from archrepair_jax.line import images, region_settings, regions, settings
from archrepair_jax.reporting.progress import console_table
from archrepair_jax.reporting.regions import console


class Task(NamedTuple):
    """How to read a config, run it, and show its report."""

    settings: Callable[..., Any]
    run: Callable[..., dict[str, Any]]
    show: Callable[[dict[str, Any]], None]


TASKS = {
    "images": Task(settings.from_config, images.run, console_table),
    region_settings.TASK: Task(region_settings.from_config, regions.run, console),
}
