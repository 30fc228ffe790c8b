"""IP quantisation of peer tags (spec/client-stats.md §3.2)."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtrace_manual._stats.addresses import quantize_addresses


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("10.0.0.1:5432", "blocked-ip-address:5432"),
        ("10.0.0.1,10.0.0.2,db", "blocked-ip-address,db"),
        ("http://10.0.0.1/x", "http://blocked-ip-address/x"),
        ("1.2.3.4.com", "blocked-ip-address.com"),
        ("1.2.3.4", "blocked-ip-address"),
        ("ip-10-152-4-129.ec2.internal", "ip-blocked-ip-address.ec2.internal"),
        ("10_0_0_1", "blocked-ip-address"),
        ("10-0_0-1", "10-0_0-1"),
        ("dnspoll:///1.2.3.4:53", "dnspoll:///blocked-ip-address:53"),
        ("https://1.2.3.4", "https://blocked-ip-address"),
        ("gopher://1.2.3.4", "gopher://1.2.3.4"),
        ("http:/1.2.3.4", "http:/1.2.3.4"),
        ("1.2.3.256", "1.2.3.256"),
        ("1.2.3.04", "1.2.3.04"),
        ("01.2.3.4", "01.2.3.4"),
        ("1.2.3", "1.2.3"),
        ("x1.2.3.4", "x1.2.3.4"),
        ("2001:db8::1", "blocked-ip-address"),
        ("[2001:db8::1]:80", "blocked-ip-address:80"),
        ("[2001:db8::1]", "blocked-ip-address"),
        ("[2001:db8::1]x", "[2001:db8::1]x"),
        ("[2001:db8::1", "[2001:db8::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("12:34:56", "12:34:56"),
        ("::ffff:1.2.3.4", "blocked-ip-address"),
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("::1", "::1"),
        ("[::1]:80", "[::1]:80"),
        ("169.254.169.254", "169.254.169.254"),
        ("fd00:ec2::254", "fd00:ec2::254"),
        ("http://169.254.170.2/v2", "http://169.254.170.2/v2"),
        ("db,db,db2", "db,db2"),
        ("localhost", "localhost"),
        ("", ""),
        ("host:port:more", "host:port:more"),
    ],
)
def test_table(value, expected):
    """Addresses become one text, with prefix, port and suffix kept; well-known ones and names stay."""
    assert quantize_addresses(value) == expected


@given(st.ip_addresses())
def test_every_address_is_blocked(address):
    """Whatever the address, its own text becomes the blocked text, unless it is a well-known one."""
    text = str(address)
    if text in ("127.0.0.1", "::1", "169.254.169.254", "fd00:ec2::254", "169.254.170.2"):
        return
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        return
    assert quantize_addresses(text) == "blocked-ip-address"


@given(st.text(alphabet="0123456789.:-_[]%,/ahipt", max_size=40))
def test_any_text_is_survived(value):
    """Near misses never raise, and a second pass changes nothing in the parts already blocked."""
    once = quantize_addresses(value)
    assert once.count(",") <= value.count(",")
