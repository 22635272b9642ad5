"""Steps on many things in real processes: the executor holds a batch of them, not all."""

import pytest

from tests.acceptance.installation import Installation
from tests.bench.app import write_app
from tests.bench.bulk import measure_steps

ROWS = 30_000
PADDING = 2_000
"""Characters of each row. Few rows that are long take as much memory as many that are short, and less time."""
MAX_MEGABYTES = 45
"""The file has 62, and what is in progress at once takes about 20."""


@pytest.mark.timeout(300)
async def test_steps_on_many_things_take_no_memory_for_each(installation: Installation) -> None:
    await installation.prepare(write_app(installation.directory / "bench"))
    # No scheduler would have a run continued whose lease a stalled machine lost.
    executor = await installation.start("executor", PENSTOCK_LEASE_SECONDS="60")
    figures = await measure_steps(installation, executor, ROWS, padding=PADDING)
    growth = figures["memory_growth_mb"]
    assert isinstance(growth, float)
    assert growth < MAX_MEGABYTES, figures
