"""Properties are read from their bytes as the driver reads them, and what cannot be read is said, never raised."""

import asyncio
import struct
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands as spec
from pamqp.commands import Basic
from pamqp.common import FieldTable
from pamqp.frame import marshal, unmarshal
from pamqp.header import ContentHeader

from penstock.broker.dead_letters import Origin, park
from penstock.broker.properties import read_properties
from penstock.broker.shield import ShieldedReader, unwrap
from penstock.broker.wire import MAX_PROPERTIES_BYTES, encode_properties
from penstock.contracts.envelope import Message
from tests.raw_amqp import long, properties, short, table

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
HEADERS: FieldTable = {
    "text": "ü", "whole": 3, "long": 2**40, "negative": -5, "truth": True, "none": None, "list": [1, {"a": "b"}],
    "decimal": Decimal("1.25"), "time": WHEN, "bytes": bytearray(b"\xff"), "float": 0.5,
}  # fmt: skip


def test_everything_that_the_driver_encodes_is_read_back() -> None:
    sent = Basic.Properties(
        content_type="application/json", content_encoding="utf-8", headers=HEADERS, delivery_mode=2, priority=9,
        correlation_id="c", reply_to="r", expiration="1000", message_id="m", timestamp=WHEN,
        message_type="t", user_id="guest", app_id="a",
    )  # fmt: skip
    found = read_properties(sent.marshal())
    assert found.problem is None
    assert found.headers == HEADERS
    assert [found.values[name] for name in ("content_type", "delivery_mode", "priority", "type", "app_id")] == [
        "application/json", 2, 9, "t", "a",
    ]  # fmt: skip


def test_what_stands_around_something_undecodable_is_read_all_the_same() -> None:
    found = read_properties(
        properties(
            headers=table((b"bad", b"T" + b"\xff" * 8), (b"good", b"t\x01")),
            reply_to=short(b"\xff"),
            message_id=short(b"m"),
        )
    )
    assert found.problem is not None
    assert "header 'bad'" in found.problem
    assert "property reply_to" in found.problem
    assert (found.values["message_id"], found.headers["good"]) == ("m", True)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\x80", properties(message_id=b"\x05ab"), properties(headers=struct.pack(">I", 9)),
        properties(headers=table((b"a", b"Z"))), properties(headers=table((b"a", b"S" + struct.pack(">I", 2**31)))),
        properties(headers=table((b"a", b"A" + struct.pack(">I", 99)))), b"\x00\x01\x00\x01\x00\x02",
        properties(headers=long(b"\x09a")),
    ],
)  # fmt: skip
def test_bytes_that_end_too_early_or_mean_nothing_have_a_problem(raw: bytes) -> None:
    assert read_properties(raw).problem is not None


@given(st.binary(max_size=300))
def test_no_bytes_raise(raw: bytes) -> None:
    read_properties(raw)
    read_properties(properties(headers=long(raw), message_id=short(raw[:255])))


def test_a_full_frame_of_tables_or_of_tiny_headers_takes_no_longer_than_its_bytes() -> None:
    deep = b"V"
    while len(deep) < 60_000:
        deep = b"F" + table((b"", deep))
    assert "levels deep" in str(read_properties(properties(headers=table((b"deep", deep)))).problem)
    many = read_properties(properties(headers=table(*((b"%d" % number, b"V") for number in range(18_000)))))
    assert (many.problem, len(many.headers)) == (None, 18_000)


async def test_a_delivery_passes_the_shield_in_whatever_pieces_it_is_read() -> None:
    raw = properties(message_id=short(b"caf\xe9"))
    header = struct.pack(">HHQ", 60, 0, 3) + raw
    key = short(b"tag") + struct.pack(">QB", 7, 0) + short(b"") + short(b"caf\xe9")
    stream = asyncio.StreamReader()
    for kind, payload in ((1, b"\x00\x3c\x00\x3c" + key), (2, header), (3, b"abc")):
        stream.feed_data(struct.pack(">BHI", kind, 1, len(payload)) + payload + b"\xce")
    stream.feed_eof()
    shielded = ShieldedReader(stream)
    read = b"".join([await shielded.readexactly(10) for _ in range(3)])
    while not shielded.at_eof():
        read += await shielded.readexactly(1)
    taken, _, method = unmarshal(read)
    assert isinstance(method, spec.Basic.Deliver)
    assert (method.delivery_tag, method.routing_key) == (7, "caf?")
    _, _, found = unmarshal(read[taken:])
    assert isinstance(found, ContentHeader)
    inner = unwrap(found.properties.headers)
    assert inner is not None
    assert (found.body_size, inner.raw) == (3, raw)
    assert "caf\\xe9" in str(inner.problem)


async def test_other_frames_pass_the_shield_as_they_are() -> None:
    returned = marshal(spec.Basic.Return(reply_code=312, reply_text="NO_ROUTE", exchange="", routing_key="x"), 1)
    returned += marshal(ContentHeader(body_size=0, properties=Basic.Properties(message_id="m")), 1)
    stream = asyncio.StreamReader()
    stream.feed_data(returned + b"AMQP\x00\x00\x09\x01")
    stream.feed_eof()
    shielded = ShieldedReader(stream)
    assert await shielded.readexactly(len(returned)) == returned
    assert await shielded.readexactly(7) == b"AMQP\x00\x00\x09"


def test_a_dead_letter_fits_into_a_frame_whatever_its_headers_and_reason_are() -> None:
    headers = {f"{number}": "\N{GRINNING FACE}" * 1000 for number in range(50)} | {"float": 1e300, "nan": float("nan")}
    parked = park(
        Message(b"", headers=headers), reason="half \ud800 " * 500, origin=Origin("q" * 255, "e" * 255, "k" * 255)
    )
    assert len(encode_properties(parked).marshal()) < MAX_PROPERTIES_BYTES / 4
