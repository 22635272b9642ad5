"""Deployments: which app holds in an environment, version by version, and the copies of them that a process keeps at
hand.

A version is never changed once it is stored, so a cached one is never wrong; which one is current is in the
environment's row, and `admit` compares it in the same statement that creates runs.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, TypeVar

from pydantic import JsonValue

from penstock.db import Connection, Database
from penstock.definitions.compiled import CompiledApp
from penstock.definitions.models import App
from penstock.errors import ConfigurationError, StaleDefinitions

Definitions = TypeVar("Definitions")
Decided = TypeVar("Decided")
MAX_VERSIONS: Final = 100
"""Deployments of which it is shown what they have changed."""
_MAX_CACHED: Final = 20
_MAX_TURNS: Final = 5


@dataclass(frozen=True, slots=True)
class CompiledDeployment:
    """A version of an app, ready to be performed. Version 0, an empty app, stands for an environment nothing is
    deployed to.
    """

    version: int
    app: App
    compiled: CompiledApp


async def get_current_versions(conn: Connection) -> dict[str, int]:
    """The current version of each environment; 0 where nothing is deployed."""
    rows = await conn.fetch("SELECT name, deployment_version FROM penstock.environments")
    return {row["name"]: row["deployment_version"] for row in rows}


async def load_current(conn: Connection, *, environment: str) -> tuple[int, App] | None:
    """The current version and its app; None when nothing is deployed."""
    row = await conn.fetchrow(
        """
        SELECT d.version, d.app
        FROM penstock.environments e
        JOIN penstock.deployments d ON d.environment = e.name AND d.version = e.deployment_version
        WHERE e.name = $1
        """,
        environment,
    )
    return None if row is None else (row["version"], App.model_validate(row["app"]))


async def load_version(conn: Connection, *, environment: str, version: int) -> App:
    """The app of one version. Raises ConfigurationError when that version was never deployed."""
    content = await conn.fetchval(
        "SELECT app FROM penstock.deployments WHERE environment = $1 AND version = $2", environment, version
    )
    if content is None:
        raise ConfigurationError(f"{environment} has no deployment {version}")
    return App.model_validate(content)


class WorkflowVersion(NamedTuple):
    """A workflow as one deployment has it, as it is stored; None where it has none of that name."""

    version: int
    deployed_at: datetime
    definition: JsonValue


async def list_workflow_versions(conn: Connection, *, environment: str, workflow: str) -> list[WorkflowVersion]:
    """A workflow in each of the last hundred deployments, the newest first, and in the one before them."""
    rows = await conn.fetch(
        """
        SELECT d.version, d.deployed_at, d.app #> ARRAY['workflows', $2] AS definition
        FROM penstock.deployments d
        WHERE d.environment = $1
        ORDER BY d.version DESC
        LIMIT $3
        """,
        environment,
        workflow,
        MAX_VERSIONS + 1,
    )
    return [WorkflowVersion(*row) for row in rows]


async def decide_by_current(
    look: Callable[[bool], Awaitable[Definitions]], decide: Callable[[Definitions], Awaitable[Decided]]
) -> Decided:
    """What `decide` returns for what `look(False)` returns; whenever it raises StaleDefinitions, it decides again by
    what `look(True)` returns, the newest there is.

    Raises StaleDefinitions, for the person who waits, when it is deployed again each time.
    """
    for turn in range(_MAX_TURNS):
        definitions = await look(turn > 0)
        try:
            return await decide(definitions)
        except StaleDefinitions:
            continue
    raise StaleDefinitions("the app is being deployed again and again, so nothing was decided; try again")


class DeploymentCache:
    """The deployments that a process works with. `current` is what it last saw: `refresh` when told that it is
    stale.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._current: dict[str, CompiledDeployment] = {}
        self._versions: OrderedDict[tuple[str, int], CompiledDeployment] = OrderedDict()

    async def current(self, environment: str) -> CompiledDeployment:
        """The current deployment, as far as this process knows."""
        return self._current.get(environment) or await self.refresh(environment)

    def known(self, environment: str) -> CompiledDeployment | None:
        """The current deployment if this process has seen one, without waiting."""
        return self._current.get(environment)

    async def refresh(self, environment: str) -> CompiledDeployment:
        """Ask the database which deployment is current."""
        async with self._database.connection() as conn:
            loaded = await load_current(conn, environment=environment)
        version, app = loaded or (0, App(name=""))
        self._current[environment] = self._keep(environment, version, app)
        return self._current[environment]

    async def get(self, environment: str, version: int) -> CompiledDeployment:
        """One version, current or not."""
        known = self._current.get(environment)
        if known is not None and known.version == version:
            return known
        if (environment, version) in self._versions:
            self._versions.move_to_end((environment, version))
            return self._versions[environment, version]
        async with self._database.connection() as conn:
            app = await load_version(conn, environment=environment, version=version)
        return self._keep(environment, version, app)

    def _keep(self, environment: str, version: int, app: App) -> CompiledDeployment:
        kept = self._versions.get((environment, version))
        if kept is None:
            kept = self._versions[environment, version] = CompiledDeployment(version, app, CompiledApp(app))
            while len(self._versions) > _MAX_CACHED:
                self._versions.popitem(last=False)
        return kept
