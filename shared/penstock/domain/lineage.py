"""Lineage over HTTP: which run a request comes from, in headers, so that a loop through other services is cut too.

*Model.* Every outgoing call of a run carries two headers. `traceparent` (W3C Trace Context) has the trace of the chain:
that of the request that began it, else the chain's own id. `baggage` (W3C Baggage) has one entry of ours,
`penstock-<installation>`, which names chain, run and depth and is signed with the installation's key. Services that
propagate trace context, as OpenTelemetry's libraries do, hand both on; a request that comes back with them continues
the chain one deeper.

*Guarantees.* Nobody without the key can make an entry, so nobody can put runs into a chain they were not called by, or
claim a depth other than the one they were given. Entries under other names belong to others and are passed on as they
came; each installation knows its own by the name. What stands under our name and is not ours to the letter is dropped:
two entries of one name would not survive the next service.

*What cannot be helped.* A service that does not hand the headers on starts a new root, as anybody does.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final, NamedTuple
from uuid import UUID

from penstock.domain.depth import MAX_DEPTH

MAX_BAGGAGE_BYTES: Final = 8192
MAX_BAGGAGE_MEMBERS: Final = 64
"""What W3C Baggage (section 3.3.2) asks everybody to pass on; what is more may get lost on the way."""
MAX_HOP: Final = timedelta(days=30)
"""An entry that comes back later than this after it was sent counts as foreign: such a loop does not run away."""
MAX_TRACESTATE_CHARACTERS: Final = 512

_ENTRY: Final = re.compile(r"1\.([0-9a-f]{32})\.([0-9a-f]{32})\.(\d{1,7})\.(\d{1,12})\.([A-Za-z0-9_-]{43})", re.ASCII)
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_MEMBER: Final = re.compile(r"[\x21-\x7e]+(?:[ \t]+[\x21-\x7e]+)*")
_SAMPLED: Final = "01"
"""Unless a caller says otherwise a trace is one that others may record: a chain should be found in their tools."""


class Lineage(NamedTuple):
    """Where a new run belongs: its depth, its chain, and the run that asks for it. By default: a root of its own.

    This is what a request says of itself; at admission a stored parent overrules it.
    """

    depth: int = 0
    chain_id: UUID | None = None
    parent_run_id: UUID | None = None


OUTSIDE: Final = Lineage()
"""What a request from outside says: nothing."""


class LineageSeal:
    """Signs our entry and recognises it. `key` is the installation's secret; `name` derives from it and reveals
    nothing.
    """

    def __init__(self, key: bytes) -> None:
        self._key: Final = key
        self.name: Final = f"penstock-{hmac.digest(key, b'penstock baggage name', hashlib.sha256).hex()[:12]}"

    def sign(self, chain_id: UUID, run_id: UUID, depth: int, now: datetime) -> str:
        """The entry for a call that this run makes `now`, as `name=value`."""
        content = f"1.{chain_id.hex}.{run_id.hex}.{depth}.{int(now.timestamp())}"
        return f"{self.name}={content}.{self._signature(content)}"

    def read(self, baggage: str, now: datetime) -> Lineage | None:
        """Where the runs belong that a request with this header starts: one deeper than the run that made the call.

        None if the header has no entry of ours, or only one that is forged or too old. Of several, as a service may
        make of the requests it joins, the deepest counts.
        """
        if self.name not in baggage:
            return None
        found = [
            lineage for member in split_baggage(baggage) if (lineage := self._read_member(member, now)) is not None
        ]
        return max(found, key=lambda lineage: lineage.depth, default=None)

    def strip(self, baggage: str) -> str:
        """The entries of others, as they came."""
        return ",".join(member for member in split_baggage(baggage) if _name_of(member) != self.name)

    def _read_member(self, member: str, now: datetime) -> Lineage | None:
        name, _, rest = member.partition("=")
        match = _ENTRY.fullmatch(rest.partition(";")[0].strip()) if name.strip() == self.name else None
        if match is None:
            return None
        content, _, signature = match[0].rpartition(".")
        if not hmac.compare_digest(signature, self._signature(content)):
            return None
        is_late = now - datetime.fromtimestamp(int(match[4]), UTC) > MAX_HOP
        depth = int(match[3])
        return None if is_late or depth > MAX_DEPTH else Lineage(depth + 1, UUID(match[1]), UUID(match[2]))

    def _signature(self, content: str) -> str:
        digest = hmac.digest(self._key, f"penstock baggage {content}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def split_baggage(baggage: str) -> Iterator[str]:
    """The members of a `baggage` header that can be sent on, without those that a header cannot hold."""
    for member in baggage.split(","):
        member = member.strip(" \t")
        if _MEMBER.fullmatch(member):
            yield member


def join_baggage(entry: str, others: Iterable[str]) -> str:
    """Our entry and as many others as W3C's limits allow. Ours comes first, where it is the last to be cut off."""
    return ",".join(_within_limits([entry, *(member for member in others if _name_of(member) != _name_of(entry))]))


def continue_trace(traceparent: str | None, chain_id: UUID) -> str:
    """A `traceparent` for one call: a span of its own in the trace that the chain belongs to."""
    match = None if traceparent is None else _TRACEPARENT.fullmatch(traceparent)
    trace_id, flags = (match[1], match[3]) if match else (chain_id.hex, _SAMPLED)
    return f"00-{trace_id}-{secrets.randbits(64) or 1:016x}-{flags}"


class TraceParent(NamedTuple):
    """What a `traceparent` says: the trace, the span that is the parent, and whether others record the trace."""

    trace_id: int
    span_id: int
    is_sampled: bool


def parse_traceparent(traceparent: str | None) -> TraceParent | None:
    """The parts of a `traceparent` (W3C Trace Context, section 3.2); None for what is none."""
    match = None if traceparent is None else _TRACEPARENT.fullmatch(traceparent)
    return None if match is None else TraceParent(int(match[1], 16), int(match[2], 16), bool(int(match[3], 16) & 1))


def read_trace(headers: Mapping[str, str | None]) -> dict[str, str]:
    """What a run keeps of its request's `traceparent`, `tracestate` and `baggage`, if a header can hold it."""
    traceparent, tracestate, baggage = headers.get("traceparent"), headers.get("tracestate"), headers.get("baggage")
    kept: dict[str, str] = {}
    if traceparent is not None and _TRACEPARENT.fullmatch(traceparent):
        kept["traceparent"] = traceparent
        if (
            tracestate
            and len(tracestate) <= MAX_TRACESTATE_CHARACTERS
            and all(map(_MEMBER.fullmatch, split_baggage(tracestate)))
        ):
            kept["tracestate"] = ",".join(split_baggage(tracestate))
    if baggage and (members := ",".join(_within_limits(split_baggage(baggage)))):
        kept["baggage"] = members
    return kept


def _within_limits(members: Iterable[str]) -> Iterator[str]:
    """The first members, as many as all services have to pass on."""
    size = -1
    for member in islice(members, MAX_BAGGAGE_MEMBERS):
        size += len(member) + 1
        if size > MAX_BAGGAGE_BYTES:
            return
        yield member


def _name_of(member: str) -> str:
    return member.partition(";")[0].partition("=")[0].strip()
