"""The measure of what admission's checks cost stays comparable: both ways of admission work on today's tables."""

from tests.bench.admission import measure_checks
from tests.servers import Servers


async def test_admission_is_measured_with_and_without_its_checks(servers: Servers) -> None:
    figures = await measure_checks(servers.database_url, 1)
    costs = [value for name, value in figures.items() if name.endswith("_us")]
    assert len(costs) == 10
    assert all(isinstance(cost, float) and cost > 0 for cost in costs)
