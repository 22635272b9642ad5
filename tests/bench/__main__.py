"""`make bench`: measures Penstock and its yardsticks one after the other on private servers, and prints figures and
ratios.

`ARGS="accept drain"` chooses measurements; `ARGS=--quick` makes them short; `ARGS="--times 3"` gives medians and
spread. Every figure comes with the CPU shares of its run, and is added to `figures.jsonl` below PENSTOCK_BENCH_HOME.
`make bench-check` measures what has ratios, and fails when one has fallen by more than 20 %.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from tests.bench.embedded import Embedded
from tests.bench.figures import combine, store
from tests.bench.measures import MEASURES, Bench
from tests.bench.ratios import CHECKED, find_losses, find_ratios, keep_ratios
from tests.servers import Servers, running_postgres, running_rabbitmq


async def main() -> None:
    """Parse the command line, start the servers, measure."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="measurement", help=", ".join(MEASURES))
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--times", type=int, default=1, help="measure each this often, and give medians")
    parser.add_argument("--keep", action="store_true", help="keep the ratios, to compare later runs with")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a kept ratio has fallen by a fifth")
    options = parser.parse_args()
    if options.check and not options.names:
        options.names = list(CHECKED)
    unknown = set(options.names) - set(MEASURES)
    if unknown:
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-bench-")))
        postgres = await stack.enter_async_context(running_postgres())
        rabbitmq = await stack.enter_async_context(running_rabbitmq())
        servers = Servers(postgres.url, rabbitmq.url, rabbitmq.management_url)
        bench = Bench(servers, scratch, share=0.1 if options.quick else 1.0, embedded=Embedded(scratch))
        measured = {}
        for name in options.names or MEASURES:
            measured[name] = combine([await MEASURES[name](bench) for _ in range(max(options.times, 1))])
            store(name, {"is_quick": options.quick, **measured[name]})
            print(json.dumps({"measure": name, **measured[name]}), flush=True)
    ratios = find_ratios(measured)
    if options.keep:
        keep_ratios(ratios)
    if options.check and (losses := list(find_losses(ratios, measures=measured))):
        sys.exit("\n".join(["bench-check: slower than it was", *losses]))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
