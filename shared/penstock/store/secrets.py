"""Secrets of apps: stored encrypted per environment, or else environment variables `PENSTOCK_SECRET_<NAME>`; stored
ones win.

Each service looks every few seconds whether a version has changed, and reads the values only then; so a run costs no
query, and a secret that was set holds everywhere within seconds. Stored secrets that no key decrypts stop a service
when it starts. When that happens later, it continues with what it can read and logs that; a run that uses one of the
others fails with the reason.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from pydantic import JsonValue

from penstock.db import Connection, Database
from penstock.definitions.models import ENVIRONMENTS
from penstock.encryption import Keyring, Sealed, Undecryptable
from penstock.errors import ConfigurationError, DatabaseUnavailable, Permanent
from penstock.logs import get_logger
from penstock.redaction import LOG, Redactor
from penstock.settings import KEY_VARIABLE, SECRET_PREFIX, read_secrets
from penstock.store.audit import Act, AuditAction, note_acts

log = get_logger(__name__)

PERIOD_SECONDS: Final = 2.0
"""How often a service looks whether a secret has changed."""
_MAX_REDACTORS: Final = 1000
Values = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A secret as it is stored: encrypted."""

    environment: str
    name: str
    sealed: Sealed
    set_at: datetime

    @property
    def place(self) -> str:
        """What its encryption is bound to."""
        return _place(self.environment, self.name)


async def store_secret(conn: Connection, *, environment: str, name: str, value: str, keyring: Keyring) -> None:
    """Encrypt and store a secret, in place of one that is there."""
    key_id, content = keyring.encrypt(value, _place(environment, name))
    await conn.execute(
        """
        INSERT INTO penstock.secrets (environment, name, key_id, content)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (environment, name) DO UPDATE
        SET key_id = excluded.key_id, content = excluded.content, version = excluded.version, set_at = excluded.set_at
        """,
        environment,
        name,
        key_id,
        content,
    )


class NewSecret(NamedTuple):
    """A secret that is to be stored."""

    environment: str
    name: str
    value: str


async def set_secret(conn: Connection, *, secret: NewSecret, keyring: Keyring, actor: str) -> None:
    """Store a secret and note who has set it. To be called in a transaction."""
    await store_secret(conn, environment=secret.environment, name=secret.name, value=secret.value, keyring=keyring)
    await note_acts(conn, [Act(secret.environment, actor, AuditAction.SECRET_SET, secret.name)])


async def remove_secret(conn: Connection, *, environment: str, name: str, actor: str) -> bool:
    """Forget a secret; whether there was one. To be called in a transaction."""
    removed = await conn.fetchval(
        "DELETE FROM penstock.secrets WHERE environment = $1 AND name = $2 RETURNING name", environment, name
    )
    if removed is not None:
        await note_acts(conn, [Act(environment, actor, AuditAction.SECRET_REMOVE, name)])
    return removed is not None


async def list_secrets(conn: Connection) -> list[StoredSecret]:
    """All stored secrets, by environment and name."""
    rows = await conn.fetch(
        "SELECT environment, name, key_id, content, set_at FROM penstock.secrets ORDER BY environment, name"
    )
    return [
        StoredSecret(row["environment"], row["name"], Sealed(row["key_id"], row["content"]), row["set_at"])
        for row in rows
    ]


async def rotate_secrets(conn: Connection, *, keyring: Keyring, actor: str) -> list[StoredSecret]:
    """Encrypt again, under the first key, what another one has encrypted; those that were.

    To be called in a transaction. Raises ConfigurationError, having changed nothing, when one cannot be decrypted.
    """
    await conn.execute("LOCK TABLE penstock.secrets IN SHARE ROW EXCLUSIVE MODE")
    stored = await list_secrets(conn)
    check_readable(stored, keyring)
    old = [secret for secret in stored if secret.sealed.key_id != keyring.first_id]
    for secret in old:
        value = keyring.decrypt(secret.sealed, secret.place)
        await store_secret(conn, environment=secret.environment, name=secret.name, value=value, keyring=keyring)
    after = {"key": keyring.first_id}
    rotate = AuditAction.SECRET_ROTATE
    await note_acts(conn, [Act(one.environment, actor, rotate, one.name, None, {**after}) for one in old])
    return old


def find_unreadable(stored: Iterable[StoredSecret], keyring: Keyring | None) -> list[StoredSecret]:
    """Those that none of the keys decrypts."""
    return [secret for secret in stored if _decrypt(secret, keyring) is None]


def find_unset(stored: Iterable[StoredSecret], environment: str, names: Iterable[str]) -> list[str]:
    """Those of `names` that are neither stored for the environment nor variables of this process."""
    known = {secret.name for secret in stored if secret.environment == environment} | read_secrets().keys()
    return sorted(set(names) - known)


def check_readable(stored: Iterable[StoredSecret], keyring: Keyring | None) -> None:
    """Raises ConfigurationError, which says what to do, when one of the stored secrets cannot be decrypted."""
    unreadable = find_unreadable(stored, keyring)
    if unreadable:
        raise ConfigurationError(explain_unreadable(unreadable, keyring))


def explain_unreadable(unreadable: Collection[StoredSecret], keyring: Keyring | None) -> str:
    """What is wrong with secrets that cannot be decrypted, and what to do."""
    names = ", ".join(f"{secret.name} ({secret.environment})" for secret in unreadable)
    wanted = ", ".join(sorted({secret.sealed.key_id for secret in unreadable}))
    if keyring is None:
        return (
            f"secrets are stored ({names}), and {KEY_VARIABLE} is not set; set it to the key they were encrypted "
            f"with, {wanted}"
        )
    given = ", ".join(keyring.ids)
    if all(secret.sealed.key_id in keyring.ids for secret in unreadable):
        return (
            f"stored secrets do not decrypt: {names}; they were changed in the database: set them again with "
            "`penstock secret set`"
        )
    return (
        f"stored secrets were encrypted with the key {wanted}, and {KEY_VARIABLE} holds {given}: {names}; add the key "
        "they were encrypted with after yours, separated by a comma, or set them again with `penstock secret set`"
    )


class Secrets:
    """The secrets as this process knows them. `version` grows with every change that it sees."""

    def __init__(self, database: Database, keyring: Keyring | None) -> None:
        self._database = database
        self._keyring = keyring
        self._seen: tuple[dict[tuple[str, str], int], dict[str, str]] | None = None
        self._stored: list[StoredSecret] = []
        self._values: dict[str, Values] = {environment: {} for environment in ENVIRONMENTS}
        self._unreadable: dict[str, frozenset[str]] = {}
        self._known: dict[str, dict[str, str]] = {environment: {} for environment in ENVIRONMENTS}
        self._redactors: dict[tuple[str, frozenset[str] | None], Redactor] = {}
        self.version = 0

    async def open(self) -> None:
        """Read all secrets for the first time. Raises ConfigurationError when one of them cannot be decrypted,
        DatabaseUnavailable.
        """
        await self._look()
        check_readable(self._stored, self._keyring)

    async def refresh(self) -> None:
        """See what has changed; while the database is away, what was known holds."""
        try:
            await self._look()
        except DatabaseUnavailable:
            return

    def values(self, environment: str) -> Values:
        """What expressions see as `secrets`; not to be changed."""
        return self._values.get(environment, {})

    def require(self, environment: str, names: Iterable[str]) -> Values:
        """The same, with all of `names` in it. Raises Permanent (kind `secret`) that names the one that is not set."""
        values = self.values(environment)
        for name in names:
            if name not in values:
                raise Permanent(self._explain_missing(environment, name), kind="secret")
        return values

    def redactor(self, environment: str, names: frozenset[str] | None = None) -> Redactor:
        """Takes these secrets out of what is stored and shown; by default all of the environment's.

        Values that have been replaced are taken out, too: runs that began with them may still be under way.
        """
        redactor = self._redactors.get((environment, names))
        if redactor is None:
            known = self._known.get(environment, {}).items()
            redactor = Redactor((name, value) for value, name in known if names is None or name in names)
            if len(self._redactors) < _MAX_REDACTORS:
                self._redactors[environment, names] = redactor
        return redactor

    def _explain_missing(self, environment: str, name: str) -> str:
        if name in self._unreadable.get(environment, ()):
            return (
                f"the secret {name} of {environment} is stored, and no key in {KEY_VARIABLE} decrypts it; "
                "`penstock "
                "doctor` says more"
            )
        return (
            f"the secret {name} is not set in {environment}; set it with `penstock secret set {name} --environment "
            f"{environment}`,"
            f" or as the variable {SECRET_PREFIX}{name} of ingress and executors"
        )

    async def _look(self) -> None:
        given = read_secrets()
        async with self._database.connection() as conn:
            rows = await conn.fetch("SELECT environment, name, version FROM penstock.secrets")
            seen = {(row["environment"], row["name"]): row["version"] for row in rows}, given
            if seen == self._seen:
                return
            self._stored = await list_secrets(conn)
        is_first, self._seen = self._seen is None, seen
        self._take(given)
        if not is_first:
            log.info("secrets.changed", version=self.version)

    def _take(self, given: dict[str, str]) -> None:
        self._values = {
            environment: _decrypt_all(self._stored, environment, self._keyring, given) for environment in ENVIRONMENTS
        }
        self._redactors = {}
        self.version += 1
        for environment, found in self._values.items():
            self._known[environment] |= {str(value): name for name, value in found.items()}
            LOG.learn({name: str(value) for name, value in found.items()})
        unreadable = find_unreadable(self._stored, self._keyring)
        self._unreadable = {
            environment: frozenset(secret.name for secret in unreadable if secret.environment == environment)
            for environment in ENVIRONMENTS
        }
        if unreadable:
            log.error("secrets.unreadable", error=explain_unreadable(unreadable, self._keyring))


def _decrypt_all(
    stored: Iterable[StoredSecret], environment: str, keyring: Keyring | None, given: dict[str, str]
) -> Values:
    """By name. One that is stored and unreadable is not replaced by a variable: that might be an old value."""
    values: Values = {**given}
    for secret in stored:
        if secret.environment == environment:
            value = _decrypt(secret, keyring)
            if value is None:
                values.pop(secret.name, None)
            else:
                values[secret.name] = value
    return values


def _decrypt(secret: StoredSecret, keyring: Keyring | None) -> str | None:
    try:
        return None if keyring is None else keyring.decrypt(secret.sealed, secret.place)
    except Undecryptable:
        return None


def _place(environment: str, name: str) -> str:
    return f"{environment}/{name}"
