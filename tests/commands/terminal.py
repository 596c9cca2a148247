"""A command on a terminal: what it draws, and what it is typed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

from tests.commands.inputs import PSIFLOW


def _take_terminal():
    """Make stdin the terminal of this process, and Ctrl-C a signal, also if the tests run in the background."""
    fcntl.ioctl(0, termios.TIOCSCTTY)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """`psiflow ARGS` with all three streams on a terminal of its own; `type` answers it, `end` waits for it."""

    def __init__(self, *args, program=PSIFLOW, columns=80, lines=24, **environment):
        self._own, there = pty.openpty()
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        environment = {**os.environ, "TERM": "xterm", **environment}
        for size in ("COLUMNS", "LINES"):  # of the terminal that the tests run in
            environment.pop(size, None)
        self.process = subprocess.Popen(
            [program, *map(str, args)],
            stdin=there, stdout=there, stderr=there, env=environment,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )  # fmt: skip
        os.close(there)
        self.text = ""

    def read_until(self, what, seconds=60):
        """Read on until this was shown."""
        deadline = time.monotonic() + seconds
        while what not in self.text:
            assert time.monotonic() < deadline, self.text
            self._read()

    def _read(self):
        """Take what is there; False at the end."""
        if not select.select([self._own], [], [], 0.2)[0]:
            return True
        with contextlib.suppress(OSError):  # the other side is closed
            if data := os.read(self._own, 1 << 16):
                self.text += data.decode(errors="replace").replace("\r\n", "\n")
                return True
        return False

    def type(self, keys):
        """Send keys."""
        os.write(self._own, keys.encode())

    def end(self, seconds=60):
        """Wait for the end; returns (exit code, everything shown)."""
        deadline = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < deadline, self.text
        os.close(self._own)
        return self.process.wait(10), self.text
