"""What is deployed, as this process knows it. Nothing is refused on the word of definitions that are no longer
current.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from penstock.db import Coalescer, Database
from penstock.errors import StaleDefinitions
from penstock.store.deployments import CompiledDeployment, DeploymentCache, decide_by_current, get_current_versions
from penstock.store.secrets import Secrets
from penstock.webhooks.stored_keys import KeyStore
from penstock_ingress.rules.deliveries import SourcePlan
from penstock_ingress.rules.replies import Refusal, unavailable

T = TypeVar("T")


class Definitions:
    """The current deployment of each environment, and the plans made from it."""

    def __init__(self, database: Database, secrets: Secrets, keys: KeyStore) -> None:
        self._database = database
        self._secrets = secrets
        self._keys = keys
        self._cache = DeploymentCache(database)
        # One query at a time, whatever the number of requests that ask: a stranger's bad requests cost the database
        # next to nothing.
        self._refreshes: Coalescer[str, CompiledDeployment] = Coalescer(self._refresh, name="definitions", lanes=1)
        self._plans: dict[tuple[str, str], tuple[tuple[int, int], SourcePlan]] = {}

    async def decide(self, environment: str, decide: Callable[[CompiledDeployment], Awaitable[T]]) -> T:
        """What `decide` returns for the current deployment; asked again when it turns out that another one is current.

        A Refusal of `decide` stands only if the deployment it judged by is still current.
        """
        known = self._cache.known(environment)
        if known is not None:  # and nearly always is the current one: the rest is for when it is not
            try:
                return await self._decide_or_doubt(environment, decide, known)
            except StaleDefinitions:
                await self.newest(environment)

        async def look(is_newest: bool) -> CompiledDeployment:
            return await (self._refreshes.submit if is_newest else self._cache.current)(environment)

        try:
            return await decide_by_current(look, partial(self._decide_or_doubt, environment, decide))
        except StaleDefinitions as error:
            raise Refusal(unavailable(str(error), 1)) from None

    async def find(self, environment: str, version: int) -> CompiledDeployment:
        """One version, current or not. Raises ConfigurationError when it was never deployed."""
        return await self._cache.get(environment, version)

    async def _decide_or_doubt(
        self, environment: str, decide: Callable[[CompiledDeployment], Awaitable[T]], deployment: CompiledDeployment
    ) -> T:
        try:
            return await decide(deployment)
        except Refusal:
            if (await self.newest(environment)).version == deployment.version:
                raise
            raise StaleDefinitions("what is refused may have been deployed since") from None

    async def newest(self, environment: str) -> CompiledDeployment:
        """The deployment that is current at this moment."""
        return await self._refreshes.submit(environment)

    def has_plan(self, environment: str, name: str) -> bool:
        """Whether the source was there a moment ago, as far as that is known without waiting."""
        return (environment, name) in self._plans

    def plan_source(self, environment: str, deployment: CompiledDeployment, name: str) -> SourcePlan | None:
        """The plan of a source; None when there is no such source. Made again when the app or a secret changes."""
        known, versions = self._plans.get((environment, name)), (deployment.version, self._secrets.version)
        if known is not None and known[0] == versions:
            return known[1]
        source = deployment.app.sources.get(name)
        if source is None:
            return None
        plan = SourcePlan(source, deployment.app, self._secrets.values(environment), self._keys)
        self._plans[environment, name] = versions, plan
        return plan

    async def _refresh(self, environments: Sequence[str]) -> list[CompiledDeployment]:
        async with self._database.connection() as conn:
            versions = await get_current_versions(conn)
        for environment in set(environments):
            known = self._cache.known(environment)
            if known is None or known.version != versions.get(environment):
                await self._cache.refresh(environment)
        return [await self._cache.current(environment) for environment in environments]
