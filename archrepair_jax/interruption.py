"""SIGTERM and SIGINT: save and leave soon, whatever the program is doing."""

import os
import signal
import socket
import threading

PATIENCE = 8.0  # seconds to reach the next step; a compilation can take longer
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """From construction on, a signal asks loops to save and stop, and ends the process after ``PATIENCE`` seconds.

    Python runs its own handlers only between two bytecodes of the main thread, which may be inside the compiler for
    long; so a second thread waits at the socket that the interpreter writes signals to. Ending the process there is
    safe: whatever is on disk was written whole.
    """

    def __init__(self):
        self._asked = threading.Event()
        self.number = 0
        ear, mouth = socket.socketpair()
        mouth.setblocking(False)
        for number in SIGNALS:
            signal.signal(number, self._note)
        signal.set_wakeup_fd(mouth.fileno())
        self._sockets = ear, mouth
        threading.Thread(target=self._watch, daemon=True).start()

    def _note(self, number: int, _frame) -> None:
        self.number = number
        self._asked.set()

    def _watch(self) -> None:
        ear, _ = self._sockets
        while (received := ear.recv(1)[0]) not in SIGNALS:
            continue
        self.number = received
        self._asked.set()
        threading.Event().wait(PATIENCE)
        os._exit(128 + received)

    def __call__(self) -> bool:
        """Whether the run was asked to stop."""
        return self._asked.is_set()
