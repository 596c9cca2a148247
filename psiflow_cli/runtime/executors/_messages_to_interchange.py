"""What the command sends to Parsl's interchange; seen in Parsl 2026.10.26."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast

from psiflow_cli.runtime.parsl_internals import interchange_has_ended, require

if TYPE_CHECKING:
    import zmq
    from parsl.executors import HighThroughputExecutor

_LOOK_MS = 200


def bound(executor: HighThroughputExecutor) -> None:
    """Let nothing that is sent to the interchange wait for one that has died; call it once it has started.

    Parsl sends tasks and asks questions without a time limit. A task for a dead interchange is lost like those it held.
    """
    import zmq

    require(executor, "command_client", "interchange_proc", "outgoing_q")
    client, tasks = cast("Any", executor.command_client), cast("Any", executor.outgoing_q)
    require(client, "zmq_socket", "_lock", "run")
    require(tasks, "zmq_socket", "put")

    def is_ready(socket: zmq.Socket[bytes], flag: int) -> bool:
        while not socket.poll(_LOOK_MS, flag):
            if interchange_has_ended(executor):
                return False
        return True

    def run(message: object, max_retries: int = 3, timeout_s: float | None = None) -> object:
        with client._lock:
            if is_ready(client.zmq_socket, zmq.POLLOUT):
                client.zmq_socket.send_pyobj(message)
                if is_ready(client.zmq_socket, zmq.POLLIN):
                    return client.zmq_socket.recv_pyobj()
        raise OSError("the interchange has ended")

    def put(message: object) -> None:
        while is_ready(tasks.zmq_socket, zmq.POLLOUT):
            with contextlib.suppress(zmq.Again):  # it died in between
                tasks.zmq_socket.send_pyobj(message, zmq.NOBLOCK)
                return

    client.run, tasks.put = run, put
