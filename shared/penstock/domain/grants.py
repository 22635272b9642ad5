"""What somebody may do in the console, by what their issuer says of them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from penstock.domain.callers import Role

NO_PAYLOADS = "/no-payloads"


class Grant(NamedTuple):
    """A role, and whether parameters, results, errors and messages are shown to it."""

    role: Role
    sees_payloads: bool = True


def read_grants(text: str) -> dict[str, Grant]:
    """`staff=viewer/no-payloads,admins=admin` as roles by value of the claim. Raises ValueError."""
    grants = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        value, found, role = part.rpartition("=")
        name, _, rest = role.strip().partition("/")
        if not found or not value.strip() or name not in {*Role} or rest not in {"", NO_PAYLOADS[1:]}:
            raise ValueError(
                f"{part!r} is not a role for a value of the claim; write VALUE=viewer, VALUE=operator or VALUE=admin, "
                f"and {NO_PAYLOADS} behind it for one without sight of payloads"
            )
        grants[value.strip()] = Grant(Role(name), not rest)
    return grants


def find_grant(grants: Mapping[str, Grant], claims: Mapping[str, Any], name: str) -> Grant | None:
    """The greatest of the roles that are mapped to what the claim says; None: none is. The claim is a text or a list of
    texts; a name with dots leads into objects, as `realm_access.roles`.
    """
    found = claims.get(name)
    if found is None and "." in name:
        found = claims
        for key in name.split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
    values = found if isinstance(found, list) else [found]
    granted = [grants[value] for value in values if isinstance(value, str) and value in grants]
    return max(granted, key=lambda one: (list(Role).index(one.role), one.sees_payloads), default=None)
