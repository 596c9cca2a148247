"""What `address` and `ports` of an executor mean on a host with these interfaces."""

from __future__ import annotations

import socket

import pytest

from psiflow_cli.errors import BadConfig, NoResources
from psiflow_cli.runtime.executors import _addresses
from psiflow_cli.site import detect, load, resolve

INTERFACES = {
    "lo": ["127.0.0.1", "::1"], "eth0": ["192.0.2.2", "fd00::2"], "down": [],
    "ib0": ["10.141.0.7"], "ib1": ["10.142.0.7"],
}  # fmt: skip
SITE = """
[providers.some]
{provider}
[resources.task]
[executors.default]
provider = "some"
resources = "task"
{executor}
[use]
default = "default"
"""
BATCH = 'type = "slurm"\ncores_per_node = 1'


@pytest.fixture
def executor(monkeypatch, tmp_path):
    """An executor with more keys in its table, on a host whose own name is that of its loopback."""
    monkeypatch.setattr(_addresses, "_interfaces", lambda: INTERFACES)
    monkeypatch.setattr(_addresses, "_resolved", lambda name: {"login": ["198.51.100.1"]}.get(name, []))

    def make(executor="", provider=BATCH):
        (tmp_path / "site.toml").write_text(SITE.format(executor=executor, provider=provider))
        return resolve.executor_of(load.load(str(tmp_path / "site.toml")), "emt", "label", detect.machine())

    return make


@pytest.mark.parametrize(
    ("address", "addresses", "listens_on"),
    [
        ("", ["192.0.2.2", "10.141.0.7", "10.142.0.7", "127.0.0.1"], None),
        ("203.0.113.9", ["203.0.113.9"], None),  # of a gateway
        ("10.141.0.7", ["10.141.0.7"], "10.141.0.7"),
        ("ib0", ["10.141.0.7"], "10.141.0.7"),
        ("ib*", ["10.141.0.7", "10.142.0.7"], None),
        ("10.141.0.0/16", ["10.141.0.7"], "10.141.0.7"),
        ("10.141", ["10.141.0.7"], "10.141.0.7"),
        ("10.", ["10.141.0.7", "10.142.0.7"], None),
        ("fd00::/16", ["fd00::2"], "fd00::2"),
        ("login", ["198.51.100.1"], None),
        ("ib1, login,ib1", ["10.142.0.7", "198.51.100.1"], None),
    ],
)
def test_an_address_is_one_or_an_interface_a_network_or_a_name(executor, address, addresses, listens_on):
    resolved = executor(f'address = "{address.replace(" ", "")}"')
    assert _addresses.of_this_host(resolved) == addresses
    assert _addresses.listen_on(addresses) == listens_on


@pytest.mark.parametrize("address", ["ib7", "172.16.0.0/12", "10.14", "10.141.0.0/99", "10.141.0.700"])
def test_an_address_of_nothing_is_refused_with_what_there_is(executor, address):
    with pytest.raises(BadConfig) as caught:
        _addresses.of_this_host(executor(f'address = "{address}"'))
    assert caught.value.message.startswith("[executors.default] address: ")
    assert caught.value.hint == "this host has lo 127.0.0.1, eth0 192.0.2.2, ib0 10.141.0.7, ib1 10.142.0.7"


def test_workers_on_this_host_use_loopback_and_those_of_an_allocation_try_all(executor):
    assert _addresses.of_this_host(executor(provider='type = "local"\nnodes = 1')) == ["127.0.0.1"]
    assert len(_addresses.of_this_host(executor(provider='type = "local"\nnodes = 2'))) == 4


def test_a_free_port_of_the_range_is_taken(executor):
    with socket.socket() as busy:
        busy.bind(("", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert _addresses.free_port(executor()) == 0
        assert _addresses.free_port(executor(f'ports = "{port}-{port + 100}"')) > port
        with pytest.raises(NoResources, match=f"every port of {port}-{port} is in use"):
            _addresses.free_port(executor(f'ports = "{port}-{port}"'))


@pytest.mark.parametrize("ports", ["51000-50000", "1000-2000", "50000-70000", "50000", "a-b"])
def test_a_range_that_is_none_is_refused(executor, ports):
    with pytest.raises(BadConfig, match=r"site.toml: \[executors.default\] ports: "):
        executor(f'ports = "{ports}"')
