"""Where a host is, as far as its name tells: this machine, a private network, or the world. Nothing is looked up."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from typing import Literal

Location = Literal["device", "private", "cloud"]
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def place_of(host: str) -> Location:
    """Loopback is device; addresses that the internet does not route (private, link-local, shared) are private.

    A name is cloud, ``localhost`` apart: what it resolves to is only known when it is called.
    """
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return "device"
    address = address_of(host)
    if address is None:
        return "cloud"
    if address.is_loopback:
        return "device"
    return "cloud" if address.is_global else "private"


def address_of(host: str) -> _Address | None:
    """The address that a host is, also in the short and numeric forms that C libraries take (127.1, 0x7f000001)."""
    try:
        found: _Address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        try:
            found = ipaddress.IPv4Address(socket.inet_aton(host))
        except (OSError, ValueError):
            return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


def is_listed(host: str, allowed: Sequence[str]) -> bool:
    """Stands a host in a list of hosts, addresses and networks (10.0.0.0/8)?"""
    address = address_of(host)
    return any(host == entry or (address is not None and _within(address, entry)) for entry in allowed)


def host_problem(entry: str) -> str:
    """Why an entry of such a list cannot be meant; "" when it can."""
    if not entry or "://" in entry or entry != entry.strip():
        return f'{entry!r} is no host; write a name, an address or a network, e.g. "10.0.0.0/8"'
    if "/" in entry:
        try:
            ipaddress.ip_network(entry)
        except ValueError as error:
            return f"{entry!r} is no network: {error}"
    return ""


def _within(address: _Address, entry: str) -> bool:
    try:
        return address in ipaddress.ip_network(entry)
    except (ValueError, TypeError):
        return False
