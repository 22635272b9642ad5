"""`python -m tests.bench.footprint`: measures the memory of each service, idle and at its peak under load, and keeps
it.

The requests and limits of deploy/ are set by it, as docs/scaling.md says. `tests.bench.memory` says what the load is.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from tests.bench.embedded import Embedded
from tests.bench.measures import Bench
from tests.bench.memory import Footprint, measure_services
from tests.servers import Servers, running_postgres, running_rabbitmq

KEPT: Final = Path(__file__).with_name("footprint.json")


def load_footprints(path: Path = KEPT) -> Mapping[str, Footprint]:
    """What was kept, by service."""
    return TypeAdapter(dict[str, Footprint]).validate_json(path.read_bytes())


async def main() -> None:
    """Start the servers, measure, and keep the figures."""
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-bench-")))
        postgres = await stack.enter_async_context(running_postgres())
        rabbitmq = await stack.enter_async_context(running_rabbitmq())
        servers = Servers(postgres.url, rabbitmq.url, rabbitmq.management_url)
        measured = await measure_services(Bench(servers, scratch, share=1.0, embedded=Embedded(scratch)))
    KEPT.write_text(json.dumps({kind: asdict(one) for kind, one in measured.items()}, indent=2) + "\n")
    print(KEPT.read_text())


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
