"""Start latency of Penstock as its peers count it: from the caller's call to the first line of the work."""

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Final

from tests.acceptance.installation import Installation
from tests.eventually import eventually

_FILES: Final = {
    "app.yaml": "app: starting\npython: [work]\n",
    "types/job.yaml": "type: job\nfields: {number: number, asked: number, began: number, payload: text}\n",
    "work.py": """
import time
from penstock import App, Context, api

app = App()


@app.workflow(on=[api(method="POST", auth="public", respond="at_once")])
async def insert(ctx: Context, number: int, asked: float) -> None:
    began = time.time()
    await ctx.create("job", {"number": number, "asked": asked, "began": began, "payload": "x" * 256})
""",
}
_WARM: Final = 50


def write_app(directory: Path) -> Path:
    """Write the app's files below `directory`, and return it."""
    for name, text in _FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


async def measure_start(whole: Installation, app: Path, jobs: int, per_second: int) -> tuple[float, float]:
    """Milliseconds, the median and the 99th percentile, of `jobs` calls on an idle system. Fifty come before."""
    await whole.prepare(write_app(app))
    ingress = await whole.start("ingress")
    for kind in ("scheduler", "executor"):
        await whole.start(kind, PENSTOCK_APP=str(app))
    for count, first in ((_WARM, 0), (jobs, _WARM)):
        began = time.time()
        for number in range(count):
            await asyncio.sleep(max(began + number / per_second - time.time(), 0))
            await whole.call(ingress, "insert", {"number": first + number, "asked": time.time()})
        await eventually(partial(_are_done, whole, first + count), within=30)
    rows = await whole.fetchval(
        """
        SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY began - asked)
        FROM live.job WHERE number >= $1
        """,
        _WARM,
    )
    assert isinstance(rows, list)
    return rows[0] * 1000, rows[1] * 1000


async def _are_done(whole: Installation, jobs: int) -> bool:
    return await whole.fetchval("SELECT count(*) FROM live.job") == jobs
