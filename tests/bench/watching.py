"""What measurements ask of an installation: that something begins, whether it has ended, and how fast it was."""

import asyncio
import json
import sys

from tests.acceptance.installation import Installation, Service

_CONNECTIONS = 64


async def send_load(url: str, seconds: float, kind: str, rate: float = 0) -> dict[str, float]:
    """What `tests.bench.http_load` reports of requests to this address."""
    client = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.http_load",
        url,
        str(_CONNECTIONS),
        str(seconds),
        kind,
        str(rate),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await client.communicate()
    figures: dict[str, float] = json.loads(output)
    return figures


async def start_run(installation: Installation, ingress: Service, workflow: str, parameters: object) -> None:
    """Start a run by the management API."""
    body = {"workflow": workflow, "parameters": parameters}
    status, answer = await installation.manage(ingress, "POST", "live/runs", body)
    assert status == 201, answer


async def has_finished(installation: Installation, runs: int) -> bool:
    """Whether this many runs have ended. Counts only when nothing is live any more: what watches must not cost what is
    watched.
    """
    is_live = await installation.fetchval(
        """
        SELECT EXISTS (SELECT FROM penstock.runs WHERE finished_at IS NULL AND indexed_state IS NULL)
            OR EXISTS (SELECT FROM penstock.runs WHERE indexed_state = 'scheduled')
        """
    )
    if is_live:
        return False
    count = await installation.fetchval("SELECT count(*) FROM penstock.runs WHERE finished_at IS NOT NULL")
    return isinstance(count, int) and count >= runs


async def measure_rate(installation: Installation, runs: int) -> float:
    """Runs per second, from the first claim to the last end of all that are there."""
    seconds = await installation.fetchval(
        "SELECT extract(epoch FROM max(finished_at) - min(started_at))::float8 FROM penstock.runs"
    )
    assert isinstance(seconds, float)
    return runs / seconds
