"""What the management API shows of an environment as a whole."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from penstock.runs.views.marks import Topic
from penstock.runs.views.models import ListedChain, Shown
from penstock.runs.views.overview import NearChain, RecentError


class OverviewMinute(Shown):
    """How many runs were admitted and came to an end in a minute, by outcome. Outcomes without runs are left out."""

    minute: datetime
    outcomes: dict[str, int]


class OverviewReplica(Shown):
    """A process of a service, as it reported itself last."""

    id: str
    service: Literal["ingress", "scheduler", "executor"]
    host: str
    release: str
    started_at: datetime
    seen_at: datetime
    health: Literal["working", "stuck", "silent"] = Field(
        description="`silent`: it has not reported for 20 seconds, so it is dead, or cannot reach the database"
    )
    stuck: list[str] = Field(description="What in it does not move, in words")


class Overview(Shown):
    """What an environment does at this moment."""

    environment: str
    at: datetime
    minutes: list[OverviewMinute] = Field(
        description="The last hour, the oldest minute first, as processes have counted. The last seconds are missing, "
        "what a process had not reported when it died is, and so are runs that were cancelled before they were started"
    )
    lateness_seconds: float = Field(description="For how long the run is due that has waited longest for an executor")
    live: dict[str, int] = Field(
        description="Runs that have not ended: `running`, and by reason those that wait (as in `waiting_for`)"
    )
    is_exact: bool = Field(
        description="False: there are more than 2,000 runs in one of the states, and only the first 2,000 were counted"
    )
    chains: list[NearChain] = Field(
        description="Chains that came near a limit within the last day, the newest warning first; at most 20"
    )
    errors: list[RecentError] = Field(
        description="The newest runs that failed; at most 20, of the last 500 of both environments"
    )
    replicas: list[OverviewReplica] = Field(description="Of all services; they work for both environments")


class ChainPage(Shown):
    """Chains, newest first. There may be fewer than `limit`, or none, and still an `after`."""

    results: list[ListedChain]
    after: str | None


class Changes(Shown):
    """That there is something new to show."""

    topics: list[Topic] = Field(
        description="`runs`: runs came, began, waited or ended; `logs`: a line was written; `schedule`: what is coming "
        "has changed; `steering`: somebody has steered something. `runs` and `schedule` may mean the other environment"
    )
