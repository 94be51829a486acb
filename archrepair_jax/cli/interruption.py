"""SIGTERM and SIGINT: save and leave soon, whatever the program is doing."""

import os
import signal
import socket
import sys
import threading

PATIENCE = 8.0  # seconds to reach the next step; a compilation can take longer
SIGNALS = (signal.SIGTERM, signal.SIGINT)
SHOW_CURSOR = "\x1b[?25h"  # a progress bar hides it


class Interruption:
    """Inside ``with``, a signal asks loops to save and stop, and ends the process if they have not after ``PATIENCE``.

    Python runs its own handlers only between two bytecodes of the main thread, which may be inside the compiler for
    long; so a second thread waits at the socket that the interpreter writes signals to. Ending the process there is
    safe: whatever is on disk was written whole.

    Attributes:
        number: of the signal that came; 0 before.
    """

    def __init__(self):
        self._asked, self._left = threading.Event(), threading.Event()
        self.number = 0

    def __enter__(self) -> "Interruption":
        ear, self._mouth = socket.socketpair()
        self._mouth.setblocking(False)
        self._handlers = {number: signal.signal(number, self._note) for number in SIGNALS}
        self._wakeup = signal.set_wakeup_fd(self._mouth.fileno())
        threading.Thread(target=self._watch, args=(ear,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._mouth.close()

    def __call__(self) -> bool:
        """Whether the run was asked to stop."""
        return self._asked.is_set()

    def _note(self, number: int, _frame) -> None:
        self.number = number
        self._asked.set()

    def _watch(self, ear: socket.socket) -> None:
        with ear:
            while received := ear.recv(1):
                if received[0] in SIGNALS:
                    self._note(received[0], None)
                    if not self._left.wait(PATIENCE):
                        leave(received[0])


def leave(number: int) -> None:
    """Ends the process from any thread, without waiting for anything."""
    cursor = SHOW_CURSOR if sys.stderr.isatty() else ""
    os.write(
        2, f"{cursor}stopped in the middle of a step; the same command continues from the last one kept\n".encode()
    )
    os._exit(128 + number)
