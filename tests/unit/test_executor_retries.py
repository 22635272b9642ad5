"""What becomes of a run whose attempt failed, as a table; and how failures are described."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network

import pytest

from penstock.definitions.models import RetryPolicy
from penstock.errors import (
    BrokerUnavailable,
    DatabaseUnavailable,
    DecodeError,
    Interrupted,
    LeaseLost,
    Permanent,
    Transient,
)
from penstock.expressions import ExpressionError
from penstock.outgoing.address_guard import PRIVATE, is_allowed
from penstock_executor.rules.backoff import backoff, retry_delay, spread
from penstock_executor.rules.failures import DeadLetter, Decision, Discard, Release, Retry, decide, describe_failure

NOW = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)
THREE = RetryPolicy(attempts=3, backoff_seconds=5, factor=2, max_seconds=60, jitter=0.2)


def after(seconds: float) -> Retry:
    return Retry(NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("failures", "error", "expected"),
    [
        (0, Transient("no answer"), after(5)),
        (1, Transient("no answer"), after(10)),
        (2, Transient("no answer"), DeadLetter("failed 3 of at most 3 times")),
        (0, Transient("busy", retry_after_seconds=30), after(30)),
        (0, Transient("busy", retry_after_seconds=1), after(5)),
        (0, Transient("busy", retry_after_seconds=9000), after(60)),
        (0, Permanent("wrong"), DeadLetter("trying again cannot help")),
        (0, ExpressionError("a.yaml:3", "a +", "it ends too early"), DeadLetter("trying again cannot help")),
        (0, DecodeError("not understood"), DeadLetter("trying again cannot help")),
        (0, KeyError("a bug of ours, or of a library"), after(5)),
        (1, RuntimeError("a bug of ours, or of a library"), after(10)),
        (2, KeyError("a bug of ours, or of a library"), DeadLetter("failed 3 of at most 3 times")),
        (0, LeaseLost("gone"), Discard("gone")),
        (2, LeaseLost("gone"), Discard("gone")),
        (2, Interrupted("no broker"), Release("no broker")),
        (2, DatabaseUnavailable("no database"), Release("no database")),
        (2, BrokerUnavailable("no broker"), Release("no broker")),
    ],
)
def test_the_kind_of_error_and_the_failures_so_far_decide(failures: int, error: Exception, expected: Decision) -> None:
    assert decide(THREE, failures, error, NOW, jitter=0.5) == expected


def test_by_default_a_run_is_tried_once() -> None:
    assert isinstance(decide(RetryPolicy(), 0, Transient("no answer"), NOW, jitter=0.5), DeadLetter)


@pytest.mark.parametrize(("failures", "seconds"), [(0, 5), (1, 10), (2, 20), (3, 40), (4, 60), (100_000, 60)])
def test_backoff_grows_by_the_factor_up_to_the_maximum(failures: int, seconds: float) -> None:
    assert backoff(THREE, failures) == seconds


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 8), (0.5, 10), (1.0, 12)])
def test_jitter_spreads_to_both_sides(jitter: float, seconds: float) -> None:
    assert spread(10, 0.2, jitter) == pytest.approx(seconds)
    assert retry_delay(THREE, 1, Transient("no answer"), jitter) == pytest.approx(seconds)


def test_a_failure_of_an_expression_names_step_place_and_expression() -> None:
    failure = describe_failure(
        ExpressionError("flows/a.yaml:12", "params.n - 'x'", "cannot be computed"), "outer/inner", "elsewhere:1"
    )
    assert failure.to_json() == {
        "kind": "expression",
        "message": "flows/a.yaml:12: `params.n - 'x'`: cannot be computed",
        "step": "outer/inner",
        "place": "flows/a.yaml:12",
        "expression": "params.n - 'x'",
    }


def test_an_error_of_ours_is_internal_and_its_message_can_be_stored() -> None:
    failure = describe_failure(ValueError("half \ud800 and nothing \x00" + "x" * 10_000), "step1")
    assert failure.kind == "internal"
    assert failure.message.startswith("ValueError: half � and nothing �")
    assert len(failure.message) < 5000


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "fe80::1",
        "fd00:ec2::254", "169.254.170.2", "100.100.100.200", "100.64.0.1", "192.0.0.192", "168.63.129.16",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "::127.0.0.1", "224.0.0.1", "ff02::1", "192.88.99.1", "240.0.0.1",
        "255.255.255.255",
    ],
)  # fmt: skip
def test_addresses_that_lead_inside_are_not_allowed(address: str) -> None:
    assert not is_allowed(ip_address(address), ())


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"]
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_allowed(ip_address(address), ())


def test_a_private_network_can_be_allowed() -> None:
    allowed = (ip_network("10.1.0.0/16"),)
    assert is_allowed(ip_address("10.1.2.3"), allowed)
    assert is_allowed(ip_address("::ffff:10.1.2.3"), allowed)
    assert not is_allowed(ip_address("10.2.0.1"), allowed)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
    ],
)
def test_a_metadata_service_is_allowed_by_its_very_address_only(address: str) -> None:
    wide = (*PRIVATE, *(ip_network(network) for network in ("0.0.0.0/0", "::/0")))
    assert not is_allowed(ip_address(address), wide)
    assert is_allowed(ip_address(address), (ip_network(address.removeprefix("::ffff:")),))


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "127.0.0.1", "::1", "fd12::1", "192.168.0.1", "172.20.0.1", "64:ff9b::10.1.2.3"]
)
def test_what_is_private_is_one_list(address: str) -> None:
    assert is_allowed(ip_address(address), PRIVATE)
