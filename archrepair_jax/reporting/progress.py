"""What a run says while it works: how far it is, with the time left."""

import sys
import time
from collections.abc import Callable
from io import TextIOBase

import rich.console
import rich.progress

from archrepair_jax.reporting.wording import duration, title

PATIENCE = 10.0  # seconds after which a plain line is due
BRISKNESS = 1.0  # seconds between two plain lines at least


class Progress:
    """How far the work is: a bar on a terminal, else a plain line every 10 % or 10 seconds, whichever is sooner.

    ::

        with Progress() as progress:
            progress.task("search", total=300)
            for step in range(300):
                progress.advance(words="loss 0.52")

    One task runs at a time; a loop that knows its own place calls ``report`` instead.

    Args:
        stream: where to write; standard error by default, which leaves standard output to the results.
        clock: the seconds now; for the tests.
    """

    def __init__(self, stream: TextIOBase | None = None, clock: Callable[[], float] = time.monotonic):
        stream = sys.stderr if stream is None else stream
        self._display = _Bar(stream) if is_terminal(stream) else _Lines(stream, clock)
        self._name, self._total, self._done = "", 0, 0

    def __enter__(self) -> "Progress":
        self._display.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._display.close()

    def task(self, name: str, total: int, done: int = 0) -> None:
        """Starts a task of ``total`` steps, ``done`` of which were made by an earlier, interrupted run."""
        self._name, self._total, self._done = name, total, done
        self._display.start(title(name), total, done)

    def advance(self, steps: int = 1, words: str = "") -> None:
        """Says that the task is ``steps`` further; ``words`` (on the loss, say) stand beside the count."""
        self.report(self._name, self._done + steps, self._total, words)

    def report(self, name: str, done: int, total: int, words: str = "") -> None:
        """Says how many steps of a task are done; a name that is new, or a count that fell, starts a task."""
        if name != self._name or done < self._done:
            self.task(name, total, done)
        self._done = done
        self._display.update(done, words)


class _Bar:
    """Progress on a terminal."""

    def __init__(self, stream: TextIOBase):
        self._bar = rich.progress.Progress(
            "{task.description}",
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[words]}"),
            rich.progress.TimeRemainingColumn(),
            console=rich.console.Console(file=stream),
        )
        self.open, self.close = self._bar.start, self._bar.stop

    def start(self, name: str, total: int, done: int) -> None:
        self._task = self._bar.add_task(name, total=total, completed=done, words="")

    def update(self, done: int, words: str) -> None:
        self._bar.update(self._task, completed=done, words=words)


class _Lines:
    """Progress for logs and pipes: no control characters, few lines."""

    def __init__(self, stream: TextIOBase, clock: Callable[[], float]):
        self._stream, self._clock = stream, clock

    def open(self) -> None:
        """Nothing to prepare."""

    def close(self) -> None:
        """Nothing to clear away: the lines stay."""

    def start(self, name: str, total: int, done: int) -> None:
        self._name, self._total = name, total
        self._pace_from = None  # the first update, because what came before it was mostly compilation
        self._told_at, self._told_done = self._clock(), done

    def update(self, done: int, words: str) -> None:
        now = self._clock()
        self._pace_from = self._pace_from or (now, done)
        silence, tenth = now - self._told_at, 10 * (done - self._told_done) >= self._total
        if done >= self._total or silence >= PATIENCE or (silence >= BRISKNESS and tenth):
            parts = [self._name, f"{done}/{self._total}", words, self._left(now, done)]
            print("  ".join(part for part in parts if part), file=self._stream, flush=True)
            self._told_at, self._told_done = now, done

    def _left(self, now: float, done: int) -> str:
        since, first = self._pace_from
        if first == done or done >= self._total:
            return ""
        return f"about {duration((now - since) / (done - first) * (self._total - done))} left"


def is_terminal(stream: TextIOBase) -> bool:
    return stream.isatty() and not rich.console.Console(file=stream).is_dumb_terminal
