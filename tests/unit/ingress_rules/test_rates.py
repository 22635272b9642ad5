"""How often a caller may come, and where a caller comes from."""

from ipaddress import ip_network

import pytest

from penstock.networks import group_of
from penstock_ingress.accepting import rates
from penstock_ingress.accepting.rates import Rates
from penstock_ingress.rules.client_address import find_client

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def test_a_minute_of_requests_may_come_at_once_and_then_one_at_a_time() -> None:
    bounded = Rates(6)
    first = [bounded.take("a", now=100.0) for _ in range(7)]
    assert [(one.is_allowed, one.remaining) for one in first] == [
        (True, 5), (True, 4), (True, 3), (True, 2), (True, 1), (True, 0), (False, 0),
    ]  # fmt: skip
    assert (first[-1].wait_seconds, first[-1].reset_seconds) == (10, 60)
    assert bounded.take("b", now=100.0).is_allowed
    assert not bounded.take("a", now=109.0).is_allowed
    assert [bounded.take("a", now=110.0).is_allowed for _ in range(2)] == [True, False]
    assert bounded.take("a", now=170.0).remaining == 5


def test_who_was_refused_does_not_wait_longer_for_it() -> None:
    bounded = Rates(1)
    assert bounded.take("a", now=0.0).is_allowed
    assert not any(bounded.take("a", now=second).is_allowed for second in range(1, 60))
    assert bounded.take("a", now=60.0).is_allowed


def test_the_fields_say_limit_rest_and_reset() -> None:
    assert Rates(100).take("a", now=0.0).headers == {
        "RateLimit-Policy": '"default";q=100;w=60', "RateLimit": '"default";r=99;t=1',
    }  # fmt: skip


def test_callers_without_number_take_no_memory_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_MAX_KEYS", 100)
    bounded = Rates(2)
    for number in range(1000):
        bounded.take(f"caller {number}", now=number / 100)
    assert len(bounded._busy_until) <= 100
    assert [bounded.take("caller 999", now=10.0).is_allowed for _ in range(2)] == [True, False]


def test_without_a_limit_nobody_is_exhausted() -> None:
    assert not Rates(0).is_exhausted("a")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", ["203.0.113.7"], "192.0.2.1"),  # nobody whom we trust: anybody can send the header
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["1.1.1.1", "203.0.113.7, 10.9.9.9"], "203.0.113.7"),
        ("10.0.0.1", ["10.2.2.2"], "10.2.2.2"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7, \x00"], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("fd00::1", ["[2001:db8::7]"], "2001:db8::7"),
        ("10.0.0.1", [",".join(["203.0.113.7"] + ["10.2.2.2"] * 5000)], "10.2.2.2"),
        (None, ["203.0.113.7"], None),
        ("10.0.0.1", ["203.0.113.7:4711"], "203.0.113.7"),  # as Azure's gateways write it
        ("fd00::1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("10.0.0.1", ["1.1.1.1:a:b"], "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_whom_a_trusted_proxy_names(
    peer: str | None, forwarded: list[str], client: str | None
) -> None:
    assert find_client(peer, forwarded, TRUSTED) == client


def test_without_trusted_proxies_the_client_is_who_connects() -> None:
    assert find_client("10.0.0.1", ["203.0.113.7"], ()) == "10.0.0.1"


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("what:is:this", "what:is:this"),
        (None, "None"),
    ],
)
def test_one_host_of_ipv6_is_counted_once_whichever_of_its_addresses_it_uses(address: str | None, group: str) -> None:
    assert group_of(address) == group
