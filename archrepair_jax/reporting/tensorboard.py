"""TensorBoard's event files, without TensorFlow: the numbers behind the words of the progress."""

import contextlib
import functools
from collections.abc import Callable, Iterator

from archrepair_jax.errors import InputError

Report = Callable[[str, int, int, str], None]


@contextlib.contextmanager
def recorded(report: Report, folder: str) -> Iterator[Report]:
    """Within it, what a loop reports also goes into event files in ``folder``, as far as there are numbers to it.

    Without a folder there is nothing but the report. Raises InputError where the extra is not installed.
    """
    if not folder:
        yield report
        return
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise InputError("--tensorboard needs a package more: pip install 'archrepair-jax[tensorboard]'") from error
    with contextlib.ExitStack() as stack:
        writer = functools.cache(lambda: stack.enter_context(SummaryWriter(folder)))  # what is refused leaves no folder

        def both(name: str, done: int, total: int, words: str) -> None:
            report(name, done, total, words)
            for metric, value in getattr(words, "numbers", {}).items():
                writer().add_scalar(f"{name.replace(': ', '/')}/{metric}", value, done)

        yield both
