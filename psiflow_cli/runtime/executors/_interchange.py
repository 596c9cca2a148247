"""Parsl's interchange, which outlives a stall and tells a worker pool that is dead from one that is only silent.

    python light_parsl.py _interchange.py < CONFIGURATION

Parsl counts the seconds since a pool's last heartbeat, its own standstill included: an interchange that was stopped for
longer than the limit would give up every pool as soon as it went on. And with a limit of minutes, the tasks of a killed
pool would be missed for minutes. But the kernel of the pool's node closes its connection when its process dies, and
keeps it open while it is stopped or slow: a silent pool without a connection is dead.
"""

from __future__ import annotations

import pickle
import sys
import time
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parsl import Config, DataFlowKernel
    from parsl.executors.base import ParslExecutor

_STALL_S = 2.0
"""A turn of the interchange's loop takes 10 ms; what a longer one took is not held against the pools."""
_CHECK_S = 1.0
NOT_STARTED = "Interchange failed to start"
"""What Parsl's executor raises."""
_SILENT_S = 9.0
"""Three heartbeats."""


def patient(interchange: ModuleType) -> Any:
    """The class of Parsl's module, with its own way to find dead pools.

    Its `heartbeat_threshold` (s) is for those that are still connected.
    """

    class PatientInterchange(interchange.Interchange):  # type: ignore[misc, name-defined, unused-ignore]
        last_turn = next_check = 0.0

        def expire_bad_managers(self, *arguments: object) -> None:
            now = time.time()
            stalled = now - self.last_turn if self.last_turn else 0.0
            self.last_turn = now
            if stalled > _STALL_S:
                for manager in self._ready_managers.values():
                    manager["last_heartbeat"] += stalled
            if now < self.next_check < now + 2 * _CHECK_S:
                return
            self.next_check = now + _CHECK_S
            for identity, manager in self._ready_managers.items():
                silent = now - manager["last_heartbeat"]
                if silent > self.heartbeat_threshold:
                    # given up below: if it ever goes on, it must not wait for work that never comes
                    self.manager_sock.send_multipart([identity, interchange.PKL_SHUTDOWN_CODE])
                elif silent > _SILENT_S and not self.is_connected(identity):
                    manager["last_heartbeat"] = 0.0
            super().expire_bad_managers(*arguments)

        def is_connected(self, identity: bytes) -> bool:
            """Whether a pool's connection stands: a heartbeat can be sent to it."""
            zmq = interchange.zmq
            self.manager_sock.setsockopt(zmq.ROUTER_MANDATORY, 1)  # else what is sent to nobody is dropped in silence
            try:
                self.manager_sock.send_multipart([identity, interchange.PKL_HEARTBEAT_CODE])
            except zmq.ZMQError as error:
                return bool(error.errno != zmq.EHOSTUNREACH)
            finally:
                self.manager_sock.setsockopt(zmq.ROUTER_MANDATORY, 0)
            return True

    return PatientInterchange


def start_kernel(config: Config, executor: ParslExecutor) -> DataFlowKernel:
    """Parsl, started with an executor. Raises NoResources where the interchange, a process, is too slow for it."""
    import parsl

    from psiflow_cli.errors import NoResources

    try:
        return parsl.DataFlowKernel(config)
    except Exception as error:
        if str(error) != NOT_STARTED:
            raise
        if process := getattr(executor, "interchange_proc", None):
            process.kill()
        problem = "Parsl's interchange process did not start within two minutes"
        raise NoResources(problem, "this host may be overloaded; run the same command again to continue") from error


def _run() -> None:
    from parsl.executors.high_throughput import interchange
    from parsl.utils import setproctitle

    setproctitle("parsl: HTEX interchange")
    patient(interchange)(**pickle.load(sys.stdin.buffer)).start()


if __name__ == "__main__":
    _run()
