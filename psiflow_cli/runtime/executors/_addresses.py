"""Where workers find this host, and the ports that a firewall leaves open between them and it."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
import socket

from psiflow_cli.errors import BadConfig, NoResources
from psiflow_cli.site import schema
from psiflow_cli.site.detect import beside_its_job
from psiflow_cli.site.executor import ResolvedExecutor

LOOPBACK = "127.0.0.1"


def of_this_host(resolved: ResolvedExecutor) -> list[str]:
    """The numeric addresses that workers try: those that `address` names, else loopback if they run here, else all.

    Raises BadConfig for an `address` that names nothing.
    """
    wanted = [word.strip() for word in resolved.table.address.split(",") if word.strip()]
    if not wanted:
        return [LOOPBACK] if is_here(resolved) else _all()
    return list(dict.fromkeys(address for word in wanted for address in _named(word, resolved.label)))


def is_here(resolved: ResolvedExecutor) -> bool:
    """Whether the workers are processes of this host."""
    return resolved.provider.type == "local" and resolved.nodes == 1 and not beside_its_job()


def listen_on(addresses: list[str]) -> str | None:
    """The one address to listen on, if it is an interface's; None for all: another host may pass connections on."""
    own = [address for of_interface in _interfaces().values() for address in of_interface]
    return addresses[0] if len(addresses) == 1 and addresses[0] in own else None


def free_port(resolved: ResolvedExecutor) -> int:
    """A port of the site's range that nobody listens on; 0, for any, without a range. Raises NoResources."""
    if not resolved.table.ports:
        return 0
    first, last = schema.port_range(resolved.table.ports)
    for port in range(first, last + 1):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    problem = f"[executors.{resolved.label}] ports: every port of {resolved.table.ports} is in use on this host"
    raise NoResources(problem, "each running command needs one: give a wider range")


def _interfaces() -> dict[str, list[str]]:
    """The addresses of each network interface, those of version 4 first."""
    import psutil

    families = (socket.AF_INET, socket.AF_INET6)
    return {
        name: [
            each.address.partition("%")[0] for family in families for each in addresses if each.family == family
        ]
        for name, addresses in psutil.net_if_addrs().items()
    }  # fmt: skip


def _all() -> list[str]:
    """Every address of version 4 of this host, and that of its name, loopback last.

    Parsl would ask a server in the internet as well, and wait half a minute behind a firewall.
    """
    own = [address for addresses in _interfaces().values() for address in addresses if "." in address]
    own += _resolved(socket.gethostname())
    return sorted(dict.fromkeys(own), key=lambda address: ipaddress.ip_address(address).is_loopback)


def _named(word: str, label: str) -> list[str]:
    """What an entry of `address` stands for: an address, a network, its prefix, an interface or a name of a host."""
    interfaces = _interfaces()
    own = [address for addresses in interfaces.values() for address in addresses]
    try:
        if "/" in word:
            network = ipaddress.ip_network(word, strict=False)
            named = [address for address in own if ipaddress.ip_address(address) in network]
        elif (re.fullmatch(r"[0-9.]+", word) and word.count(".") < 3) or word.endswith("."):
            named = [address for address in own if f"{address}.".startswith(f"{word.rstrip('.')}.")]
        elif ":" in word or re.fullmatch(r"[0-9.]+", word):
            named = [str(ipaddress.ip_address(word))]
        else:
            of_interface = [interfaces[name] for name in interfaces if fnmatch.fnmatchcase(name, word)]
            named = [each for addresses in of_interface for each in addresses[:1]] or _resolved(word)
    except ValueError as error:
        raise BadConfig(f"[executors.{label}] address: {error}", _there_are(interfaces)) from None
    if not named:
        problem = f"[executors.{label}] address: {word!r} is not an address, network, interface or name of this host"
        raise BadConfig(problem, _there_are(interfaces))
    return named


def _resolved(name: str) -> list[str]:
    try:
        return [str(address[4][0]) for address in socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)]
    except OSError:
        return []


def _there_are(interfaces: dict[str, list[str]]) -> str:
    there = (f"{name} {addresses[0]}" for name, addresses in interfaces.items() if addresses)
    return f"this host has {', '.join(there)}"
