"""Keeps what is deployed equal to an app directory: once at the start, and whenever a file changes."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from penstock.db import Connection, Database
from penstock.definitions.models import App
from penstock.definitions.secrets import find_secret_names
from penstock.deploying import Deployer, Deployment, deploy
from penstock.errors import PenstockError
from penstock.reading.loader import Problem, load_app
from penstock.store.audit import name_cli_actor
from penstock.store.secrets import find_unset, list_secrets

_WATCH_MILLISECONDS: Final = 1000


@dataclass(frozen=True, slots=True)
class Deployed:
    """What came of an app directory: a deployment per environment, or none at all when the app has errors.

    `unset` are the secrets that the app reads and that nobody has set, by environment.
    """

    app: App | None
    problems: tuple[Problem, ...]
    deployments: dict[str, Deployment]
    unset: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_new(self) -> bool:
        """Whether anything was changed."""
        return any(deployment.is_new for deployment in self.deployments.values())


async def deploy_directory(database: Database, directory: Path, environments: Sequence[str]) -> Deployed:
    """Deploy the app in `directory` to all of `environments`, together, unless it has errors.

    Raises ConfigurationError when the tables that exist do not allow it.
    """
    loaded = await asyncio.to_thread(load_app, directory)
    if loaded.app is None:
        return Deployed(None, loaded.problems, {})
    deployments = await database.in_transaction(partial(_deploy, app=loaded.app, environments=environments))
    async with database.connection() as conn:
        stored = await list_secrets(conn)
    names = find_secret_names(loaded.app)
    unset = {environment: found for environment in environments if (found := find_unset(stored, environment, names))}
    return Deployed(loaded.app, loaded.problems, deployments, unset)


async def _deploy(conn: Connection, *, app: App, environments: Sequence[str]) -> dict[str, Deployment]:
    by = Deployer(name_cli_actor())
    return {environment: await deploy(conn, environment=environment, app=app, by=by) for environment in environments}


async def redeploy_on_change(
    database: Database, directory: Path, environments: Sequence[str], tell: Callable[[Deployed | PenstockError], None]
) -> None:
    """Deploy again whenever a file of the app changes, until cancelled and `tell` what came of it."""
    # Not needed, and not loaded, where nothing is watched.
    from watchfiles import awatch

    is_first = True
    # The first turn is for what was changed before the watch began; mostly that is nothing, and nothing is said of it.
    async for changes in awatch(
        directory, debounce=300, step=50, rust_timeout=_WATCH_MILLISECONDS, yield_on_timeout=True
    ):
        if not changes and not is_first:
            continue
        try:
            outcome = await deploy_directory(database, directory, environments)
        except PenstockError as error:
            tell(error)
        else:
            if changes or outcome.is_new:
                tell(outcome)
        is_first = False
