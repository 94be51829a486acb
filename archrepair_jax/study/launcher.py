"""Jobs on one machine: one after the other, or several at once, each in a process of its own on its share of the cores.

A process a job, and not one for many: what a job leaves in memory goes with it, and one that the system kills takes no
other along. What that costs, loading JAX anew, is small beside a job, since compiled functions are shared on disk.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import pathlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait

from absl import logging

from archrepair_jax.study.execution import Outcome, compile_once, perform
from archrepair_jax.study.jobs import Job
from archrepair_jax.training.loop import Stopped

LOOK = 0.2  # seconds between two looks at signals
PATIENCE = 5.0  # seconds for processes to save and leave; the parent is given 8 (cli.interruption)
SPAWN = multiprocessing.get_context("spawn")  # a fork would take JAX's threads along


def launch(
    jobs: Sequence[Job], folder: pathlib.Path, processes: int, stopping: Callable[[], bool]
) -> Iterator[Outcome]:
    """Performs jobs, ``processes`` at once (0: one a core), and gives each one's outcome as soon as it is there.

    Raises Stopped when asked to stop; running jobs save and leave.
    """
    count = min(processes or len(cores()), len(jobs))
    if count > 1:
        yield from in_processes(jobs, folder, count, stopping)
        return
    compile_once(folder)
    for job in jobs:
        yield perform(job, folder, stopping)


@dataclasses.dataclass
class Worker:
    """A job under way."""

    job: Job
    process: multiprocessing.process.BaseProcess
    share: set[int]


def in_processes(
    jobs: Sequence[Job], folder: pathlib.Path, count: int, stopping: Callable[[], bool]
) -> Iterator[Outcome]:
    waiting, free, busy = list(jobs), [set(cores()[first::count]) for first in range(count)], {}
    try:
        while waiting or busy:
            if stopping():
                raise Stopped(f"{len(waiting) + len(busy)} jobs are left")
            while waiting and free:
                ours, worker = start(waiting.pop(0), folder, free.pop(0))
                busy[ours] = worker
            for ours in wait(list(busy), LOOK):
                worker = busy.pop(ours)
                free.append(worker.share)
                yield received(ours, worker)
    finally:
        end([worker.process for worker in busy.values()])


def start(job: Job, folder: pathlib.Path, share: set[int]) -> tuple[Connection, Worker]:
    """A process for the job; this end of its pipe closes when it dies, however it does."""
    ours, theirs = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=work, args=(job, folder, theirs), name=job.name)
    with pinned(share):
        process.start()
    theirs.close()
    return ours, Worker(job, process, share)


def received(ours: Connection, worker: Worker) -> Outcome:
    """What a process has sent; of one that died before, an error with how it did."""
    try:
        return ours.recv()
    except EOFError:
        worker.process.join()
        code = worker.process.exitcode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        return Outcome(worker.job, error=ChildProcessError(f"its process {how}"))
    finally:
        ours.close()
        worker.process.join()


def end(processes: Sequence[multiprocessing.process.BaseProcess]) -> None:
    """Asks processes to save and leave, and ends those that do not, all in ``PATIENCE``: what is on disk is whole."""
    killing = threading.Timer(PATIENCE, lambda: [process.kill() for process in processes])
    killing.start()
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()
    killing.cancel()


def work(job: Job, folder: pathlib.Path, theirs: Connection) -> None:
    """In the job's own process. A terminal's SIGINT reaches it too: it is the parent that decides what to do then."""
    asked = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    threading.Thread(target=leave_with_parent, daemon=True).start()
    logging.set_verbosity(logging.ERROR)
    compile_once(folder)
    with contextlib.suppress(Stopped):
        theirs.send(perform(job, folder, asked.is_set))


def leave_with_parent() -> None:
    """Ends the process when its parent has, so that a study that was killed does not hold its folders any longer."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def cores() -> list[int]:
    """Those that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


@contextlib.contextmanager
def pinned(share: set[int]) -> Iterator[None]:
    """What is started inside runs on these cores from its first instruction on, so that its libraries see no others.

    Where there are fewer cores than processes a share may be empty, and is then all of them; nor can every system pin.
    """
    before = set(cores())
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share or before)
    try:
        yield
    finally:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, before)
