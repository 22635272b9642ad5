"""Who calls with a token of the app's issuer (OpenID Connect): checked against the issuer's keys, and known as a
user.
"""

from functools import partial

from penstock.db import Connection, Database, UniqueViolation
from penstock.definitions.oidc import Oidc
from penstock.domain.callers import Caller
from penstock.errors import Permanent
from penstock.logs import get_logger
from penstock.store.deployments import CompiledDeployment
from penstock.store.tokens import end_sessions
from penstock.things.accounts import normalize_email
from penstock.things.identities import Identity, connect_identity, find_identity
from penstock.things.tables import USER
from penstock.webhooks.identity_tokens import Claims
from penstock_ingress.accepting.definitions import Definitions
from penstock_ingress.accepting.issuers import Issuers

log = get_logger(__name__)


class Identities:
    """Recognizes users by tokens of the issuer of the environment's app."""

    def __init__(self, database: Database, definitions: Definitions, issuers: Issuers) -> None:
        self._database = database
        self._definitions = definitions
        self._issuers = issuers

    async def identify(self, token: str, environment: str) -> Caller | None:
        """The user who bears `token`; None when the app trusts no issuer, or the token is not good.

        Raises Refusal (503) while the issuer's keys cannot be fetched, DatabaseUnavailable.
        """

        async def decide(deployment: CompiledDeployment) -> tuple[CompiledDeployment, Oidc | None]:
            return deployment, deployment.app.oidc

        deployment, oidc = await self._definitions.decide(environment, decide)
        claims = None if oidc is None else await self._issuers.check(oidc, token)
        if oidc is None or claims is None:
            return None
        user_id = await self._find_user(environment, deployment, oidc, _identity_of(oidc, claims))
        return None if user_id is None else Caller(f"user {user_id}", user_id=user_id, environment=environment)

    async def _find_user(
        self, environment: str, deployment: CompiledDeployment, oidc: Oidc, identity: Identity
    ) -> str | None:
        async with self._database.connection() as conn:
            known = await find_identity(conn, environment=environment, identity=identity)
        if known is not None:
            return known
        user = deployment.app.types.get(USER.name, USER)

        async def connect(conn: Connection) -> str | None:
            connected = await connect_identity(
                conn, environment=environment, identity=identity, user=user, may_create=oidc.creates_users
            )
            if connected is not None and connected.has_lost_password:
                await end_sessions(conn, environment=environment, user_id=connected.user_id)
            return None if connected is None else connected.user_id

        try:
            return await self._database.in_transaction(partial(connect))
        except (UniqueViolation, Permanent) as error:
            # The app's own rules refuse the new user: that is the operator's to see, and nobody is let in.
            log.warning("identity.refused", environment=environment, error=f"{type(error).__name__}")
            return None


def _identity_of(oidc: Oidc, claims: Claims) -> Identity:
    try:
        email = None if claims.email is None else normalize_email(claims.email)
    except ValueError:
        email = None
    return Identity(oidc.issuer, claims.subject, email)
