"""Who is calling: an admin, a user of the app, or nobody in particular."""

import hmac
from collections.abc import Iterable, Sequence
from typing import Final

from pydantic import SecretStr

from penstock.db import Coalescer, Connection, Database
from penstock.domain.callers import ANONYMOUS, ROOT, Caller
from penstock.networks import group_of
from penstock.store.tokens import digest_token, find_callers
from penstock.things.users import list_existing_users
from penstock.webhooks.identity_tokens import is_web_token
from penstock_ingress.accepting.identities import Identities
from penstock_ingress.accepting.rates import Rates
from penstock_ingress.rules.replies import Refusal, too_many

_LANES: Final = 2
_MAX_PER_LOOK: Final = 200
_MAX_RIGHT: Final = 10_000


class Access:
    """Recognizes callers by their tokens: the one of the settings, or one that is stored.

    Stored tokens are looked up for every request, those that arrive together in one query: what was revoked is refused
    at once, by every process. So is the token of a user who has been deleted. A JSON Web Token is one of the issuer of
    the environment's app, and makes a call one of a user; it opens nothing that belongs to no environment.
    """

    def __init__(self, database: Database, root: SecretStr | None, *, identities: Identities, max_wrong: int) -> None:
        self._database = database
        self._identities = identities
        self._wrong = Rates(max_wrong)
        self._right: dict[bytes, None] = {}
        self._root = None if root is None else digest_token(root.get_secret_value())
        self._looks: Coalescer[bytes, Caller | None] = Coalescer(
            self._look_up, name="tokens", lanes=_LANES, most=_MAX_PER_LOOK
        )

    @property
    def root_digest(self) -> bytes | None:
        """The hash of the admin token of the settings."""
        return self._root

    async def identify(self, token: str | None, environment: str | None, address: str | None) -> Caller | None:
        """Who bears `token`: anonymous without one; None for a token that nobody has, or that does not hold in
        `environment` (None: in whichever it holds). Raises DatabaseUnavailable.

        Raises Refusal (429) where too many wrong tokens came from this address. Then only tokens that were right before
        are looked at: nobody can guess on, and nobody is shut out by those who guess beside them.
        """
        if token is None:
            return ANONYMOUS
        digest, group = digest_token(token), group_of(address)
        if digest not in self._right and self._wrong.is_exhausted(group):
            raise Refusal(too_many("too many wrong tokens came from this address; try again in a minute", 60))
        if environment is not None and is_web_token(token):
            caller = await self._identities.identify(token, environment)
        else:
            caller = await self._find(digest, environment)
        if caller is None:
            self._wrong.take(group)
        else:
            self._remember(digest)
        return caller

    def _remember(self, digest: bytes) -> None:
        if digest not in self._right and len(self._right) >= _MAX_RIGHT:
            del self._right[next(iter(self._right))]
        self._right[digest] = None

    async def _find(self, digest: bytes, environment: str | None) -> Caller | None:
        if self._root is not None and hmac.compare_digest(self._root, digest):
            return ROOT
        found = await self._looks.submit(digest)
        if found is None or (environment is not None and found.environment not in {None, environment}):
            return None
        return found

    async def _look_up(self, digests: list[bytes]) -> Sequence[Caller | None]:
        async with self._database.connection() as conn:
            found = await find_callers(conn, digests=list(set(digests)))
            gone = await _find_deleted_users(conn, found.values())
        return [None if (caller := found.get(digest)) in gone else caller for digest in digests]


async def _find_deleted_users(conn: Connection, callers: Iterable[Caller]) -> set[Caller]:
    """Those callers who are users, and are not there any more; admins cost no query."""
    users = {caller for caller in callers if caller.user_id is not None}
    gone = set(users)
    for environment in {user.environment for user in users if user.environment is not None}:
        ids = {str(user.user_id) for user in users if user.environment == environment}
        existing = await list_existing_users(conn, environment=environment, ids=ids)
        gone -= {user for user in users if user.environment == environment and user.user_id in existing}
    return gone
