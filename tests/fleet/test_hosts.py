"""Where a host is by its name alone, in all the forms in which an address can be written."""

from __future__ import annotations

import pytest

from agentfleet.fleet.hosts import host_problem, is_listed, place_of


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("localhost", "device"),
        ("LOCALHOST.", "device"),
        ("a.localhost", "device"),
        ("127.0.0.53", "device"),
        ("127.1", "device"),
        ("2130706433", "device"),
        ("0x7f000001", "device"),
        ("::1", "device"),
        ("::ffff:127.0.0.1", "device"),
        ("10.0.0.1", "private"),
        ("167772161", "private"),
        ("0.0.0.0", "private"),
        ("169.254.169.254", "private"),
        ("100.64.0.1", "private"),
        ("fe80::1%eth0", "private"),
        ("fd12::1", "private"),
        ("::ffff:10.0.0.1", "private"),
        ("8.8.8.8", "cloud"),
        ("2001:4860:4860::8888", "cloud"),
        ("models.example", "cloud"),
        ("localhost.example", "cloud"),
    ],
)
def test_place(host: str, place: str) -> None:
    assert place_of(host) == place


def test_a_listed_host_is_a_name_an_address_or_in_a_network() -> None:
    assert is_listed("10.2.3.4", ["10.0.0.0/8"])
    assert is_listed("gpu.lan", ["gpu.lan"])
    assert not is_listed("10.2.3.4", ["192.168.0.0/16", "gpu.lan", "fd00::/8"])
    assert not is_listed("gpu.lan", ["10.0.0.0/8"])
    assert [host_problem(entry) for entry in ("gpu.lan", "10.0.0.0/8", "::1")] == ["", "", ""]
    assert all(host_problem(entry) for entry in ("", "http://x", "10.0.0.0/99", " x"))
