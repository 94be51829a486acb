"""What the command line can do: a config's ``task`` names one of ``TASKS``; without one, it is about images."""

from collections.abc import Callable
from typing import Any, NamedTuple

from archrepair_jax.line import images, region_settings, regions, settings
from archrepair_jax.programs import command as programs
from archrepair_jax.programs import settings as program_settings
from archrepair_jax.reporting import console
from archrepair_jax.study import runner, summary
from archrepair_jax.study import settings as study_settings


def show(report: dict[str, Any], workdir: str) -> None:
    """Prints a run's arms and verdict, and where there is more."""
    console.show(report)
    print(f"The whole report: {workdir}/report.html (in plain text: report.md)")


class Task(NamedTuple):
    """How to read a config, run it, and say what came out."""

    settings: Callable[..., Any]
    run: Callable[..., dict[str, Any]]
    show: Callable[[dict[str, Any], str], None] = show


TASKS = {
    "images": Task(settings.from_config, images.run),
    region_settings.TASK: Task(region_settings.from_config, regions.run),
    program_settings.TASK: Task(program_settings.from_config, programs.run, programs.show),
    study_settings.TASK: Task(study_settings.from_config, runner.run, summary.show),
}
