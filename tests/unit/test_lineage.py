"""Lineage in headers: what is signed, what is believed, what is handed on."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.domain.lineage import (
    MAX_BAGGAGE_BYTES,
    MAX_BAGGAGE_MEMBERS,
    MAX_HOP,
    Lineage,
    LineageSeal,
    continue_trace,
    join_baggage,
    read_trace,
)

NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)
HERE, THERE = LineageSeal(b"h" * 32), LineageSeal(b"t" * 32)
CALLER = (UUID(int=1 << 100), UUID(int=2 << 100), 7)
LINEAGE = Lineage(8, *CALLER[:2])
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


def test_an_entry_comes_back_as_it_was_sent() -> None:
    assert HERE.read(HERE.sign(*CALLER, NOW), NOW) == LINEAGE


def test_properties_and_spaces_that_a_service_adds_do_not_matter() -> None:
    name, value = HERE.sign(*CALLER, NOW).split("=", 1)
    assert HERE.read(f"tenant=a;x=1 ,\t{name} = {value} ;kept=yes , b=2", NOW) == LINEAGE


def test_each_installation_knows_its_own_entry_among_those_of_others() -> None:
    theirs = Lineage(4, UUID(int=9), UUID(int=8))
    both = f"{THERE.sign(UUID(int=9), UUID(int=8), 3, NOW)},{HERE.sign(*CALLER, NOW)}"
    assert (HERE.read(both, NOW), THERE.read(both, NOW)) == (LINEAGE, theirs)


def test_of_several_entries_the_deepest_counts() -> None:
    deeper = HERE.sign(CALLER[0], UUID(int=5), 9, NOW)
    assert HERE.read(f"{deeper},{HERE.sign(*CALLER, NOW)}", NOW) == Lineage(10, CALLER[0], UUID(int=5))


def _forgeries() -> list[str]:
    entry = HERE.sign(*CALLER, NOW)
    name, value = entry.split("=", 1)
    version, chain, run, depth, at, signature = value.split(".")
    return [
        "",
        "tenant=a",
        THERE.sign(*CALLER, NOW),
        f"{name}={THERE.sign(*CALLER, NOW).partition('=')[2]}",
        f"{name}={version}.{chain}.{run}.0.{at}.{signature}",
        f"{name}={version}.{run}.{chain}.{depth}.{at}.{signature}",
        f"{name}={version}.{chain}.{run}.{depth}.{int(at) + 1}.{signature}",
        f"{name}={version}.{chain}.{run}.{depth}.{at}.{'A' * 43}",
        f"{name}=2.{chain}.{run}.{depth}.{at}.{signature}",
        f"{name}={value}A",
        f"{name}=",
        name,
        f"{name}={version}.{chain}.{run}.٧.{at}.{signature}",
    ]


@pytest.mark.parametrize("baggage", _forgeries())
def test_what_was_not_signed_with_our_key_is_not_believed(baggage: str) -> None:
    assert HERE.read(baggage, NOW) is None


def test_an_entry_that_was_away_for_too_long_is_foreign() -> None:
    entry = HERE.sign(*CALLER, NOW)
    assert HERE.read(entry, NOW + MAX_HOP - timedelta(seconds=1)) == LINEAGE
    assert HERE.read(entry, NOW + MAX_HOP + timedelta(seconds=1)) is None


def test_a_depth_that_nobody_can_have_is_not_believed() -> None:
    assert HERE.read(HERE.sign(UUID(int=1), UUID(int=2), 1_000_001, NOW), NOW) is None


def test_baggage_of_others_is_handed_on_untouched() -> None:
    others = ["tenant=a;x=1", "user = b ; y", THERE.sign(*CALLER, NOW)]
    assert HERE.strip(",".join([*others, HERE.sign(*CALLER, NOW)])) == ",".join(others)
    assert join_baggage("penstock-x=1", others) == ",".join(["penstock-x=1", *others])


def test_our_entry_is_there_once_whatever_stood_under_its_name() -> None:
    mine = HERE.sign(*CALLER, NOW)
    assert join_baggage(mine, ["a=1", f"{HERE.name}=forged", "b=2"]) == f"{mine},a=1,b=2"


def test_baggage_keeps_within_the_limits_of_the_standard_and_ours_is_never_cut() -> None:
    many = join_baggage("penstock-x=1", [f"k{number}=v" for number in range(100)])
    assert (len(many.split(",")), many.startswith("penstock-x=1,k0=v")) == (MAX_BAGGAGE_MEMBERS, True)
    large = join_baggage("penstock-x=1", [f"k{number}={'v' * 1000}" for number in range(20)])
    assert len(large) <= MAX_BAGGAGE_BYTES
    assert large.startswith("penstock-x=1,k0=")
    assert (
        len(read_trace({"baggage": ",".join(f"k{number}={'v' * 1000}" for number in range(20))})["baggage"])
        <= MAX_BAGGAGE_BYTES
    )


def test_what_cannot_be_sent_on_is_not_kept() -> None:
    assert read_trace({"baggage": "a=1,b=\x00,c=é,,d=4"}) == {"baggage": "a=1,d=4"}
    assert read_trace({"baggage": " , ", "traceparent": None, "tracestate": "x=1"}) == {}


def test_only_a_valid_trace_is_continued() -> None:
    assert read_trace({"traceparent": TRACE, "tracestate": "vendor=1,other=2"}) == {
        "traceparent": TRACE,
        "tracestate": "vendor=1,other=2",
    }
    for wrong in ("", TRACE.upper(), f"00-{'0' * 32}-00f067aa0ba902b7-01", f"ff{TRACE[2:]}", f"{TRACE}-x"):
        assert read_trace({"traceparent": wrong, "tracestate": "vendor=1"}) == {}


def test_a_trace_is_that_of_the_caller_or_that_of_the_chain_with_a_span_for_each_call() -> None:
    chain = UUID("0190a8c0-0000-8000-8000-000000000001")
    first, second = continue_trace(TRACE, chain), continue_trace(TRACE, chain)
    assert first.split("-")[:2] == second.split("-")[:2] == TRACE.split("-")[:2]
    assert first.endswith("-00")
    assert len({first.split("-")[2], second.split("-")[2], TRACE.split("-")[2]}) == 3
    own = continue_trace(None, chain)
    assert (own.split("-")[1], own.split("-")[3]) == (chain.hex, "01")


@given(st.text() | st.builds(f"{HERE.name}={{}}".format, st.text()))
@example("0\t0")
def test_whatever_a_header_holds_it_is_read_as_nothing(baggage: str) -> None:
    assert HERE.read(baggage, NOW) is None
    kept = read_trace({"baggage": baggage, "traceparent": baggage, "tracestate": baggage})
    # RFC 9110 allows a tab within a header's value.
    assert all(value.isascii() and value.replace("\t", " ").isprintable() for value in kept.values())


@given(
    st.binary(min_size=32, max_size=32),
    st.uuids(),
    st.uuids(),
    st.integers(0, 1_000_000),
    st.text(alphabet="ab=;, \t%", max_size=200),
)
def test_whatever_others_write_beside_it_the_entry_is_found(
    key: bytes, chain: UUID, run: UUID, depth: int, others: str
) -> None:
    seal, lineage = LineageSeal(key), Lineage(depth + 1, chain, run)
    entry = seal.sign(chain, run, depth, NOW)
    assert seal.read(f"{others},{entry},{others}", NOW) == lineage
    joined = join_baggage(entry, seal.strip(others).split(","))
    assert seal.read(joined, NOW) == lineage
