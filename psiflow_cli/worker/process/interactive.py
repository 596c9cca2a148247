"""A program that is kept running and answers line by line, with a limit on each answer's time and on its memory."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from psiflow_cli.worker.pool import watchdog
from psiflow_cli.worker.process import subprocesses
from psiflow_cli.worker.process.subprocesses import Outcome


class InteractiveProgram:
    """A running program, whose prompt is a line that it prints when it waits for a command.

    Like `subprocesses.run` it leads a session of its own, and on Linux it dies with the thread that made it. Raises
    OSError if it cannot be started.
    """

    def __init__(
        self, argv: Sequence[str], prompt: str, *, cwd: Path, env: Mapping[str, str], cpus: Sequence[int] | None = None
    ) -> None:
        self._prompt = prompt.encode()
        self._process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=subprocesses.in_child(cpus),
        )

    @property
    def alive(self) -> bool:
        """Whether it can be asked more."""
        return self._process.poll() is None

    def ask(self, command: str, seconds: float | None = None, memory: float | None = None) -> tuple[Outcome, str]:
        """Send a line (none if it is empty) and wait for the prompt; returns what was printed before it.

        If the program ends, takes more than `seconds`, or holds more than `memory` MB, it is ended with all its
        processes, and the outcome's return code is not 0.
        """
        watchdog.extend(seconds)
        start = time.monotonic()
        assert self._process.stdin is not None
        if command:
            with contextlib.suppress(BrokenPipeError):  # what it printed before it ended is read below
                self._process.stdin.write(command.encode() + b"\n")
                self._process.stdin.flush()
        printed = b""
        timed_out = out_of_memory = False
        while not timed_out and not out_of_memory:
            chunk = self._read(self._patience(start, seconds, memory))
            if chunk == b"":
                break
            printed += chunk or b""
            lines = printed.splitlines()
            if lines and lines[-1].strip() == self._prompt and printed.endswith(b"\n"):
                return Outcome(0, time.monotonic() - start), b"\n".join(lines[:-1]).decode(errors="replace")
            timed_out = seconds is not None and time.monotonic() - start >= seconds
            out_of_memory = memory is not None and subprocesses.memory_of(self._process.pid) > memory
        code = self.close()
        outcome = Outcome(code or 1, time.monotonic() - start, timed_out, out_of_memory)
        return outcome, printed.decode(errors="replace")

    def _patience(self, start: float, seconds: float | None, memory: float | None) -> float | None:
        remaining = None if seconds is None else max(0.0, start + seconds - time.monotonic())
        if memory is None:
            return remaining
        return subprocesses.MEMORY_POLL if remaining is None else min(remaining, subprocesses.MEMORY_POLL)

    def _read(self, patience: float | None) -> bytes | None:
        """What it printed, b"" at its end, or None if it printed nothing in time."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], patience)
        return os.read(self._process.stdout.fileno(), 1 << 16) if ready else None

    def close(self) -> int:
        """End it with all its processes; returns its return code, negative for a signal."""
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.1)  # it may be about to end by itself, with a code that tells more than a signal
        subprocesses.end(self._process)
        return self._process.returncode
