"""Logs people in to the console with an admin token, and recognizes their browsers afterwards.

The cookie holds a random id, of which the database has the hash. Every request looks the session up, so one whose token
was revoked ends at once, in every process. Against forged requests a session has a second secret, which only the
console's own pages can read: it is derived from the first one, which no page can.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from penstock.db import Connection, Database
from penstock.domain.callers import Caller
from penstock.store.console_sessions import Identity, end_session, find_session, open_session
from penstock.store.tokens import digest_token
from penstock_ingress.accepting.access import Access

_CSRF = b"penstock console csrf"


@dataclass(frozen=True, slots=True)
class Session:
    """A session that holds. `csrf_token` has to come with every request that changes something."""

    secret: str
    caller: Caller
    expires_at: datetime

    @property
    def csrf_token(self) -> str:
        """The secret that the console's pages send beside the cookie."""
        return hmac.new(self.secret.encode(), _CSRF, hashlib.sha256).hexdigest()

    def confirms(self, csrf_token: str | None) -> bool:
        """Whether a request with this token comes from a page of the console."""
        return csrf_token is not None and hmac.compare_digest(csrf_token.encode(), self.csrf_token.encode())


class Sessions:
    """Opens, finds and ends sessions."""

    def __init__(self, database: Database, access: Access) -> None:
        self._database = database
        self._access = access

    async def log_in(self, token: str, address: str | None, replaced: str | None) -> Session | None:
        """A session of the bearer of an admin token, in place of the one that the browser had; None for a token that is
        none. Raises Refusal (429) after too many wrong tokens from one address, DatabaseUnavailable.
        """
        caller = await self._access.identify(token, None, address)
        if caller is None or caller.role is None:
            return None
        return await self._open(digest_token(token), caller, replaced)

    async def log_in_as(self, identity: Identity, replaced: str | None) -> Session:
        """A session of somebody whom the issuer of the settings has named. Raises DatabaseUnavailable."""
        caller = Caller(f"oidc:{identity.name}", identity.role, sees_payloads=identity.sees_payloads)
        session = await self._open(identity, caller, replaced)
        assert session is not None, "only a token may have ended meanwhile"
        return session

    async def find(self, secret: str, *, is_used: bool) -> Session | None:
        """The session of this cookie, if it holds; `is_used`: a person acts, so it does not become idle. Raises
        DatabaseUnavailable.
        """
        async with self._database.connection() as conn:
            found = await find_session(
                conn, digest=digest_token(secret), root_digest=self._access.root_digest, is_used=is_used
            )
        return None if found is None else Session(secret, found.caller, found.expires_at)

    async def log_out(self, session: Session) -> None:
        """End a session. Raises DatabaseUnavailable."""
        await self._database.in_transaction(
            partial(end_session, digest=digest_token(session.secret), caller=session.caller)
        )

    async def _open(self, by: bytes | Identity, caller: Caller, replaced: str | None) -> Session | None:
        secret = secrets.token_urlsafe(32)

        async def replace(conn: Connection) -> datetime | None:
            if replaced is not None:
                await end_session(conn, digest=digest_token(replaced), caller=None)
            return await open_session(
                conn, digest=digest_token(secret), by=by, root_digest=self._access.root_digest, caller=caller
            )

        expires_at = await self._database.in_transaction(replace)
        return None if expires_at is None else Session(secret, caller, expires_at)
