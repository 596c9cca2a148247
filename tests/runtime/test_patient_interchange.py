"""An interchange that stood still gives up no pool, and a pool without a connection is given up at once."""

from __future__ import annotations

import time

import pytest
import zmq
from parsl.executors.high_throughput import interchange

from psiflow_cli.runtime.executors import _interchange

Patient = _interchange.patient(interchange)
PATIENCE = 600.0


@pytest.fixture
def pools():
    """A patient interchange with two connected pools, and how to have it look at them."""
    context = zmq.Context()
    one = Patient.__new__(Patient)
    one.heartbeat_threshold, one._ready_managers = PATIENCE, {}
    one.manager_sock, one.results_outgoing = context.socket(zmq.ROUTER), None
    port = one.manager_sock.bind_to_random_port("tcp://127.0.0.1")
    sockets = {}
    for name in (b"a", b"b"):
        sockets[name] = context.socket(zmq.DEALER)
        sockets[name].setsockopt(zmq.IDENTITY, name)
        sockets[name].connect(f"tcp://127.0.0.1:{port}")
        sockets[name].send(b"hello")
        one.manager_sock.recv_multipart()
        one._ready_managers[name] = {"last_heartbeat": time.time(), "tasks": [], "active": False, "hostname": "n1"}
    one.expire_bad_managers(set(), None)
    yield one, sockets
    context.destroy(linger=0)


def look(one, *, silent=0.0, stood_still=0.0):
    """Look again, as if so many seconds had passed since the last heartbeats, or in which nothing was done at all."""
    for manager in one._ready_managers.values():
        manager["last_heartbeat"] -= silent + stood_still
    one.last_turn -= stood_still
    one.next_check = 0.0
    one.expire_bad_managers(set(), None)
    return sorted(one._ready_managers)


def test_its_own_standstill_is_not_held_against_the_pools(pools):
    assert look(pools[0], stood_still=10 * PATIENCE) == [b"a", b"b"]


def test_a_silent_pool_is_waited_for_as_long_as_it_is_connected(pools):
    one, sockets = pools
    assert look(one, silent=PATIENCE / 2) == [b"a", b"b"]
    assert sockets[b"a"].recv() == interchange.PKL_HEARTBEAT_CODE
    assert look(one, silent=PATIENCE / 2 + 1) == []
    assert sockets[b"a"].recv() == interchange.PKL_SHUTDOWN_CODE, "it may go on, and nobody waits for it"


def test_a_pool_that_is_gone_is_given_up_after_three_heartbeats(pools):
    one, sockets = pools
    sockets[b"b"].close(linger=0)
    assert look(one, silent=_interchange._SILENT_S / 2) == [b"a", b"b"]
    deadline = time.monotonic() + 10
    while look(one, silent=_interchange._SILENT_S / 2) != [b"a"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        one._ready_managers[b"a"]["last_heartbeat"] = time.time()
