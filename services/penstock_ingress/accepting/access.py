"""Who is calling: an admin, a user of the app, or nobody in particular."""

import hmac
from collections.abc import Sequence
from typing import Final

from pydantic import SecretStr

from penstock.db import Coalescer, Database
from penstock.domain.callers import ANONYMOUS, ROOT, Caller
from penstock.store.tokens import digest_token, find_callers

_LANES: Final = 2
_MAX_PER_LOOK: Final = 200
_Found = tuple[str | None, Caller] | None


class Access:
    """Recognizes callers by their tokens: the one of the settings, or one that is stored.

    Stored tokens are looked up for every request, those that arrive together in one query: what was revoked is refused
    at once, by every process.
    """

    def __init__(self, database: Database, root: SecretStr | None) -> None:
        self._database = database
        self._root = None if root is None else digest_token(root.get_secret_value())
        self._looks: Coalescer[bytes, _Found] = Coalescer(self._look_up, lanes=_LANES, most=_MAX_PER_LOOK)

    async def identify(self, token: str | None, environment: str | None) -> Caller | None:
        """Who bears `token`: anonymous without one; None for a token that nobody has, or that does not hold in
        `environment` (None: in whichever it holds). Raises DatabaseUnavailable.
        """
        if token is None:
            return ANONYMOUS
        digest = digest_token(token)
        if self._root is not None and hmac.compare_digest(self._root, digest):
            return ROOT
        found = await self._looks.submit(digest)
        if found is None or (environment is not None and found[0] not in {None, environment}):
            return None
        return found[1]

    async def _look_up(self, digests: list[bytes]) -> Sequence[_Found]:
        async with self._database.connection() as conn:
            found = await find_callers(conn, digests=list(set(digests)))
        return [found.get(digest) for digest in digests]
