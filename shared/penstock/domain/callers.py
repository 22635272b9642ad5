"""Who calls, and what that caller may do."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID


class Role(StrEnum):
    """What the bearer of an admin token may do; each role may do what the one before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, other: "Role") -> bool:
        """Whether this role may do what `other` may."""
        return _RANKS[self] >= _RANKS[other]


_RANKS: Final = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who calls. `role` is set for admins, `user_id` for users of the app, neither for anonymous callers.

    `name` distinguishes callers: in the audit, for idempotency keys, and as the one whom a run answers. `workflows` and
    `types` are those that the caller may reach, `environment` is the one in which the token holds; None stands for all.
    `token_id` is that of a user's token.
    """

    name: str
    role: Role | None = None
    user_id: str | None = None
    workflows: frozenset[str] | None = None
    types: frozenset[str] | None = None
    sees_payloads: bool = True
    environment: str | None = None
    token_id: UUID | None = None

    def find_user_id(self, app: str, environment: str) -> str | None:
        """The `_id` of the user for whom this caller's runs work; None for anonymous callers."""
        return self.user_id if self.role is None else admin_user_id(app, environment)

    @property
    def is_anonymous(self) -> bool:
        """Whether nothing is known of the caller but an address."""
        return self.role is None and self.user_id is None

    def may(self, role: Role) -> bool:
        """Whether the caller may do what `role` may."""
        return self.role is not None and self.role.covers(role)

    def reaches_workflow(self, name: str) -> bool:
        """Whether this workflow is within the caller's scope."""
        return self.workflows is None or name in self.workflows

    def reaches_type(self, name: str) -> bool:
        """Whether this data type is within the caller's scope."""
        return self.types is None or name in self.types


def admin_user_id(app: str, environment: str) -> str:
    """The `_id` of the user that admins are in Bubble, `admin_user_APP_test` or `admin_user_APP_live`. Only
    `Created By` has it: there is no such thing.
    """
    return f"{_ADMIN_USER}{app}_{'live' if environment == 'live' else 'test'}"


def is_admin_user(user_id: str) -> bool:
    """Whether this is the `_id` that admins have, rather than that of a user of the app."""
    return _ADMIN_USER_ID.fullmatch(user_id) is not None


_ADMIN_USER: Final = "admin_user_"
_ADMIN_USER_ID: Final = re.compile(_ADMIN_USER + r"[^\x00\ud800-\udfff]{1,200}_(?:live|test)")
ANONYMOUS: Final = Caller("anonymous")
ROOT: Final = Caller("admin", Role.ADMIN)
"""The bearer of the admin token of the settings."""
