"""The room's task, which loads Optuna when it runs: that is an extra."""

from collections.abc import Callable, Mapping
from typing import Any


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
    where = [f"The table: {report['table']}", f"The report: {workdir}/report.html (in plain text: report.md)"]
    print("\n\n".join("\n".join(block) for block in (report["lines"], report["summary"], where) if block))
