"""What the command line can do: a config's ``task`` names one of ``TASKS``; without one, it is about images."""

from collections.abc import Callable
from typing import Any, NamedTuple

from archrepair_jax.line import images, region_settings, regions, settings


class Task(NamedTuple):
    """How to read a config, and run it."""

    settings: Callable[..., Any]
    run: Callable[..., dict[str, Any]]


TASKS = {
    "images": Task(settings.from_config, images.run),
    region_settings.TASK: Task(region_settings.from_config, regions.run),
}
