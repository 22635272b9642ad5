"""Gives each service a database role and a broker user of its own, with no more rights than it needs.

Who they are is read from the URLs that the services themselves will connect with, so that the two cannot differ. It
may be repeated at any time: a changed password takes effect, the rights are those of this release.
"""

from dataclasses import dataclass
from functools import partial
from typing import Final

from penstock.db import open_database
from penstock.db.migrations import renew_rights
from penstock.db.rights import Service
from penstock.db.roles import create_roles
from penstock.provisioning.broker_users import provision_broker
from penstock.provisioning.logins import read_amqp_login, read_database_login
from penstock.provisioning.settings import ProvisionSettings

_CONNECT_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Provisioned:
    """The database users and the broker users that are as they should be now, by service."""

    database_users: dict[Service, str]
    broker_users: dict[Service, str]


async def provision(settings: ProvisionSettings) -> Provisioned:
    """Make the roles and users of all services whose URLs are set.

    Raises ConfigurationError for a URL without user or password, and for what the servers refuse; DatabaseUnavailable
    and BrokerUnavailable when they are out of reach.
    """
    logins = {
        service: read_database_login(url, f"PENSTOCK_{service.upper()}_DATABASE_URL")
        for service, url in settings.database_urls.items()
    }
    users = {
        service: read_amqp_login(url, f"PENSTOCK_{service.upper()}_AMQP_URL")
        for service, url in settings.amqp_urls.items()
    }
    database = await open_database(
        settings.database_url, name="penstock provision", most=2, wait_seconds=_CONNECT_SECONDS
    )
    try:
        await database.in_transaction(partial(create_roles, logins=logins))
        await renew_rights(database)
    finally:
        await database.close()
    if users:
        await provision_broker(settings.management_url(), users)
    return Provisioned(
        {service: login.user for service, login in logins.items()},
        {service: user.name for service, user in users.items()},
    )
