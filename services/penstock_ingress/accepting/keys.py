"""Fetches the certificates and key sets that proofs of webhooks need, before they are checked.

Strangers can name documents in their requests, so what they cause is bounded: only from hosts that the source trusts,
a few at once, each document by one fetch however many ask, and a failure is remembered for a while. A document that
cannot be fetched again is used for a day longer.
"""

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Final, NamedTuple

from multidict import CIMultiDict
from yarl import URL

from penstock.errors import Permanent, Transient
from penstock.logs import get_logger
from penstock.outgoing.client import Outgoing
from penstock.outgoing.exchange import Request
from penstock.webhooks.stored_keys import MAX_DOCUMENT_BYTES, KeyStore, Wanted

log = get_logger(__name__)

FETCH_SECONDS: Final = 2.0
"""Senders give up after three seconds or more, and what they send again finds the document."""
FAILED_SECONDS: Final = 30.0
MAX_AT_ONCE: Final = 8
_MAX_FAILURES: Final = 1000
_ACCEPT: Final = "application/json, application/x-pem-file, */*"


class _Failure(NamedTuple):
    until: float
    is_final: bool


class KeyFetcher:
    """Fills a store of keys."""

    def __init__(self, outgoing: Outgoing) -> None:
        self.store = KeyStore()
        self._outgoing = outgoing
        self._fetches: dict[tuple[str, str | None], asyncio.Task[None]] = {}
        self._failures: OrderedDict[tuple[str, str | None], _Failure] = OrderedDict()

    async def prepare(self, wanted: Wanted, now: float) -> bool:
        """Have the document in the store if it can be fetched, at this time (seconds since 1970). False if that may be
        different later, and none is kept.
        """
        if self.store.is_current(wanted, now):
            return True
        failure = self._failures.get(wanted.document)
        if failure is None or now >= failure.until:
            fetch = self._fetches.get(wanted.document)
            if fetch is None:
                if len(self._fetches) >= MAX_AT_ONCE:
                    return self.store.has(wanted, now)
                fetch = self._fetches[wanted.document] = asyncio.create_task(self._fetch(wanted, now))
                fetch.add_done_callback(lambda _: self._fetches.pop(wanted.document, None))
            await asyncio.shield(fetch)
        failure = self._failures.get(wanted.document)
        return self.store.has(wanted, now) or (failure is not None and failure.is_final)

    async def confirm(self, url: str, ca: str | None) -> bool:
        """Ask for a page, to confirm what it is about; whether that worked."""
        try:
            response = await self._outgoing.send(_request(url, ca), FETCH_SECONDS)
        except (Transient, Permanent) as error:
            log.warning("subscription.unconfirmed", error=str(error))
            return False
        return response.status == 200

    async def close(self) -> None:
        """Give up what is being fetched."""
        fetches = list(self._fetches.values())
        for fetch in fetches:
            fetch.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)

    async def _fetch(self, wanted: Wanted, now: float) -> None:
        """Fetch a document, and keep it or the failure."""
        try:
            response = await self._outgoing.send(_request(wanted.url, wanted.ca), FETCH_SECONDS)
            if response.status != 200:
                kind = Permanent if 400 <= response.status < 500 and response.status != 429 else Transient
                raise kind(f"the answer is {response.status}")
            self.store.keep(wanted, response.body, now)
            self._failures.pop(wanted.document, None)
        except (Transient, Permanent, ValueError) as error:
            # Which certificate is asked for is up to a stranger; a set of keys that is missing is not their fault.
            self._fail(wanted, now, is_final=wanted.kind == "certificate" and not isinstance(error, Transient))
            log.warning("key.unavailable", url=wanted.url, error=str(error))

    def _fail(self, wanted: Wanted, now: float, *, is_final: bool) -> None:
        self._failures[wanted.document] = _Failure(now + FAILED_SECONDS, is_final)
        self._failures.move_to_end(wanted.document)
        while len(self._failures) > _MAX_FAILURES:
            self._failures.popitem(last=False)


@asynccontextmanager
async def fetching_keys(outgoing: Outgoing) -> AsyncIterator[KeyFetcher]:
    """A fetcher, for as long as the block lasts."""
    fetcher = KeyFetcher(outgoing)
    try:
        yield fetcher
    finally:
        await fetcher.close()
        await outgoing.close()


def _request(url: str, ca: str | None) -> Request:
    headers = CIMultiDict({"Accept": _ACCEPT, "Accept-Encoding": "identity"})
    tls = None if ca is None else _tls(ca)
    return Request("GET", URL(url, encoded=True), headers, max_redirects=0, tls=tls, max_bytes=MAX_DOCUMENT_BYTES)


@lru_cache(maxsize=100)
def _tls(ca: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=ca)
