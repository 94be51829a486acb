"""Seconds of work, with compilation apart."""

import time
from typing import Any

import jax

COMPILING = "/jax/core/compile/"  # jax.monitoring's events of tracing, lowering and compiling


class Clock:
    """Measures what runs inside ``with``.

    Attributes:
        seconds: without compilation.
        compile_seconds: of compilation.
    """

    def __enter__(self) -> "Clock":
        self.seconds, self.compile_seconds = 0.0, 0.0
        self._start, self._compiling = time.monotonic(), []
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        return self

    def _listen(self, event: str, duration: float, **_: Any) -> None:
        if event.startswith(COMPILING):
            now = time.monotonic()
            self._compiling.append((max(now - duration, self._start), now))

    def __exit__(self, *_: Any) -> None:
        jax.monitoring.unregister_event_duration_listener(self._listen)
        self.compile_seconds = covered(self._compiling)
        self.seconds = time.monotonic() - self._start - self.compile_seconds

    @property
    def cost(self) -> dict[str, float]:
        return {"seconds": self.seconds, "compile_seconds": self.compile_seconds}


def covered(spans: list[tuple[float, float]]) -> float:
    """The length of the union of intervals: a function that is traced inside another one counts once."""
    length, reached = 0.0, -float("inf")
    for start, stop in sorted(spans):
        length += max(0.0, stop - max(start, reached))
        reached = max(reached, stop)
    return length
