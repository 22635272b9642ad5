"""The deployed apps, as plans: that of the version a run started with, and the current one for what it starts."""

from typing import Final

from penstock.definitions.models import App
from penstock.domain.depth import MAX_DEPTH
from penstock.store.deployments import DeploymentCache
from penstock_executor.planning.plans import Plans

_MAX_KEPT: Final = 20


class Library:
    """Plans by environment and version, which never change, and which version is current as far as is known here."""

    def __init__(self, deployments: DeploymentCache) -> None:
        self._deployments = deployments
        self._plans: dict[tuple[str, int], Plans] = {}

    async def find_plans(self, environment: str, version: int) -> Plans:
        """The plans of one version. Raises DatabaseUnavailable, or ConfigurationError when there is no such version."""
        plans = self._plans.get((environment, version))
        return plans if plans is not None else await self._load(environment, version)

    def known_plans(self, environment: str, version: int) -> Plans | None:
        """The plans of one version, if they are here already."""
        return self._plans.get((environment, version))

    async def find_app(self, environment: str) -> App:
        """The current app. Raises DatabaseUnavailable."""
        return (await self._deployments.current(environment)).app

    async def find_depth_limits(self, environment: str) -> dict[str, int | None]:
        """The depth limit of each workflow deployed now. Raises DatabaseUnavailable.

        None where the environment's limit holds; a recursion that decreases has none.
        """
        app = (await self._deployments.refresh(environment)).app
        return {
            workflow.name: MAX_DEPTH if workflow.decreases else workflow.depth_limit
            for workflow in app.workflows.values()
        }

    async def _load(self, environment: str, version: int) -> Plans:
        current = self._deployments.known(environment)
        if current is None or current.version < version:
            await self._deployments.refresh(environment)
        plans = Plans((await self._deployments.get(environment, version)).compiled)
        while len(self._plans) >= _MAX_KEPT:
            del self._plans[next(iter(self._plans))]
        self._plans[environment, version] = plans
        return plans
