"""Steps on 100,000 things in real processes: the executor holds a batch of them, not all."""

from tests.acceptance.installation import Installation
from tests.bench.app import write_app
from tests.bench.bulk import measure_steps

ROWS = 100_000
MAX_MEGABYTES = 50
"""The file alone has 7, its rows as Python objects well over 100."""


async def test_steps_on_many_things_take_no_memory_for_each(installation: Installation) -> None:
    await installation.prepare(write_app(installation.directory / "bench"))
    executor = await installation.start("executor")
    figures = await measure_steps(installation, executor, ROWS)
    growth = figures["memory_growth_mb"]
    assert isinstance(growth, float)
    assert growth < MAX_MEGABYTES, figures
